"""What the base class does for every optimizer: numbers, direction, archive, state."""

import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

import bbopt
from bbopt import (
    Best,
    Budget,
    Categorical,
    Float,
    Int,
    Optimizer,
    Outcome,
    Problem,
    Space,
    Spec,
    Text,
    Trial,
)
from bbopt.errors import SpaceError, UnsupportedSpec, UsageError
from bbopt.settings import setting

SPACE = Space({"x": Int(0, 999), "k": Categorical([1, True, "a"])})
SPEC = Spec(space=SPACE)
OTHER = {"x": 500, "k": "a"}


@dataclass(frozen=True)
class Settings:
    stride: int = setting(1, "Distance of two proposals.", low=1)
    weights: tuple[float, ...] = setting((1.0, 2.0), "Ignored; a tuple is a list in JSON.")


class Counting(Optimizer):
    """Proposes 0, stride, 2 stride, ...; records what it is told; waits after ``limit``."""

    name = "counting"
    Settings = Settings
    limit = math.inf

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.told = []
        self.lefts = []

    def _ask(self, n, left):
        self.lefts.append(left)
        n = min(n, self.limit - len(self._pending))
        return [
            self._new_trial({"x": self.next_number * self.settings.stride % 1000, "k": 1})
            for _ in range(int(n))
        ]

    def _tell(self, trial, outcome):
        self.told.append((trial.number, trial.params["x"], outcome.mean))


class Compact(Counting):
    """The same with a state of its own."""

    def _state(self):
        return {"told": self.told, "array": np.array([len(self.told)])}

    def _restore(self, state):
        self.told = [tuple(item) for item in state["told"]]


# --- ask and tell ---------------------------------------------------------------------


@pytest.mark.parametrize("proposer", ["edit", {"params": {}}, 0])
def test_a_proposer_that_cannot_be_called_is_refused(proposer):
    with pytest.raises(UsageError, match=r"^proposer .* must be callable"):
        Counting(SPEC, proposer=proposer)


def test_the_five_lines_of_the_docstring():
    optimizer = Counting(SPEC)
    a, b = optimizer.ask(2)
    assert optimizer.pending == (a, b)
    optimizer.tell(b, 0.3)
    assert optimizer.pending == (a,)
    optimizer.tell(a, math.nan)
    assert optimizer.pending == ()
    with pytest.raises(UsageError, match="trial 1 was told already"):
        optimizer.tell(b, 0.2)
    optimizer.tell(Trial(None, OTHER), 0.1)
    assert [told[:2] for told in optimizer.told] == [(1, 1), (0, 0), (None, 500)]
    assert optimizer.best == Best(OTHER, 0.1, None, 1)


def test_trials_are_numbered_in_the_order_in_which_they_are_asked():
    optimizer = Counting(SPEC)
    numbers = [trial.number for n in (1, 3, 2) for trial in optimizer.ask(n)]
    assert numbers == list(range(6))
    assert optimizer.next_number == 6
    assert [trial.number for trial in optimizer.pending] == numbers


def test_numbers_go_on_from_where_a_run_set_them():
    optimizer = Counting(SPEC)
    optimizer.ask(2)
    optimizer.next_number = 7
    (trial,) = optimizer.ask()
    assert trial.number == 7
    optimizer.tell(trial, 0.5)
    with pytest.raises(UsageError, match="trial 5 was told already"):
        optimizer.tell(Trial(5, OTHER), 0.5)


def test_an_optimizer_may_ask_for_nothing_while_results_are_pending():
    optimizer = Counting(SPEC)
    optimizer.limit = 2
    assert len(optimizer.ask(5)) == 2
    assert optimizer.ask() == []
    optimizer.tell(optimizer.pending[0], 0.3)
    assert len(optimizer.ask(5)) == 1


def test_what_is_left_of_the_budget_is_passed_on():
    optimizer = Counting(SPEC)
    optimizer.ask()
    optimizer.ask(1, Budget(evaluations=3))
    assert optimizer.lefts == [Budget(), Budget(evaluations=3)]


@pytest.mark.parametrize("n", [0, -1, 1.5, "2", None])
def test_a_bad_number_of_trials_is_refused(n):
    with pytest.raises(UsageError, match="n must be an integer >= 1, got"):
        Counting(SPEC).ask(n)


@pytest.mark.parametrize(
    ("trial", "outcome", "error", "message"),
    [
        (Trial(5, OTHER), 0.1, UsageError, "trial 5 was never asked"),
        (OTHER, 0.1, UsageError, r"trial must be a Trial .*, got {'x': 500"),
        (Trial(None, OTHER), "0.1", UsageError, "a value must be a number"),
        (Trial(None, OTHER), None, UsageError, "a value must be a number"),
        (Trial(None, {"x": 1000, "k": 1}), 0.1, SpaceError, r"'x' must be in \[0, 999\]"),
        (Trial(None, {"x": 1}), 0.1, SpaceError, "parameter 'k' is missing"),
        (Trial(None, None), 0.1, SpaceError, "params must map names to values, got None"),
        (Trial(0, {"x": [1], "k": 1}), 0.1, SpaceError, "'x' must be an integer"),
    ],
)
def test_a_bad_tell_is_refused_and_changes_nothing(trial, outcome, error, message):
    optimizer = Counting(SPEC)
    optimizer.ask()
    before = optimizer.state_dict()
    with pytest.raises(error, match=message):
        optimizer.tell(trial, outcome)
    assert optimizer.state_dict() == before
    assert optimizer.told == []
    assert len(optimizer.pending) == 1


def test_foreign_params_become_plain_and_ordered():
    optimizer = Counting(SPEC)
    optimizer.tell(Trial(None, {"k": np.bool_(True), "x": np.float64(3)}), 0.1)
    assert repr(optimizer.best.params) == "{'x': 3, 'k': True}"


def test_several_values_are_pooled_with_those_of_other_trials():
    optimizer = Counting(SPEC)
    optimizer.tell(Trial(None, OTHER, 2), [0.1, 0.3])
    optimizer.tell(Trial(None, OTHER), 0.2)
    assert optimizer.best.value == pytest.approx(0.2)
    assert optimizer.best.count == 3
    assert optimizer.best.stderr == pytest.approx(0.1 / math.sqrt(3))


def test_the_best_follows_every_tell():
    optimizer = Counting(SPEC)
    values = []
    for value in (0.5, 0.7, 0.2, 0.3):
        optimizer.tell(optimizer.ask()[0], value)
        values.append(optimizer.best.value)
    assert values == [0.5, 0.5, 0.2, 0.2]
    optimizer.tell(Trial(None, {"x": 2, "k": 1}, 2), [3.0, 4.0])  # the best was lucky
    assert optimizer.best.params["x"] != 2


def test_infeasible_params_are_told_and_never_best():
    optimizer = Counting(SPEC)
    optimizer.tell(Trial(None, OTHER), Outcome(0.1, constraints=[1.0]))
    assert optimizer.best is None
    optimizer.tell(optimizer.ask()[0], 0.9)
    assert optimizer.best.value == 0.9
    assert len(optimizer.told) == 2


# --- direction ------------------------------------------------------------------------


def test_a_method_sees_losses_and_the_user_the_own_direction():
    optimizer = Counting(Spec(space=SPACE, direction="maximize"))
    for value in (0.1, 0.7, 0.4):
        optimizer.tell(optimizer.ask()[0], value)
    assert [loss for _, _, loss in optimizer.told] == [-0.1, -0.7, -0.4]
    assert optimizer.best.value == 0.7
    assert optimizer.best.params["x"] == 1


def test_minimising_the_negative_is_maximising():
    values = np.random.default_rng(0).normal(size=(6, 2))
    minimize, maximize = Counting(SPEC), Counting(replace(SPEC, direction="maximize"))
    for pair in values:
        minimize.tell(minimize.ask()[0], pair)
        maximize.tell(maximize.ask()[0], -pair)
        one, other = minimize.best, maximize.best
        assert replace(other, value=-other.value) == one
    assert minimize.told == maximize.told


# --- the initial setting --------------------------------------------------------------


def test_the_initial_setting_is_proposed_first_and_told_like_any_trial():
    space = Space({"x": Int(0, 999, initial=7), "k": Categorical([1], initial=1)})
    optimizer = Counting(Spec(space=space))
    first, second = optimizer.ask(2)
    assert (first.number, first.params) == (0, {"x": 7, "k": 1})
    assert (second.number, second.params["x"]) == (1, 1)
    optimizer.tell(first, 0.5)
    assert optimizer.told == [(0, 7, 0.5)]
    assert [trial.params["x"] for trial in optimizer.ask(2)] == [2, 3]


def test_one_trial_asked_is_the_initial_setting_alone():
    space = Space({"x": Int(0, 999, initial=7), "k": Categorical([1], initial=1)})
    optimizer = Counting(Spec(space=space))
    optimizer.tell(Trial(None, {"x": 3, "k": 1}), 0.1)  # a foreign trial changes nothing
    assert [trial.params["x"] for trial in optimizer.ask()] == [7]
    assert optimizer.lefts == []


@pytest.mark.parametrize("method", [Counting, Compact])
def test_the_initial_setting_is_not_proposed_again_after_a_restart(method):
    space = Space({"x": Int(0, 999, initial=7), "k": Categorical([1], initial=1)})
    one, other = method(Spec(space=space)), method(Spec(space=space))
    one.ask()
    other.load_state_dict(one.state_dict())
    assert [trial.params["x"] for trial in other.ask(2)] == [1, 2]


# --- params replaced ------------------------------------------------------------------


def test_replaced_params_close_the_trial_and_are_told_as_foreign():
    optimizer = Counting(SPEC)
    (asked,) = optimizer.ask()
    optimizer.tell(replace(asked, params=OTHER), 0.3)
    assert optimizer.pending == ()
    (number, x, loss), foreign = optimizer.told
    assert (number, x) == (0, 0)
    assert math.isnan(loss)
    assert foreign == (None, 500, 0.3)
    assert optimizer.best.params == OTHER


def test_a_choice_of_another_type_is_a_replacement():
    optimizer = Counting(SPEC)
    (asked,) = optimizer.ask()
    assert asked.params["k"] == 1
    optimizer.tell(replace(asked, params={**asked.params, "k": True}), 0.3)
    assert [number for number, _, _ in optimizer.told] == [0, None]
    assert optimizer.best.params["k"] is True


def test_equal_params_in_another_order_are_no_replacement():
    optimizer = Counting(SPEC)
    (asked,) = optimizer.ask()
    optimizer.tell(replace(asked, params=dict(reversed(asked.params.items()))), 0.3)
    assert optimizer.told == [(0, 0, 0.3)]


# --- state ----------------------------------------------------------------------------


def drive(optimizer, seed, n=12):
    """Ask and tell in a random order, with failures, foreign trials and replacements."""
    rng = np.random.default_rng(seed)
    for _ in range(n):
        action = rng.integers(5)
        if action < 2 or not optimizer.pending:
            optimizer.ask(int(rng.integers(1, 4)), Budget(evaluations=int(rng.integers(1, 9))))
        elif action == 2:
            optimizer.tell(Trial(None, OTHER), rng.normal(size=2))
        else:
            trial = optimizer.pending[rng.integers(len(optimizer.pending))]
            if action == 3:
                trial = replace(trial, params={**trial.params, "x": int(rng.integers(999))})
            optimizer.tell(trial, math.nan if rng.random() < 0.2 else rng.normal())


def without_nan(told):
    return [(number, x, None if math.isnan(loss) else loss) for number, x, loss in told]


@pytest.mark.parametrize("method", [Counting, Compact])
@pytest.mark.parametrize("seed", range(5))
def test_an_optimizer_restored_from_its_state_goes_on_identically(method, seed):
    one = method(SPEC, seed=3, worker=1)
    drive(one, seed)
    one.next_number += 4  # a run has numbered trials of its own
    drive(one, seed + 100)
    one.next_number += 2
    state = one.state_dict()
    other = method(SPEC, seed=3, worker=1)
    other.load_state_dict(state)
    for _ in range(2):
        assert other.next_number == one.next_number
        assert other.pending == one.pending
        assert other.best == one.best
        assert without_nan(other.told) == without_nan(one.told)
        for optimizer in (one, other):
            drive(optimizer, seed + 200)


def test_the_log_as_a_state_is_json():
    optimizer = Counting(SPEC)
    drive(optimizer, 0)
    state = json.loads(json.dumps(optimizer.state_dict(), allow_nan=False))
    assert state == json.loads(json.dumps(optimizer.state_dict(), allow_nan=False))
    other = Counting(SPEC)
    other.load_state_dict(state)
    assert without_nan(other.told) == without_nan(optimizer.told)
    assert other.best == optimizer.best


@pytest.mark.parametrize("method", [Counting, Compact])
def test_a_state_is_no_view_of_what_goes_on(method):
    optimizer = method(SPEC)
    optimizer.tell(optimizer.ask()[0], 0.5)
    state = optimizer.state_dict()
    optimizer.tell(optimizer.ask()[0], 0.1)
    other = method(SPEC)
    other.load_state_dict(state)
    assert other.best.value == 0.5
    assert other.told == [(0, 0, 0.5)]
    other.tell(other.ask()[0], 0.1)
    third = method(SPEC)
    third.load_state_dict(state)
    assert third.best.value == 0.5


def test_a_method_with_a_state_of_its_own_says_so():
    assert not Counting(SPEC).has_compact_state
    assert Compact(SPEC).has_compact_state


@pytest.mark.parametrize("method", [Counting, Compact])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 0}, "state: format must be 1, got 0"),
        ({"name": "other"}, "state: name must be 'counting', got 'other'"),
        ({"seed": 1}, "state: seed must be 0, got 1"),
        ({"worker": 1}, "state: worker must be 0, got 1"),
        ({"settings": {"stride": 2}}, "state: settings must be {'stride': 1.*, got {'stride': 2}"),
        ({"agents": 8}, "state: agents must be None, got 8"),
    ],
)
def test_a_state_of_another_optimizer_is_refused(method, change, message):
    state = method(SPEC).state_dict() | change
    with pytest.raises(UsageError, match=message):
        method(SPEC).load_state_dict(state)


def test_what_is_no_state_is_refused():
    with pytest.raises(UsageError, match="state must be what state_dict returns, got None"):
        Counting(SPEC).load_state_dict(None)


@pytest.mark.parametrize("method", [Counting, Compact])
@pytest.mark.parametrize(
    "use",
    [
        lambda optimizer: optimizer.ask(),
        lambda optimizer: optimizer.tell(Trial(None, OTHER), 0.1),
        lambda optimizer: optimizer.tell(Trial(None, OTHER), math.nan),
        lambda optimizer: optimizer.load_state_dict(type(optimizer)(SPEC).state_dict()),
    ],
)
def test_a_state_is_only_loaded_into_a_fresh_optimizer(method, use):
    optimizer = method(SPEC)
    use(optimizer)
    with pytest.raises(UsageError, match="state can only be loaded into a fresh optimizer"):
        optimizer.load_state_dict(method(SPEC).state_dict())


# --- construction ---------------------------------------------------------------------


def test_an_unsupported_kind_of_dimension_is_refused_by_name():
    with pytest.raises(
        UnsupportedSpec,
        match="optimizer 'counting' cannot handle parameter 'prompt' of kind 'text': it supports "
        "categorical, float, int",
    ):
        Counting(Spec(space={"x": Float(0, 1), "prompt": Text("Say yes.")}))


def test_a_missing_field_of_the_spec_is_refused_by_name():
    class NeedsAgents(Counting):
        name = ""
        requires = ("agents",)

    with pytest.raises(UnsupportedSpec, match="'NeedsAgents' requires a problem with 'agents'"):
        NeedsAgents(SPEC)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed must be an integer >= 0, got -1"),
        ({"seed": None}, "seed must be an integer >= 0, got None"),
        ({"worker": -1}, "worker must be an integer >= 0, got -1"),
        ({"settings": {"stride": 2}}, "settings must be Settings, got {'stride': 2}"),
    ],
)
def test_a_bad_argument_is_refused_by_name(arguments, message):
    with pytest.raises(UsageError, match=message):
        Counting(SPEC, **arguments)


def test_a_bare_space_is_no_spec():
    with pytest.raises(UsageError, match="spec must be a Spec, got Space"):
        Counting(SPACE)


def test_the_stream_of_a_trial_depends_on_seed_name_worker_and_number():
    class Other(Counting):
        name = "other"

    draws = {
        optimizer._stream(number).random()
        for optimizer in (
            Counting(SPEC),
            Counting(SPEC, seed=1),
            Counting(SPEC, worker=1),
            Other(SPEC),
        )
        for number in (0, 1)
    }
    assert len(draws) == 8
    assert Counting(SPEC)._stream(3).random() == Counting(SPEC)._stream(3).random()


def test_the_abstract_classes_say_what_is_missing():
    with pytest.raises(TypeError, match=r"_ask.*_tell"):
        Optimizer(SPEC)
    with pytest.raises(TypeError, match=r"evaluate.*spec"):
        Problem()


def test_a_problem_knows_no_truth_and_no_test_value_unless_it_says_so():
    class Plain(Problem):
        spec = SPEC

        def evaluate(self, trial, rng):
            return 0.0

    problem = Plain()
    assert problem.truth(OTHER) is None
    assert problem.test_value(Best(OTHER, 0.0, None, 1)) is None
    assert (problem.block, problem.needs_llm, problem.optimum) == (1, False, None)


def test_what_others_evaluate_is_awaited_until_it_is_said_anew():
    optimizer = Counting(SPEC)
    (own,) = optimizer.ask()
    theirs = Trial(7, {"k": "a", "x": 5}, repeats=3)
    optimizer.expect([theirs])
    assert optimizer.pending == (own,)
    assert optimizer.awaited == (own, replace(theirs, number=None))
    optimizer.tell(Trial(None, theirs.params), 0.5)  # as any foreign trial
    assert optimizer.told == [(None, 5, 0.5)]
    again = Counting(SPEC)
    again.load_state_dict(json.loads(json.dumps(optimizer.state_dict())))
    assert again.awaited == optimizer.awaited
    optimizer.expect([])
    assert optimizer.awaited == (own,)


def test_what_is_expected_must_be_in_the_space():
    optimizer = Counting(SPEC)
    with pytest.raises(SpaceError, match=r"parameter 'x' must be in \[0, 999\], got 1000"):
        optimizer.expect([Trial(None, {"x": 1000, "k": "a"})])
    assert optimizer.awaited == ()


def test_a_model_that_is_no_client_is_refused_at_once():
    space = bbopt.Space({"prompt": bbopt.Text("hello")})
    with pytest.raises(UsageError, match=r"llm must be a bbopt\.llm\.Client, got 'openai:x'"):
        bbopt.optimizer("polca", space, llm="openai:x")

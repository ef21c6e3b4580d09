"""BBOptSampler beyond Optuna's suites: what it learns, repeats, leaves alone and refuses."""

from __future__ import annotations

import math
import pickle
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.trial import TrialState

import bbopt
from bbopt.errors import UnknownName, UnsupportedSpec, UsageError
from bbopt.integrations.optuna import BATCH, BBOptSampler, best_mean
from bbopt.integrations.search import History
from bbopt.seeding import stream
from bbopt.trial import Outcome, merge
from tests.integrations.studies import (
    QUICK,
    SPACE,
    Recording,
    add,
    batches,
    latest,
    new_study,
    noisy,
    planned,
)

pytestmark = pytest.mark.usefixtures("quiet")


# -- repeating itself


@pytest.mark.parametrize("name", QUICK)
def test_one_seed_and_one_process_give_one_run(name: str) -> None:
    one, two = new_study(name, seed=5), new_study(name, seed=5)
    for study in (one, two):
        study.optimize(noisy, n_trials=30)
    assert [t.params for t in one.trials] == [t.params for t in two.trials]
    other = new_study(name, seed=6)
    other.optimize(noisy, n_trials=30)
    assert [t.params for t in one.trials] != [t.params for t in other.trials]


@pytest.mark.parametrize("name", ["nap", "random", "sobol"])
def test_a_restart_after_each_trial_changes_nothing(name: str) -> None:
    unbroken, broken = new_study(name), new_study(name)
    unbroken.optimize(noisy, n_trials=25)
    for _ in range(25):
        broken.sampler = BBOptSampler(name, seed=0, **QUICK[name])
        broken.optimize(noisy, n_trials=1)
    assert [t.params for t in unbroken.trials] == [t.params for t in broken.trials]


def test_a_restarted_mini_gp_goes_on_filling_the_space_where_it_stopped() -> None:
    unbroken, broken = (new_study("mini-gp-ucb", n_startup_trials=12) for _ in range(2))
    unbroken.optimize(noisy, n_trials=12)
    for _ in range(12):
        broken.sampler = BBOptSampler("mini-gp-ucb", seed=0, n_startup_trials=12)
        broken.optimize(noisy, n_trials=1)
    assert [t.params for t in unbroken.trials] == [t.params for t in broken.trials]


@pytest.mark.parametrize("name", ["mini-gp-ei", "nap"])
def test_maximising_is_minimising_with_the_other_sign(name: str) -> None:
    low, high = new_study(name), new_study(name, direction="maximize")
    low.optimize(noisy, n_trials=25)
    high.optimize(lambda trial: -noisy(trial), n_trials=25)
    assert [t.params for t in low.trials] == [t.params for t in high.trials]


def test_a_pickled_study_goes_on_alike() -> None:
    study = new_study("nap")
    study.optimize(noisy, n_trials=10)
    copy = pickle.loads(pickle.dumps(study))
    for each in (study, copy):
        each.optimize(noisy, n_trials=10)
    assert [t.params for t in study.trials] == [t.params for t in copy.trials]


@pytest.mark.parametrize("name", ["mini-gp-ucb", "mini-gp-ei"])
def test_it_proposes_what_ask_and_tell_propose(name: str) -> None:
    """The sampler against a loop over the optimizer itself, trial for trial."""

    def value(params: dict[str, Any], number: int) -> float:
        noise = float(stream(0, "noise", number=number).standard_normal())
        return (params["x"] - 0.3) ** 2 + params["n"] / 50 + 0.3 * noise

    def objective(trial: optuna.Trial) -> float:
        params = {"n": trial.suggest_int("n", 0, 50), "x": trial.suggest_float("x", -1, 1)}
        return value(params, trial.number)

    study = new_study(name)
    study.optimize(objective, n_trials=60)

    space = bbopt.Space({"n": bbopt.Int(0, 50), "x": bbopt.Float(-1, 1)})
    optimizer = bbopt.optimizer(name, space, seed=0, **QUICK[name])
    found = [study.trials[0].params]  # drawn before anything was known of the space
    optimizer.tell(bbopt.Trial(None, found[0]), value(found[0], 0))
    while len(found) < 60:
        optimizer.next_number = len(found)
        (trial,) = optimizer.ask()
        numbers = range(len(found), len(found) + trial.repeats)
        found += [trial.params] * trial.repeats
        # pooled as separate trials are: one list may have another mean in the last digit
        optimizer.tell(trial, merge(Outcome(value(trial.params, number)) for number in numbers))
    assert [t.params for t in study.trials] == found[:60]
    assert max(planned(t) for t in study.trials[1:]) > 1


# -- repeats


def test_repeats_are_trials_with_equal_params_the_conditional_ones_too() -> None:
    study = new_study("mini-gp-ucb")
    study.optimize(noisy, n_trials=70)
    last = study.trials[-1].system_attrs[BATCH]["batch"]
    sizes = []
    for number, trials in batches(study).items():
        assert all(t.params == trials[0].params for t in trials)
        assert trials[0].number == number
        if number != last:
            assert len(trials) == planned(trials[0])
        sizes.append(len(trials))
    assert max(sizes) > 2
    assert any(len(trials) > 1 and "y" in trials[0].params for trials in batches(study).values())


def test_values_of_a_batch_are_told_as_one_trial(recording: type[Recording]) -> None:
    recording.repeats = 3
    study = new_study("recording")
    study.optimize(noisy, n_trials=11)  # the first alone, three batches, one of the fourth
    told = latest().told
    assert [(number, outcome.count) for number, _, outcome in told] == [
        (None, 1),
        *((number, 3) for number in (1, 4, 7)),
    ]
    for number, _, outcome in told[1:]:
        assert number is not None
        assert list(outcome.values) == [study.trials[number + j].value for j in range(3)]


@pytest.mark.parametrize("ending", ["raise", "prune", "violate"])
def test_what_fails_once_is_not_repeated(recording: type[Recording], ending: str) -> None:
    recording.repeats = 4

    def objective(trial: optuna.Trial) -> float:
        value = noisy(trial)
        if trial.number == 2 and ending == "raise":
            raise ValueError("a planned failure")
        if trial.number == 2 and ending == "prune":
            raise optuna.TrialPruned
        if ending == "violate":
            trial.set_constraint("c", 1.0 if trial.number == 2 else -1.0)
        return value

    study = new_study("recording")
    study.optimize(objective, n_trials=5, catch=(ValueError,))
    assert [len(trials) for trials in batches(study).values()] == [2, 2]
    number, _, outcome = latest().told[1]
    assert number == 1
    expected = (2, 0, False) if ending == "violate" else (1, 1, True)
    assert (outcome.count, outcome.failed, outcome.feasible) == expected


def test_workers_fill_a_batch_together_and_count_what_runs(recording: type[Recording]) -> None:
    recording.repeats = 3
    study = new_study("recording")
    study.tell(study.ask(SPACE), 1.0)
    samplers = [BBOptSampler("recording", seed=0) for _ in range(2)]
    running = []
    for k in range(5):  # one of 3, and what begins another
        study.sampler = samplers[k % 2]
        running.append(study.ask(SPACE))
    assert {number: len(trials) for number, trials in batches(study).items()} == {1: 3, 4: 2}
    assert len({repr(t.params) for t in running[:3]}) == 1
    # the first decided once more, the second never: it had only to join
    assert latest().seen_awaited == [(running[0].params, 3)]


def test_a_batch_that_lost_a_worker_is_told_all_the_same(recording: type[Recording]) -> None:
    recording.repeats = 3
    study = new_study("recording")
    study.tell(study.ask(SPACE), 1.0)
    first, lost, third = (study.ask(SPACE) for _ in range(3))
    study.tell(first, 0.5)
    study.tell(third, 0.7)
    study.ask(SPACE)
    assert latest().told[-1][0] == first.number
    assert latest().told[-1][2].values == (0.5, 0.7)
    assert latest().seen_awaited == [(lost.params, 1)]
    study.tell(lost, 0.9)  # it was slow, not dead
    for _ in range(3):
        study.ask(SPACE)
    assert latest().told[-1][0] is None
    assert latest().told[-1][2].values == (0.9,)


# -- what is learned from


def test_every_finished_trial_is_told_once_whoever_made_it(recording: type[Recording]) -> None:
    study = new_study("recording")
    add(study, value=1.0)
    add(study, value=2.0, constraints={"c": 0.5})
    add(study, state=TrialState.FAIL, params={"n": 7})
    add(study, state=TrialState.PRUNED, params={"n": 8})
    add(study, value=math.inf, params={"n": 9})
    study.add_trial(optuna.create_trial(state=TrialState.FAIL))  # without params
    odd = {"n": IntDistribution(0, 60), "x": SPACE["x"]}
    params = {"n": 55, "x": 0.1}
    study.add_trial(optuna.create_trial(state=TrialState.PRUNED, params=params, distributions=odd))
    study.optimize(lambda trial: trial.suggest_int("n", 0, 50) + trial.suggest_float("x", -1, 1), 4)
    told = latest().told
    assert [(p["n"], o.count, o.failed, o.feasible) for _, p, o in told[:4]] == [
        (3, 2, 0, False),  # equal params at once
        (7, 0, 1, True),
        (8, 0, 1, True),
        (9, 0, 1, True),
    ]
    assert [number for number, _, _ in told[4:]] == [7, 8, 9]
    values = [outcome.mean for _, _, outcome in told[4:]]
    assert values == [t.value for t in study.trials[7:10]]


def test_what_runs_elsewhere_is_expected_before_it_has_asked_for_its_params(
    recording: type[Recording],
) -> None:
    study = new_study("recording")
    study.tell(study.ask(SPACE), 1.0)
    other = optuna.load_study(
        study_name=study.study_name,
        storage=study._storage,
        sampler=BBOptSampler("recording", seed=1),
    )
    theirs = other.ask()
    x = theirs.suggest_float("x", -1, 1)  # and nothing else yet
    study.ask(SPACE)
    [(params, repeats)] = latest().seen_awaited
    assert repeats == 1
    assert params["x"] == x
    assert params["n"] == theirs.suggest_int("n", 0, 50)


@pytest.mark.parametrize("name", ["mini-gp-ucb", "mini-gp-ei", "nap"])
def test_workers_of_one_seed_do_not_start_at_the_same_points(name: str) -> None:
    study = optuna.create_study()
    study.tell(study.ask(SPACE), 1.0)
    side_by_side = []
    for _ in range(6):
        study.sampler = BBOptSampler(name, seed=0)
        side_by_side.append(study.ask(SPACE).params)
    assert len({repr(params) for params in side_by_side}) == 6


class Counted(list[Any]):
    """A list that notes which items are read."""

    def __init__(self, items: list[Any]) -> None:
        super().__init__(items)
        self.read: list[int] = []

    def __getitem__(self, i: Any) -> Any:
        self.read.append(i)
        return super().__getitem__(i)

    def __iter__(self) -> Any:
        raise AssertionError("all trials are read")


def test_only_what_is_new_is_read() -> None:
    study = optuna.create_study()
    history = History()
    study.tell(study.ask(SPACE), 1.0)
    lost, slow = study.ask(SPACE), study.ask(SPACE)
    study.enqueue_trial({"x": 0.0})
    history.read(Counted(study.trials))
    assert [t.number for t in history.finished] == [0]
    study.tell(slow, 1.0)
    study.tell(study.ask(SPACE), 1.0)
    trials = Counted(study.trials)
    history.read(trials)
    assert trials.read == [1, 2, 3]
    assert [t.number for t in history.finished] == [0, 2, 3]
    assert [t.number for t in history.running] == [lost.number]


@settings(max_examples=40)
@given(data=st.data())
def test_the_common_space_is_optunas_intersection(data: st.DataObject) -> None:
    study = optuna.create_study(sampler=BBOptSampler("random", seed=0))
    kinds = [FloatDistribution(0, 1), FloatDistribution(0, 2), IntDistribution(0, 9)]
    for _ in range(data.draw(st.integers(0, 8))):
        names = data.draw(st.sets(st.sampled_from("abcd")))
        distributions = {name: data.draw(st.sampled_from(kinds)) for name in names}
        state = data.draw(st.sampled_from([TrialState.COMPLETE] * 3 + [TrialState.FAIL]))
        value = 0.5 if state == TrialState.COMPLETE else None
        study.add_trial(
            optuna.create_trial(
                state=state,
                value=value,
                params=dict.fromkeys(names, 0),
                distributions=distributions,
            )
        )
        trial = study.trials[-1]
        found = study.sampler.infer_relative_search_space(study, trial)
        expected = optuna.search_space.IntersectionSearchSpace().calculate(study)
        assert list(found.items()) == list(expected.items())


def test_a_pruner_that_shows_some_trials_only_hides_none(recording: type[Recording]) -> None:
    study = new_study("recording")
    study.pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=9)

    def objective(trial: optuna.Trial) -> float:
        value = noisy(trial)
        trial.report(value, 1)
        return value

    study.optimize(objective, n_trials=12)
    assert sum(outcome.count for _, _, outcome in latest().told) == 11


# -- what is fixed by others


def test_enqueued_params_are_evaluated_and_the_rest_is_proposed(
    recording: type[Recording],
) -> None:
    recording.repeats = 3
    study = new_study("recording")
    study.enqueue_trial({"x": 0.25, "n": 50})
    study.enqueue_trial({"x": -0.5})
    study.enqueue_trial({"x": 0.5, "n": 5})
    trials = []
    for value in (1.0, 2.0, 3.0, 4.0):
        trials.append(study.ask(SPACE))
        study.tell(trials[-1], value)
    assert trials[0].params == {"x": 0.25, "n": 50}
    assert trials[1].params["x"] == -0.5
    assert trials[2].params == {"x": 0.5, "n": 5}
    assert [BATCH in t.system_attrs for t in study.trials] == [False, True, False, True]
    assert planned(study.trials[1]) == 1  # what was fixed is nobody's batch
    foreign = [(n, p, o.mean) for n, p, o in latest().told if o.count]
    assert foreign == [
        (None, t.params, v) for t, v in zip(trials[:3], (1.0, 2.0, 3.0), strict=True)
    ]
    # what nobody is going to evaluate does not stay pending
    assert [t.number for t in latest().pending] == [3]


def test_a_fixed_value_out_of_range_is_left_out() -> None:
    study = new_study("mini-gp-ucb")
    study.tell(study.ask(SPACE), 1.0)
    study.enqueue_trial({"x": 7.0, "n": 5})
    with pytest.warns(UserWarning, match="out of range"):
        trial = study.ask(SPACE)
    assert trial.params == {"x": 7.0, "n": 5}
    study.tell(trial, 0.0)
    assert -1 <= study.ask(SPACE).params["x"] <= 1


def test_threads_share_a_sampler() -> None:
    study = new_study("mini-gp-ucb")
    study.optimize(noisy, n_trials=40, n_jobs=4)
    assert Counter(t.state for t in study.trials) == {TrialState.COMPLETE: 40}
    for trials in batches(study).values():
        assert len(trials) <= planned(trials[0])


def test_a_sampler_keeps_studies_apart(recording: type[Recording]) -> None:
    sampler = BBOptSampler("recording", seed=0)
    storage = optuna.storages.InMemoryStorage()
    one = optuna.create_study(storage=storage, sampler=sampler)
    two = optuna.create_study(storage=storage, sampler=sampler)
    three = optuna.create_study(sampler=sampler)
    for study in (one, two, three):
        study.optimize(noisy, n_trials=5)
        assert len(latest().told) == 4
    assert [t.params for t in one.trials] == [t.params for t in two.trials]
    assert [t.params for t in one.trials] == [t.params for t in three.trials]


# -- what it finds


@pytest.mark.parametrize("name", ["mini-gp-ucb", "mini-gp-ei"])
def test_it_beats_random_search_on_a_smooth_function(name: str) -> None:
    def objective(trial: optuna.Trial) -> float:
        x = [trial.suggest_float(f"x{i}", -1, 1) for i in range(3)]
        return sum((v - 0.3) ** 2 for v in x)

    def regret(name: str, seed: int) -> float:
        study = optuna.create_study(sampler=BBOptSampler(name, seed=seed, **QUICK[name]))
        study.optimize(objective, n_trials=40)
        return study.best_value

    ours, blind = ([regret(n, seed) for seed in range(3)] for n in (name, "random"))
    assert np.median(ours) < np.median(blind) / 2


# -- what is refused


def test_wrong_arguments_are_refused_when_the_sampler_is_built() -> None:
    with pytest.raises(UnknownName, match="did you mean mini-gp-ucb"):
        BBOptSampler("mini-gp-ubc")
    with pytest.raises(UsageError, match="optimizer 'mini-gp-ucb': staleness must be"):
        BBOptSampler("mini-gp-ucb", staleness=0.5)
    with pytest.raises(UsageError, match="optimizer 'sobol' has no setting 'n'"):
        BBOptSampler("sobol", n=3)
    with pytest.raises(UsageError, match="seed must be"):
        BBOptSampler("sobol", seed=-1)


def test_a_method_that_needs_more_than_a_study_tells_is_refused() -> None:
    with pytest.raises(UnsupportedSpec, match="'gp:ucb' requires a problem with 'candidates'"):
        BBOptSampler("gp:ucb")


@pytest.mark.parametrize(
    "use", [best_mean, lambda study: study.ask(SPACE), lambda study: study.optimize(noisy, 1)]
)
def test_several_objectives_are_refused(use: Callable[[optuna.Study], Any]) -> None:
    study = optuna.create_study(
        directions=["minimize", "maximize"], sampler=BBOptSampler("random", seed=0)
    )
    with pytest.raises(UnsupportedSpec, match=r"one objective, .* 2"):
        use(study)


def test_without_a_seed_two_samplers_differ() -> None:
    assert BBOptSampler("random").seed != BBOptSampler("random").seed

"""Problems around problems: noise, shifts, delays and faults."""

import math
import pickle
import time

import numpy as np
import pytest
from scipy import stats

from bbopt import Best, Categorical, Float, Int, Outcome, Problem, Space, Spec, Text, Trial
from bbopt.errors import UsageError
from bbopt.function import FunctionProblem
from bbopt.wrappers import Flaky, Noisy, Shifted, Slow

SPACE = Space({"x": Float(-1, 1), "n": Int(0, 6), "k": Categorical(["a", "b"])})
AT = {"x": 0.25, "n": 3, "k": "b"}


class Bowl(Problem):
    """Sum of squares, a million at a time, with all that a problem may have."""

    name = "bowl"
    block = 10**6
    needs_llm = True
    optimum = 0.0

    @property
    def spec(self):
        return Spec(space=SPACE, deterministic=True, value_range=(0, 100), objective="A bowl.")

    def evaluate(self, trial, rng):
        return [self.truth(trial.params)] * trial.repeats

    def truth(self, params):
        return params["x"] ** 2 + (params["n"] - 3) ** 2 + (params["k"] == "b")

    def test_value(self, best):
        return self.truth(best.params) + 10

    def propose(self, params, feedback, rng):
        return params


def evaluate(problem, params=AT, repeats=1, number=0, seed=0):
    trial = Trial(number, params, repeats)
    return Outcome.coerce(problem.evaluate(trial, np.random.default_rng(seed)))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda problem: Noisy(problem, 0.0),
        lambda problem: Slow(problem, 0),
        lambda problem: Flaky(problem, {}),
    ],
)
def test_a_wrapper_that_changes_nothing_is_the_problem_itself(wrap):
    bowl, wrapped = Bowl(), wrap(Bowl())
    assert evaluate(wrapped, repeats=3).values == (1.0625,) * 3
    assert wrapped.truth(AT) == bowl.truth(AT)
    assert wrapped.test_value(Best(AT, 0.0, None, 1)) == 11.0625
    assert (wrapped.needs_llm, wrapped.optimum) == (True, 0.0)
    assert wrapped.propose(AT, [], None) is AT
    assert wrapped.spec.space == SPACE
    assert wrapped.spec.objective == "A bowl."
    assert pickle.loads(pickle.dumps(wrapped)).truth(AT) == bowl.truth(AT)


def test_a_wrapped_problem_gets_the_model_that_its_wrapper_is_given():
    bowl = Bowl()
    wrapped = Slow(Noisy(bowl, 0.1), 0)
    assert wrapped.llm is None
    wrapped.llm = client = object()
    assert wrapped.llm is bowl.llm is client


def test_wrappers_compose():
    problem = Noisy(Flaky(Shifted(Slow(Bowl(), 0), seed=1), {4: "nan"}), sd=0.1)
    assert problem.name == "noisy(flaky(shifted(slow(bowl))))"
    moved = Shifted(Bowl(), seed=1)
    assert problem.truth(AT) == moved.truth(AT)
    outcome = evaluate(problem, repeats=500)
    assert outcome.mean == pytest.approx(moved.truth(AT), abs=4 * 0.1 / math.sqrt(500))
    assert evaluate(problem, number=4).is_failure


# --- Noisy ----------------------------------------------------------------------------


def test_the_noise_is_gaussian_independent_and_of_the_given_size():
    values = np.array(evaluate(Noisy(Bowl(), 0.5), repeats=1000).values)
    assert stats.kstest(values, stats.norm(1.0625, 0.5).cdf).pvalue > 0.01
    assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 4 / math.sqrt(1000)


def test_the_noise_comes_from_the_generator_of_the_evaluation():
    problem = Noisy(Bowl(), 0.5)
    assert evaluate(problem, seed=1).values == evaluate(problem, seed=1).values
    assert evaluate(problem, seed=1).values != evaluate(problem, seed=2).values


def test_a_noisy_problem_is_not_deterministic_and_has_no_range():
    spec = Noisy(Bowl(), 0.5).spec
    assert spec.deterministic is False
    assert spec.value_range is None


def test_more_values_than_are_kept_are_all_disturbed():
    outcome = evaluate(Noisy(Bowl(), 0.5), repeats=20_000)
    assert outcome.count == 20_000
    assert outcome.mean == pytest.approx(1.0625, abs=4 * 0.5 / math.sqrt(20_000))
    assert outcome.m2 / 20_000 == pytest.approx(0.25, rel=4 * math.sqrt(2 / 20_000))


def test_noise_keeps_what_an_outcome_carries():
    carried = Outcome(
        [0.5, math.nan], feedback=["a", "b"], cost=2.0, error="no", constraints=[1.0], info={"a": 1}
    )
    outcome = evaluate(Noisy(FunctionProblem(lambda p: carried, SPACE), 0.1))
    assert (outcome.count, outcome.failed) == (1, 1)
    for field in ("feedback", "cost", "usage", "error", "constraints", "info"):
        assert getattr(outcome, field) == getattr(carried, field)


def test_noise_cannot_be_added_to_statistics():
    problem = Noisy(FunctionProblem(lambda p: Outcome.summary(5, 0.5, 0.1), SPACE), 0.1)
    with pytest.raises(UsageError, match=r"noisy\(<lambda>\) needs single values"):
        evaluate(problem)


def test_a_wrong_value_is_as_wrong_with_noise():
    with pytest.raises(UsageError, match="a value must be a number"):
        evaluate(Noisy(FunctionProblem(lambda p: "0.3", SPACE), 0.1))


# --- Shifted --------------------------------------------------------------------------


def test_a_shift_moves_the_optimum_and_keeps_its_value():
    shifted = Shifted(Bowl(), seed=3)
    grid = SPACE.from_unit(
        [[x, n / 7 + 0.01, 1.0, 0.0] for x in np.linspace(0, 1, 401) for n in range(7)]
    )
    values = [shifted.truth(params) for params in grid]
    best = grid[int(np.argmin(values))]
    assert min(values) == pytest.approx(0.0, abs=0.0025**2)
    assert (best["x"], best["n"]) != (0.0, 3)
    assert evaluate(shifted, best).mean == min(values)
    assert shifted.test_value(Best(best, 0.0, None, 1)) == min(values) + 10


def test_a_shift_is_a_bijection_of_integers_and_leaves_choices_alone():
    seen = []
    problem = FunctionProblem(lambda p: seen.append(p) or 0.0, SPACE)
    shifted = Shifted(problem, seed=2)
    for n in range(7):
        evaluate(shifted, {"x": 0.0, "n": n, "k": "b"})
    assert sorted(p["n"] for p in seen) == list(range(7))
    assert [p["n"] for p in seen] != list(range(7))
    assert {p["k"] for p in seen} == {"b"}
    assert len({p["x"] for p in seen}) == 1


def test_a_shift_depends_on_its_seed_alone():
    values = [Shifted(Bowl(), seed=seed).truth(AT) for seed in (0, 0, 1, 2)]
    assert values[0] == values[1]
    assert len(set(values)) == 3


def test_a_shift_passes_the_rest_of_the_trial_on():
    trials = []

    class Recorder(Bowl):
        def evaluate(self, trial, rng):
            trials.append(trial)
            return [0.0] * trial.repeats

    trial = Trial(7, AT, 2, {"agent": 3})
    Shifted(Recorder()).evaluate(trial, np.random.default_rng())
    assert (trials[0].number, trials[0].repeats, trials[0].context) == (7, 2, {"agent": 3})


@pytest.mark.parametrize(
    "fields",
    [
        {"space": {"x": Float(0, 1), "prompt": Text("Say yes.")}},
        {"space": SPACE, "candidates": [AT]},
    ],
)
def test_what_cannot_be_shifted_is_refused(fields):
    problem = FunctionProblem(lambda p: 0.0, **fields)
    with pytest.raises(UsageError, match="Shifted cannot wrap '<lambda>', which has texts or cand"):
        Shifted(problem)


# --- Slow and Flaky -------------------------------------------------------------------


def test_a_slow_problem_sleeps_before_each_evaluation(monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    evaluate(Slow(Bowl(), 1.5))
    assert slept == [1.5]


def test_faults_happen_at_their_trials_only(monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    faults = {0: "raise", 1: "nan", 2: "inf", 3: "string", 4: "none", 5: "hang"}
    problem = Flaky(Bowl(), faults)
    with pytest.raises(UsageError, match="a planned failure"):
        evaluate(problem, number=0)
    assert evaluate(problem, number=1).is_failure
    assert evaluate(problem, number=2).is_failure
    for number in (3, 4):
        with pytest.raises(UsageError, match="a value must be a number"):
            evaluate(problem, number=number)
    with pytest.raises(UsageError, match="a value must be a number"):
        evaluate(problem, number=5)
    assert slept == [3600]
    assert evaluate(problem, number=6).values == (1.0625,)
    assert evaluate(problem, number=None).values == (1.0625,)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Noisy(Bowl(), -1), "sd must be a finite number >= 0, got -1"),
        (lambda: Slow(Bowl(), math.inf), "seconds must be a finite number >= 0, got inf"),
        (lambda: Shifted(Bowl(), seed=-1), "seed must be an integer >= 0, got -1"),
        (lambda: Flaky(Bowl(), {0: "explode"}), r"faults\[0\] must be one of 'raise'.*'explode'"),
        (lambda: Flaky(Bowl(), {"a": "nan"}), "faults: a trial number must be an integer >= 0"),
        (lambda: Noisy(lambda p: 0.0, 1), "Noisy wraps a Problem, got <function"),
    ],
)
def test_a_bad_wrapper_is_refused_in_words(build, message):
    with pytest.raises(UsageError, match=message):
        build()


def test_an_async_problem_cannot_be_wrapped():
    async def value(params):
        return 0.0

    with pytest.raises(UsageError, match="Slow cannot wrap 'value', whose evaluate is async"):
        Slow(FunctionProblem(value, SPACE), 1)

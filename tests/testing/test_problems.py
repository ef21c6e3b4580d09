"""ProblemContract passes what keeps the contract and catches each way of breaking it."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import bbopt
from bbopt.errors import UsageError
from bbopt.spec import Agents, Examples
from bbopt.testing import ProblemContract
from bbopt.trial import Outcome


class Parabola(bbopt.Problem):
    """(x − 1)² with noise of variance ``sd²``; the subclasses below each break one clause."""

    optimum = 0.0
    block = 1000
    optimal_params = ({"x": 1.0},)

    def __init__(self, sd=0.1, **spec):
        self.sd = sd
        self.fields = {"deterministic": sd == 0, "objective": "A parabola.", **spec}

    @property
    def spec(self):
        return bbopt.Spec(space={"x": bbopt.Float(-3, 3)}, **self.fields)

    def truth(self, params):
        return (params["x"] - 1) ** 2

    def evaluate(self, trial, rng):
        return self.truth(trial.params) + self.sd * rng.standard_normal(trial.repeats)

    def test_value(self, best):
        return (best.params["x"] - 1) ** 2 + 1


class SquareArrays(Parabola):
    """One agent a shift: (x − 1)² + agent, also for whole arrays."""

    def __init__(self):
        super().__init__(sd=0, agents=Agents(3))

    truth = bbopt.Problem.truth

    def evaluate(self, trial, rng):
        value = (trial.params["x"] - 1) ** 2 + trial.context["agent"]
        return np.full(trial.repeats, value)

    def evaluate_array(self, x, agent, rng):
        return (x[:, 0] - 1) ** 2 + agent


class Awaited(Parabola):
    """Its examples differ, and it is evaluated in a coroutine."""

    optimum = None

    def __init__(self):
        super().__init__(deterministic=None, examples=Examples((4, 17)))

    truth = bbopt.Problem.truth

    async def evaluate(self, trial, rng):
        ids = trial.context["examples"]
        return Outcome([float(i) for i in ids], feedback=[f"example {i}" for i in ids])

    def propose(self, params, feedback, rng):
        assert all(text.startswith("example") for text in feedback)
        return {"x": rng.uniform(-3, 3)}


KEEPING = [Parabola(), Parabola(sd=0), SquareArrays(), Awaited()]


@pytest.mark.parametrize("keeping", KEEPING, ids=lambda p: f"{type(p).__name__}")
class TestProblemThatKeepsTheContract(ProblemContract):
    @pytest.fixture
    def problem(self, keeping):
        return keeping


# --- faults --------------------------------------------------------------------------------


class SilentAboutItsObjective(Parabola):
    def __init__(self):
        super().__init__(objective=" ")


class SpecThatChanges(Parabola):
    counter = itertools.count()

    @property
    def spec(self):
        return bbopt.Spec(space={"x": bbopt.Float(0, 1)}, objective=f"{next(self.counter)}")


class OneValueForAllRepeats(Parabola):
    def evaluate(self, trial, rng):
        return super().evaluate(trial, rng)[0]


class DrawsFromElsewhere(Parabola):
    source = np.random.default_rng(0)

    def evaluate(self, trial, rng):
        return super().evaluate(trial, self.source)


class RemembersTheLastPoint(Parabola):
    last = 0.0

    def evaluate(self, trial, rng):
        before, self.last = self.last, trial.params["x"]
        return super().evaluate(trial, rng) + before


class NoisyButCalledDeterministic(Parabola):
    def __init__(self):
        super().__init__(deterministic=True)


class QuietButCalledNoisy(Parabola):
    def __init__(self):
        super().__init__(sd=0, deterministic=False)


class ModifiesItsParams(Parabola):
    def evaluate(self, trial, rng):
        values = super().evaluate(trial, rng)
        trial.params["x"] = 0.0
        return values


class LeavesItsRange(Parabola):
    def __init__(self):
        super().__init__(value_range=(0.0, 1.0))


class CannotBeWritten(Parabola):
    def evaluate(self, trial, rng):
        return Outcome(super().evaluate(trial, rng), info={"note": 1j})


class ForgetsWhenPickled(Parabola):
    def __getstate__(self):
        return {**self.__dict__, "sd": 0.2}


class OptimumElsewhere(Parabola):
    optimal_params = ({"x": 0.9},)


class OptimumTooHigh(Parabola):
    optimum = 0.5


class BiasedNoise(Parabola):
    def evaluate(self, trial, rng):
        return super().evaluate(trial, rng) + 0.05


class TestValueThatChanges(Parabola):
    __test__ = False
    counter = itertools.count()

    def test_value(self, best):
        return float(next(self.counter))


class TestValueThatIsNaN(Parabola):
    __test__ = False

    def test_value(self, best):
        return math.nan


class ArraysOfOtherValues(SquareArrays):
    def evaluate_array(self, x, agent, rng):
        return (x[:, 0] - 1) ** 2


class ArraysOverwritten(SquareArrays):
    def evaluate_array(self, x, agent, rng):
        values = super().evaluate_array(x, agent, rng)
        x -= 1
        return values


class ProposesOutside(Parabola):
    def propose(self, params, feedback, rng):
        return {"x": 4.0}


@pytest.mark.parametrize(
    ("faulty", "test"),
    [
        (SilentAboutItsObjective, "spec_is_complete_and_stays_the_same"),
        (SpecThatChanges, "spec_is_complete_and_stays_the_same"),
        (OneValueForAllRepeats, "every_repeat_of_a_block_gives_one_value"),
        (DrawsFromElsewhere, "equal_streams_give_equal_outcomes"),
        (RemembersTheLastPoint, "an_outcome_does_not_depend_on_the_evaluations_before_it"),
        (NoisyButCalledDeterministic, "another_block_draws_anew_unless_deterministic"),
        (NoisyButCalledDeterministic, "repeats_of_a_deterministic_problem_are_equal"),
        (QuietButCalledNoisy, "another_block_draws_anew_unless_deterministic"),
        (ModifiesItsParams, "params_are_not_modified"),
        (LeavesItsRange, "values_are_within_the_value_range"),
        (CannotBeWritten, "outcomes_are_json"),
        (ForgetsWhenPickled, "a_pickled_problem_gives_the_same_outcomes"),
        (OptimumElsewhere, "truth_at_the_optimal_params_is_the_optimum"),
        (OptimumTooHigh, "no_sampled_point_is_better_than_the_optimum"),
        (BiasedNoise, "the_mean_of_many_evaluations_is_the_truth"),
        (TestValueThatChanges, "the_test_value_is_a_number_and_repeats_itself"),
        (TestValueThatIsNaN, "the_test_value_is_a_number_and_repeats_itself"),
        (ArraysOfOtherValues, "evaluate_array_agrees_with_evaluate"),
        (ArraysOverwritten, "evaluate_array_agrees_with_evaluate"),
        (ProposesOutside, "proposed_params_belong_to_the_space"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_problem_that_breaks_the_contract_is_caught(faulty, test):
    problem, contract = faulty(), ProblemContract()
    extra = [list(problem.optimal_params)] if test.startswith("truth_at") else []
    with pytest.raises((AssertionError, TypeError, UsageError)):
        getattr(contract, f"test_{test}")(problem, *extra)

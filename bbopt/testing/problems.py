"""The contract that every problem keeps, as a test class to inherit."""

# ruff: noqa: D102 -- the name of a test is its sentence

from __future__ import annotations

import asyncio
import copy
import inspect
import itertools
import json
import math
from typing import Any, ClassVar

import cloudpickle
import numpy as np
import pytest

from bbopt import seeding
from bbopt.base import Problem
from bbopt.space import Params, Space
from bbopt.spec import DIRECTIONS, Spec
from bbopt.trial import MAX_VALUES, Best, Outcome, Trial, merge

ROUNDING = 1e-9
"""Relative error allowed where two values are equal but for rounding."""


class ProblemContract:
    """What every problem must do, checked for the one that the fixture ``problem`` gives.

    Subclass it in a test module::

        class TestMyProblem(ProblemContract):
            @pytest.fixture
            def problem(self):
                return MyProblem()

    What a problem does not offer (an optimum, a truth, ``evaluate_array``) is skipped with the
    reason. Everything is drawn from fixed streams, so that a test that passes once passes
    always.
    """

    n_points: ClassVar[int] = 10
    """How many random params are evaluated; fewer where an evaluation is dear."""
    n_repeats: ClassVar[int] = 400
    """How many evaluations of one point stand for its mean."""

    @pytest.fixture
    def problem(self) -> Problem:
        """The problem to test."""
        raise NotImplementedError("override the fixture 'problem'")

    @pytest.fixture
    def optimal_params(self, problem: Problem) -> list[Params]:
        """Params whose true value is ``problem.optimum``; none where they are not known."""
        return list(getattr(problem, "optimal_params", []))

    # --- the spec ---------------------------------------------------------------------

    def test_spec_is_complete_and_stays_the_same(self, problem: Problem) -> None:
        spec = problem.spec
        assert isinstance(spec, Spec)
        assert spec == problem.spec
        assert spec.direction in DIRECTIONS
        assert spec.objective.strip(), "the objective must say in a sentence what is optimised"
        assert Space.from_json(json.loads(json.dumps(spec.space.to_json()))) == spec.space

    def test_sampled_params_belong_to_the_space(self, problem: Problem) -> None:
        for params in _sample(problem, self.n_points):
            assert problem.spec.space.validate(params) == params

    # --- evaluation -------------------------------------------------------------------

    def test_every_repeat_of_a_block_gives_one_value(self, problem: Problem) -> None:
        assert isinstance(problem.block, int)
        assert problem.block >= 1
        params = _sample(problem, 1)[0]
        for repeats in {1, min(3, problem.block), min(MAX_VALUES + 1, problem.block)}:
            outcome = _evaluate(problem, params, repeats=repeats)
            assert outcome.evaluations == repeats

    def test_equal_streams_give_equal_outcomes(self, problem: Problem) -> None:
        for params in _sample(problem, self.n_points):
            first, second = (_evaluate(problem, params) for _ in range(2))
            assert first.to_json() == second.to_json()

    def test_an_outcome_does_not_depend_on_the_evaluations_before_it(
        self, problem: Problem
    ) -> None:
        points = list(enumerate(_sample(problem, self.n_points)))
        forth = {i: _evaluate(problem, params, number=i).to_json() for i, params in points}
        back = {i: _evaluate(problem, params, number=i).to_json() for i, params in points[::-1]}
        assert forth == back

    def test_another_block_draws_anew_unless_deterministic(self, problem: Problem) -> None:
        if problem.spec.deterministic is None:
            pytest.skip("whether the problem is deterministic is not known")
        repeats = min(10, problem.block)
        # values and numbers, for where all points are one text, whose means may be equal by chance
        drawn = [
            [
                _evaluate(problem, params, repeats=repeats, number=i, block=block).values
                for i, params in enumerate(_sample(problem, self.n_points))
            ]
            for block in range(2)
        ]
        assert (drawn[0] == drawn[1]) is problem.spec.deterministic

    def test_repeats_of_a_deterministic_problem_are_equal(self, problem: Problem) -> None:
        if not problem.spec.deterministic:
            pytest.skip("the problem is not deterministic")
        for params in _sample(problem, self.n_points):
            outcome = _evaluate(problem, params, repeats=min(10, problem.block))
            finite = {value for value in outcome.values if math.isfinite(value)}
            assert len(finite) <= 1
            assert all(value == _evaluate(problem, params).mean for value in finite)

    def test_params_are_not_modified(self, problem: Problem) -> None:
        for params in _sample(problem, self.n_points):
            before = copy.deepcopy(params)
            _evaluate(problem, params)
            problem.truth(params)
            assert params == before

    def test_values_are_within_the_value_range(self, problem: Problem) -> None:
        if problem.spec.value_range is None:
            pytest.skip("the problem states no value range")
        low, high = problem.spec.value_range
        for params in _sample(problem, self.n_points):
            outcome = _evaluate(problem, params, repeats=min(3, problem.block))
            assert all(low <= value <= high for value in outcome.values if math.isfinite(value))

    def test_outcomes_are_json(self, problem: Problem) -> None:
        outcome = _evaluate(problem, _sample(problem, 1)[0])
        text = json.dumps(outcome.to_json(), allow_nan=False)
        assert Outcome.from_json(json.loads(text)).to_json() == outcome.to_json()

    def test_a_pickled_problem_gives_the_same_outcomes(self, problem: Problem) -> None:
        restored = cloudpickle.loads(cloudpickle.dumps(problem))
        assert restored.spec == problem.spec
        for params in _sample(problem, min(3, self.n_points)):
            outcome = _evaluate(problem, params).to_json()
            assert _evaluate(restored, params).to_json() == outcome

    # --- what is known of the truth ---------------------------------------------------

    def test_truth_at_the_optimal_params_is_the_optimum(
        self, problem: Problem, optimal_params: list[Params]
    ) -> None:
        truths = [problem.truth(problem.spec.space.validate(p)) for p in optimal_params]
        if problem.optimum is None or not truths or None in truths:
            pytest.skip("the optimum, where it lies, or the truth is not known")
        for truth in truths:
            assert truth == pytest.approx(problem.optimum, rel=ROUNDING, abs=1e-12)

    def test_no_sampled_point_is_better_than_the_optimum(self, problem: Problem) -> None:
        if problem.optimum is None:
            pytest.skip("the optimum is not known")
        slack = ROUNDING * max(1.0, abs(problem.optimum))
        for params in _sample(problem, 10 * self.n_points):
            truth = problem.truth(params)
            if truth is not None:
                assert problem.spec.sign * (truth - problem.optimum) >= -slack, params

    def test_the_mean_of_many_evaluations_is_the_truth(self, problem: Problem) -> None:
        points = _sample(problem, min(3, self.n_points))
        truths = [problem.truth(params) for params in points]
        if None in truths:
            pytest.skip("the truth is not known")
        per_block = min(self.n_repeats, problem.block)
        blocks = range(1 if problem.spec.deterministic else -(-self.n_repeats // per_block))
        for params, truth in zip(points, truths, strict=True):
            assert truth is not None
            by_agent = [
                merge(
                    _evaluate(problem, params, repeats=per_block, block=b, agent=a) for b in blocks
                )
                for a in range(problem.spec.agents.n if problem.spec.agents else 1)
            ]
            mean = float(np.mean([outcome.mean for outcome in by_agent]))
            # five standard errors: a wrong alarm once in two million points
            variances = [o.m2 / max(o.count - 1, 1) / o.count for o in by_agent]
            largest = max(abs(outcome.mean) for outcome in by_agent)  # what rounding is relative to
            tolerance = 5 * math.sqrt(sum(variances)) / len(by_agent)
            tolerance += ROUNDING * max(1.0, abs(truth), largest)
            assert abs(mean - truth) <= tolerance, params

    def test_the_test_value_is_a_number_and_repeats_itself(self, problem: Problem) -> None:
        best = Best(_sample(problem, 1)[0], 0.0, None, 1)
        value = problem.test_value(best)
        if value is None:
            pytest.skip("the problem has no test value")
        assert math.isfinite(value)
        assert problem.test_value(best) == value

    # --- optional methods -------------------------------------------------------------

    def test_evaluate_array_agrees_with_evaluate(self, problem: Problem) -> None:
        if problem.evaluate_array is None:
            pytest.skip("the problem has no evaluate_array")
        points = _sample(problem, self.n_points)
        x = np.array([list(params.values()) for params in points], dtype=float)
        agents = problem.spec.agents.n if problem.spec.agents else 1
        for agent in range(min(3, agents)):
            before = x.copy()
            first, second = (
                problem.evaluate_array(x, agent, seeding.stream(0, "array", number=agent))
                for _ in range(2)
            )
            np.testing.assert_array_equal(x, before)
            assert first.shape == (len(x),)
            np.testing.assert_array_equal(first, second)
            if problem.spec.deterministic:
                singly = [_evaluate(problem, params, agent=agent).mean for params in points]
                np.testing.assert_allclose(first, singly, rtol=ROUNDING)

    def test_proposed_params_belong_to_the_space(self, problem: Problem) -> None:
        if problem.propose is None:
            pytest.skip("the problem proposes nothing")
        for i, params in enumerate(_sample(problem, self.n_points)):
            before = copy.deepcopy(params)
            feedback = _evaluate(problem, params).feedback
            proposed = problem.propose(params, feedback, seeding.stream(0, "propose", number=i))
            problem.spec.space.validate(proposed)
            assert params == before


def _sample(problem: Problem, n: int) -> list[Params]:
    """``n`` fixed random params, or rows of the table of candidates."""
    spec, rng = problem.spec, seeding.stream(0, "problem contract")
    if spec.candidates is not None:
        return [spec.candidates[int(i)] for i in rng.integers(len(spec.candidates), size=n)]
    return spec.space.sample(rng, n)


def _evaluate(
    problem: Problem,
    params: Params,
    *,
    repeats: int = 1,
    number: int = 0,
    block: int = 0,
    agent: int = 0,
) -> Outcome:
    """What one call of ``evaluate`` gives, in the stream that a run would use."""
    context: dict[str, Any] = {}
    if problem.spec.agents:
        context["agent"] = agent
    if problem.spec.examples:
        ids = itertools.cycle(problem.spec.examples.train)
        context["examples"] = tuple(itertools.islice(ids, repeats))
    trial = Trial(number, params, repeats, context)
    result = problem.evaluate(trial, seeding.stream(0, "evaluate", number=number, block=block))
    return Outcome.coerce(asyncio.run(_awaited(result)) if inspect.isawaitable(result) else result)


async def _awaited(result: Any) -> Any:
    return await result

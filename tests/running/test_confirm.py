"""The value that is reported is honest: what confirms has not chosen."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles_of_runs import Chained, ChainedSettings, Noisy

import bbopt
from bbopt import Outcome, Problem, Result, Trial
from bbopt.spec import Examples

SPACE = bbopt.Space({"x": bbopt.Float(0, 1)})


def chained(problem: Problem, seed: int = 3) -> Chained:
    return Chained(problem.spec, seed=seed, settings=ChainedSettings())


class Flat(Noisy):
    """Noise and nothing else: any difference between candidates is luck."""

    def __init__(self, **spec: Any) -> None:
        super().__init__(SPACE, block=1000, **spec)

    def truth(self, params: dict[str, Any]) -> float:
        return 0.0

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
        return rng.standard_normal(trial.repeats)


def confirming(result: Result) -> list[Any]:
    return [e for e in result.trials if "confirm" in e.trial.context]


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_confirmed_value_is_unbiased_and_an_unconfirmed_one_is_not(direction: str) -> None:
    problem = Flat(direction=direction)
    better = -1.0 if direction == "minimize" else 1.0

    def optimism(confirm: float) -> np.ndarray:
        bests = [
            bbopt.run(
                problem, bbopt.optimizer("random", problem.spec, seed=seed), 20, confirm=confirm
            ).best
            for seed in range(200)
        ]
        assert all(best is not None for best in bests)
        return better * np.array([best.value for best in bests if best is not None])

    honest, lucky = optimism(0.3), optimism(0.0)
    # 200 runs: the mean of unbiased values is within three standard errors of the truth, 0
    assert abs(honest.mean()) < 3 * honest.std() / math.sqrt(200)
    # the best of 20 standard normal values is 1.867 on average
    assert abs(lucky.mean() - 1.867) < 3 * lucky.std() / math.sqrt(200)


def test_the_standard_error_says_how_far_the_truth_is() -> None:
    problem = Flat()
    runs = [
        bbopt.run(problem, bbopt.optimizer("random", problem.spec, seed=s), 80, confirm=0.5).best
        for s in range(150)
    ]
    z = [best.value / best.stderr for best in runs if best is not None and best.stderr]
    assert len(z) == 150
    # Student's t with 19 degrees of freedom has variance 19/17; 150 draws estimate it to 12 %
    assert abs(np.var(z) - 19 / 17) < 3 * math.sqrt(2 / 150) * 19 / 17 * 1.3


@pytest.mark.parametrize(
    ("budget", "share"), [(2, 0.5), (10, 0.1), (100, 0.07), (30, 0.99), (9, 0.3)]
)
def test_the_share_is_held_back_and_spent(budget: int, share: float) -> None:
    problem = Noisy(SPACE)
    result = bbopt.run(problem, chained(problem), budget, confirm=share)
    n = min(math.ceil(round(share * budget, 9)), budget - 1)
    assert sum(e.outcome.evaluations for e in confirming(result)) == n
    assert result.spent.evaluations == budget
    assert result.best is not None
    final = confirming(result)[-1]
    assert (result.best.params, result.best.value) == (final.trial.params, final.outcome.mean)
    assert result.best.count == final.outcome.count


def test_half_compares_the_best_few_and_half_estimates_the_winner() -> None:
    problem = Noisy(SPACE)
    result = bbopt.run(problem, chained(problem), 60, confirm=0.5)
    rows = confirming(result)
    assert [e.trial.repeats for e in rows] == [3, 3, 3, 3, 18]
    compared = {e.trial.params["x"]: e.outcome.mean for e in rows[:4]}
    assert len(compared) == 4
    searched = sorted((e.outcome.mean, e.trial.params["x"]) for e in result.trials if e not in rows)
    assert set(compared) == {x for _, x in searched[:4]}
    assert rows[4].trial.params["x"] == min(compared, key=lambda x: compared[x])


def test_nothing_is_confirmed_by_default_where_the_problem_is_deterministic() -> None:
    class Careful(Chained):
        confirm = 0.25

    for deterministic, n in ((True, 0), (False, 5), (None, 5)):
        problem = Noisy(SPACE, deterministic=deterministic)
        result = bbopt.run(problem, Careful(problem.spec), 20)
        assert sum(e.outcome.evaluations for e in confirming(result)) == n
    problem = Noisy(SPACE, deterministic=True)
    asked = bbopt.run(problem, Careful(problem.spec), 20, confirm=0.5)
    assert sum(e.outcome.evaluations for e in confirming(asked)) == 10


def test_confirming_draws_validation_examples_in_whole_rounds() -> None:
    class OfExamples(Noisy):
        def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
            return [float(i) for i in trial.context.get("examples", (0,) * trial.repeats)]

    for examples, ids in (
        (Examples(train=(1, 2, 3), validation=(10, 20, 30)), {10, 20, 30}),
        (Examples(train=(1, 2, 3)), {1, 2, 3}),
    ):
        problem = OfExamples(SPACE, block=100, examples=examples)
        rows = confirming(bbopt.run(problem, chained(problem), 14, confirm=0.5))
        assert sum(e.trial.repeats for e in rows) == 7
        (final,) = rows
        drawn = list(final.trial.context["examples"])
        assert set(drawn[:3]) == set(drawn[3:6]) == ids
        assert final.outcome.values == tuple(float(i) for i in drawn)


def test_what_is_infeasible_when_confirmed_is_not_deployed() -> None:
    class Borderline(Noisy):
        def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
            values = [self.truth(trial.params)] * trial.repeats
            violated = "confirm" in trial.context and trial.params == self.forbidden
            return Outcome(values, constraints=[1.0 if violated else -1.0])

        forbidden: dict[str, Any] | None = None

    problem = Borderline(SPACE, block=100)
    first = bbopt.run(problem, chained(problem), 60, confirm=0.5)
    assert first.best is not None
    problem.forbidden = first.best.params
    second = bbopt.run(problem, chained(problem), 60, confirm=0.5)
    assert second.best is not None
    assert second.best.params != problem.forbidden


def test_a_failed_confirmation_leaves_the_methods_own_best() -> None:
    problem = Noisy(SPACE)
    evaluate = problem.evaluate

    def fail(trial: Trial, rng: np.random.Generator) -> Any:
        return math.nan if "confirm" in trial.context else evaluate(trial, rng)

    problem.evaluate = fail  # type: ignore[method-assign]
    optimizer = chained(problem)
    result = bbopt.run(problem, optimizer, 20, confirm=0.3)
    assert result.best == optimizer.best
    assert result.spent.evaluations == 20


def test_seconds_that_end_while_confirming_keep_what_was_evaluated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from bbopt.running import account

    now = [0.0]
    monkeypatch.setattr(account.time, "monotonic", lambda: now[0])

    class Slow(Noisy):
        def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
            now[0] += 1.0
            return super().evaluate(trial, rng)

    problem = Slow(SPACE)
    budget = bbopt.Budget(evaluations=20, seconds=15.5)
    result = bbopt.run(problem, chained(problem), budget, confirm=0.35)
    assert result.spent.evaluations == 16
    assert [e.outcome.count for e in confirming(result)] == [3]
    assert result.best is not None
    assert result.best.count == 3

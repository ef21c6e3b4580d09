"""What a run returns, as JSON and CSV."""

from __future__ import annotations

import csv
import json
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
from doubles_of_runs import Chained, ChainedSettings, Noisy

import bbopt
from bbopt import Problem, Result, Trial
from bbopt.wrappers import Flaky


def run(budget: int = 12, **options: Any) -> Result:
    problem = Flaky(Noisy(), {2: "nan"})
    settings = ChainedSettings(max_repeats=3)
    return bbopt.run(problem, Chained(problem.spec, seed=3, settings=settings), budget, **options)


def test_the_trace_has_a_line_a_trial_with_exact_numbers(tmp_path: Path) -> None:
    result = run(confirm=0.3)
    result.to_csv(tmp_path / "trace.csv")
    with (tmp_path / "trace.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(result.trials)
    for row, evaluation in zip(rows, result.trials, strict=True):
        trial, outcome = evaluation.trial, evaluation.outcome
        assert (int(row["worker"]), int(row["number"])) == (0, trial.number)
        assert float(row["x"]) == trial.params["x"]
        assert int(row["k"]) == trial.params["k"]
        assert row["c"] == str(trial.params["c"])
        assert int(row["repeats"]) == trial.repeats
        assert (int(row["count"]), int(row["failed"])) == (outcome.count, outcome.failed)
        assert json.loads(row["context"] or "{}") == dict(trial.context)
        if outcome.count:
            assert float(row["value"]) == outcome.mean
        else:
            assert row["value"] == ""
        if outcome.count > 1:
            variance = outcome.m2 / (outcome.count - 1)
            assert float(row["stderr"]) == pytest.approx(math.sqrt(variance / outcome.count))
        else:
            assert row["stderr"] == ""
        if evaluation.best is not None:
            assert float(row["best_value"]) == evaluation.best.value
    assert "\r" not in (tmp_path / "trace.csv").read_bytes().decode()


def test_the_running_best_is_the_best_of_what_was_told_so_far() -> None:
    problem = Noisy(deterministic=True)
    result = bbopt.run(problem, Chained(problem.spec, seed=3), 15)
    values = [e.outcome.mean for e in result.trials]
    for i, evaluation in enumerate(result.trials):
        assert evaluation.best is not None
        assert evaluation.best.value == min(values[: i + 1])


def test_the_summary_is_json_and_counts_right(tmp_path: Path) -> None:
    result = run(storage=tmp_path / "x.journal", name="s")
    summary = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert summary["evaluations"] == 12
    assert summary["failures"] == 1
    assert summary["unique"] == len({e.trial.params["x"] for e in result.trials})
    assert summary["switches"] == len(result.trials) - 1
    assert (summary["problem"], summary["optimizer"], summary["seed"]) == (
        *("flaky(noisy)", "chained", 3),
    )
    assert result.best is not None
    assert summary["best_value"] == result.best.value
    assert summary["best_params"] == result.best.params
    assert summary["best_count"] == result.best.count
    assert summary["true_value"] == Noisy().truth(result.best.params)
    assert (summary["storage"], summary["study"]) == (str(tmp_path / "x.journal"), "s")
    assert summary["stop_reason"] == "evaluations"
    assert 0 <= summary["overhead_seconds"] <= summary["seconds"]
    for name in ("llm_calls", "tokens", "cost", "test_value", "best_stderr", "initial_value"):
        assert name in summary


def test_a_run_without_any_value_has_no_best(tmp_path: Path) -> None:
    problem = Noisy()
    problem.evaluate = lambda trial, rng: math.nan  # type: ignore[method-assign]
    result = bbopt.run(problem, Chained(problem.spec), 3, confirm=0.3)
    assert result.best is None
    summary = result.to_json()
    assert (summary["best_value"], summary["best_params"], summary["best_count"]) == (None, None, 0)
    result.to_csv(tmp_path / "trace.csv")
    assert len((tmp_path / "trace.csv").read_text().splitlines()) == 1 + len(result.trials)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_initial_setting_is_tried_first_and_reported(direction: Any) -> None:
    space = {"x": bbopt.Float(0, 1, initial=0.25), "k": bbopt.Int(1, 3, initial=2)}
    optimize = bbopt.minimize if direction == "minimize" else bbopt.maximize
    result = optimize(lambda p: p["x"] + p["k"], space, budget=9, optimizer="random")
    assert result.trials[0].trial.params == {"x": 0.25, "k": 2}
    assert result.initial_value == 2.25
    assert result.best is not None
    better = min if direction == "minimize" else max
    assert result.best.value == better(e.outcome.mean for e in result.trials)


def test_the_test_value_is_asked_for_once_with_the_best() -> None:
    asked = []

    class Tested(Noisy):
        def test_value(self, best: bbopt.Best) -> float:
            asked.append(best)
            return 7.0

    problem: Problem = Tested()
    result = bbopt.run(problem, Chained(problem.spec), 5)
    assert result.test_value == 7.0
    assert asked == [result.best]
    assert result.spent.evaluations == 5


def test_a_result_can_be_pickled() -> None:
    result = run()
    again = pickle.loads(pickle.dumps(result))
    assert again.best == result.best
    assert repr(again.trials) == repr(result.trials)
    assert isinstance(again.trials[0].trial, Trial)

"""A run that is killed between any two writes, and resumed, equals the run that was not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from conftest import Writes, storage_in
from doubles_of_runs import MIXED, Chained, ChainedSettings, CompactChained, Crash, Forgetful, Noisy
from doubles_of_runs import trace
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bbopt
from bbopt import Budget, Optimizer, Problem, Result
from bbopt.running.studies import read_study

SOME_ROWS = MIXED.sample(__import__("numpy").random.default_rng(0), 40)


@dataclass(frozen=True)
class Case:
    """A run: problem, optimizer and options."""

    cls: type[Chained] = Chained
    settings: ChainedSettings = ChainedSettings()
    block: int = 1
    candidates: bool = False
    budget: Any = 10
    in_flight: int | None = None
    confirm: float | None = None

    def problem(self) -> Problem:
        rows = SOME_ROWS if self.candidates else None
        return Noisy(block=self.block, candidates=rows)

    def optimizer(self, problem: Problem) -> Optimizer:
        return self.cls(problem.spec, seed=3, settings=self.settings)

    def run(self, storage: str | None = None, **changes: Any) -> Result:
        problem = self.problem()
        arguments = {"in_flight": self.in_flight, "confirm": self.confirm} | changes
        budget = arguments.pop("budget", self.budget)
        return bbopt.run(problem, self.optimizer(problem), budget, storage=storage, **arguments)

    def run_with_crashes(self, storage: str, writes: Writes, gaps: Iterator[int | None]) -> Result:
        """Crash after so many writes each time, and resume, until it comes through."""
        while True:
            writes.crash_after(next(gaps, None))
            try:
                return self.run(storage, resume=True)
            except Crash:
                continue
            finally:
                writes.crash_after(None)


def check_rows(storage: str, result: Result) -> None:
    """The log has each trial of the result once, finished, with its outcome."""
    study = read_study(storage, "noisy")
    rows = {row.key: row for row in study.rows}
    assert len(rows) == len(study.rows) == study.n_trials
    assert not study.open_rows
    assert sorted(rows) == sorted((e.worker, e.trial.number) for e in result.trials)
    for evaluation in result.trials:
        row = rows[evaluation.worker, evaluation.trial.number]
        assert row.trial == evaluation.trial
        assert row.outcome == evaluation.outcome
    import optuna

    states = {t.state for t in optuna.load_study(study_name="noisy", storage=opened(storage)).trials}
    assert states <= {optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.FAIL}


def opened(storage: str) -> Any:
    from bbopt.running.storage import open_storage

    return open_storage(storage)


CASES = {
    "one at a time": Case(),
    "three in flight": Case(in_flight=3),
    "repeats in blocks": Case(settings=ChainedSettings(max_repeats=5), block=2, budget=17),
    "generations": Case(settings=ChainedSettings(generation=4, batch=3), in_flight=4),
    "snapshots": Case(cls=CompactChained, in_flight=2, settings=ChainedSettings(max_repeats=2)),
    "a table": Case(candidates=True, in_flight=2),
    "confirmed": Case(confirm=0.6, budget=20),
    "switches": Case(budget=Budget(evaluations=12, switches=5)),
}


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
@pytest.mark.parametrize("name", CASES)
def test_a_kill_between_any_two_writes_changes_nothing(
    name: str,
    kind: str,
    writes: Writes,
    snapshots_at_random: Callable[[int], None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    case = CASES[name]
    unbroken = case.run()
    expected = trace(unbroken, tmp_path)
    (tmp_path / "whole").mkdir()
    n_before = writes.n
    case.run(storage_in(tmp_path / "whole", kind))
    n_writes = writes.n - n_before
    assert n_writes > 2 * len(unbroken.trials)
    for n in range(0, n_writes, 1 if kind == "journal" else 9):
        folder = tmp_path / str(n)
        folder.mkdir()
        snapshots_at_random(n)
        storage = storage_in(folder, kind)
        result = case.run_with_crashes(storage, writes, iter([n]))
        assert trace(result, tmp_path) == expected, f"killed before write {n}"
        assert (result.best, result.stop_reason) == (unbroken.best, unbroken.stop_reason)
        assert result.spent.switches == unbroken.spent.switches
        check_rows(storage, result)
    assert not caplog.records


@st.composite
def cases(draw: st.DrawFn) -> Case:
    generation = draw(st.sampled_from([0, 0, 3, 5]))
    return Case(
        cls=draw(st.sampled_from([Chained, CompactChained])),
        settings=ChainedSettings(
            max_repeats=draw(st.sampled_from([1, 4])),
            batch=draw(st.sampled_from([1, 2, 99])),
            generation=generation,
        ),
        block=draw(st.sampled_from([1, 3])),
        candidates=draw(st.booleans()),
        budget=Budget(
            evaluations=draw(st.integers(1, 25)),
            switches=draw(st.sampled_from([None, None, 0, 6])),
        ),
        in_flight=draw(st.sampled_from([None, 1, 2, 3, 5])),
        confirm=draw(st.sampled_from([None, 0.3, 0.7])),
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases(), gaps=st.lists(st.integers(0, 25), min_size=1, max_size=6), seed=st.integers(0))
def test_kills_at_any_moments_change_nothing(
    case: Case,
    gaps: list[int],
    seed: int,
    writes: Writes,
    snapshots_at_random: Callable[[int], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        unbroken = case.run()
        expected = trace(unbroken, folder)
        snapshots_at_random(seed)
        storage = storage_in(folder, "journal")
        result = case.run_with_crashes(storage, writes, iter(gaps))
        assert trace(result, folder) == expected
        assert result.best == unbroken.best
        assert result.spent.evaluations <= case.budget.evaluations
        check_rows(storage, result)
        again = case.run(storage, resume=True)  # a finished run has nothing left to do
        assert trace(again, folder) == expected
        assert again.best == unbroken.best
    assert not caplog.records

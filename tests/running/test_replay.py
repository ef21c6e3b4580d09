"""A run that is killed between any two writes, and resumed, equals the run that was not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from conftest import Writes, storage_in
from doubles_of_runs import (
    MIXED,
    Chained,
    ChainedSettings,
    CompactChained,
    Crash,
    Forgetful,
    Noisy,
    Shuffled,
    trace,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bbopt
from bbopt import Budget, Optimizer, Problem, Result
from bbopt.running.storage import FOREIGN_WORKER, StudyLog
from bbopt.running.studies import read_study

SOME_ROWS = MIXED.sample(np.random.default_rng(0), 40)


@dataclass(frozen=True)
class Case:
    """A run: problem, optimizer and options."""

    cls: type[Chained] = Chained
    settings: ChainedSettings = field(default_factory=ChainedSettings)
    block: int = 1
    candidates: bool = False
    budget: Any = 10
    in_flight: int | None = None
    confirm: float | None = None
    workers: int = 0  # 0: in this thread

    def problem(self) -> Problem:
        rows = SOME_ROWS if self.candidates else None
        return Noisy(block=self.block, candidates=rows)

    def optimizer(self, problem: Problem) -> Optimizer:
        return self.cls(problem.spec, seed=3, settings=self.settings)

    def run(self, storage: str | None = None, **changes: Any) -> Result:
        problem = self.problem()
        arguments = {
            "budget": self.budget,
            "in_flight": self.in_flight,
            "confirm": self.confirm,
        } | changes
        optimizer = self.optimizer(problem)
        if not self.workers:
            return bbopt.run(problem, optimizer, storage=storage, **arguments)
        with Shuffled(self.workers) as executor:
            return bbopt.run(problem, optimizer, storage=storage, executor=executor, **arguments)

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

    trials = optuna.load_study(study_name="noisy", storage=opened(storage)).trials
    assert all(trial.state.is_finished() for trial in trials)


def opened(storage: str) -> Any:
    from bbopt.running.backends import open_storage

    return open_storage(storage)


CASES = {
    "one at a time": Case(),
    "three in flight": Case(in_flight=3),
    "repeats in blocks": Case(settings=ChainedSettings(max_repeats=5), block=2, budget=17),
    "generations": Case(settings=ChainedSettings(generation=4, batch=3), in_flight=4),
    "snapshots": Case(cls=CompactChained, in_flight=2, settings=ChainedSettings(max_repeats=2)),
    "a table": Case(candidates=True, in_flight=2),
    "out of order": Case(in_flight=3, workers=3, settings=ChainedSettings(max_repeats=3)),
    "out of order, snapshots": Case(cls=CompactChained, in_flight=3, workers=2),
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
    unbroken = replace(case, workers=0).run()
    expected = trace(unbroken, tmp_path)
    (tmp_path / "whole").mkdir()
    n_before = writes.n
    case.run(storage_in(tmp_path / "whole", kind))
    n_writes = writes.n - n_before
    assert n_writes > 2 * len(unbroken.trials)
    for n in range(0, n_writes, 1 if kind == "journal" else 13):
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


def test_blocks_that_were_stored_before_a_kill_are_not_evaluated_again(
    writes: Writes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As they are where a trial takes long: here every block is stored when it is finished."""
    from bbopt.running import session

    monkeypatch.setattr(session, "SAVE_BLOCKS_AFTER", -1.0)

    def run(folder: Path) -> Result:
        problem = Noisy(block=2, notes=folder / "notes")
        chained = Chained(problem.spec, seed=3, settings=ChainedSettings(max_repeats=9))
        return bbopt.run(problem, chained, 30, storage=folder / "x.journal", resume=True)

    (tmp_path / "whole").mkdir()
    before = writes.n
    expected = trace(run(tmp_path / "whole"), tmp_path)
    noted = (tmp_path / "whole" / "notes").read_text()
    for n in range(0, writes.n - before, 2):
        folder = tmp_path / str(n)
        folder.mkdir()
        writes.crash_after(n)
        with pytest.raises(Crash):
            run(folder)
        writes.crash_after(None)
        assert trace(run(folder), tmp_path) == expected
        lines = (folder / "notes").read_text().splitlines()
        assert sorted(set(lines)) == sorted(noted.splitlines())
        assert len(lines) <= len(set(lines)) + 1  # but for the one whose storing was killed


@st.composite
def cases(draw: st.DrawFn) -> Case:
    generation = draw(st.sampled_from([0, 0, 3, 5]))
    in_flight = draw(st.sampled_from([None, 1, 2, 3, 5]))
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
        in_flight=in_flight,
        confirm=draw(st.sampled_from([None, 0.3, 0.7])),
        workers=draw(st.sampled_from([0, 3])) if in_flight is not None else 0,
    )


def test_tells_before_an_ask_that_a_budget_of_switches_refused_keep_their_order(
    fast_disk: None, tmp_path: Path
) -> None:
    budget = Budget(evaluations=10, switches=6)
    plain = ChainedSettings(batch=2)
    case = Case(Chained, plain, 1, candidates=False, budget=budget, in_flight=2, confirm=0.3)
    storage = storage_in(tmp_path, "journal")
    finished = case.run(storage)
    assert finished.stop_reason == "switches"
    assert trace(case.run(storage, resume=True), tmp_path) == trace(finished, tmp_path)


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
        unbroken = replace(case, workers=0).run()
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


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gaps=st.lists(st.integers(0, 25), min_size=1, max_size=5),
    max_repeats=st.sampled_from([1, 4]),
    cls=st.sampled_from([Chained, CompactChained]),
    confirm=st.sampled_from([None, 0.3]),
)
def test_killed_while_told_by_arrival_every_evaluation_is_there_once(
    gaps: list[int],
    max_repeats: int,
    cls: type[Chained],
    confirm: float | None,
    writes: Writes,
    snapshots_at_random: Callable[[int], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    case = Case(
        cls=cls,
        settings=ChainedSettings(max_repeats=max_repeats),
        workers=3,
        confirm=confirm,
        budget=Budget(evaluations=20),
    )
    with TemporaryDirectory() as name:
        storage = storage_in(Path(name), "journal")
        result = case.run_with_crashes(storage, writes, iter(gaps))
        assert result.spent.evaluations == 20
        check_rows(storage, result)
        again = case.run(storage, resume=True)
        assert again.best == result.best
        check_rows(storage, again)
    assert not caplog.records  # every ask was repeated exactly


def test_a_larger_budget_goes_on_where_the_run_ended(storage: str, tmp_path: Path) -> None:
    case = Case(budget=8, in_flight=2)
    short = trace(case.run(storage), tmp_path)
    longer = case.run(storage, resume=True, budget=15)
    assert trace(longer, tmp_path).startswith(short)
    assert longer.spent.evaluations == 15
    check_rows(storage, longer)


@pytest.mark.parametrize("budget", [20, 21, 22, 25, 30, 60])
@pytest.mark.parametrize("cls", [Chained, CompactChained])
def test_confirming_trials_of_a_smaller_budget_become_news_and_count(
    budget: int, cls: type[Chained], fast_disk: None, tmp_path: Path
) -> None:
    storage = storage_in(tmp_path, "journal")
    case = Case(cls=cls, budget=20, confirm=0.4)
    first = case.run(storage)
    assert first.best is not None
    assert first.best.count < 8
    second = case.run(storage, resume=True, budget=budget)
    assert second.spent.evaluations == budget
    check_rows(storage, second)
    if budget == 20:
        assert second.best == first.best
    third = case.run(storage, resume=True, budget=budget)
    assert trace(third, tmp_path) == trace(second, tmp_path)
    assert third.best == second.best


@pytest.mark.parametrize("in_flight", [None, 3])
def test_a_kill_while_confirming_what_another_tool_found_changes_nothing(
    in_flight: int | None, writes: Writes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Something better is found elsewhere just before the search ends."""
    monkeypatch.setattr(StudyLog, "is_look_due", True)
    case = Case(budget=24, confirm=0.7, in_flight=in_flight)
    found_at: list[int] = []

    def run(storage: str) -> Result:
        def find(trial: bbopt.Trial, *_: object) -> None:
            rows = read_study(storage, "noisy").rows
            if trial.number == 6 and all(row.key[0] == 0 for row in rows):
                log = StudyLog(storage, "noisy", case.problem().spec, worker=9, resume=True)
                better = bbopt.Trial(None, {"x": 0.5, "k": 1, "c": "a"})
                log.create(better, place={}, worker=FOREIGN_WORKER, outcome=bbopt.Outcome(-9.0))
                log.close()
                found_at.append(writes.n)

        return case.run(storage, resume=True, callbacks=[find])

    (tmp_path / "whole").mkdir()
    unbroken = run(storage_in(tmp_path / "whole", "journal"))
    assert unbroken.best is not None
    assert unbroken.best.value > 0  # what was found was not that good
    assert 0.5 in {e.trial.params["x"] for e in unbroken.trials}
    n_writes = writes.n
    for n in range(found_at[0], n_writes):
        (tmp_path / str(n)).mkdir()
        storage = storage_in(tmp_path / str(n), "journal")
        writes.crash_after(n)
        with pytest.raises(Crash):
            run(storage)
        writes.crash_after(None)
        result = run(storage)
        assert result.spent.evaluations == 24
        assert evaluated(result) == evaluated(unbroken)
        assert result.best == unbroken.best


def evaluated(result: Result) -> list[tuple[Any, Any]]:
    by_number = sorted(result.trials, key=lambda e: e.trial.number or 0)
    return [(e.trial, e.outcome) for e in by_number]


def test_a_run_that_a_callback_stopped_goes_on(fast_disk: None, tmp_path: Path) -> None:
    storage = storage_in(tmp_path, "journal")
    case = Case(budget=20, confirm=0.3)
    stopped = case.run(storage, callbacks=[lambda trial, outcome, best: trial.number == 4])
    assert stopped.stop_reason == "callback"
    whole = case.run(storage, resume=True)
    assert whole.stop_reason == "evaluations"
    assert whole.spent.evaluations == 20


def test_a_new_target_goes_on_after_a_confirmed_one(fast_disk: None, tmp_path: Path) -> None:
    storage = storage_in(tmp_path, "journal")
    case = Case(budget=30, confirm=0.3)
    first = case.run(storage, target=100.0)
    assert (first.stop_reason, first.spent.evaluations) == ("target", 1 + 9)
    second = case.run(storage, resume=True, target=-100.0)
    assert (second.stop_reason, second.spent.evaluations) == ("evaluations", 30)


def test_an_optimizer_that_cannot_be_repeated_is_named_and_loses_nothing(
    fast_disk: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = storage_in(tmp_path, "journal")
    case = Case(cls=Forgetful, in_flight=2)
    first = case.run(storage, budget=6)
    optimizers = []

    class Watched(Forgetful):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            optimizers.append(self)

    second = replace(case, cls=Watched).run(storage, resume=True, budget=10)
    (record,) = caplog.records
    assert "trial 0" in record.getMessage()
    assert second.spent.evaluations == 10
    assert [e.trial.params for e in second.trials[:6]] == [e.trial.params for e in first.trials]
    values = [value for number, value in optimizers[-1].told if value == value]
    assert values == [e.outcome.mean for e in second.trials]
    assert [number for number, value in optimizers[-1].told if value == value][:6] == [None] * 6
    check_rows(storage, second)


def test_other_workers_results_are_told_once_and_again_at_the_same_place(
    writes: Writes,
    snapshots_at_random: Callable[[int], None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Between the sessions of worker 0 another tool and worker 1 go on with the study."""
    import optuna

    storage = storage_in(tmp_path, "journal")
    case = Case(cls=CompactChained, budget=40, in_flight=2)
    for k in range(12):
        writes.crash_after(9)
        with pytest.raises(Crash):
            case.run(storage, resume=True)
        writes.crash_after(None)
        problem = case.problem()
        other = Chained(problem.spec, seed=1, worker=1)
        bbopt.run(problem, other, 40, storage=storage, resume=True, worker=1, callbacks=[stop])
        sampler = optuna.samplers.RandomSampler(seed=k)
        study = optuna.load_study(study_name="noisy", storage=opened(storage), sampler=sampler)
        asked = study.ask()
        asked.suggest_float("x", 0, 1)
        asked.suggest_int("k", 1, 2**62)
        study.tell(asked, k)
    result = case.run(storage, resume=True)
    assert result.spent.evaluations == 40
    assert not caplog.records
    study_rows = read_study(storage, "noisy").rows
    assert len({row.key for row in study_rows}) == len(study_rows)


def stop(*_: object) -> bool:
    return True

"""Several workers share one study: in a journal, in SQLite, on a PostgreSQL server."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from conftest import storage_in
from doubles_of_runs import Chained
from killed_runs import Meeting, Runs, is_running, notes

import bbopt
from bbopt.errors import UsageError
from bbopt.running.backends import opened_storage
from bbopt.running.studies import read_study

BUDGET = 40


@pytest.fixture(params=["journal", "sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A storage that is not there yet."""
    if request.param != "postgresql":
        yield storage_in(tmp_path, request.param)
        return
    yield request.getfixturevalue("empty_postgresql")


@pytest.fixture
def two(tmp_path: Path) -> Iterator[list[Runs]]:
    """Two that start runs, each with a folder of its own."""
    started = []
    for worker in range(2):
        (tmp_path / str(worker)).mkdir()
        started.append(Runs(tmp_path / str(worker)))
    yield started
    for runs in started:
        runs.close()


def start(runs: Runs, worker: int, storage: str, **options: Any) -> int:
    """Start a worker that goes on from its second trial on once the other has a result."""
    given = {"optimizer": "chained", "budget": BUDGET, "storage": storage, "resume": True}
    meet = str(runs.folder.parent / str(1 - worker) / "notes")
    return runs.start(**given | {"worker": worker, "meet": meet} | options)


def test_two_workers_share_a_study(shared: str, two: list[Runs]) -> None:
    for worker, runs in enumerate(two):
        start(runs, worker, shared)
    assert [runs.wait() for runs in two] == [0, 0]
    study = read_study(shared, "noisy")
    rows = study.rows
    assert sorted(study.workers) == [0, 1]
    assert BUDGET <= len(rows) <= BUDGET + 1  # together they overshoot by what is in flight
    assert len({row.key for row in rows}) == len(rows)
    with opened_storage(shared) as backend:
        numbers = [t.number for t in optuna.load_study(study_name="noisy", storage=backend).trials]
    assert numbers == list(range(len(rows)))
    for worker, runs in enumerate(two):
        own = [row for row in rows if row.key[0] == worker]
        assert [row.key[1] for row in own] == list(range(len(own)))
        assert notes(runs.folder) == [
            f"{row.key[1]} 1 {row.outcome.mean!r}" for row in own if row.outcome is not None
        ]
        told = [tuple(key) for row in own for key in row.place.get("told", ())]
        assert len(told) == len(set(told))
        assert {who for who, _ in told} == {0, 1}  # each has seen the other's results


def test_a_live_workers_number_is_refused_and_free_after_its_death(
    shared: str, two: list[Runs], tmp_path: Path
) -> None:
    pid = start(two[0], 0, shared)  # waits for a worker 1 that never comes
    while not notes(two[0].folder):
        assert is_running(pid)
        time.sleep(0.002)
    problem = Meeting(tmp_path, None)
    with pytest.raises(UsageError, match="worker 0 of study 'noisy' is running"):
        bbopt.run(problem, Chained(problem.spec, seed=7), 5, storage=shared, resume=True)
    with pytest.raises(bbopt.errors.StudyExists):
        bbopt.run(problem, Chained(problem.spec, seed=7, worker=1), 5, storage=shared, worker=1)
    os.kill(pid, signal.SIGKILL)
    assert two[0].wait() == signal.SIGKILL
    result = bbopt.run(problem, Chained(problem.spec, seed=7), 5, storage=shared, resume=True)
    assert result.spent.evaluations == 5
    assert [e.trial.number for e in result.trials] == [0, 1, 2, 3, 4]


def test_a_worker_that_was_killed_goes_on_with_its_own_trials(shared: str, two: list[Runs]) -> None:
    start(two[1], 1, shared)
    pid = start(two[0], 0, shared)
    while len(notes(two[0].folder)) < 5:
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    assert two[0].wait() == signal.SIGKILL
    start(two[0], 0, shared)
    assert [runs.wait() for runs in two] == [0, 0]
    rows = read_study(shared, "noisy").rows
    assert all(row.outcome is not None for row in rows)
    assert BUDGET <= len(rows) <= BUDGET + 1
    for worker, runs in enumerate(two):
        own = [row for row in rows if row.key[0] == worker]
        assert sorted(row.key[1] for row in own) == list(range(len(own)))
        stored = {f"{row.key[1]} 1 {row.outcome.mean!r}" for row in own if row.outcome}
        assert set(notes(runs.folder)) == stored

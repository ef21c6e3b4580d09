"""Runs that are killed with SIGKILL at random moments, and resumed each time."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import killed_runs
import pytest
from conftest import storage_in
from doubles_of_runs import trace
from killed_runs import Runs, is_running, notes

from bbopt.running.studies import read_study

N_KILLS = 10
BUDGET = 60


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    started = Runs(tmp_path)
    yield started
    started.close()


def kill_and_resume(runs: Runs, seed: int, **options: Any) -> int:
    """Kill a run soon after some more evaluations, again and again; how often it was killed."""
    chance = random.Random(seed)
    n_kills = 0
    for _ in range(N_KILLS):
        pid = runs.start(resume=True, **options)
        n_wanted = len(notes(runs.folder)) + chance.randint(1, 4)
        while len(notes(runs.folder)) < n_wanted and is_running(pid):
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.006))
        os.kill(pid, signal.SIGKILL)
        n_kills += runs.wait() == signal.SIGKILL
    runs.start(resume=True, **options)
    assert runs.wait() == 0
    return n_kills


SLOW = pytest.mark.slow
CASES = [
    pytest.param("journal", "random", {}),
    pytest.param("sqlite", "random", {"in_flight": 2, "jobs": 2}, marks=SLOW),
    pytest.param("sqlite", "optuna:tpe", {}, marks=SLOW),
    pytest.param("journal", "optuna:tpe", {"in_flight": 2, "jobs": 2}),
    pytest.param("sqlite", "chained", {"in_flight": 3, "jobs": 2, "confirm": 0.2}, marks=SLOW),
]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
@pytest.mark.parametrize(("kind", "optimizer", "options"), CASES)
def test_a_run_killed_ten_times_ends_as_the_unbroken_one(
    kind: str, optimizer: str, options: dict[str, Any], runs: Runs, tmp_path: Path
) -> None:
    storage = storage_in(tmp_path, kind)
    options = {"optimizer": optimizer, "budget": BUDGET, "storage": storage, **options}
    n_kills = kill_and_resume(runs, seed=len(kind) + len(optimizer) + len(options), **options)
    assert n_kills >= 5  # the others came too late
    (tmp_path / "whole").mkdir()
    given = options | {"storage": None, "jobs": 1}
    unbroken = killed_runs.run(str(tmp_path / "whole"), **given)
    n_evaluated = len(notes(tmp_path))
    resumed = killed_runs.run(str(tmp_path), resume=True, **options)
    assert len(notes(tmp_path)) == n_evaluated  # it was finished
    assert trace(resumed, tmp_path) == trace(unbroken, tmp_path)
    assert resumed.best == unbroken.best
    assert set(notes(tmp_path)) == set(notes(tmp_path / "whole"))


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at /proc")
@pytest.mark.parametrize("kind", ["journal", pytest.param("sqlite", marks=SLOW)])
def test_with_two_jobs_every_finished_evaluation_is_there_once(
    kind: str, runs: Runs, tmp_path: Path
) -> None:
    storage = storage_in(tmp_path, kind)
    options = {"optimizer": "chained", "budget": BUDGET, "storage": storage, "jobs": 2}
    assert kill_and_resume(runs, seed=1, **options) >= 5
    rows = read_study(storage, "noisy").rows
    assert len({row.key for row in rows}) == len(rows) == BUDGET
    stored = {f"{row.key[1]} 1 {row.outcome.mean!r}" for row in rows if row.outcome}
    # what was finished and not stored was evaluated again, with the same draws
    assert set(notes(tmp_path)) == stored
    assert len(stored) == BUDGET

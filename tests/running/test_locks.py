"""A worker's number belongs to one live process, and is free again however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from doubles_of_runs import Chained, Noisy

import bbopt
from bbopt.errors import UsageError
from bbopt.running.locks import lock_worker

HOLDER = """
import sys, time
from pathlib import Path
from bbopt.running.locks import lock_worker
release = lock_worker("x", Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
print("locked", flush=True)
time.sleep(3600)
"""


def hold(folder: Path, study: str, worker: int) -> subprocess.Popen[str]:
    """Another process that holds the number."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), study, str(worker)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def test_the_number_of_a_live_process_is_refused_and_free_after_its_death(tmp_path: Path) -> None:
    holder = hold(tmp_path, "s", 1)
    try:
        with pytest.raises(UsageError, match=r"worker 1 of study 's' is running .*--worker K"):
            lock_worker("x", tmp_path, "s", 1)
        lock_worker("x", tmp_path, "s", 0)()
        lock_worker("x", tmp_path, "another", 1)()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        release = lock_worker("x", tmp_path, "s", 1)
        with pytest.raises(UsageError, match="worker 1"):
            lock_worker("x", tmp_path, "s", 1)
        release()
        lock_worker("x", tmp_path, "s", 1)()
    finally:
        holder.kill()
        holder.communicate()


def test_the_lock_is_not_inherited_by_programs_that_are_started(tmp_path: Path) -> None:
    release = lock_worker("x", tmp_path, "s", 0)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    release()
    lock_worker("x", tmp_path, "s", 0)()  # though the child lives
    child.communicate(b"\n")


def test_a_wait_ends_when_the_number_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = lock_worker("x", tmp_path, "s", 0)
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            release()

    monkeypatch.setattr("bbopt.running.locks.time.sleep", sleep)
    lock_worker("x", tmp_path, "s", 0, wait=3600.0)()
    assert len(slept) == 3


def test_a_run_refuses_a_live_worker_and_leaves_its_study_alone(
    fast_disk: None, tmp_path: Path
) -> None:
    storage = tmp_path / "x.journal"
    problem = Noisy()

    def another(*_: object) -> bool:
        before = storage.read_bytes()
        with pytest.raises(UsageError, match="worker 0 of study 'noisy' is running"):
            bbopt.run(problem, Chained(problem.spec, seed=3), 5, storage=storage, resume=True)
        assert storage.read_bytes() == before
        joined = Chained(problem.spec, seed=3, worker=1)
        result = bbopt.run(problem, joined, 5, storage=storage, resume=True, worker=1)
        assert result.spent.evaluations == 5  # of the whole study
        return True

    result = bbopt.run(
        problem, Chained(problem.spec, seed=3), 5, storage=storage, callbacks=[another]
    )
    assert result.stop_reason == "callback"
    assert os.listdir(f"{storage}.bbopt")


def test_a_run_that_fails_gives_its_number_back(fast_disk: None, tmp_path: Path) -> None:
    storage = tmp_path / "x.journal"
    problem = Noisy()

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bbopt.run(problem, Chained(problem.spec), 5, storage=storage, callbacks=[fail])
    result = bbopt.run(problem, Chained(problem.spec), 5, storage=storage, resume=True)
    assert result.spent.evaluations == 5

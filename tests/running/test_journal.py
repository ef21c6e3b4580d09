"""A journal that a killed process left behind is mended, and its lock taken over at once."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from bbopt.errors import StorageError
from bbopt.running import journal
from bbopt.running.journal import open_journal

LOG = {"op_code": 0, "worker_id": "w", "study_name": "s", "directions": [1]}


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may wait for a lock: by construction there is nothing to wait for."""

    def sleep(seconds: float) -> None:
        raise AssertionError("waited for a lock")

    monkeypatch.setattr("optuna.storages.journal._file.time.sleep", sleep)


def left_behind(path: Path) -> JournalFileSymlinkLock:
    """Hold the lock as a process that was killed held it: the kernel has let go of its part."""
    lock = journal._KillSafeLock(path)
    lock.acquire()
    os.close(lock._guard)
    return lock


@pytest.mark.usefixtures("no_waiting")
def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "x.journal"
    optuna.create_study(study_name="a", storage=open_journal(path))
    left_behind(path)
    assert Path(f"{path}.lock").is_symlink()
    optuna.create_study(study_name="b", storage=open_journal(path))
    assert not Path(f"{path}.lock").is_symlink()
    assert set(names(path)) == {"a", "b"}


@pytest.mark.usefixtures("no_waiting")
def test_another_spelling_of_the_path_takes_it_over_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    left_behind(Path("runs/x.journal"))
    optuna.create_study(study_name="b", storage=open_journal(tmp_path / "runs" / "x.journal"))
    assert names(tmp_path / "runs" / "x.journal") == ["b"]


def test_the_lock_of_optunas_own_processes_is_respected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.journal"
    path.touch()
    theirs = JournalFileSymlinkLock(str(path))
    theirs.acquire()
    waited = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        theirs.release()

    monkeypatch.setattr("optuna.storages.journal._file.time.sleep", sleep)
    ours = journal._KillSafeLock(path)
    ours.acquire()
    assert len(waited) == 1
    ours.release()


def test_a_lock_that_cannot_be_taken_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.journal"
    lock = journal._KillSafeLock(path)

    def refuse(*_: Any) -> None:
        raise PermissionError("no links here")

    with monkeypatch.context() as patched:
        patched.setattr(os, "symlink", refuse)
        n_open = len(os.listdir("/proc/self/fd"))
        with pytest.raises(PermissionError):
            lock.acquire()
        assert len(os.listdir("/proc/self/fd")) == n_open
    lock.acquire()
    lock.release()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(cut=st.integers(1, 300))
def test_a_torn_last_line_is_cut_off_and_the_rest_is_kept(
    cut: int, caplog: pytest.LogCaptureFixture, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("torn") / "x.journal"
    study = optuna.create_study(study_name="s", storage=open_journal(path))
    for k in range(4):
        study.add_trial(optuna.trial.create_trial(value=k, user_attrs={"text": "ü" * 40}))
    whole = path.read_bytes()
    lines = whole.splitlines(keepends=True)
    cut = min(cut, len(whole) - len(lines[0]))
    path.write_bytes(whole[:-cut])
    kept = b"".join(line for line in whole[:-cut].splitlines(keepends=True) if line[-1:] == b"\n")
    caplog.clear()
    storage = open_journal(path)
    assert path.read_bytes() == kept
    is_torn = len(kept) < len(whole) - cut
    assert [str(path) in r.getMessage() for r in caplog.records] == [True] * is_torn
    n = kept.count(b'"text"')
    study = optuna.load_study(study_name="s", storage=storage)
    study.add_trial(optuna.trial.create_trial(value=9.0))
    assert len(optuna.load_study(study_name="s", storage=open_journal(path)).trials) == n + 1


def test_a_line_torn_by_another_process_is_cut_off_before_the_next_is_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The survivor has the journal open while the other is killed within a write."""
    path = tmp_path / "x.journal"
    survivor = optuna.create_study(study_name="s", storage=open_journal(path))
    left_behind(path)
    with path.open("ab") as file:
        file.write(json.dumps(LOG).encode()[:20])
    survivor.add_trial(optuna.trial.create_trial(value=1.0))
    survivor.add_trial(optuna.trial.create_trial(value=2.0))
    assert [r.levelno for r in caplog.records if r.name == "bbopt.storage"] == [logging.WARNING]
    for line in path.read_bytes().splitlines():
        json.loads(line)
    assert [trial.value for trial in survivor.trials] == [1.0, 2.0]
    assert len(optuna.load_study(study_name="s", storage=open_journal(path)).trials) == 2


def test_a_long_torn_line_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x.journal"
    first = json.dumps(LOG).encode() + b"\n"
    path.write_bytes(first + b"x" * 200_001)
    open_journal(path)
    assert path.read_bytes() == first


@pytest.mark.parametrize("text", [b"hello\n", b"{}\n", b"[1, 2]\n", b"\x00\xff" * 9, b'{"a": 1}'])
def test_a_file_that_is_no_journal_is_left_alone(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(text)
    with pytest.raises(StorageError, match="not a journal file, and is left alone"):
        open_journal(path)
    assert path.read_bytes() == text


def test_an_empty_file_becomes_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "x.journal"
    path.touch()
    optuna.create_study(study_name="s", storage=open_journal(path))
    assert names(path) == ["s"]


def names(path: Path) -> list[str]:
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
    return [study.study_name for study in storage.get_all_studies()]

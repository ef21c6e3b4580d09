"""What the tests of the running layer share."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Worker processes and scripts import what they evaluate from here.
sys.path.insert(0, str(Path(__file__).parent))

from doubles_of_runs import Crash


@pytest.fixture(params=["journal", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A storage of each kind that needs no server; nothing is there yet."""
    return storage_in(tmp_path, request.param)


def storage_in(folder: Path, kind: str) -> str:
    """The location of a storage of that kind in a folder."""
    return str(folder / "runs.journal") if kind == "journal" else f"sqlite:///{folder}/runs.db"


@pytest.fixture
def fast_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written need not survive a power cut."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


class Writes:
    """Counts the writes to storages, and crashes instead of the n-th."""

    def __init__(self) -> None:
        self.n = 0
        self.crash_at: int | None = None

    def crash_after(self, n: int | None) -> None:
        """From now on, let ``n`` writes happen and crash instead of the next; None: never."""
        self.crash_at = None if n is None else self.n + n

    def __call__(self) -> None:
        if self.crash_at is not None and self.n >= self.crash_at:
            raise Crash
        self.n += 1


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch, fast_disk: None) -> Writes:
    """Between two writes a run can be killed: here it is."""
    from optuna.storages import RDBStorage
    from optuna.storages.journal import JournalFileBackend

    counted = Writes()

    def intercept(cls: type, name: str) -> None:
        original = getattr(cls, name)

        def write(*args: object, **kwargs: object) -> object:
            counted()
            return original(*args, **kwargs)

        monkeypatch.setattr(cls, name, write)

    intercept(JournalFileBackend, "append_logs")
    for name in (
        *("create_new_study", "set_study_user_attr", "create_new_trial"),
        *("set_trial_user_attr", "set_trial_system_attr", "set_trial_state_values"),
    ):
        intercept(RDBStorage, name)
    return counted


@pytest.fixture
def snapshots_at_random(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Snapshots after some tells, chosen by a seed, instead of as time allows."""
    from bbopt.running.snapshot import Snapshots

    chance = random.Random(0)
    monkeypatch.setattr(Snapshots, "is_due", property(lambda self: chance.random() < 0.4))
    return chance.seed

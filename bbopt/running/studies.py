"""What a storage holds, read without taking part in any of its studies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bbopt.archive import Archive
from bbopt.budget import Meter
from bbopt.errors import UnknownName
from bbopt.running.backends import is_missing, opened_storage, storage_errors
from bbopt.running.storage import FOREIGN_WORKER, Row, read_row
from bbopt.space import Space
from bbopt.trial import Best


@dataclass(frozen=True)
class StoredStudy:
    """A study as it stands in its storage.

    Parameters
    ----------
    name : str
        Its name.
    direction : str
        "minimize" or "maximize"; several, joined by commas, in a study that is not bbopt's.
    attributes : mapping
        As :mod:`bbopt.running.storage` describes them.
    n_trials : int
        Trials of any kind.
    rows : list of Row
        Those of bbopt, and finished ones of other tools within the space.
    rounds : list of mapping
        The scalars of each round, of methods that evaluate whole arrays.
    """

    name: str
    direction: str
    attributes: Mapping[str, Any]
    n_trials: int
    rows: list[Row]
    rounds: list[Mapping[str, Any]]

    @property
    def about(self) -> Mapping[str, Any]:
        """The problem: its name, arguments and space; empty if the study is not bbopt's."""
        about: Mapping[str, Any] = self.attributes.get("bbopt:study", {})
        return about

    @property
    def workers(self) -> dict[int, Mapping[str, Any]]:
        """Number -> optimizer, settings, seed, versions and command of each worker."""
        prefix = "bbopt:worker:"
        found = {int(k.removeprefix(prefix)): v for k, v in self.attributes.items() if prefix in k}
        return dict(sorted(found.items()))

    @property
    def open_rows(self) -> list[Row]:
        """Trials that were asked and have no outcome."""
        return [row for row in self.rows if row.outcome is None]

    @cached_property
    def spent(self) -> Meter:
        """What its workers' evaluations have spent, over all sessions (switches apart)."""
        meter = Meter()
        for row in self.rows:
            if row.outcome is not None and row.key[0] != FOREIGN_WORKER:
                meter.add(row.outcome)
        for worker in self.workers:
            own = [row for row in self.rows if row.key[0] == worker]
            meter.seconds += max((row.seconds for row in own), default=0.0)
            meter.overhead_seconds += max((row.overhead for row in own), default=0.0)
        if self.rounds:
            meter.evaluations = int(self.rounds[-1].get("evaluations", 0))
        return meter

    @cached_property
    def best(self) -> Best | None:
        """The candidate to deploy as the last run left it, else by pooled observations."""
        if "bbopt:best" in self.attributes:
            return Best(**self.attributes["bbopt:best"])
        return self.best_observed

    @cached_property
    def best_observed(self) -> Best | None:
        """The best candidate by all observations so far, pooled."""
        if not self.about:
            return None
        return best_of(self.rows, Space.from_json(self.about["space"]), self.direction)


def best_of(rows: Iterable[Row], space: Space, direction: str) -> Best | None:
    """The best candidate by all observations in rows of a log, pooled."""
    sign = -1.0 if direction == "maximize" else 1.0
    archive = Archive(space)
    for row in rows:
        if row.outcome is not None:
            archive.add(row.trial.params, row.outcome if sign > 0 else row.outcome.negated())
    top = archive.top(1)
    return replace(top[0], value=sign * top[0].value) if top else None


def read_studies(location: str | Path) -> list[StoredStudy]:
    """Every study in a storage, sorted by name.

    Raises
    ------
    StorageError
        If the storage does not exist or cannot be read.
    """
    with _opened(location) as (storage, studies):
        return [_read(storage, studies[name]) for name in sorted(studies)]


def read_study(location: str | Path, name: str) -> StoredStudy:
    """One study of a storage.

    Raises
    ------
    UnknownName
        If there is none of that name.
    StorageError
        If the storage does not exist or cannot be read.
    """
    with _opened(location) as (storage, studies):
        if name not in studies:
            raise UnknownName(f"study in {location}", name, studies or ["none"])
        return _read(storage, studies[name])


def find_study(location: str | Path, name: str) -> StoredStudy | None:
    """The same; None where there is no such study, or no such file yet.

    Raises
    ------
    StorageError
        If the storage is there and cannot be read.
    """
    if is_missing(str(location)):
        return None
    try:
        return read_study(location, name)
    except UnknownName:
        return None


@contextmanager
def _opened(location: str | Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Optuna's storage, and its studies by name."""
    with storage_errors(str(location)), opened_storage(str(location)) as storage:
        yield storage, {study.study_name: study for study in storage.get_all_studies()}


def _read(storage: Any, study: Any) -> StoredStudy:
    attributes = study.user_attrs
    trials = storage.get_all_trials(study._study_id, deepcopy=False)
    rows: list[Row] = []
    if "bbopt:study" in attributes:
        space = Space.from_json(attributes["bbopt:study"]["space"])
        rows = [row for trial in trials if (row := read_row(trial, space)) is not None]
    return StoredStudy(
        name=study.study_name,
        direction=", ".join(direction.name.lower() for direction in study.directions),
        attributes=attributes,
        n_trials=len(trials),
        rows=rows,
        rounds=[t.user_attrs["bbopt:round"] for t in trials if "bbopt:round" in t.user_attrs],
    )

"""Training tasks: what is known of earlier problems over one space.

From a folder of tables (the npz and CSV formats of :class:`~bbopt.problems.table.TableProblem`)
or from a storage of Optuna with many studies.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bbopt.errors import SpaceError, UsageError
from bbopt.metabo.nap.weights import Parameter
from bbopt.space import Array, Categorical, Dimension, Float, Int, Space

logger = logging.getLogger("bbopt")

FEWEST = 8
"""Rows that a task needs: a history and candidates beside it."""


@dataclass(frozen=True)
class Task:
    """Evaluated points of one earlier problem.

    Parameters
    ----------
    name : str
        Of the file or the study.
    x : (n, d) array
        In the unit cube of the common space.
    utility : (n,) array
        Larger is better.
    """

    name: str
    x: Array
    utility: Array


@dataclass(frozen=True)
class Past:
    """Tasks over one space.

    Parameters
    ----------
    space : Space
        Wide enough for all tasks.
    tasks : tuple of Task
        In the order of their names.
    """

    space: Space
    tasks: tuple[Task, ...]

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The space as a weight file describes it."""
        dimensions: Mapping[str, Any] = self.space
        return tuple(
            Parameter(name, choices=dim.choices)
            if isinstance(dim, Categorical)
            else Parameter(name, float(dim.low), float(dim.high), bool(dim.log))
            for name, dim in dimensions.items()
        )

    def only(self, numbers: Sequence[int]) -> Past:
        """The tasks of these numbers, counted from 0.

        Raises
        ------
        UsageError
            If there are not so many tasks.
        """
        for i in numbers:
            if not 0 <= i < len(self.tasks):
                raise UsageError(f"tasks must be in 0-{len(self.tasks) - 1}, got {i}")
        return Past(self.space, tuple(self.tasks[i] for i in numbers))


@dataclass(frozen=True)
class _Raw:
    name: str
    space: Space
    columns: Mapping[str, Any]
    utility: Array


def read_past(location: str | Path, log: Sequence[str] = ()) -> Past:
    """The tasks in a folder of tables, or in a storage.

    Studies need one objective; trials count where they are complete and have every parameter.
    A study without any, or with several objectives, is left out with a warning. Ranges and
    choices are widened to hold all tasks.

    Parameters
    ----------
    location : str or Path
        A folder, a file of a storage, or its URL.
    log : sequence of str
        The parameters of CSV tables that are on a log scale: npz tables and studies say so.

    Raises
    ------
    UsageError
        If there is no task, one cannot be read or has fewer than 8 rows, all have but one
        value, or the parameters are not the same in all of them, numbers on the same scale or
        choices.
    StorageError
        If the storage cannot be read.
    """
    path = Path(location)
    is_storage = "://" in str(location) or path.is_file()
    raw = list(_studies(str(location)) if is_storage else _tables(path, log))
    if not raw:
        what = "study with complete trials" if is_storage else "npz or CSV file"
        raise UsageError(f"{location}: holds no {what}")
    if all(np.ptp(task.utility) == 0 for task in raw):
        raise UsageError(f"{location}: every task has one value alone: nothing can be learned")
    space = _common_space(raw)
    tasks = []
    for task in raw:
        if len(task.utility) < FEWEST:
            raise UsageError(
                f"{location}: task {task.name!r} needs at least {FEWEST} rows, "
                f"got {len(task.utility)}"
            )
        tasks.append(Task(task.name, space.columns_to_unit(task.columns), task.utility))
    return Past(space, tuple(tasks))


def _tables(folder: Path, log: Sequence[str]) -> Iterable[_Raw]:
    from bbopt.problems.table_file import read_csv, read_npz

    if not folder.is_dir():
        raise UsageError(f"data: no such folder or storage: {folder}")
    for file in sorted(folder.iterdir()):
        if file.suffix in (".npz", ".csv"):
            contents = (
                read_npz(file) if file.suffix == ".npz" else read_csv(file, None, log, "minimize")
            )
            sign = -1.0 if contents.direction == "minimize" else 1.0
            yield _Raw(file.stem, contents.space, contents.columns, sign * contents.values)


def _studies(location: str) -> Iterable[_Raw]:
    from optuna.study import StudyDirection
    from optuna.trial import TrialState

    from bbopt.running.backends import opened_storage, storage_errors

    with storage_errors(location), opened_storage(location) as storage:
        studies = sorted(storage.get_all_studies(), key=lambda study: study.study_name)
        for study in studies:
            if len(study.directions) != 1:
                logger.warning("study %r is left out: several objectives", study.study_name)
                continue
            found = storage.get_all_trials(
                study._study_id, deepcopy=False, states=(TrialState.COMPLETE,)
            )
            trials = [t for t in found if t.values and math.isfinite(t.values[0]) and t.params]
            if not trials:
                logger.warning("study %r is left out: no complete trial", study.study_name)
                continue
            names = sorted(set.intersection(*(set(t.params) for t in trials)))
            dimensions: dict[str, Dimension] = {}
            for name in names:
                ranges = [_dimension(t.distributions[name]) for t in trials]
                dimensions[name] = _widest(name, ranges)
            sign = -1.0 if study.directions[0] == StudyDirection.MINIMIZE else 1.0
            columns = {name: np.array([t.params[name] for t in trials]) for name in names}
            utility = sign * np.array([t.values[0] for t in trials])
            yield _Raw(study.study_name, Space(dimensions), columns, utility)


def _dimension(distribution: Any) -> Dimension:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return Categorical(distribution.choices)
    kind = Int if isinstance(distribution, IntDistribution) else Float
    return kind(distribution.low, distribution.high, log=distribution.log)


def _common_space(raw: Sequence[_Raw]) -> Space:
    first = raw[0]
    for task in raw:
        if list(task.space) != list(first.space):
            raise UsageError(
                f"all tasks must have the same parameters: {first.name!r} has "
                f"{', '.join(first.space)}, {task.name!r} has {', '.join(task.space)}"
            )
    return Space({name: _widest(name, [t.space[name] for t in raw]) for name in first.space})


def _widest(name: str, dimensions: Sequence[Dimension]) -> Dimension:
    kinds = {type(dim) for dim in dimensions}
    if kinds == {Categorical}:
        every = (choice for dim in dimensions for choice in dim.choices)  # type: ignore[union-attr]
        return Categorical({(type(choice), choice): choice for choice in every}.values())
    if not kinds <= {Float, Int}:
        raise UsageError(f"parameter {name!r} must be a number, or a choice, in every task")
    numbers: Sequence[Any] = dimensions
    if len({dim.log for dim in numbers}) > 1:
        raise UsageError(f"parameter {name!r} must have one scale, got linear and log")
    kind = Int if kinds == {Int} else Float
    low, high = min(dim.low for dim in numbers), max(dim.high for dim in numbers)
    try:
        return kind(low, high, log=numbers[0].log)
    except SpaceError as error:
        raise UsageError(f"parameter {name!r}: {error}") from None

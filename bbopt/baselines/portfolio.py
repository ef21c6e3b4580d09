"""What earlier tasks say of a space, and the simplest use of it: a static portfolio.

Most of what is gained from earlier tasks is to know which region is usually good. A method that
learns across tasks has to be compared with one that knows just that.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bbopt.errors import MissingData, UnsupportedSpec
from bbopt.metabo.domain import Domain
from bbopt.metabo.scored import Score, Scored
from bbopt.registry import register_optimizer
from bbopt.settings import setting
from bbopt.space import Array, Categorical, Space

LEAST_ROWS = 3
"""A table with fewer rows in the space says nothing."""


class Task(NamedTuple):
    """An earlier task."""

    x: Array
    """Its rows in the unit cube of the space, ``(n, width)``."""
    utility: Array
    """What was observed there, larger is better, of mean 0 and standard deviation 1, ``(n,)``."""


class Earlier:
    """Earlier tasks in a space, and a forest of extremely randomised trees for each.

    Geurts, Ernst and Wehenkel (2006), *Extremely randomized trees*.

    Parameters
    ----------
    tasks : sequence of Task
        At least one.
    trees : int
        In each forest.
    """

    def __init__(self, tasks: Sequence[Task], trees: int) -> None:
        from sklearn.ensemble import ExtraTreesRegressor

        self.tasks = tuple(tasks)
        self._forests = [
            ExtraTreesRegressor(trees, min_samples_leaf=2, random_state=i).fit(*task)
            for i, task in enumerate(self.tasks)
        ]

    def predict_each(self, x: Array) -> Array:
        """What each task says of points ``(m, width)`` of the unit cube, ``(tasks, m)``."""
        if not len(x):
            return np.empty((len(self._forests), 0))
        return np.array([forest.predict(x) for forest in self._forests])

    def predict(self, x: Array) -> Array:
        """The mean over tasks, ``(m,)``."""
        mean: Array = self.predict_each(x).mean(axis=0)
        return mean


class Prior:
    """The mean prediction of earlier tasks, with that of a table's rows worked out once.

    Parameters
    ----------
    earlier : Earlier
        The tasks.
    domain : Domain
        Of the search.
    """

    def __init__(self, earlier: Earlier, domain: Domain) -> None:
        self._earlier, self._domain = earlier, domain

    def __call__(self, points: Array) -> Array:
        """Of points ``(m, d)`` in the coordinates of the encoding, ``(m,)``."""
        found = [self._rows.get(x.tobytes()) for x in points]
        if self._rows and None not in found:
            return np.array(found, dtype=float)
        return self._earlier.predict(self._domain.encoding.expand(points))

    @cached_property
    def _rows(self) -> dict[bytes, float]:
        rows = self._domain.candidates
        if rows is None:
            return {}
        predicted = self._earlier.predict(self._domain.encoding.expand(rows))
        return {x.tobytes(): float(u) for x, u in zip(rows, predicted, strict=True)}


def gaussian_ranks(utility: Array) -> Array:
    """Normal quantiles of the ranks of ``(n,)`` values, equals sharing theirs.

    The copula transform of Salinas, Shen and Perrone (2020), *A quantile-based approach for
    hyperparameter transfer learning*, with quantiles ``(rank - ½) / n``.
    """
    from scipy.stats import norm, rankdata

    ranks: Array = norm.ppf((rankdata(utility) - 0.5) / max(len(utility), 1))
    return ranks


def earlier_tasks(space: Space, tables: str, trees: int, *, ranked: bool = False) -> Earlier:
    """Read the tables of earlier tasks; kept as long as the files stay as they are.

    Parameters
    ----------
    space : Space
        Floats, integers and categories: each table must have a column for every one.
    tables : str
        A folder of ``.npz`` and ``.csv`` files as ``hpo/table`` reads them, or a pattern with
        ``*``, ``?`` or ``[...]``; a relative one is looked up in the current folder, then in
        the folder that the environment variable ``BBOPT_DATA`` names. Of a CSV file the smaller
        value is the better. Numbers are cut to the ranges of the space; rows with a choice that
        it does not have are left out.
    trees : int
        Trees of a forest a task.
    ranked : bool
        Learn the normal quantiles of each task's ranks instead of its utilities.

    Raises
    ------
    MissingData
        If there is no such file.
    UnsupportedSpec
        If one lacks a column, or all together leave nothing to learn from.
    UsageError
        If one cannot be read.
    """
    files = _files(tables) or _files(str(Path(os.environ.get("BBOPT_DATA", "")) / tables))
    if not tables or not files:
        raise MissingData(
            f"tables must name a folder of .npz or .csv files, or a pattern, got {tables!r}"
        )
    stamped = tuple((file, file.stat().st_mtime_ns) for file in files)
    return _read(space, stamped, trees, ranked)


def _files(tables: str) -> list[Path]:
    """The tables in a folder, or those that fit a pattern."""
    path = Path(tables)
    found = path.iterdir() if path.is_dir() else map(Path, glob.glob(tables))
    return sorted(file for file in found if file.suffix in (".npz", ".csv"))


@lru_cache(maxsize=16)
def _read(space: Space, files: tuple[tuple[Path, int], ...], trees: int, ranked: bool) -> Earlier:
    tasks = [task for file, _ in files if (task := _task(space, file, ranked)) is not None]
    if not tasks:
        raise UnsupportedSpec(
            f"tables: none of {len(files)} files has {LEAST_ROWS} rows of the space that differ"
        )
    return Earlier(tasks, trees)


def _task(space: Space, file: Path, ranked: bool) -> Task | None:
    """The rows of a file that the space has; None where they tell nothing."""
    from bbopt.problems.table_file import read_csv, read_npz

    is_npz = file.suffix == ".npz"
    contents = read_npz(file) if is_npz else read_csv(file, None, [], "minimize")
    missing = [name for name in space if name not in contents.columns]
    if missing:
        raise UnsupportedSpec(
            f"{file}: lacks a column {missing[0]!r}; it has {', '.join(contents.columns)}"
        )
    columns, known = {}, np.ones(len(contents.values), dtype=bool)
    for name, dimension in space.items():
        columns[name], is_known = _within(dimension, contents.columns[name])
        known &= is_known
    utility = contents.values[known] * (-1 if contents.direction == "minimize" else 1)
    if len(utility) < LEAST_ROWS or not np.ptp(utility):
        return None
    x = space.columns_to_unit({name: column[known] for name, column in columns.items()})
    if ranked:
        utility = gaussian_ranks(utility)
    return Task(x, (utility - utility.mean()) / utility.std())


def _within(dimension: Any, column: Any) -> tuple[Any, Array]:
    """A column as values of a dimension, and which of them are."""
    if isinstance(dimension, Categorical):
        # a file knows texts and numbers only
        choices = {str(choice): choice for choice in dimension.choices}
        known = np.array([str(value) in choices for value in column])
        values = np.empty(len(column), dtype=object)
        values[:] = [choices.get(str(value)) for value in column]
        return values, known
    if column.dtype.kind == "O":
        return column, np.zeros(len(column), dtype=bool)
    return np.clip(column, dimension.low, dimension.high), np.ones(len(column), dtype=bool)


@dataclass(frozen=True)
class PortfolioSettings:
    """The settings of ``portfolio``."""

    tables: str = setting(
        "",
        "the earlier tasks: a folder of npz or CSV tables as hpo/table reads them, or a pattern; "
        "it must be given",
    )
    trees: int = setting(100, "trees of the forest that each task is learned by", low=1)


@register_optimizer("portfolio")
class Portfolio(Scored):
    """A static portfolio: what was good in earlier tasks, best first, whatever is observed.

    Candidates are ranked by their utility in the earlier tasks, standardised and predicted by a
    forest a task, on average. Of a table that is the order of its rows. Elsewhere each proposal
    is the best of 256 fresh points that fill the space and of 128 around the most
    promising of them.

    Raises
    ------
    UsageError
        If ``tables`` names nothing that can be read.
    """

    Settings = PortfolioSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        earlier = earlier_tasks(self.space, self.settings.tables, self.settings.trees)
        self._prior = Prior(earlier, self._domain)

    def _best_points(self) -> Array:
        return np.empty((0, self._encoding.d))  # static: nothing is made around what was good

    def _score(self, pending: Array, left: int, fields: Sequence[int]) -> Score:
        return self._prior

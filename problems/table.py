"""``hpo/table``: values looked up in a file instead of computed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from bbopt import checks
from bbopt.base import Problem
from bbopt.errors import MissingData, UsageError
from bbopt.space import Params
from bbopt.spec import DIRECTIONS, Direction, Spec, Table
from bbopt.trial import Trial

from .table_file import Contents, read_csv, read_npz

DATA_VARIABLE = "BBOPT_DATA"
"""The environment variable that names the folder where relative paths are looked up too."""


class TableProblem(Problem):
    """A finite set of settings, each with the value that a file gives for it.

    The settings are the spec's ``candidates``, and nothing else can be evaluated. The spec has
    no ``value_range``, which would tell a method what the best value is. An evaluation costs
    20 microseconds; the optimum is the table's best value.

    An **npz** file holds ``X`` ``(n, d)`` and ``y`` ``(n,)``, the settings in native units and
    their values; ``names``, ``low``, ``high`` and ``log``, ``(d,)`` each; and the scalar
    ``minimise``. All parameters are floats, kept as they are: a single-precision number becomes
    the double-precision number equal to it, and a range is widened where its rounding cuts off
    the outermost row. (HPOBench's tables can be had in this form: Eggensperger et al. 2021,
    *HPOBench: a collection of reproducible multi-fidelity benchmark problems for HPO*.)

    A **CSV** file has a header with the names, and one row a setting. The column ``value`` is
    the objective, or the last column where none is called so. A column of integers is an
    integer parameter, one of numbers a float, any other a categorical of its texts; ranges are
    those of the data.

    Parameters
    ----------
    path : str
        An ``.npz`` or ``.csv`` file; a relative path is looked up in the current folder, then
        in the folder that the environment variable ``BBOPT_DATA`` names.
    value : str, optional
        The column of a CSV file that is the objective.
    direction : {"minimize", "maximize"}, optional
        Which values of a CSV file are better; "minimize" where None.
    log : str, optional
        The parameters of a CSV file with a logarithmic scale, separated by commas.

    Raises
    ------
    UsageError
        If the file is missing or unreadable, lacks a key or a column, holds anything but
        finite numbers where they belong, or gives two values for one setting; if an argument
        for CSV files is given with an npz file.

    Examples
    --------
    >>> problem = TableProblem("table.csv", log="lr")  # doctest: +SKIP
    >>> problem.truth({"lr": 0.01, "booster": "tree"})  # doctest: +SKIP
    0.25
    """

    def __init__(
        self,
        path: str,
        value: str | None = None,
        direction: Direction | None = None,
        log: str | None = None,
    ) -> None:
        file = _find(path)
        contents = _read(file, value, direction, log)
        self._file = file
        self._values: dict[tuple[Any, ...], float] = {}
        self._spec = Spec(
            space=contents.space,
            direction=contents.direction,
            objective=f"The value that the file {file.name} gives for a setting.",
            deterministic=True,
            candidates=self._take(contents),
        )
        self.optimum = self._spec.sign * min(self._spec.sign * v for v in self._values.values())

    @property
    def spec(self) -> Spec:
        """The settings in the file, as a space and as candidates."""
        return self._spec

    @property
    def optimal_params(self) -> list[Params]:
        """The rows that have the best value."""
        candidates = self._spec.candidates or ()
        return [params for params in candidates if self.truth(params) == self.optimum]

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> list[float]:
        """The value of the row, once a repeat."""
        return [self.truth(trial.params)] * trial.repeats

    def truth(self, params: Params) -> float:
        """The value of the row.

        Raises
        ------
        UsageError
            If the params are no row of the file.
        """
        try:
            return self._values[self._spec.space.key(params)]
        except KeyError:
            raise UsageError(f"{self._file.name} has no row {params!r}") from None

    def _take(self, contents: Contents) -> Table:
        """Keep the values by params; return the rows, each of which is there once."""
        rows = Table(contents.space, contents.columns)
        first = []
        for i, (params, value) in enumerate(zip(rows, contents.values.tolist(), strict=True)):
            key = contents.space.key(params)
            if key not in self._values:
                first.append(i)
            if self._values.setdefault(key, value) != value:
                raise UsageError(
                    f"{self._file}: {params!r} has two values, {self._values[key]!r} and {value!r}"
                )
        return Table(
            contents.space, {name: column[first] for name, column in contents.columns.items()}
        )


def _read(file: Path, value: str | None, direction: Direction | None, log: str | None) -> Contents:
    if file.suffix == ".csv":
        checks.one_of("direction", direction, (*DIRECTIONS, None))
        scales = [name.strip() for name in (log or "").split(",") if name.strip()]
        return read_csv(file, value, scales, direction or "minimize")
    if file.suffix != ".npz":
        raise UsageError(f"path must end in .npz or .csv, got {str(file)!r}")
    for name, given in (("value", value), ("direction", direction), ("log", log)):
        if given is not None:
            raise UsageError(f"{name} is for CSV files: {file} has its own")
    return read_npz(file)


def _find(path: str) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"path must be the path of a file, got {path!r}")
    folder = os.environ.get(DATA_VARIABLE)
    places = [Path(path)] + ([Path(folder) / path] if folder else [])
    for place in places:
        if place.is_file():
            return place
    where = " or ".join(str(place) for place in places)
    hint = "" if folder or places[0].is_absolute() else f" ({DATA_VARIABLE} is not set)"
    raise MissingData(f"path: no such file: {where}{hint}")

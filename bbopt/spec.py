"""Spec: all that an optimizer may know about a problem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np

from bbopt import checks
from bbopt.errors import SpaceError, UsageError
from bbopt.space import Array, Params, Space

Direction: TypeAlias = Literal["minimize", "maximize"]
DIRECTIONS = ("minimize", "maximize")


@dataclass(frozen=True)
class Examples:
    """The ids of the examples that one evaluation can be about.

    Parameters
    ----------
    train : tuple of int
        Examples whose values and feedback are shown to the optimizer.
    validation : tuple of int
        Examples of which it sees the values only.
    """

    train: tuple[int, ...]
    validation: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for name in ("train", "validation"):
            ids = tuple(checks.integer(f"examples.{name}", i) for i in getattr(self, name))
            object.__setattr__(self, name, ids)


@dataclass(frozen=True)
class Agents:
    """The agents of a distributed problem and who hears whom.

    Parameters
    ----------
    n : int
        Number of agents, >= 1; they are called 0 ... n - 1.
    edges : tuple of (int, int, float)
        Weighted edges (i, j, weight); kept sorted.
    """

    n: int
    edges: tuple[tuple[int, int, float], ...] = ()

    def __post_init__(self) -> None:
        checks.integer("agents.n", self.n, 1)
        edges = []
        for i, j, weight in self.edges:
            for end in (i, j):
                checks.integer("agents.edges: an agent", end, 0, self.n - 1)
            edges.append((int(i), int(j), checks.number("agents.edges: a weight", weight)))
        object.__setattr__(self, "edges", tuple(sorted(edges)))


class Table(Sequence[Params]):
    """The allowed params of a problem that has only so many, held as columns.

    Parameters
    ----------
    space : Space
        A numeric space.
    rows : sequence of params, or mapping of name -> ``(n,)`` native values
        At least one row. A sequence is validated row by row; columns are taken as valid
        (that is how a million rows are given).

    Raises
    ------
    SpaceError
        If there is no row, a row is outside the space, or the columns do not fit it.
    """

    def __init__(self, space: Space, rows: Iterable[Mapping[str, Any]] | Mapping[str, Any]) -> None:
        if isinstance(rows, Mapping):
            columns = {name: np.asarray(rows[name]) for name in space if name in rows}
            if len(columns) != len(space) or len({len(c) for c in columns.values()}) != 1:
                raise SpaceError(
                    f"candidates need one column of equal length for each of "
                    f"{', '.join(space)}, got {', '.join(rows)}"
                )
        else:
            valid = [space.validate(row) for row in rows]
            columns = {
                name: np.array([row[name] for row in valid], dtype=_dtype(space[name].kind))
                for name in space
            }
        self._columns = columns
        self._length = len(next(iter(columns.values())))
        self._space = space
        if not self._length:
            raise SpaceError("candidates must hold at least one row, got none")

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row = {name: column[index] for name, column in self._columns.items()}
        return {k: v.item() if isinstance(v, np.generic) else v for k, v in row.items()}

    @cached_property
    def x(self) -> Array:
        """The rows in the unit cube, ``(n, d)``."""
        return self._space.columns_to_unit(self._columns)

    def to_json(self) -> dict[str, list[Any]]:
        """The columns as lists."""
        return {name: column.tolist() for name, column in self._columns.items()}


@dataclass(frozen=True, kw_only=True)
class Spec:
    """All that an optimizer may know about a problem; frozen.

    Parameters
    ----------
    space : Space
        What can be chosen.
    direction : {"minimize", "maximize"}
        Which values are better.
    objective : str
        What is optimised, in one sentence, for people and for language models.
    deterministic : bool or None
        Whether one evaluation says all; None where that is unknown.
    value_range : (float, float), optional
        The least and the greatest value possible, in the user's direction.
    examples : Examples, optional
        The examples that evaluations are about.
    agents : Agents, optional
        Who evaluates, in a distributed problem.
    candidates : Table, optional
        The only params that can be evaluated (rows or columns are accepted and wrapped).
    switch_cost : float, optional
        What a change of params costs, in units of one evaluation, >= 0.

    Raises
    ------
    UsageError
        If a field has a value that is not allowed; several objectives are refused.
    """

    space: Space
    direction: Direction = "minimize"
    objective: str = ""
    deterministic: bool | None = None
    value_range: tuple[float, float] | None = None
    examples: Examples | None = None
    agents: Agents | None = None
    candidates: Table | None = field(default=None, compare=False)
    switch_cost: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.space, Space):
            object.__setattr__(self, "space", Space(self.space))
        if not isinstance(self.direction, str):
            raise UsageError(
                f"direction must be 'minimize' or 'maximize', got {self.direction!r}: several "
                "objectives are out of scope (Optuna's NSGAIISampler or pymoo handle them)"
            )
        checks.one_of("direction", self.direction, DIRECTIONS)
        checks.one_of("deterministic", self.deterministic, (True, False, None))
        if self.value_range is not None:
            low, high = (checks.number("value_range", value) for value in self.value_range)
            if low > high:
                raise UsageError(f"value_range must be (low, high), got {self.value_range!r}")
            object.__setattr__(self, "value_range", (low, high))
        if self.switch_cost is not None:
            checks.number("switch_cost", self.switch_cost, 0)
        if self.candidates is not None and not isinstance(self.candidates, Table):
            object.__setattr__(self, "candidates", Table(self.space, self.candidates))

    @property
    def sign(self) -> float:
        """+1 where smaller values are better, -1 where larger ones are: loss = sign * value."""
        return 1.0 if self.direction == "minimize" else -1.0


def _dtype(kind: str) -> Any:
    return {"float": float, "int": np.int64}.get(kind, object)

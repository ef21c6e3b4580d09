"""Spec: all that an optimizer may know about a problem."""

from __future__ import annotations

import itertools
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from bbopt import checks
from bbopt.errors import SpaceError, UsageError
from bbopt.space import Array, Dimension, Float, Int, Params, Space

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
            ids = tuple(checks.integer(f"examples.{name}: an id", i) for i in getattr(self, name))
            object.__setattr__(self, name, ids)


@dataclass(frozen=True)
class Agents:
    """The agents of a distributed problem and who hears whom.

    Parameters
    ----------
    n : int
        Number of agents, >= 1; they are called 0 ... n - 1.
    edges : tuple of (int, int, float)
        Undirected edges (i, j, weight): i and j hear each other. ``weight`` is what each gives
        to the word of the other when they average, where the problem has a say in that (a
        method may have its own rule); what its neighbours leave of one an agent keeps. Kept as
        i < j, sorted.

    Raises
    ------
    UsageError
        If an agent is out of range, a weight is not finite, or an edge joins an agent with
        itself or occurs twice.
    """

    n: int
    edges: tuple[tuple[int, int, float], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", checks.integer("agents.n", self.n, 1))
        if not isinstance(self.edges, Iterable):
            raise UsageError(f"agents.edges must be edges (i, j, weight), got {self.edges!r}")
        edges = []
        for given in self.edges:
            edge: Any = tuple(given) if isinstance(given, Iterable) else given
            if not isinstance(edge, tuple) or len(edge) != 3:
                raise UsageError(f"agents.edges: an edge must be (i, j, weight), got {edge!r}")
            i, j = (checks.integer("agents.edges: an agent", e, 0, self.n - 1) for e in edge[:2])
            if i == j:
                raise UsageError(f"agents.edges: an edge must join two agents, got {edge!r}")
            weight = checks.number("agents.edges: a weight", edge[2])
            edges.append((min(i, j), max(i, j), weight))
        edges.sort()
        for one, other in itertools.pairwise(edges):
            if one[:2] == other[:2]:
                raise UsageError(f"agents.edges: an edge must be given once, got {one[:2]} twice")
        object.__setattr__(self, "edges", tuple(edges))


class Table(Sequence[Params]):
    """The allowed params of a problem that has only so many, held as columns.

    Parameters
    ----------
    space : Space
        A numeric space.
    rows : sequence of params, or mapping of name -> ``(n,)`` native values
        At least one row. A sequence is validated row by row; of numeric columns only the
        bounds are checked (that is how a million rows are given).

    Raises
    ------
    SpaceError
        If there is no row, a row is outside the space, or the columns do not fit it.
    """

    def __init__(self, space: Space, rows: Iterable[Mapping[str, Any]] | Mapping[str, Any]) -> None:
        if not isinstance(rows, Mapping):
            valid = [space.validate(row) for row in rows]
            rows = {name: [row[name] for row in valid] for name in space}
        if rows.keys() != space.keys():
            raise SpaceError(
                f"candidates must have the columns {', '.join(space)}, got {', '.join(rows)}"
            )
        self._space = space
        self._columns = {name: _column(name, space[name], rows[name]) for name in space}
        lengths = {len(column) for column in self._columns.values()}
        if len(lengths) > 1:
            raise SpaceError(f"candidates must have columns of one length, got {sorted(lengths)}")
        (self._length,) = lengths
        if not self._length:
            raise SpaceError("candidates must hold at least one row, got none")

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        row = {name: column[index] for name, column in self._columns.items()}
        return {k: v.item() if isinstance(v, np.generic) else v for k, v in row.items()}

    @property
    def space(self) -> Space:
        """The space that the rows are of."""
        return self._space

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
        The least and the greatest value possible.
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
            self._set("space", Space(self.space))
        if isinstance(self.direction, list | tuple):
            raise UsageError(
                f"direction must be 'minimize' or 'maximize', got {self.direction!r}: several "
                "objectives are out of scope (Optuna's NSGAIISampler or pymoo handle them)"
            )
        self._set("direction", checks.one_of("direction", self.direction, DIRECTIONS))
        _check_type("objective", self.objective, str)
        known = checks.one_of("deterministic", self.deterministic, (True, False, None))
        self._set("deterministic", known)
        if self.value_range is not None:
            self._set("value_range", _checked_range(self.value_range))
        if self.examples is not None:
            _check_type("examples", self.examples, Examples)
        if self.agents is not None:
            _check_type("agents", self.agents, Agents)
        if self.switch_cost is not None:
            self._set("switch_cost", checks.number("switch_cost", self.switch_cost, 0))
        if self.candidates is not None and not isinstance(self.candidates, Table):
            self._set("candidates", Table(self.space, self.candidates))
        if self.candidates is not None and self.candidates.space != self.space:
            raise UsageError("candidates must be a table of the spec's own space")

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    @property
    def sign(self) -> float:
        """+1 where smaller values are better, -1 where larger ones are: loss = sign * value."""
        return 1.0 if self.direction == "minimize" else -1.0


def _check_type(name: str, value: Any, kind: type[Any]) -> None:
    if not isinstance(value, kind):
        raise UsageError(f"{name} must be of type {kind.__name__}, got {value!r}")


def _checked_range(given: Any) -> tuple[float, float]:
    if isinstance(given, Sequence) and len(given) == 2:
        low, high = (checks.number("value_range: a bound", bound) for bound in given)
        if low <= high:
            return low, high
    raise UsageError(f"value_range must be (low, high), got {given!r}")


def _column(name: str, dimension: Dimension, values: Any) -> npt.NDArray[Any]:
    """The values of one parameter as a column ``(n,)`` of plain numbers or objects."""
    try:
        if isinstance(dimension, Float | Int):
            return _numbers(dimension, values)
        return np.array([dimension.normalize(value) for value in values], dtype=object)
    except SpaceError as error:
        raise SpaceError(f"candidates: parameter {name!r} {error}") from None


def _numbers(dimension: Float | Int, values: Any) -> npt.NDArray[Any]:
    given = np.asarray(values)
    if given.ndim != 1 or given.dtype.kind not in "iuf":
        raise SpaceError(f"must be a column of numbers, got {reprlib.repr(values)}")
    inside = (given >= dimension.low) & (given <= dimension.high)  # NaN is not
    if not inside.all():
        outside = given[~inside][0].item()
        raise SpaceError(f"must be in [{dimension.low!r}, {dimension.high!r}], got {outside!r}")
    column = given.astype(float if isinstance(dimension, Float) else np.int64)
    if (column != given).any():
        raise SpaceError(f"must be an integer, got {given[column != given][0].item()!r}")
    return column

"""From params to the coordinates of the model, and back.

The model sees the unit cube of the space without the columns that cannot vary. Integers,
stepped numbers and categories are rounded *before* the kernel sees them, so that equal params
are one point.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bbopt.space import Array, Categorical, Dimension, Float, Params, Space


@dataclass(frozen=True)
class Field:
    """The columns of one parameter among the model's coordinates."""

    dimension: Dimension
    columns: slice

    @property
    def is_continuous(self) -> bool:
        """Whether every value between the bounds is allowed."""
        return isinstance(self.dimension, Float) and self.dimension.step is None

    @property
    def is_categorical(self) -> bool:
        """Whether its columns are one-hot."""
        return isinstance(self.dimension, Categorical)

    @property
    def n_values(self) -> float:
        """How many values the parameter can take; infinite where it is continuous."""
        dimension: Any = self.dimension
        if self.is_categorical:
            return float(dimension.width)
        if self.is_continuous:
            return math.inf
        return float(round((dimension.high - dimension.low) / (dimension.step or 1)) + 1)


class Encoding:
    """The coordinates of a space in which a Gaussian process lives.

    Parameters
    ----------
    space : Space
        Floats, integers and categories.

    Attributes
    ----------
    d : int
        Number of coordinates.
    fields : list of Field
        One a parameter that can vary.
    groups : tuple of int or None
        The lengthscale of each coordinate: one a parameter. None where that is one each.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        self.fields: list[Field] = []
        free: list[int] = []
        groups: list[int] = []
        at = 0
        for dimension in space.values():
            if _varies(dimension):
                start = len(free)
                free += range(at, at + dimension.width)
                groups += [len(self.fields)] * dimension.width
                self.fields.append(Field(dimension, slice(start, len(free))))
            at += dimension.width
        self._free = np.array(free, dtype=int)
        self._fixed = space.to_unit(space.from_unit(np.full(space.width, 0.5)))[0]
        self.d = len(free)
        self.groups = None if len(self.fields) == self.d else tuple(groups)
        self.is_continuous = np.zeros(self.d, dtype=bool)
        for field in self.fields:
            self.is_continuous[field.columns] = field.is_continuous

    def encode(self, params: Mapping[str, Any] | Sequence[Mapping[str, Any]]) -> Array:
        """Params, or n of them, as points ``(n, d)``."""
        return self.reduce(self.space.to_unit(params))

    def reduce(self, unit: Array) -> Array:
        """Points of the space's own unit cube ``(n, width)`` as points ``(n, d)``."""
        if self.d == unit.shape[1]:
            return unit  # of a million rows, a copy would weigh
        reduced: Array = unit[:, self._free]
        return reduced

    def decode(self, x: Array) -> Params:
        """The params of one point ``(d,)``."""
        return self.space.from_unit(self.expand(x[None]))[0]

    def expand(self, X: Array) -> Array:  # noqa: N803
        """Points ``(n, d)`` in the space's own unit cube, ``(n, width)``: undoes ``reduce``."""
        full = np.tile(self._fixed, (len(X), 1))
        full[:, self._free] = X
        return full

    def rounded(self, X: Array) -> Array:  # noqa: N803
        """The points ``(n, d)`` with all but the continuous columns rounded."""
        X = X.copy()  # noqa: N806
        for field in self.fields:
            if not field.is_continuous:
                X[:, field.columns] = _rounded(field.dimension, X[:, field.columns])
        return X

    def from_coordinates(self, U: Array) -> Array:  # noqa: N803
        """Points ``(n, d)`` from one uniform number in [0, 1) a parameter, ``(n, fields)``."""
        X = np.zeros((len(U), self.d))  # noqa: N806
        for field, u in zip(self.fields, U.T, strict=True):
            if field.is_categorical:
                width = field.dimension.width
                choice = np.minimum((u * width).astype(int), width - 1)
                X[np.arange(len(U)), field.columns.start + choice] = 1.0
            else:
                X[:, field.columns.start] = u
        return self.rounded(X)

    def neighbours(self, x: Array) -> Array:
        """The points ``(n, d)`` that differ from ``x`` in one discrete parameter.

        All choices of a category; the next smaller and larger value of a number, and those a
        tenth of its range away.
        """
        found: list[Array] = []
        for field in self.fields:
            if field.is_continuous:
                continue
            here = x[field.columns]
            for columns in _moves(field.dimension, here):
                moved = x.copy()
                moved[field.columns] = columns
                found.append(moved)
        return np.array(found).reshape(len(found), self.d)


def _varies(dimension: Dimension) -> bool:
    if isinstance(dimension, Categorical):
        return dimension.width > 1
    return bool(dimension.low < dimension.high)  # type: ignore[union-attr]


def _rounded(dimension: Any, columns: Array) -> npt.NDArray[Any]:
    encoded: Array = dimension.encode(dimension.decode(columns))
    return encoded


def _moves(dimension: Any, here: Array) -> list[Array]:
    if isinstance(dimension, Categorical):
        eye = np.eye(dimension.width)
        return [row for row, now in zip(eye, here, strict=True) if now != 1.0]
    (value,) = dimension.decode(here.reshape(1, -1))
    step = dimension.step or 1
    # to the bound where rounding alone passed it
    near = [max(value - step, dimension.low), min(value + step, dimension.high)]
    far = [dimension.decode(np.clip(here + gap, 0.0, 1.0).reshape(1, -1))[0] for gap in (-0.1, 0.1)]
    # compared as the model sees them: two sums may be one value, and two integers one double
    columns = np.unique(dimension.encode([*near, *far]), axis=0)
    return list(columns[columns[:, 0] != dimension.encode([value])[0]])

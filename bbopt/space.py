"""The search space: named dimensions and their encoding in the unit cube.

Params are dicts in native units; ``x`` is their ``(n, d)`` float64 encoding in [0, 1], in
which a uniform point decodes to a uniform draw of the params (see
:mod:`bbopt.dimensions` for each kind). The identity of a point is its decoded params.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bbopt.dimensions import KINDS, Array, Categorical, Dimension, Float, Int, Text
from bbopt.errors import SpaceError

__all__ = ["Array", "Categorical", "Dimension", "Float", "Int", "Params", "Space", "Text"]

Params: TypeAlias = dict[str, Any]
"""One candidate: name -> value in native units (float, int, JSON scalar or text)."""


class Space(Mapping[str, Dimension]):
    """An ordered, immutable mapping from names to dimensions.

    Parameters
    ----------
    dimensions : mapping of str to Float, Int, Categorical or Text
        At least one; the order is kept.

    Raises
    ------
    SpaceError
        If it is empty, a name is not a non-empty string, or a value is no dimension.

    Examples
    --------
    >>> space = Space({"dropout": Float(0.0, 0.5), "depth": Int(1, 8)})
    >>> space.from_unit([[0.5, 0.0]])
    [{'dropout': 0.25, 'depth': 1}]
    >>> space.validate({"dropout": 0.1, "depth": 9})
    Traceback (most recent call last):
        ...
    bbopt.errors.SpaceError: parameter 'depth' must be in [1, 8], got 9
    """

    def __init__(self, dimensions: Mapping[str, Dimension]) -> None:
        if not isinstance(dimensions, Mapping) or not dimensions:
            raise SpaceError(f"space must map at least one name to a dimension, got {dimensions!r}")
        for name, dimension in dimensions.items():
            if not isinstance(name, str) or not name:
                raise SpaceError(f"space: names must be non-empty strings, got {name!r}")
            if type(dimension) not in KINDS.values():
                raise SpaceError(
                    f"parameter {name!r} must be Float, Int, Categorical or Text, got {dimension!r}"
                )
        self._dimensions = dict(dimensions)

    def __getitem__(self, name: str) -> Dimension:
        return self._dimensions[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._dimensions)

    def __len__(self) -> int:
        return len(self._dimensions)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Space):
            return NotImplemented
        return list(self.items()) == list(other.items())

    def __hash__(self) -> int:
        return hash(tuple(self._dimensions.items()))

    def __repr__(self) -> str:
        inner = ", ".join(f"{name!r}: {dim!r}" for name, dim in self.items())
        return f"Space({{{inner}}})"

    @cached_property
    def kinds(self) -> frozenset[str]:
        """The kinds of dimension in it: float, int, categorical, text."""
        return frozenset(dimension.kind for dimension in self.values())

    @cached_property
    def width(self) -> int:
        """``d``, the number of columns of the unit cube (one a choice for categoricals)."""
        return sum(dimension.width for dimension in self.values())

    @cached_property
    def initial(self) -> Params | None:
        """The setting in use today, where every dimension has an ``initial``, else None.

        Every method tries it first, and reports say how much better than it they got.
        """
        if not all(dimension.has_initial for dimension in self.values()):
            return None
        return {name: dimension.initial for name, dimension in self.items()}

    def validate(self, params: Mapping[str, Any]) -> Params:
        """``params`` as plain Python values in the order of the space.

        Raises
        ------
        SpaceError
            If a parameter is missing, unknown, or outside its dimension; it is named.
        """
        if not isinstance(params, Mapping):
            raise SpaceError(f"params must map names to values, got {params!r}")
        if params.keys() != self._dimensions.keys():
            for name in self:
                if name not in params:
                    given = ", ".join(map(repr, params)) or "none"
                    raise SpaceError(f"parameter {name!r} is missing, got {given}")
            extra = next(name for name in params if name not in self)
            raise SpaceError(f"unknown parameter {extra!r}: allowed are {', '.join(self)}")
        valid = {}
        for name, dimension in self._dimensions.items():
            try:
                valid[name] = dimension.normalize(params[name])
            except SpaceError as error:
                raise SpaceError(f"parameter {name!r} {error}") from None
        return valid

    def key(self, params: Mapping[str, Any]) -> tuple[Any, ...]:
        """The identity of a point: hashable, equal for equal params only (1 is not True)."""
        return tuple(
            dim.index(params[name]) if isinstance(dim, Categorical) else params[name]
            for name, dim in self._dimensions.items()
        )

    def to_unit(self, params: Mapping[str, Any] | Iterable[Mapping[str, Any]]) -> Array:
        """Params, or a list of n of them, as ``(n, d)`` float64 in [0, 1].

        Raises
        ------
        SpaceError
            If the space has a text, which has no numeric encoding, or params are outside.
        """
        rows = [params] if isinstance(params, Mapping) else list(params)
        valid = [self.validate(row) for row in rows]
        return self.columns_to_unit({name: [row[name] for row in valid] for name in self})

    def columns_to_unit(self, columns: Mapping[str, Any]) -> Array:
        """Columns of n native values each (taken as valid) as ``(n, d)`` float64 in [0, 1].

        Raises
        ------
        SpaceError
            If the space has a text, or a categorical's value is none of its choices.
        """
        parts = [dim.encode(columns[name]) for name, dim in self._numeric().items()]
        return np.hstack(parts)

    def from_unit(self, x: npt.ArrayLike) -> list[Params]:
        """Points ``(n, d)`` or ``(d,)`` of the unit cube as a list of n params.

        Values outside [0, 1] are clipped.

        Raises
        ------
        SpaceError
            If the space has a text, the shape is wrong, or a value is NaN.
        """
        dimensions = self._numeric().values()
        points = np.atleast_2d(np.asarray(x, dtype=float))
        if points.ndim != 2 or points.shape[1] != self.width:
            raise SpaceError(f"x must have shape (n, {self.width}), got {np.shape(x)}")
        if np.isnan(points).any():
            raise SpaceError("x must not hold NaN")
        points = np.clip(points, 0.0, 1.0)
        columns: list[list[Any]] = []
        at = 0
        for dim in dimensions:
            columns.append(dim.decode(points[:, at : at + dim.width]))
            at += dim.width
        return [dict(zip(self, row, strict=True)) for row in zip(*columns, strict=True)]

    def sample(self, rng: np.random.Generator, n: int = 1) -> list[Params]:
        """``n`` params drawn uniformly from ``rng`` (texts stay at their ``initial``)."""
        columns: list[list[Any]] = []
        for dim in self._dimensions.values():
            if isinstance(dim, Text):
                columns.append([dim.initial] * n)
            elif isinstance(dim, Categorical):
                columns.append([dim.choices[i] for i in rng.integers(dim.width, size=n)])
            else:
                columns.append(list(dim.decode(rng.random((n, 1)))))
        return [dict(zip(self, row, strict=True)) for row in zip(*columns, strict=True)]

    def to_json(self) -> list[dict[str, Any]]:
        """JSON values that :meth:`from_json` reads back."""
        return [{"name": name, "kind": dim.kind, **_options(dim)} for name, dim in self.items()]

    @classmethod
    def from_json(cls, data: Iterable[Mapping[str, Any]]) -> Space:
        """The space that :meth:`to_json` described.

        Raises
        ------
        SpaceError
            If an entry has no name, a name occurs twice, or a kind or an option is unknown.
        """
        dimensions: dict[str, Dimension] = {}
        for entry in data:
            options = dict(entry)
            name, kind = options.pop("name", None), options.pop("kind", None)
            if name in dimensions:
                raise SpaceError(f"parameter {name!r} is given twice")
            if kind not in KINDS:
                raise SpaceError(
                    f"parameter {name!r}: kind must be one of {', '.join(KINDS)}, got {kind!r}"
                )
            try:
                dimensions[name] = KINDS[kind](**options)
            except (TypeError, SpaceError) as error:
                raise SpaceError(f"parameter {name!r}: {error}") from None
        return cls(dimensions)

    def _numeric(self) -> dict[str, Float | Int | Categorical]:
        """The dimensions, where all of them have a numeric encoding."""
        numeric = {n: dim for n, dim in self._dimensions.items() if not isinstance(dim, Text)}
        for name in self._dimensions:
            if name not in numeric:
                raise SpaceError(f"parameter {name!r} is a text and has no numeric encoding")
        return numeric


def _options(dimension: Dimension) -> dict[str, Any]:
    """The arguments that build it, as JSON values."""
    options = asdict(dimension)
    if not dimension.has_initial:
        del options["initial"]
    return {name: list(v) if isinstance(v, tuple) else v for name, v in options.items()}

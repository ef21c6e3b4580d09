"""The search space: named dimensions and their encoding in the unit cube.

Params are dicts in native units; ``x`` is their ``(n, d)`` float64 encoding in [0, 1], in
which a uniform point decodes to a uniform draw of the params (log-uniform where ``log``):
integers and stepped floats own equal bins and encode as the centre of theirs, categoricals
are one-hot. The identity of a point is its decoded params.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass
from decimal import Decimal
from functools import cached_property
from numbers import Integral, Real
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from bbopt.errors import SpaceError

Params: TypeAlias = dict[str, Any]
"""One candidate: name -> value in native units (float, int, JSON scalar or text)."""

Array: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Float:
    """A real parameter in ``[low, high]``.

    Parameters
    ----------
    low, high : float
        Inclusive bounds in native units, ``low <= high``.
    log : bool
        Search on a logarithmic scale; needs ``low > 0`` and excludes ``step``.
    step : float, optional
        Only ``low, low + step, ..., high`` are allowed; must divide ``high - low``.
    initial : float, optional
        The setting in use today; see :attr:`Space.initial`.

    Raises
    ------
    SpaceError
        If a bound is not a finite number, ``low > high``, or options contradict each other.
    """

    kind: ClassVar[str] = "float"
    width: ClassVar[int] = 1

    low: float
    high: float
    _: KW_ONLY
    log: bool = False
    step: float | None = None
    initial: float | None = None

    def __post_init__(self) -> None:
        _check_bounds(self, _is_real)
        if self.step is not None:
            if not _is_real(self.step) or self.step <= 0:
                raise SpaceError(f"Float: step must be a number > 0, got step={self.step!r}")
            if (_exact(self.high) - _exact(self.low)) % _exact(self.step):
                raise SpaceError(
                    f"Float: step must divide high - low, got low={self.low!r}, "
                    f"high={self.high!r}, step={self.step!r}"
                )
        _check_initial(self)

    def normalize(self, value: Any) -> float:
        """``value`` as a plain float of this dimension; raises :class:`SpaceError`."""
        if not _is_real(value):
            raise SpaceError(f"must be a finite number, got {value!r}")
        if not self.low <= value <= self.high:
            raise SpaceError(f"must be in [{self.low!r}, {self.high!r}], got {value!r}")
        if self.step is not None:
            # a value that arithmetic has moved by rounding alone is still on the grid
            nearest = self._grid_value(round((value - self.low) / self.step))
            if not math.isclose(value, nearest, rel_tol=1e-9, abs_tol=1e-9 * self.step):
                raise SpaceError(f"must be {self.low!r} + k * {self.step!r}, got {value!r}")
            return nearest
        return float(value)

    def encode(self, values: Sequence[float] | Array) -> Array:
        """Native values ``(n,)`` -> unit values ``(n, 1)``."""
        native = np.asarray(values, dtype=float)
        if self.low == self.high:
            return np.full((len(native), 1), 0.5)
        if self.step is not None:
            cells = np.rint((native - self.low) / self.step)
            return _column((cells + 0.5) / (self._n_grid))
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            return _column((np.log(native) - low) / (high - low))
        return _column((native - self.low) / (self.high - self.low))

    def decode(self, unit: Array) -> list[float]:
        """Unit values ``(n, 1)`` -> native values."""
        u = unit[:, 0]
        if self.step is not None:
            cells = np.minimum(np.floor(u * self._n_grid), self._n_grid - 1)
            return [self._grid_value(int(cell)) for cell in cells]
        if self.log:
            low, high = math.log(self.low), math.log(self.high)
            native = np.exp(low + u * (high - low))
        else:
            native = self.low * (1.0 - u) + self.high * u
        native = np.clip(native, self.low, self.high)
        # exp(log(bound)) may miss the bound by an ulp
        native = np.where(u == 0.0, self.low, np.where(u == 1.0, self.high, native))
        return list(native.astype(float).tolist())

    @property
    def _n_grid(self) -> int:
        assert self.step is not None
        return int((_exact(self.high) - _exact(self.low)) / _exact(self.step)) + 1

    def _grid_value(self, cell: int) -> float:
        assert self.step is not None
        return float(_exact(self.low) + cell * _exact(self.step))


@dataclass(frozen=True)
class Int:
    """An integer parameter in ``[low, high]``.

    Parameters
    ----------
    low, high : int
        Inclusive bounds, ``low <= high``.
    log : bool
        Search on a logarithmic scale; needs ``low >= 1`` and excludes ``step != 1``.
    step : int
        Only ``low, low + step, ..., high`` are allowed; must divide ``high - low``.
    initial : int, optional
        The setting in use today; see :attr:`Space.initial`.

    Raises
    ------
    SpaceError
        If a bound is not an integer, ``low > high``, or options contradict each other.
    """

    kind: ClassVar[str] = "int"
    width: ClassVar[int] = 1

    low: int
    high: int
    _: KW_ONLY
    log: bool = False
    step: int = 1
    initial: int | None = None

    def __post_init__(self) -> None:
        _check_bounds(self, _is_integer)
        if not _is_integer(self.step) or self.step < 1:
            raise SpaceError(f"Int: step must be an integer >= 1, got step={self.step!r}")
        if (self.high - self.low) % self.step:
            raise SpaceError(
                f"Int: step must divide high - low, got low={self.low!r}, high={self.high!r}, "
                f"step={self.step!r}"
            )
        _check_initial(self)

    def normalize(self, value: Any) -> int:
        """``value`` as a plain int of this dimension; raises :class:`SpaceError`."""
        if not (_is_integer(value) or (_is_real(value) and float(value).is_integer())):
            raise SpaceError(f"must be an integer, got {value!r}")
        value = int(value)
        if not self.low <= value <= self.high:
            raise SpaceError(f"must be in [{self.low}, {self.high}], got {value!r}")
        if (value - self.low) % self.step:
            raise SpaceError(f"must be {self.low} + k * {self.step}, got {value!r}")
        return value

    def encode(self, values: Sequence[int] | Array) -> Array:
        """Native values ``(n,)`` -> unit values ``(n, 1)``."""
        native = np.asarray(values, dtype=float)
        if self.log:
            low, high = self._log_range
            return _column((np.log(native) - low) / (high - low))
        return _column(((native - self.low) / self.step + 0.5) / self._n_grid)

    def decode(self, unit: Array) -> list[int]:
        """Unit values ``(n, 1)`` -> native values."""
        u = unit[:, 0]
        if self.log:
            low, high = self._log_range
            native = np.rint(np.exp(low + u * (high - low)))
            return [min(max(int(v), self.low), self.high) for v in native]
        top = self._n_grid - 1
        # Python integers: a cell of a range beyond 2**53 must not leave the range
        return [self.low + self.step * min(int(v), top) for v in np.floor(u * self._n_grid)]

    @property
    def _n_grid(self) -> int:
        return (self.high - self.low) // self.step + 1

    @property
    def _log_range(self) -> tuple[float, float]:
        return math.log(self.low - 0.5), math.log(self.high + 0.5)


@dataclass(frozen=True)
class Categorical:
    """A choice without order.

    Parameters
    ----------
    choices : sequence of JSON scalars
        At least one; None, bool, int, finite float or str, all different (``1`` and
        ``True`` count as different).
    initial : optional
        The choice in use today; None says that there is none. See :attr:`Space.initial`.

    Raises
    ------
    SpaceError
        If there is no choice, one is no JSON scalar, or one occurs twice.
    """

    kind: ClassVar[str] = "categorical"

    choices: tuple[Any, ...]
    _: KW_ONLY
    initial: Any = None

    def __init__(self, choices: Iterable[Any], *, initial: Any = None) -> None:
        if isinstance(choices, str):
            raise SpaceError(f"Categorical: choices must be a sequence, got {choices!r}")
        object.__setattr__(self, "choices", tuple(choices))
        object.__setattr__(self, "initial", initial)
        if not self.choices:
            raise SpaceError("Categorical: choices must name at least one choice, got none")
        for choice in self.choices:
            if not _is_json_scalar(choice):
                raise SpaceError(
                    f"Categorical: choices must be JSON scalars (None, bool, int, float, str), "
                    f"got {choice!r}"
                )
        if len(self._index) < len(self.choices):
            raise SpaceError(f"Categorical: choices must differ, got {self.choices!r}")
        _check_initial(self)

    @property
    def width(self) -> int:
        """Number of columns in the unit cube: one a choice."""
        return len(self.choices)

    def normalize(self, value: Any) -> Any:
        """The choice equal to ``value`` in value and type; raises :class:`SpaceError`."""
        value = value.item() if isinstance(value, np.generic) else value
        return self.choices[self.index(value)]

    def index(self, value: Any) -> int:
        """The position of ``value`` among the choices; raises :class:`SpaceError`."""
        try:
            return self._index[type(value), value]
        except (KeyError, TypeError):
            raise SpaceError(f"must be one of {self.choices!r}, got {value!r}") from None

    def encode(self, values: Sequence[Any] | npt.NDArray[Any]) -> Array:
        """Choices ``(n,)`` -> one-hot rows ``(n, width)``."""
        items = values.tolist() if isinstance(values, np.ndarray) else values
        return np.eye(self.width)[[self.index(value) for value in items]].reshape(-1, self.width)

    def decode(self, unit: Array) -> list[Any]:
        """Rows ``(n, width)`` -> the choice of the largest column (the first among equals)."""
        return [self.choices[i] for i in np.argmax(unit, axis=1)]

    @cached_property
    def _index(self) -> dict[tuple[type, Any], int]:
        return {(type(choice), choice): i for i, choice in enumerate(self.choices)}


@dataclass(frozen=True)
class Text:
    """A text that a language model rewrites: a prompt, a program, a configuration.

    Parameters
    ----------
    initial : str
        The text to start from.
    description : str
        What the text is for, in words for the language model.
    max_chars : int, optional
        The longest text allowed, in characters.
    language : str
        What it is written in: ``"text"``, ``"python"``, ``"json"``, ...

    Raises
    ------
    SpaceError
        If ``initial`` is no string or longer than ``max_chars``.
    """

    kind: ClassVar[str] = "text"
    width: ClassVar[int] = 0

    initial: str
    _: KW_ONLY
    description: str = ""
    max_chars: int | None = None
    language: str = "text"

    def __post_init__(self) -> None:
        if self.max_chars is not None and (not _is_integer(self.max_chars) or self.max_chars < 1):
            raise SpaceError(f"Text: max_chars must be an integer >= 1, got {self.max_chars!r}")
        _check_initial(self)

    def normalize(self, value: Any) -> str:
        """``value`` if it is a text of this dimension; raises :class:`SpaceError`."""
        if not isinstance(value, str):
            raise SpaceError(f"must be a text (str), got {value!r}")
        if self.max_chars is not None and len(value) > self.max_chars:
            raise SpaceError(f"must have at most {self.max_chars} characters, got {len(value)}")
        return value


Dimension: TypeAlias = Float | Int | Categorical | Text
_KINDS: dict[str, type[Any]] = {d.kind: d for d in (Float, Int, Categorical, Text)}


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
    >>> space = Space({"lr": Float(1e-4, 1.0, log=True), "depth": Int(1, 8)})
    >>> space.from_unit([[0.5, 0.0]])
    [{'lr': 0.01, 'depth': 1}]
    >>> space.validate({"lr": 0.1, "depth": 9})
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
            if type(dimension) not in _KINDS.values():
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
        return isinstance(other, Space) and list(self.items()) == list(other.items())

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
        values = {name: dimension.initial for name, dimension in self.items()}
        return None if any(value is None for value in values.values()) else values

    def validate(self, params: Mapping[str, Any]) -> Params:
        """``params`` as plain Python values in the order of the space.

        Raises
        ------
        SpaceError
            If a parameter is missing, unknown, or outside its dimension; it is named.
        """
        if not isinstance(params, Mapping):
            raise SpaceError(f"params must map names to values, got {params!r}")
        if len(params) != len(self) or params.keys() != self.keys():
            for name in self:
                if name not in params:
                    raise SpaceError(f"parameter {name!r} is missing from {dict(params)!r}")
            extra = next(name for name in params if name not in self)
            raise SpaceError(f"unknown parameter {extra!r}: allowed are {', '.join(self)}")
        return {name: _normalized(name, dim, params[name]) for name, dim in self.items()}

    def key(self, params: Mapping[str, Any]) -> tuple[Any, ...]:
        """The identity of a point: hashable, equal for equal params only (1 is not True)."""
        return tuple(
            dim.index(params[name]) if isinstance(dim, Categorical) else params[name]
            for name, dim in self.items()
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
        """Columns of n native values each (taken as valid) as ``(n, d)`` float64 in [0, 1]."""
        self._refuse_text()
        parts = [dim.encode(columns[name]) for name, dim in self.items() if dim.width]  # type: ignore[union-attr]
        return np.clip(np.hstack(parts), 0.0, 1.0)

    def from_unit(self, x: npt.ArrayLike) -> list[Params]:
        """Points ``(n, d)`` or ``(d,)`` of the unit cube as a list of n params.

        Values outside [0, 1] are clipped.

        Raises
        ------
        SpaceError
            If the space has a text, the shape is wrong, or a value is NaN.
        """
        self._refuse_text()
        points = np.atleast_2d(np.asarray(x, dtype=float))
        if points.ndim != 2 or points.shape[1] != self.width:
            raise SpaceError(f"x must have shape (n, {self.width}), got {np.shape(x)}")
        if np.isnan(points).any():
            raise SpaceError("x must not hold NaN")
        points = np.clip(points, 0.0, 1.0)
        columns, at = [], 0
        for dim in self.values():
            columns.append(dim.decode(points[:, at : at + dim.width]))  # type: ignore[union-attr]
            at += dim.width
        return [dict(zip(self, row, strict=True)) for row in zip(*columns, strict=True)]

    def sample(self, rng: np.random.Generator, n: int = 1) -> list[Params]:
        """``n`` params drawn uniformly from ``rng`` (texts stay at their ``initial``)."""
        columns: list[list[Any]] = []
        for dim in self.values():
            if isinstance(dim, Text):
                columns.append([dim.initial] * n)
            elif isinstance(dim, Categorical):
                columns.append([dim.choices[i] for i in rng.integers(dim.width, size=n)])
            else:
                columns.append(list(dim.decode(rng.random((n, 1)))))
        return [dict(zip(self, row, strict=True)) for row in zip(*columns, strict=True)]

    def to_json(self) -> list[dict[str, Any]]:
        """JSON values that :meth:`from_json` reads back."""
        return [{"name": name, "kind": d.kind, **asdict(d)} for name, d in self.items()]

    @classmethod
    def from_json(cls, data: Iterable[Mapping[str, Any]]) -> Space:
        """The space that :meth:`to_json` described.

        Raises
        ------
        SpaceError
            If an entry has no name, an unknown kind or an unknown option.
        """
        dimensions = {}
        for entry in data:
            options = dict(entry)
            name, kind = options.pop("name", None), options.pop("kind", None)
            if kind not in _KINDS:
                raise SpaceError(f"parameter {name!r}: kind must be one of {', '.join(_KINDS)}")
            try:
                dimensions[name] = _KINDS[kind](**options)
            except TypeError as error:
                raise SpaceError(f"parameter {name!r}: {error}") from None
        return cls(dimensions)

    def _refuse_text(self) -> None:
        for name, dim in self.items():
            if isinstance(dim, Text):
                raise SpaceError(f"parameter {name!r} is a text and has no numeric encoding")


def _normalized(name: str, dimension: Dimension, value: Any) -> Any:
    try:
        return dimension.normalize(value)
    except SpaceError as error:
        raise SpaceError(f"parameter {name!r} {error}") from None


def _check_bounds(dim: Float | Int, is_number: Any) -> None:
    kind = type(dim).__name__
    for bound, value in (("low", dim.low), ("high", dim.high)):
        if not is_number(value):
            what = "a finite number" if kind == "Float" else "an integer"
            raise SpaceError(f"{kind}: {bound} must be {what}, got {bound}={value!r}")
    if dim.low > dim.high:
        raise SpaceError(f"{kind}: low must be <= high, got low={dim.low!r}, high={dim.high!r}")
    if dim.log and dim.low <= 0:
        raise SpaceError(f"{kind}: low must be > 0 when log=True, got low={dim.low!r}")
    if dim.log and dim.step not in (None, 1 if kind == "Int" else None):
        raise SpaceError(f"{kind}: log and step exclude each other, got step={dim.step!r}")


def _check_initial(dim: Dimension) -> None:
    if dim.initial is None and not isinstance(dim, Text):
        return
    try:
        dim.normalize(dim.initial)
    except SpaceError as error:
        raise SpaceError(f"{type(dim).__name__}: initial {error}") from None


def _column(values: Array) -> Array:
    return np.clip(values, 0.0, 1.0).reshape(-1, 1)


def _exact(value: float) -> Decimal:
    return Decimal(repr(float(value)))


def _is_real(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_json_scalar(value: Any) -> bool:
    return value is None or isinstance(value, bool | str) or _is_real(value)

"""The kinds of dimension of a search space, and the encoding of each in the unit interval.

A uniform point of the unit interval decodes to a uniform draw of the values (log-uniform
where ``log``). Integers and stepped floats own equal bins (on the logarithmic scale where
``log``) and encode inside theirs; categoricals are one-hot. Decoding what was encoded gives
the same value: exactly for categoricals, stepped floats and integers of up to 2**50 values
(2**40 where ``log``), to the rounding of a double otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from fractions import Fraction
from functools import cached_property
from numbers import Integral, Real
from typing import Any, ClassVar, TypeAlias

import numpy as np
import numpy.typing as npt

from bbopt.errors import SpaceError

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
        Only ``low, low + step, ..., high`` are allowed (exactly, as decimal numbers); must
        divide ``high - low``.
    initial : float, optional
        The setting in use today; see :attr:`Space.initial`.

    Raises
    ------
    SpaceError
        If a bound or ``high - low`` is not a finite number, ``low > high``, options
        contradict each other, or ``step`` is too small to tell neighbours apart.
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
        _check_range(self, _real, "a finite number")
        if not math.isfinite(self.high - self.low):
            raise SpaceError(f"Float: high - low must be finite, got {_bounds(self)}")
        if self.step is not None:
            _check_step(self, _real(self.step), "a number")
            least = 8 * self._ulp
            if self.step < least:
                raise SpaceError(
                    f"Float: step must be >= {least!r} to tell neighbours apart, "
                    f"got {_bounds(self)}, step={self.step!r}"
                )
        _check_initial(self)

    @property
    def has_initial(self) -> bool:
        """Whether there is an ``initial``."""
        return self.initial is not None

    def normalize(self, value: Any) -> float:
        """``value`` as a plain float of this dimension; raises :class:`SpaceError`."""
        number = _real(value)
        if number is None:
            raise SpaceError(f"must be a finite number, got {value!r}")
        if not self.low <= number <= self.high:
            raise SpaceError(f"must be in [{self.low!r}, {self.high!r}], got {value!r}")
        if self.step is None:
            return number
        # a value that arithmetic has moved by rounding alone is still on the grid
        nearest = self._on_grid(round((number - self.low) / self.step))
        if abs(number - nearest) > 1e-6 * self.step + 2 * self._ulp:
            raise SpaceError(f"must be {self.low!r} + k * {self.step!r}, got {value!r}")
        return nearest

    def encode(self, values: Sequence[float] | Array) -> Array:
        """Native values ``(n,)`` -> unit values ``(n, 1)``."""
        native = np.asarray(values, dtype=float)
        if self.step is not None:
            cells = np.rint((native - self.low) / self.step)
            return _column((cells + 0.5) / self._grid[-1])
        low, high = self._scale
        if low == high:
            return np.full((len(native), 1), 0.5)
        return _column(((np.log(native) if self.log else native) - low) / (high - low))

    def decode(self, unit: Array) -> list[float]:
        """Unit values ``(n, 1)`` -> native values."""
        u = unit[:, 0]
        if self.step is not None:
            n = self._grid[-1]
            return [self._on_grid(min(int(cell), n - 1)) for cell in np.floor(u * n)]
        low, high = self._scale
        native = low * (1.0 - u) + high * u
        if self.log:  # exp(log(bound)) may miss the bound by an ulp
            native = np.where(u == 0.0, self.low, np.where(u == 1.0, self.high, np.exp(native)))
        return list(np.minimum(np.maximum(native, self.low), self.high).tolist())

    @cached_property
    def _scale(self) -> tuple[float, float]:
        """The bounds where the search is uniform."""
        if self.log:
            return math.log(self.low), math.log(self.high)
        return self.low, self.high

    @cached_property
    def _ulp(self) -> float:
        return math.ulp(max(abs(self.low), abs(self.high)))

    @cached_property
    def _grid(self) -> tuple[int, int, int, int]:
        """Start and step of the grid as integers over a common denominator, and its size."""
        low, high, step = (_exact(v) for v in (self.low, self.high, self.step or 1.0))
        unit = math.lcm(low.denominator, step.denominator)
        return int(low * unit), int(step * unit), unit, int((high - low) / step) + 1

    def _on_grid(self, cell: int) -> float:
        start, step, unit, _ = self._grid
        return (start + cell * step) / unit


@dataclass(frozen=True)
class Int:
    """An integer parameter in ``[low, high]``.

    Parameters
    ----------
    low, high : int
        Inclusive bounds, ``low <= high``; they and their difference fit in 64 bits.
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
        _check_range(self, _integer, "an integer")
        if max(abs(self.low), abs(self.high), self.high - self.low) >= 2**63:
            raise SpaceError(f"Int: bounds and high - low must be < 2**63, got {_bounds(self)}")
        _check_step(self, _integer(self.step), "an integer")
        _check_initial(self)

    @property
    def has_initial(self) -> bool:
        """Whether there is an ``initial``."""
        return self.initial is not None

    def normalize(self, value: Any) -> int:
        """``value`` as a plain int of this dimension; raises :class:`SpaceError`."""
        number = _integer(value)
        if number is None:
            raise SpaceError(f"must be an integer, got {value!r}")
        if not self.low <= number <= self.high:
            raise SpaceError(f"must be in [{self.low}, {self.high}], got {value!r}")
        if (number - self.low) % self.step:
            raise SpaceError(f"must be {self.low} + k * {self.step}, got {value!r}")
        return number

    def encode(self, values: Sequence[int] | npt.NDArray[Any]) -> Array:
        """Native values ``(n,)`` -> unit values ``(n, 1)``."""
        native = np.asarray(values, dtype=np.int64)
        if not self.log:  # subtracted as integers: a double would round beyond 2**53
            return _column(((native - self.low) // self.step + 0.5) / self._n_values)
        low, high = self._scale
        if low == high:
            return np.full((len(native), 1), 0.5)
        return _column((np.log(native) - low) / (high - low))

    def decode(self, unit: Array) -> list[int]:
        """Unit values ``(n, 1)`` -> native values."""
        u = unit[:, 0]
        if self.log:
            low, high = self._scale
            native = np.rint(np.exp(low * (1.0 - u) + high * u))
            return [min(max(int(v), self.low), self.high) for v in native]
        top = self._n_values - 1
        return [self.low + self.step * min(int(cell), top) for cell in np.floor(u * (top + 1))]

    @property
    def _n_values(self) -> int:
        return (self.high - self.low) // self.step + 1

    @property
    def _scale(self) -> tuple[float, float]:
        """The outer edges of the first and the last bin where the search is uniform."""
        return math.log(self.low - 0.5), math.log(self.high + 0.5)


@dataclass(frozen=True)
class Categorical:
    """A choice without order.

    Parameters
    ----------
    choices : sequence of JSON scalars
        At least one; None, bool, int, finite float or str, all different (``1``, ``1.0`` and
        ``True`` count as different).
    initial : optional
        The choice in use today; left out where there is none (None says so too, unless it is
        a choice). See :attr:`Space.initial`.

    Raises
    ------
    SpaceError
        If there is no choice, they have no order (a set), one is no JSON scalar, or one
        occurs twice.
    """

    kind: ClassVar[str] = "categorical"

    choices: tuple[Any, ...]
    _: KW_ONLY
    initial: Any = None

    def __init__(self, choices: Iterable[Any], *, initial: Any = ...) -> None:
        # the order of a set of strings changes from process to process
        if isinstance(choices, str | bytes | set | frozenset) or not isinstance(choices, Iterable):
            raise SpaceError(f"Categorical: choices must be a sequence, got {choices!r}")
        _set(self, choices=tuple(_plain(choice) for choice in choices))
        if not self.choices:
            raise SpaceError("Categorical: choices must name at least one choice, got none")
        for choice in self.choices:
            if not _is_json_scalar(choice):
                raise SpaceError(
                    "Categorical: choices must be JSON scalars (None, bool, int, finite float, "
                    f"str), got {choice!r}"
                )
        if len(self._index) < len(self.choices):
            raise SpaceError(f"Categorical: choices must differ, got {self.choices!r}")
        is_unset = initial is ... or (initial is None and (type(None), None) not in self._index)
        _set(self, initial=None if is_unset else _plain(initial), _has_initial=not is_unset)
        _check_initial(self)

    def __repr__(self) -> str:
        initial = f", initial={self.initial!r}" if self.has_initial else ""
        return f"Categorical(choices={self.choices!r}{initial})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Categorical):
            return NotImplemented
        return self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @property
    def width(self) -> int:
        """Number of columns in the unit cube: one a choice."""
        return len(self.choices)

    def normalize(self, value: Any) -> Any:
        """The choice equal to ``value`` in value and type; raises :class:`SpaceError`."""
        return self.choices[self.index(_plain(value))]

    def index(self, value: Any) -> int:
        """The position of ``value`` among the choices; raises :class:`SpaceError`."""
        try:
            return self._index[type(value), value]
        except (KeyError, TypeError):
            raise SpaceError(f"must be one of {self.choices!r}, got {value!r}") from None

    def encode(self, values: Sequence[Any] | npt.NDArray[Any]) -> Array:
        """Choices ``(n,)`` -> one-hot rows ``(n, width)``."""
        items = values.tolist() if isinstance(values, np.ndarray) else values
        rows: Array = np.zeros((len(items), self.width))
        rows[np.arange(len(items)), [self.index(value) for value in items]] = 1.0
        return rows

    def decode(self, unit: Array) -> list[Any]:
        """Rows ``(n, width)`` -> the choice of the largest column (the first among equals)."""
        return [self.choices[i] for i in np.argmax(unit, axis=1)]

    @cached_property
    def _index(self) -> dict[tuple[type, Any], int]:
        return {(type(choice), choice): i for i, choice in enumerate(self.choices)}

    @property
    def _identity(self) -> tuple[Any, ...]:
        return (*self._index, self.has_initial, type(self.initial), self.initial)

    @property
    def has_initial(self) -> bool:
        """Whether there is an ``initial`` (which may be None, where that is a choice)."""
        return bool(self.__dict__["_has_initial"])


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
        If ``initial`` is no string or longer than ``max_chars``, or another option has a
        value of the wrong type.
    """

    kind: ClassVar[str] = "text"
    width: ClassVar[int] = 0

    initial: str
    _: KW_ONLY
    description: str = ""
    max_chars: int | None = None
    language: str = "text"

    def __post_init__(self) -> None:
        for option in ("description", "language"):
            if not isinstance(getattr(self, option), str):
                raise SpaceError(f"Text: {option} must be a str, got {getattr(self, option)!r}")
        if self.max_chars is not None:
            limit = _integer(self.max_chars)
            if limit is None or limit < 1:
                raise SpaceError(f"Text: max_chars must be an integer >= 1, got {self.max_chars!r}")
            _set(self, max_chars=limit)
        _check_initial(self)

    @property
    def has_initial(self) -> bool:
        """Whether there is an ``initial``."""
        return True

    def normalize(self, value: Any) -> str:
        """``value`` if it is a text of this dimension; raises :class:`SpaceError`."""
        if not isinstance(value, str):
            raise SpaceError(f"must be a text (str), got {value!r}")
        if self.max_chars is not None and len(value) > self.max_chars:
            raise SpaceError(f"must have at most {self.max_chars} characters, got {len(value)}")
        return value


Dimension: TypeAlias = Float | Int | Categorical | Text
KINDS: dict[str, type[Any]] = {d.kind: d for d in (Float, Int, Categorical, Text)}
"""Kind -> its class."""


def _check_range(dim: Float | Int, plain: Any, what: str) -> None:
    """Make the bounds plain numbers in order, and check what the scale asks of them."""
    kind = type(dim).__name__
    for name in ("low", "high"):
        given = getattr(dim, name)
        bound = plain(given)
        if bound is None:
            raise SpaceError(f"{kind}: {name} must be {what}, got {name}={given!r}")
        _set(dim, **{name: bound})
    if dim.low > dim.high:
        raise SpaceError(f"{kind}: low must be <= high, got {_bounds(dim)}")
    if not isinstance(dim.log, bool):
        raise SpaceError(f"{kind}: log must be True or False, got log={dim.log!r}")
    if dim.log and dim.low <= 0:
        raise SpaceError(f"{kind}: low must be > 0 when log=True, got low={dim.low!r}")
    if dim.log and dim.step != (1 if kind == "Int" else None):
        raise SpaceError(f"{kind}: log and step exclude each other, got step={dim.step!r}")


def _check_step(dim: Float | Int, step: float | None, what: str) -> None:
    kind = type(dim).__name__
    if step is None or step <= 0:
        raise SpaceError(f"{kind}: step must be {what} > 0, got step={dim.step!r}")
    _set(dim, step=step)
    if (_exact(dim.high) - _exact(dim.low)) % _exact(step):
        raise SpaceError(f"{kind}: step must divide high - low, got {_bounds(dim)}, step={step!r}")


def _check_initial(dim: Dimension) -> None:
    if not dim.has_initial:
        return
    try:
        _set(dim, initial=dim.normalize(dim.initial))
    except SpaceError as error:
        raise SpaceError(f"{type(dim).__name__}: initial {error}") from None


def _set(frozen: Any, **fields: Any) -> None:
    for name, value in fields.items():
        object.__setattr__(frozen, name, value)


def _bounds(dim: Float | Int) -> str:
    return f"low={dim.low!r}, high={dim.high!r}"


def _column(values: Array) -> Array:
    return np.clip(values, 0.0, 1.0).reshape(-1, 1)


def _exact(value: float) -> Fraction:
    """The decimal number that was written, not the double nearest to it."""
    return Fraction(repr(value))


def _real(value: Any) -> float | None:
    """``value`` as a plain finite float, or None if it is none."""
    if type(value) is not float:
        if not isinstance(value, Real) or isinstance(value, bool):
            return None
        try:
            value = float(value)
        except OverflowError:
            return None
    return value if math.isfinite(value) else None


def _integer(value: Any) -> int | None:
    """``value`` as a plain int (3.0 is one), or None if it is none."""
    if type(value) is int:
        return value
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    number = _real(value)
    return int(number) if number is not None and number.is_integer() else None


def _plain(value: Any) -> Any:
    """A numpy scalar as the Python one; anything else as it is."""
    return value.item() if isinstance(value, np.generic) else value


def _is_json_scalar(value: Any) -> bool:
    if type(value) is float:
        return math.isfinite(value)
    return value is None or type(value) in (bool, int, str)

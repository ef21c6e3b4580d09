"""Checks of arguments: each message names the argument, what was given, what is allowed."""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Integral, Real
from typing import Any

from bbopt.errors import UsageError


def integer(name: str, value: Any, low: int | None = None, high: int | None = None) -> int:
    """Return ``value`` as an int in ``[low, high]``, or raise :class:`UsageError`."""
    whole = isinstance(value, Integral) or (isinstance(value, float) and value.is_integer())
    if not whole or isinstance(value, bool) or not _within(value, low, high):
        raise UsageError(f"{name} must be {_range('an integer', low, high)}, got {value!r}")
    return int(value)


def number(name: str, value: Any, low: float | None = None, high: float | None = None) -> float:
    """Return ``value`` as a finite float in ``[low, high]``, or raise :class:`UsageError`."""
    real = isinstance(value, Real) and not isinstance(value, bool)
    if not real or not math.isfinite(value) or not _within(value, low, high):
        raise UsageError(f"{name} must be {_range('a finite number', low, high)}, got {value!r}")
    return float(value)


def one_of(name: str, value: Any, allowed: Collection[Any]) -> Any:
    """Return ``value`` if it is among ``allowed``, or raise :class:`UsageError`."""
    if value not in allowed:
        names = ", ".join(repr(item) for item in allowed)
        raise UsageError(f"{name} must be one of {names}, got {value!r}")
    return value


def _within(value: Any, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _range(kind: str, low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"{kind} in [{low}, {high}]"
    if low is not None:
        return f"{kind} >= {low}"
    if high is not None:
        return f"{kind} <= {high}"
    return kind

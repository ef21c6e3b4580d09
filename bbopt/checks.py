"""Checks of arguments: each message names the argument, what was given, what is allowed."""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Integral, Real
from typing import Any

import numpy as np

from bbopt.errors import UsageError


def integer(name: str, value: Any, low: int | None = None, high: int | None = None) -> int:
    """Return ``value`` as an int in ``[low, high]``, or raise :class:`UsageError`."""
    whole = (
        type(value) is int
        or (isinstance(value, Integral) and not isinstance(value, bool))
        or (isinstance(value, float) and value.is_integer())
    )
    if not whole or not _within(value, low, high):
        raise UsageError(f"{name} must be {_range('an integer', low, high)}, got {value!r}")
    return int(value)


def number(name: str, value: Any, low: float | None = None, high: float | None = None) -> float:
    """Return ``value`` as a finite float in ``[low, high]``, or raise :class:`UsageError`."""
    given = value
    try:
        value = float(value) if isinstance(value, Real) and not isinstance(value, bool) else None
    except OverflowError:  # an integer beyond every float
        value = None
    if value is None or not math.isfinite(value) or not _within(value, low, high):
        raise UsageError(f"{name} must be {_range('a finite number', low, high)}, got {given!r}")
    return float(value)


def one_of(name: str, value: Any, allowed: Collection[Any]) -> Any:
    """Return the item of ``allowed`` equal to ``value``, or raise :class:`UsageError`.

    1 is not True, nor 0 False.
    """
    if isinstance(value, np.generic):
        value = value.item()
    for item in allowed:
        if isinstance(item, bool) == isinstance(value, bool) and item == value:
            return item
    names = ", ".join(repr(item) for item in allowed)
    raise UsageError(f"{name} must be one of {names}, got {value!r}")


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

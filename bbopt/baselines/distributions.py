"""The dimensions of a space as Optuna's distributions, and values from one to the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from bbopt.space import Categorical, Dimension, Float, Int, Text

LARGEST_GRID = 2**20
"""Longer ranges of integers are floats to Optuna, rounded here: its GP lists all values."""


@dataclass(frozen=True)
class Form:
    """What Optuna sees of a dimension.

    Parameters
    ----------
    distribution : BaseDistribution
        Choices, integers and stepped floats are numbered from 0; logarithmic integers and
        floats without steps are in native units.
    encode : callable
        A value of the space -> one of the distribution.
    decode : callable
        A value of the distribution -> one of the space, rounding errors undone.
    """

    distribution: BaseDistribution
    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]


def form_of(dimension: Dimension) -> Form:
    """The form in which Optuna's samplers handle a numeric or categorical dimension."""
    match dimension:
        case Categorical():
            numbers = CategoricalDistribution(range(dimension.width))
            return Form(numbers, dimension.index, dimension.choices.__getitem__)
        case Float(low=low, high=high, log=log, step=None):
            return Form(FloatDistribution(low, high, log=log), float, _within(low, high))
        case Int(low=low, high=high, log=True):
            to_int = _within(low, high)
            return Form(_integers(low, high, log=True), int, lambda v: to_int(round(v)))
        case Int(low=low, high=high, step=step):
            last = (high - low) // step
            cell = _within(0, last)
            return Form(
                _integers(0, last),
                lambda value: (value - low) // step,
                lambda v: low + step * cell(round(v)),
            )
        case Float(low=low, high=high, step=float(step)):
            last = round((high - low) / step)
            cell = _within(0, last)
            return Form(
                _integers(0, last),
                lambda value: round((value - low) / step),
                lambda v: dimension.normalize(low + step * cell(round(v))),
            )
        case Text() | Float():
            raise TypeError(f"Optuna has no distribution for {dimension!r}")


def _integers(low: int, high: int, *, log: bool = False) -> BaseDistribution:
    if high <= LARGEST_GRID:
        return IntDistribution(low, high, log=log)
    return FloatDistribution(low, high, log=log)


def _within(low: Any, high: Any) -> Callable[[Any], Any]:
    return lambda value: min(max(value, low), high)

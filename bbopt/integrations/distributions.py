"""Optuna's distributions as the dimensions of a space, and values from one to the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from bbopt.errors import UnsupportedSpec
from bbopt.space import Categorical, Dimension, Float, Int, Params, Space


def space_of(distributions: Mapping[str, BaseDistribution]) -> Space:
    """The space with these parameters; choices are their positions, since Optuna's may be anything.

    Raises
    ------
    UnsupportedSpec
        If a distribution is of a kind that is not known.
    SpaceError
        If a range is wider than a double can tell.
    """
    return Space({name: _dimension(name, d) for name, d in distributions.items()})


def to_params(
    values: Mapping[str, Any], distributions: Mapping[str, BaseDistribution], space: Space
) -> Params | None:
    """Optuna's values as params of the space; None where one is outside its distribution."""
    try:
        internal = {name: d.to_internal_repr(values[name]) for name, d in distributions.items()}
        # an integer above 2**53 is exact only as it was given
        integers = [n for n, d in distributions.items() if isinstance(d, IntDistribution)]
        exact = {name: int(values[name]) for name in integers}
        return space.validate(internal | exact)
    except ValueError:  # a value fixed by the user need not be in its distribution
        return None


def to_values(params: Params, distributions: Mapping[str, BaseDistribution]) -> dict[str, Any]:
    """Params of the space as Optuna's values."""
    return {
        name: d.choices[params[name]] if isinstance(d, CategoricalDistribution) else params[name]
        for name, d in distributions.items()
    }


def _dimension(name: str, distribution: BaseDistribution) -> Dimension:
    match distribution:
        case CategoricalDistribution():
            return Categorical(range(len(distribution.choices)))
        case FloatDistribution(low=low, high=high, log=log, step=step):
            return Float(low, high, log=log, step=step)
        case IntDistribution(low=low, high=high, log=log, step=step):
            return Int(low, high, log=log, step=step)
    raise UnsupportedSpec(f"parameter {name!r}: unknown distribution {distribution!r}")

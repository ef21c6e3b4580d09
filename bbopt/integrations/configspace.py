"""Spaces of ConfigSpace (as SMAC and DEHB have them), in and out.

Configurations and params need no translation: ``space.validate(dict(configuration))`` and
``Configuration(configspace, values=params)`` (ConfigSpace rounds floats to 13 decimal places).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bbopt.errors import UnsupportedSpec, require
from bbopt.space import Categorical, Dimension, Float, Int, Space

if TYPE_CHECKING:
    from ConfigSpace import ConfigurationSpace

LONGEST_GRID = 10_000
"""A parameter with steps becomes a list of its values, of at most so many."""


def from_configspace(configspace: ConfigurationSpace) -> Space:
    """The space with the same parameters; the default configuration is its ``initial``.

    An ordinal parameter becomes a categorical one, whose order no method uses, and a constant
    one a categorical with one choice.

    Raises
    ------
    UnsupportedSpec
        If there are conditions or forbidden clauses, a parameter has another prior than the
        uniform one, or choices have unequal weights.
    MissingExtra
        If ConfigSpace is not installed.
    """
    _package()
    for condition in configspace.conditions:
        raise UnsupportedSpec(
            f"parameter {condition.child.name!r} is conditional ({condition}): every parameter of "
            "a Space is always there. Leave it unconditional and ignore it where it does not count"
        )
    for clause in configspace.forbidden_clauses:
        raise UnsupportedSpec(
            f"the space has a forbidden clause ({clause}), and a Space has none: return an "
            "Outcome with constraints from the evaluation instead"
        )
    return Space({name: _dimension(name, h) for name, h in configspace.items()})


def to_configspace(space: Space, *, seed: int | None = None) -> ConfigurationSpace:
    """The ConfigurationSpace with the same parameters; ``initial`` are their defaults.

    A parameter with steps becomes an ordinal one, and one that cannot vary a constant.

    Parameters
    ----------
    space : Space
        Numbers and categories.
    seed : int, optional
        Of what ConfigSpace draws from the result.

    Raises
    ------
    UnsupportedSpec
        If a parameter is a text, has more than 10,000 steps, or has choices that ConfigSpace
        takes for equal (1 and True).
    MissingExtra
        If ConfigSpace is not installed.
    """
    package = _package()
    configspace = package.ConfigurationSpace(seed=seed)
    for name, dimension in space.items():
        try:
            configspace.add(_hyperparameter(package, name, dimension))
        except UnsupportedSpec:
            raise
        except ValueError as error:
            raise UnsupportedSpec(f"parameter {name!r}: ConfigSpace refuses it: {error}") from None
    found: ConfigurationSpace = configspace
    return found


def _package() -> Any:
    return require("ConfigSpace", extra="configspace", needed_by="bbopt.integrations.configspace")


def _dimension(name: str, parameter: Any) -> Dimension:
    default = parameter.default_value
    match type(parameter).__name__:
        case "UniformFloatHyperparameter":
            low, high = parameter.lower, parameter.upper
            return Float(low, high, log=parameter.log, initial=default)
        case "UniformIntegerHyperparameter":
            low, high = parameter.lower, parameter.upper
            return Int(low, high, log=parameter.log, initial=default)
        case "CategoricalHyperparameter":
            if not np.allclose(parameter.probabilities, 1 / len(parameter.choices)):
                raise UnsupportedSpec(
                    f"parameter {name!r}: choices must have equal weights, got {parameter.weights}"
                )
            return Categorical(parameter.choices, initial=default)
        case "OrdinalHyperparameter":
            return Categorical(parameter.sequence, initial=default)
        case "Constant":
            return Categorical([parameter.value], initial=default)
    raise UnsupportedSpec(
        f"parameter {name!r} must be uniform, categorical, ordinal or constant, got {parameter}"
    )


def _hyperparameter(package: Any, name: str, dimension: Dimension) -> Any:
    kinds = package.hyperparameters
    default = dimension.initial if dimension.has_initial else None
    match dimension:
        case Categorical(choices=[only]):
            return kinds.Constant(name, only)
        case Categorical(choices=choices):
            default = dimension.initial if dimension.has_initial else choices[0]
            return kinds.CategoricalHyperparameter(name, choices, default_value=default)
        case Float() | Int() if dimension.low == dimension.high:
            return kinds.Constant(name, dimension.low)
        case Float() | Int() if _is_stepped(dimension):
            values = _grid(name, dimension)
            default = dimension.initial if dimension.has_initial else values[0]
            return kinds.OrdinalHyperparameter(name, values, default_value=default)
        case Float(low=low, high=high, log=log):
            return kinds.UniformFloatHyperparameter(name, low, high, default, log=log)
        case Int(low=low, high=high, log=log):
            return kinds.UniformIntegerHyperparameter(name, low, high, default, log=log)
    raise UnsupportedSpec(f"parameter {name!r} is a text, which ConfigSpace has not")


def _is_stepped(dimension: Float | Int) -> bool:
    return dimension.step is not None and (dimension.kind == "float" or dimension.step != 1)


def _grid(name: str, dimension: Float | Int) -> list[Any]:
    """All values of a dimension with steps."""
    n = round((dimension.high - dimension.low) / (dimension.step or 1)) + 1
    if n > LONGEST_GRID:
        raise UnsupportedSpec(
            f"parameter {name!r}: at most {LONGEST_GRID} steps become a list, got {n} values"
        )
    return list(dimension.decode(((np.arange(n) + 0.5) / n)[:, None]))

"""Which domain a spec has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from bbopt.metabo.box import Box
from bbopt.metabo.domain import Domain
from bbopt.metabo.encoding import Encoding
from bbopt.metabo.finite import Finite
from bbopt.space import Categorical, Space
from bbopt.spec import Spec, Table

LARGEST_TABLE = 10_000
"""Spaces without continuous parameters and with at most so many points are enumerated."""


def domain_of(spec: Spec) -> Domain:
    """The table of a spec that has candidates or few enough points, else its box."""
    encoding = Encoding(spec.space)
    if spec.candidates is not None:
        return Finite(spec.candidates, encoding)
    sizes = [field.n_values for field in encoding.fields]
    if math.prod(sizes) <= LARGEST_TABLE:
        return Finite(_all_points(spec.space), encoding)
    return Box(encoding)


def _all_points(space: Space) -> Table:
    values = [_values(dimension) for dimension in space.values()]
    rows = list(product(*values))
    return Table(space, {name: [row[j] for row in rows] for j, name in enumerate(space)})


def _values(dimension: Any) -> Sequence[Any]:
    if isinstance(dimension, Categorical):
        return dimension.choices
    if dimension.low == dimension.high:
        return [dimension.low]
    if dimension.kind == "int":
        return range(dimension.low, dimension.high + 1, dimension.step)
    n = round((dimension.high - dimension.low) / dimension.step) + 1
    return list(dimension.decode(((np.arange(n) + 0.5) / n)[:, None]))

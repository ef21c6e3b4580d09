"""Where candidates come from: a finite table, or a box with continuous parameters.

Both answer the same questions: which points start a search, what is known of the points once
the pending results are in, and where a criterion is largest.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from scipy.stats import qmc

from bbopt.metabo.criteria import Criterion
from bbopt.metabo.encoding import Encoding, Field
from bbopt.metabo.posterior import Posterior
from bbopt.metabo.thompson import Path
from bbopt.space import Array, Categorical, Params, Space
from bbopt.spec import Spec, Table

LARGEST_TABLE = 10_000
"""Spaces without continuous parameters and with at most so many points are enumerated."""

Score: TypeAlias = Criterion | Path
"""What is maximised."""


@dataclass(frozen=True)
class Place:
    """A point of the domain.

    Parameters
    ----------
    x : (d,) array
        In the model's coordinates.
    row : int
        Its row in the table; -1 in a box.
    """

    x: Array
    row: int = -1


@dataclass(frozen=True)
class Pending:
    """Evaluations that are awaited: where, and how many."""

    place: Place
    count: int


@dataclass(frozen=True)
class Choice:
    """A place to evaluate next.

    Parameters
    ----------
    place : Place
        Where.
    mean, variance : float
        Posterior mean there, and variance once all that pends is in.
    gain : float
        ``ln det(I + Σ/noise)`` of what pends: how far its results will shrink variances.
    """

    place: Place
    mean: float
    variance: float
    gain: float = 0.0


@dataclass(frozen=True)
class Preference:
    """Which of the points near the maximum to take, and which not at all.

    Parameters
    ----------
    near : float
        η: a point whose score is within η β sd of the maximum counts as near.
    last : Place or None
        The point evaluated last: taken where it is near and a switch costs something.
    distance_cost : float
        Cost of a switch per unit of distance, in units of the constant part; with it the
        nearest of the near points is taken.
    excluded : frozenset of bytes
        Points not to take unless there is no other (as ``x.tobytes()``).
    """

    near: float = 0.0
    last: Place | None = None
    distance_cost: float = 0.0
    excluded: frozenset[bytes] = frozenset()


class Domain(ABC):
    """Points that may be evaluated."""

    encoding: Encoding
    candidates: Array | None = None
    """All points ``(n, d)`` where they are finitely many."""

    @property
    @abstractmethod
    def size(self) -> float:
        """Number of points, or of those that stand for a continuum, in a union bound."""

    @abstractmethod
    def params(self, place: Place) -> Params:
        """The params of a place."""

    @abstractmethod
    def locate(self, params: Mapping[str, Any]) -> Place | None:
        """The place of params; None if they are no row of the table."""

    @abstractmethod
    def starts(self, n: int, seed: int) -> list[Place]:
        """``n`` points that fill the space: a scrambled Sobol' sequence."""

    @abstractmethod
    def choose(
        self,
        score: Score,
        posterior: Posterior,
        pending: Sequence[Pending],
        preference: Preference,
        rng: np.random.Generator,
    ) -> Choice:
        """Where the score is largest, or near to that as preferred."""

    @abstractmethod
    def best_mean(self, posterior: Posterior) -> float:
        """The largest posterior mean: of a table, or over the points evaluated in a box."""


def domain_of(spec: Spec) -> Domain:
    """The table of a spec that has candidates or few enough points, else its box."""
    from bbopt.metabo.box import Box
    from bbopt.metabo.finite import Finite

    encoding = Encoding(spec.space)
    if spec.candidates is not None:
        return Finite(spec.candidates, encoding)
    sizes = [n_values(field) for field in encoding.fields]
    if math.prod(sizes) <= LARGEST_TABLE:
        return Finite(_all_points(spec.space), encoding)
    return Box(encoding)


def sobol(n: int, d: int, rng: np.random.Generator | int) -> Array:
    """The first ``n`` points of a scrambled Sobol' sequence in ``d`` dimensions, ``(n, d)``."""
    if not d:
        return np.zeros((n, 0))
    engine = qmc.Sobol(d, rng=rng)
    points: Array = engine.random_base2(max(n - 1, 0).bit_length())[:n]
    return points


def n_values(field: Field) -> float:
    """How many values a parameter can take; infinite where it is continuous."""
    dimension: Any = field.dimension
    if field.is_categorical:
        return float(dimension.width)
    if field.is_continuous:
        return math.inf
    return float(round((dimension.high - dimension.low) / (dimension.step or 1)) + 1)


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

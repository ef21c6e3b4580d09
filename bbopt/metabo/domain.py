"""Where candidates come from: a finite table, or a box with continuous parameters.

Both answer the same questions: which points start a search, what is known of the points once
the pending results are in, and where a criterion is largest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from scipy.stats import qmc

from bbopt.metabo.criteria import Criterion
from bbopt.metabo.encoding import Encoding
from bbopt.metabo.posterior import Posterior
from bbopt.metabo.thompson import Path
from bbopt.space import Array, Params

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
    """A place that may be evaluated next, and what is known of it.

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
    def look(self, place: Place, posterior: Posterior, pending: Sequence[Pending]) -> Choice:
        """What a posterior says of a place, once all that pends is in."""

    @abstractmethod
    def best_mean(self, posterior: Posterior) -> float:
        """The largest posterior mean: of a table, or over the points evaluated in a box."""


def sobol(n: int, d: int, rng: np.random.Generator | int) -> Array:
    """The first ``n`` points of a scrambled Sobol' sequence in ``d`` dimensions, ``(n, d)``."""
    if not d:
        return np.zeros((n, 0))
    engine = qmc.Sobol(d, rng=rng)
    points: Array = engine.random_base2(max(n - 1, 0).bit_length())[:n]
    return points

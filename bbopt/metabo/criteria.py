"""What a decision maximises: upper confidence bounds, log expected improvement, uncertainty.

A criterion scores points from the posterior's mean and sd there, elementwise, and says how
much worse than the best point another may be to count as near.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from bbopt.metabo import acquisition
from bbopt.space import Array


class Predictor(Protocol):
    """What a criterion reads of a posterior."""

    def predict(self, X: Array) -> tuple[Array, Array]:  # noqa: N803
        """Mean and sd ``(n,)`` at ``X`` ``(n, d)``."""
        ...

    def gradients(self, X: Array) -> tuple[Array, Array, Array, Array]:  # noqa: N803
        """Mean and sd ``(n,)``, and their gradients ``(n, d)``."""
        ...


class Criterion(ABC):
    """A score of points, larger is better."""

    @abstractmethod
    def __call__(self, mean: Array, sd: Array) -> Array:
        """Scores ``(n,)`` from mean and sd ``(n,)``."""

    @abstractmethod
    def bound(self, mean: Array, sd: Array, drift: Array) -> Array:
        """The most that scores can be after innovations with sum of squares ``drift²``."""

    @abstractmethod
    def slack(self, sd: Array, near: float) -> Array:
        """How far below the maximum a score may be to count as near it, ``(n,)``."""

    @abstractmethod
    def gradient(self, mean: Array, sd: Array, d_mean: Array, d_sd: Array) -> Array:
        """Gradient of the scores ``(n, d)`` from those of mean and sd."""

    def at(self, posterior: Predictor, X: Array) -> Array:  # noqa: N803
        """Scores of any points ``(n, d)``: ``(n,)``."""
        return self(*posterior.predict(X))

    def slope(self, posterior: Predictor, X: Array) -> tuple[Array, Array]:  # noqa: N803
        """Scores ``(n,)`` and their gradients ``(n, d)``."""
        mean, sd, d_mean, d_sd = posterior.gradients(X)
        return self(mean, sd), self.gradient(mean, sd, d_mean, d_sd)


@dataclass(frozen=True)
class UCB(Criterion):
    """``mean + beta sd`` (Srinivas et al. 2010)."""

    beta: float

    def __call__(self, mean: Array, sd: Array) -> Array:
        """See :class:`Criterion`."""
        return acquisition.ucb(mean, sd, self.beta)

    def bound(self, mean: Array, sd: Array, drift: Array) -> Array:
        """See :meth:`Criterion.bound`."""
        return acquisition.ucb_bound(mean, sd, drift, self.beta)

    def slack(self, sd: Array, near: float) -> Array:
        """See :meth:`Criterion.slack`."""
        return near * self.beta * sd

    def gradient(self, mean: Array, sd: Array, d_mean: Array, d_sd: Array) -> Array:
        """See :meth:`Criterion.gradient`."""
        return acquisition.ucb_gradient(d_mean, d_sd, self.beta)


@dataclass(frozen=True)
class LogEI(Criterion):
    """Log expected improvement over the best mean, its sd scaled by ``beta``."""

    best: float
    beta: float

    def __call__(self, mean: Array, sd: Array) -> Array:
        """See :class:`Criterion`."""
        return acquisition.log_ei(mean, sd, self.best, self.beta)

    def bound(self, mean: Array, sd: Array, drift: Array) -> Array:
        """See :meth:`Criterion.bound`."""
        return acquisition.log_ei(mean + drift * sd, sd, self.best, self.beta)

    def slack(self, sd: Array, near: float) -> Array:
        """See :meth:`Criterion.slack`."""
        return np.full_like(sd, -math.log1p(-near))

    def gradient(self, mean: Array, sd: Array, d_mean: Array, d_sd: Array) -> Array:
        """See :meth:`Criterion.gradient`."""
        return acquisition.log_ei_gradient(mean, sd, d_mean, d_sd, self.best, self.beta)


@dataclass(frozen=True)
class Uncertainty(Criterion):
    """The sd alone: pure exploration, where only the certainty of the answer counts."""

    def __call__(self, mean: Array, sd: Array) -> Array:
        """See :class:`Criterion`."""
        return sd

    def bound(self, mean: Array, sd: Array, drift: Array) -> Array:
        """See :meth:`Criterion.bound`."""
        return sd

    def slack(self, sd: Array, near: float) -> Array:
        """See :meth:`Criterion.slack`."""
        return near * sd

    def gradient(self, mean: Array, sd: Array, d_mean: Array, d_sd: Array) -> Array:
        """See :meth:`Criterion.gradient`."""
        return d_sd

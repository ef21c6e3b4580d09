"""From values to what the model sees: an affine scale, and logarithms of what is far from good."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from bbopt.metabo.hyperparameters import spread_of, within_variance
from bbopt.metabo.posterior.observations import Observations
from bbopt.space import Array

KNEES = (0.3, 0.03)
"""Where logarithms may begin, as multiples of the median distance from the best value."""


@dataclass(frozen=True)
class Standardisation:
    """A scale for values, increasing.

    ``u = (value - shift) / scale``, fixed once where there is noise: a later change would change
    what noise means. With a knee then ``-ln(1 + (top - u) / knee)`` below the top, and the
    straight line of the same slope above it: of values that are worse by orders of magnitude the
    model sees how many orders. For objectives without noise alone, since the mean of logarithms
    is not the logarithm of the mean.

    Parameters
    ----------
    shift, scale : float
        ``scale`` > 0.
    top : float
        The best u seen when the knee was chosen.
    knee : float or None
        Distance from the top at which a unit counts half; None: no logarithms.
    """

    shift: float = 0.0
    scale: float = 1.0
    top: float = 0.0
    knee: float | None = None

    @classmethod
    def of(cls, observations: Observations) -> Standardisation:
        """From the first data: their means get mean 0 and variance 1.

        Equal means take the spread within points instead; without any the scale is 1.
        """
        means = observations.mean
        variance = spread_of(means) or within_variance(observations) or 1.0
        return cls(float(means.mean()), float(np.sqrt(variance)))

    def with_knees(self, observations: Observations) -> list[Standardisation]:
        """The scale without a knee, and with those worth trying on data without noise."""
        plain = replace(self, top=0.0, knee=None)
        u = (observations.mean - self.shift) / self.scale
        top = float(u.max())
        gaps = top - u[u < top]
        if not len(gaps):
            return [plain]
        middle = float(np.median(gaps))
        return [plain, *(replace(self, top=top, knee=share * middle) for share in KNEES)]

    def apply(self, observations: Observations) -> Observations:
        """The observations as the model sees them."""
        other = observations.scaled(self.shift, self.scale)
        other.mean[:], other.m2[:] = self._warped(other.mean, other.m2)
        return other

    def apply_one(self, mean: float, m2: float) -> tuple[float, float]:
        """The same of one mean and its sum of squared deviations."""
        u, m2 = (mean - self.shift) / self.scale, m2 / self.scale / self.scale
        means, deviations = self._warped(np.array([u]), np.array([m2]))
        return float(means[0]), float(deviations[0])

    def undo(self, mean: float, sd: float) -> tuple[float, float]:
        """Mean and sd of the model on the scale of values; with a knee to first order."""
        if self.knee is not None:
            gap = self.knee * (math.expm1(min(-mean, 700.0)) if mean < 0 else -mean)
            mean, sd = self.top - gap, sd * (self.knee + max(gap, 0.0))
        return self.shift + self.scale * mean, self.scale * sd

    def log_slopes(self, observations: Observations) -> float:
        """Sum of the logs of the slopes at the means.

        That is by how much the log density of values exceeds that of what the model sees.
        """
        slopes = np.full(len(observations), 1.0)
        if self.knee is not None:
            slopes = _slopes(self.top - (observations.mean - self.shift) / self.scale, self.knee)
        return float(np.log(slopes / self.scale).sum())

    def _warped(self, u: Array, m2: Array) -> tuple[Array, Array]:
        if self.knee is None:
            return u, m2
        gap = self.top - u
        logs = -np.log1p(np.maximum(gap, 0.0) / self.knee)
        return np.where(gap > 0.0, logs, -gap / self.knee), m2 * _slopes(gap, self.knee) ** 2


def _slopes(gap: Array, knee: float) -> Array:
    slopes: Array = 1.0 / (knee + np.maximum(gap, 0.0))
    return slopes

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


SMALLEST_SCALE, SMALLEST_KNEE = 1e-50, 1e-100
"""So small that squares of what is divided by them stay finite."""


@dataclass(frozen=True)
class Standardisation:
    """A scale for values, increasing.

    ``(value - shift) / scale``, fixed once where there is noise: a later change would change what
    noise means. With a knee ``-ln(1 + (top - value) / knee)`` instead, and above the top the
    straight line of the same slope: of values that are worse by orders of magnitude the model
    sees how many orders. For objectives without noise alone, since the mean of logarithms is not
    the logarithm of the mean.

    Parameters
    ----------
    shift, scale : float
        ``scale`` > 0.
    top : float
        The best value seen when the knee was chosen.
    knee : float or None
        Distance from the top at which a unit counts half as much; None: no logarithms.
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
        peak = float(np.max(np.abs(means - means.mean()))) or 1.0  # tiny squares would vanish
        sd = peak * float(np.sqrt(spread_of(means / peak)))
        sd = sd or float(np.sqrt(within_variance(observations) or 1.0))
        return cls(float(means.mean()), max(sd, SMALLEST_SCALE))

    def with_knees(self, observations: Observations) -> list[Standardisation]:
        """The scale without a knee, and with those worth trying on data without noise."""
        plain = replace(self, top=0.0, knee=None)
        top = float(observations.mean.max())
        gaps = top - observations.mean[observations.mean < top]
        if not len(gaps):
            return [plain]
        knees = [share * float(np.median(gaps)) for share in KNEES]
        return [plain, *(replace(self, top=top, knee=k) for k in knees if k >= SMALLEST_KNEE)]

    def apply(self, observations: Observations) -> Observations:
        """The observations as the model sees them."""
        other = observations.scaled(self.shift, self.scale)
        if self.knee is not None:
            other.mean[:] = _logs(self.top - observations.mean, self.knee)
            slopes = _slopes(self.top - observations.mean, self.knee)
            other.m2[:] = observations.m2 * slopes * slopes
        return other

    def apply_one(self, mean: float, m2: float) -> tuple[float, float]:
        """The same of one mean and its sum of squared deviations."""
        if self.knee is None:
            return (mean - self.shift) / self.scale, m2 / self.scale / self.scale
        gap = np.array([self.top - mean])
        slope = float(_slopes(gap, self.knee)[0])
        return float(_logs(gap, self.knee)[0]), m2 * slope * slope

    def undo(self, mean: float, sd: float) -> tuple[float, float]:
        """Mean and sd of the model on the scale of values; with a knee to first order."""
        if self.knee is None:
            return self.shift + self.scale * mean, self.scale * sd
        gap = self.knee * (math.expm1(min(-mean, 600.0)) if mean < 0 else -mean)
        return self.top - gap, sd * (self.knee + max(gap, 0.0))

    def log_slopes(self, observations: Observations) -> float:
        """Sum of the logs of the slopes at the means.

        That is by how much the log density of values exceeds that of what the model sees.
        """
        if self.knee is None:
            return -len(observations) * math.log(self.scale)
        return float(np.log(_slopes(self.top - observations.mean, self.knee)).sum())


def _logs(gap: Array, knee: float) -> Array:
    return np.where(gap > 0.0, -np.log1p(np.maximum(gap, 0.0) / knee), -gap / knee)


def _slopes(gap: Array, knee: float) -> Array:
    slopes: Array = 1.0 / (knee + np.maximum(gap, 0.0))
    return slopes

"""Hyper-parameters learned by maximum a posteriori, from sufficient statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from bbopt import checks
from bbopt.metabo.evidence import evidence
from bbopt.metabo.kernels import Kernel
from bbopt.metabo.posterior.observations import Observations
from bbopt.space import Array

SCALES = (1e-2, 1e1)
"""Range of the lengthscales, in units of the cube's edge."""

NOISE_RATIO = (1e-6, 1e2)
"""Range of the noise, as a share of the variance of the observed means."""

VARIANCE_RATIO = 1e4
"""Largest prior variance, as a multiple of its least (see :func:`fit`)."""

MEDIAN, LOG_SCALE_SD = 0.4, 1.0
"""Prior median of a lengthscale, in units of sqrt(d), and sd of its logarithm."""

LOG_VARIANCE_SD = 0.3
"""Prior sd of the log of the prior variance.

Its median is the variance of the means, less what the noise of repeated points adds to it.
"""

LEAST_SIGNAL = 0.1
"""Least share of the variance of the means that is not taken for noise."""

LOG_NOISE, LOG_NOISE_SD = -6.0, 1.0
"""Prior mean and sd of the log noise, as a share of the variance of the means.

Without it much noise and long lengthscales explain few data as well as little noise and a
function worth searching, and the search never starts.
"""

GROWTH = 1.05
"""Growth of the number of unique points after which hyper-parameters are fitted again."""

REPLICATED = (2, 3)
"""Points, and evaluations of each, that must agree exactly to call an objective deterministic."""

DISTINCT, EXACT_REPEATS = 8, 2
"""Points of different values, and repeats that agree exactly, that show the same."""

ROUNDING = 1e-14
"""By how much of itself the mean of equal values may differ from them."""


@dataclass(frozen=True)
class Fit:
    """Hyper-parameters that maximise the posterior density.

    Parameters
    ----------
    kernel : Kernel
        With the fitted lengthscales and variance.
    noise : float
        Variance of one evaluation.
    constant : float
        Prior mean of the function (0 unless it was fitted): subtract it from the values.
    log_density : float
        Log marginal likelihood plus log prior of the lengthscales.
    """

    kernel: Kernel
    noise: float
    constant: float
    log_density: float


def fit(
    kernel: Kernel,
    observations: Observations,
    *,
    rng: np.random.Generator,
    n_starts: int = 4,
    fit_constant: bool = False,
    deterministic: bool = False,
    noise: float | None = None,
) -> Fit:
    """Maximum a posteriori lengthscales, variance and noise, by L-BFGS-B from several starts.

    The prior variance is kept above ``(max mean - centre)²/4``, each mean less its standard
    error: a fit that explains a good value as noise would stop exploring. Where nothing can be
    learned (one point, or all means equal) the kernel stays as it is and only the noise comes
    from the spread within points.

    Parameters
    ----------
    kernel : Kernel
        Kind of the kernel, whether it has one lengthscale a coordinate, and the first start.
    observations : Observations
        At least one point; values standardised
        (see :class:`~bbopt.metabo.standardisation.Standardisation`).
    rng : numpy Generator
        Draws the starts from the third on, from the prior.
    n_starts : int
        Starts in all, >= 1: the kernel given, the centre of the prior, and draws.
    fit_constant : bool
        Estimate the prior mean by generalised least squares rather than take 0.
    deterministic : bool
        Hold the noise at its least (see :func:`is_deterministic`).
    noise : float, optional
        Hold the noise at this variance of one evaluation.
    """
    checks.integer("n_starts", n_starts, 1)
    constant = None if fit_constant else 0.0
    spread = spread_of(observations.mean)
    if len(observations) < 2 or spread == 0.0:
        return _noise_alone(kernel, observations, fit_constant, deterministic, noise)
    within = within_variance(observations)
    target = _Target(kernel, observations, constant, within)
    box = _box(kernel, observations, fit_constant, deterministic)
    if noise is not None:
        box[-1] = np.log(noise)
    first_noise = np.log(0.1 * spread if within is None else max(within, NOISE_RATIO[0] * spread))
    starts = [np.append(kernel.log_parameters, first_noise), target.centre]
    for _ in range(n_starts - 2):
        start = target.centre + target.sd * rng.standard_normal(len(box))
        start[-1] = first_noise
        starts.append(start)
    results = [
        minimize(
            target,
            np.clip(start, box[:, 0], box[:, 1]),
            jac=True,
            method="L-BFGS-B",
            bounds=box,
            options={"maxiter": 200, "ftol": 1e-10, "gtol": 1e-6},
        )
        for start in starts[:n_starts]
    ]
    best = min(results, key=lambda result: float(result.fun))
    fitted, learned = kernel.with_log_parameters(best.x[:-1]), float(np.exp(best.x[-1]))
    found = evidence(fitted, learned, observations, constant=constant)
    return Fit(fitted, learned, found.constant, target.offset - float(best.fun))


def _noise_alone(
    kernel: Kernel,
    observations: Observations,
    fit_constant: bool,
    deterministic: bool,
    noise: float | None,
) -> Fit:
    """The fit where the means tell nothing of the kernel."""
    within = 0.0 if deterministic else within_variance(observations) or 0.0
    noise = noise or max(within, NOISE_RATIO[0] * kernel.variance)
    constant = float(observations.mean.mean()) if fit_constant else 0.0
    density = evidence(kernel, noise, observations, constant=constant).value
    return Fit(kernel, noise, constant, density)


def _box(
    kernel: Kernel, observations: Observations, fit_constant: bool, deterministic: bool
) -> Array:
    """Bounds ``(p + 1, 2)`` of the log parameters and the log noise."""
    means, spread = observations.mean, spread_of(observations.mean)
    centre = float(means.mean()) if fit_constant else 0.0
    within = within_variance(observations) or 0.0
    highest = float(np.max(means - np.sqrt(within / observations.count)))
    least = max(max(highest - centre, 0.0) ** 2 / 4.0, 1e-2 * _signal(observations))
    low, high = (ratio * spread for ratio in NOISE_RATIO)
    high = low if deterministic else max(high, 2.0 * within)
    scales = [SCALES] * (len(kernel.log_parameters) - 1)
    return np.log([*scales, (least, VARIANCE_RATIO * least), (low, high)])


def spread_of(means: Array) -> float:
    """Variance of the means; 0 where they differ by rounding only."""
    rounding = 1e-12 * float(np.max(np.abs(means), initial=0.0))
    spread = float(np.var(means))
    return spread if spread > rounding * rounding else 0.0


def _signal(observations: Observations) -> float:
    """Variance of the means, less what the spread within points says that noise adds to it."""
    spread = spread_of(observations.mean)
    within = within_variance(observations) or 0.0
    return max(spread - within * float(np.mean(1.0 / observations.count)), LEAST_SIGNAL * spread)


class _Target:
    """Negative log density, less a constant that would drown its changes at large N."""

    def __init__(
        self,
        kernel: Kernel,
        observations: Observations,
        constant: float | None,
        within: float | None,
    ) -> None:
        self._kernel, self._observations, self._constant = kernel, observations, constant
        n_scales = len(kernel.log_parameters) - 1
        # One lengthscale for all coordinates is learned like that of the distance itself.
        scale = np.log(MEDIAN * np.sqrt(observations.d))
        noise = np.log(spread_of(observations.mean)) + LOG_NOISE
        self.centre = np.array([*[scale] * n_scales, np.log(_signal(observations)), noise])
        self.sd = np.array([*[LOG_SCALE_SD] * n_scales, LOG_VARIANCE_SD, LOG_NOISE_SD])
        # ln p of the spread within points, at its own best noise; 0 where there is none.
        n = float(np.sum(observations.count - 1))
        self.offset = -0.5 * n * (np.log(2.0 * np.pi * within) + 1.0) if within else 0.0

    def __call__(self, theta: Array) -> tuple[float, Array]:
        kernel = self._kernel.with_log_parameters(theta[:-1])
        noise = float(np.exp(theta[-1]))
        found = evidence(kernel, noise, self._observations, constant=self._constant)
        gap = (theta - self.centre) / self.sd
        gradient = found.gradient - gap / self.sd
        return self.offset - found.value + 0.5 * float(gap @ gap), -gradient


def within_variance(observations: Observations) -> float | None:
    """Variance of one evaluation from the spread within points; None where none repeats."""
    degrees = int(np.sum(observations.count - 1))
    return float(np.sum(observations.m2)) / degrees if degrees > 0 else None


def is_deterministic(observations: Observations) -> bool:
    """Whether repeats return identical values: all of them, at two points three times each.

    Or at fewer, where no two of ``DISTINCT`` points or more have the same value, but for the
    worst, which may be a penalty: then it is no chance that repeats have. Identical up to the
    rounding of their mean. Repeating such an objective is waste: hold the noise at its least and
    repeat nothing. Points that have no more than two values between them prove nothing: they may
    be successes and failures, by chance the same each time.
    """
    if has_noise(observations):
        return False
    means, count = observations.mean, observations.count
    points, evaluations = REPLICATED
    if np.sum(count >= evaluations) >= points and len(np.unique(means)) > 2:
        return True
    better = means > means.min(initial=np.inf)
    are_distinct = len(np.unique(means[better])) == np.sum(better) >= DISTINCT
    return bool(are_distinct and np.sum(count[better] - 1) >= EXACT_REPEATS)


def has_noise(observations: Observations) -> bool:
    """Whether repeats of a point have returned different values."""
    rounding = observations.count * np.square(ROUNDING * observations.mean)
    return bool(np.any(observations.m2 > rounding))


def local_noise(noise: float, observations: Observations, *, prior_count: float = 10.0) -> Array:
    """Noise of each point ``(u,)``: its own spread, shrunk to the pooled ``noise``.

    ``(ν noise + m2_i)/(ν + n_i - 1)``, the mean under an inverse-gamma prior that is worth
    ``prior_count`` (ν) evaluations.
    """
    degrees = observations.count - 1
    local: Array = (prior_count * noise + observations.m2) / (prior_count + degrees)
    return local


def refit_due(batches: int, unique: int, fitted_batches: int, fitted_unique: int) -> bool:
    """Whether to fit again: at 8, 16, 32, … batches, or with a twentieth more unique points.

    Parameters
    ----------
    batches, unique : int
        Complete batches and unique points now.
    fitted_batches, fitted_unique : int
        The same at the last fit, 0 before the first.
    """
    if batches < 8:
        return False
    grown = fitted_unique > 0 and unique >= GROWTH * fitted_unique
    return grown or batches >= max(8, 2 * fitted_batches)

"""Acquisition functions over arrays of mean and sd (larger values are better), with gradients.

``beta`` always multiplies the raw posterior sd of the latent function.
"""

from __future__ import annotations

import numpy as np
from scipy.special import erfcx, ndtr

from bbopt.space import Array

LOG_SQRT_2PI = 0.5 * np.log(2.0 * np.pi)


def ucb(mean: Array, sd: Array, beta: float) -> Array:
    """Upper confidence bound ``mean + beta sd``."""
    return mean + beta * sd


def ucb_bound(mean: Array, sd: Array, drift: Array, beta: float) -> Array:
    """The most that :func:`ucb` can be after innovations with sum of squares ``drift²``.

    ``mean' <= mean + drift sqrt(sd² - sd'²)``, and Cauchy and Schwarz once more:
    ``ucb' <= mean + sd sqrt(beta² + drift²)``.
    """
    bound: Array = mean + sd * np.sqrt(beta * beta + drift * drift)
    return bound


def ucb_gradient(d_mean: Array, d_sd: Array, beta: float) -> Array:
    """Gradient of :func:`ucb` from those of mean and sd, ``(n, d)``."""
    return d_mean + beta * d_sd


def log_ei(mean: Array, sd: Array, best: float, beta: float = 1.0) -> Array:
    """Logarithm of the scaled expected improvement ``beta sd τ((mean - best) / (beta sd))``.

    Wang and de Freitas (2014, arXiv:1406.7758); plain expected improvement at ``beta = 1``.
    The logarithm never underflows, where EI is 0 from 38 standard deviations on and its
    argmax then the first index.

    Parameters
    ----------
    mean, sd : (n,) arrays
        Posterior of the latent function, sd > 0.
    best : float
        The largest posterior mean, never the largest observation.
    beta : float
        Scale of the exploration, > 0.
    """
    width = beta * sd
    score: Array = np.log(width) + log_tau((mean - best) / width)
    return score


def log_ei_gradient(
    mean: Array,
    sd: Array,
    d_mean: Array,
    d_sd: Array,
    best: float,
    beta: float = 1.0,
) -> Array:
    """Gradient of :func:`log_ei` ``(n, d)`` from those of mean and sd; ``best`` held fixed."""
    width = beta * sd
    from_mean, from_width = _tau_ratios((mean - best) / width)
    gradient: Array = (from_mean / width)[:, None] * d_mean + (beta * from_width / width)[
        :, None
    ] * d_sd
    return gradient


def log_tau(a: Array) -> Array:
    """``ln τ(a)``, ``τ(a) = a Φ(a) + φ(a)``, accurate for every ``a`` down to -1e8 and below."""
    a = np.asarray(a, dtype=np.float64)
    out = np.empty_like(a)
    near = a >= -1.0
    out[near] = np.log(_tau(a[near]))
    out[~near] = -0.5 * a[~near] ** 2 - LOG_SQRT_2PI + _log_tau_over_phi(-a[~near])
    return out


def optimality_gap(mean: Array, sd: Array, beta: float, returned: int) -> float:
    """How much better than candidate ``returned`` any candidate can be, at confidence ``beta``.

    ``max ucb - lcb(returned)``, >= 0: a certificate that comes with every answer, valid
    wherever all confidence intervals ``mean ± beta sd`` are.
    """
    return float(np.max(ucb(mean, sd, beta)) - (mean[returned] - beta * sd[returned]))


def _tau(a: Array) -> Array:
    tau: Array = a * ndtr(a) + np.exp(-0.5 * a * a - LOG_SQRT_2PI)
    return tau


def _log_tau_over_phi(t: Array) -> Array:
    """``ln(τ(-t)/φ(t)) = ln(1 - t R(t))``, R Mills' ratio; t > 1."""
    out = np.empty_like(t)
    far = t >= 50.0  # there the series is exact to rounding, and 1 - t R(t) cancels
    i = t[far] ** -2
    out[far] = np.log(i) + np.log1p(i * (-3.0 + i * (15.0 + i * (-105.0 + 945.0 * i))))
    out[~far] = np.log1p(-t[~far] * _mills(t[~far]))
    return out


def _mills(t: Array) -> Array:
    """Mills' ratio ``Φ(-t)/φ(t)``."""
    ratio: Array = np.sqrt(0.5 * np.pi) * erfcx(t / np.sqrt(2.0))
    return ratio


def _tau_ratios(a: Array) -> tuple[Array, Array]:
    """``Φ(a)/τ(a)`` and ``φ(a)/τ(a)``."""
    a = np.asarray(a, dtype=np.float64)
    upper, density = np.empty_like(a), np.empty_like(a)
    near = a >= -1.0
    tau = _tau(a[near])
    upper[near] = ndtr(a[near]) / tau
    density[near] = np.exp(-0.5 * a[near] ** 2 - LOG_SQRT_2PI) / tau
    t = -a[~near]
    density[~near] = np.exp(-_log_tau_over_phi(t))
    upper[~near] = density[~near] * _mills(t)
    return upper, density

"""The marginal likelihood with repeats, from sufficient statistics: its cost ignores N."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bbopt.metabo.kernels import Kernel
from bbopt.metabo.posterior.factor import Factor
from bbopt.metabo.posterior.observations import Observations
from bbopt.space import Array


@dataclass(frozen=True)
class Evidence:
    """Log marginal likelihood of all evaluations, and its gradient.

    Parameters
    ----------
    value : float
        ``ln p(y)``, in nats: that of the model with one row an evaluation.
    gradient : (p + 1,) array
        In ``(kernel.log_parameters..., ln noise)``.
    constant : float
        The prior mean it was computed with.
    """

    value: float
    gradient: Array
    constant: float


def evidence(
    kernel: Kernel,
    noise: npt.ArrayLike,
    observations: Observations,
    *,
    constant: float | None = 0.0,
) -> Evidence:
    """Log marginal likelihood, O(u³) for u unique points (Binois et al. 2018, eq. 2.9).

    ``-½ (N ln 2π + Σ n_i ln λ_i + Σ m2_i/λ_i + ln det B + rᵀ M⁻¹ r)`` with r the means less
    the constant. The term in m2, the spread within points, carries N - u of the N degrees of
    freedom of the noise: averages alone would waste them.

    Parameters
    ----------
    kernel : Kernel
        Covariance function.
    noise : float or (u,) array
        Variance of one evaluation (λ), > 0; of an array, the gradient is in a common factor.
    observations : Observations
        At least one point.
    constant : float or None
        Prior mean of the function; None takes the generalised least squares estimate
        (the gradient needs no further term: envelope theorem).
    """
    count, m2 = observations.count, observations.m2
    noise = np.broadcast_to(np.asarray(noise, dtype=np.float64), count.shape)
    factor = Factor.of(kernel, observations.points, np.sqrt(count / noise))
    if constant is None:
        ones = factor.solve(np.ones(len(count)))
        constant = float(ones @ observations.mean / np.sum(ones))
    residual = observations.mean - constant
    alpha = factor.solve(residual)
    value = -0.5 * (
        np.sum(count * np.log(2.0 * np.pi * noise))
        + np.sum(m2 / noise)
        + 2.0 * factor.info
        + residual @ alpha
    )
    inverse = factor.inverse()
    in_noise = 0.5 * (
        np.sum(m2 / noise)
        - np.sum(count - 1)
        + np.sum((alpha / factor.scale) ** 2)
        - np.trace(inverse)
    )
    inverse *= factor.scale
    inverse *= factor.scale[:, None]
    in_kernel = 0.5 * kernel.log_gradient(observations.points, np.outer(alpha, alpha) - inverse)
    return Evidence(float(value), np.append(in_kernel, in_noise), constant)

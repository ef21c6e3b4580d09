"""``transfer-gp``: a Gaussian process whose prior mean is what earlier tasks agree on.

What a task differs by from the mean of earlier ones is a Gaussian process whose lengthscales,
variance and noise are learned from how the earlier tasks differ from each other's mean. Only the
zero and the unit of the new task are learned from the task itself, both in closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from bbopt.baselines.portfolio import (
    Earlier,
    PortfolioSettings,
    Prior,
    earlier_tasks,
    gaussian_ranks,
)
from bbopt.metabo.acquisition import log_ei
from bbopt.metabo.encoding import Encoding
from bbopt.metabo.evidence import evidence
from bbopt.metabo.kernels import Kernel, Matern52
from bbopt.metabo.posterior.observations import Observations
from bbopt.metabo.scored import Score, Scored
from bbopt.registry import register_optimizer
from bbopt.space import Array, Space

LEARNED_TASKS, LEARNED_ROWS = 20, 80
"""At most so many earlier tasks, and rows of each, teach the kernel."""

LEAST_VARIANCE = 1e-4
"""Least noise, and least variance of a task's own part, in units of an earlier task's variance."""


@dataclass(frozen=True)
class Difference:
    """How tasks differ from what the others agree on: kernel and noise, tasks having variance 1."""

    kernel: Kernel
    noise: float


@register_optimizer("transfer-gp")
class TransferGP(Scored):
    """Expected improvement of a Gaussian process that starts from earlier tasks.

    Utilities, as normal quantiles of their ranks (Salinas, Shen and Perrone 2020, *A
    quantile-based approach for hyperparameter transfer learning*), are
    ``u(x) = b + c (m(x) + g(x) + noise)``: m is the mean prediction of a forest a task, g a
    Gaussian process with an ARD Matérn 5/2 kernel. The kernel and the noise are those under which
    each earlier task is most likely, given what the *other* ones predict for it; b and c > 0 are
    those under which the observations are most likely. Without observations the largest m is
    asked for. Failed and infeasible trials are not in the model.

    Raises
    ------
    UsageError
        If ``tables`` names nothing that can be read.
    """

    Settings = PortfolioSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        given = self.space, self.settings.tables, self.settings.trees
        earlier = earlier_tasks(*given, ranked=True)
        self._prior = Prior(earlier, self._domain)
        self._difference = learned_difference(earlier, self.space)

    def _score(self, pending: Array, left: int, fields: Sequence[int]) -> Score:
        utility = np.array(self._utility, dtype=float)
        known = ~np.isnan(utility)
        if not known.any() or not self._encoding.d:
            return self._prior
        told, u = self._stacked(self._x)[known], gaussian_ranks(utility[known])
        points = np.concatenate([told, pending])
        kernel, noise = self._difference.kernel, self._difference.noise
        covariance = kernel(points, points) + noise * np.eye(len(points))
        n = len(told)
        prior = self._prior(told)
        inner = cho_factor(covariance[:n, :n], lower=True)
        b, c = zero_and_unit(u, prior, inner)
        alpha = cho_solve(inner, (u - b) / c - prior)
        best = float((prior + kernel(told, told) @ alpha).max())
        # what pends counts as predicted: it changes the variance alone
        factor = np.linalg.cholesky(covariance)

        def score(candidates: Array) -> Array:
            cross = kernel(points, candidates)
            mean = self._prior(candidates) + cross[:n].T @ alpha
            explained = np.square(solve_triangular(factor, cross, lower=True)).sum(axis=0)
            sd = np.sqrt(np.maximum(kernel.diag(candidates) - explained, 1e-12))
            return log_ei(mean, sd, best)

        return score


def zero_and_unit(utility: Array, prior: Array, factor: tuple[Array, bool]) -> tuple[float, float]:
    """The b and c > 0 under which ``(u - b) / c - m`` is most likely, normal with covariance K.

    With ``P = K⁻¹ - K⁻¹ 1 1ᵀ K⁻¹ / 1ᵀ K⁻¹ 1`` the best b given c is that of generalised least
    squares, and c is the positive root of ``n c² + (uᵀ P m) c - uᵀ P u = 0``.

    Parameters
    ----------
    utility, prior : (n,) arrays
        u and m, n >= 1.
    factor : Cholesky factor
        Of K, as ``scipy.linalg.cho_factor`` gives it.
    """
    ones = cho_solve(factor, np.ones(len(utility)))

    def projected(v: Array) -> Array:
        whitened: Array = cho_solve(factor, v) - ones * (ones @ v) / ones.sum()
        return whitened

    n = len(utility)
    q, s = float(utility @ projected(prior)), float(utility @ projected(utility))
    c = (np.sqrt(q * q + 4 * n * max(s, 0.0)) - q) / (2 * n)
    if not (np.ptp(utility) and c > 0):  # nothing differs: any unit will do
        c = 1.0
    return float(ones @ (utility - c * prior) / ones.sum()), float(c)


@lru_cache(maxsize=16)
def learned_difference(earlier: Earlier, space: Space) -> Difference:
    """The kernel and the noise that earlier tasks in a space teach."""
    encoding = Encoding(space)
    n_scales = len(encoding.fields)
    if not n_scales:
        return Difference(Matern52(1.0), LEAST_VARIANCE)
    start = Matern52([0.4 * np.sqrt(encoding.d)] * n_scales, 0.5, encoding.groups)
    observed = _differences(earlier, encoding)
    centre = np.append(start.log_parameters, np.log(0.1))

    def loss(theta: Array) -> tuple[float, Array]:
        kernel, noise = start.with_log_parameters(theta[:-1]), float(np.exp(theta[-1]))
        parts = [evidence(kernel, noise, each, constant=None) for each in observed]
        # a weak prior: a lengthscale that no task depends on has to stay finite
        gap = (theta - centre) / 1.5
        value = 0.5 * float(gap @ gap) - sum(part.value for part in parts)
        return value, gap / 1.5 - np.sum([part.gradient for part in parts], axis=0)

    bounds = [(np.log(0.02), np.log(50.0))] * n_scales + [
        (np.log(LEAST_VARIANCE), np.log(10.0))
    ] * 2
    found = minimize(loss, centre, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Difference(start.with_log_parameters(found[:-1]), float(np.exp(found[-1])))


def _differences(earlier: Earlier, encoding: Encoding) -> list[Observations]:
    """Of each task some rows, less what the other tasks predict there (nothing, if it is alone)."""
    rng = np.random.default_rng(0)
    observed = []
    for i, task in enumerate(earlier.tasks[:LEARNED_TASKS]):
        rows = rng.permutation(len(task.x))[:LEARNED_ROWS]
        x = encoding.reduce(task.x[rows])
        others = np.delete(earlier.predict_each(task.x[rows]), i, axis=0)
        prior = others.mean(axis=0) if len(others) else np.zeros(len(rows))
        each = Observations(encoding.d)
        for point, value in zip(x, task.utility[rows] - prior, strict=True):
            each.pool(each.add(point, LEAST_VARIANCE), 1, float(value), 0.0)
        observed.append(each)
    return observed

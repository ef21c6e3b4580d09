"""Form A: one row per batch over a finite candidate set; O(n (d + h)) a batch, no solve."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from bbopt.metabo.kernels import Kernel
from bbopt.metabo.posterior.cholesky import FLOOR, Cholesky
from bbopt.metabo.posterior.observations import Observations
from bbopt.metabo.posterior.stack import Stack, chunks
from bbopt.space import Array

Score: TypeAlias = Callable[[Array, Array], Array]
"""An acquisition ``score(mean, sd)``, elementwise."""

Bound: TypeAlias = Callable[[Array, Array, Array], Array]
"""``bound(mean, sd, drift)`` on a score, elementwise (see :class:`Lazy`)."""


@dataclass(frozen=True)
class Batch:
    """``count`` evaluations, with mean ``mean``, of the candidate ``candidate``.

    ``point`` is its unique point (index) and ``before`` the number of evaluations it had.
    """

    candidate: int
    point: int
    before: int
    count: int
    mean: float
    noise: float


class Table:
    """Mean and variance at every candidate, kept up to date by conditioning on batches.

    Conditioning on ``b`` values with mean ``ȳ`` at x is one rank-one step, whatever ``b``:
    with ``c = cov(·, x)``, ``ℓ² = s²(x) + noise/b``, ``v = c/ℓ`` and the standardised
    innovation ``δ = (ȳ - μ(x))/ℓ``, the mean grows by ``δ v`` and the variance falls by ``v²``.

    Parameters
    ----------
    kernel : Kernel
        Covariance function.
    candidates : (n, d) array
        The points that may be evaluated.
    """

    def __init__(self, kernel: Kernel, candidates: Array) -> None:
        self._kernel = kernel
        self._candidates = candidates
        self._stack = Stack(len(candidates))
        self._clear()

    def _clear(self) -> None:
        self._stack.clear()
        self._mean = np.zeros(len(self._candidates))
        self._prior = self._kernel.diag(self._candidates)
        self._variance = self._prior.copy()

    @property
    def rows(self) -> int:
        """Rows held: what the next batch costs is proportional to it."""
        return len(self._stack)

    @property
    def mean(self) -> Array:
        """Posterior mean at the candidates ``(n,)``; read only."""
        return self._mean

    @property
    def variance(self) -> Array:
        """Posterior variance of the latent function at the candidates ``(n,)``; read only."""
        return self._variance

    def at(self, i: int) -> tuple[float, float]:
        """Mean and variance at candidate ``i``."""
        return float(self._mean[i]), float(self._variance[i])

    def argmax(self, score: Score, bound: Bound | None, tolerance: float) -> int:
        """The lowest candidate whose score is within ``tolerance`` of the largest.

        ``bound`` is for tables that lag behind (:class:`Lazy`); this one needs none.
        """
        return first_near_maximum(score(self.mean, np.sqrt(self.variance)), tolerance)

    def condition(self, batch: Batch) -> None:
        """Condition on a batch."""
        i = batch.candidate
        mean, variance = self.at(i)
        length = np.sqrt(variance + batch.noise / batch.count)
        v = self._direction(batch, length)
        self._mean += (batch.mean - mean) / length * v
        self._variance -= v * v
        np.maximum(self._variance, FLOOR * self._prior, out=self._variance)
        # Never more certain of f than of the mean of its evaluations: true, and lost in rounding.
        bound = batch.noise / (batch.before + batch.count)
        self._variance[i] = min(self._variance[i], bound)

    def hallucinated(self, pending: Sequence[Batch]) -> Array:
        """Variance ``(n,)`` once the pending batches are in, at most one a candidate.

        It does not depend on their values (Desautels et al. 2014, section 3.2).
        """
        variance = self.variance.copy()
        rows = np.empty((len(pending), len(variance)))
        for h, batch in enumerate(pending):
            i = batch.candidate
            v = self.covariance(i) - rows[:h, i] @ rows[:h]
            v /= np.sqrt(variance[i] + batch.noise / batch.count)
            rows[h] = v
            variance -= v * v
            np.maximum(variance, FLOOR * self._prior, out=variance)
            variance[i] = min(variance[i], batch.noise / (batch.before + batch.count))
        return variance

    def covariance(self, i: int) -> Array:
        """``cov(·, x_i) = k(·, x_i) - V[:, i] @ V`` ``(n,)``, a copy."""
        c: Array = self._kernel(self._candidates[i : i + 1], self._candidates)[0]
        c -= self._stack.combine(self._stack.column(i))
        return c

    def _direction(self, batch: Batch, length: float) -> Array:
        """``v = cov(·, x) / length`` over the candidates, and the rows that go with it."""
        raise NotImplementedError

    def rebuild(
        self,
        kernel: Kernel,
        observations: Observations,
        dense: Cholesky,
        candidate_of: Sequence[int],
    ) -> None:
        """Start again from the data: one row a unique point.

        Parameters
        ----------
        kernel : Kernel
            Covariance function from now on.
        observations : Observations
            All data.
        dense : Cholesky
            Their factor under ``kernel``.
        candidate_of : sequence of int, (u,)
            The candidate that each unique point is.
        """
        self._kernel = kernel
        self._clear()
        if not len(observations):
            return
        self._stack.reserve(len(observations))
        z = dense.factor.whiten(observations.mean)
        for chunk in chunks(len(self._candidates)):
            cross = kernel(observations.points, self._candidates[chunk])
            v = dense.factor.whiten(cross)
            self._stack.write(chunk, v)
            self._mean[chunk] = z @ v
            self._variance[chunk] -= np.einsum("ij,ij->j", v, v)
        self._variance[candidate_of] = dense.at_points
        np.maximum(self._variance, FLOOR * self._prior, out=self._variance)


def first_near_maximum(values: Array, tolerance: float) -> int:
    """The lowest index whose value is within ``tolerance`` of the largest."""
    return int(np.argmax(values >= np.max(values) - tolerance))


class Rows(Table):
    """Appends one row a batch; a revisited point owns several rows until compaction."""

    def _direction(self, batch: Batch, length: float) -> Array:
        v = self.covariance(batch.candidate)
        v /= length
        self._stack.append(v)
        return v

"""Form B: one row per unique point over a finite candidate set; a revisit changes all rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bbopt.metabo.kernels import Kernel
from bbopt.metabo.posterior.cholesky import Cholesky
from bbopt.metabo.posterior.observations import Observations
from bbopt.metabo.posterior.rows import Batch, Table
from bbopt.space import Array


class Unique(Table):
    """Keeps ``G`` ``(u, u)`` with ``GᵀG = M⁻¹`` and ``V = G k(points, candidates)``.

    A revisit of point j takes ``cov(·, x_j) = (noise/n_j) Vᵀ G e_j``, in which nothing
    cancels, and two passes over V. Less memory than :class:`Rows` from 2 batches a point up,
    and never more rows than unique points.
    """

    def _clear(self) -> None:
        super()._clear()
        self._g = np.zeros((0, 0))

    def _direction(self, batch: Batch, length: float) -> Array:
        if not batch.before:
            return self._add_point(batch, length)
        # M' = M - diagonal change: Sherman and Morrison on GᵀG = M⁻¹, with
        # (I + τ w wᵀ)² = I + w wᵀ, gives the new G and V as a rank-one change of the old.
        w = batch.noise / batch.before / length * self._g[:, batch.point]
        v = self._stack.combine(w)
        square = float(w @ w)
        tau = 1.0 / (np.sqrt(1.0 + square) + 1.0)  # = (sqrt(1 + |w|²) - 1) / |w|²
        self._stack.add_outer(tau * w, v)
        self._g += np.outer(tau * w, w @ self._g)
        return v

    def _add_point(self, batch: Batch, length: float) -> Array:
        g = self._stack.column(batch.candidate)
        v = self.covariance(batch.candidate)
        v /= length
        self._stack.append(v)
        u = len(self._g)
        grown = np.zeros((u + 1, u + 1))
        grown[:u, :u] = self._g
        grown[u, :u] = -(g @ self._g) / length
        grown[u, u] = 1.0 / length
        self._g = grown
        return v

    def rebuild(
        self,
        kernel: Kernel,
        observations: Observations,
        dense: Cholesky,
        candidate_of: Sequence[int],
    ) -> None:
        """Start again from the data (see :meth:`Table.rebuild`)."""
        super().rebuild(kernel, observations, dense, candidate_of)
        if len(observations):
            self._g = dense.factor.whiten(np.eye(len(observations)))

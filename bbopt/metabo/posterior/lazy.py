"""Form A computed only where the maximum of an acquisition may be: the exact lazy argmax.

Since ``mean = mean₀ + Σ δ_j v_j`` and ``variance = variance₀ - Σ v_j²`` over the rows added
since a candidate was last brought up to date, Cauchy and Schwarz give
``|mean - mean₀| <= drift sqrt(variance₀ - variance)`` with ``drift² = Σ δ_j²``: a bound on any
acquisition that costs O(1) a candidate, whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

from bbopt.metabo.kernels import Kernel
from bbopt.metabo.posterior.cholesky import FLOOR, Cholesky
from bbopt.metabo.posterior.observations import Observations
from bbopt.metabo.posterior.rows import Batch, Bound, Score, Table, first_near_maximum
from bbopt.space import Array

BLOCK = 1024
"""Most candidates in a block: neighbours that are brought up to date together."""


class Lazy(Table):
    """Appends one row a batch like :class:`Rows`, but each block of candidates lags behind.

    Memory and time go to the blocks that an argmax had to look at. Choices are those of
    :class:`Rows`. Reading :attr:`mean` or :attr:`variance` brings everything up to date.
    """

    def __init__(self, kernel: Kernel, candidates: Array) -> None:
        self._order, self._starts = neighbourhoods(candidates, BLOCK)
        self._position = np.empty_like(self._order)
        self._position[self._order] = np.arange(len(candidates))
        self._sorted = candidates[self._order]  # a block is a slice of it
        super().__init__(kernel, candidates)

    def _clear(self) -> None:
        super()._clear()
        n_blocks = len(self._starts) - 1
        self._cap = np.full(len(self._candidates), np.inf)  # noise / count, where evaluated
        self._points = np.empty((0, self._candidates.shape[1]))  # of the rows
        self._lower = np.zeros((0, 0))  # Cholesky factor of the covariance of the rows' means
        self._innovation = np.zeros(0)
        self._drift2 = np.zeros(1)  # cumulative sums of squared innovations
        self._known: list[Array] = [
            np.empty((0, size)) for size in np.diff(self._starts)
        ]  # V of each block, as far as it is up to date
        self._level = np.zeros(n_blocks, dtype=np.int64)  # its number of rows

    @property
    def rows(self) -> int:
        """Rows held, of which most blocks know fewer."""
        return len(self._points)

    @property
    def mean(self) -> Array:
        """Posterior mean at the candidates ``(n,)``."""
        self._catch_up_all()
        mean: Array = self._mean[self._position]
        return mean

    @property
    def variance(self) -> Array:
        """Posterior variance of the latent function at the candidates ``(n,)``."""
        self._catch_up_all()
        variance: Array = self._variance[self._position]
        return variance

    def at(self, i: int) -> tuple[float, float]:
        """Mean and variance at candidate ``i``."""
        position = int(self._position[i])
        self._catch_up(self._block_of(position))
        return float(self._mean[position]), float(self._variance[position])

    def covariance(self, i: int) -> Array:
        """``cov(·, x_i)`` ``(n,)``; brings everything up to date."""
        self._catch_up_all()
        position = int(self._position[i])
        block = self._block_of(position)
        row = self._known[block][:, position - self._starts[block]]
        c = self._kernel(self._candidates[i : i + 1], self._sorted)[0]
        for b, known in enumerate(self._known):
            c[self._slice(b)] -= row @ known
        covariance: Array = c[self._position]
        return covariance

    def condition(self, batch: Batch) -> None:
        """Condition on a batch: O(h) beside bringing one block up to date."""
        mean, variance = self.at(batch.candidate)
        position = int(self._position[batch.candidate])
        block = self._block_of(position)
        length = np.sqrt(variance + batch.noise / batch.count)
        row = self._known[block][:, position - self._starts[block]]
        self._append(self._candidates[batch.candidate], row, length)
        delta = (batch.mean - mean) / length
        self._innovation = np.append(self._innovation, delta)
        self._drift2 = np.append(self._drift2, self._drift2[-1] + delta * delta)
        self._cap[position] = batch.noise / (batch.before + batch.count)

    def argmax(self, score: Score, bound: Bound | None, tolerance: float) -> int:
        """The lowest candidate whose score is within ``tolerance`` of the largest."""
        best = -np.inf
        scores, members = [], []
        upper = np.maximum.reduceat(self.bounds(score, bound), self._starts[:-1])
        # Twice the tolerance: the bound itself is rounded.
        for block in np.argsort(-upper, kind="stable"):
            if upper[block] < best - 2.0 * tolerance:
                break
            self._catch_up(int(block))
            part = self._slice(int(block))
            scores.append(score(self._mean[part], np.sqrt(self._variance[part])))
            members.append(self._order[part])
            best = max(best, float(np.max(scores[-1])))
        candidates = np.concatenate(members)
        ascending = np.argsort(candidates)
        near = first_near_maximum(np.concatenate(scores)[ascending], tolerance)
        return int(candidates[ascending[near]])

    def bounds(self, score: Score, bound: Bound | None) -> Array:
        """The most that the score of each candidate can be, in the order of the blocks."""
        drift = np.sqrt(self._drift2[-1] - self._drift2[self._level])
        per_candidate = np.repeat(drift, np.diff(self._starts))
        sd = np.sqrt(self._variance)
        if bound is None:
            return score(self._mean + per_candidate * sd, sd)
        return bound(self._mean, sd, per_candidate)

    def rebuild(
        self,
        kernel: Kernel,
        observations: Observations,
        dense: Cholesky,
        candidate_of: Sequence[int],
    ) -> None:
        """Start again from the data (see :meth:`Table.rebuild`); no block knows of it yet."""
        self._kernel = kernel
        self._clear()
        if not len(observations):
            return
        factor = dense.factor
        self._points = observations.points.copy()
        self._lower = factor.lower / factor.scale[:, None]  # of M = S⁻¹ B S⁻¹
        self._innovation = factor.whiten(observations.mean)
        self._drift2 = np.append(0.0, np.cumsum(self._innovation**2))
        self._cap[self._position[np.asarray(candidate_of)]] = dense.at_points

    def _append(self, x: Array, row: Array, length: float) -> None:
        h = len(self._points)
        lower = np.zeros((h + 1, h + 1))
        lower[:h, :h] = self._lower
        lower[h, :h], lower[h, h] = row, length
        self._lower = lower
        self._points = np.concatenate([self._points, x[None]])

    def _catch_up_all(self) -> None:
        for block in range(len(self._level)):
            self._catch_up(block)

    def _catch_up(self, block: int) -> None:
        """Compute the rows that a block does not know yet."""
        old, h = int(self._level[block]), len(self._points)
        if old == h:
            return
        part = self._slice(block)
        known = self._known[block]
        missing = self._kernel(self._points[old:], self._sorted[part])
        missing -= self._lower[old:, :old] @ known
        new = solve_triangular(self._lower[old:, old:], missing, lower=True, check_finite=False)
        self._known[block] = np.concatenate([known, new])
        self._level[block] = h
        self._mean[part] += self._innovation[old:] @ new
        variance = self._variance[part] - np.einsum("ij,ij->j", new, new)
        np.maximum(variance, FLOOR * self._prior[part], out=variance)
        self._variance[part] = np.minimum(variance, self._cap[part])

    def _slice(self, block: int) -> slice:
        return slice(int(self._starts[block]), int(self._starts[block + 1]))

    def _block_of(self, position: int) -> int:
        return int(np.searchsorted(self._starts, position, side="right")) - 1


def neighbourhoods(
    points: Array, largest: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Sort points into blocks of neighbours, by median cuts across the widest coordinate.

    Parameters
    ----------
    points : (n, d) array
        What to sort.
    largest : int
        Most points in a block.

    Returns
    -------
    order : (n,) array
        Block ``b`` holds the points ``order[starts[b]:starts[b + 1]]``.
    starts : (blocks + 1,) array
        Where the blocks start, and the end.
    """
    finished, waiting = [], [np.arange(len(points))]
    while waiting:
        members = waiting.pop()
        if len(members) <= largest:
            finished.append(members)
            continue
        inside = points[members]
        widest = int(np.argmax(np.ptp(inside, axis=0)))
        half = len(members) // 2
        cut = np.argpartition(inside[:, widest], half)
        waiting += [members[cut[half:]], members[cut[:half]]]
    starts = np.cumsum([0, *(len(block) for block in finished)])
    return np.concatenate(finished), starts

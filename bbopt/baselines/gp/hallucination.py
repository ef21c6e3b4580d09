"""The variance at all candidates while evaluations are chosen whose values nobody has seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from bbopt.space import Array


class Hallucination:
    """Posterior variance as if every chosen evaluation were in (Desautels et al. 2014).

    One row a candidate, however often and in which order they are chosen, as in
    :mod:`bbopt.metabo.posterior.unique`: ``G`` ``(m, m)`` with ``GᵀG = (C + noise/count)⁻¹``,
    where C holds the covariances of the m candidates at the start, and ``V = G C(·, all)``.
    Within a run of evaluations of one candidate only the variance changes, O(n).

    Parameters
    ----------
    variance : (n,) array
        At the start.
    covariance : callable
        Row -> its covariance with all candidates ``(n,)`` at the start.
    noise : float
        Variance of one evaluation.
    floor : float
        Least variance.
    """

    def __init__(
        self, variance: Array, covariance: Callable[[int], Array], noise: float, floor: float
    ) -> None:
        self.variance = variance
        self._covariance, self._noise, self._floor = covariance, noise, floor
        self._position: dict[int, int] = {}  # row -> its place in V and G
        self._counts: list[int] = []
        self._v = np.empty((0, len(variance)))
        self._g = np.zeros((0, 0))
        self._row, self._run = -1, 0  # of the run: evaluations of one candidate in a row

    def add(self, row: int) -> None:
        """One more evaluation of a row."""
        if row != self._row:
            self._commit()
            self._begin(row)
        self._run += 1
        gain = 1.0 / (self._s2 + self._noise / self._run)
        np.multiply(self._square, -gain, out=self.variance)
        self.variance += self._start
        np.maximum(self.variance, self._floor, out=self.variance)

    def _begin(self, row: int) -> None:
        j = self._position.get(row)
        self._c: Array
        if j is None:
            self._c = self._covariance(row) - self._v[:, row] @ self._v
        else:
            self._c = (self._noise / self._counts[j] * self._g[:, j]) @ self._v
        self._row, self._run = row, 0
        self._s2 = max(float(self._c[row]), self._floor)
        self._square = self._c**2
        self._start, self.variance = self.variance, np.empty_like(self.variance)

    def _commit(self) -> None:
        """Take the run into V and G."""
        if not self._run:
            return
        length = np.sqrt(self._s2 + self._noise / self._run)
        v = self._c / length
        j = self._position.get(self._row)
        if j is None:
            m = len(self._counts)
            grown = np.zeros((m + 1, m + 1))
            grown[:m, :m] = self._g
            grown[m, :m] = -(self._v[:, self._row] @ self._g) / length
            grown[m, m] = 1.0 / length
            self._g = grown
            self._v = np.concatenate([self._v, v[None]])
            self._position[self._row] = m
            self._counts.append(self._run)
            return
        w = self._noise / self._counts[j] / length * self._g[:, j]
        square = float(w @ w)
        tau = 1.0 / (np.sqrt(1.0 + square) + 1.0)
        self._v += np.multiply.outer(tau * w, v)
        self._g += np.multiply.outer(tau * w, w @ self._g)
        self._counts[j] += self._run

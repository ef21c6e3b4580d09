"""The posterior through a Nyström embedding: a dictionary of points stands for all of them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_triangular

from bbopt.metabo.kernels import Kernel
from bbopt.metabo.posterior.factor import cholesky
from bbopt.space import Array

JITTER = 1e-10
"""Added to the dictionary's covariances, as a share of the prior variance."""


class Nystroem:
    """Approximate mean and variance at every candidate, O(n m²) for a dictionary of m points.

    With ``z(x) = L⁻¹ k(S, x)``, ``L Lᵀ = k(S, S)``, the mean is that of linear regression on
    z, and the variance ``k(x, x) - z·z + noise zᵀ V⁻¹ z`` with ``V = Σ count z zᵀ + noise I``
    (Calandriello et al. 2020, eq. 2 and 3, there divided by the noise).

    Parameters
    ----------
    kernel : Kernel
        Covariance function.
    noise : float
        Variance of one evaluation.
    candidates : (n, d) array
        The points that may be evaluated.
    """

    def __init__(self, kernel: Kernel, noise: float, candidates: Array) -> None:
        self._kernel, self._noise, self._candidates = kernel, noise, candidates
        self.mean = np.zeros(len(candidates))
        self.variance = kernel.diag(candidates)
        self._w = np.empty((0, len(candidates)))

    def fit(
        self,
        dictionary: npt.NDArray[np.int64],
        visited: npt.NDArray[np.int64],
        count: npt.NDArray[np.int64],
        mean: Array,
    ) -> None:
        """Start again from the data.

        Parameters
        ----------
        dictionary : (m,) array of int
            The rows of S, m >= 1.
        visited : (u,) array of int
            The rows that were evaluated.
        count, mean : (u,) arrays
            How often, and the mean value.
        """
        kernel, x = self._kernel, self._candidates
        points = x[dictionary]
        k = kernel(points, points)
        k.flat[:: len(k) + 1] += JITTER * kernel.variance
        z = solve_triangular(cholesky(k), kernel(points, x), lower=True, check_finite=False)
        at_visited = z[:, visited]
        v = (at_visited * count) @ at_visited.T
        v.flat[:: len(v) + 1] += self._noise
        lower = cholesky(v)
        self._w = solve_triangular(lower, z, lower=True, check_finite=False)
        target = solve_triangular(lower, at_visited @ (count * mean), lower=True)
        self.mean = target @ self._w
        residual = kernel.diag(x) - np.einsum("ij,ij->j", z, z)
        explained = np.einsum("ij,ij->j", self._w, self._w)
        self.variance = np.maximum(residual, 0.0) + self._noise * explained

    def covariance(self, i: int) -> Array:
        """The part of the covariance with candidate ``i`` that evaluations reduce, ``(n,)``."""
        c: Array = self._noise * (self._w[:, i] @ self._w)
        return c

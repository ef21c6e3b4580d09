"""Draws from Gaussian processes as functions, with their minimum."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bbopt import checks, seeding
from bbopt.space import Array

from .noisy_function import NoisyFunction


class GaussianProcessDraw(NoisyFunction):
    """√(2/m) Σₖ wₖ cos(ωₖ·x + bₖ) on the unit cube, m = 256; subclasses fix the dimension.

    With w and l ω standard normal and b uniform in [0, 2π) this is a draw, made of random
    Fourier features (Rahimi and Recht 2007, *Random features for large-scale kernel machines*),
    from a Gaussian process of mean 0, variance 1 and kernel exp(−|x − x'|² / (2 l²)), where l is
    ``lengthscale``. The minimum is found at construction: the least minima of a grid of spacing
    l / 10 are polished by L-BFGS-B, which leaves an error of about 1e-8 in x and of rounding in
    the value.
    """

    dim: ClassVar[int]
    features: ClassVar[int] = 256

    def __init__(
        self,
        seed: int = 0,
        lengthscale: float = 0.15,
        noise: float = 0.0,
        noise_kind: str = "gaussian",
    ) -> None:
        lengthscale = checks.number("lengthscale", lengthscale, 0.05, 10)
        rng = seeding.stream(seeding.checked_seed(seed), "gp", number=self.dim)
        m = self.features
        self._weights = np.sqrt(2 / m) * rng.standard_normal(m)
        self._frequencies = rng.standard_normal((self.dim, m)) / lengthscale
        self._phases = rng.uniform(0, 2 * np.pi, m)
        minimiser = self._least_point(spacing=min(lengthscale / 10, 0.1))
        super().__init__([[0, 1]] * self.dim, [minimiser], noise, noise_kind)

    def function(self, x: Array) -> Array:
        """The draw at ``(n, d)`` points of the unit cube."""
        waves: Array = self._weights * np.cos(x @ self._frequencies + self._phases)
        total: Array = waves.sum(axis=1)  # not a product of matrices, whose last digits depend on n
        return total

    def gradient(self, x: Array) -> Array:
        """The gradient of the draw, ``(n, d)``, at ``(n, d)`` points."""
        slopes = -self._weights * np.sin(x @ self._frequencies + self._phases)
        gradient: Array = slopes @ self._frequencies.T
        return gradient

    def _least_point(self, spacing: float) -> Array:
        from scipy.ndimage import minimum_filter
        from scipy.optimize import minimize

        axis = np.linspace(0, 1, int(np.ceil(1 / spacing)) + 1)
        grid = np.stack(np.meshgrid(*[axis] * self.dim, indexing="ij"), axis=-1)
        values = self.function(grid.reshape(-1, self.dim)).reshape(grid.shape[:-1])
        # a minimum lies at most 3/2 (l/20)²/l² < 0.004 per dimension below its nearest grid
        # point (a curvature of 3/l² is rare), so that these are the only ones in question
        is_low = (values == minimum_filter(values, size=3)) & (values <= values.min() + 0.02)
        polished = [
            minimize(
                lambda x: (self.function(x[None])[0], self.gradient(x[None])[0]),
                start,
                jac=True,
                method="L-BFGS-B",
                bounds=[(0.0, 1.0)] * self.dim,
                options={"ftol": 0.0, "gtol": 1e-10},
            )
            for start in grid[is_low]
        ]
        best: Array = min(polished, key=lambda result: float(result.fun)).x
        return best

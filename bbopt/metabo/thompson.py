"""Thompson sampling: a whole function drawn from the posterior, by pathwise conditioning.

``f̃(x) = g(x) + k(x, X) M⁻¹ (mean - g(X) - ε)`` with g drawn from the prior by random Fourier
features and ``ε_i ~ N(0, noise/count_i)`` (Wilson et al. 2020, arXiv:2002.09309, eq. 9).
"""

from __future__ import annotations

import numpy as np

from bbopt.metabo.kernels import Kernel, Matern52
from bbopt.metabo.posterior import Posterior
from bbopt.space import Array

FEATURES = 1024
"""Random Fourier features of the prior draw: its covariance is off by about 1/sqrt of them."""


class Features:
    """A draw from the prior of a stationary kernel, as a sum of random cosines.

    Parameters
    ----------
    kernel : RBF or Matern52
        Covariance function.
    d : int
        Number of coordinates.
    rng : numpy Generator
        Draws frequencies, phases and weights.
    """

    def __init__(self, kernel: Kernel, d: int, rng: np.random.Generator) -> None:
        frequencies = rng.standard_normal((FEATURES, d))
        if isinstance(kernel, Matern52):  # the spectral density of ν = 5/2: Student's t, 5 degrees
            frequencies /= np.sqrt(rng.chisquare(5.0, size=(FEATURES, 1)) / 5.0)
        self._frequencies = frequencies * np.sqrt(kernel.inverse_squares(d))
        self._phases = rng.uniform(0.0, 2.0 * np.pi, FEATURES)
        scale = np.sqrt(2.0 * kernel.variance / FEATURES)
        self._weights = scale * rng.standard_normal(FEATURES)

    def __call__(self, X: Array) -> Array:  # noqa: N803
        """Its values at ``X`` ``(n, d)``: ``(n,)``."""
        values: Array = np.cos(X @ self._frequencies.T + self._phases) @ self._weights
        return values

    def gradient(self, X: Array) -> Array:  # noqa: N803
        """Its gradients at ``X`` ``(n, d)``: ``(n, d)``."""
        waves = np.sin(X @ self._frequencies.T + self._phases)
        gradient: Array = -(waves * self._weights) @ self._frequencies
        return gradient


class Path:
    """A function drawn from a posterior; scores any points, as a criterion does.

    Parameters
    ----------
    posterior : Posterior
        What is known.
    d : int
        Number of coordinates.
    rng : numpy Generator
        Draws the function.
    """

    def __init__(self, posterior: Posterior, d: int, rng: np.random.Generator) -> None:
        self._kernel = posterior.kernel
        self._prior = Features(posterior.kernel, d, rng)
        data = posterior.observations
        self._points = np.empty((0, d)) if data is None else data.points
        self._weights = np.empty(0)
        if data is not None:
            errors = np.sqrt(data.noise / data.count) * rng.standard_normal(len(data))
            self._weights = posterior.solve(data.mean - self._prior(data.points) - errors)

    def at(self, posterior: object, X: Array) -> Array:  # noqa: N803
        """The function's values at ``X`` ``(n, d)``: ``(n,)``."""
        update: Array = self._kernel(X, self._points) @ self._weights
        return self._prior(X) + update

    def slope(self, posterior: object, X: Array) -> tuple[Array, Array]:  # noqa: N803
        """Its values ``(n,)`` and gradients ``(n, d)`` at ``X`` ``(n, d)``."""
        jacobian = self._kernel.x_gradient(X, self._points)
        gradient = self._prior.gradient(X) + np.einsum("nud,u->nd", jacobian, self._weights)
        return self.at(posterior, X), gradient

    def slack(self, sd: Array, near: float) -> Array:
        """A sample has no near-maximisers but its maximum."""
        return np.zeros_like(sd)

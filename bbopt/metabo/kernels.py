"""Covariance functions over the unit cube, with gradients: RBF and Matérn 5/2."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from scipy.spatial.distance import cdist

from bbopt import checks
from bbopt.errors import UsageError
from bbopt.space import Array

K = TypeVar("K", bound="Kernel")


@dataclass(frozen=True)
class Kernel(ABC):
    """A stationary covariance function ``k(x, y) = variance g(r²)``.

    ``r² = Σ_j (x_j - y_j)² / lengthscales_j²``. With ``h(r²) = -2 g'(r²)`` both gradients are
    one product away: ``∂k/∂x_j = -variance h (x_j - y_j) / lengthscales_j²`` and
    ``∂k/∂ln lengthscales_j = variance h (x_j - y_j)² / lengthscales_j²``.

    Parameters
    ----------
    lengthscales : float or sequence of float
        One for all coordinates, or one a coordinate (ARD); > 0. Kept as a tuple.
    variance : float
        Prior variance ``k(x, x)`` (κ²), > 0.
    groups : tuple of int, optional
        The lengthscale of each coordinate, by position in ``lengthscales``, where several
        share one: the one-hot columns of a category, whose choices are then equally far apart.

    Raises
    ------
    UsageError
        If a lengthscale or the variance is not a positive finite number, or a group names no
        lengthscale.
    """

    lengthscales: float | Sequence[float] | Array
    variance: float = 1.0
    groups: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        given = np.atleast_1d(np.asarray(self.lengthscales, dtype=object))
        if given.ndim != 1 or not given.size:
            raise UsageError(
                f"lengthscales must be a number or one number a coordinate, got shape {given.shape}"
            )
        object.__setattr__(self, "lengthscales", tuple(_positive("lengthscales", s) for s in given))
        object.__setattr__(self, "variance", _positive("variance", self.variance))
        if self.groups is not None:
            last = given.size - 1
            groups = tuple(checks.integer("groups: a position", g, 0, last) for g in self.groups)
            object.__setattr__(self, "groups", groups)

    def __call__(self, X: Array, Y: Array) -> Array:  # noqa: N803
        """Covariances of the rows of ``X`` ``(n, d)`` and ``Y`` ``(m, d)``: ``(n, m)``."""
        k = self._shape(self._squared(X, Y))
        k *= self.variance
        return k

    def diag(self, X: Array) -> Array:  # noqa: N803
        """Prior variances at the rows of ``X`` ``(n, d)``: ``(n,)``."""
        return np.full(len(X), self.variance)

    def x_gradient(self, X: Array, Y: Array) -> Array:  # noqa: N803
        """``∂k(X_i, Y_j)/∂X_i``: ``(n, m, d)``."""
        slope = self.variance * self._slope(self._squared(X, Y))
        gap = X[:, None, :] - Y[None, :, :]
        gap *= -self.inverse_squares(X.shape[1])
        gap *= slope[:, :, None]
        return gap

    @property
    def log_parameters(self) -> Array:
        """``(ln lengthscales..., ln variance)``."""
        return np.log([*np.ravel(self.lengthscales), self.variance])

    def with_log_parameters(self: K, theta: Array) -> K:
        """The same kernel with other parameters, in the order of :attr:`log_parameters`."""
        *scales, variance = np.exp(theta).tolist()
        return replace(self, lengthscales=scales, variance=variance)

    def log_gradient(self, X: Array, weights: Array) -> Array:  # noqa: N803
        """``Σ_ij weights_ij ∂k(X_i, X_j)/∂θ`` for each of :attr:`log_parameters`: ``(p,)``."""
        squared = self._squared(X, X)
        slope = self.variance * self._slope(squared) * weights
        if np.size(self.lengthscales) == 1:
            scales = [np.sum(slope * squared)]
        else:
            # Differences, not the expanded square: weights reach count / noise, and cancel.
            inverse = self.inverse_squares(X.shape[1])
            groups = range(X.shape[1]) if self.groups is None else self.groups
            scales = [np.float64(0.0)] * np.size(self.lengthscales)
            for x, w, group in zip(X.T, inverse, groups, strict=True):
                gap = np.subtract.outer(x, x)
                scales[group] += w * np.einsum("ij,ij,ij->", slope, gap, gap)
        return np.array([*scales, self.variance * np.sum(self._shape(squared) * weights)])

    def _squared(self, X: Array, Y: Array) -> Array:  # noqa: N803
        """Scaled squared distances ``(n, m)``; exactly zero for equal rows."""
        if X.ndim != 2 or Y.ndim != 2 or X.shape[1] != Y.shape[1]:
            raise UsageError(
                f"X and Y must be (n, d) and (m, d), got shapes {X.shape} and {Y.shape}"
            )
        squared: Array = cdist(X, Y, "sqeuclidean", w=self.inverse_squares(X.shape[1]))
        return squared

    def inverse_squares(self, d: int) -> Array:
        """``1 / lengthscale²`` of each of ``d`` coordinates."""
        scales = np.array(self.lengthscales, dtype=np.float64)
        if self.groups is not None:
            scales = scales[list(self.groups)]
        if scales.size == 1:
            return np.full(d, scales[0] ** -2)
        if scales.size != d:
            raise UsageError(
                f"X must have one column a lengthscale ({scales.size}), got {d} columns"
            )
        inverse: Array = scales**-2
        return inverse

    @abstractmethod
    def _shape(self, squared: Array) -> Array:
        """``g`` at squared distances, 1 at 0."""

    @abstractmethod
    def _slope(self, squared: Array) -> Array:
        """``h = -2 g'`` at squared distances."""


@dataclass(frozen=True)
class RBF(Kernel):
    """The squared exponential kernel, ``variance exp(-r²/2)``: infinitely smooth functions.

    See :class:`Kernel` for the parameters.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[0.2], [0.5]])
    >>> RBF(0.3, 2.0)(x, x).round(3)
    array([[2.   , 1.213],
           [1.213, 2.   ]])
    """

    def _shape(self, squared: Array) -> Array:
        g: Array = np.exp(-0.5 * squared)
        return g

    def _slope(self, squared: Array) -> Array:
        return self._shape(squared)


@dataclass(frozen=True)
class Matern52(Kernel):
    """The Matérn kernel with ν = 5/2: functions with two derivatives.

    ``variance (1 + a + a²/3) exp(-a)`` with ``a = √5 r`` (Rasmussen and Williams 2006,
    eq. 4.17). See :class:`Kernel` for the parameters.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[0.2], [0.5]])
    >>> Matern52(0.3, 2.0)(x, x).round(3)
    array([[2.   , 1.048],
           [1.048, 2.   ]])
    """

    def _shape(self, squared: Array) -> Array:
        a = np.sqrt(5.0 * squared)
        g = (a / 3.0 + 1.0) * a + 1.0
        g *= np.exp(-a)
        return g

    def _slope(self, squared: Array) -> Array:
        a = np.sqrt(5.0 * squared)
        h = (5.0 / 3.0) * (1.0 + a)
        h *= np.exp(-a)
        return h


def _positive(name: str, value: object) -> float:
    value = checks.number(name, value)
    if value <= 0:
        raise UsageError(f"{name} must be > 0, got {value!r}")
    return value

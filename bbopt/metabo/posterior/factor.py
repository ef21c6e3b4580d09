"""The stable Cholesky factorisation behind every form of the posterior."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from bbopt.metabo.kernels import Kernel
from bbopt.space import Array


@dataclass(frozen=True)
class Factor:
    """Cholesky factor of ``B = I + S K S`` with ``S = diag(sqrt(count / noise))``.

    ``M = K + diag(noise / count)`` is the covariance of the observed means, and
    ``M⁻¹ = S B⁻¹ S``. The eigenvalues of B are at least 1, so that no jitter is needed
    however unequal the counts are: a jitter of 1e-6 on M would silently cap what repeats can
    teach (Rasmussen and Williams 2006, eq. 3.26).

    Parameters
    ----------
    scale : (u,) array
        The diagonal of S.
    lower : (u, u) array
        L with ``L Lᵀ = B``.
    """

    scale: Array
    lower: Array

    @classmethod
    def of(cls, kernel: Kernel, points: Array, scale: Array) -> Factor:
        """Factorise from scratch, O(u³): ``points`` ``(u, d)``, ``scale`` ``(u,)``."""
        b = kernel(points, points)
        b *= scale[:, None]
        b *= scale
        b.flat[:: len(b) + 1] += 1.0
        return cls(scale, cholesky(b))

    def extended(self, cross: Array, prior: float, scale: float) -> Factor:
        """The factor with one more point, O(u²).

        Parameters
        ----------
        cross : (u,) array
            Covariances of the new point with the old ones.
        prior : float
            Its prior variance.
        scale : float
            Its ``sqrt(count / noise)``.
        """
        u = len(self.scale)
        row = self.whiten(cross)
        variance = max(prior - float(row @ row), 0.0)
        lower = np.zeros((u + 1, u + 1), order="F")
        lower[:u, :u] = self.lower
        lower[u, :u] = scale * row
        lower[u, u] = np.sqrt(1.0 + scale * scale * variance)
        return Factor(np.append(self.scale, scale), lower)

    def whiten(self, cross: Array) -> Array:
        """``V = L⁻¹ S cross``, so that ``VᵀV = crossᵀ M⁻¹ cross``; cross ``(u,)``, ``(u, n)``."""
        scaled = (self.scale * cross.T).T
        return solved(self.lower, scaled)

    def solve(self, cross: Array) -> Array:
        """``M⁻¹ cross``; cross ``(u,)`` or ``(u, n)``."""
        return self.unwhiten(self.whiten(cross))

    def unwhiten(self, v: Array) -> Array:
        """``S L⁻ᵀ v``, the other half of :meth:`solve`."""
        half: Array = (self.scale * solved(self.lower, v, transposed=True).T).T
        return half

    def inverse(self) -> Array:
        """``B⁻¹`` ``(u, u)``, O(u³)."""
        full, info = lapack.dpotri(self.lower, lower=1)
        if info:
            raise np.linalg.LinAlgError("the factor has a zero on its diagonal")
        inverse: Array = full + full.T  # the upper triangle is that of the factor: zero
        inverse.flat[:: len(inverse) + 1] *= 0.5
        return inverse

    def point_variances(self) -> Array:
        """Posterior variance at each unique point, ``(noise / count) (1 - [B⁻¹]_ii)``.

        Accurate where prior minus reduction cancels (large counts), and at most
        noise / count.
        """
        root = solved(self.lower, np.eye(len(self.lower)))
        variances: Array = (1.0 - np.sum(root * root, axis=0)) / self.scale**2
        return variances

    @property
    def info(self) -> float:
        """Information gain ``½ ln det(I + K_N / noise) = ½ ln det B``, in nats."""
        return float(np.sum(np.log(np.diagonal(self.lower))))


def cholesky(b: Array) -> Array:
    """Lower factor of a symmetric positive definite matrix; the upper triangle is zero."""
    lower, info = lapack.dpotrf(b, lower=1, clean=1)
    if info:
        raise np.linalg.LinAlgError(
            "the covariance matrix is not positive definite: is a kernel value not finite?"
        )
    factor: Array = lower
    return factor


def solved(lower: Array, right: Array, *, transposed: bool = False) -> Array:
    """``L⁻¹ right``, or ``L⁻ᵀ right``; ``lower`` ``(u, u)``, ``right`` ``(u,)`` or ``(u, n)``.

    LAPACK itself: of a hundred points SciPy's checks take longer than the solution.
    """
    if not right.size:
        return np.empty_like(right)
    x: Array
    x, info = lapack.dtrtrs(lower, right, lower=1, trans=int(transposed))
    if info:
        raise np.linalg.LinAlgError("the factor has a zero on its diagonal")
    return x

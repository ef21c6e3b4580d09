"""How fast mixing brings agents together, and how much momentum it bears.

Mixing with symmetric weights A brings agents nearer to their mean by the factor ρ, the second
largest modulus of an eigenvalue, every round. A swarm adds momentum: a particle keeps s·u of its
velocity, u uniform in [0, 1], and internal learning has moved it by κ times its velocity before its
neighbours pull. For an eigenvalue λ of A, with r = s/2 and μ = λ - 1, the mean obeys

    v⁺ = (r + κμ) v + μx,    x⁺ = x + κv + v⁺,    κ = 1 - 2^-K after K internal steps,

which is stable where r < 1 and (1 + κ)(1 - λ) < 2 (1 + r). With K = 0 it is second-order consensus,
stable for -1 - 2r < λ. The attraction of internal learning damps, the randomness of u does the
opposite: a guide, no certificate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from bbopt import seeding

Array: TypeAlias = npt.NDArray[np.float64]

DENSE = 500
"""Up to so many agents every eigenvalue is computed."""
MARGIN = 0.97
"""How much of the stable region :func:`stable_share` uses."""


@dataclass(frozen=True)
class Spectrum:
    """What the eigenvalues of mixing weights say.

    Attributes
    ----------
    rho : float
        The second largest modulus; 0 for a single agent.
    second, least : float
        The second largest and the least real part.
    """

    rho: float
    second: float
    least: float

    def rounds(self, factor: float = 1e-7) -> float:
        """Rounds that bring the disagreement down to ``factor`` of what it was; may be inf."""
        if self.rho <= 0:
            return 1
        return math.ceil(math.log(factor) / math.log(self.rho)) if self.rho < 1 else math.inf


def spectrum(weights: csr_array) -> Spectrum:
    """The eigenvalues of mixing weights that matter, by Lanczos above ``DENSE`` agents."""
    n = weights.shape[0]
    if n == 1:
        return Spectrum(0.0, 0.0, 0.0)
    is_symmetric = abs(weights - weights.T).max() <= 1e-12
    if n <= DENSE:
        dense = weights.toarray()
        others = _but_one(np.linalg.eigvalsh(dense) if is_symmetric else np.linalg.eigvals(dense))
    else:
        others = _symmetric_ends(weights) if is_symmetric else _ends(weights)
    rho = float(np.abs(others).max())
    return Spectrum(min(rho, 1.0), float(others.real.max()), float(others.real.min()))


def momentum_limit(s: float, k: int) -> float:
    """The least 1 - λ that is not stable: 2 (1 + s/2)/(1 + κ), 0 for s >= 2.

    Parameters
    ----------
    s : float
        Factor of the velocity that is kept, >= 0.
    k : int
        Internal steps a round, >= 0.
    """
    return 2 * (1 + s / 2) / (2 - 2.0**-k) if s < 2 else 0.0


def is_stable(known: Spectrum, s: float, k: int) -> bool:
    """Whether the mean dynamics of a swarm with these settings is stable."""
    return 1 - known.least < momentum_limit(s, k)


def stable_share(known: Spectrum, s: float, k: int) -> float:
    """The share of the neighbours' pull, in (0, 1], that stays within the stable region.

    ``s`` is the least factor that will be used, < 2, since less momentum bears less pull;
    :func:`bbopt.lacmas.weights.pulled` applies the share.
    """
    spread = 1 - known.least
    return min(1.0, MARGIN * momentum_limit(s, k) / spread) if spread > 0 else 1.0


def stable_mass(weights: csr_array, s: float, k: int) -> Array:
    """What each agent may give to its neighbours in all, ``(n,)``, to stay stable.

    The stable share of 1 - a_ii; on a graph where all agents give alike that is
    min(1 - a_ii, 0.97 · 2 (1 + s/2)/((1 + κ)(1 - λ'))), λ' the least eigenvalue without
    self-weights.
    """
    away: Array = 1 - weights.diagonal()
    return stable_share(spectrum(weights), s, k) * away


def _symmetric_ends(weights: csr_array) -> Array:
    """The second greatest and the least eigenvalue of symmetric weights."""
    # No eigenvalue is less than the least 2 a_ii - 1 (Gershgorin); long rings come close to it.
    bound = 2 * weights.diagonal().min() - 1
    return np.concatenate([_but_one(_end(weights, 2, "LA", 1.0)), _end(weights, 1, "SA", bound)])


def _end(weights: csr_array, k: int, which: str, bound: float) -> Array:
    """The ``k`` eigenvalues nearest to the end of the spectrum, which ``bound`` encloses."""
    from scipy.sparse.linalg import ArpackNoConvergence, eigsh

    options = {"v0": _start(weights), "return_eigenvectors": False}
    try:
        values: Array = eigsh(weights, k, which=which, maxiter=100, **options)
    except ArpackNoConvergence:
        # eigenvalues that crowd at the end lie far apart once inverted around a point beyond it
        beyond = bound + (1e-9 if which == "LA" else -1e-9)
        values = eigsh(weights, k, sigma=beyond, **options)
    return values


def _ends(weights: csr_array) -> npt.NDArray[np.complex128]:
    """Of weights that are not symmetric: the second by modulus and real part, and the least."""
    from scipy.sparse.linalg import eigs

    options = {"v0": _start(weights), "return_eigenvectors": False}
    largest, high = (_but_one(eigs(weights, 2, which=which, **options)) for which in ("LM", "LR"))
    return np.concatenate([largest, high, eigs(weights, 1, which="SR", **options)])


def _but_one(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The eigenvalues without that of agreement, 1."""
    return np.delete(values, np.argmin(np.abs(values - 1)))


def _start(weights: csr_array) -> Array:
    """Where the iteration starts, always the same."""
    start: Array = seeding.stream(0, "spectrum").standard_normal(weights.shape[0])
    return start

"""Averages by talking to neighbours alone: Chebyshev gossip, and a flood.

Plain mixing brings agents nearer to their mean by ρ a round; Chebyshev polynomials of the same
matrix by (1 - √(1 - σ²))/σ, where σ is what half the width of the interval of its eigenvalues is
of the distance from the middle of the interval to 1 (semi-iteration; Golub and Varga 1961). Each
round mixes once, and no matrix but the network's own is needed.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bbopt.errors import UsageError
from bbopt.lacmas.network import Network
from bbopt.lacmas.spectrum import Spectrum

Array = npt.NDArray[np.float64]

ROUNDING = 1e-15
"""What disagrees by less of what it was at the start is equal."""
SLOWER = 4
"""How many times the rounds of a whole network are granted to what is left of one."""
CHECK = 2
"""Rounds between two looks at whether the rows have settled."""


class Gossip:
    """Averages over all agents of a network with symmetric weights.

    Where weights are not symmetric what is reached is the mean with their stationary weights
    (:func:`bbopt.lacmas.weights.stationary`); with complex eigenvalues the bound is no promise.

    Parameters
    ----------
    network : Network
        Who mixes.
    known : Spectrum
        The eigenvalues of its weights, which must stay as they are.

    Raises
    ------
    UsageError
        If the eigenvalue 1 is there twice: the graph is not connected.
    """

    def __init__(self, network: Network, known: Spectrum) -> None:
        if network.n > 1 and not known.second < 1:
            raise UsageError(
                "weights: gossip needs a connected graph, but the second largest eigenvalue is "
                f"{known.second}"
            )
        self.network = network
        self._middle = (known.second + known.least) / 2
        self._sigma = (known.second - known.least) / 2 / (1 - self._middle)

    @property
    def factor(self) -> float:
        """What every further round leaves of the disagreement, in the long run."""
        s = self._sigma
        return s / (1 + math.sqrt(1 - s * s))  # (1 - √(1 - s²))/s without cancellation

    def rounds(self, tolerance: float) -> int:
        """The fewest rounds q with 2·factor^q ≤ ``tolerance``, at least one."""
        if self.factor < 1e-12:  # one product is the mean
            return 1
        return max(1, math.ceil(math.log(tolerance / 2) / math.log(self.factor)))

    def average(self, x: Array, tolerance: float = ROUNDING) -> Array:
        """Rows ``(a, k)`` within ``tolerance`` of the mean over all agents.

        ``tolerance`` is relative to the disagreement at the start: for each column, the root of
        the sum over all agents of their squared distances to its mean.
        """
        return self._iterate(x, self.rounds(tolerance))

    def settle(self, x: Array, tolerance: float, floor: float | None = None) -> Array:
        """Rows ``(a, k)``, mixed until a round changes no number of any agent noticeably.

        Takes fewer rounds than :meth:`average` where the agents disagree little to begin with.

        Parameters
        ----------
        x : (a, k) array
            What is averaged.
        tolerance : float
            An error that is noticed, in units of the number itself or of the floor. It is judged
            by the last change, as of a geometric series.
        floor : float, optional
            Numbers smaller than this count as this large; None is the root mean square of the
            agent's row.
        """
        change = tolerance * (1 - self.factor) / max(self.factor, tolerance)
        return self._iterate(x, SLOWER * self.rounds(ROUNDING), change, floor)

    def _iterate(
        self, x: Array, rounds: int, change: float | None = None, floor: float | None = None
    ) -> Array:
        before, now, weight = x, self._shifted(x), 1.0
        for q in range(1, rounds):
            weight = 1 / (1 - self._sigma**2 * weight / 4) if q > 1 else 2 / (2 - self._sigma**2)
            before, now = now, weight * self._shifted(now) + (1 - weight) * before
            if change is not None and q % CHECK == 0:
                is_moving = _moves(now - before, now, change, floor)
                if not self.network.any(is_moving):
                    break
        return now

    def _shifted(self, x: Array) -> Array:
        """One round of the matrix whose eigenvalues but 1 are in [-σ, σ]."""
        return (self.network.mix(x) - self._middle * x) / (1 - self._middle)


def _moves(change: Array, x: Array, tolerance: float, floor: float | None) -> bool:
    least = np.sqrt(np.mean(x * x, axis=1, keepdims=True)) if floor is None else floor
    return bool((np.abs(change) > tolerance * np.maximum(np.abs(x), least)).any())


def flood(network: Network, x: Array) -> Array:
    """The row of the first living agent, ``(k,)``, on every rank.

    It is passed on from neighbour to neighbour: each agent sends it once.
    """
    network.count(x)
    rows = network.gather(x)
    return np.array(rows[int(np.argmax(network.living))])

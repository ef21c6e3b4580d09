"""What each agent remembers of its last rounds: short histories, vectorised over the agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bbopt.lacmas.network import Network

Array = npt.NDArray[np.float64]

WINDOW = 19
"""Rounds that an agent remembers (LAC-MAS, appendix D.2)."""


class Memory:
    """The last rounds of some agents.

    Parameters
    ----------
    n_agents : int
        a: the agents owned here.

    Attributes
    ----------
    mean : (a, 19) array
        Mean loss over the swarm at the end of each round, the oldest first; NaN for rounds that
        are yet to come.
    divergence : (a, 19) array
        Divergence of the swarm in the same rounds: mean squared distance from its centre.
    """

    arrays: ClassVar[tuple[str, ...]] = ("mean", "divergence")

    def __init__(self, n_agents: int) -> None:
        self.mean: Array = np.full((n_agents, WINDOW), np.nan)
        self.divergence: Array = np.full((n_agents, WINDOW), np.nan)

    def push(self, mean: Array, divergence: Array) -> None:
        """Remember one more round, ``(a,)`` each, and forget the oldest."""
        for ring, values in ((self.mean, mean), (self.divergence, divergence)):
            ring[:, :-1] = ring[:, 1:]
            ring[:, -1] = values

    def gain(self) -> Array:
        """Relative improvement over the window, ``(a,)``: see :func:`relative_gain`."""
        return relative_gain(self.mean)

    def state(self, network: Network) -> dict[str, Any]:
        """The histories of all agents; collective."""
        return {name: network.gather(getattr(self, name)) for name in self.arrays}

    def restore(self, state: Mapping[str, Any], network: Network) -> None:
        """Take up what ``state`` returned, on any number of ranks."""
        for name in self.arrays:
            setattr(self, name, np.array(state[name])[network.agents])


def relative_gain(history: Array) -> Array:
    """How much losses have fallen, without a unit: in [-2, 2], positive where they fell.

    The mean of the first quarter minus that of the last, over half the sum of their moduli;
    0 where fewer than two rounds are known.

    Parameters
    ----------
    history : (a, w) array
        Losses, the oldest first; what is not finite is not known.
    """
    known = np.isfinite(history)
    n = known.sum(axis=1, keepdims=True)
    position = np.cumsum(known, axis=1)  # 1 ... n
    quarter = np.maximum(n // 4, 1)
    values = np.where(known, history, 0.0)
    values = values / np.maximum(np.abs(values).max(axis=1, keepdims=True, initial=0), _LEAST)
    first = (values * (known & (position <= quarter))).sum(axis=1) / quarter[:, 0]
    last = (values * (known & (position > n - quarter))).sum(axis=1) / quarter[:, 0]
    scale = (np.abs(first) + np.abs(last)) / 2
    is_told = (n[:, 0] >= 2) & (scale > 0)
    return np.where(is_told, (first - last) / np.where(is_told, scale, 1.0), 0.0)


_LEAST = np.finfo(float).tiny

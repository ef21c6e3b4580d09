"""The ε-net: which proposals are far enough from all that is known to be worth an evaluation.

It looks at no value, so it inherits no noise (POLCA, arXiv 2603.14769).
"""

from __future__ import annotations

import numpy as np

from bbopt.space import Array


def farthest_first(to_memory: Array, between: Array, epsilon: float) -> list[int]:
    """Proposals at a distance > ε of the memory and of each other, farthest first.

    The proposal farthest from all that was kept is kept next, until none is farther than ε.
    Proposals at distance 0 are never kept, whatever ε.

    Parameters
    ----------
    to_memory : ndarray
        ``(n, m)`` distances of n proposals to m known candidates.
    between : ndarray
        ``(n, n)`` distances of the proposals to each other.
    epsilon : float
        Radius of the net, >= 0.

    Returns
    -------
    list of int
        Those kept, in the order in which they were. Ties go to the lower index.
    """
    n = len(to_memory)
    nearest = to_memory.min(axis=1) if to_memory.shape[1] else np.full(n, np.inf)
    kept: list[int] = []
    while n and (i := int(np.argmax(nearest))) is not None and nearest[i] > epsilon:
        kept.append(i)
        nearest = np.minimum(nearest, between[i])
        nearest[i] = -np.inf
    return kept


def colliding(to_memory: Array, rejected: list[int], epsilon: float) -> list[int]:
    """For each rejected proposal the nearest candidate of the memory, if within ε; no repeats."""
    found = []
    for i in rejected:
        j = int(np.argmin(to_memory[i]))
        if to_memory[i, j] <= epsilon and j not in found:
            found.append(j)
    return found

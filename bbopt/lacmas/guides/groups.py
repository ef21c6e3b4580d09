"""One request for many agents: groups of agents in like circumstances.

Each group has one request, whose reply holds for all its members: 10,000 agents make no more
requests than 8. Groups are quantiles over all agents, hence need what no single agent knows: that
is not decentralised. Where agents are no more than requests, each is a group of its own.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def grouped(gain: Array, divergence: Array, alive: Mask, most: int) -> Ints:
    """The group of each agent, ``(n,)``, from 0; -1 for those that have left.

    Agents are ordered by gain and cut into ``most // 2`` equal parts, each of which is halved by
    divergence.

    Parameters
    ----------
    gain, divergence : (n,) arrays
        Of all agents.
    alive : (n,) bool array
        Who has not left.
    most : int
        The most groups, >= 1.
    """
    groups = np.full(len(gain), -1)
    living = np.flatnonzero(alive)
    if len(living) <= most:
        groups[living] = np.arange(len(living))
        return groups
    order = living[np.argsort(gain[living], kind="stable")]
    n_parts, n_halves = (most // 2, 2) if most > 1 else (1, 1)
    parts = [
        half
        for part in np.array_split(order, n_parts)
        for half in np.array_split(part[np.argsort(divergence[part], kind="stable")], n_halves)
    ]
    for i, members in enumerate(parts):
        groups[members] = i
    return groups


def typical(groups: Ints, gain: Array) -> Ints:
    """The agent whose gain is in the middle of each group: it is shown for all, ``(groups,)``."""
    members = [np.flatnonzero(groups == i) for i in range(groups.max(initial=-1) + 1)]
    middle = [some[np.argsort(gain[some], kind="stable")[len(some) // 2]] for some in members]
    return np.array(middle, dtype=np.int64)

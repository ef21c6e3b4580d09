"""Imitation: population-based tuning on the graph, one agent a member (ours; the default).

Momentum that is right for one objective is wrong for another, and often above what the published
method allows. Agents start with different coefficients, and each moves towards that of the best
of its neighbourhood. What it needs is in the headers of ordinary messages.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bbopt.lacmas.guides.base import Advice, Context, Guide
from bbopt.lacmas.network import HEADER

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

EVERY = 20
"""Rounds in which a coefficient shows what it is worth."""
START = (0.85, 1.3)
"""Where d starts, uniformly; cut to its range."""
NOISE = 0.05
"""Standard deviation of what is added to a copy."""


class Imitation(Guide):
    """d ← ½ d + ½ d_b + N(0, 0.05²) every 20 rounds, b the best of an agent and its neighbours.

    The best is whose mean loss fell most in the last 19 rounds, relative to its size; c stays 1
    and the weights as they are.
    """

    def start(self) -> tuple[Array, Array]:
        """Coefficients d drawn for each agent, and c = 1."""
        low, high = START
        d = low + (high - low) * self.draws.uniform("guide", 0, 0)
        return np.clip(d, *self.settings.d_range), np.ones(len(d))

    def _advise(self, context: Context) -> Advice:
        if not self._is_due(context, EVERY):
            return Advice(context.d, context.c)
        gains = context.headers[:, HEADER.index("gain")]
        edge = best_edge(context.history.gain(), gains, self.network.rows)
        theirs = np.append(context.headers[:, HEADER.index("d")], np.nan)[edge]
        model = np.where(edge < 0, context.d, theirs)
        noise = NOISE * self.draws.normal("guide", context.round_, 0)
        d = np.clip(context.d / 2 + model / 2 + noise, *self.settings.d_range)
        return Advice(np.where(context.alive, d, context.d), context.c)


def best_edge(own: Array, theirs: Array, rows: Ints) -> Ints:
    """The edge to each agent's best neighbour, ``(a,)``; -1 where none beats the agent itself.

    Parameters
    ----------
    own : (a,) array
        Scores of the agents, larger is better.
    theirs : (e,) array
        Scores of their neighbours, NaN where unknown.
    rows : (e,) int array
        Whose neighbours they are, ascending.
    """
    best = own.copy()
    np.fmax.at(best, rows, theirs)
    edges = np.flatnonzero((theirs == best[rows]) & (theirs > own[rows]))
    result = np.full(len(own), -1)
    result[rows[edges][::-1]] = edges[::-1]  # of equals the first
    return result

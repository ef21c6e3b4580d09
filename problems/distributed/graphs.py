"""The graphs of distributed problems, with Metropolis weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bbopt.spec import Agents

Pairs = npt.NDArray[np.int64]

# fmt: off
BENCHMARK = (
    (0, 3), (0, 8), (0, 12), (1, 3), (1, 15), (1, 17), (2, 6), (2, 12), (2, 17), (3, 18),
    (4, 5), (4, 8), (4, 13), (5, 7), (5, 14), (6, 16), (6, 19), (7, 9), (7, 10), (8, 13),
    (9, 14), (9, 16), (10, 17), (10, 18), (11, 12), (11, 16), (11, 19), (13, 15), (14, 18),
    (15, 19),
)
# fmt: on
"""The 3-regular graph of 20 agents on which MASOIE and its successors are compared."""


def agents(n: int, edges: npt.ArrayLike) -> Agents:
    """Agents with edges ``(m, 2)`` and Metropolis weights 1/(1 + max(d_i, d_j))."""
    pairs = np.asarray(edges, dtype=np.int64).reshape(-1, 2)
    degrees = np.bincount(pairs.ravel(), minlength=n)
    weights = 1 / (1 + degrees[pairs].max(axis=1, initial=0))
    rows = zip(*pairs.T.tolist(), weights.tolist(), strict=True)
    return Agents(n, tuple(rows))


def cubic(n: int, seed: int) -> Agents:
    """A graph of ``n`` agents with three neighbours each, drawn from ``seed``.

    The one of the benchmark for 20 agents. A ring where there is no such graph (an odd number,
    or fewer than 4).

    Raises
    ------
    MissingExtra
        If it must be drawn and networkx is not installed.
    """
    if n == 1 + max(j for _, j in BENCHMARK):
        return agents(n, BENCHMARK)
    if n % 2 or n < 4:
        ring = np.column_stack([np.arange(n), np.roll(np.arange(n), -1)])
        return agents(n, ring if n > 2 else ring[: n - 1])
    from bbopt.lacmas import topology

    return agents(n, topology.build("regular:d=3", n, seed).edges)


def grid(side: int) -> Agents:
    """``side`` × ``side`` agents, row by row, each linked to those beside it."""
    places = np.arange(side * side).reshape(side, side)
    beside = np.column_stack([places[:, :-1].ravel(), places[:, 1:].ravel()])
    below = np.column_stack([places[:-1].ravel(), places[1:].ravel()])
    return agents(side * side, np.concatenate([beside, below]))

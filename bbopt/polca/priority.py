"""Which candidates are evaluated again and proposed from: priorities and the Pareto front.

A selection is any callable ``(memory, k, free, rng) -> list of at most k candidates``, where
``free`` (n,) bool says which candidates may be selected.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from bbopt.polca.memory import Memory
from bbopt.space import Array

ROUNDING = 1e-12
"""Share of itself by which a mean may differ from another that is the same in another order."""

Free: TypeAlias = npt.NDArray[np.bool_]
Selection: TypeAlias = Callable[[Memory, int, Free, np.random.Generator], list[int]]


def mean_priority(memory: Memory) -> Array:
    """Minus the mean loss of all evaluations ever seen (POLCA's default); (n,), -inf if none."""
    return np.where(memory.count > 0, -memory.mean, -np.inf)


def ucb_priority(memory: Memory, scale: float, prior: float = 0.0) -> Array:
    r"""The upper confidence bound :math:`-\hat\ell + c\,\sigma\sqrt{\ln(N + 2) / (n + w)}`; (n,).

    Parameters
    ----------
    memory : Memory
        N is the number of its evaluations, n that of a candidate.
    scale : float
        :math:`c\,\sigma`: how wide, in units of the loss, >= 0.
    prior : float
        w: as many evaluations with the mean loss of its parent count as a candidate's own in
        :math:`\hat\ell`, >= 0: a child is what its parent is until it has shown otherwise.
    """
    count, mean = memory.count, memory.mean
    parent = np.where(memory.parent >= 0, memory.parent, np.arange(len(memory))).astype(int)
    expected = np.where(memory.count[parent] > 0, mean[parent], mean)
    weight = np.maximum(count + prior, 1)
    estimate = (count / weight) * mean + (prior / weight) * expected  # huge losses stay finite
    bonus = scale * np.sqrt(math.log(memory.total + 2) / weight)
    return np.where(count > 0, -estimate + bonus, -np.inf)


def top(priorities: Array, k: int, free: Free) -> list[int]:
    """The at most ``k`` free candidates of the highest priority; the newest wins a tie."""
    allowed = np.flatnonzero(free)
    order = np.lexsort((-allowed, -priorities[allowed]))
    return [int(i) for i in allowed[order[:k]]]


def pareto_front(memory: Memory, k: int, free: Free, rng: np.random.Generator) -> list[int]:
    """``k`` draws without replacement from the candidates that are best at some example.

    A candidate's weight is the number of examples at which none has a smaller mean loss.
    Falls back on the mean where evaluations are not about examples.
    """
    least: dict[int, float] = {}
    for known in memory.by_example:
        for example, (_, mean) in known.items():
            least[example] = min(mean, least.get(example, math.inf))
    wins = np.array(
        [
            sum(math.isclose(mean, least[e], rel_tol=ROUNDING) for e, (_, mean) in known.items())
            for known in memory.by_example
        ],
        dtype=float,
    )
    weight = np.where(free, wins, 0.0)
    n = min(k, int((weight > 0).sum()))
    if n == 0:
        return top(mean_priority(memory), k, free)
    chosen = rng.choice(len(weight), size=n, replace=False, p=weight / weight.sum())
    return [int(i) for i in chosen]

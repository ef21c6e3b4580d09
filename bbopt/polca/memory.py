"""Memory: every candidate with all that was observed of it (spec of POLCA: the queue Q)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bbopt.space import Array, Params, Space
from bbopt.trial import LARGEST, Feedback, Outcome, pool_moments

KEPT = 6
"""Rollouts kept a candidate, besides its best and its worst; their statistics are kept for ever."""


@dataclass(frozen=True)
class Rollout:
    """One evaluation of a candidate as a proposer may see it.

    Parameters
    ----------
    example : int or None
        The example that it was about.
    loss : float
        Finite; smaller is better.
    feedback : str or mapping of str
        What the evaluation said.
    """

    example: int | None
    loss: float
    feedback: Feedback

    def to_json(self) -> list[Any]:
        """JSON values, the positional arguments of this class."""
        plain = self.feedback if isinstance(self.feedback, str) else dict(self.feedback)
        return [self.example, self.loss, plain]


class Memory:
    """Candidates 0, 1, ... in the order in which they were admitted; none is ever dropped.

    ``count``, ``failed`` (n,) int64, ``mean`` (n,) (NaN without a value) and ``m2`` (n,)
    are the statistics of all losses of each candidate; ``parent`` (n,) int64 is -1 for a
    candidate that nobody proposed.

    Parameters
    ----------
    space : Space
        Gives the identity of params.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        self._index: dict[Hashable, int] = {}
        self.params: list[Params] = []
        self.rollouts: list[list[Rollout]] = []
        self.by_example: list[dict[int, tuple[int, float]]] = []
        """Of each candidate: example -> number of losses and their mean."""
        self._numbers = np.zeros((5, 16))  # parent, count, failed, mean, m2
        self.within = 0.0
        """Sum of squared deviations from the candidates' own means, over all evaluations."""
        self.degrees = 0
        """Degrees of freedom of ``within``."""
        self.total = 0
        """Finite evaluations of all candidates."""

    def __len__(self) -> int:
        return len(self.params)

    @property
    def parent(self) -> Array:
        """Who each candidate was made from; -1 for nobody."""
        return self._numbers[0, : len(self)]

    @property
    def count(self) -> Array:
        """Finite evaluations of each candidate."""
        return self._numbers[1, : len(self)]

    @property
    def failed(self) -> Array:
        """Evaluations of each candidate that gave nothing."""
        return self._numbers[2, : len(self)]

    @property
    def mean(self) -> Array:
        """Mean loss of each candidate; NaN without a value."""
        return self._numbers[3, : len(self)]

    @property
    def m2(self) -> Array:
        """Sum of squared deviations of each candidate's losses from their mean."""
        return self._numbers[4, : len(self)]

    @property
    def sd(self) -> float:
        """Standard deviation of one evaluation, pooled over candidates; 0 where unknown."""
        return math.sqrt(self.within / self.degrees) if self.degrees else 0.0

    def find(self, params: Params) -> int | None:
        """The candidate with these params, or None."""
        return self._index.get(self._space.key(params))

    def admit(self, params: Params, parent: int = -1) -> int:
        """Add a candidate without any evaluation; the one that has these params already."""
        known = self.find(params)
        if known is not None:
            return known
        new = len(self)
        if new == self._numbers.shape[1]:
            self._numbers = np.concatenate([self._numbers, np.zeros_like(self._numbers)], axis=1)
        self._index[self._space.key(params)] = new
        self.params.append(params)
        self.rollouts.append([])
        self.by_example.append({})
        self._numbers[:, new] = parent, 0, 0, math.nan, 0.0
        return new

    def record(self, candidate: int, outcome: Outcome, examples: Sequence[int] = ()) -> None:
        """Pool an outcome, given as losses, with what is known of a candidate.

        Parameters
        ----------
        candidate : int
            Whose it is.
        outcome : Outcome
            Any: failures are counted and kept out of the mean.
        examples : sequence of int
            The example of each value, or empty.
        """
        _, count, failed, mean, m2 = self._numbers[:, candidate].tolist()
        self._numbers[2, candidate] = failed + outcome.failed
        if not outcome.count:
            return
        n, new_mean, new_m2 = pool_moments(
            int(count), mean, m2, outcome.count, outcome.mean, outcome.m2
        )
        self._numbers[1, candidate], self._numbers[3:, candidate] = n, (new_mean, new_m2)
        self.within = min(self.within + (new_m2 - m2), LARGEST)
        self.degrees += (n - 1) - max(int(count) - 1, 0)
        self.total += outcome.count
        for i, loss in enumerate(outcome.values):
            if math.isfinite(loss):
                example = examples[i] if i < len(examples) else None
                feedback = outcome.feedback[i] if outcome.feedback else ""
                self._keep(candidate, Rollout(example, loss, feedback))

    def _keep(self, candidate: int, rollout: Rollout) -> None:
        if rollout.example is not None:
            known = self.by_example[candidate]
            n, mean = known.get(rollout.example, (0, 0.0))
            known[rollout.example] = n + 1, mean + (rollout.loss - mean) / (n + 1)
        kept = self.rollouts[candidate]
        kept.append(rollout)
        if len(kept) > KEPT + 2:
            order = sorted(range(len(kept)), key=lambda i: kept[i].loss)
            extreme = {order[0], order[-1]}
            del kept[next(i for i in range(len(kept)) if i not in extreme)]

    def to_state(self) -> dict[str, Any]:
        """JSON values and arrays."""
        return {
            "params": list(self.params),
            "numbers": self._numbers[:, : len(self)].copy(),
            "rollouts": [[r.to_json() for r in kept] for kept in self.rollouts],
            "by_example": [
                [[example, n, mean] for example, (n, mean) in known.items()]
                for known in self.by_example
            ],
            "within": self.within,
            "degrees": self.degrees,
            "total": self.total,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], space: Space) -> Memory:
        """The memory that :meth:`to_state` described."""
        memory = cls(space)
        for params in state["params"]:
            memory.admit(space.validate(params))
        memory._numbers[:, : len(memory)] = state["numbers"]
        memory.rollouts = [[Rollout(*r) for r in kept] for kept in state["rollouts"]]
        memory.by_example = [
            {int(example): (n, mean) for example, n, mean in known} for known in state["by_example"]
        ]
        memory.within, memory.degrees = state["within"], state["degrees"]
        memory.total = state["total"]
        return memory

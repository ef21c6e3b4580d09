"""Archive: what was observed at every unique params, pooled, and which of them to deploy."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any

import numpy as np

from bbopt.space import Params, Space
from bbopt.trial import LARGEST, Best, Outcome, pool_moments

CONFIDENCE = 2.0
"""How many standard errors a candidate is marked down by before it is compared."""


class Archive:
    """Pooled losses (smaller is better) of every unique params.

    The candidate to deploy has the least ``mean + 2 sd / sqrt(count)``, where sd is the
    standard deviation of one evaluation, pooled over all repeats: two good values beat one
    lucky one. Where nothing was evaluated twice (or the problem is deterministic) nothing is
    known of the noise, and the least mean is taken. The earliest wins a tie.

    Parameters
    ----------
    space : Space
        Gives the identity of params.
    deterministic : bool
        Take the least mean, whatever the repeats say.
    """

    def __init__(self, space: Space, *, deterministic: bool = False) -> None:
        self._space = space
        self._deterministic = deterministic
        self._index: dict[Hashable, int] = {}
        self._params: list[Params] = []
        self._count = np.zeros(8, dtype=np.int64)
        self._mean = np.full(8, np.inf)
        self._m2 = np.zeros(8)
        self._feasible = np.ones(8, dtype=bool)
        self._degrees = 0  # of freedom behind the pooled variance
        self._within = 0.0  # sum of squared deviations within candidates

    def __len__(self) -> int:
        return len(self._params)

    def add(self, params: Params, outcome: Outcome) -> None:
        """Pool an outcome, given as losses, with what is known of its params."""
        if not outcome.count:
            return
        key = self._space.key(params)
        i = self._index.setdefault(key, len(self._params))
        if i == len(self._params):
            self._params.append(params)
            if i == len(self._count):
                self._grow()
        old = int(self._count[i]), float(self._mean[i]), float(self._m2[i])
        count, mean, m2 = pool_moments(*old, outcome.count, outcome.mean, outcome.m2)
        self._degrees += (count - 1) - max(old[0] - 1, 0)
        self._within = min(self._within + (m2 - old[2]), LARGEST)
        self._count[i], self._mean[i], self._m2[i] = count, mean, m2
        self._feasible[i] &= outcome.feasible

    def mean(self, params: Params) -> float | None:
        """The mean loss observed at ``params``, or None."""
        i = self._index.get(self._space.key(params))
        return None if i is None else float(self._mean[i])

    def top(self, k: int) -> list[Best]:
        """The ``k`` best feasible candidates, best first, with their losses as values."""
        n = len(self)
        score = np.where(self._feasible[:n], self._mean[:n], np.inf)
        if self._degrees and not self._deterministic:
            sd = math.sqrt(self._within / self._degrees)
            score = score + CONFIDENCE * sd / np.sqrt(self._count[:n])
        if k == 1:
            order = [int(np.argmin(score))] if n else []
        else:
            order = np.argsort(score, kind="stable")[:k].tolist()
        return [self._best(i) for i in order if self._feasible[i]]

    def _best(self, i: int) -> Best:
        count = int(self._count[i])
        stderr = math.sqrt(self._m2[i] / (count - 1) / count) if count > 1 else None
        return Best(self._params[i], float(self._mean[i]), stderr, count)

    def _grow(self) -> None:
        for name in ("_count", "_mean", "_m2", "_feasible"):
            array = getattr(self, name)
            setattr(self, name, np.concatenate([array, np.zeros_like(array)]))
        self._feasible[len(self) - 1 :] = True

    def to_state(self) -> dict[str, Any]:
        """JSON values and arrays."""
        n = len(self)
        return {
            "params": list(self._params),
            "count": self._count[:n].copy(),
            "mean": self._mean[:n].copy(),
            "m2": self._m2[:n].copy(),
            "feasible": self._feasible[:n].copy(),
            "degrees": self._degrees,
            "within": self._within,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], space: Space, *, deterministic: bool) -> Archive:
        """The archive that :meth:`to_state` described."""
        archive = cls(space, deterministic=deterministic)
        archive._params = [space.validate(params) for params in state["params"]]
        archive._index = {space.key(params): i for i, params in enumerate(archive._params)}
        for name in ("count", "mean", "m2", "feasible"):
            room = getattr(archive, f"_{name}")
            known = np.asarray(state[name], dtype=room.dtype)
            setattr(archive, f"_{name}", np.concatenate([known, room]))
        archive._degrees, archive._within = state["degrees"], state["within"]
        return archive

"""Successive halving over a random subset of the candidates, without a model."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bbopt import seeding
from bbopt.baselines.gp.table import FiniteOptimizer
from bbopt.budget import Budget
from bbopt.registry import register_optimizer
from bbopt.settings import setting
from bbopt.trial import Trial


@dataclass(frozen=True)
class HalvingSettings:
    """What the plan spends, and on how many."""

    subset: int = setting(64, "candidates that the first rung draws, at most", low=1)
    share: float = setting(0.25, "of the evaluations, what the rungs spend", low=0.0, high=1.0)
    evaluations: int | None = setting(
        None, "evaluations planned for; None: what is left at the first ask, if limited", low=1
    )


@register_optimizer("gp:halving")
class Halving(FiniteOptimizer):
    """Keeps the better half and evaluates it twice as often, until one is left; repeats that.

    Sequential halving (Karnin, Koren and Somekh 2013): every rung spends the same. The subset
    is as large as the share of the budget allows at one evaluation each. Without any budget
    the first rung evaluates once. Candidates are ranked by their mean over all their values;
    what has none, or an infeasible one, is last. While results of a rung are pending nothing
    is proposed.
    """

    Settings: ClassVar[type[Any]] = HalvingSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._kept: list[int] = []  # of the rung, or the winner alone
        self._waiting: deque[int] = deque()  # of the rung, not yet asked
        self._repeats = 0  # of the rung; 0 before the plan is made

    def _ask(self, n: int, left: Budget) -> list[Trial]:
        if not self._repeats:
            self._plan(left)
        if not self._waiting:
            if self._asked and len(self._kept) > 1:
                return []
            self._next_rung()
        most = self._repeats if left.evaluations is None else max(1, left.evaluations)
        repeats = min(self._repeats, most)
        if len(self._kept) == 1:
            return [self._trial_at(self._kept[0], repeats) for _ in range(n)]
        rung = [self._waiting.popleft() for _ in range(min(n, len(self._waiting)))]
        return [self._trial_at(row, repeats) for row in rung]

    def _plan(self, left: Budget) -> None:
        """Draw the first rung."""
        limit = min(int(self.settings.subset), len(self.candidates))
        total = self.settings.evaluations or left.evaluations
        spent = math.inf if total is None else self.settings.share * total
        size = 1
        while 2 * size <= limit and 2 * size * (rungs(size) + 1) <= spent:
            size *= 2
        self._repeats = 1 if total is None else max(1, int(spent / (size * max(rungs(size), 1))))
        rng = seeding.stream(self.seed, self.name, worker=self.worker)
        self._kept = rng.choice(len(self.candidates), size, replace=False).tolist()
        self._waiting.extend(self._kept if size > 1 else [])

    def _next_rung(self) -> None:
        """The better half, twice as often."""
        if len(self._kept) > 1:
            losses = [self._loss(row) for row in self._kept]
            order = np.argsort(losses, kind="stable")[: len(self._kept) // 2]
            self._kept = [self._kept[i] for i in order]
            if len(self._kept) > 1:
                self._repeats *= 2
                self._waiting.extend(self._kept)

    def _loss(self, row: int) -> float:
        moments = None if row in self._infeasible else self._seen.get(row)
        return math.inf if moments is None else moments[1]

    def _learn(self, row: int, count: int, value: float) -> None:
        pass  # the statistics of all methods over a table are what it ranks by


def rungs(size: int) -> int:
    """How often a power of two can be halved."""
    return size.bit_length() - 1

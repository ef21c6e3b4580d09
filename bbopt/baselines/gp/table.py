"""What the methods over a finite table of candidates share: rows, pending trials, statistics."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from bbopt import seeding
from bbopt.base import Optimizer
from bbopt.space import Params
from bbopt.spec import Table
from bbopt.trial import Moments, Outcome, Trial, pool_moments

HUGE = 1e100
"""Larger losses are cut to this: the squares of it are still finite."""


class FiniteOptimizer(Optimizer):
    """A method that only proposes rows of ``spec.candidates``.

    It maximises *values*, which are losses with their sign changed. Foreign trials count where
    their params are a row of the table, and are ignored otherwise. A failed or infeasible trial
    counts as one evaluation at the worst mean seen so far (0 before any), so that a candidate
    which always fails is not proposed for ever.
    """

    requires: ClassVar[tuple[str, ...]] = ("candidates",)
    uses_candidates: ClassVar[bool] = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.candidates: Table = self.spec.candidates  # type: ignore[assignment]  # required
        self._asked: dict[int, tuple[int, int]] = {}  # number -> row and repeats, while pending
        self._seen: dict[int, Moments] = {}  # row -> its feasible losses
        self._infeasible: set[int] = set()
        self._evaluations = 0  # told, of rows of the table
        self._worst: float | None = None
        self._params: dict[int, Params] = {}
        self._rows: dict[Any, int] | None = None

    @abstractmethod
    def _learn(self, row: int, count: int, value: float) -> None:
        """Learn that ``count`` evaluations of a row had the mean ``value``."""

    def _trial_at(self, row: int, repeats: int = 1) -> Trial:
        """The next trial, at a row."""
        params = self._params.get(row)
        if params is None:
            params = self._params[row] = self.space.validate(self.candidates[row])
        trial = Trial(self.next_number, params, repeats)
        self._asked[self.next_number] = row, repeats
        self.next_number += 1
        return trial

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        asked = None if trial.number is None else self._asked.pop(trial.number, None)
        row = self._row(trial.params) if asked is None else asked[0]
        if row is None:
            return
        self._evaluations += outcome.evaluations
        if outcome.count and outcome.feasible:
            moments = outcome.count, outcome.mean, outcome.m2
            self._seen[row] = pool_moments(*self._seen.get(row, (0, 0.0, 0.0)), *moments)
            value = -min(max(outcome.mean, -HUGE), HUGE)
            self._worst = value if self._worst is None else min(self._worst, value)
            self._learn(row, outcome.count, value)
        elif outcome.failed or not outcome.feasible:
            if outcome.count:
                self._infeasible.add(row)
            self._learn(row, 1, self._worst or 0.0)

    def _deployable(self) -> list[int]:
        """The rows with a value of which all are feasible, in the order of their first value."""
        return [row for row in self._seen if row not in self._infeasible]

    def _drawn(self) -> int:
        """A row for the next trial where nothing is known yet; the same for every method."""
        stream = seeding.stream(self.seed, "gp", worker=self.worker, number=self.next_number)
        return int(stream.integers(len(self.candidates)))

    def _row(self, params: Params) -> int | None:
        """The lowest row with these params."""
        if self._rows is None:
            rows = reversed(range(len(self.candidates)))
            self._rows = {self.space.key(self.candidates[i]): i for i in rows}
        return self._rows.get(self.space.key(params))

"""Methods whose decision is a score: candidates get a number each, and the largest is taken.

Candidates are the rows of a table, or points made for the decision; what is scored, and by
what, is up to the subclass.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bbopt import seeding
from bbopt.base import Optimizer
from bbopt.budget import Budget
from bbopt.metabo.domain import Place
from bbopt.metabo.domain_of import domain_of
from bbopt.metabo.encoding import Field
from bbopt.metabo.nap.candidates import distinct, perturbed, proposed
from bbopt.space import Array
from bbopt.trial import Outcome, Trial

HORIZON = 25
"""Evaluations that remain where no budget limits them."""

LARGEST = 1e100
"""Values are cut to this, so that their squares are finite."""

LARGEST_TABLE = 4096
"""Of a longer table a decision looks at so many rows: half of them near the best, half random."""

BEST = 5
"""Points around which candidates are made."""

PROMISING = 8
"""Candidates around which more are made once all are scored."""

N_CANDIDATES = 256
"""Points that fill the space, and points around the best, where there is no table."""

Score: TypeAlias = Callable[[Array], Array]
"""Points ``(m, d)`` in the coordinates of the encoding -> a number each, larger is better."""


class Scored(Optimizer):
    """Scores candidates and takes the best; a point is evaluated once unless that is noisy.

    A subclass writes ``_score``, and sets ``_n_startup`` and ``_n_candidates`` where it knows
    better.
    """

    uses_candidates = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._domain = domain_of(self.spec)
        self._encoding = self._domain.encoding
        rows = self._domain.candidates
        self._row_keys = None if rows is None else [x.tobytes() for x in rows]
        self._x: list[Array] = []  # of every trial told, in the order of tells
        self._utility: list[float] = []  # larger is better; NaN: failed
        self._n_startup = 0
        self._n_candidates = N_CANDIDATES

    @abstractmethod
    def _score(self, pending: Array, left: int, fields: Sequence[int]) -> Score:
        """What is maximised now.

        Parameters
        ----------
        pending : (k, d) array
            Points that were asked and not told.
        left : int
            Evaluations that remain, this one included, >= 1.
        fields : sequence of int
            The parameters that ``_fields`` chose.
        """

    def _fields(self, rng: np.random.Generator) -> Sequence[int]:
        """The parameters that vary in this decision, by their place in the encoding."""
        return range(len(self._encoding.fields))

    def _pick(self, values: Array, rng: np.random.Generator) -> int:
        """The index of the candidate taken: the largest value, the first of equals."""
        return int(np.argmax(values))

    # -- ask

    def _ask(self, n: int, left: Budget) -> list[Trial]:
        trials: list[Trial] = []
        pending = [self._encoding.encode(trial.params)[0] for trial in self.awaited]
        for _ in range(n):
            rest = HORIZON if left.evaluations is None else left.evaluations - len(trials)
            place = self._decide(pending, max(rest, 1))
            if place is None:
                break
            trials.append(self._new_trial(self._domain.params(place)))
            pending.append(place.x)
        return trials

    def _decide(self, pending: list[Array], left: int) -> Place | None:
        """Where to evaluate next; None where every row has been or will be."""
        taken: set[bytes] = set()
        if self.spec.deterministic is not False:
            taken.update(x.tobytes() for x in (*self._x, *pending))
        known = len(self._x) + len(pending)
        if known < self._n_startup:
            seed = seeding.stream_seed(self.seed, self.name, worker=self.worker)
            start = self._domain.starts(self._n_startup, seed)[known]
            if start.x.tobytes() not in taken:
                return start
        rng = self._stream(self.next_number)
        fields = self._fields(rng)
        if self._row_keys is None:
            score = self._score(self._stacked(pending), left, fields)
            varied = [self._encoding.fields[j] for j in fields]
            return Place(self._point(score, taken, varied, rng))
        rows = self._free_rows(taken, rng)
        if not len(rows):
            return None
        score = self._score(self._stacked(pending), left, fields)
        row = int(rows[self._pick(score(self._rows[rows]), rng)])
        return Place(self._rows[row], row)

    @property
    def _rows(self) -> Array:
        return np.empty((0, 0)) if self._domain.candidates is None else self._domain.candidates

    def _free_rows(self, taken: set[bytes], rng: np.random.Generator) -> npt.NDArray[np.intp]:
        """The rows of the table to look at, in order; none where it is exhausted."""
        keys: list[bytes] = self._row_keys or []
        rows = np.flatnonzero([key not in taken for key in keys])
        if not len(rows) and not self.spec.deterministic:
            rows = np.arange(len(keys))
        if len(rows) <= LARGEST_TABLE:
            return rows
        half = LARGEST_TABLE // 2
        chosen = rng.choice(rows, size=half, replace=False)
        best = self._best_points()
        if len(best):
            gaps = np.min([np.square(self._rows[rows] - x).sum(axis=1) for x in best], axis=0)
            chosen = np.concatenate([chosen, rows[np.argpartition(gaps, half)[:half]]])
        return np.unique(chosen)

    def _point(
        self, score: Score, taken: set[bytes], varied: Sequence[Field], rng: np.random.Generator
    ) -> Array:
        """The best of the candidates made for this decision, and of those around these."""
        n = self._n_candidates
        made = proposed(self._encoding, self._best_points(), n, rng, varied)
        points = distinct(made, taken)
        if not len(points):  # a space of few points that was not enumerated: noise or bad luck
            points = made
        values = score(points)
        promising = points[np.argsort(-values, kind="stable")[:PROMISING]]
        around = perturbed(self._encoding, promising, max(n // 2, 1), rng, varied)
        more = distinct(around, taken | {x.tobytes() for x in points})
        if len(more):
            points = np.concatenate([points, more])
            values = np.concatenate([values, score(more)])
        chosen: Array = points[self._pick(values, rng)]
        return chosen

    def _best_points(self) -> Array:
        """The best points told, each once, best first, ``(k, d)``."""
        utility = np.array(self._utility, dtype=float)
        order = np.argsort(-utility, kind="stable")[: np.count_nonzero(~np.isnan(utility))]
        return distinct(self._stacked(self._x)[order])[:BEST]

    def _stacked(self, points: list[Array]) -> Array:
        """Points as rows ``(n, d)``; n and d may be 0."""
        return np.array(points, dtype=float).reshape(len(points), self._encoding.d)

    # -- tell

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        if not outcome.evaluations:
            return
        is_good = bool(outcome.count) and outcome.feasible
        self._x.append(self._encoding.encode(trial.params)[0])
        self._utility.append(-min(max(outcome.mean, -LARGEST), LARGEST) if is_good else np.nan)

    # -- state

    def _state(self) -> dict[str, Any]:
        return {
            "x": self._stacked(self._x),
            "utility": np.array(self._utility, dtype=float),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._x = list(np.asarray(state["x"], dtype=float))
        self._utility = np.asarray(state["utility"], dtype=float).tolist()

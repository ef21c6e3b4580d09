"""``nap``: the acquisition that a network has learned, behind ask and tell.

A decision is one pass of the network over the history and over candidates: the rows of a table,
or points made for it (:mod:`.candidates`). Results may be told in any order, since a history is
a set. What we changed of Maraval et al. 2023 (arXiv:2305.15930): nothing is normalised by what
only an oracle knows, continuous and mixed spaces get candidates of their own, and evaluations
that pend count as if they had given what is predicted of them.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bbopt import seeding
from bbopt.base import Optimizer
from bbopt.budget import Budget
from bbopt.metabo.domain import Place, domain_of
from bbopt.metabo.nap.candidates import distinct, perturbed, proposed
from bbopt.metabo.nap.choice import View, network_for
from bbopt.metabo.nap.forward import History, Prediction
from bbopt.registry import register_optimizer
from bbopt.settings import setting
from bbopt.space import Array
from bbopt.trial import Outcome, Trial

HORIZON = 25
"""Evaluations that remain where no budget limits them."""

LONGEST_HORIZON = 50
"""More than so many were not seen in training."""

LARGEST = 1e100
"""Values are cut to this, so that their squares are finite."""

LARGEST_TABLE = 4096
"""Of a longer table a decision looks at so many rows: half of them near the best, half random."""

BEST = 5
"""Points around which candidates are made."""

PROMISING = 8
"""Candidates around which more are made once all are scored."""

logger = logging.getLogger("bbopt")


@dataclass(frozen=True)
class NAPSettings:
    """The settings of ``nap``."""

    weights: str = setting(
        "auto",
        "a weight file, or the name of one that comes with bbopt; 'auto': the one for a space of "
        "these names, ranges and scales, else nap_generic",
    )
    acquisition: str = setting(
        "nap",
        "what is maximised: the learned acquisition, the expected improvement (ei) or the mean of "
        "the same network's prediction",
        choices=("nap", "ei", "mean"),
    )
    temperature: float = setting(
        0.0, "candidates are drawn with odds exp(acquisition / temperature); 0: the largest", low=0
    )
    n_startup_trials: int | None = setting(
        None,
        "points that fill the space first; None: none with weights for the space, else d + 1, "
        "at most 5",
        low=0,
    )
    n_candidates: int = setting(
        256,
        "points that fill the space, and points around the best, that a decision looks at where "
        "there is no table",
        low=1,
    )
    failures: str = setting(
        "worst",
        "a failed or infeasible trial counts as worse than all others, or is left out (skip)",
        choices=("worst", "skip"),
    )


@register_optimizer("nap")
class NAP(Optimizer):
    """Neural acquisition process (Maraval et al. 2023): one forward pass a decision.

    Weights for one space transfer what was learned from earlier tasks in it; ``nap_generic``
    knows of no space. Of more parameters than the network has columns (16), each decision looks
    at a random few and leaves the others as in the best point (Li et al. 2017, *High
    dimensional Bayesian optimization using dropout*). Of a history longer than those in training
    (50) it sees the better and the later half. A point is evaluated once unless the problem is
    known to be noisy.

    Raises
    ------
    UsageError
        If the weights cannot be read.
    UnsupportedSpec
        If they are for another space.
    """

    Settings = NAPSettings
    uses_candidates = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._network = network_for(self.space, self.settings.weights)
        self._domain = domain_of(self.spec)
        self._encoding = self._domain.encoding
        self._view = View(self._encoding, self._network)
        rows = self._domain.candidates
        self._row_keys = None if rows is None else [x.tobytes() for x in rows]
        self._x: list[Array] = []  # of every trial told, in the order of tells
        self._utility: list[float] = []  # larger is better; NaN: failed
        n = self.settings.n_startup_trials
        if n is None:
            is_generic = self._network.metadata.space is None
            n = min(self._encoding.d + 1, 5) if is_generic else 0
        self._starts = self._domain.starts(n, self._start_seed()) if n else []
        self._warned: set[str] = set()
        if self._view.is_too_wide:
            self._warn(
                "columns",
                f"optimizer 'nap' looks at {self._view.columns} of {self._encoding.d} columns at "
                "a time, drawn anew for each trial",
            )

    def _start_seed(self) -> int:
        return seeding.stream_seed(self.seed, self.name, worker=self.worker)

    # -- ask

    def _ask(self, n: int, left: Budget) -> list[Trial]:
        trials: list[Trial] = []
        pending = [self._encoding.encode(trial.params)[0] for trial in self.pending]
        for _ in range(n):
            rest = HORIZON if left.evaluations is None else left.evaluations - len(trials)
            place = self._decide(pending, min(max(rest, 1), LONGEST_HORIZON))
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
        if known < len(self._starts):
            start = self._starts[known]
            if start.x.tobytes() not in taken:
                return start
        rng = self._stream(self.next_number)
        fields = self._view.fields(rng)
        history = self._read(pending, fields, left)
        if self._row_keys is None:
            return Place(self._point(history, taken, fields, left, rng))
        rows = self._free_rows(taken, rng)
        if not len(rows):
            return None
        row = int(rows[self._pick(self._scored(history, self._rows[rows], fields, left), rng)])
        return Place(self._rows[row], row)

    @property
    def _rows(self) -> Array:
        assert self._domain.candidates is not None
        return self._domain.candidates

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
        self,
        history: History,
        taken: set[bytes],
        fields: list[int],
        left: int,
        rng: np.random.Generator,
    ) -> Array:
        """The best of the candidates made for this decision, and of those around these."""
        varied = [self._encoding.fields[j] for j in fields]
        n = self.settings.n_candidates
        made = proposed(self._encoding, self._best_points(), n, rng, varied)
        points = distinct(made, taken)
        if not len(points):  # a space of few points that was not enumerated: noise or bad luck
            points = made
        values = self._scored(history, points, fields, left)
        promising = points[np.argsort(-values, kind="stable")[:PROMISING]]
        around = perturbed(self._encoding, promising, max(n // 2, 1), rng, varied)
        more = distinct(around, taken | {x.tobytes() for x in points})
        if len(more):
            points = np.concatenate([points, more])
            values = np.concatenate([values, self._scored(history, more, fields, left)])
        chosen: Array = points[self._pick(values, rng)]
        return chosen

    def _read(self, pending: list[Array], fields: list[int], left: int) -> History:
        """What the network knows: the history, and what pends at its predicted values."""
        limit = self._network.metadata.history
        waiting = self._stacked(pending[-(limit // 2) :])
        shown = self._shown(limit - len(waiting))
        x = self._stacked(self._x)[shown]
        utility = np.array(self._utility)[shown]
        history = self._network.read(self._view.of(x, fields), utility)
        if not len(waiting):
            return history
        points = self._view.of(waiting, fields)
        return self._network.extend(history, points, self._network.score(history, points, left).z)

    def _shown(self, limit: int) -> npt.NDArray[np.intp]:
        """Which trials the network sees: all, or the better half and, of the others, the latest."""
        utility = np.array(self._utility, dtype=float)
        told = np.arange(len(utility))
        if self.settings.failures == "skip":
            told = told[~np.isnan(utility)]
        n = len(told)
        if n <= limit:
            return told
        self._warn(
            "history",
            f"optimizer 'nap' sees {limit} of {n} trials, the better half and the latest: no more "
            "were seen in training",
        )
        best = told[np.argsort(-utility[told], kind="stable")[: (limit + 1) // 2]]  # NaN is last
        others = np.setdiff1d(told, best)
        return np.sort(np.concatenate([best, others[-(limit // 2) :]]))

    def _scored(self, history: History, points: Array, fields: list[int], left: int) -> Array:
        """What is maximised, at ``(m, d)`` points."""
        found: Prediction = self._network.score(history, self._view.of(points, fields), left)
        names = {"nap": found.acquisition, "ei": found.log_ei, "mean": found.mean}
        return names[self.settings.acquisition]

    def _pick(self, values: Array, rng: np.random.Generator) -> int:
        """The index of the largest value, the first of equals, or one drawn in proportion."""
        if not self.settings.temperature:
            return int(np.argmax(values))
        # Gumbel noise makes the largest sum a draw from the softmax
        return int(np.argmax(values / self.settings.temperature + rng.gumbel(size=len(values))))

    def _best_points(self) -> Array:
        """The best points told, each once, best first, ``(k, d)``."""
        utility = np.array(self._utility, dtype=float)
        order = np.argsort(-utility, kind="stable")[: np.count_nonzero(~np.isnan(utility))]
        points = self._stacked(self._x)[order]
        return distinct(points)[:BEST]

    def _stacked(self, points: list[Array]) -> Array:
        """Points as rows ``(n, d)``; n and d may be 0."""
        return np.array(points, dtype=float).reshape(len(points), self._encoding.d)

    def _warn(self, cause: str, message: str) -> None:
        if cause not in self._warned:
            self._warned.add(cause)
            logger.warning("%s", message)

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

"""``nap``: the acquisition that a network has learned, behind ask and tell.

A decision is one pass of the network over the history and over candidates: the rows of a table,
or points made for it (:mod:`.candidates`). Results may be told in any order, since a history is
a set. What we changed of Maraval et al. 2023 (arXiv:2305.15930): nothing is normalised by what
only an oracle knows, continuous and mixed spaces get candidates of their own, and evaluations
that pend count as if they had given what is predicted of them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from bbopt.metabo.nap.choice import View, network_for
from bbopt.metabo.nap.forward import History, Prediction
from bbopt.metabo.scored import Score, Scored
from bbopt.registry import register_optimizer
from bbopt.settings import setting
from bbopt.space import Array

LONGEST_HORIZON = 50
"""More evaluations to come than so many were not seen in training."""

VALUES: dict[str, Callable[[Prediction], Array]] = {
    "nap": lambda found: found.acquisition,
    "ei": lambda found: found.log_ei,
    "mean": lambda found: found.utility.mean,
}
"""What is maximised, by the name that the setting ``acquisition`` has for it."""

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
        choices=tuple(VALUES),
    )
    temperature: float = setting(
        0.0, "candidates are drawn with odds exp(acquisition / temperature); 0: the largest", low=0
    )
    n_startup_trials: int | None = setting(
        None,
        "points that fill the space first; None: none with weights for the space, else one",
        low=0,
    )
    n_candidates: int = setting(
        128,
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
class NAP(Scored):
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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._network = network_for(self.space, self.settings.weights)
        self._view = View(self._encoding, self._network)
        self._n_candidates = self.settings.n_candidates
        n = self.settings.n_startup_trials
        if n is None:
            n = int(self._network.metadata.space is None)
        self._n_startup = n
        self._warned: set[str] = set()
        if self._view.is_too_wide:
            self._warn(
                "columns",
                f"optimizer 'nap' looks at {self._view.columns} of {self._encoding.d} columns at "
                "a time, drawn anew for each trial",
            )

    def _fields(self, rng: np.random.Generator) -> Sequence[int]:
        return self._view.fields(rng)

    def _score(self, pending: Array, left: int, fields: Sequence[int]) -> Score:
        left = min(left, LONGEST_HORIZON)
        history = self._read(pending, fields, left)

        def score(points: Array) -> Array:
            found = self._network.score(history, self._view.of(points, fields), left)
            return VALUES[self.settings.acquisition](found)

        return score

    def _read(self, pending: Array, fields: Sequence[int], left: int) -> History:
        """What the network knows: the history, and what pends at its predicted values."""
        limit = self._network.metadata.history
        waiting = pending[-(limit // 2) :]
        shown = self._shown(limit - len(waiting))
        x, utility = self._stacked(self._x)[shown], np.array(self._utility)[shown]
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

    def _pick(self, values: Array, rng: np.random.Generator) -> int:
        """The index of the largest value, the first of equals, or one drawn in proportion."""
        if not self.settings.temperature:
            return int(np.argmax(values))
        # Gumbel noise makes the largest sum a draw from the softmax
        return int(np.argmax(values / self.settings.temperature + rng.gumbel(size=len(values))))

    def _warn(self, cause: str, message: str) -> None:
        if cause not in self._warned:
            self._warned.add(cause)
            logger.warning("%s", message)

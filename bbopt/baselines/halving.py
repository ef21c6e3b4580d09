"""Successive halving of random points, for noisy evaluations and no model.

Karnin, Koren and Somekh (2013), *Almost optimal exploration in multi-armed bandits*: of n points
every rung keeps the better half and spends as much as the one before it, so that the last two
are compared by n/2 times as many evaluations as the first n. Over a table of candidates there is
``gp:halving``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from bbopt.base import Optimizer
from bbopt.baselines.minibatch import affordable
from bbopt.budget import Budget
from bbopt.registry import register_optimizer
from bbopt.settings import setting
from bbopt.space import Params
from bbopt.trial import Outcome, Trial

MOST_RUNGS = 10
"""A bracket starts with at most two to that many points; what is left pays for further ones."""


@dataclass(frozen=True)
class HalvingSettings:
    """The settings of ``halving``."""

    points: int | None = setting(
        None, "n, a power of two is best; None: as many as the evaluations left pay for", low=2
    )


@register_optimizer("halving")
class Halving(Optimizer):
    """Evaluates random points, keeps the better half, evaluates that twice as often, and so on.

    With N evaluations left at the first ask, n is the greatest power of two with n log2 n <= N,
    1,024 at most, and 64 where they are not limited. Points are ranked by the mean of all their
    values; one that failed or is infeasible is last. While results of a rung are pending nothing
    is proposed; after the last rung it starts again with new points.
    """

    Settings: ClassVar[type[Any]] = HalvingSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._rung: list[Params] = []
        self._n_asked = 0  # of the rung
        self._repeats = 1

    def _ask(self, n: int, left: Budget) -> list[Trial]:
        if self._n_asked == len(self._rung):
            if self.pending:
                return []
            self._next_rung(left)
        repeats = affordable(self._repeats, left)
        rung = self._rung[self._n_asked : self._n_asked + n]
        self._n_asked += len(rung)
        return [self._new_trial(params, repeats) for params in rung]

    def _next_rung(self, left: Budget) -> None:
        """The better half, twice as often; or new points, once each."""
        self._n_asked = 0
        if len(self._rung) > 2:
            # all of a rung have as many values: the archive's order is that of their means
            known = [self.space.key(best.params) for best in self._archive.top(len(self._archive))]
            rank = {key: place for place, key in enumerate(known)}
            last = len(known)
            self._rung.sort(key=lambda params: rank.get(self.space.key(params), last))
            self._rung = self._rung[: len(self._rung) // 2]
            self._repeats *= 2
            return
        self._repeats = 1
        size = self.settings.points or _affordable(left.evaluations)
        rng = self._stream(self.next_number)
        self._rung = self.space.sample(rng, size)

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        pass  # the archive is what it ranks by

    def _state(self) -> dict[str, Any]:
        return {"rung": self._rung, "asked": self._n_asked, "repeats": self._repeats}

    def _restore(self, state: dict[str, Any]) -> None:
        self._rung, self._n_asked = state["rung"], state["asked"]
        self._repeats = state["repeats"]


def _affordable(evaluations: int | None) -> int:
    """The greatest power of two n, 2 to 1,024, with n log2 n <= evaluations; 64 without limit."""
    if evaluations is None:
        return 64
    rungs = 1
    while rungs < MOST_RUNGS and 2 ** (rungs + 1) * (rungs + 1) <= evaluations:
        rungs += 1
    return int(2**rungs)

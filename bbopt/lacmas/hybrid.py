"""Swarms first, then descent by gossip: quasi-Newton where the objective is smooth enough.

Swarms find the region in a twentieth of the budget; what they then need hundreds of exchanges of
whole swarms for, gossip on slopes does with a few vectors. Where descent has ended in a valley,
fresh swarms look for another one, until the budget is spent or the best valley has been found again
and again. Where values are too rough for differences, evolution strategies that share their
directions (CCSA-DES) go on instead: at once where there is noise, with the second half of the
budget where there are kinks and steps. Where mixing does not keep the mean (late messages, or lost
ones in one direction alone) gossip does not converge, and swarms go on alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from bbopt.lacmas.ccsa_des import CcsaDes
from bbopt.lacmas.draws import Draws
from bbopt.lacmas.gossip import Gossip, flood
from bbopt.lacmas.masoie import Masoie
from bbopt.lacmas.network import Network
from bbopt.lacmas.quasi_newton import QuasiNewton, round_cost
from bbopt.lacmas.search import Array, Batch, Box, Search
from bbopt.lacmas.spectrum import Spectrum

SWARM_SHARE = 0.05
"""The share of the budget that swarms have, each time."""
LEAST_ROUNDS = 5
"""They have at least what so many rounds of descent cost; where that is all there is, all of it."""
UNLIMITED_ROUNDS = 20
"""What they have where the budget says nothing of evaluations, in such rounds."""
VALLEYS_SHARE = 0.5
"""Where there are kinks, no valley is looked for after this share of the budget."""
AGAIN = 2
"""The best valley has been found for good when so many later descents have ended there."""
SAME = 1e-3
"""Points are the same when no coordinate differs by more, in units of the box's edges."""


class Hybrid(Search):
    """One search after the other; see the module and :class:`~bbopt.lacmas.search.Search`.

    Parameters
    ----------
    swarms : callable
        ``(evaluations, draws) -> Masoie``: where a descent starts.
    known : Spectrum
        The eigenvalues of the network's weights.
    """

    shared: ClassVar[tuple[str, ...]] = ("begun", "chain", "spent", "rank", "is_rough", "again")

    def __init__(
        self,
        network: Network,
        box: Box,
        draws: Draws,
        budget: int | None,
        swarms: Callable[[int, Draws], Masoie],
        known: Spectrum,
    ) -> None:
        super().__init__(network, box, draws, budget)
        self._known = known
        self._gossip = Gossip(network, known)
        self._new_swarms = swarms
        self._weights = network.weights.copy()  # those that ``known`` is of
        self.begun = 1  # searches
        self.chain = 0  # descents that have ended
        self.spent = 0  # evaluations of an agent when the last swarms began
        self.kept: Array | None = None  # the best end of a search, (a, d)
        self.kept_losses: Array = np.full(len(network.agents), np.nan)
        self.rank: list[float] | None = None  # how many cannot say what it is worth, and its mean
        self.is_rough = False  # whether a descent has met kinks
        self.again = 0  # descents that have ended at the best end after it
        self._swarms = self._fresh_swarms()
        self.stage: Search = self._swarms

    def propose(self) -> Batch | None:
        """What the search at work proposes; the next one takes over where it has ended."""
        batch = self.stage.propose()
        if batch is None and self._go_on():
            return self.propose()
        return batch

    def accept(self, values: Array) -> None:
        """Hand them to the search at work."""
        self.stage.accept(values)
        self._count()

    @property
    def points(self) -> Array:
        """Where the best search has ended, or where the first one is."""
        return self.stage.points if self.kept is None else self.kept

    @property
    def losses(self) -> Array:
        """Each agent's own loss there."""
        return self.stage.losses if self.kept is None else self.kept_losses

    def diagnostics(self) -> dict[str, float]:
        """Those of the swarms, and how many searches have begun."""
        return self._swarms.diagnostics() | {"stage": self.begun}

    def state(self) -> dict[str, Any]:
        """That of the search at work, the best end, and the guide, whose spending counts."""
        gather = self.network.gather
        kept = None if self.kept is None else [gather(self.kept), gather(self.kept_losses)]
        return {name: getattr(self, name) for name in self.shared} | {
            "kept": kept,
            "stage": type(self.stage).__name__,
            "search": self.stage.state(),
            "guide": self._swarms.guide.state(self.network),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` returned, on any number of ranks."""
        for name in self.shared:
            setattr(self, name, state[name])
        if state["kept"] is not None:
            mine = self.network.agents
            self.kept, self.kept_losses = (np.array(part)[mine] for part in state["kept"])
        self._swarms = self._fresh_swarms()
        begin = {QuasiNewton.__name__: self._descent, CcsaDes.__name__: self._strategies}
        at_work = state["stage"]
        self.stage = begin[at_work](None) if at_work in begin else self._swarms
        self.stage.restore(state["search"])
        self._swarms.guide.restore(state["guide"], self.network)
        self._count()

    def _count(self) -> None:
        self.evaluations = self.stage.evaluations
        self.round_ = self.stage.round_

    # --- what comes next ------------------------------------------------------------------

    def _go_on(self) -> bool:
        """Start the next search, if there is one; the same on every rank."""
        if not np.array_equal(self.network.weights, self._weights):
            self.network.weights = self._weights  # a guide had others: gossip needs these
        last, following = self.stage, self._following()
        if following is None or not self.network.living.any():
            return False
        following.evaluations = last.evaluations.copy()
        following.round_ = last.round_
        self.stage = following
        self.begun += 1
        return True

    def _following(self) -> Search | None:
        last = self.stage
        if isinstance(last, Masoie):
            return self._descent(last.points) if self.network.keeps_the_mean else None
        self._keep(last)
        if not isinstance(last, QuasiNewton) or last.ending in ("budget", "parted"):
            return None
        if last.ending == "noise":
            return self._strategies(self.kept)
        self.chain += 1
        share = VALLEYS_SHARE if self.is_rough else 1 - SWARM_SHARE
        if self.again < AGAIN and self._has_spent_less(share):
            self.spent = int(self.network.gather(last.evaluations).max())
            self._swarms = self._fresh_swarms()
            return self._swarms
        return self._strategies(self.kept) if self.is_rough else None

    def _fresh_swarms(self) -> Masoie:
        cost = round_cost(self.box.d)
        if self.budget is not None and not self.network.keeps_the_mean:
            share = self.budget
        elif self.budget is None:
            share = UNLIMITED_ROUNDS * cost
        else:
            share = max(int(SWARM_SHARE * self.budget), min(self.budget, LEAST_ROUNDS * cost))
        swarms = self._new_swarms(share, self.draws.fork(self.chain))
        swarms.budget = self.spent + share
        return swarms

    def _descent(self, start: Array | None) -> QuasiNewton:
        return QuasiNewton(self.network, self.box, self.draws, self.budget, self._known, start)

    def _strategies(self, start: Array | None) -> CcsaDes:
        return CcsaDes(self.network, self.box, self.draws, self.budget, start)

    def _has_spent_less(self, share: float) -> bool:
        """Whether no agent has spent that share of the budget."""
        if self.budget is None:
            return True
        return not self.network.any(bool((self.evaluations > share * self.budget).any()))

    def _keep(self, last: Search) -> None:
        """Compare where a search has ended with the best end of those before."""
        self.is_rough |= isinstance(last, QuasiNewton) and last.ending == "kinks"
        known = np.isfinite(last.losses)
        told = np.stack([np.where(known, last.losses, 0.0), ~known], axis=1)
        value, unknown = flood(self.network, self._gossip.average(told)).tolist()
        rank = [round(unknown * self.network.n), value]
        points = last.points
        is_better = self.rank is None or rank < self.rank
        if self.kept is not None:
            apart = np.abs(points - self.kept) / (self.box.high - self.box.low)
            if not self.network.any(bool((apart > SAME).any())):
                self.again += 1
            elif is_better:
                self.again = 0
        if is_better:
            self.kept, self.kept_losses, self.rank = points, last.losses.copy(), rank

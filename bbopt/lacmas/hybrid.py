"""Swarms first, then descent by gossip: quasi-Newton where the objective is smooth enough.

Swarms find the region in a tenth of the budget; what they then need hundreds of exchanges of whole
swarms for, gossip on slopes does with a few vectors. Where values are too rough for differences
(noise, kinks, steps), evolution strategies that share their directions (CCSA-DES) go on instead.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bbopt.lacmas.ccsa_des import CcsaDes
from bbopt.lacmas.draws import Draws
from bbopt.lacmas.masoie import Masoie
from bbopt.lacmas.network import Network
from bbopt.lacmas.quasi_newton import QuasiNewton
from bbopt.lacmas.search import Array, Batch, Box, Search
from bbopt.lacmas.spectrum import Spectrum

SWARM_SHARE = 0.1
"""The share of the budget that swarms have."""


class Hybrid(Search):
    """One search after the other, each from where the last one ended.

    Parameters
    ----------
    swarms : callable
        ``budget -> Masoie``: the first stage.
    known : Spectrum
        The eigenvalues of the network's weights.
    """

    def __init__(
        self,
        network: Network,
        box: Box,
        draws: Draws,
        budget: int | None,
        swarms: Callable[[int | None], Masoie],
        known: Spectrum,
    ) -> None:
        super().__init__(network, box, draws, budget)
        self._known = known
        first = None if budget is None else max(int(SWARM_SHARE * budget), 1)
        self._swarms = swarms(first)
        self._weights = network.weights.copy()  # those that ``known`` is of
        self.stages: list[Search] = [self._swarms]

    @property
    def stage(self) -> Search:
        """The search at work."""
        return self.stages[-1]

    def propose(self) -> Batch | None:
        """What the stage at work proposes; the next one takes over where it has ended."""
        batch = self.stage.propose()
        if batch is None and self._go_on():
            return self.propose()
        return batch

    def accept(self, values: Array) -> None:
        """Hand them to the stage at work."""
        self.stage.accept(values)
        self._count()

    @property
    def points(self) -> Array:
        """Those of the stage at work."""
        return self.stage.points

    @property
    def losses(self) -> Array:
        """Those of the stage at work."""
        return self.stage.losses

    def diagnostics(self) -> dict[str, float]:
        """Those of the swarms, and which stage is at work."""
        return self._swarms.diagnostics() | {"stage": len(self.stages)}

    def state(self) -> dict[str, Any]:
        """That of the stage at work, and of the guide, whose spending still counts."""
        guide = self._swarms.guide.state(self.network)
        return {"stage": len(self.stages), "search": self.stage.state(), "guide": guide}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` returned, on any number of ranks."""
        while len(self.stages) < state["stage"]:
            self.stages.append(self._next(None))
        self.stage.restore(state["search"])
        self._swarms.guide.restore(state["guide"], self.network)
        self._count()

    def _count(self) -> None:
        self.evaluations = self.stage.evaluations
        self.round_ = self.stage.round_

    def _go_on(self) -> bool:
        """Start the next stage, if there is one; the same on every rank."""
        last = self.stage
        if len(self.stages) == 3 or (isinstance(last, QuasiNewton) and not last.stuck):
            return False
        if not np.array_equal(self.network.weights, self._weights):
            self.network.weights = self._weights  # a guide had others
        stage = self._next(last.points)
        stage.evaluations = last.evaluations.copy()
        stage.round_ = last.round_
        self.stages.append(stage)
        return True

    def _next(self, start: Array | None) -> Search:
        parts = (self.network, self.box, self.draws, self.budget)
        if len(self.stages) == 1:
            return QuasiNewton(*parts, self._known, start)
        return CcsaDes(*parts, start)

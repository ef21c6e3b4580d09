"""``lacmas``: agents that agree on one optimum of the sum of what each can query alone.

Qin, Wei, Chen and Chen, *Learning to Act and Cooperate for Distributed Black-Box Consensus
Optimization* (arXiv 2605.00691), on MASOIE (Chen et al., IEEE TEVC 29(4), 2025). What is
different here is said where it is: coefficients act on the external velocity
(:mod:`bbopt.lacmas.act`), wished weights are made doubly stochastic, every evaluation is counted.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from bbopt.lacmas import act, faults, guides
from bbopt.lacmas.ccsa_des import CcsaDes
from bbopt.lacmas.distributed import Distributed
from bbopt.lacmas.draws import Draws
from bbopt.lacmas.hybrid import Hybrid
from bbopt.lacmas.masoie import Masoie, SwarmSettings
from bbopt.lacmas.network import Network
from bbopt.lacmas.search import Box, Search
from bbopt.lacmas.settings import VARIANTS, LacMasSettings
from bbopt.registry import register_optimizer
from bbopt.trial import NO_USAGE, Usage

LEAST_ROUNDS = 30
"""Swarms are small enough for so many rounds of the budget."""


@register_optimizer("lacmas")
class LacMas(Distributed):
    """Swarms that learn on their own and from their neighbours; see the module.

    Its settings are those of :class:`~bbopt.lacmas.settings.LacMasSettings`.
    """

    llm_roles: ClassVar[frozenset[str]] = frozenset({"guide"})
    Settings: ClassVar[type[Any]] = LacMasSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen = VARIANTS[self.settings.variant]
        self._method = chosen["method"]
        self._guide = self.settings.guide or chosen["guide"]
        self._d_range = chosen["d_range"]
        self._adviser: guides.Guide | None = None
        self._planned = faults.parse(self.settings.faults or None, self.seed)

    @property
    def _rule(self) -> str:
        return str(self.settings.weights)

    @property
    def _faults(self) -> faults.Faults | None:
        return self._planned

    @property
    def usage(self) -> Usage:
        """What the guide has used of its model."""
        return NO_USAGE if self._adviser is None else self._adviser.usage

    def _new_search(self, network: Network, box: Box, draws: Draws, budget: int | None) -> Search:
        if self._method == "ccsa-des":
            return CcsaDes(network, box, draws, budget)
        guide = self._adviser = self._new_guide(network, box, draws)
        if self._method == "swarm":
            return self._swarms(network, box, draws, budget, guide)

        def swarms(share: int, own: Draws) -> Masoie:
            return self._swarms(network, box, own, share, guide)

        return Hybrid(network, box, draws, budget, swarms, self.known)

    def _swarms(
        self, network: Network, box: Box, draws: Draws, budget: int | None, guide: guides.Guide
    ) -> Masoie:
        s = self.settings
        shape = SwarmSettings(
            n_particles=s.particles or default_particles(box.d, budget),
            interval=s.interval,
            mix=s.mix,
            exchange=s.exchange,
            reference=s.reference,
            scale=s.thresholds,
            project=s.projection,
        )
        initial = self.space.initial
        start = None if initial is None else self._coordinates.from_params(initial)
        return Masoie(network, box, draws, budget, shape, guide, start)

    def _new_guide(self, network: Network, box: Box, draws: Draws) -> guides.Guide:
        s = self.settings
        is_paper = s.variant == "paper"
        advice = guides.GuideSettings(
            d_range=self._d_range,
            d=s.d,
            c=s.c,
            horizon=s.horizon,
            calls=s.requests,
            limits=act.thresholds(s.thresholds, box.low, box.high),
            least=None if is_paper else self.known.least,
            seed=self.seed,
        )
        return guides.make(self._guide, network, draws, advice, self.llm)


def default_particles(d: int, budget: int | None) -> int:
    """P: three for each dimension, at most the source's 300, fewer where the budget is small."""
    wanted = int(np.clip(3 * d, 20, 300))
    if budget is None:
        return wanted
    return max(6, min(wanted, budget // LEAST_ROUNDS // 5))

"""What to compare ``lacmas`` with, on the same network and at the same budget."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_array, eye_array

from bbopt.lacmas import central, guides
from bbopt.lacmas.cbo import ConsensusBased
from bbopt.lacmas.distributed import Distributed
from bbopt.lacmas.draws import Draws
from bbopt.lacmas.gradient_tracking import GradientTracking
from bbopt.lacmas.masoie import Masoie, SwarmSettings
from bbopt.lacmas.network import Network
from bbopt.lacmas.optimizer import default_particles
from bbopt.lacmas.quasi_newton import QuasiNewton
from bbopt.lacmas.search import Array, Box, Search
from bbopt.registry import register_optimizer
from bbopt.settings import setting


class Baseline(Distributed):
    """What the methods below share: they start from the space's ``initial``, if it has one."""

    @property
    def _initial(self) -> Array | None:
        initial = self.space.initial
        return None if initial is None else self._coordinates.from_params(initial)


@register_optimizer("swarm:isolated")
class Isolated(Baseline):
    """Swarms that never talk: each learns on its own objective, and the results are averaged."""

    @cached_property
    def _matrix(self) -> csr_array:
        return csr_array(eye_array(self.spec.agents.n))  # type: ignore[union-attr]

    def _new_search(self, network: Network, box: Box, draws: Draws, budget: int | None) -> Search:
        swarm = SwarmSettings(n_particles=default_particles(box.d, budget))
        guide = guides.make("none", network, draws, guides.GuideSettings(), None)
        return Masoie(network, box, draws, budget, swarm, guide, self._initial)


@register_optimizer("swarm:cbo")
class Cbo(Baseline):
    """Consensus-based optimisation over gossiped values (:mod:`bbopt.lacmas.cbo`)."""

    def _new_search(self, network: Network, box: Box, draws: Draws, budget: int | None) -> Search:
        return ConsensusBased(network, box, draws, budget, self.known, self._initial)


@dataclass(frozen=True)
class TrackingSettings:
    """The settings of ``swarm:gradient-tracking``."""

    rate: float = setting(
        1.0, "α, in units of the one whose first step is 0.01 of the box's edges", low=1e-9
    )


@register_optimizer("swarm:gradient-tracking")
class Tracking(Baseline):
    """Gradient tracking from differences (:mod:`bbopt.lacmas.gradient_tracking`)."""

    Settings: ClassVar[type[Any]] = TrackingSettings

    def _new_search(self, network: Network, box: Box, draws: Draws, budget: int | None) -> Search:
        start = _repeated(self._initial, network)
        return GradientTracking(network, box, draws, budget, start, self.settings.rate)


@register_optimizer("swarm:quasi-newton")
class Newton(Baseline):
    """Quasi-Newton by gossip without swarms before it (:mod:`bbopt.lacmas.quasi_newton`)."""

    def _new_search(self, network: Network, box: Box, draws: Draws, budget: int | None) -> Search:
        start = _repeated(self._initial, network)
        return QuasiNewton(network, box, draws, budget, self.known, start)


@register_optimizer("swarm:cma")
class Central(Baseline):
    """CMA-ES of a centre that sees all agents' values (:mod:`bbopt.lacmas.central`): a bound.

    Raises
    ------
    MissingExtra
        If the package ``cma`` is not installed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        central.package()  # said when it is built, not at the first ask

    def _new_search(self, network: Network, box: Box, draws: Draws, budget: int | None) -> Search:
        return central.CentralCma(network, box, draws, budget, self._initial)


def _repeated(point: Array | None, network: Network) -> Array | None:
    """The point for every owned agent, ``(a, d)``."""
    return None if point is None else np.tile(point, (len(network.agents), 1))

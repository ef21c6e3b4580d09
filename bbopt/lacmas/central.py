"""CMA-ES on the true mean: what a method could reach that need not talk, as a bound.

A centre that no network of agents has sees every agent's value of every point; the strategy is the
authors' package ``cma``, restarted with larger populations (IPOP; Auger and Hansen 2005). Nothing
is sent over the network.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from bbopt.baselines.quiet import quiet
from bbopt.errors import require
from bbopt.lacmas.draws import Draws
from bbopt.lacmas.network import Network
from bbopt.lacmas.search import Array, Batch, Box, Search

FIRST_SIGMA = 0.3
"""σ at the start, in units of the box's edges."""
GROWTH = 2
"""What a restart multiplies the population by."""
HUGE = 1e100


def package() -> ModuleType:
    """The package ``cma``.

    Raises
    ------
    MissingExtra
        If it is not installed.
    """
    with quiet():
        return require("cma", extra="bench", needed_by="optimizer 'swarm:cma'")


class CentralCma(Search):
    """One CMA-ES for all agents; see the module.

    Its state is what was told, which is told again when it is restored.

    Parameters
    ----------
    start : (d,) array, optional
        The first mean, which is evaluated first; None is the middle of the box.

    Raises
    ------
    MissingExtra
        If the package ``cma`` is not installed.
    """

    per_agent: ClassVar[tuple[str, ...]] = ("loss",)
    shared: ClassVar[tuple[str, ...]] = ("best", "best_loss", "finished")

    def __init__(
        self,
        network: Network,
        box: Box,
        draws: Draws,
        budget: int | None,
        start: Array | None = None,
    ) -> None:
        super().__init__(network, box, draws, budget)
        self._cma = package()
        self._edges = box.high - box.low
        self._dim = max(2, box.d)  # the package needs two coordinates
        self._rng = draws.common("cma")
        self._start: Array = np.full(self._dim, 0.5)
        if start is not None:
            self._start[: box.d] = (start - box.low) / self._edges
        self._n_restarts = 0
        self._strategy: Any = None
        self._told: list[Array] = []  # means over all agents, one array a population
        self.best: Array = np.full(box.d, 0.5)
        self.best_loss: float | None = None
        self.loss: Array = np.full(len(network.agents), np.nan)
        self.finished = False
        self._sample()

    def propose(self) -> Batch | None:
        """The population, for every agent."""
        if self.pending is None and not self.finished:
            living = np.flatnonzero(self.network.living[self.network.agents])
            if self.network.any(not self.affords(1 + len(self._population))[living].all()):
                self.finished = True
                return None
            x = np.array([*self._first(), *self._population])[:, : self.box.d]
            native = self.box.clip(self.box.low + x * self._edges)
            self.pending = Batch(living, np.broadcast_to(native, (len(living), *native.shape)))
        return self.pending

    def accept(self, values: Array) -> None:
        """Tell the strategy the means over all agents."""
        of_all = self._close_for_all(values)
        means = self.network.gather(of_all)[self.network.living].mean(axis=0)
        means = np.clip(np.where(np.isfinite(means), means, HUGE), -HUGE, HUGE)
        least = int(np.argmin(means))
        tried = [*self._first(), *self._population]
        if self.best_loss is None or means[least] < self.best_loss:
            self.best_loss = float(means[least])
            self.best = np.array(tried[least])[: self.box.d]
            self.loss = of_all[:, least]
        self._tell(means[len(tried) - len(self._population) :])
        self._count_round()

    @property
    def points(self) -> Array:
        """The best point seen."""
        x = self.box.clip(self.box.low + self.best * self._edges)
        return np.tile(x, (len(self.network.agents), 1))

    @property
    def losses(self) -> Array:
        """Each agent's loss there."""
        return self.loss

    def restore(self, state: dict[str, Any]) -> None:
        """See :meth:`Search.restore`."""
        super().restore(state)
        told, start = np.array(state["told"]), 0
        while start < len(told):
            means = told[start : start + len(self._population)]
            self._tell(means)
            start += len(means)

    def state(self) -> dict[str, Any]:
        """See :meth:`Search.state`; with what was told."""
        return super().state() | {"told": self.told}

    def _first(self) -> list[Array]:
        """The start, in front of the first population."""
        return [] if self._told else [self._start]

    @property
    def told(self) -> Array:
        """The means over all agents of all points so far, in their order."""
        return np.concatenate([*self._told, np.empty(0)])

    def _tell(self, means: Array) -> None:
        self._told.append(means)
        with quiet():
            self._strategy.tell(self._population, means.tolist())
            if self._strategy.stop():
                self._strategy = None
                self._n_restarts += 1
        self._sample()

    def _sample(self) -> None:
        with quiet():
            if self._strategy is None:
                self._strategy = self._new_strategy()
            self._population = self._strategy.ask()

    def _new_strategy(self) -> Any:
        popsize = (4 + int(3 * math.log(self._dim))) * GROWTH**self._n_restarts
        start = self._rng.random(self._dim) if self._n_restarts else self._start
        options = {
            "bounds": [0, 1],
            "popsize": popsize,
            # the default from 300 dimensions on draws from numpy's global generator
            "AdaptSigma": self._cma.sigma_adaptation.CMAAdaptSigmaCSA,
            "randn": lambda *shape: self._rng.standard_normal(shape),
            "seed": math.nan,  # do not seed numpy's global generator
            "verbose": -10,  # print nothing, read no file of signals
            "verb_log": 0,
            "verb_disp": 0,
        }
        return self._cma.CMAEvolutionStrategy(start, FIRST_SIGMA, options)

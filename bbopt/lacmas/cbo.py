"""Consensus-based optimisation over a network, to compare with.

Pinnau, Totzeck, Tse and Martin (2017), with the coordinate-wise noise of Carrillo, Jin, Li and Zhu
(2021): particles drift to a mean m in which the good ones weigh most, and the further they are from
it the more they are shaken, x⁺ = x - λ(x - m)Δt + σ|x - m|ξ√Δt. The weights need every particle's
mean over all agents, so all agents move the same particles, with draws that are the same for all,
and gossip their values. Lengths are in units of the box's edges.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from bbopt.lacmas.draws import Draws
from bbopt.lacmas.gossip import Gossip, flood
from bbopt.lacmas.network import Network
from bbopt.lacmas.search import Array, Batch, Box, Search
from bbopt.lacmas.spectrum import Spectrum

PARTICLES = 100
DRIFT, SHAKE, TIME = 1.0, 1.0, 0.1
"""λ, σ and Δt."""
SHARPNESS = 30.0
"""Inverse temperature of the weights, over the range of the particles' values."""
TRUST = 1e-6
"""How exactly values are averaged, relative to how the agents disagree."""


class ConsensusBased(Search):
    """Particles that all agents share; see the module.

    Parameters
    ----------
    known : Spectrum
        The eigenvalues of the network's weights.
    start : (d,) array, optional
        A point that is the first particle.
    """

    per_agent: ClassVar[tuple[str, ...]] = ("loss",)
    shared: ClassVar[tuple[str, ...]] = ("x", "centre", "finished")

    def __init__(
        self,
        network: Network,
        box: Box,
        draws: Draws,
        budget: int | None,
        known: Spectrum,
        start: Array | None = None,
    ) -> None:
        super().__init__(network, box, draws, budget)
        self._edges = box.high - box.low
        self._gossip = Gossip(network, known)
        self.x: Array = draws.common("cbo start").random((PARTICLES, box.d))
        if start is not None:
            self.x[0] = (start - box.low) / self._edges
        self.centre: Array = self.x.mean(axis=0)
        self.loss: Array = np.full(len(network.agents), np.nan)
        self.finished = False

    def propose(self) -> Batch | None:
        """All particles, for every living agent."""
        if self.pending is None and not self.finished:
            living = np.flatnonzero(self.network.living[self.network.agents])
            if self.network.any(not self.affords(PARTICLES)[living].all()):
                self.finished = True
                return None
            native = self.box.clip(self.box.low + self.x * self._edges)
            self.pending = Batch(living, np.broadcast_to(native, (len(living), *native.shape)))
        return self.pending

    def accept(self, values: Array) -> None:
        """Average the values, and move."""
        places = self._close(values)
        seen = np.zeros((len(self.loss), 2 * PARTICLES))
        known = np.isfinite(values)
        seen[places] = np.hstack([np.where(known, values, 0.0), known])
        self.loss[places] = np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1).clip(1)
        mean = flood(self.network, self._gossip.average(seen, TRUST))
        # where an agent fails a particle's mean is of another problem
        ok = mean[PARTICLES:] > mean[PARTICLES:].max() - 0.5 / self.network.n
        loss = np.where(ok, mean[:PARTICLES], np.inf)
        weights = np.exp(-SHARPNESS * (loss - loss.min()) / max(float(np.ptp(loss[ok])), 1e-300))
        self.centre = weights @ self.x / weights.sum()
        away = self.x - self.centre
        noise = self.draws.common("cbo", self.round_ + 1).standard_normal(self.x.shape)
        shaken = SHAKE * math.sqrt(TIME) * np.abs(away) * noise
        self.x = np.clip(self.x - DRIFT * TIME * away + shaken, 0.0, 1.0)
        self._count_round()

    @property
    def points(self) -> Array:
        """The weighted mean, which all agents share."""
        x = self.box.clip(self.box.low + self.centre * self._edges)
        return np.tile(x, (len(self.network.agents), 1))

    @property
    def losses(self) -> Array:
        """Each agent's mean over the particles."""
        return self.loss

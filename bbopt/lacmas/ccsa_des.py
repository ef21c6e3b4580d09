"""CCSA-DES: evolution strategies that share their directions and their confidence.

Chen, Chen, Hao, Wang and Zhang, *Multi-Agent Evolution Strategy With Cooperative and Cumulative
Step Adaptation for Black-Box Distributed Optimization* (IEEE TEVC, 2025). In a round every agent
takes a few steps of a (λ/2, λ) evolution strategy on its own objective and sends its point, the
slope along the way it went, and a path G that accumulates its neighbourhood's directions. A long
path means that the neighbours agree: all step sizes grow. Nothing but ranks and one slope is taken
from values, so that noise and plateaus do little harm.

Rates are those of the published code, which reproduce its tables; the article gives them the other
way round. What differs here: directions are summed with the network's weights, and lengths are in
units of the box's edges, so that boxes of any size are alike.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from bbopt.lacmas.draws import Draws
from bbopt.lacmas.network import Network
from bbopt.lacmas.search import Array, Batch, Box, Search, finite

OFFSPRING = 34
"""λ: points of a generation."""
GENERATIONS = 5
"""M: generations of a round."""
COST = GENERATIONS * OFFSPRING + 2
"""Evaluations that a round costs each agent."""
FIRST_SIGMA = 1e-2
"""σ at the start. The source's 1e-6 in a box 200 wide spends half of 1e5 evaluations on growing."""
MEMORY = 0.97
"""β: what a round leaves of the path G."""
INNER_RATE, OUTER_RATE = 0.001, 0.01
"""r_in and r_out: how fast σ follows an agent's own path and its neighbourhood's."""
MOST_MIXES = 1000
"""Rounds of plain mixing at the end, at most."""
AGREED = 5e-13
"""An agent is content when it is so near to its neighbourhood's mean; 1e-10 of the source."""


class CcsaDes(Search):
    """One evolution strategy an agent; see the module and :class:`~bbopt.lacmas.search.Search`.

    Parameters
    ----------
    start : (a, d) array, optional
        Where the owned agents start; None is the middle of the box.
    sigma : float
        σ at the start, > 0.
    """

    per_agent: ClassVar[tuple[str, ...]] = (
        "x", "origin", "sigma", "path", "shared_path", "loss", "z",
    )  # fmt: skip
    shared: ClassVar[tuple[str, ...]] = ("step", "has_path", "finished")

    def __init__(
        self,
        network: Network,
        box: Box,
        draws: Draws,
        budget: int | None,
        start: Array | None = None,
        sigma: float = FIRST_SIGMA,
    ) -> None:
        super().__init__(network, box, draws, budget)
        self._edges = box.high - box.low
        a, d = len(network.agents), box.d
        ranks = np.arange(1, OFFSPRING // 2 + 1)
        weights = math.log(OFFSPRING / 2 + 0.5) - np.log(ranks)
        self._weights: Array = weights / weights.sum()
        self._mu_eff = 1 / float(self._weights @ self._weights)
        self._rate = (self._mu_eff + 2) / (d + self._mu_eff + 5)
        self._usual = math.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d * d))  # E‖N(0, I)‖
        self.x: Array = np.full((a, d), 0.5) if start is None else (start - box.low) / self._edges
        self.origin: Array = self.x.copy()  # where the round began
        self.sigma: Array = np.full(a, sigma)
        self.path: Array = np.zeros((a, d))  # p, of the round
        self.shared_path: Array = np.zeros((a, d))  # G
        self.loss: Array = np.full(a, np.inf)  # where the round began
        self.step = 0  # the next generation of the round; GENERATIONS: what it has come to
        self.finished = False
        self.has_path = False
        self.z: Array = np.zeros((a, OFFSPRING, d))  # what the generation that is out has drawn

    def propose(self) -> Batch | None:
        """A generation of every living agent, or the two ends of the way it went."""
        if self.pending is None and not self.finished:
            living = self.network.living[self.network.agents]
            if self.step == 0 and self.network.any(not self.affords(COST)[living].all()):
                self._agree()
                return None
            x = self._points()[living]
            native = self.box.clip(self.box.low + x * self._edges)
            self.pending = Batch(np.flatnonzero(living), native)
        return self.pending

    def accept(self, values: Array) -> None:
        """Take a step, or end the round."""
        losses = finite(self._close_for_all(values))
        if self.step < GENERATIONS:
            self._learn(losses)
            self.step += 1
        else:
            self._share(losses)
            self.step = 0
            self._count_round()

    @property
    def points(self) -> Array:
        """Where the agents are."""
        return self.box.clip(self.box.low + self.x * self._edges)

    @property
    def losses(self) -> Array:
        """Their losses where they were before they last heard of each other."""
        return self.loss

    # --- a round ------------------------------------------------------------------------

    def _points(self) -> Array:
        """What is evaluated now, ``(a, m, d)`` in the unit cube."""
        if self.step == GENERATIONS:
            return np.stack([self.origin, self.x], axis=1)
        z = self.draws.normal("ccsa-des", self.round_, self.step, OFFSPRING, self.box.d)
        sigma = self.sigma[:, None, None]
        points = np.clip(self.x[:, None] + sigma * z, 0.0, 1.0)
        self.z = (points - self.x[:, None]) / sigma  # as far as the box lets it go
        return points

    def _learn(self, losses: Array) -> None:
        """One generation: move to the better half, and follow the length of the own path."""
        best = np.argsort(losses, axis=1, kind="stable")[:, : len(self._weights)]
        seen = np.isfinite(np.take_along_axis(losses, best, axis=1))
        chosen = np.take_along_axis(self.z, best[:, :, None], axis=1)
        step = np.einsum("aj,ajd->ad", self._weights * seen, chosen)
        self.x = np.clip(self.x + self.sigma[:, None] * step, 0.0, 1.0)
        c = self._rate
        self.path = (1 - c) * self.path + math.sqrt(c * (2 - c) * self._mu_eff) * step
        if self.step > 0:
            excess = np.linalg.norm(self.path, axis=1) / self._usual - 1
            agrees = excess * (np.linalg.norm(self.shared_path, axis=1) - 1) > 0
            self.sigma = self.sigma * np.exp(np.where(agrees, INNER_RATE * excess, 0.0))

    def _share(self, losses: Array) -> None:
        """Exchange points, slopes and paths, and follow the length of the shared path."""
        self.loss = losses[:, 1]
        way = self.x - self.origin
        length = np.einsum("ad,ad->a", way, way)
        known = np.isfinite(losses).all(axis=1) & (length > 0)
        drop = np.where(known, losses[:, 0], 0.0) - np.where(known, losses[:, 1], 0.0)
        slope = (drop / np.where(known, length, 1.0))[:, None] * way
        d = self.box.d
        mixed = self.network.mix(np.hstack([self.x, slope, self.shared_path]))
        x, direction, path = mixed[:, :d], _unit(mixed[:, d : 2 * d]), mixed[:, 2 * d :]
        self.shared_path = direction
        if self.has_path:
            self.shared_path = MEMORY * path + self._gain()[:, None] * direction
        self.has_path = True
        self.sigma = self.sigma * np.exp(
            OUTER_RATE * (np.linalg.norm(self.shared_path, axis=1) - 1)
        )
        self.sigma = np.minimum(self.sigma, 1.0)
        apart = np.linalg.norm(x - self.x, axis=1)
        moved = np.where(self.network.degrees > 0, apart, np.sqrt(length))
        living = self.network.living[self.network.agents]
        self.finished = not self.network.any(bool((moved > AGREED)[living].any()))
        self.x = x
        self.origin = x.copy()
        self.path = np.zeros_like(self.path)

    def _agree(self) -> None:
        """When the budget is spent before the agents agree, they mix until they do."""
        self.finished = True
        living = self.network.living[self.network.agents]
        for _ in range(MOST_MIXES):
            x = self.network.mix(self.x)
            apart = np.linalg.norm(x - self.x, axis=1)
            self.x = x
            if not self.network.any(bool((apart > AGREED)[living].any())):
                return

    def _gain(self) -> Array:
        """γ: what a direction adds to the path, ``(a,)``.

        A path of length one whose angle to the direction is θ keeps its length; θ falls from 90°
        to 0° as the budget is spent.
        """
        spent = 0.0 if self.budget is None else self.evaluations / self.budget
        along = MEMORY * np.cos((1 - np.minimum(spent, 1.0)) * math.pi / 2)
        return np.asarray(np.sqrt(along**2 + 1 - MEMORY**2) - along + np.zeros(len(self.x)))


def _unit(rows: Array) -> Array:
    """Rows of length one; zero where they are zero."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1.0))

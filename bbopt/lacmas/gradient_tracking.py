"""Gradient tracking from values: the textbook method for a smooth sum, to compare with.

Tang, Zhang and Li (IEEE TCNS 2021), the variant with 2d-point differences: every agent steps along
its estimate y of the mean's slope, x⁺ = Π(Ax - αy), y⁺ = Ay + g⁺ - g, where A mixes with the
neighbours, Π projects onto the box, and g is the slope of the agent's own objective. Mixing keeps
Σy = Σg, so that α need not vanish. Lengths are in units of the box's edges.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bbopt.lacmas import finite_differences as fd
from bbopt.lacmas.draws import Draws
from bbopt.lacmas.network import Network
from bbopt.lacmas.search import Array, Batch, Box, Search

FIRST_STEP = 0.01
"""How far the agents go in the first step, in the root mean square."""


class GradientTracking(Search):
    """Points that follow the tracked slope; see the module.

    Parameters
    ----------
    start : (a, d) array, optional
        Where the owned agents start; None draws a point each.
    rate : float
        α in units of the one with which the first step has the length ``FIRST_STEP``, > 0.
    """

    per_agent: ClassVar[tuple[str, ...]] = ("x", "slope", "tracking", "loss")
    shared: ClassVar[tuple[str, ...]] = ("alpha", "finished")

    def __init__(
        self,
        network: Network,
        box: Box,
        draws: Draws,
        budget: int | None,
        start: Array | None = None,
        rate: float = 1.0,
    ) -> None:
        super().__init__(network, box, draws, budget)
        self._edges = box.high - box.low
        a, d = len(network.agents), box.d
        self.rate = rate
        drawn = draws.uniform("gradient tracking start", 0, 0, d)
        self.x: Array = drawn if start is None else (start - box.low) / self._edges
        self.slope: Array = np.zeros((a, d))  # g
        self.tracking: Array = np.zeros((a, d))  # y
        self.loss: Array = np.full(a, np.nan)
        self.alpha = 0.0  # known after the first slopes
        self.finished = False

    def propose(self) -> Batch | None:
        """Every agent's point, and those of its differences."""
        if self.pending is None and not self.finished:
            living = self.network.living[self.network.agents]
            if self.network.any(not self.affords(2 * self.box.d + 1)[living].all()):
                self.finished = True
                return None
            around = fd.points(self.x, self._step)
            x = np.concatenate([self.x[:, None], around], axis=1)[living]
            native = self.box.clip(self.box.low + x * self._edges)
            self.pending = Batch(np.flatnonzero(living), native)
        return self.pending

    def accept(self, values: Array) -> None:
        """Track the slope, and step along it."""
        of_all = self._close_for_all(values)
        self.loss = of_all[:, 0]
        slope = fd.slopes(self.x, self._step, self.loss, of_all[:, 1:])
        self.tracking = self.tracking + slope - self.slope
        self.slope = slope
        if not self.alpha:
            steep = self.network.gather(np.sum(slope**2, axis=1))
            self.alpha = self.rate * FIRST_STEP / max(float(np.sqrt(steep.mean())), 1e-300)
        d = self.box.d
        mixed = self.network.mix(np.hstack([self.x, self.tracking]))
        # combine, then adapt: y is mixed after its use, as the method has it
        self.x = np.clip(mixed[:, :d] - self.alpha * self.tracking, 0.0, 1.0)
        self.tracking = mixed[:, d:]
        self._count_round()

    @property
    def points(self) -> Array:
        """Where the agents are."""
        return self.box.clip(self.box.low + self.x * self._edges)

    @property
    def losses(self) -> Array:
        """Their losses where they were before their last step."""
        return self.loss

    @property
    def _step(self) -> Array:
        return np.full(len(self.x), fd.STEP)

"""Quasi-Newton by gossip: the agents descend on the mean of their objectives as if they were one.

For smooth objectives. In a round every agent differences its own objective, Chebyshev gossip turns
the agents' slopes into the slope of the mean, and all take the same BFGS step (Broyden, Fletcher,
Goldfarb, Shanno 1970) inside the box. Three things make this cheap to send:

- What is averaged is a tracking variable, as in gradient tracking (Shi, Ling, Wu and Yin 2015;
  Nedić, Olshevsky and Shi 2017): it remembers what the agents have agreed on, so that only what has
  changed in how they differ takes rounds to settle.
- Values along a step are averaged after their linear part, which is known, has been taken out.
- Then the first agent's result is flooded: all agents hold the same numbers to the last bit, need
  one matrix a rank, and decide alike whatever gossip has left over.

Once descent is slow it looks around (:mod:`bbopt.lacmas.outlook`), and goes on from a lower valley
if there is one. Lengths are in units of the box's edges.
"""

from __future__ import annotations

import logging
import math
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from bbopt.lacmas import finite_differences as fd
from bbopt.lacmas import outlook
from bbopt.lacmas.draws import Draws
from bbopt.lacmas.gossip import ROUNDING, Gossip, flood
from bbopt.lacmas.network import Network
from bbopt.lacmas.search import Array, Batch, Box, Search
from bbopt.lacmas.spectrum import Spectrum

logger = logging.getLogger("bbopt")

SHARES = np.array([1, 0.5, 0.25, 0.1, 0.03, 0.01, 1e-3, 1e-4, 1e-6])
"""The shares of a step that are tried at once, the largest first."""
LONGEST = 0.25
"""The longest step."""
TRUST = 0.1
"""How exactly slopes are averaged, relative to themselves: what is left of their differences is
tracked, and settles in the rounds that follow."""
BENT_TRUST = 1e-2
"""How exactly decreases are, relative to what the slope promises."""
NEAR = 1e-3
"""A bound that is at most so far away may hold a coordinate."""
REPROBE = 25
"""Rounds between two probes for the length of differences."""
SLOW = 1e-4
"""Descent is slow where the rounds between two probes gain less than this share of all before."""
PROFILES = 1e-9
"""How exactly the profiles of a look around are averaged, relative to how the agents differ."""
ATTEMPTS = 5
"""Failed steps in a row, each from a fresh start, after which it ends."""
EXACT, EPSILON = 1e4, 2.0**-52
"""Noise of so many roundings of a value is noise of the objective."""


class QuasiNewton(Search):
    """BFGS on the mean; see the module and :class:`~bbopt.lacmas.search.Search`.

    Parameters
    ----------
    known : Spectrum
        The eigenvalues of the network's weights.
    start : (a, d) array, optional
        Points of the owned agents, whose mean is the start; None draws one each.

    Attributes
    ----------
    ending : str or None
        Why it ended: "budget"; "converged" (nothing is left to gain but rounding); "noise"
        (what is left to gain drowns in noise); "kinks" (slopes predict a decrease that values
        do not show: the objective is not smooth); "parted" (dead agents have left the others
        in several parts).
    """

    per_agent: ClassVar[tuple[str, ...]] = ("slope", "tracking", "step", "here")
    shared: ClassVar[tuple[str, ...]] = (
        "phase", "ending", "failures", "since_probe", "x", "gradient", "hessian", "scale", "move",
        "size", "shake", "value_noise", "slope_noise", "n_living", "descended", "recent", "looked",
        "leaps",
    )  # fmt: skip

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
        self._gossip = Gossip(network, known)
        self._edges = box.high - box.low
        a, d = len(network.agents), box.d
        if start is None:
            first = draws.uniform("quasi-newton start", 0, 0, d)
        else:
            first = (start - box.low) / self._edges
        self.x: Array = np.clip(flood(network, self._gossip.average(first)), 0.0, 1.0)
        self.slope: Array = np.zeros((a, d))  # of the agent's own objective
        self.tracking: Array = np.zeros((a, d))  # sums to the sum of slopes
        self.gradient: Array = np.zeros(d)  # of the mean, the same for all
        self.hessian: Array | None = None
        self.scale: float | None = None  # curvature along the last step
        self.move: Array = np.zeros(d)  # the step that is being tried
        self.step: Array = np.full(a, fd.STEP)
        self.here: Array = np.full(a, np.nan)  # the agent's own loss at x
        self.size = 0.0  # of the agents' losses around x
        self.shake: float | None = None  # variance of the mean of all agents, taken twice
        self.value_noise = 0.0  # its standard deviation as a probe sees it, roughness included
        self.slope_noise = 0.0  # and of its slope along one direction
        self.phase = "probe"
        self.since_probe = 0
        self.failures = 0
        self.n_living = int(network.living.sum())
        self.descended = self.recent = 0.0  # by how much, in this valley and since the last probe
        self.looked = False  # around, from this valley
        self.leaps: Array | None = None  # out of it, to be compared
        self.ending: str | None = None

    # --- the two functions ------------------------------------------------------------

    def propose(self) -> Batch | None:
        """One batch of all agents: a probe, the points of differences, a step, a look around."""
        if self.pending is None and self.ending is None:
            x = self._points()
            if self.network.any(not self.affords(x.shape[1]).all()):
                self.ending = "budget"
                return None
            living = self.network.living[self.network.agents]
            native = self.box.low + np.broadcast_to(x, (len(living), *x.shape[1:])) * self._edges
            self.pending = Batch(np.flatnonzero(living), self.box.clip(native[living]))
        return self.pending

    def accept(self, values: Array) -> None:
        """Take the losses of the last batch, and talk."""
        of_all = self._close_for_all(values)
        getattr(self, f"_after_{self.phase}")(of_all)

    @property
    def points(self) -> Array:
        """The point that all agents share."""
        x = self.box.clip(self.box.low + self.x * self._edges)
        return np.tile(x, (len(self.network.agents), 1))

    @property
    def losses(self) -> Array:
        """Each agent's own loss there."""
        return self.here

    @property
    def stuck(self) -> bool:
        """Whether it ended because the objective is too rough for it."""
        return self.ending in ("noise", "kinks")

    # --- the phases of a round ----------------------------------------------------------

    def _points(self) -> Array:
        """What is evaluated now, ``(a or 1, m, d)`` in the unit cube."""
        if self.phase == "probe":
            n = min(fd.DIRECTIONS, self.box.d)
            draws = self.draws.normal("probe", self.round_, self.failures, n, self.box.d)
            return fd.probe_points(self.x, draws)
        if self.phase == "slopes":
            return fd.points(self.x, self.step)
        if self.phase == "line":
            tried = self._trials()
        elif self.leaps is None:
            tried = self._grids()
        else:
            tried = self.leaps
        return np.concatenate([self.x[None], tried])[None]

    def _trials(self) -> Array:
        """The shares of the step, ``(shares, d)``."""
        return np.asarray(np.clip(self.x + SHARES[:, None] * self.move, 0.0, 1.0))

    def _grids(self) -> Array:
        """The points of a look around; no two looks have the same."""
        u = self.draws.common("outlook", self.round_).random((self.box.d, outlook.POINTS))
        return outlook.grids(self.x, u)

    def _after_probe(self, values: Array) -> None:
        found = fd.probe(values)
        self.step = found.step
        self.here = values[:, 0]
        size = np.abs(values).max(axis=1)
        own = np.stack([found.noise**2, found.slope_error**2, size], axis=1)
        own[~np.isfinite(own)] = 0.0
        noise, error, self.size = flood(self.network, self._gossip.average(own, 1e-3)).tolist()
        self.value_noise = math.sqrt(max(noise, 0.0) / self.network.n)
        self.slope_noise = math.sqrt(max(error, 0.0) / self.network.n)
        self.since_probe = 0
        self.phase = "slopes"

    def _after_slopes(self, values: Array) -> None:
        slope = fd.slopes(self.x, self.step, self.here, values)
        start = slope if self._has_lost() else self.tracking + slope - self.slope
        self.tracking = self._gossip.settle(start, TRUST)
        self.slope = slope
        before, self.gradient = self.gradient, flood(self.network, self.tracking)
        if self.move.any():
            self._learn_curvature(self.move, self.gradient - before)
        self.move = self._direction()
        self.phase = "line"

    def _after_line(self, values: Array) -> None:
        trials = self._trials()
        shake = self._compare(values[:, 0] - self.here)
        self.here, there = values[:, 0], values[:, 1:]
        gains, promised = self._gains(trials - self.x, there - self.here[:, None])
        most = gains.max()
        if most > 2 * math.sqrt(shake):
            chosen = int(np.argmax(gains >= most * (1 - 1e-12)))  # of equals the longest
            self.move = trials[chosen] - self.x
            self.x, self.here = trials[chosen], there[:, chosen]
            self.failures = 0
            self.recent += float(most)
            self.phase = "slopes" if self.since_probe < REPROBE else self._pause()
        else:
            self._fail(promised)
        self.since_probe += 1
        self._count_round()

    def _pause(self) -> str:
        """What comes after the rounds between two probes: a probe, or a look around."""
        is_slow = self.recent < SLOW * self.descended
        self.descended += self.recent
        self.recent = 0.0
        return "grids" if is_slow and self._may_look() else "probe"

    def _may_look(self) -> bool:
        """Whether it has not looked around here, and every agent can pay for it."""
        cost = 2 + self.box.d * outlook.POINTS + self.box.d.bit_length()
        return not self.looked and not self.network.any(not self.affords(cost).all())

    def _after_grids(self, values: Array) -> None:
        gains, least = self._lower(values, PROFILES)
        leaps = outlook.leaps(self.x, self._grids(), gains, least)
        self.looked = not len(leaps)
        if self.looked:
            self.phase = "probe"
        else:
            self.phase, self.leaps = "leaps", leaps
        self._count_round()

    def _after_leaps(self, values: Array) -> None:
        gains, least = self._lower(values)
        best = int(np.argmax(gains))
        leaps, self.leaps = self.leaps, None
        assert leaps is not None, "leaps are compared after they were planned"
        self.looked = bool(gains[best] <= least)
        if not self.looked:
            self.x, self.here = leaps[best], values[:, 1 + best]
            self.hessian, self.scale = None, None
            self.move = np.zeros_like(self.x)
            self.failures, self.descended = 0, 0.0
        self.phase = "probe"
        self._count_round()

    def _lower(self, values: Array, tolerance: float = ROUNDING) -> tuple[Array, float]:
        """By how much the mean is lower than here at all other points; what is no more is none."""
        rises = values[:, 1:] - values[:, :1]
        lost = ~np.isfinite(rises) & np.isfinite(values[:, :1])
        rises = np.where(np.isfinite(rises), rises, 0.0)
        told = np.concatenate([rises, np.mean(rises**2, axis=1, keepdims=True)], axis=1)
        *mean, square = flood(self.network, self._gossip.average(told, tolerance)).tolist()
        gains = self._without(lost, -np.array(mean))
        rounding = EXACT * EPSILON * math.sqrt(max(square, 0.0))
        return gains, max(rounding, 4 * math.sqrt(self.shake or 0.0))

    def _without(self, lost: npt.NDArray[np.bool_], gains: Array) -> Array:
        """The gains, but none where some agent fails: nobody goes there."""
        if self.network.any(bool(lost.any())):
            shares = self._gossip.average(lost.astype(float), 0.1 / self.network.n)
            gains[flood(self.network, shares) > 0.5 / self.network.n] = -np.inf
        return gains

    def _compare(self, change: Array) -> float:
        """Variance of the mean of all agents, so far, from values of one point taken twice."""
        seen = np.where(np.isfinite(change), change, 0.0)
        shake = 0.0
        if self.network.any(bool(seen.any())):
            mean = flood(self.network, self._gossip.average(seen[:, None] ** 2 / 2, 1e-2))
            shake = max(float(mean[0]), 0.0) / self.network.n
        self.shake = shake if self.shake is None else 0.7 * self.shake + 0.3 * shake
        return self.shake

    def _has_lost(self) -> bool:
        """Whether agents have died since the last round: what the others track counts them."""
        before, self.n_living = self.n_living, int(self.network.living.sum())
        if self.n_living == before:
            return False
        if self.network.components.max() > 0:
            self.ending = "parted"
            logger.warning("descent ends: the agents left are in parts that do not hear each other")
        return True

    def _gains(self, moves: Array, rises: Array) -> tuple[Array, float]:
        """By how much each move lowers the mean, and the most that the slope promises."""
        promised = -(moves @ self.gradient)
        unit = np.where(promised > 0, promised, np.inf)
        bent = (rises - self.slope @ moves.T) / unit  # what is not linear
        lost = ~np.isfinite(bent) & np.isfinite(self.here)[:, None]
        bent = np.where(np.isfinite(bent), bent, 0.0)
        gains = promised * (1 - flood(self.network, self._gossip.settle(bent, BENT_TRUST, 1.0)))
        return self._without(lost, np.where(promised > 0, gains, -np.inf)), float(promised.max())

    def _fail(self, promised: float) -> None:
        """Try once more with fresh curvature and a fresh step for differences, or end."""
        self.failures += 1
        self.hessian = None
        self.move = np.zeros_like(self.x)
        self.phase = "probe"
        if self.failures < ATTEMPTS:
            return
        steep = float(np.linalg.norm(self.gradient))
        seen = steep > 2 * self.slope_noise * math.sqrt(self.box.d)
        if promised > 10 * self.value_noise and seen:
            self.ending = "kinks"
        elif self.value_noise * math.sqrt(self.network.n) > EXACT * EPSILON * self.size:
            self.ending = "noise"
        elif self._may_look():
            self.failures, self.phase = 0, "grids"
        else:
            self.ending = "converged"

    # --- BFGS -----------------------------------------------------------------------------

    def _direction(self) -> Array:
        """The step of BFGS over the coordinates that no bound holds, not longer than allowed.

        A coordinate that is pushed against a near bound goes there and is left out, lest steps
        shorten to what it has left (Bertsekas 1982); how near is near shrinks with what is left
        to descend.
        """
        g = self.gradient
        scale = self.scale or float(np.linalg.norm(g)) / LONGEST
        if scale == 0:
            return np.zeros_like(g)
        left = np.linalg.norm(self.x - np.clip(self.x - g / scale, 0.0, 1.0))
        near = min(NEAR, float(left))
        held = ((self.x <= near) & (g > 0)) | ((self.x >= 1 - near) & (g < 0))
        move = np.where(held, np.where(g > 0, -self.x, 1 - self.x), 0.0)
        free = np.flatnonzero(~held)
        newton = -g[free] / scale
        if self.hessian is not None:
            try:
                newton = -cho_solve(cho_factor(self.hessian[np.ix_(free, free)]), g[free])
            except np.linalg.LinAlgError:
                self.hessian = None
        move[free] = newton
        return move * (LONGEST / max(float(np.linalg.norm(move)), LONGEST))

    def _learn_curvature(self, s: Array, y: Array) -> None:
        """Update the Hessian from a step and what it changed in the slope."""
        sy = float(s @ y)
        length = float(np.linalg.norm(s))
        if sy <= max(1e-10 * float(np.linalg.norm(y)), 2 * self.slope_noise) * length:
            return  # no curvature, or none that can be told from noise
        self.scale = float(y @ y) / sy
        if self.hessian is None:
            self.hessian = self.scale * np.eye(len(s))
        hs = self.hessian @ s
        self.hessian = self.hessian + np.outer(y, y) / sy - np.outer(hs, hs) / float(s @ hs)


def round_cost(d: int) -> int:
    """Evaluations of an agent in a round of ``d`` coordinates."""
    return 2 * d + 1 + len(SHARES)

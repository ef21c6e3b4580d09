"""MASOIE with the coefficients and weights of LAC-MAS: one round of all owned swarms.

A round is K steps of internal learning on an agent's own objective, one exchange of swarms with
the neighbours, and one step of external learning (:mod:`bbopt.lacmas.swarm`). A guide
(:mod:`bbopt.lacmas.guides`) may change the coefficients of the old velocity and the weights of
the neighbours; without one this is MASOIE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bbopt.lacmas import act, guides, swarm
from bbopt.lacmas.draws import Draws
from bbopt.lacmas.memory import Memory
from bbopt.lacmas.network import HEADER, Network
from bbopt.lacmas.search import Array, Batch, Box, Ints, Search, finite

PATIENCE = 10
"""Rounds without a better value after which an agent learns one step less internally."""
LEAST_INTERVAL = 2
STILL = 1e-5
"""An agent leaves once the speeds of its swarm sum to less."""
EXTERNAL = -1
"""The last step of a round."""
EVENT_RATIO, EVENT_MEMORY, MOST_QUIET = 1.2, 0.8, 10
"""An exchange is due at so many times the usual movement, and after so many rounds without."""


@dataclass(frozen=True)
class SwarmSettings:
    """What a swarm is made of; the quirks of the sources are named where they are used.

    Attributes
    ----------
    n_particles : int
        P: particles of each agent, >= 4.
    interval : int
        K: steps of internal learning in a round at the start, >= 2.
    mix : {"particles", "centroid"}
        Whether whole swarms are sent and mixed particle by particle, or their centres alone.
    exchange : {"always", "event"}
        Whether every round ends in an exchange, or only those in which some agent has moved
        much (told to all by one collective flag).
    reference : {"ever", "round"}
        What an improvement of internal learning is measured from: the best value ever, or the
        best at the start of the round.
    scale : {"absolute", "box"}
        See :func:`bbopt.lacmas.act.thresholds`.
    project : {"symmetric", "row"}
        Whether the agents' wishes are made a doubly stochastic matrix, or each row is taken as
        it is.
    """

    n_particles: int = 300
    interval: int = 4
    mix: str = "particles"
    exchange: str = "always"
    reference: str = "ever"
    scale: str = "absolute"
    project: str = "symmetric"


class Masoie(Search):
    """The swarms of the owned agents; see the module and :class:`~bbopt.lacmas.search.Search`.

    Parameters
    ----------
    guide : Guide
        What changes coefficients and weights between rounds.
    start : (d,) array, optional
        A point that is every agent's first particle.
    """

    per_agent: ClassVar[tuple[str, ...]] = (
        "x", "v", "inner", "loss", "success", "chosen", "internal_best", "greatest",
        "best", "misses", "interval", "alive", "d", "c", "centre", "sent", "usual", "spread",
    )  # fmt: skip
    shared: ClassVar[tuple[str, ...]] = ("step", "finished", "quiet")

    def __init__(
        self,
        network: Network,
        box: Box,
        draws: Draws,
        budget: int | None,
        settings: SwarmSettings,
        guide: guides.Guide,
        start: Array | None = None,
    ) -> None:
        super().__init__(network, box, draws, budget)
        self.settings, self.guide = settings, guide
        a, p = len(network.agents), settings.n_particles
        self._pool = swarm.level_pool(p)
        self._limits = act.thresholds(settings.scale, box.low, box.high)
        self.history = Memory(a)
        self.x: Array = box.low + draws.uniform("start", 0, 0, p, box.d) * (box.high - box.low)
        if start is not None:
            self.x[:, 0] = start
        self.v: Array = np.zeros_like(self.x)
        self.inner: Array = np.zeros_like(self.x)  # velocity of internal learning
        self.loss: Array = np.full((a, p), np.inf)
        self.success: Array = np.ones((a, len(self._pool)))
        self.chosen: Ints = np.zeros(a, dtype=np.int64)
        self.internal_best: Array = np.full(a, np.inf)
        self.greatest: Array = np.zeros(a)
        self.best: Array = np.full(a, np.inf)
        self.misses: Ints = np.zeros(a, dtype=np.int64)
        self.interval: Ints = np.full(a, settings.interval)
        self.alive = self.affords(p) & network.living[network.agents]
        self.d, self.c = guide.start()
        self.centre: Array = self.x.mean(axis=1)
        self.spread: Array = np.zeros(a)  # divergence after internal learning
        self.sent: Array = self.centre.copy()
        self.usual: Array = np.zeros(a)  # how far a centre moves between messages
        self.step = 0  # 0: the first swarm; 1 ... K: internal learning; EXTERNAL
        self.finished = False
        self.quiet = 0  # rounds since the last exchange

    # --- the two functions ------------------------------------------------------------

    def propose(self) -> Batch | None:
        """The particles of the agents whose turn it is."""
        if self.finished:
            return None
        if self.pending is None:
            active = self.alive.copy()
            if self.step:
                active &= self.interval >= self.step
                if active.any():
                    self._learn_internally(active)
                elif self._learn_externally():
                    self.step = EXTERNAL
                    active = self.alive.copy()
                else:
                    self._end_round()
                    return self.propose()
            places = np.flatnonzero(active)
            self.pending = Batch(places, self.x[places])
        return self.pending

    def accept(self, values: Array) -> None:
        """Take their losses; after those of the external step the round ends."""
        places = self._close(values)
        self.loss[places] = finite(values)
        if self.step > 0:
            self._credit(places)
            self.step += 1
        elif self.step == 0:
            self.internal_best = self.loss.min(axis=1, initial=np.inf)
            self.best = self.internal_best.copy()
            self._stop_the_poor()
            self._start_round()
        else:
            self._end_round()

    @property
    def points(self) -> Array:
        """The centre of each swarm."""
        return np.asarray(self.x.mean(axis=1))

    @property
    def losses(self) -> Array:
        """The mean over each swarm of what could be evaluated."""
        return _mean(self.loss)

    def diagnostics(self) -> dict[str, float]:
        """What the guide has used."""
        return self.guide.diagnostics()

    def state(self) -> dict[str, Any]:
        """See :meth:`Search.state`; with memory and guide."""
        memory, guide = self.history.state(self.network), self.guide.state(self.network)
        return super().state() | {"memory": memory, "guide": guide}

    def restore(self, state: dict[str, Any]) -> None:
        """See :meth:`Search.restore`."""
        super().restore(state)
        self.history.restore(state["memory"], self.network)
        self.guide.restore(state["guide"], self.network)

    # --- a round ------------------------------------------------------------------------

    def _start_round(self) -> None:
        self.step = 1
        self.network.round_ = self.round_ + 1
        self.inner[:] = self.v
        if self.settings.reference == "round":
            self.internal_best = self.loss.min(axis=1, initial=np.inf)

    def _learn_internally(self, active: np.ndarray) -> None:
        """One level step of the active agents, key by key: a swarm stays in the cache."""
        p, d = self.x.shape[1:]
        for rows, draws in self.draws.units():
            if not active[rows].any():
                continue
            at = (self.round_, self.step)
            chosen = swarm.choose_levels(self.success[rows], draws.uniform("levels", *at))
            self.chosen[rows] = chosen
            u = draws.uniform("exemplars", *at, p, 4)
            r = draws.uniform("internal", *at, p, 3, d)
            for index in np.unique(chosen[active[rows]]):
                some = np.flatnonzero(active[rows] & (chosen == index))
                here = rows.start + some
                x, v = self.x[here], self.inner[here]
                swarm.level_step(x, v, self.loss[here], self._pool[index], u[some], r[some])
                self.box.clip(x)
                self.x[here], self.inner[here] = x, v

    def _credit(self, places: Ints) -> None:
        """Whether the numbers of levels just tried were any good."""
        success, best, greatest = (
            getattr(self, name)[places] for name in ("success", "internal_best", "greatest")
        )
        least = self.loss[places].min(axis=1)
        swarm.update_success(success, self.chosen[places], least, best, greatest)
        self.success[places], self.internal_best[places] = success, best
        self.greatest[places] = greatest

    def _learn_externally(self) -> bool:
        """Exchange and move; False where no agent has moved enough to be worth a message."""
        self.spread = swarm.divergence(self.x)
        centre = self.x.mean(axis=1)
        if not self._is_worth_a_message(centre):
            self.quiet += 1
            return False
        self.quiet = 0
        received = self.network.exchange(self._message(centre), self._headers(centre))
        self._follow(received.headers)
        momentum = act.coefficient(self.spread, self.d, self.c, self._limits)[:, None]
        for rows, draws in self.draws.units():
            u = draws.uniform("external", self.round_, 0, self.settings.n_particles)
            some = np.flatnonzero(self.alive[rows])
            here = rows.start + some
            x, v = self.x[here], self.v[here]
            mixed = received.mixed[here].reshape(len(here), -1, self.box.d) if len(here) else x
            if self.settings.mix == "centroid":
                mixed = x + (mixed - centre[here, None])
            swarm.external_step(x, v, mixed, momentum[here] * u[some])
            self.x[here], self.v[here] = self.box.clip(x), v
        self.centre = centre
        return True

    def _message(self, centre: Array) -> Array:
        if self.settings.mix == "centroid":
            return centre
        a, p, d = self.x.shape
        return self.x.reshape(a, p * d)  # not -1: a rank may own no agents

    def _headers(self, centre: Array) -> Array:
        values = {
            "alive": self.alive,
            "mean": self.losses,
            "least": self.loss.min(axis=1),
            "divergence": self.spread,
            "movement": np.linalg.norm(centre - self.centre, axis=1),
            "gain": self.history.gain(),
            "d": self.d,
            "c": self.c,
        }
        return np.stack([values[name] for name in HEADER], axis=1).astype(float)

    def _is_worth_a_message(self, centre: Array) -> bool:
        """Whether any agent's centre has moved more than usual since it was last sent."""
        if self.settings.exchange == "always":
            return True
        moved = np.mean(np.abs(centre - self.sent) / (self.box.high - self.box.low), axis=1)
        due = (moved > EVENT_RATIO * self.usual) & self.alive
        self.usual = EVENT_MEMORY * self.usual + (1 - EVENT_MEMORY) * moved
        due_now = self.network.any(bool(due.any())) or self.quiet >= MOST_QUIET
        if due_now:
            self.sent = centre.copy()
        return due_now

    def _follow(self, headers: Array) -> None:
        """Let the guide change coefficients and weights."""
        advice = self.guide.advise(
            guides.Context(
                round_=self.round_ + 1,
                d=self.d,
                c=self.c,
                history=self.history,
                headers=headers,
                interval=self.interval,
                alive=self.alive,
                evaluations=self.evaluations,
                budget=self.budget,
            )
        )
        self.d, self.c = advice.d, advice.c
        if advice.wishes is not None:
            theirs = self.network.swap(advice.wishes)
            symmetric = self.settings.project == "symmetric"
            self.network.weights = np.minimum(advice.wishes, theirs) if symmetric else advice.wishes

    def _end_round(self) -> None:
        self.round_ += 1
        self.history.push(self.losses, self.spread)
        least = self.loss.min(axis=1)
        better = least < self.best
        self.best = np.where(better, least, self.best)
        self.misses = np.where(better, 0, self.misses + 1)
        tired = (self.misses > PATIENCE) & (self.interval > LEAST_INTERVAL)
        self.interval = self.interval - tired
        self.misses[tired] = 0
        self.best[tired] = least[tired]
        self._leave()
        self._start_round()

    def _leave(self) -> None:
        """Agents whose swarm stands still, or whose budget is spent, go."""
        moving = np.abs(self.v).sum(axis=(1, 2)) >= STILL
        moving |= (self.network.degrees == 0) | (self.quiet > 0)
        self.alive &= moving & self.network.living[self.network.agents]
        self._stop_the_poor()

    def _stop_the_poor(self) -> None:
        """Those that cannot pay for a round go, too; without any it has ended."""
        self.alive &= self.affords((self.interval + 1) * self.settings.n_particles)
        self.finished = not self.network.any(bool(self.alive.any()))


def _mean(loss: Array) -> Array:
    """Mean of the finite losses of each agent, +inf where there is none."""
    known = np.isfinite(loss)
    total = np.where(known, loss, 0.0).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(known.any(axis=1), total / known.sum(axis=1), np.inf)

"""What every distributed method is: two functions over the arrays of the agents owned here.

A method proposes points for its agents and accepts their values; at the end of a round its
agents talk over a :class:`~bbopt.lacmas.network.Network`. Who evaluates is not its business:
``solve`` and ask/tell are skins over these two functions
(:mod:`bbopt.lacmas.distributed`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bbopt.lacmas.draws import Draws
from bbopt.lacmas.network import Network

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Box:
    """The search box: what every coordinate ranges over, in the coordinates of the search.

    Parameters
    ----------
    low, high : (d,) array
        Bounds, ``low < high``.
    """

    low: Array
    high: Array

    @property
    def d(self) -> int:
        """Number of coordinates."""
        return len(self.low)

    def clip(self, x: Array) -> Array:
        """``x`` inside the box, in place."""
        return np.clip(x, self.low, self.high, out=x)


@dataclass(frozen=True)
class Batch:
    """Points to evaluate.

    Attributes
    ----------
    agents : (b,) int array
        Places in :attr:`Network.agents` of those that evaluate now, ascending.
    x : (b, m, d) array
        Their points, inside the box.
    """

    agents: Ints
    x: Array


class Search(ABC):
    """A distributed method.

    Subclasses name their state: arrays with one row for each owned agent in ``per_agent``,
    JSON scalars in ``shared``. What is drawn is keyed by agent and round
    (:class:`~bbopt.lacmas.draws.Draws`), so that no generator is part of it.

    Parameters
    ----------
    network : Network
        Who is owned here, and who hears whom.
    box : Box
        Where to search.
    draws : Draws
        What the owned agents draw.
    budget : int, optional
        Evaluations that each agent has; None for no limit.
    """

    per_agent: ClassVar[tuple[str, ...]] = ()
    shared: ClassVar[tuple[str, ...]] = ()

    def __init__(self, network: Network, box: Box, draws: Draws, budget: int | None) -> None:
        self.network, self.box, self.draws, self.budget = network, box, draws, budget
        a = len(network.agents)
        self.evaluations: Ints = np.zeros(a, dtype=np.int64)
        """Evaluations of each owned agent so far."""
        self.round_ = 0
        """Rounds ended so far."""
        self.pending: Batch | None = None
        """The batch proposed and not yet accepted; None at the end of a round."""

    @abstractmethod
    def propose(self) -> Batch | None:
        """What to evaluate next; None when no agent anywhere goes on.

        Every rank gets None in the same round; a rank whose agents have all stopped gets empty
        batches until then. Asked again before ``accept``, it returns the same batch.
        """

    @abstractmethod
    def accept(self, values: Array) -> None:
        """Take the losses ``(b, m)`` of the last batch, NaN where nothing was observed.

        Communicates when that ends a round, and then counts ``round_`` up.
        """

    @property
    @abstractmethod
    def points(self) -> Array:
        """The point that each owned agent would settle for, ``(a, d)``."""

    @property
    @abstractmethod
    def losses(self) -> Array:
        """What each owned agent thinks of its own objective there, ``(a,)``."""

    def diagnostics(self) -> dict[str, float]:
        """Scalars worth a column in the trace, the same on every rank."""
        return {}

    def affords(self, m: int | Ints) -> npt.NDArray[np.bool_]:
        """Which owned agents can pay for ``m`` more evaluations (each, or all alike), ``(a,)``."""
        if self.budget is None:
            return np.ones(len(self.evaluations), dtype=bool)
        return self.evaluations + m <= self.budget

    def _close(self, values: Array) -> Ints:
        """The places of those whose values ``(b, m)`` came; their batch is closed and paid for."""
        assert self.pending is not None, "accept follows propose"
        places, self.pending = self.pending.agents, None
        self.evaluations[places] += values.shape[1]
        return places

    def _close_for_all(self, values: Array) -> Array:
        """The same as rows for every owned agent, ``(a, m)``, NaN for those that did not speak."""
        places = self._close(values)
        of_all = np.full((len(self.evaluations), values.shape[1]), np.nan)
        of_all[places] = values
        return of_all

    def _count_round(self) -> None:
        """One more round is over; what is drawn of faults is of the next."""
        self.round_ += 1
        self.network.round_ = self.round_ + 1

    def state(self) -> dict[str, Any]:
        """Everything it knows, of all agents; collective at the end of a round.

        In the middle of one, which only ask/tell sees, with the batch that is out.
        """
        arrays = ("evaluations", *self.per_agent)
        rows = {name: self.network.gather(getattr(self, name)) for name in arrays}
        batch = None if self.pending is None else [self.pending.agents, self.pending.x]
        shared = {name: getattr(self, name) for name in ("round_", *self.shared)}
        return rows | shared | {"pending": batch, "network": self.network.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what ``state`` returned, on any number of ranks."""
        for name in ("evaluations", *self.per_agent):
            setattr(self, name, np.array(state[name])[self.network.agents])
        for name in ("round_", *self.shared):
            setattr(self, name, state[name])
        self.network.restore(state["network"])
        batch = state["pending"]
        self.pending = None if batch is None else Batch(*(np.array(part) for part in batch))


def finite(values: Array) -> Array:
    """Losses in which nothing observed is worse than everything: NaN becomes +inf."""
    return np.where(np.isfinite(values), values, np.inf)

"""Optimizers for agents: ``solve`` and ask/tell as two skins over one search."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from scipy.sparse import csr_array

from bbopt import seeding
from bbopt.base import Optimizer
from bbopt.budget import Budget
from bbopt.errors import UsageError
from bbopt.lacmas import weights
from bbopt.lacmas.coordinates import Coordinates
from bbopt.lacmas.draws import Draws
from bbopt.lacmas.faults import Faults
from bbopt.lacmas.network import Network
from bbopt.lacmas.search import Array, Batch, Box, Ints, Search
from bbopt.lacmas.spectrum import Spectrum, spectrum
from bbopt.trial import Best, Outcome, Trial

AGREED = 1e-6
"""Agents are agreed when they disagree by less than so much of the box's diagonal."""

logger = logging.getLogger("bbopt")

Evaluate = Callable[[Array, int], Array]


class Distributed(Optimizer):
    """A method in which every agent queries its own cost and talks to its neighbours.

    Each of the N agents has ``budget.evaluations // N`` evaluations, fixed at the start; the
    last of them is kept for the point that they agree on. ``best`` is the mean of the agents'
    points, its value the mean over agents of one evaluation each. The space's ``initial`` is a
    member of the start, not a trial of its own; of foreign trials only the best is remembered.

    Subclasses write ``_new_search``.
    """

    kinds: ClassVar[frozenset[str]] = frozenset({"float", "int"})
    requires: ClassVar[tuple[str, ...]] = ("agents",)
    solves: ClassVar[bool] = True
    asks_initial: ClassVar[bool] = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._coordinates = Coordinates(self.space)
        self._search: Search | None = None
        self._share: int | None = None  # evaluations of each agent, the last one included
        self._saved: Mapping[str, Any] | None = None
        self._agreed: Best | None = None  # in losses, as is the next one
        self._foreign: Best | None = None
        self._scalars: dict[str, float] = {}
        self._counts: dict[str, Ints] = {}
        # ask/tell: the values that have come of the batch that is out
        self._values: Array = np.empty((0, 0))
        self._next = 0
        self._places: dict[int, tuple[int, int]] = {}  # trial number -> place in the batch
        self._batch: Batch | None = None
        self._last: Batch | None = None  # every agent once, at the point that they agree on

    @property
    def _rule(self) -> str:
        """The rule of the mixing weights, one of :data:`bbopt.lacmas.weights.RULES`."""
        return "metropolis"

    @property
    def _faults(self) -> Faults | None:
        """What goes wrong in the network on purpose."""
        return None

    @abstractmethod
    def _new_search(self, network: Network, box: Box, draws: Draws, budget: int | None) -> Search:
        """The method itself, for the agents owned here."""

    def diagnostics(self) -> dict[str, float]:
        """Disagreement (mean distance of the agents' points from their mean), rounds, traffic.

        ``silent`` is how many living agents had no value of the point agreed on: its value is the
        mean over the others.
        """
        return self._scalars

    # --- whole rounds -------------------------------------------------------------------

    def solve(
        self,
        evaluate: Evaluate,
        *,
        budget: Budget,
        report: Callable[[Mapping[str, float]], bool],
        comm: Any = None,
    ) -> Best | None:
        """Search until the budget is spent, every agent has stopped, or ``report`` says so.

        Parameters
        ----------
        evaluate : callable
            ``(x, agent) -> values``: ``(n,)`` of native points ``(n, d)``.
        budget : Budget
            Its evaluations are shared out equally.
        report : callable
            Called once a round on every rank with a dict of scalars; True stops.
        comm : optional
            :class:`~bbopt.running.ranks.Ranks` or an mpi4py communicator; every rank owns some
            agents.

        Raises
        ------
        UsageError
            If there is not one evaluation for each agent.
        """
        from threadpoolctl import threadpool_limits

        n, given = self.spec.agents.n, budget.evaluations  # type: ignore[union-attr]
        if given is not None and given < n:
            raise UsageError(f"budget: {n} agents need an evaluation each, got {given}")
        search = self._begin(given, comm)
        stop = False
        # products depend on the number of threads in their last bits, and ranks share the cores
        with threadpool_limits(1):
            while not stop and (batch := search.propose()) is not None:
                before = search.round_
                search.accept(self._evaluated(evaluate, search, batch))
                if search.round_ > before:
                    stop = report(self._row(search))
            self._agree(search, evaluate)
        return self.best

    def _evaluated(self, evaluate: Evaluate, search: Search, batch: Batch) -> Array:
        losses = np.empty(batch.x.shape[:2])
        for row, (place, x) in enumerate(zip(batch.agents, batch.x, strict=True)):
            values = evaluate(self._coordinates.to_native(x), int(search.network.agents[place]))
            losses[row] = self.spec.sign * values
        return losses

    def _row(self, search: Search) -> dict[str, float]:
        """What is reported of a round, the same on every rank.

        ``value`` is the mean of what each agent has found at its own point: of one setting for all
        only where ``agreed`` is 1.
        """
        living = search.network.living
        losses = search.network.gather(search.losses)[living]
        evaluations = int(self._counted(search, "evaluations", search.evaluations).sum())
        finite = losses[np.isfinite(losses)]
        value = self.spec.sign * float(finite.mean()) if len(finite) else np.nan
        row = {"round": search.round_, "evaluations": evaluations, "value": value}
        traffic = self._traffic(search)
        diagonal = float(np.linalg.norm(search.box.high - search.box.low))
        agreed = {"agreed": float(traffic["disagreement"] <= AGREED * diagonal)}
        return row | traffic | agreed | search.diagnostics()

    def _traffic(self, search: Search) -> dict[str, float]:
        network = search.network
        points = network.gather(search.points)[network.living]
        distance = np.linalg.norm(points - _mean(points), axis=1)
        return {
            "disagreement": float(_mean(distance)),
            "bytes_per_agent": float(self._counted(search, "bytes", network.bytes_sent).mean()),
            "messages": int(self._counted(search, "messages", network.messages).sum()),
        }

    def _counted(self, search: Search, name: str, counts: Ints) -> Ints:
        """The counts of all agents, ``(n,)``; of those lost with a rank the last that it told."""
        now = search.network.gather(counts)
        self._counts[name] = np.maximum(now, self._counts.get(name, 0))
        return self._counts[name]

    def _agree(self, search: Search, evaluate: Evaluate) -> None:
        """Every agent evaluates the mean of all points once."""
        batch = self._final_batch(search)
        losses = np.full(len(search.network.agents), np.nan)
        losses[batch.agents] = self._evaluated(evaluate, search, batch)[:, 0]
        search.evaluations[batch.agents] += 1
        self._conclude(search, search.network.gather(losses))

    def _final_batch(self, search: Search) -> Batch:
        network = search.network
        point = _mean(network.gather(search.points)[network.living])
        places = np.flatnonzero(network.living[network.agents])
        return Batch(places, np.broadcast_to(point, (len(places), 1, len(point))))

    def _conclude(self, search: Search, losses: Array) -> None:
        network = search.network
        living = losses[network.living]
        known = living[np.isfinite(living)]
        if len(known):
            point = network.gather(search.points)[network.living].mean(axis=0)
            params = self._coordinates.to_params(point)
            self._agreed = Best(params, float(known.mean()), None, 1)
        if not len(living):
            logger.warning("no agent is left")
        silent_ones = np.flatnonzero(network.living & ~np.isfinite(losses))
        if len(known) and len(silent_ones):
            silent = ", ".join(map(str, silent_ones[:10]))
            logger.warning("the value is the mean over the other agents: none came of %s", silent)
        self._scalars = self._final_scalars(search) | {"silent": len(silent_ones)}

    def _final_scalars(self, search: Search) -> dict[str, float]:
        ranks = {"rounds": search.round_, "ranks": search.network.n_ranks}
        faults = search.network.diagnostics()
        return self._traffic(search) | ranks | faults | search.diagnostics()

    # --- ask and tell -------------------------------------------------------------------

    def _ask(self, n: int, left: Budget) -> list[Trial]:
        if self._agreed is not None or (self._last is not None and self._next >= self._size):
            return []
        batch = self._out(left)
        trials: list[Trial] = []
        m = batch.x.shape[1]
        while len(trials) < n and self._next < self._size:
            place = divmod(self._next, m)
            agent = int(self._searching.network.agents[batch.agents[place[0]]])
            params = self._coordinates.to_params(batch.x[place])
            trials.append(self._new_trial(params, context={"agent": agent}))
            self._places[trials[-1].number] = place  # type: ignore[index]
            self._next += 1
        return trials

    @property
    def _searching(self) -> Search:
        return self._search or self._begin(None, None)

    @property
    def _size(self) -> int:
        return self._values.size

    def _out(self, left: Budget) -> Batch:
        """The batch that is out; a new one when the values of the last have all come."""
        if self._last is not None:
            return self._last
        if self._batch is not None:
            return self._batch
        search = self._search or self._begin(left.evaluations, None)
        batch = search.propose()
        if self._size and batch is not None:  # restored in the middle of it
            self._batch = batch
            return batch
        while batch is not None and not batch.x.size:
            search.accept(np.empty(batch.x.shape[:2]))
            batch = search.propose()
        if batch is None:
            batch = self._last = self._final_batch(search)
        self._batch = batch
        self._values, self._next = np.full(batch.x.shape[:2], np.nan), 0
        return batch

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        if trial.number is None and "agent" not in trial.context and outcome.feasible:
            self._note_foreign(trial, outcome)
        if trial.number is None or trial.number not in self._places:
            return
        self._values[self._places.pop(trial.number)] = outcome.mean
        if self._places or self._next < self._size:
            return
        search = self._searching
        if self._last is not None:
            losses = np.full(len(search.network.agents), np.nan)
            losses[self._last.agents] = self._values[:, 0]
            search.evaluations[self._last.agents] += 1
            self._conclude(search, losses)
            return
        self._out(Budget())  # a restored search proposes again before it accepts
        search.accept(self._values)
        self._batch = None
        self._scalars = self._final_scalars(search)
        self._values = np.empty((0, 0))

    def _tell_replaced(self, asked: Trial, trial: Trial, outcome: Outcome) -> None:
        self._tell(replace(trial, number=asked.number), outcome)

    def _note_foreign(self, trial: Trial, outcome: Outcome) -> None:
        """A foreign trial of no agent in particular is of the mean of all."""
        known = self._foreign
        if np.isfinite(outcome.mean) and (known is None or outcome.mean < known.value):
            self._foreign = Best(trial.params, outcome.mean, None, outcome.count)

    def _best(self) -> Best | None:
        own, foreign = self._own_best(), self._foreign
        if own is None or (foreign is not None and foreign.value < own.value):
            return foreign
        return own

    def _own_best(self) -> Best | None:
        """What the agents agreed on; until they have, their mean with each one's own word for it.

        Before every agent has spoken there is only the best that any was told.
        """
        if self._agreed is not None:
            return self._agreed
        if self._search is None and self._saved is None:
            return super()._best()
        losses = self._searching.losses
        if not self._searching.evaluations.all() or not np.isfinite(losses).all():
            return super()._best()
        point = self._searching.points.mean(axis=0)
        return Best(self._coordinates.to_params(point), float(losses.mean()), None, 1)

    # --- the search ---------------------------------------------------------------------

    def _begin(self, evaluations: int | None, comm: Any) -> Search:
        n = self.spec.agents.n  # type: ignore[union-attr]
        if self._saved is not None:
            self._share = self._saved["share"]
            if evaluations is not None and self._share not in (None, evaluations // n):
                logger.warning("each agent's budget was fixed at the start: %d", self._share)
        else:
            self._share = None if evaluations is None else evaluations // n
        budget = None if self._share is None else max(self._share - 1, 0)
        network = self._network(comm)
        self._counts = {}
        seed = seeding.stream_seed(self.seed, "agents", worker=self.worker)
        draws = Draws(seed, network.agents, n)
        self._search = self._new_search(network, self._coordinates.box, draws, budget)
        if self._saved is not None:
            self._search.restore(self._saved["search"])
            self._saved = None
        return self._search

    def _network(self, comm: Any) -> Network:
        if comm is None:
            return Network(self._matrix, self._faults)
        from bbopt.lacmas.mpi import MPINetwork

        return MPINetwork(self._matrix, comm, faults=self._faults)

    @cached_property
    def _matrix(self) -> csr_array:
        return weights.of(self.spec.agents, self._rule)  # type: ignore[arg-type]

    @cached_property
    def known(self) -> Spectrum:
        """The eigenvalues of the mixing weights."""
        return spectrum(self._matrix)

    def _state(self) -> dict[str, Any]:
        foreign = {"foreign": None if self._foreign is None else self._foreign.to_json()}
        if self._search is None:
            return dict(self._saved or {"search": None}) | foreign
        return foreign | {
            "search": self._search.state(),
            "share": self._share,
            "values": self._values,
            "next": self._next,
            "places": [[number, *place] for number, place in self._places.items()],
            "last": None if self._last is None else [self._last.agents, self._last.x],
            "agreed": None if self._agreed is None else self._agreed.to_json(),
            "scalars": self._scalars,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        if state["foreign"] is not None:
            self._foreign = Best(**state["foreign"])
        if state["search"] is None:
            return
        self._saved = state
        self._values, self._next = np.array(state["values"]), state["next"]
        self._places = {number: (i, j) for number, i, j in state["places"]}
        if state["last"] is not None:
            self._last = Batch(*(np.array(part) for part in state["last"]))
        if state["agreed"] is not None:
            self._agreed = Best(**state["agreed"])
        self._scalars = dict(state["scalars"])


def _mean(rows: Array) -> Array:
    """The mean of rows, or of numbers; NaN if there is none."""
    return rows.mean(axis=0) if len(rows) else np.full(rows.shape[1:], np.nan)

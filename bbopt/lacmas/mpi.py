"""The network over MPI: every rank owns some agents and multiplies their rows of the matrix.

A rank has the rows of its own agents and of their neighbours, in ascending order of agents, so
that sums have the terms and the order that they have in one process. What an agent says goes once
to each rank that owns a neighbour, through neighbourhood collectives of a distributed graph;
agents whose neighbours are all here are mixed while that is under way.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from bbopt.errors import UsageError
from bbopt.lacmas.draws import unit_size
from bbopt.lacmas.faults import Faults
from bbopt.lacmas.network import Array, Ints, Mask, Network, Scalar
from bbopt.running.ranks import Ranks

T = TypeVar("T")

logger = logging.getLogger("bbopt")


class MPINetwork(Network):
    """The agents of one rank among several; see :class:`~bbopt.lacmas.network.Network`.

    Every method is collective. Where MPI outlives a dead rank (:mod:`bbopt.running.ranks`), the
    agents of a dead rank are dead from then on, and rank 0 says so.

    Parameters
    ----------
    weights : (n, n) sparse array
        Mixing weights of all agents, the same on every rank.
    comm : Ranks, or mpi4py communicator
        All ranks; there may be more of them than agents.
    partition : (n,) int array, optional
        The rank that owns each agent; contiguous parts of equal size by default. Agents that
        share a key of their draws (:func:`~bbopt.lacmas.draws.unit_size`) must be on one rank.
    faults : Faults, optional
        What goes wrong on purpose; nothing by default.

    Raises
    ------
    UsageError
        If the ranks have not all been given the same, or the partition is not one.

    Attributes
    ----------
    n_ranks : int
        The number of ranks at the start.
    owners : (n,) int array
        The rank of each agent.
    """

    def __init__(
        self,
        weights: csr_array,
        comm: Any,
        partition: npt.ArrayLike | None = None,
        faults: Faults | None = None,
    ) -> None:
        self.ranks = comm if isinstance(comm, Ranks) else Ranks(comm)
        self.n_ranks = self.ranks.Get_size()
        n = int(weights.shape[0])
        if partition is None:
            self.owners = contiguous(n, self.n_ranks)
        else:
            self.owners = _checked(partition, n, self.n_ranks)
        self._compare(weights)
        self._known: Ints | None = None
        self._own(weights, np.flatnonzero(self.owners == self.ranks.Get_rank()), faults)
        self._comm: Any = None  # the living ranks for which the graph communicator was made
        self._graph: Any = None

    def _own(self, weights: csr_array, agents: Ints, faults: Faults | None) -> None:
        super()._own(weights, agents, faults)
        here = self.ranks.Get_rank()
        self._own_places = np.searchsorted(self._around, agents)
        owner_here = self.owners[self._around]
        # who hears whom goes both ways, so that ranks send to those from whom they receive
        self._partners = np.setdiff1d(owner_here, [here])
        self._comes = [np.flatnonzero(owner_here == rank) for rank in self._partners]
        edge_owner = self.owners[self.neighbours]
        self._goes = [np.unique(self.rows[edge_owner == rank]) for rank in self._partners]
        # one value for each edge: sent in order of (i, j), received in the sender's order of it
        self._edges_go = [np.flatnonzero(edge_owner == rank) for rank in self._partners]
        order = np.lexsort((agents[self.rows], self.neighbours))
        self._edges_come = [order[edge_owner[order] == rank] for rank in self._partners]
        inside = np.flatnonzero(edge_owner == here)
        self._inside, self._inside_back = inside, order[edge_owner[order] == here]
        # rows without a neighbour on another rank
        outward = np.bincount(self.rows, edge_owner != here, minlength=len(agents))
        self._is_interior = outward == 0

    @property
    def living(self) -> Mask:
        """See :attr:`Network.living`; agents of dead ranks are not among them."""
        known = self.ranks.living
        if self._known is not known:  # asked for at every message
            self._known, self._survivors = known, np.isin(self.owners, known)
        return super().living & self._survivors

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        return self.ranks.any(flag)

    def gather(self, values: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """See :meth:`Network.gather`; NaN, 0 or False for the agents of a dead rank."""
        mine = np.ascontiguousarray(values)
        return self.ranks.together(lambda: self._gather(mine))

    # --- inside a collective call ----------------------------------------------------------

    def _together(self, call: Callable[[], T]) -> T:
        def with_a_graph() -> T:
            if self._comm is not self.ranks.comm:
                self._connect()
            return call()

        return self.ranks.together(with_a_graph)

    def _connect(self) -> None:
        """Make the graph communicator of the living ranks."""
        ranks = self.ranks
        self._present = [k for k, rank in enumerate(self._partners) if rank in ranks.living]
        places = np.searchsorted(ranks.living, self._partners[self._present]).tolist()
        self._graph = ranks.comm.Create_dist_graph_adjacent(places, places)
        if len(ranks.living) < self.n_ranks and ranks.Get_rank() == 0:
            self._tell_losses()
        self._comm = ranks.comm

    def _tell_losses(self) -> None:
        dead = np.setdiff1d(np.arange(self.n_ranks), self.ranks.living)
        lost = np.flatnonzero(np.isin(self.owners, dead)).tolist()
        parts = self.components.max() + 1
        logger.warning(
            "lost %s with %s by round %d; neighbours keep the weight that they gave; %s",
            _listed("agent", lost),
            _listed("rank", dead.tolist()),
            self.round_,
            "the others are still connected"
            if parts == 1
            else f"the others fall into {parts} parts, each of which agrees on a point of its own",
        )

    def _spread(self, rows: Array) -> Array:
        around = self._placed(rows)
        everyone = np.ones(len(self._around), dtype=bool)
        self._receive(around, self._send(rows, everyone))
        return around

    def _product(self, weights: csr_array, rows: Array, speaks: Mask) -> Array:
        around = self._placed(rows)
        sent = self._send(rows, speaks)
        result, inner = np.empty((len(self.agents), rows.shape[1])), self._is_interior
        result[inner] = weights[inner] @ around
        self._receive(around, sent)
        result[~inner] = weights[~inner] @ around
        return result

    def _swapped(self, values: Array) -> Array:
        goes = [self._edges_go[k] for k in self._present]
        comes = [self._edges_come[k] for k in self._present]
        theirs = np.zeros_like(values)
        theirs[self._inside_back] = values[self._inside]
        counts = [len(part) for part in goes], [len(part) for part in comes]
        request, received = self._alltoall(values[_joined(goes)], *counts)
        self.ranks.wait(request)
        theirs[_joined(comes)] = received
        return theirs

    def _placed(self, rows: Array) -> Array:
        """Rows of all around, of which those of others are zero so far."""
        around = np.zeros((len(self._around), *rows.shape[1:]))
        around[self._own_places] = rows
        return around

    def _send(self, rows: Array, speaks: Mask) -> tuple[Any, Array, Ints]:
        """Send rows to every partner, and start to receive its own."""
        here = speaks[self._own_places]
        goes = [self._goes[k] for k in self._present]
        goes = [part[here[part]] for part in goes]
        comes = [self._comes[k] for k in self._present]
        comes = [part[speaks[part]] for part in comes]
        width = int(np.prod(rows.shape[1:]))
        buffer = np.ascontiguousarray(rows[_joined(goes)], dtype=float)
        counts = [len(part) * width for part in goes], [len(part) * width for part in comes]
        request, received = self._alltoall(buffer, *counts)
        places = _joined(comes)
        return request, received.reshape(len(places), *rows.shape[1:]), places

    def _receive(self, around: Array, sent: tuple[Any, Array, Ints]) -> None:
        request, received, places = sent
        self.ranks.wait(request)
        around[places] = received

    def _alltoall(self, buffer: Array, goes: list[int], comes: list[int]) -> tuple[Any, Array]:
        received = np.empty(sum(comes))
        request = self._graph.Ineighbor_alltoallv(
            [buffer, (goes, _starts(goes))], [received, (comes, _starts(comes))]
        )
        return request, received

    def _gather(self, mine: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """Rows of all agents from the living ranks."""
        width = int(np.prod(mine.shape[1:])) * mine.itemsize
        living = self.ranks.living
        order = np.concatenate([np.flatnonzero(self.owners == rank) for rank in living])
        sizes = np.bincount(self.owners, minlength=self.n_ranks)[living] * width
        packed = self.ranks.gather_bytes(np.frombuffer(mine.tobytes(), np.uint8), sizes)
        absent = np.nan if np.issubdtype(mine.dtype, np.inexact) else 0
        rows = np.full((self.n, *mine.shape[1:]), absent, dtype=mine.dtype)
        rows[order] = packed.view(mine.dtype).reshape(len(order), *mine.shape[1:])
        return rows

    def _compare(self, weights: csr_array) -> None:
        """Refuse ranks that have been given different things."""
        parts = (weights.indptr, weights.indices, weights.data, self.owners)
        hashed = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts))
        mine = int.from_bytes(hashed.digest()[:7], "big")
        if len(set(self.ranks.allgather(mine))) > 1:
            raise UsageError("weights and partition must be the same on every rank")


def contiguous(n: int, n_ranks: int) -> Ints:
    """The rank of each of ``n`` agents, ``(n,)``: contiguous, equal parts of whole keys."""
    size = unit_size(n)
    units = np.array_split(np.arange(-(-n // size)), n_ranks)
    owners = np.repeat(np.arange(n_ranks), [len(part) for part in units])
    return np.repeat(owners, size)[:n]


def _checked(partition: npt.ArrayLike, n: int, n_ranks: int) -> Ints:
    owners = np.asarray(partition)
    if owners.shape != (n,) or not np.issubdtype(owners.dtype, np.integer):
        raise UsageError(f"partition must be {n} ranks, one for each agent, got {owners.shape}")
    if owners.min() < 0 or owners.max() >= n_ranks:
        raise UsageError(f"partition: a rank must be in [0, {n_ranks - 1}], got {owners.max()}")
    size = unit_size(n)
    first = owners[np.arange(n) // size * size]
    if (owners != first).any():
        raise UsageError(f"partition: blocks of {size} agents must stay on one rank")
    return owners.astype(np.int64)


def _joined(parts: list[Ints]) -> Ints:
    return np.concatenate([np.empty(0, dtype=np.int64), *parts])


def _starts(counts: list[int]) -> list[int]:
    return [0, *np.cumsum(counts)[:-1].tolist()] if counts else []


def _listed(what: str, numbers: list[int]) -> str:
    if not numbers:
        return f"no {what}"
    shown = ", ".join(map(str, numbers[:20])) + (", ..." if len(numbers) > 20 else "")
    return f"{what}{'s' * (len(numbers) > 1)} {shown}"

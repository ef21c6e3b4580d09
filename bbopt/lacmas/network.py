"""What agents send to their neighbours, in one process: rows of one sparse matrix.

The other back end (:mod:`bbopt.lacmas.mpi`) multiplies the same rows in the same order, so that
results are equal to the last bit for any number of ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

HEADER = ("alive", "mean", "least", "divergence", "movement", "gain", "d", "c")
"""What travels with every message: 8 doubles, 64 bytes."""
ALIVE = HEADER.index("alive")


@dataclass(frozen=True)
class Received:
    """What one exchange brought.

    Attributes
    ----------
    mixed : (a, k) array
        ``Σ_j w_ij x_j`` over an agent's neighbours and itself, in ascending order of agents; the
        weight of a neighbour that was not heard goes to the agent itself.
    headers : (e, 8) array
        The neighbours' headers, in the order of :attr:`Network.neighbours`; NaN where a neighbour
        was not heard.
    """

    mixed: Array
    headers: Array


class Network:
    """All agents in one process.

    Parameters
    ----------
    weights : (n, n) sparse array
        Mixing weights, rows summing to one, columns ascending with self in its place.

    Attributes
    ----------
    n : int
        Number of agents.
    agents : (a,) int array
        Those owned here, ascending; all of them in one process.
    rows : (a,) int array
        For each edge that leaves an owned agent, the agent's place in :attr:`agents`.
    neighbours : (e,) int array
        The agent at the other end of each of these edges, ascending for each agent.
    bytes_sent, messages : (a,) int array
        Payload and number of the messages that each owned agent has sent.
    round_ : int
        The current round: keys the draws of simulated faults.
    """

    n_ranks = 1

    def __init__(self, weights: csr_array) -> None:
        self._own(weights, np.arange(weights.shape[0]))

    def _own(self, weights: csr_array, agents: Ints) -> None:
        """Take the rows of ``agents``; the base of every back end."""
        self.n = int(weights.shape[0])
        self.agents = agents
        self.round_ = 0
        local = weights[agents]
        local.sort_indices()
        self._weights = local
        each_row = np.repeat(np.arange(len(agents)), np.diff(local.indptr))
        self._is_self = local.indices == agents[each_row]
        self._each_row = each_row
        self.rows = each_row[~self._is_self]
        self.neighbours = local.indices[~self._is_self].astype(np.int64)
        self._place_in_row = np.arange(len(each_row)) - local.indptr[each_row]
        self._most_in_row = int(np.diff(weights.indptr).max())
        self.bytes_sent = np.zeros(len(agents), dtype=np.int64)
        self.messages = np.zeros(len(agents), dtype=np.int64)

    @property
    def degrees(self) -> Ints:
        """Neighbours of each owned agent, ``(a,)``."""
        return np.bincount(self.rows, minlength=len(self.agents))

    @property
    def weights(self) -> Array:
        """The weight of each edge that leaves an owned agent, ``(e,)``."""
        edges: Array = self._weights.data[~self._is_self]
        return edges

    @weights.setter
    def weights(self, values: Array) -> None:
        self._weights.data[~self._is_self] = values
        kept = 1.0 - np.bincount(self.rows, values, minlength=len(self.agents))
        self._weights.data[self._is_self] = kept

    def exchange(self, x: Array, headers: Array) -> Received:
        """Send a row and a header to every neighbour, and mix what comes.

        Parameters
        ----------
        x : (a, k) array
            What each owned agent sends.
        headers : (a, 8) array
            What goes with it; an agent whose ``alive`` is 0 sends its header alone, and is not
            mixed from then on.
        """
        alive = headers[:, ALIVE] > 0
        self._count(alive, x.shape[1] * x.itemsize, headers[0].nbytes if len(headers) else 0)
        heard = alive[self.neighbours]
        received = headers[self.neighbours]
        received[~heard] = np.nan
        mixed = self._heard_weights(heard, alive) @ x
        return Received(mixed, received)

    def mix(self, x: Array) -> Array:
        """``Σ_j w_ij x_j`` for rows ``(a, k)`` sent without a header, every agent alive."""
        self._count(np.ones(len(x), dtype=bool), x.shape[1] * x.itemsize, 0)
        return np.asarray(self._weights @ x)

    def swap(self, values: Array) -> Array:
        """For each edge i → j, ``(e,)``, the value that j has given for j → i."""
        self._count(np.ones(len(self.agents), dtype=bool), values.itemsize, 0)
        there = self.rows * self.n + self.neighbours  # ascending: it is a search key
        back = self.neighbours * self.n + self.rows
        return np.asarray(values[np.searchsorted(there, back)])

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        return flag

    def gather(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        """Rows ``(a, ...)`` of all agents, ``(n, ...)``, in their order; on every rank."""
        return values

    def state(self) -> dict[str, Any]:
        """Weights and counts, one row for each agent, of all agents; collective."""
        padded = np.zeros((len(self.agents), self._most_in_row))
        padded[self._each_row, self._place_in_row] = self._weights.data
        return {
            "weights": self.gather(padded),
            "bytes_sent": self.gather(self.bytes_sent),
            "messages": self.gather(self.messages),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` returned, on any number of ranks."""
        padded = np.array(state["weights"])[self.agents]
        self._weights.data[:] = padded[self._each_row, self._place_in_row]
        self.bytes_sent = np.array(state["bytes_sent"])[self.agents]
        self.messages = np.array(state["messages"])[self.agents]

    def _count(self, alive: Mask, payload: int, header: int) -> None:
        self.bytes_sent += self.degrees * (header + payload * alive)
        self.messages += self.degrees

    def _heard_weights(self, heard: Mask, alive: Mask) -> csr_array:
        """The owned rows with the weight of who was not heard given to self."""
        if heard.all() and alive.all():
            return self._weights
        data = self._weights.data.copy()
        edges = data[~self._is_self]
        edges[~heard | ~alive[self.rows]] = 0.0
        data[~self._is_self] = edges
        data[self._is_self] = 1.0 - np.bincount(self.rows, edges, minlength=len(self.agents))
        w = self._weights
        return csr_array((data, w.indices, w.indptr), shape=w.shape)

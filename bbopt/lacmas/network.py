"""What agents send to their neighbours, in one process: rows of one sparse matrix.

The other back end (:mod:`bbopt.lacmas.mpi`) multiplies the same rows in the same order, so that
results are equal to the last bit for any number of ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from bbopt.errors import UsageError
from bbopt.lacmas.faults import Faults, Links

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Scalar = TypeVar("Scalar", bound=np.generic)
T = TypeVar("T")

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
        Mixing weights, rows summing to one, columns ascending with self in its place; who has an
        entry for another has one in the other's row.
    faults : Faults, optional
        What goes wrong on purpose; nothing by default.

    Raises
    ------
    UsageError
        If one of two agents has an entry for the other, and not the other for it, or a fault
        concerns an agent that is not there.

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

    def __init__(self, weights: csr_array, faults: Faults | None = None) -> None:
        self._own(weights, np.arange(weights.shape[0]), faults)

    def _own(self, weights: csr_array, agents: Ints, faults: Faults | None) -> None:
        """Take the rows of ``agents``; the base of every back end."""
        self.n = int(weights.shape[0])
        self.agents = agents
        self.round_ = 0
        self._lost = np.zeros(self.n, dtype=bool)  # in an earlier session
        pattern = csr_array((np.ones(weights.nnz), weights.indices, weights.indptr), weights.shape)
        if (pattern != pattern.T).nnz:
            raise UsageError("weights: who hears another must be heard by it")
        self._pattern = pattern
        local = weights[agents]
        local.sort_indices()
        # all whose rows are needed here, ascending; the columns of the matrix that is kept
        self._around: Ints = np.union1d(agents, local.indices).astype(np.int64)
        columns = np.searchsorted(self._around, local.indices)
        shape = (len(agents), len(self._around))
        self._weights = csr_array((local.data, columns, local.indptr), shape=shape)
        each_row = np.repeat(np.arange(len(agents)), np.diff(local.indptr))
        self._is_self = local.indices == agents[each_row]
        self._each_row = each_row
        self.rows = each_row[~self._is_self]
        self.neighbours = local.indices[~self._is_self].astype(np.int64)
        self._places = columns[~self._is_self]  # of the neighbours among those around
        self._links = None if faults is None else Links(faults, pattern, agents)
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

    @property
    def living(self) -> Mask:
        """Which of all agents there still are, ``(n,)``; the same on every rank.

        The dead neither evaluate nor speak, and what they had is not part of any result.
        """
        here = ~self._lost
        return here if self._links is None else here & self._links.living(self.round_)

    @property
    def components(self) -> Ints:
        """For each agent the part of the graph it can still hear of, ``(n,)``; -1 for the dead.

        Parts are numbered from 0, the same on every rank.
        """
        living = self.living
        labels = np.full(self.n, -1)
        labels[living] = connected_components(self._pattern[living][:, living], directed=False)[1]
        return labels

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
        arrives, said = self._said(np.hstack([headers, x]) if self._is_late else None)
        received = self._together(lambda: self._exchanged(x, headers, arrives, said))
        self.count(x, headers.shape[1] * headers.itemsize, headers[:, ALIVE] > 0)
        self._note(received.mixed - x)
        return received

    def mix(self, x: Array) -> Array:
        """``Σ_j w_ij x_j`` for rows ``(a, k)`` sent without a header, every living agent alive."""
        arrives, sent = self._said(x if self._is_late else None)
        mixed = self._together(lambda: self._mixed_by_the_living(x, arrives, sent))
        self.count(x)
        self._note(mixed - x)
        return mixed

    def swap(self, values: Array) -> Array:
        """For each edge i → j, ``(e,)``, the value that j has given for j → i; 0 of the dead.

        A message that is lost is sent again: two ends always know the same.
        """
        theirs = self._together(lambda: self._swapped(values))
        theirs[~self.living[self.neighbours]] = 0.0
        self.count(np.empty((len(self.agents), 1)))
        return theirs

    @property
    def keeps_the_mean(self) -> bool:
        """Whether mixing leaves the mean of symmetric weights alone: no message late or one-way."""
        if self._links is None:
            return True
        faults = self._links.faults
        return not faults.late and not (faults.one_way and faults.drop)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        return flag

    def gather(self, values: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
        """Rows ``(a, ...)`` of all agents, ``(n, ...)``, in their order; on every rank."""
        return values

    def count(self, rows: Array, header: int = 0, alive: Mask | None = None) -> None:
        """Count a message of each living owned agent to each living neighbour.

        Parameters
        ----------
        rows : (a, k) array
            What is sent.
        header : int
            Bytes that go with each row.
        alive : (a,) bool array, optional
            Who sends a row with its header; all by default.
        """
        living = self.living
        links = living[self.agents][self.rows] & living[self.neighbours]
        messages = np.bincount(self.rows[links], minlength=len(self.agents))
        size = rows.shape[1] * rows.itemsize
        self.bytes_sent += messages * (header + size * (True if alive is None else alive))
        self.messages += messages

    def diagnostics(self) -> dict[str, float]:
        """What simulated faults have done, nothing without them; collective.

        ``living`` agents, the ``components`` that they fall into, and the ``drift``: how far
        mixing has moved the mean over all agents so far (Euclidean, over all that was mixed).
        """
        if self._links is None:
            return {}
        parts = self.components.max() + 1
        return {
            "living": int(self.living.sum()),
            "components": int(parts),
            "drift": self._links.drift(self.gather),
        }

    def state(self) -> dict[str, Any]:
        """Weights, counts and who lives, one row for each agent, of all agents; collective."""
        padded = np.zeros((len(self.agents), self._most_in_row))
        padded[self._each_row, self._place_in_row] = self._weights.data
        return {
            "weights": self.gather(padded),
            "bytes_sent": self.gather(self.bytes_sent),
            "messages": self.gather(self.messages),
            "round_": self.round_,
            "links": None if self._links is None else self._links.state(self.gather),
            "living": self.living,  # last: whoever dies in a gathering is not among them
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` returned, on any number of ranks."""
        padded = np.array(state["weights"])[self.agents]
        self._weights.data[:] = padded[self._each_row, self._place_in_row]
        self.bytes_sent = np.array(state["bytes_sent"])[self.agents]
        self.messages = np.array(state["messages"])[self.agents]
        self.round_ = state["round_"]
        self._lost = ~np.array(state["living"])
        if self._links is not None and state["links"] is not None:
            self._links.restore(state["links"])

    # --- what the other back end does its own way ------------------------------------------

    def _together(self, call: Callable[[], T]) -> T:
        """Make a call that communicates, and may have to be repeated: it changes nothing here."""
        return call()

    def _spread(self, rows: Array) -> Array:
        """Rows ``(a, ...)`` of the owned agents -> ``(h, ...)`` of all around."""
        return rows

    def _product(self, weights: csr_array, rows: Array, speaks: Mask) -> Array:
        """``weights`` ``(a, h)`` times the rows of all around, of which ``speaks`` send theirs."""
        return np.asarray(weights @ rows)

    def _swapped(self, values: Array) -> Array:
        there = self.rows * self.n + self.neighbours  # ascending: it is a search key
        back = self.neighbours * self.n + self.rows
        return np.asarray(values[np.searchsorted(there, back)])

    # --- one exchange ------------------------------------------------------------------------

    def _exchanged(self, x: Array, headers: Array, arrives: Mask, said: Array | None) -> Received:
        living, width = self.living, headers.shape[1]
        alive = (headers[:, ALIVE] > 0) & living[self.agents]
        around = self._spread(headers if said is None else said[:, :width])
        speaks = (around[:, ALIVE] > 0) & living[self._around]
        heard = arrives & speaks[self._places] & living[self.agents][self.rows]
        received = around[self._places]
        received[~heard] = np.nan
        sent = None if said is None else np.ascontiguousarray(said[:, width:])
        return Received(self._mixed(x, sent, heard, alive, speaks), received)

    def _mixed_by_the_living(self, x: Array, arrives: Mask, sent: Array | None) -> Array:
        living = self.living
        alive = living[self.agents]
        heard = arrives & living[self.neighbours] & alive[self.rows]
        return self._mixed(x, sent, heard, alive, living[self._around])

    def _note(self, moved: Array) -> None:
        if self._links is not None:
            self._links.note(moved)

    @property
    def _is_late(self) -> bool:
        return self._links is not None and self._links.faults.late > 0

    def _said(self, rows: Array | None) -> tuple[Mask, Array | None]:
        """Which edges bring a message, ``(e,)``, and, where some are late, what is in them."""
        if self._links is None:
            return np.ones(len(self.rows), dtype=bool), None
        return self._links.pass_on(self.round_, rows)

    def _mixed(self, x: Array, sent: Array | None, heard: Mask, alive: Mask, speaks: Mask) -> Array:
        weights = self._heard_weights(heard, alive)
        if sent is None:
            return self._product(weights, x, speaks)
        # an agent's own row is never late
        kept, data = weights.data[self._is_self], weights.data.copy()
        data[self._is_self] = 0.0
        others = csr_array((data, weights.indices, weights.indptr), shape=weights.shape)
        mixed: Array = self._product(others, sent, speaks) + kept[:, None] * x
        return mixed

    def _heard_weights(self, heard: Mask, alive: Mask) -> csr_array:
        """The owned rows with the weight of who was not heard given to self."""
        if heard.all() and alive.all():
            return self._weights
        w, is_lost = self._weights, ~heard | ~alive[self.rows]
        data, edges = w.data.copy(), self.weights
        # only rows that lack something change: no rank need know of another's
        lost = np.where(is_lost, edges, 0.0)
        data[~self._is_self] = np.where(is_lost, 0.0, edges)
        data[self._is_self] += np.bincount(self.rows, lost, minlength=len(self.agents))
        return csr_array((data, w.indices, w.indptr), shape=w.shape)

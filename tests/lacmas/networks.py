"""Networks for the tests, and agents that use all of what a network offers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from bbopt.lacmas.draws import Draws
from bbopt.lacmas.network import ALIVE, HEADER, Network
from bbopt.lacmas.search import Array, Batch, Box, Search


def metropolis(edges: list[tuple[int, int]], n: int) -> csr_array:
    """Metropolis weights of a graph, by way of a dense matrix."""
    adjacent = np.zeros((n, n), dtype=bool)
    for i, j in edges:
        adjacent[i, j] = adjacent[j, i] = True
    degree = adjacent.sum(axis=1)
    w = np.where(adjacent, 1 / (1 + np.maximum.outer(degree, degree)), 0.0)
    w[np.diag_indices(n)] = 1 - w.sum(axis=1)
    entries = adjacent | np.eye(n, dtype=bool)
    i, j = np.nonzero(entries)
    starts = np.concatenate([[0], np.cumsum(entries.sum(axis=1))])
    return csr_array((w[i, j], j, starts), shape=(n, n))


def some_graph(n: int, seed: int = 0) -> csr_array:
    """A path with about as many chords again."""
    rng = np.random.default_rng(seed)
    edges = [(i, i + 1) for i in range(n - 1)]
    for _ in range(n if n > 2 else 0):
        i, j = (int(k) for k in rng.choice(n, 2, replace=False))
        edges.append((i, j))
    return metropolis(edges, n)


def headers(n: int, alive: Any = True) -> Array:
    """Headers of n agents that say nothing but whether they are alive."""
    result = np.zeros((n, len(HEADER)))
    result[:, ALIVE] = alive
    return result


class Wanderers(Search):
    """Agents that walk at random, mix what they have, and leave in rounds drawn at random."""

    per_agent = ("x", "heard", "stays")
    shared = ("finished",)

    def __init__(self, network: Network, d: int, last: int, seed: int) -> None:
        draws = Draws(seed, network.agents, network.n)
        super().__init__(network, Box(np.zeros(d), np.ones(d)), draws, None)
        self.x = draws.uniform("start", 0, 0, d)
        self.stays = (1 + draws.uniform("leave", 0, 0) * last).astype(int)  # rounds
        self.heard = np.zeros(len(network.agents))
        self.finished = False

    def propose(self) -> Batch | None:
        if self.finished:
            return None
        self.network.round_ = self.round_ + 1
        here = np.flatnonzero(self._alive())
        return Batch(here, self.x[here, None, :])

    def accept(self, values: Array) -> None:
        network, alive, round_ = self.network, self._alive(), self.round_
        self.evaluations += alive
        told = headers(len(self.x), alive)
        told[:, 1] = network.agents
        received = network.exchange(self.x, told)
        known = ~np.isnan(received.headers[:, 1])
        assert (received.headers[known, 1] == network.neighbours[known]).all()
        self.heard = self.heard + np.bincount(network.rows[known], minlength=len(self.x))
        step = self.draws.normal("step", round_, 0, self.box.d)
        self.x = np.where(alive[:, None], received.mixed + 0.01 * step, self.x)
        self.x = network.mix(self.x)
        share = self.draws.uniform("wish", round_, 0)[network.rows]
        wishes = 0.4 * network.weights * (1 + share)
        network.weights = np.minimum(wishes, network.swap(wishes))
        self.round_ += 1
        self.finished = not network.any(bool(self._alive().any()))

    def _alive(self) -> Any:
        return (self.stays > self.round_) & self.network.living[self.network.agents]

    @property
    def points(self) -> Array:
        return self.x

    @property
    def losses(self) -> Array:
        return self.x.sum(axis=1)

    def state(self) -> dict[str, Any]:
        return super().state() | {"network": self.network.state()}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self.network.restore(state["network"])


def wander(
    network: Network,
    *,
    d: int = 3,
    last: int = 12,
    seed: int = 3,
    pause: int | None = None,
    state: dict[str, Any] | None = None,
    before: Callable[[Wanderers], None] | None = None,
) -> tuple[Wanderers, list[str]]:
    """Let them wander until all have left, or a round; a hash of what the living had in each."""
    search = Wanderers(network, d, last, seed)
    if state is not None:
        search.restore(state)
    hashes = []
    while search.round_ != pause and (batch := search.propose()) is not None:
        if before is not None:
            before(search)
        search.accept(batch.x.sum(axis=2))
        arrays = (search.x, search.heard, network.bytes_sent, network.messages)
        rows = [network.gather(rows) for rows in arrays]
        living = network.living
        said = b"".join(part[living].tobytes() for part in rows)
        hashes.append(hashlib.sha256(said).hexdigest())
    return search, hashes

"""Who can talk to whom: connected simple graphs by name and from files.

A graph is a sorted array of edges, never a set or a dict, so that every process and every session
builds the same one from (name, number of agents, seed). Those that are drawn at random are drawn
again until they are connected.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bbopt import checks, seeding
from bbopt.errors import UnknownName, UsageError, require
from bbopt.spec import Agents

Array: TypeAlias = npt.NDArray[np.float64]
Ints: TypeAlias = npt.NDArray[np.int64]

MAX_DRAWS = 1000
"""How often a random graph is drawn before it is given up as never connected."""


@dataclass(frozen=True, eq=False)
class Graph:
    """A connected undirected graph without loops or double edges.

    Parameters
    ----------
    n : int
        Number of agents, >= 1; they are called 0 ... n - 1.
    edges : (m, 2) int array
        The pairs that hear each other, in any order; kept as i < j, sorted by (i, j).
    values : (m, 2) array, optional
        Numbers beside the edges, such as a file has: what i gives to the word of j, and j to
        that of i. Without a meaning until a rule of :mod:`bbopt.lacmas.weights` gives them one.

    Raises
    ------
    UsageError
        If an agent is out of range, an edge is a loop or occurs twice, or the graph is not
        connected (the agents that cannot be reached from 0 are named).
    """

    n: int
    edges: Ints
    values: Array | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "n", checks.integer("agents", self.n, 1))
        edges = np.asarray(self.edges, dtype=np.int64).reshape(-1, 2)
        outside = edges[(edges < 0) | (edges >= self.n)]
        if len(outside):
            raise UsageError(f"graph: agents must be 0 ... {self.n - 1}, got {outside[0]}")
        loops = edges[edges[:, 0] == edges[:, 1]]
        if len(loops):
            raise UsageError(f"graph: an edge must join two agents, got {tuple(loops[0].tolist())}")
        turned = edges[:, 0] > edges[:, 1]
        edges = np.sort(edges, axis=1)
        order = np.lexsort((edges[:, 1], edges[:, 0]))
        edges = edges[order]
        twice = (edges[1:] == edges[:-1]).all(axis=1)
        if twice.any():
            pair = tuple(edges[1:][twice][0].tolist())
            raise UsageError(f"graph: every edge must be given once, got {pair} twice")
        object.__setattr__(self, "edges", edges)
        if self.values is not None:
            values = np.array(self.values, dtype=float).reshape(-1, 2)
            values[turned] = values[turned, ::-1]
            object.__setattr__(self, "values", values[order])
        missing = np.flatnonzero(self._unreached())
        if len(missing):
            names = ", ".join(map(str, missing[:5])) + (", ..." if len(missing) > 5 else "")
            raise UsageError(f"graph must be connected: no path leads from 0 to {names}")

    @cached_property
    def degrees(self) -> Ints:
        """Neighbours of each agent, ``(n,)``."""
        return np.bincount(self.edges.ravel(), minlength=self.n)

    @cached_property
    def diameter(self) -> int:
        """The longest of the shortest ways from one agent to another, in edges."""
        return max(int(self._distances(start).max()) for start in range(self.n))

    def _unreached(self) -> npt.NDArray[np.bool_]:
        return self._distances(0) < 0

    def _distances(self, start: int) -> Ints:
        """Edges on the shortest way from ``start``, ``(n,)``; -1 where there is none."""
        first, ends = self._neighbours
        distances = np.full(self.n, -1)
        distances[start] = 0
        front, step = np.array([start]), 0
        while len(front):
            step += 1
            spans = [ends[first[i] : first[i + 1]] for i in front]
            reached = np.unique(np.concatenate(spans))
            front = reached[distances[reached] < 0]
            distances[front] = step
        return distances

    @cached_property
    def _neighbours(self) -> tuple[Ints, Ints]:
        """Where each agent's neighbours begin, ``(n + 1,)``, in the list of all of them."""
        both = np.concatenate([self.edges, self.edges[:, ::-1]])
        both = both[np.lexsort((both[:, 1], both[:, 0]))]
        first = np.searchsorted(both[:, 0], np.arange(self.n + 1))
        return first, both[:, 1]


def of(agents: Agents) -> Graph:
    """The graph of a distributed problem, with its weights as values.

    Raises
    ------
    UsageError
        If it is not connected.
    """
    edges = np.array([edge[:2] for edge in agents.edges], dtype=np.int64).reshape(-1, 2)
    weights = np.array([edge[2] for edge in agents.edges], dtype=float)
    return Graph(agents.n, edges, np.column_stack([weights, weights]))


def build(graph: str, n: int | None = None, seed: int = 0) -> Graph:
    """The graph of that name, such as ``"ring"`` or ``"watts-strogatz:k=4,p=0.1"``, or of a file.

    Parameters
    ----------
    graph : str
        A key of :data:`NAMES`, after a colon its parameters as ``key=number``; or the path of a
        file (:func:`read`).
    n : int, optional
        Number of agents, >= 1; needed unless the graph is a file's.
    seed : int
        Seed of what is drawn, >= 0.

    Raises
    ------
    UnknownName
        If it is neither a known name nor a file.
    UsageError
        If a parameter is unknown or out of its range, no such graph has ``n`` agents, or
        ``MAX_DRAWS`` draws have given no connected one.
    MissingExtra
        If networkx is not installed.

    Examples
    --------
    >>> build("ring", 4).edges.tolist()
    [[0, 1], [0, 3], [1, 2], [2, 3]]
    """
    name, _, text = graph.partition(":")
    if name not in NAMES:
        if Path(graph).is_file():
            return read(graph, n)
        raise UnknownName("graph (nor is there such a file)", graph, NAMES)
    if n is None:
        raise UsageError(f"graph {name!r} needs the number of agents")
    n = checks.integer("agents", n, 1)
    make = NAMES[name]
    given = _parameters(name, text, make)
    nx = require("networkx", extra="swarm", needed_by=f"graph {name!r}")
    if n == 1:
        return Graph(1, np.empty((0, 2), dtype=np.int64))
    rng = seeding.stream(seeding.checked_seed(seed), "topology")
    for _ in range(MAX_DRAWS if name in RANDOM else 1):
        try:
            drawn = make(nx, n, rng, **given)
        except nx.NetworkXException as error:
            raise UsageError(f"graph {graph!r} of {n} agents: {error}") from None
        if nx.is_connected(drawn):
            labels = {node: i for i, node in enumerate(sorted(drawn))}
            edges = [(labels[i], labels[j]) for i, j in drawn.edges]
            return Graph(n, np.array(edges, dtype=np.int64))
    raise UsageError(f"graph {graph!r} of {n} agents: not connected in {MAX_DRAWS} draws")


def read(path: str | Path, n: int | None = None) -> Graph:
    """The graph of a text file: an edge list, or a matrix; ``#`` begins a comment.

    A table of two or three columns lists edges ``i j`` or ``i j value``, each once, with agents
    counted from 0. A square table of more columns is a matrix, with an edge wherever two agents
    have an entry other than 0; its numbers are the graph's values unless all are 0 or 1.

    Parameters
    ----------
    path : path-like
        The file.
    n : int, optional
        Number of agents; where None, those that occur in the file.

    Raises
    ------
    UsageError
        If it cannot be read, is no such table, is not symmetric in who hears whom, is a matrix
        with a diagonal whose rows do not sum to one, or the graph is not simple and connected.
    """
    try:
        table = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise UsageError(f"graph {str(path)!r} cannot be read: {error}") from None
    if table.shape[1] in (2, 3) and len(table):
        graph = _from_list(str(path), table, n)
    elif table.shape[0] == table.shape[1] > 3:
        graph = _from_matrix(str(path), table)
    else:
        raise UsageError(
            f"graph {str(path)!r} must be an edge list of 2 or 3 columns or a square matrix of "
            f"more than 3, got {table.shape[0]} rows and {table.shape[1]} columns"
        )
    if n not in (None, graph.n):
        raise UsageError(f"graph {str(path)!r} has {graph.n} agents, not {n}")
    return graph


def _from_list(path: str, table: Array, n: int | None) -> Graph:
    edges = table[:, :2].astype(np.int64)
    if (edges != table[:, :2]).any() or (edges < 0).any():
        raise UsageError(f"graph {path!r}: agents must be integers >= 0")
    values = table[:, [2, 2]] if table.shape[1] == 3 else None
    return Graph(int(edges.max()) + 1 if n is None else n, edges, values)


def _from_matrix(path: str, table: Array) -> Graph:
    heard = table != 0
    if (heard != heard.T).any():
        i, j = np.argwhere(heard != heard.T)[0]
        raise UsageError(f"graph {path!r} must be undirected: only one of {i}, {j} hears the other")
    wrong = np.flatnonzero(np.abs(table.sum(axis=1) - 1) > 1e-9)
    if table.diagonal().any() and not np.isin(table, (0, 1)).all() and len(wrong):
        raise UsageError(f"graph {path!r}: row {wrong[0]} of a matrix of weights must sum to 1")
    upper = np.argwhere(np.triu(heard, 1))
    i, j = upper.T
    values = None if np.isin(table, (0, 1)).all() else np.column_stack([table[i, j], table[j, i]])
    return Graph(len(table), upper, values)


# --- by name: (networkx, n, rng, parameters) -> a networkx graph ---------------------------


def _ring(nx: ModuleType, n: int, rng: Any) -> Any:
    return nx.Graph(nx.cycle_graph(n)) if n > 2 else nx.path_graph(n)


def _path(nx: ModuleType, n: int, rng: Any) -> Any:
    return nx.path_graph(n)


def _grid(nx: ModuleType, n: int, rng: Any, rows: int = 0) -> Any:
    return nx.grid_2d_graph(*_sides(n, rows))


def _torus(nx: ModuleType, n: int, rng: Any, rows: int = 0) -> Any:
    return nx.Graph(nx.grid_2d_graph(*_sides(n, rows, least=3), periodic=True))


def _regular(nx: ModuleType, n: int, rng: Any, d: int = 3) -> Any:
    return nx.random_regular_graph(d, n, seed=rng)


def _erdos_renyi(nx: ModuleType, n: int, rng: Any, p: float = 0.0) -> Any:
    p = p or min(1.0, 2 * np.log(n) / n)  # twice the threshold of being connected
    return nx.fast_gnp_random_graph(n, checks.number("p", p, 0, 1), seed=rng)


def _watts_strogatz(nx: ModuleType, n: int, rng: Any, k: int = 4, p: float = 0.1) -> Any:
    return nx.watts_strogatz_graph(n, k, checks.number("p", p, 0, 1), seed=rng)


def _barabasi_albert(nx: ModuleType, n: int, rng: Any, m: int = 2) -> Any:
    return nx.barabasi_albert_graph(n, m, seed=rng)


def _star(nx: ModuleType, n: int, rng: Any) -> Any:
    return nx.star_graph(n - 1)


def _complete(nx: ModuleType, n: int, rng: Any) -> Any:
    return nx.complete_graph(n)


def _hypercube(nx: ModuleType, n: int, rng: Any) -> Any:
    if n & (n - 1):
        raise UsageError(f"graph 'hypercube' needs a power of 2 as the number of agents, got {n}")
    return nx.hypercube_graph(n.bit_length() - 1)


def _geometric(nx: ModuleType, n: int, rng: Any, radius: float = 0.0) -> Any:
    radius = radius or np.sqrt(2 * np.log(n) / (np.pi * n))  # √2 times the threshold
    places = dict(enumerate(rng.random((n, 2)).tolist()))
    return nx.random_geometric_graph(n, checks.number("radius", radius, 0), pos=places)


NAMES: dict[str, Callable[..., Any]] = {
    "ring": _ring,
    "path": _path,
    "grid": _grid,
    "torus": _torus,
    "regular": _regular,
    "erdos-renyi": _erdos_renyi,
    "watts-strogatz": _watts_strogatz,
    "barabasi-albert": _barabasi_albert,
    "star": _star,
    "complete": _complete,
    "hypercube": _hypercube,
    "geometric": _geometric,
}
"""Name -> what builds the graph; its further arguments are the parameters of the name.

``grid`` and ``torus``: rows (the nearest to a square where 0); ``regular``: d neighbours each, at
random; ``erdos-renyi``: p, by default 2 ln(n)/n; ``watts-strogatz``: a ring with k neighbours each,
of which the share p is rewired; ``barabasi-albert``: m edges a newcomer; ``geometric``: agents in
the unit square that are nearer than ``radius``, by default √(2 ln(n)/(π n)).
"""

RANDOM = frozenset({"regular", "erdos-renyi", "watts-strogatz", "barabasi-albert", "geometric"})
"""The names whose graphs are drawn from the seed."""


def _parameters(name: str, text: str, make: Callable[..., Any]) -> dict[str, Any]:
    allowed = dict(list(inspect.signature(make).parameters.items())[3:])
    given: dict[str, Any] = {}
    for pair in filter(None, text.split(",")):
        key, _, value = pair.partition("=")
        if key not in allowed:
            known = ", ".join(allowed) or "none"
            raise UsageError(f"graph {name!r} has no parameter {key!r}; allowed are {known}")
        try:
            number = float(value)
        except ValueError:
            raise UsageError(f"graph {name!r}: {key} must be a number, got {value!r}") from None
        is_whole = isinstance(allowed[key].default, int)
        given[key] = (checks.integer if is_whole else checks.number)(key, number, 0)
    return given


def _sides(n: int, rows: int, least: int = 1) -> tuple[int, int]:
    """Rows and columns of ``n`` agents; rows the greatest divisor up to √n where 0."""
    if not rows:
        rows = max(r for r in range(1, int(np.sqrt(n)) + 1) if n % r == 0)
    if n % rows or min(rows, n // rows) < least:
        raise UsageError(
            f"graph: {n} agents do not make a rectangle of {rows} rows"
            + (f" with sides of {least} or more" if least > 1 else "")
        )
    return rows, n // rows

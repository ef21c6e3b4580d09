"""How much an agent gives to the word of each neighbour: mixing weights as sparse matrices.

Row i of a matrix has what agent i gives to the others, columns ascending with itself in its place
(an entry of its own even where it is 0), so that every back end sums in the same order. Where the
columns sum to one as well, mixing keeps the mean over all agents, and a run minimises the mean of
their objectives. Where only the rows do, agents agree all the same, but on the mean weighted by π,
πᵀA = πᵀ: the run drifts towards the least of Σ πᵢ fᵢ.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from bbopt import checks
from bbopt.errors import UsageError
from bbopt.lacmas import topology
from bbopt.lacmas.spectrum import spectrum
from bbopt.lacmas.topology import Graph
from bbopt.spec import Agents

Array: TypeAlias = npt.NDArray[np.float64]

ROUNDING = 1e-9
"""How far a sum of given weights may be from one."""

logger = logging.getLogger("bbopt")


def of(agents: Agents, rule: str = "metropolis") -> csr_array:
    """Mixing weights for the agents of a problem; arguments and errors of :func:`build`."""
    return build(topology.of(agents), rule)


def build(graph: Graph, rule: str = "metropolis") -> csr_array:
    """Mixing weights by the name of their rule.

    Parameters
    ----------
    graph : Graph
        Who hears whom.
    rule : str
        A key of :data:`RULES`.

    Returns
    -------
    csr_array
        ``(n, n)``, float64.

    Raises
    ------
    UsageError
        If there is no such rule, or the graph's own values (rule ``given``) are no weights.
    """
    make = RULES[checks.one_of("weights", rule, RULES)]
    return _checked(make(graph))


def metropolis(graph: Graph) -> csr_array:
    """a_ij = 1/(1 + max(d_i, d_j)): symmetric, and known from the two degrees alone."""
    d = graph.degrees[graph.edges]
    return _from_edges(graph, 1 / (1 + d.max(axis=1)))


def max_degree(graph: Graph) -> csr_array:
    """a_ij = 1/(1 + d_max): symmetric, one constant for every edge."""
    return _from_edges(graph, np.full(len(graph.edges), 1 / (1 + graph.degrees.max(initial=0))))


def uniform(graph: Graph) -> csr_array:
    """a_ij = 1/(1 + d_i): every agent averages what it hears; only the rows sum to one."""
    return _from_edges(graph, 1 / (1 + graph.degrees[graph.edges]))


def best_constant(graph: Graph) -> csr_array:
    """a_ij = 2/(μ_2 + μ_n), of the Laplacian's eigenvalues: the fastest constant weight.

    Where that would leave an agent a negative weight for itself, 1/d_max: the fastest that does
    not. Needs the whole graph. Source: Xiao and Boyd (2004), *Fast linear iterations for
    distributed averaging*, equation 21.
    """
    if graph.n == 1:
        return max_degree(graph)
    # I - L/(1 + d_max) has the eigenvalues 1 - μ/(1 + d_max)
    scale = 1 + graph.degrees.max()
    known = spectrum(max_degree(graph))
    least, greatest = scale * (1 - known.second), scale * (1 - known.least)
    weight = min(2 / (least + greatest), 1 / graph.degrees.max())
    return _from_edges(graph, np.full(len(graph.edges), weight))


def given(graph: Graph) -> csr_array:
    """The graph's own values as weights; an agent keeps what its neighbours leave."""
    if graph.values is None:
        raise UsageError("weights 'given': the graph has no weights of its own")
    return _from_edges(graph, graph.values)


def lazy(weights: csr_array) -> csr_array:
    """(I + A)/2, whose eigenvalues are >= 0 where A is symmetric."""
    return pulled(weights, 0.5)


def pulled(weights: csr_array, share: float) -> csr_array:
    """I + share (A - I): the pull of the neighbours times ``share``, in [0, 1]."""
    share = checks.number("share", share, 0, 1)
    result = weights.copy()
    is_self = self_entries(weights)
    result.data[~is_self] *= share
    return _kept(result, is_self)


def from_matrix(matrix: npt.ArrayLike, graph: Graph | None = None) -> csr_array:
    """A matrix of the user's own as weights.

    Parameters
    ----------
    matrix : (n, n) array or sparse array
        Its entries; row i is what agent i gives to the others and keeps.
    graph : Graph, optional
        Who hears whom, where entries elsewhere are to be refused.

    Raises
    ------
    UsageError
        If it is not square, an entry is negative or not finite, a row does not sum to one, one
        of two agents hears the other and is not heard by it, the graph is not connected, or two
        agents that have no edge have a weight.
    """
    weights = csr_array(matrix, dtype=float)
    n = weights.shape[0]
    if weights.shape != (n, n) or n == 0:
        raise UsageError(f"weights must be a square matrix, got the shape {weights.shape}")
    weights.sum_duplicates()
    weights.eliminate_zeros()
    heard = weights.astype(bool).tocoo()
    is_pair = heard.row < heard.col
    own = Graph(n, np.column_stack([heard.row, heard.col])[is_pair])
    if weights.nnz - np.count_nonzero(weights.diagonal()) != 2 * len(own.edges):
        raise UsageError("weights: who hears another must be heard by it (a_ij > 0 where a_ji > 0)")
    if graph is not None:
        if graph.n != n:
            raise UsageError(f"weights must be of {graph.n} agents, got {n}")
        known = set(map(tuple, graph.edges.tolist()))
        for i, j in own.edges.tolist():
            if (i, j) not in known:
                raise UsageError(f"weights: agents {i} and {j} have a weight and no edge")
        own = graph
    i, j = own.edges.T
    values = np.column_stack([weights[i, j], weights[j, i]]) if len(i) else np.empty((0, 2))
    result = _from_edges(own, values)
    result.data[self_entries(result)] = weights.diagonal()
    return _checked(result)


def projected(wishes: csr_array, cap: float = 1.0) -> csr_array:
    """Symmetric weights that grant of every wish what its neighbour wishes, too.

    a_ij = min(q_ij, q_ji, cap), the rest stays with the agent: symmetric, doubly stochastic, no
    weight above a wish. Takes one number from each neighbour.

    Parameters
    ----------
    wishes : csr_array
        ``(n, n)``, >= 0, on the pattern of weights; what agents wish to give to themselves is
        not looked at.
    cap : float
        Greatest weight of a neighbour, in (0, 1].

    Raises
    ------
    UsageError
        If a wish is negative or not finite, or an agent wishes to give away more than one.
    """
    cap = checks.number("cap", cap, 0, 1)
    result, is_self = wishes.copy(), self_entries(wishes)
    result.data[is_self] = 0.0
    _check_entries(result)
    if (result.sum(axis=1) > 1 + ROUNDING).any():
        i = int(np.argmax(result.sum(axis=1)))
        raise UsageError(f"weights: agent {i} must not give away more than 1 in all")
    back = result.T.tocsr()
    back.sort_indices()  # the pattern is symmetric, so that the entries lie side by side
    result.data[:] = np.minimum(np.minimum(result.data, back.data), cap)
    return _kept(result, is_self)


def without(weights: csr_array, dead: npt.ArrayLike) -> csr_array:
    """The weights when some agents are gone: their weight stays with who gave it.

    ``dead`` is ``(n,)`` bool. The dead keep all to themselves. Entries stay, as zeros, and
    symmetric weights stay symmetric.
    """
    gone = np.asarray(dead, dtype=bool)
    return unheard(weights, gone[_rows(weights)] | gone[weights.indices])


def unheard(weights: csr_array, lost: npt.ArrayLike) -> csr_array:
    """The weights when some messages are lost: their weight stays with who did not hear.

    ``lost`` is ``(nnz,)`` bool beside ``weights.data``; of an agent's own entry it is ignored.
    Entries stay, as zeros.
    """
    result, is_self = weights.copy(), self_entries(weights)
    result.data[np.asarray(lost, dtype=bool) & ~is_self] = 0.0
    return _kept(result, is_self)


def self_entries(weights: csr_array) -> npt.NDArray[np.bool_]:
    """Which entries of ``weights.data`` are an agent's own, ``(nnz,)``."""
    is_self: npt.NDArray[np.bool_] = weights.indices == _rows(weights)
    return is_self


def is_doubly_stochastic(weights: csr_array) -> bool:
    """Whether the columns sum to one as well, so that mixing keeps the mean."""
    return bool((np.abs(weights.sum(axis=0) - 1) <= ROUNDING).all())


def stationary(weights: csr_array) -> Array:
    """π ``(n,)`` with πᵀA = πᵀ and Σ π = 1: agents agree on the mean weighted by π."""
    from scipy.sparse.linalg import splu

    n = weights.shape[0]
    if n == 1:
        return np.ones(1)
    # A connected graph leaves one π up to its scale: fix the first, solve for the others.
    system = (_identity(n) - weights.T).tocsc()
    pi = np.concatenate([[1.0], splu(system[1:, 1:]).solve(-system[1:, [0]].toarray()[:, 0])])
    scaled: Array = pi / pi.sum()
    return scaled


RULES: dict[str, Callable[[Graph], csr_array]] = {
    "metropolis": metropolis,
    "max_degree": max_degree,
    "uniform": uniform,
    "best_constant": best_constant,
    "lazy": lambda graph: lazy(metropolis(graph)),
    "given": given,
}
"""Name -> rule; ``lazy`` is that of Metropolis, ``given`` takes the graph's own values."""


def _from_edges(graph: Graph, values: Array) -> csr_array:
    """Weights a_ij of edges, ``(m,)``, or a_ij and a_ji, ``(m, 2)``; self keeps the rest."""
    i, j = graph.edges.T
    there, back = (values, values) if values.ndim == 1 else values.T
    every = np.arange(graph.n)
    row, column = np.concatenate([i, j, every]), np.concatenate([j, i, every])
    data = np.concatenate([there, back, np.zeros(graph.n)])
    order = np.lexsort((column, row))
    first = np.searchsorted(row[order], np.arange(graph.n + 1))
    result = csr_array((data[order], column[order], first), shape=(graph.n, graph.n))
    return _kept(result, self_entries(result))


def _kept(weights: csr_array, is_self: npt.NDArray[np.bool_]) -> csr_array:
    """Give each agent, in place, what its neighbours leave of one."""
    rows = _rows(weights)
    away = np.bincount(rows[~is_self], weights.data[~is_self], minlength=weights.shape[0])
    weights.data[is_self] = 1.0 - away
    return weights


def _rows(weights: csr_array) -> npt.NDArray[np.int64]:
    """The row of every entry, ``(nnz,)``."""
    return np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))


def _identity(n: int) -> csr_array:
    return csr_array((np.ones(n), np.arange(n), np.arange(n + 1)), shape=(n, n))


def _check_entries(weights: csr_array) -> None:
    bad = ~(np.isfinite(weights.data) & (weights.data >= -ROUNDING))
    if bad.any():
        at = int(np.argmax(bad))
        i, j = int(_rows(weights)[at]), int(weights.indices[at])
        what = f"agent {i} gives {weights.data[at]:g} to " + ("itself" if i == j else f"{j}")
        raise UsageError(f"weights must be finite and >= 0, and {what}")


def _checked(weights: csr_array) -> csr_array:
    _check_entries(weights)
    np.maximum(weights.data, 0.0, out=weights.data)
    sums = weights.sum(axis=1)
    wrong = np.abs(sums - 1) > ROUNDING
    if wrong.any():
        i = int(np.argmax(wrong))
        raise UsageError(f"weights: each row must sum to 1, and row {i} sums to {sums[i]:g}")
    if not is_doubly_stochastic(weights):
        pi = stationary(weights)
        logger.warning(
            "weights: the rows sum to one, the columns do not (%.3g to %.3g): agents agree on the "
            "mean weighted by %.3g (agent %d) to %.3g (agent %d) instead of %.3g, and minimise "
            "that mean of their objectives",
            weights.sum(axis=0).min(),
            weights.sum(axis=0).max(),
            pi.min(),
            pi.argmin(),
            pi.max(),
            pi.argmax(),
            1 / len(pi),
        )
    return weights

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from bbopt.errors import UsageError
from bbopt.lacmas import topology, weights
from bbopt.lacmas.topology import Graph
from bbopt.spec import Agents

GRAPHS = [("ring", 7), ("path", 5), ("star", 9), ("barabasi-albert", 20), ("grid", 12), ("ring", 1)]
OWN = [rule for rule in weights.RULES if rule != "given"]
SYMMETRIC = [rule for rule in OWN if rule != "uniform"]


def graph_and_wishes(seed, n=9):
    """A random connected graph, and wishes on it that sum to less than one in each row."""
    rng = np.random.default_rng(seed)
    edges = {(int(rng.integers(i)), i) for i in range(1, n)}
    edges |= {(i, j) for i in range(n) for j in range(i + 1, n) if rng.random() < 0.2}
    graph = Graph(n, np.array(sorted(edges)))
    matrix = weights.build(graph)
    matrix.data[:] = rng.random(matrix.nnz)
    rows = np.repeat(np.arange(n), np.diff(matrix.indptr))
    matrix.data /= np.bincount(rows, matrix.data)[rows]
    return graph, matrix


@pytest.mark.parametrize("rule", OWN)
@pytest.mark.parametrize(("name", "n"), GRAPHS)
def test_weights_are_nonnegative_on_the_graph_and_rows_sum_to_one(name, n, rule):
    graph = topology.build(name, n, seed=1)
    matrix = weights.build(graph, rule)
    dense = matrix.toarray()
    assert matrix.dtype == np.float64
    assert (dense >= 0).all()
    stored = {(i, j) for i in range(n) for j in matrix.indices[slice(*matrix.indptr[i : i + 2])]}
    edges = set(map(tuple, graph.edges.tolist()))
    assert stored == edges | {(j, i) for i, j in edges} | {(i, i) for i in range(n)}
    # each of the d + 1 terms is rounded once, and so is each partial sum
    error = np.abs(dense.sum(axis=1) - 1)
    assert (error <= 2.3e-16 * (graph.degrees + 2)).all()
    for i in range(n):
        columns = matrix.indices[slice(*matrix.indptr[i : i + 2])]
        assert (np.diff(columns) > 0).all()


@pytest.mark.parametrize("rule", SYMMETRIC)
@pytest.mark.parametrize(("name", "n"), GRAPHS)
def test_symmetric_rules_keep_the_mean_over_a_thousand_rounds(name, n, rule):
    matrix = weights.build(topology.build(name, n, seed=1), rule)
    assert (matrix.toarray() == matrix.toarray().T).all()
    assert weights.is_doubly_stochastic(matrix)
    x = np.random.default_rng(0).standard_normal(n)
    mean = x.mean()
    for _ in range(1000):
        x = matrix @ x
    assert abs(x.mean() - mean) <= 1e-12


def test_rules_are_those_of_their_formulas():
    graph = topology.build("barabasi-albert", 12, seed=2)
    d = graph.degrees
    for i, j in graph.edges:
        assert weights.metropolis(graph)[i, j] == 1 / (1 + max(d[i], d[j]))
        assert weights.max_degree(graph)[i, j] == 1 / (1 + d.max())
        assert weights.uniform(graph)[i, j] == 1 / (1 + d[i])
        assert weights.uniform(graph)[j, i] == 1 / (1 + d[j])


@pytest.mark.parametrize(("name", "n"), [("ring", 8), ("regular:d=3", 20), ("hypercube", 16)])
def test_no_constant_weight_that_leaves_self_some_is_faster_than_the_best(name, n):
    graph = topology.build(name, n)
    laplacian = np.diag(graph.degrees).astype(float)
    for i, j in graph.edges:
        laplacian[i, j] = laplacian[j, i] = -1
    mu = np.linalg.eigvalsh(laplacian)[1:]
    best = weights.best_constant(graph)[tuple(graph.edges[0])]
    rates = [np.abs(1 - a * mu).max() for a in np.linspace(0.01, 1 / graph.degrees.max(), 400)]
    assert np.abs(1 - best * mu).max() <= min(rates) + 1e-12


@pytest.mark.parametrize("rule", SYMMETRIC)
def test_lazy_weights_have_no_negative_eigenvalue(rule):
    matrix = weights.lazy(weights.build(topology.build("ring", 8), rule))
    assert np.linalg.eigvalsh(matrix.toarray()).min() >= -1e-15


def test_row_stochastic_weights_are_accepted_with_one_warning_that_says_where_they_lead(caplog):
    graph = topology.build("star", 5)
    with caplog.at_level(logging.WARNING, "bbopt"):
        matrix = weights.build(graph, "uniform")
    (record,) = caplog.records
    pi = weights.stationary(matrix)
    # of this reversible chain pi is proportional to 1 + d
    np.testing.assert_allclose(pi, (1 + graph.degrees) / (1 + graph.degrees).sum(), rtol=1e-12)
    assert f"{pi.max():.3g} (agent 0)" in record.getMessage()
    x = np.random.default_rng(1).standard_normal(5)
    agreed, limit = x, pi @ x
    for _ in range(200):
        agreed = matrix @ agreed
    np.testing.assert_allclose(agreed, limit, rtol=0, atol=1e-12)
    assert abs(limit - x.mean()) > 0.01


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_random_row_stochastic_weights_agree_on_the_point_weighted_by_pi(seed):
    _, matrix = graph_and_wishes(seed)
    pi = weights.stationary(matrix)
    assert (pi > 0).all()
    np.testing.assert_allclose(pi @ matrix.toarray(), pi, rtol=0, atol=1e-14)


@given(st.integers(0, 10**6), st.floats(0.05, 1))
@settings(max_examples=30, deadline=None)
def test_the_projection_is_symmetric_grants_no_more_than_wished_and_is_idempotent(seed, cap):
    _, wishes = graph_and_wishes(seed)
    granted = weights.projected(wishes, cap)
    dense, wished = granted.toarray(), wishes.toarray()
    assert (dense == dense.T).all()
    away = ~np.eye(len(dense), dtype=bool)
    assert (dense[away] == np.minimum(np.minimum(wished, wished.T), cap)[away]).all()
    np.testing.assert_allclose(dense.sum(axis=0), 1, rtol=0, atol=1e-15 * len(dense))
    assert (dense.diagonal() >= wished.diagonal() - 1e-15 * len(dense)).all()
    assert (weights.projected(granted, cap).toarray() == dense).all()


def test_wishes_that_no_agent_can_have_are_refused():
    wishes = weights.build(topology.build("ring", 4))
    wishes.data[:] = 0.6
    with pytest.raises(UsageError, match="agent 0 must not give away more than 1"):
        weights.projected(wishes)
    wishes.data[1] = -0.1
    with pytest.raises(UsageError, match=r"agent 0 gives -0\.1 to 1"):
        weights.projected(wishes)


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_the_weight_of_the_dead_stays_with_those_who_gave_it(seed):
    graph, _ = graph_and_wishes(seed)
    matrix, dead = weights.build(graph), np.random.default_rng(seed).random(graph.n) < 0.4
    left = weights.without(matrix, dead)
    before, after = matrix.toarray(), left.toarray()
    expected = before.copy()
    for i in range(graph.n):
        for j in range(graph.n):
            if i != j and (dead[i] or dead[j]):
                expected[i, i] += expected[i, j]
                expected[i, j] = 0
    np.testing.assert_allclose(after, expected, rtol=0, atol=1e-15)
    assert (after == after.T).all()
    assert (left.indices == matrix.indices).all()


def test_a_message_lost_in_one_direction_leaves_rows_that_sum_to_one():
    matrix = weights.build(topology.build("ring", 5))
    lost = np.zeros(matrix.nnz, dtype=bool)
    lost[1] = True  # agent 0 does not hear agent 1
    left = weights.unheard(matrix, lost)
    assert left[0, 1] == 0
    assert left[1, 0] == matrix[1, 0]
    np.testing.assert_allclose(left.sum(axis=1), 1, rtol=0, atol=1e-15)
    assert not weights.is_doubly_stochastic(left)


def test_a_matrix_of_the_users_own_is_taken_as_it_is():
    given_rows = [[0.5, 0.5, 0], [0.5, 0.25, 0.25], [0, 0.25, 0.75]]
    for matrix in (np.array(given_rows), csr_array(given_rows)):
        assert weights.from_matrix(matrix).toarray().tolist() == given_rows
    graph = topology.build("complete", 3)
    assert weights.from_matrix(given_rows, graph).toarray().tolist() == given_rows
    assert weights.from_matrix(given_rows, graph).nnz == 9


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[0.5, 0.5]], "square matrix"),
        ([[0.5, 0.5], [0.6, 0.5]], "row 1 sums to 1.1"),
        ([[1.5, -0.5], [-0.5, 1.5]], "agent 0 gives -0.5 to 1"),
        ([[0.5, 0.5], [0, 1]], "must be heard by it"),
        ([[1, 0], [0, 1]], "must be connected"),
        ([[0.4, 0.3, 0.3], [0.3, 0.4, 0.3], [0.3, 0.3, 0.4]], "agents 0 and 2 have a weight"),
    ],
)
def test_a_matrix_that_is_no_weights_is_refused_in_words(matrix, message):
    graph = topology.build("path", 3) if len(matrix) == 3 else None
    with pytest.raises(UsageError, match=message):
        weights.from_matrix(matrix, graph)


def test_the_problems_own_weights_are_taken_where_asked_for():
    agents = Agents(3, ((0, 1, 0.2), (1, 2, 0.7)))
    expected = [[0.8, 0.2, 0], [0.2, 0.1, 0.7], [0, 0.7, 0.3]]
    np.testing.assert_allclose(weights.of(agents, "given").toarray(), expected, atol=1e-15)
    assert weights.of(agents)[0, 1] == 1 / 3
    with pytest.raises(UsageError, match="agent 1 gives -1 to itself"):
        weights.of(Agents(3, ((0, 1, 1.0), (1, 2, 1.0))), "given")
    with pytest.raises(UsageError, match="has no weights of its own"):
        weights.build(topology.build("ring", 4), "given")
    with pytest.raises(UsageError, match="weights must be one of 'metropolis'"):
        weights.of(agents, "metro")

"""Chebyshev gossip against dense averages, its bound, and the flood."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from bbopt.errors import UsageError
from bbopt.lacmas import topology, weights
from bbopt.lacmas.faults import Faults
from bbopt.lacmas.gossip import ROUNDING, Gossip, flood
from bbopt.lacmas.network import Network
from bbopt.lacmas.spectrum import spectrum

GRAPHS = {"ring": 20, "grid": 25, "regular:d=3": 20, "star": 9, "complete": 6, "path": 12}


def gossip(graph="ring", n=20, **kwargs):
    matrix = weights.build(topology.build(graph, n))
    return Gossip(Network(matrix, **kwargs), spectrum(matrix))


def disagreement(x):
    return np.linalg.norm(x - x.mean(axis=0), axis=0)


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("tolerance", [0.3, 1e-3, 1e-9])
def test_the_error_is_within_the_tolerance_and_the_mean_stays(graph, tolerance):
    talk = gossip(graph, GRAPHS[graph])
    x = np.random.default_rng(3).normal(size=(GRAPHS[graph], 7))
    y = talk.average(x, tolerance)
    assert np.all(disagreement(y) <= tolerance * disagreement(x) + 1e-14)
    np.testing.assert_allclose(y.mean(axis=0), x.mean(axis=0), atol=1e-13)


@pytest.mark.parametrize("graph", ["ring", "grid", "regular:d=3"])
def test_fewer_rounds_suffice_than_the_bound_over_a_symmetric_interval_says(graph):
    """Against q with 2((1 − √(1 − ρ²))/ρ)^q ≤ tolerance, ρ the second largest modulus."""
    talk = gossip(graph, GRAPHS[graph])
    dense = talk.network._weights.toarray()
    rho = np.sort(np.abs(np.linalg.eigvalsh(dense)))[-2]
    factor = (1 - np.sqrt(1 - rho**2)) / rho
    assert talk.factor <= factor + 1e-12
    assert talk.rounds(1e-7) <= np.ceil(np.log(1e-7 / 2) / np.log(factor))
    assert talk.rounds(1e-7) < np.log(1e-7) / np.log(rho)  # what plain mixing takes


def test_a_round_count_is_what_is_sent():
    talk = gossip("ring", 20)
    talk.average(np.ones((20, 3)), 1e-5)
    assert np.all(talk.network.messages == 2 * talk.rounds(1e-5))
    assert np.all(talk.network.bytes_sent == 2 * talk.rounds(1e-5) * 3 * 8)


def test_the_slowest_direction_shrinks_as_predicted():
    """The eigenvector of λ₂ shrinks by T_q(1)/T_q(1/σ) exactly: one over the polynomial at 1."""
    talk = gossip("ring", 20)
    x = np.cos(2 * np.pi * np.arange(20) / 20)[:, None]
    q = talk.rounds(1e-6)
    growth = np.cosh(q * np.arccosh(1 / talk._sigma))
    np.testing.assert_allclose(talk.average(x, 1e-6), x / growth, atol=1e-14)


def test_a_bipartite_graph_without_self_weights_is_averaged_too():
    matrix = weights.build(topology.build("ring", 8))
    matrix.data[weights.self_entries(matrix)] = 0.0
    matrix.data[~weights.self_entries(matrix)] = 0.5  # the eigenvalue -1 is there
    talk = Gossip(Network(matrix), spectrum(matrix))
    x = np.random.default_rng(0).normal(size=(8, 2))
    assert np.all(disagreement(talk.average(x, 1e-8)) <= 1e-8 * disagreement(x))


def test_an_agent_alone_keeps_what_it_has():
    talk = gossip("complete", 1)
    np.testing.assert_array_equal(talk.average(np.array([[3.0, 4.0]])), [[3.0, 4.0]])


def test_a_graph_in_two_parts_is_refused():
    two = csr_array(np.kron(np.eye(2), np.full((2, 2), 0.5)))
    with pytest.raises(UsageError, match="connected"):
        Gossip(Network(two), spectrum(two))


def test_settling_stops_early_where_agents_hardly_differ():
    talk = gossip("ring", 20)
    noise = np.random.default_rng(1).normal(size=(20, 4))
    y = talk.settle(1.0 + 1e-6 * noise, 1e-5)
    few = talk.network.messages.max()
    np.testing.assert_allclose(y, np.broadcast_to((1.0 + 1e-6 * noise).mean(0), y.shape), rtol=1e-5)
    y = talk.settle(1.0 + 1e3 * noise, 1e-5)
    assert talk.network.messages.max() - few > 3 * few
    mean = (1.0 + 1e3 * noise).mean(axis=0)
    np.testing.assert_allclose(y, np.broadcast_to(mean, y.shape), atol=1e-4 * np.abs(mean).max())


def test_settling_ends_although_nothing_small_enough_is_left():
    talk = gossip("ring", 20)
    x = np.random.default_rng(2).normal(size=(20, 2))
    x -= x.mean(axis=0)  # the mean is zero but for rounding: no relative tolerance can hold
    y = talk.settle(x, 1e-6, floor=0.0)
    assert np.abs(y).max() < 1e-13
    assert talk.rounds(ROUNDING) < 200


def test_the_flood_brings_the_first_living_agents_row_to_all():
    faults = Faults(seed=0, kill={0: 1})
    talk = gossip("ring", 6, faults=faults)
    talk.network.round_ = 1
    x = np.arange(12.0).reshape(6, 2)
    np.testing.assert_array_equal(flood(talk.network, x), [2.0, 3.0])
    assert talk.network.messages.tolist() == [0, 1, 2, 2, 2, 1]  # nobody speaks to the dead


def test_what_the_dead_leave_behind_is_averaged_over_the_living():
    talk = gossip("regular:d=3", 20, faults=Faults(seed=0, kill={4: 1}))
    talk.network.round_ = 1
    x = np.random.default_rng(5).normal(size=(20, 3))
    y = talk.settle(x, 1e-9, floor=1.0)
    others = np.arange(20) != 4
    np.testing.assert_allclose(y[others], np.tile(x[others].mean(axis=0), (19, 1)), atol=1e-6)

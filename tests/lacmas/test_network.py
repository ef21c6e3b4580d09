"""Exchanges in one process against dense matrices, and what they cost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import headers, metropolis, some_graph, wander
from scipy.sparse import csr_array

from bbopt.errors import UsageError
from bbopt.lacmas.faults import Faults
from bbopt.lacmas.network import ALIVE, HEADER, Network

PATH = metropolis([(0, 1), (1, 2), (2, 3), (3, 4)], 5)


@given(st.integers(1, 9), st.integers(0, 50), st.data())
def test_an_exchange_is_the_dense_product_without_those_who_have_left(n, seed, data):
    alive = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    dense = some_graph(n, seed).toarray()
    x = np.random.default_rng(seed).normal(size=(n, 3))
    expected = np.zeros_like(x)
    for i in range(n):
        kept = 1.0
        for j in range(n):
            if i != j and alive[i] and alive[j]:
                expected[i] += dense[i, j] * x[j]
                kept -= dense[i, j]
        expected[i] += kept * x[i]
    told = headers(n, alive)
    told[:, 1] = np.arange(n)
    network = Network(some_graph(n, seed))
    received = network.exchange(x, told)
    np.testing.assert_allclose(received.mixed, expected, rtol=0, atol=1e-14)
    heard = alive[network.neighbours]  # who has left hears on, and mixes nothing
    np.testing.assert_array_equal(received.headers[heard, 1], network.neighbours[heard])
    assert np.isnan(received.headers[~heard]).all()


@given(st.integers(2, 9), st.integers(0, 50))
def test_what_is_swapped_comes_from_the_other_end_of_each_edge(n, seed):
    network = Network(some_graph(n, seed))
    said = 100.0 * network.rows + network.neighbours  # on i -> j: 100 i + j
    np.testing.assert_array_equal(network.swap(said), 100.0 * network.neighbours + network.rows)


def test_mixing_keeps_the_mean_and_leads_to_it():
    network = Network(PATH)
    x = np.random.default_rng(0).normal(size=(5, 2))
    mean, spread = x.mean(axis=0), np.ptp(x)
    for _ in range(300):
        x = network.mix(x)
    np.testing.assert_allclose(x.mean(axis=0), mean, rtol=0, atol=1e-13)
    assert np.ptp(x, axis=0).max() < 1e-9 * spread


def test_an_agent_keeps_what_new_weights_leave():
    network = Network(PATH)
    network.weights = np.full(8, 0.25)
    np.testing.assert_array_equal(network.weights, np.full(8, 0.25))
    np.testing.assert_array_equal(network.mix(np.eye(5)).diagonal(), [0.75, 0.5, 0.5, 0.5, 0.75])


def test_bytes_are_a_header_and_a_row_for_each_neighbour_and_the_header_alone_of_who_has_left():
    network = Network(PATH)
    told = headers(5, np.array([1, 1, 0, 1, 1]))
    network.exchange(np.ones((5, 7)), told)
    row, header = 7 * 8, len(HEADER) * 8
    assert header == 64
    both = row + header
    np.testing.assert_array_equal(network.bytes_sent, [both, 2 * both, 2 * header, 2 * both, both])
    network.mix(np.ones((5, 2)))
    network.swap(np.ones(8))
    np.testing.assert_array_equal(network.messages, 3 * network.degrees)
    assert network.bytes_sent[0] == both + 16 + 8


def test_a_state_continues_on_another_network():
    whole, hashes = wander(Network(some_graph(9)))
    half, first = wander(Network(some_graph(9)), pause=4)
    rest, others = wander(Network(some_graph(9)), state=half.state())
    assert first + others == hashes
    np.testing.assert_array_equal(rest.x, whole.x)


def test_who_died_in_an_earlier_session_stays_dead():
    earlier = Network(PATH, Faults(1, kill={2: 1}))
    earlier.round_ = 1
    network = Network(PATH)
    network.restore(earlier.state())
    np.testing.assert_array_equal(network.living, [True, True, False, True, True])


def test_weights_that_only_one_end_has_are_refused():
    one_way = csr_array(np.array([[0.5, 0.5], [0.0, 1.0]]))
    with pytest.raises(UsageError, match="must be heard by it"):
        Network(one_way)


def test_a_lone_agent_hears_nobody_and_keeps_what_it_has():
    network = Network(metropolis([], 1))
    x = np.array([[1.5, 2.5]])
    received = network.exchange(x, headers(1))
    np.testing.assert_array_equal(received.mixed, x)
    assert received.headers.shape == (0, 8)
    np.testing.assert_array_equal(network.mix(x), x)
    assert network.swap(np.empty(0)).shape == (0,)
    assert (network.bytes_sent.sum(), ALIVE) == (0, 0)

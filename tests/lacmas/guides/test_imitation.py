"""Imitation: whom an agent copies, when, and how closely."""

import numpy as np
import pytest

from bbopt.lacmas.guides.imitation import EVERY, NOISE, START, Imitation, best_edge
from bbopt.lacmas.network import Network
from tests.lacmas.guides.toys import context, falling, made
from tests.lacmas.swarms import network


def test_agents_start_apart_within_the_published_range():
    net = network("complete", 400)
    d, c = made(Imitation, net).start()
    assert (c == 1).all()
    assert START[0] <= d.min() < START[0] + 0.02
    assert START[1] - 0.02 < d.max() <= START[1]


def test_the_start_keeps_to_a_narrower_range():
    d, _ = made(Imitation, d_range=(0.5, 1.0)).start()
    assert d.max() == 1.0


def test_each_moves_half_way_to_the_best_of_its_neighbourhood():
    net = network("ring", 6)
    d = np.array([0.8, 0.9, 1.0, 1.1, 1.2, 1.3])
    history = falling([0.1, 0.9, 0.2, 0.3, 0.3, 0.2])  # 4 equals 3, and stays with itself
    moves = []
    for seed in range(400):
        advice = made(Imitation, net, seed, d_range=(0.0, 9.0)).advise(
            context(net, EVERY, history, d=d)
        )
        moves.append(advice.d)
        assert (advice.c == 1).all()
        assert advice.wishes is None
    copied = d[[1, 1, 1, 3, 4, 4]]
    # the mean of 400 normals: five standard errors
    np.testing.assert_allclose(np.mean(moves, axis=0), (d + copied) / 2, atol=5 * NOISE / 20)
    np.testing.assert_allclose(np.std(moves, axis=0), NOISE, rtol=0.2)


def test_it_acts_every_twenty_rounds_and_stays_in_range():
    net = network()
    guide = made(Imitation, net)
    d, changes = guide.start()[0], []
    for t in range(1, 401):
        advice = guide.advise(context(net, t, falling([0.9, 0.1, 0.2, 0.3, 0.3, 0.2]), d=d))
        if (advice.d != d).any():
            changes.append(t)
        d = advice.d
        assert ((d >= 0.7) & (d <= 1.3)).all()
    assert changes == list(range(EVERY, 401, EVERY))


def test_who_has_left_is_neither_copied_nor_changed():
    net = network("complete", 6)
    alive = np.array([True, False, True, True, True, True])
    history = falling([0.1, 0.9, 0.2, 0.3, 0.4, 0.2])
    d = np.array([1.0, 0.75, 1.0, 1.0, 1.25, 1.0])
    advice = made(Imitation, net).advise(context(net, EVERY, history, d=d, alive=alive))
    assert advice.d[1] == 0.75
    assert advice.d[0] == pytest.approx((1.0 + 1.25) / 2, abs=0.12)  # 4 is the best that lives


def test_an_agent_without_neighbours_keeps_to_itself():
    from scipy.sparse import csr_array

    net = Network(csr_array(np.ones((1, 1))))
    advice = made(Imitation, net).advise(context(net, EVERY, falling([0.5]), d=1.0))
    assert abs(advice.d[0] - 1.0) < 6 * NOISE


@pytest.mark.parametrize("seed", range(10))
def test_the_best_edge_is_that_of_a_loop(seed):
    rng = np.random.default_rng(seed)
    net = network("barabasi-albert", 12)
    own = rng.integers(0, 4, 12).astype(float)
    theirs = np.where(rng.random(len(net.rows)) < 0.2, np.nan, own[net.neighbours])
    expected = []
    for agent in range(12):
        best, at = own[agent], -1
        for edge in np.flatnonzero(net.rows == agent):
            if theirs[edge] > best:
                best, at = theirs[edge], edge
        expected.append(at)
    assert best_edge(own, theirs, net.rows).tolist() == expected

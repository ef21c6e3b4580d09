"""The prompt's rules as code."""

import numpy as np
import pytest

from bbopt.lacmas.guides.rules import (
    BEST,
    MIDDLE,
    WORST,
    Rules,
    wanted_coefficients,
    wanted_weights,
)
from bbopt.lacmas.memory import WINDOW
from tests.lacmas.guides.toys import context, falling, headers, made, memory
from tests.lacmas.swarms import network

LIMITS = (1e-2, 1e-1)


@pytest.mark.parametrize(
    ("losses", "divergence", "d", "c"),
    [
        (np.ones(WINDOW), 5.0, 1.1, 1.0),  # wide and stagnating
        (np.linspace(1, 0.97, WINDOW), 5.0, 1.1, 1.0),  # wide and slow
        (np.linspace(1, 0.5, WINDOW), 5.0, 1.0, 1.0),  # wide and fast
        (np.linspace(1, 2, WINDOW), 5.0, 0.9, 1.0),  # wide and rising
        (np.ones(WINDOW), 1e-3, 1.0, 1.1),  # collapsed and stagnating
        (np.linspace(1, 0.97, WINDOW), 1e-3, 1.0, 1.0),  # collapsed, still falling
        (np.ones(WINDOW), 5e-2, 1.0, 1.0),  # between
    ],
)
def test_what_the_rules_want(losses, divergence, d, c):
    history = memory(losses, divergence)
    result = wanted_coefficients(history, np.ones(1), np.ones(1), LIMITS)
    np.testing.assert_allclose(np.ravel(result), [d, c])


def naive_weights(received, rows):
    result = np.full(len(rows), np.nan)
    for agent in np.unique(rows):
        edges = [e for e in np.flatnonzero(rows == agent) if not np.isnan(received[e, 5])]
        edges.sort(key=lambda e: (-received[e, 5], received[e, 3]))
        n, third = len(edges), max(len(edges) // 3, 1)
        for rank, e in enumerate(edges):
            is_best, is_worst = rank < third and n > 1, rank >= n - third and n > 1
            result[e] = BEST if is_best else WORST if is_worst else MIDDLE
    return result


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("graph", ["ring", "complete", "star", "barabasi-albert"])
def test_neighbours_are_ranked_agent_by_agent(graph, seed):
    rng, net = np.random.default_rng(seed), network(graph, 9)
    history = falling(rng.integers(0, 4, 9) / 4, rng.integers(1, 3, 9))  # with ties
    received = headers(net, history, 1.0, alive=rng.random(9) < 0.8)
    np.testing.assert_array_equal(
        wanted_weights(received, net.rows), naive_weights(received, net.rows)
    )


def test_it_looks_every_twenty_five_rounds_and_catches_up_on_rounds_left_out():
    guide, net = made(Rules), network()
    moved = [
        t
        for t in (1, 24, 25, 26, 49, 53, 54, 75)
        if guide.advise(context(net, t, memory(np.ones((6, WINDOW)), 5.0))).d[0] > 1
    ]
    assert moved == [25, 53, 75]


def test_coefficients_end_at_the_range():
    guide, net = made(Rules), network()
    d = 1.0
    for t in range(25, 25 * 9, 25):
        [d, *_] = guide.advise(context(net, t, memory(np.ones((6, WINDOW)), 5.0), d=d)).d
    assert d == pytest.approx(1.3)


def test_wishes_prefer_the_neighbour_that_improves():
    guide, net = made(Rules), network()
    advice = guide.advise(context(net, 25, falling([0.1, 0.9, 0.5, 0.5, 0.5, 0.5])))
    of_zero = advice.wishes[net.rows == 0]  # neighbours 1 and 5
    assert of_zero[0] > 1 / 3 > of_zero[1]
    np.testing.assert_allclose(np.bincount(net.rows, advice.wishes), guide.mass)

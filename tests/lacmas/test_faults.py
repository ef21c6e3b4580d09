"""Lost and late messages and dead agents: what they change, and what they must not."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from networks import headers, metropolis, some_graph, wander

from bbopt.errors import UsageError
from bbopt.lacmas.faults import Faults, parse
from bbopt.lacmas.network import Network

RING = metropolis([(i, (i + 1) % 10) for i in range(10)], 10)
PATH = metropolis([(0, 1), (1, 2), (2, 3), (3, 4)], 5)


def start(n: int = 10, k: int = 3) -> Any:
    return np.random.default_rng(4).normal(size=(n, k))


def mixed(network: Network, x: Any, rounds: int) -> Any:
    for round_ in range(1, rounds + 1):
        network.round_ = round_
        x = network.exchange(x, headers(len(x))).mixed
    return x


@pytest.mark.parametrize("one_way", [False, True])
def test_messages_are_lost_at_the_rate_given_in_both_directions_or_one(one_way):
    network = Network(RING, Faults(1, drop=0.3, one_way=one_way))
    lost = np.zeros((400, len(network.rows)), dtype=bool)
    for t in range(400):
        network.round_ = 1 + t // 2  # two steps a round
        lost[t] = np.isnan(network.exchange(start(), headers(10)).headers[:, 0])
    # 5 standard deviations of 4,000 coins for 8,000 messages, which fall in pairs
    assert abs(lost.mean() - 0.3) < 5 * np.sqrt(0.3 * 0.7 / 4000)
    assert (lost[::2] != lost[1::2]).any(axis=1).mean() > 0.9  # a round's steps differ
    back = np.array([np.nonzero((network.rows == j) & (network.neighbours == i))[0][0]
                     for i, j in zip(network.rows, network.neighbours, strict=True)])  # fmt: skip
    assert (lost == lost[:, back]).all() == (not one_way)


def test_messages_lost_in_both_directions_keep_the_mean_and_agents_agree():
    network = Network(RING, Faults(1, drop=0.3))
    x = mixed(network, start(), 400)
    np.testing.assert_allclose(x.mean(axis=0), start().mean(axis=0), rtol=0, atol=1e-13)
    assert np.ptp(x, axis=0).max() < 1e-9
    assert network.diagnostics() == {"living": 10, "components": 1, "drift": pytest.approx(0)}


@pytest.mark.parametrize("given", [{"drop": 0.3, "one_way": True}, {"late": 0.3}])
def test_other_faults_move_the_mean_as_far_as_the_drift_says_and_agents_agree(given):
    network = Network(RING, Faults(1, **given))
    x = mixed(network, start(), 400)
    moved = np.linalg.norm(x.mean(axis=0) - start().mean(axis=0))
    assert moved > 1e-3
    assert network.diagnostics()["drift"] == pytest.approx(moved, abs=1e-12)
    assert np.ptp(x, axis=0).max() < 1e-9


def test_a_late_agent_is_heard_with_its_last_message_in_time_unless_that_is_stale():
    n, staleness, rounds = 10, 2, 60
    network = Network(RING, Faults(3, late=0.5, staleness=staleness))
    dense = RING.toarray()
    ages = np.zeros((rounds, n), dtype=int)
    for t in range(rounds):
        network.round_ = t + 1
        x = np.zeros((n, rounds * n))
        x[np.arange(n), t * n + np.arange(n)] = 1.0  # every message is a direction of its own
        told = headers(n)
        told[:, 1] = t
        received = network.exchange(x, told)
        weights = received.mixed.reshape(n, rounds, n)  # of agent, step and speaker
        np.testing.assert_allclose(weights.sum(axis=(1, 2)), 1.0)
        for j in range(n):
            hearers = np.flatnonzero(dense[:, j] * (np.arange(n) != j))
            used = {tuple(np.flatnonzero(weights[i, :, j])) for i in hearers}
            assert len(used) == 1  # a late agent is late for all
            (steps,) = used
            assert len(steps) <= 1
            ages[t, j] = t - steps[0] if steps else staleness + 1
            if steps:
                np.testing.assert_allclose(weights[hearers, steps[0], j], dense[hearers, j])
                said = received.headers[network.neighbours == j, 1]
                assert (said == steps[0]).all()
            own = np.flatnonzero(weights[j, :, j])
            assert own.tolist() == [t]  # its own is never late
    for before, now in pairwise(ages):
        on_time = now == 0
        assert (now[~on_time] == np.minimum(before[~on_time] + 1, staleness + 1)).all()
    assert set(ages[staleness + 1 :].ravel()) == {0, 1, 2, 3}


def test_those_who_are_always_late_are_never_heard():
    network = Network(RING, Faults(1, late=1.0))
    x = mixed(network, start(), 20)
    np.testing.assert_array_equal(x, start())


def test_the_dead_are_silent_and_the_others_keep_their_mean():
    network = Network(RING, Faults(1, kill={3: 6}))
    before = mixed(network, start(), 5)
    network.round_ = 6
    living = np.arange(10) != 3
    np.testing.assert_array_equal(network.living, living)
    sent = network.messages.copy()
    received = network.exchange(before, headers(10))
    assert np.isnan(received.headers[network.neighbours == 3]).all()
    np.testing.assert_array_equal(network.messages - sent, [2, 2, 1, 0, 1, 2, 2, 2, 2, 2])
    x = received.mixed
    for _ in range(600):
        x = network.mix(x)
    np.testing.assert_allclose(
        x[living], np.broadcast_to(before[living].mean(axis=0), (9, 3)), atol=1e-9
    )
    np.testing.assert_array_equal(x[3], before[3])
    wishes = network.swap(np.ones(20))
    np.testing.assert_array_equal(wishes == 0, network.neighbours == 3)


def test_half_of_the_agents_die_and_the_others_agree():
    n = 12
    complete = metropolis([(i, j) for i in range(n) for j in range(i)], n)
    network = Network(complete, Faults(1, drop=0.2, kill=dict.fromkeys(range(0, n, 2), 2)))
    x = mixed(network, start(n), 200)
    assert np.ptp(x[1::2], axis=0).max() < 1e-12
    assert network.diagnostics()["living"] == 6


def test_parts_that_cannot_hear_of_each_other_are_told():
    network = Network(PATH, Faults(1, kill={2: 3}))
    assert network.components.tolist() == [0, 0, 0, 0, 0]
    network.round_ = 3
    assert network.components.tolist() == [0, 0, -1, 1, 1]
    assert network.diagnostics()["components"] == 2


def test_faults_depend_on_seed_and_round_alone_and_go_on_from_a_state():
    faults = Faults(5, drop=0.3, late=0.3, kill={4: 5})
    graph = some_graph(9)
    _, hashes = wander(Network(graph, faults))
    assert wander(Network(graph, faults))[1] == hashes
    assert wander(Network(graph, Faults(6, drop=0.3, late=0.3, kill={4: 5})))[1] != hashes
    half, first = wander(Network(graph, faults), pause=6)
    rest, others = wander(Network(graph, faults), state=half.state())
    assert first + others == hashes
    assert rest.network.diagnostics() == wander(Network(graph, faults))[0].network.diagnostics()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("drop=0.3", Faults(1, drop=0.3)),
        (" drop = 1, late=0.25 ,staleness=0", Faults(1, drop=1.0, late=0.25, staleness=0)),
        ("kill=3@10", Faults(1, kill={3: 10})),
        ("kill=3@10+0@1,one_way=true", Faults(1, one_way=True, kill={3: 10, 0: 1})),
        ({"drop": 0.1, "kill": {"3": 10}}, Faults(1, drop=0.1, kill={3: 10})),
        ({}, Faults(1)),
        (None, None),
    ],
)
def test_faults_are_read_as_they_are_spelt(given, expected):
    assert parse(given, 1) == expected


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("drop=1.5", r"drop must be a finite number in \[0, 1\], got 1.5"),
        ("drop=nan", "drop must be"),
        ("late=often", "late must be .* got 'often'"),
        ("drop", "must be like"),
        ("drop=0.1,drop=0.2", "must be like"),
        ("staleness=-1", "staleness must be"),
        ("losses=0.1", "a name must be one of 'drop', .* got 'losses'"),
        ("kill=3", "kill must be like 3@10"),
        ("kill=3@10+3@11", "kill must be like 3@10"),
        ("kill=3@0", "a round must be an integer >= 1, got 0"),
        ("kill=x@4", "an agent must be an integer >= 0, got 'x'"),
        ({"kill": [3]}, "kill must map agents to rounds"),
        ({"one_way": "yes"}, "one_way must be one of True, False, got 'yes'"),
        (0.3, "must be a text like"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(given, said):
    with pytest.raises(UsageError, match=said):
        parse(given, 1)


def test_an_agent_that_is_not_there_cannot_die():
    with pytest.raises(UsageError, match="an agent must be below 5, got 7"):
        Network(PATH, Faults(1, kill={7: 2}))

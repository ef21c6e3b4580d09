"""A run of the swarms: what it costs, where it ends, what it depends on."""

import numpy as np
import pytest

from bbopt.lacmas.network import Network
from tests.lacmas.swarms import Bowls, box, masoie, network, play


def test_swarms_agree_on_a_point_that_is_better_for_the_sum_than_what_any_wants_alone():
    f = Bowls()
    search = masoie(network("complete"), budget=40_000, n_particles=60)
    play(search, f)
    spread = np.linalg.norm(search.points - search.points.mean(axis=0), axis=1)
    assert spread.max() < 1e-3

    def mean_cost(x):
        return np.mean([f(x, agent) for agent in range(6)])

    assert mean_cost(search.points.mean(axis=0)) < min(mean_cost(b) for b in f.targets)


def test_evaluations_are_those_of_the_formula_and_within_the_budget():
    search = masoie(network(), budget=2000)
    batches = play(search, Bowls())
    spent = np.zeros(6, dtype=int)
    for agents, x in batches:
        spent[agents] += x.shape[1]
    assert (spent == search.evaluations).all()
    assert (spent <= 2000).all()
    # the budget ended it: 24 + Σ (K + 1) 24 with K from 4 down
    left = 2000 - spent
    assert (left < (search.interval + 1) * 24).all()
    assert ((spent - 24) % 24 == 0).all()


def test_the_interval_falls_only_after_ten_rounds_without_a_better_value_and_never_below_two():
    search = masoie(network(), budget=None)
    flat = lambda x, agent: np.zeros(len(x))  # noqa: E731
    seen = []
    while search.round_ < 40 and search.alive.all():
        play(search, flat, rounds=1)
        seen.append(search.interval[0])
    assert seen[:10] == [4] * 10
    assert seen[10] == 3
    assert min(seen) == 2


def test_a_guide_that_leaves_the_coefficients_alone_is_masoie_to_the_last_bit():
    plain, fixed = masoie(network()), masoie(network(), guide="fixed", advised={"d": 1.0, "c": 1.0})
    play(plain, Bowls())
    play(fixed, Bowls())
    np.testing.assert_array_equal(plain.x, fixed.x)


def test_a_shifted_problem_in_a_shifted_box_gives_the_shifted_run():
    here, there = masoie(network()), masoie(network(), where=box(shift=3.0))
    play(here, Bowls(), rounds=8)
    play(there, Bowls(shift=3.0), rounds=8)
    np.testing.assert_allclose(there.x, here.x + 3.0, atol=1e-9)


def test_rows_are_paired_a_permutation_of_one_agents_particles_changes_the_run():
    one, other = masoie(network()), masoie(network())
    other.x[2] = other.x[2][::-1]
    play(one, Bowls(), rounds=3)
    play(other, Bowls(), rounds=3)
    assert not np.allclose(np.sort(one.x[1], axis=0), np.sort(other.x[1], axis=0))


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    runs = [masoie(network(), seed=seed) for seed in (1, 1, 2)]
    for run in runs:
        play(run, Bowls(), rounds=5)
    np.testing.assert_array_equal(runs[0].x, runs[1].x)
    assert not np.allclose(runs[0].x, runs[2].x)


@pytest.mark.parametrize("guide", ["none", "imitation", "bandit", "rules"])
def test_a_search_continues_from_its_state_as_if_nothing_had_been(guide):
    unbroken, first, second = (masoie(network(), guide=guide) for _ in range(3))
    play(unbroken, Bowls(), rounds=25)
    play(first, Bowls(), rounds=12)
    second.restore(first.state())
    play(second, Bowls(), rounds=13)
    np.testing.assert_array_equal(second.x, unbroken.x)
    np.testing.assert_array_equal(second.d, unbroken.d)
    np.testing.assert_array_equal(second.network.bytes_sent, unbroken.network.bytes_sent)


def test_bytes_are_particles_and_header_for_each_neighbour_and_round():
    search = masoie(network())
    play(search, Bowls(), rounds=7)
    np.testing.assert_array_equal(search.network.bytes_sent, 7 * 2 * (24 * 3 * 8 + 64))


def test_centres_alone_cost_a_particle_and_still_lead_to_agreement():
    search = masoie(network("complete"), mix="centroid", budget=20_000)
    play(search, Bowls(), rounds=7)
    np.testing.assert_array_equal(search.network.bytes_sent, 7 * 5 * (3 * 8 + 64))
    start = _disagreement(search)
    play(search, Bowls())
    assert _disagreement(search) < start / 10


def test_an_exchange_on_an_event_saves_messages_and_still_leads_to_agreement():
    always, event = masoie(network(), budget=None), masoie(network(), budget=None, exchange="event")
    play(always, Bowls(), rounds=100)
    play(event, Bowls(), rounds=10)
    early = _disagreement(event)
    play(event, Bowls(), rounds=90)
    assert 0 < event.network.messages.sum() < always.network.messages.sum()
    assert _disagreement(event) < early / 5


def test_values_that_cannot_be_observed_never_enter_the_swarm():
    f = Bowls()
    rng = np.random.default_rng(0)

    def broken(x, agent):
        values = f(x, agent)
        values[rng.random(len(x)) < 0.5] = np.nan
        return np.full(len(x), np.nan) if agent == 3 else values

    search = masoie(network("complete"), budget=6000)
    play(search, broken)
    assert np.isfinite(search.x).all()
    assert np.isfinite(search.v).all()
    assert ((search.success >= 0) & (search.success <= 1)).all()


def test_an_agent_without_neighbours_searches_alone_until_its_budget_is_spent():
    f = Bowls(n=1)
    search = masoie(network("path", 1), budget=5000)
    play(search, f)
    assert search.evaluations[0] > 5000 - 5 * 24
    assert f(search.points, 0)[0] < 1e-3


def test_without_internal_moves_exchange_contracts_no_slower_than_the_second_eigenvalue():
    net = network("ring", 8)
    x = np.random.default_rng(0).normal(size=(8, 4))
    dense = np.linalg.eigvalsh(_dense(net))
    rho = np.sort(np.abs(dense))[-2]
    mean, start = x.mean(axis=0), np.linalg.norm(x - x.mean(axis=0))
    for t in range(1, 60):
        x = net.mix(x)
        assert np.linalg.norm(x - mean) <= rho**t * start * (1 + 1e-9)
    np.testing.assert_allclose(x.mean(axis=0), mean, atol=1e-13)


def _disagreement(search):
    return np.linalg.norm(search.points - search.points.mean(axis=0), axis=1).mean()


def _dense(net: Network):
    return np.column_stack([net.mix(column[:, None])[:, 0] for column in np.eye(net.n)])

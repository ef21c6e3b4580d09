"""Quasi-Newton by gossip: known optima, bounds, rough objectives, failing and dying agents."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from bbopt.lacmas import topology, weights
from bbopt.lacmas.draws import Draws
from bbopt.lacmas.faults import Faults
from bbopt.lacmas.network import Network
from bbopt.lacmas.quasi_newton import QuasiNewton
from bbopt.lacmas.search import Box
from bbopt.lacmas.spectrum import spectrum
from tests.lacmas.swarms import network, play


class Quadratics:
    """``f_i(x) = ½(x − b_i)ᵀQ_i(x − b_i)``; optimum ``(ΣQ_i)⁻¹ ΣQ_i b_i``."""

    def __init__(self, n=6, d=4, seed=0):
        rng = np.random.default_rng(seed)
        roots = rng.normal(size=(n, d, d)) * np.logspace(0, 1, d)
        self.q = roots @ roots.swapaxes(1, 2) + np.eye(d)
        self.b = rng.uniform(-3, 3, size=(n, d))

    def __call__(self, x, i):
        away = x - self.b[i]
        return 0.5 * np.einsum("md,de,me->m", away, self.q[i], away)

    def optimum(self, among=slice(None)):
        q, b = self.q[among], self.b[among]
        return np.linalg.solve(q.sum(axis=0), np.einsum("ade,ae->d", q, b))


def search(net=None, d=4, budget=20_000, low=-5.0, high=5.0, seed=1, **kwargs):
    net = net or network()
    box = Box(np.broadcast_to(low, d) * 1.0, np.broadcast_to(high, d) * 1.0)
    known = spectrum(weights.build(topology.build("ring", net.n)))
    return QuasiNewton(net, box, Draws(seed, net.agents, net.n), budget, known, **kwargs)


def test_quadratics_are_solved_and_all_agents_hold_one_point():
    f, newton = Quadratics(), search()
    play(newton, f)
    assert newton.ending == "converged"
    assert not newton.stuck
    assert np.ptp(newton.points, axis=0).max() == 0
    np.testing.assert_allclose(newton.points[0], f.optimum(), atol=1e-6)
    np.testing.assert_allclose(newton.losses, [f(newton.points[:1], i)[0] for i in range(6)])


def test_edges_of_very_different_lengths_do_no_harm():
    f = Quadratics()
    scale = np.array([1e-3, 1.0, 50.0, 1e4])
    newton = search(low=-5 * scale, high=5 * scale)
    play(newton, lambda x, i: f(x / scale, i))
    np.testing.assert_allclose(newton.points[0] / scale, f.optimum(), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_an_optimum_on_the_bounds_is_the_constrained_one(seed):
    f = Quadratics(seed=seed)
    low, high = f.optimum() - [1, 1, -0.5, 1], f.optimum() - [0.3, -1, -2, -1]  # two are cut off
    newton = search(low=low, high=high)
    play(newton, f)
    root = np.linalg.cholesky(f.q.sum(axis=0)).T
    best = lsq_linear(root, root @ f.optimum(), (low, high), tol=1e-14).x
    np.testing.assert_allclose(newton.points[0], best, atol=1e-5)
    assert ((newton.points[0] == low) | (newton.points[0] == high)).sum() >= 2


PULL = np.random.default_rng(3).normal(size=(6, 6))


def valley(x, i):
    """Rosenbrock's function, and linear terms that cancel in the mean."""
    bent = 100 * (x[:, :-1] ** 2 - x[:, 1:]) ** 2 + (x[:, :-1] - 1) ** 2
    return bent.sum(axis=1) + 100 * x @ (PULL[i] - PULL.mean(axis=0))


def test_a_curved_valley_is_followed_to_its_end():
    newton = search(d=6, budget=50_000)
    play(newton, valley)
    np.testing.assert_allclose(newton.points[0], np.ones(6), atol=1e-4)
    assert newton.ending == "converged"


def test_conflicts_that_are_linear_take_few_rounds_of_gossip():
    """Their part of the slopes never changes: after the first rounds nothing has to be settled."""
    newton = search(d=6, budget=50_000)
    play(newton, valley, rounds=20)
    before = newton.network.messages.max()
    play(newton, valley, rounds=20)
    per_iteration = (newton.network.messages.max() - before) / 20 / 2  # two neighbours
    assert per_iteration < newton._gossip.rounds(1e-5)


def test_what_is_tracked_sums_to_the_slopes():
    newton = search(d=6)
    for _ in range(5):
        play(newton, valley, rounds=3)
        np.testing.assert_allclose(newton.tracking.sum(0), newton.slope.sum(0), rtol=1e-9)


def test_the_budget_is_never_exceeded():
    for budget in (0, 10, 79, 500):
        newton = search(d=6, budget=budget)
        batches = play(newton, valley)
        assert newton.evaluations.tolist() == [sum(x.shape[1] for _, x in batches)] * 6
        assert newton.evaluations.max() <= budget
        assert newton.ending == "budget"


def test_points_stay_in_the_box():
    newton = search(d=6, low=0.9, high=1.5)
    for _, x in play(newton, valley):
        assert x.min() >= 0.9
        assert x.max() <= 1.5
    np.testing.assert_allclose(newton.points[0], np.ones(6), atol=1e-4)


def test_an_agent_that_always_fails_leaves_the_others_their_optimum():
    f, newton = Quadratics(), search()
    play(newton, lambda x, i: np.full(len(x), np.nan) if i == 2 else f(x, i))
    np.testing.assert_allclose(newton.points[0], f.optimum([0, 1, 3, 4, 5]), atol=1e-6)


def test_nobody_goes_where_some_agent_fails():
    f = Quadratics()
    wall = f.optimum()[0] - 0.5

    def walled(x, i):
        return np.where((x[:, 0] > wall) & (i == 3), np.nan, f(x, i))

    start = np.tile(f.optimum() - [2, 0, 0, 0], (6, 1))
    newton = search(start=start)
    play(newton, walled)
    assert newton.points[0, 0] <= wall
    assert np.mean([f(newton.points[:1], i) for i in range(6)]) < np.mean(
        [f(start[:1], i) for i in range(6)]
    )


def mean_of(f, x):
    return np.mean([f(x[None], i)[0] for i in range(6)])


@pytest.mark.parametrize("sigma", [1e-4, 1e-1])
def test_noise_is_recognised_and_what_is_left_to_gain_is_of_its_size(sigma):
    f, newton = Quadratics(), search(seed=5)
    rng = np.random.default_rng(5)
    play(newton, lambda x, i: f(x, i) + sigma * rng.normal(size=len(x)))
    assert newton.ending in ("noise", "kinks")
    assert newton.stuck
    assert mean_of(f, newton.points[0]) - mean_of(f, f.optimum()) < 10 * sigma


def test_plateaus_are_descended_to_their_own_height():
    f, newton = Quadratics(), search()
    play(newton, lambda x, i: np.round(f(x, i)))
    assert newton.stuck
    assert mean_of(f, newton.points[0]) - mean_of(f, f.optimum()) < 3


def test_kinks_are_recognised():
    f, newton = Quadratics(), search()
    play(newton, lambda x, i: np.abs((x - f.b[i]) @ f.q[i]).sum(axis=1))
    assert newton.ending == "kinks"
    assert newton.evaluations.max() < 5000


def test_agents_that_die_take_their_objective_with_them():
    f = Quadratics()
    faults = Faults(seed=0, kill={4: 5})
    net = Network(weights.build(topology.build("ring", 6)), faults)
    newton = search(net)
    play(newton, f)
    np.testing.assert_allclose(newton.points[0], f.optimum([0, 1, 2, 3, 5]), atol=1e-6)
    assert newton.evaluations[4] < newton.evaluations[0]


def test_a_network_in_two_parts_ends_it():
    faults = Faults(seed=0, kill={1: 4, 4: 4})
    newton = search(Network(weights.build(topology.build("ring", 6)), faults))
    play(newton, Quadratics())
    assert newton.ending == "parted"


def test_lost_messages_do_not_part_the_agents():
    f = Quadratics()
    net = Network(weights.build(topology.build("ring", 6)), Faults(seed=0, drop=0.3))
    newton = search(net)
    play(newton, f)
    assert np.ptp(newton.points, axis=0).max() == 0
    assert mean_of(f, newton.points[0]) - mean_of(f, f.optimum()) < 1e-3


def test_one_agent_alone_is_plain_bfgs():
    f = Quadratics(n=1)
    newton = search(Network(weights.build(topology.build("complete", 1))))
    play(newton, f)
    np.testing.assert_allclose(newton.points[0], f.optimum(), atol=1e-6)
    assert newton.network.bytes_sent.sum() == 0


@pytest.mark.parametrize("batches", [1, 2, 3, 10])
def test_a_restored_search_goes_on_to_the_last_bit(batches):
    whole, half = search(d=6), search(d=6)
    for _ in range(batches):
        for one in (whole, half):
            batch = one.propose()
            one.accept(np.array([valley(x, i) for i, x in zip(batch.agents, batch.x, strict=True)]))
    half.propose()
    resumed = search(d=6, seed=1)
    resumed.restore(half.state())
    play(whole, valley, rounds=6)
    play(resumed, valley, rounds=6)
    np.testing.assert_array_equal(whole.points, resumed.points)
    np.testing.assert_array_equal(whole.evaluations, resumed.evaluations)
    np.testing.assert_array_equal(whole.network.bytes_sent, resumed.network.bytes_sent)

"""CCSA-DES: a round against the source's pseudo-code, convergence, budgets, failures."""

import numpy as np
import pytest

from bbopt.lacmas import ccsa_des, topology, weights
from bbopt.lacmas.ccsa_des import COST, GENERATIONS, OFFSPRING, CcsaDes
from bbopt.lacmas.draws import Draws
from bbopt.lacmas.faults import Faults
from bbopt.lacmas.network import Network
from tests.lacmas.swarms import Bowls, box, network, play


def search(net=None, budget=20_000, seed=1, d=3, **kwargs):
    net = net or network()
    return CcsaDes(net, box(d), Draws(seed, net.agents, net.n), budget, **kwargs)


def reference_rounds(f, matrix, d, budget, seed, sigma, n_rounds):
    """The rounds in loops, one agent at a time, in units of the box (10 wide from -5)."""
    n = len(matrix)
    draws = Draws(seed, np.arange(n), n)
    mu = OFFSPRING // 2
    w = np.log(mu + 0.5) - np.log(np.arange(1, mu + 1))
    w /= w.sum()
    mu_eff = 1 / np.sum(w**2)
    cs = (mu_eff + 2) / (d + mu_eff + 5)
    chi = np.sqrt(d) * (1 - 1 / (4 * d) + 1 / (21 * d**2))
    x, g, sig = np.full((n, d), 0.5), np.zeros((n, d)), np.full(n, sigma)

    def cost(i, u):
        return f((u * 10 - 5)[None], i)[0]

    for t in range(n_rounds):
        slopes = np.zeros((n, d))
        for i in range(n):
            start, p = x[i].copy(), np.zeros(d)
            for m in range(GENERATIONS):
                z = draws.normal("ccsa-des", t, m, OFFSPRING, d)[i]
                order = np.argsort([cost(i, x[i] + sig[i] * zj) for zj in z])
                step = sum(w[j] * z[order[j]] for j in range(mu))
                x[i] = x[i] + sig[i] * step
                p = (1 - cs) * p + np.sqrt(cs * (2 - cs) * mu_eff) * step
                long = np.linalg.norm(p) / chi - 1
                if m >= 1 and long * (np.linalg.norm(g[i]) - 1) > 0:
                    sig[i] *= np.exp(0.001 * long)
            way = x[i] - start
            slopes[i] = (cost(i, start) - cost(i, x[i])) * way / (way @ way)
        v = matrix @ slopes
        v /= np.linalg.norm(v, axis=1, keepdims=True)
        theta = np.radians(90 * (1 - (t + 1) * COST / budget))
        b = 0.97
        gamma = np.roots([1, 2 * b * np.cos(theta), b * b - 1]).max()
        g = v if t == 0 else b * (matrix @ g) + gamma * v
        sig *= np.exp(0.01 * (np.linalg.norm(g, axis=1) - 1))
        x = matrix @ x
    return x * 10 - 5, sig


def left_of(f, among=range(6)):
    """What share of the way down from the middle of the box is left at an agent's point."""
    optimum = f.targets[list(among)].mean(axis=0)
    return lambda points: np.sum((points[0] - optimum) ** 2) / np.sum(optimum**2)


def test_rounds_are_those_of_the_source():
    net, f = network(), Bowls()
    one = search(net, sigma=1e-3)
    play(one, f, rounds=4)
    matrix = weights.build(topology.build("ring", 6)).toarray()
    x, sigma = reference_rounds(f, matrix, 3, 20_000, 1, 1e-3, 4)
    np.testing.assert_allclose(one.points, x, rtol=1e-9)
    np.testing.assert_allclose(one.sigma, sigma, rtol=1e-9)


def test_agents_agree_on_the_optimum_of_the_mean():
    f, one = Bowls(shift=2.0), search(budget=30_000)
    play(one, f)
    assert left_of(f)(one.points) < 0.01
    assert np.ptp(one.points, axis=0).max() < 1e-9


def test_plateaus_and_noise_do_little_harm():
    f, rng = Bowls(), np.random.default_rng(2)
    one = search(budget=30_000)
    play(one, lambda x, i: np.round(f(x, i), 1) + 0.1 * rng.normal(size=len(x)))
    assert np.abs(one.points[0] - f.targets.mean(axis=0)).max() < 0.2


def test_the_source_s_small_start_grows():
    one = search(budget=60_000, sigma=5e-9)
    play(one, Bowls(shift=2.0), rounds=150)
    assert one.sigma.min() > 5e-8


@pytest.mark.parametrize("budget", [0, COST - 1, COST, 3 * COST + 5])
def test_whole_rounds_are_paid_for(budget):
    one = search(budget=budget)
    play(one, Bowls())
    assert one.evaluations.tolist() == [budget // COST * COST] * 6
    assert np.ptp(one.points, axis=0).max() < 1e-9


def test_messages_carry_three_vectors():
    one = search()
    play(one, Bowls(), rounds=5)
    assert np.all(one.network.bytes_sent == 5 * 2 * 3 * 3 * 8)


def test_an_agent_that_always_fails_follows_the_others():
    f, one = Bowls(shift=2.0), search(budget=30_000)
    play(one, lambda x, i: np.full(len(x), np.nan) if i == 2 else f(x, i))
    assert left_of(f, [0, 1, 3, 4, 5])(one.points) < 0.02
    assert np.ptp(one.points, axis=0).max() < 1e-9


def test_an_optimum_beyond_the_bound_is_looked_for_on_it():
    one = search(budget=30_000)
    low = []
    for _, x in [*play(one, lambda x, i: ((x - [9.0, 0, 0]) ** 2).sum(axis=1))]:
        low.append(x.max())
    assert max(low) <= 5.0
    np.testing.assert_allclose(one.points[0], [5.0, 0, 0], atol=0.02)


def test_the_dead_are_not_asked_and_do_not_hold_the_others_back():
    f = Bowls(shift=2.0)
    net = Network(weights.build(topology.build("ring", 6)), Faults(seed=0, kill={2: 3}))
    one = search(net, budget=30_000)
    play(one, f)
    assert one.evaluations[2] == 2 * COST
    living = [0, 1, 3, 4, 5]
    assert left_of(f, living)(one.points) < 0.02
    assert np.ptp(one.points[living], axis=0).max() < 1e-9


def test_shared_directions_grow_steps_and_conflicts_shrink_them():
    """All agents see one slope: paths add up. Each sees its own: they cancel."""
    steps = []
    for spread in (0.0, 1.0):
        pulls = spread * np.random.default_rng(0).normal(size=(6, 3))
        pulls -= pulls.mean(axis=0)
        slope = np.array([1.0, 0, 0]) * (1 - spread) + pulls
        one = search(sigma=1e-4)
        play(one, lambda x, i, slope=slope: x @ slope[i], rounds=40)
        steps.append(one.sigma.mean())
    assert steps[0] > 1e-4 > steps[1]


@pytest.mark.parametrize("batches", [1, 5, 6, 13])
def test_a_restored_search_goes_on_to_the_last_bit(batches):
    f, whole, half = Bowls(), search(), search()
    for one in (whole, half):
        for _ in range(batches):
            batch = one.propose()
            one.accept(np.array([f(x, i) for i, x in zip(batch.agents, batch.x, strict=True)]))
    half.propose()
    resumed = search()
    resumed.restore(half.state())
    play(whole, f, rounds=3)
    play(resumed, f, rounds=3)
    np.testing.assert_array_equal(whole.points, resumed.points)
    np.testing.assert_array_equal(whole.sigma, resumed.sigma)


def test_the_two_gains_of_the_path_solve_their_equation():
    one = search(budget=1000)
    for spent in (0, 300, 1000):
        one.evaluations[:] = spent
        gamma, b = one._gain(), ccsa_des.MEMORY
        angle = np.radians(90 * (1 - spent / 1000))
        np.testing.assert_allclose(b**2 + gamma**2 + 2 * b * gamma * np.cos(angle), 1, rtol=1e-12)

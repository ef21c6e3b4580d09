"""The baselines: what is known of them on bowls, and that budgets and states hold."""

import numpy as np
import pytest

import bbopt
from bbopt.lacmas import topology, weights
from bbopt.lacmas.cbo import PARTICLES, ConsensusBased
from bbopt.lacmas.central import CentralCma
from bbopt.lacmas.draws import Draws
from bbopt.lacmas.gradient_tracking import GradientTracking
from bbopt.lacmas.spectrum import spectrum
from tests.lacmas.swarms import Bowls, Costs, box, network, play

RING = spectrum(weights.build(topology.build("ring", 6)))
NAMES = [
    "swarm:isolated", "swarm:cbo", "swarm:gradient-tracking", "swarm:quasi-newton", "swarm:cma",
]  # fmt: skip


def build(kind, budget=6000, seed=1, **kwargs):
    net = network()
    more = {"known": RING} if kind is ConsensusBased else {}
    if kind is CentralCma:
        pytest.importorskip("cma")
    return kind(net, box(), Draws(seed, net.agents, net.n), budget, **more, **kwargs)


KINDS = [ConsensusBased, GradientTracking, CentralCma]


@pytest.mark.parametrize("kind", KINDS)
def test_bowls_are_solved_within_what_the_method_can_do(kind):
    f, search = Bowls(), build(kind, 1500 if kind is CentralCma else 6000)
    play(search, f)
    within = {ConsensusBased: 0.3, GradientTracking: 1e-3, CentralCma: 1e-4}[kind]
    np.testing.assert_allclose(search.points, np.tile(f.targets.mean(axis=0), (6, 1)), atol=within)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("budget", [0, 5, 250])
def test_the_budget_is_never_exceeded(kind, budget):
    search = build(kind, budget)
    batches = play(search, Bowls())
    assert search.evaluations.tolist() == [sum(x.shape[1] for _, x in batches)] * 6
    assert search.evaluations.max() <= budget


@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_search_goes_on_to_the_last_bit(kind):
    f, whole, half = Bowls(), build(kind), build(kind)
    for one in (whole, half):
        play(one, f, rounds=40)
    half.propose()
    resumed = build(kind)
    resumed.restore(half.state())
    play(whole, f, rounds=20)
    play(resumed, f, rounds=20)
    np.testing.assert_array_equal(whole.points, resumed.points)


def test_gradient_tracking_mixes_and_tracks_as_its_equations_say():
    f, search = Bowls(), build(GradientTracking)
    w = network()._weights.toarray()
    x = search.x.copy()
    slopes = [2 * 100 * (x - (f.targets + 5) / 10)]  # of f over the unit cube
    play(search, f, rounds=1)
    y, alpha = slopes[0], search.alpha
    for _ in range(5):
        x = np.clip(w @ x - alpha * y, 0, 1)
        np.testing.assert_allclose(search.x, x, atol=1e-7)
        slopes.append(2 * 100 * (x - (f.targets + 5) / 10))
        y = w @ y + slopes[-1] - slopes[-2]
        play(search, f, rounds=1)
    np.testing.assert_allclose(search.tracking.sum(0), search.slope.sum(0), rtol=1e-8)


def test_cbo_weighs_by_the_mean_over_all_agents():
    f, search = Bowls(), build(ConsensusBased)
    x = search.propose().x[0]
    play(search, f, rounds=1)
    loss = np.mean([f(x, i) for i in range(6)], axis=0)
    w = np.exp(-30 * (loss - loss.min()) / np.ptp(loss))
    np.testing.assert_allclose(search.points[0], w @ x / w.sum(), atol=1e-3)


def test_cbo_leaves_out_particles_at_which_an_agent_fails():
    f, search = Bowls(), build(ConsensusBased)
    x = search.propose().x[0]
    failing = x[:, 0] < 0

    def values(x, i):
        return np.where((x[:, 0] < 0) & (i == 4), np.nan, f(x, i))

    search.accept(np.array([values(x, i) for i in range(6)]))
    loss = np.where(failing, np.inf, np.mean([f(x, i) for i in range(6)], axis=0))
    w = np.exp(-30 * (loss - loss.min()) / np.ptp(loss[~failing]))
    np.testing.assert_allclose(search.points[0], w @ x / w.sum(), atol=1e-3)
    assert search.evaluations.tolist() == [PARTICLES] * 6


def test_the_centre_sees_the_mean_and_sends_nothing():
    f, search = Bowls(), build(CentralCma, budget=300)
    seen = [x[0] for _, x in play(search, f)]
    means = np.mean([f(np.concatenate(seen), i) for i in range(6)], axis=0)
    np.testing.assert_array_equal(search.points[0], np.concatenate(seen)[np.argmin(means)])
    np.testing.assert_allclose(search.losses.mean(), means.min())
    assert search.network.bytes_sent.sum() == 0


def test_isolated_swarms_send_nothing_and_find_each_its_own():
    problem = Costs()
    result = bbopt.run(problem, "swarm:isolated", bbopt.Budget(evaluations=12_000), seed=3)
    assert result.diagnostics["bytes_per_agent"] == 0
    apart = problem.bowls.targets - problem.bowls.targets.mean(axis=0)
    own = np.linalg.norm(apart, axis=1).mean()  # distance of the agents' own optima
    assert result.diagnostics["disagreement"] == pytest.approx(own, rel=0.1)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_runs_within_its_budget(name):
    if name == "swarm:cma":
        pytest.importorskip("cma")
    problem = Costs()
    result = bbopt.run(problem, name, bbopt.Budget(evaluations=3_000), seed=3)
    again = bbopt.run(Costs(), name, bbopt.Budget(evaluations=3_000), seed=3)
    assert result.best == again.best
    assert result.spent.evaluations <= 3_000
    middle = problem.truth(dict.fromkeys(problem.spec.space, -2.0))
    assert problem.truth(result.best.params) < middle

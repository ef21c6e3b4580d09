"""The steps of the swarms against loops over agents, particles and coordinates."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bbopt.lacmas import act, swarm


def draws(seed, a, p, d):
    rng = np.random.default_rng(seed)
    x, v = rng.normal(size=(2, a, p, d))
    return x, v, rng.normal(size=(a, p)), rng.random((a, p, 4)), rng.random((a, p, 3, d))


def level_step_by_loops(x, v, loss, n_levels, u, r):
    """The step one particle after the other, from the worst level to the best."""
    x, v = x.copy(), v.copy()
    for i in range(len(x)):
        p = x.shape[1]
        size = p // n_levels
        order = sorted(range(p), key=lambda q: loss[i, q])
        for rank in reversed(range(size, p)):
            level = min(rank // size, n_levels - 1)
            mine = u[i, rank]
            if level == 1:
                place = int(mine[2] * size)
                others = [q for q in range(size) if q != place]
                pair = sorted([place, others[int(mine[3] * (size - 1))]])
                e1, e2 = order[pair[0]], order[pair[1]]
            else:
                first = int(mine[0] * level)
                others = [q for q in range(level) if q != first]
                low, high = sorted([first, others[int(mine[1] * (level - 1))]])
                e1 = order[low * size + int(mine[2] * size)]
                e2 = order[high * size + int(mine[3] * size)]
            q = order[rank]
            for j in range(x.shape[2]):
                r1, r2, r3 = r[i, rank, :, j]
                v[i, q, j] = (
                    r1 * v[i, q, j]
                    + r2 * (x[i, e1, j] - x[i, q, j])
                    + r3 * (x[i, e2, j] - x[i, q, j]) * 0.5
                )
                x[i, q, j] += v[i, q, j]
    return x, v


@pytest.mark.parametrize(("p", "n_levels"), [(6, 3), (20, 4), (23, 4), (24, 10), (300, 50)])
def test_a_level_step_equals_the_loop_from_the_worst_particle_to_the_best(p, n_levels):
    x, v, loss, u, r = draws(p, 3, p, 4)
    expected = level_step_by_loops(x, v, loss, n_levels, u, r)
    moved = swarm.level_step(x, v, loss, n_levels, u, r)
    np.testing.assert_array_equal(x, expected[0])
    np.testing.assert_array_equal(v, expected[1])
    assert moved.shape == (3, p - p // n_levels)


@given(st.integers(0, 999), st.sampled_from([4, 6, 8, 10]), st.integers(20, 60))
@settings(max_examples=60, deadline=None)
def test_exemplars_come_from_better_levels_and_differ(seed, n_levels, p):
    _, _, loss, u, _ = draws(seed, 2, p, 1)
    order = np.argsort(loss, axis=1, kind="stable")
    rank = np.argsort(order, axis=1)
    movers, first, second = swarm.exemplars(order, n_levels, u)
    size = p // n_levels
    agents = np.arange(2)[:, None]
    level = np.minimum(rank[agents, movers] // size, n_levels - 1)
    at_first, at_second = rank[agents, first] // size, rank[agents, second] // size
    assert (at_second < level).all()
    assert np.where(level == 1, at_first == at_second, at_first < at_second).all()
    assert (loss[agents, first] < loss[agents, second]).all()


def test_every_pair_of_better_levels_is_as_likely_as_any_other():
    rng = np.random.default_rng(0)
    order = np.tile(np.arange(40), (4000, 1))  # 4 levels of 10
    movers, first, second = swarm.exemplars(order, 4, rng.random((4000, 40, 4)))
    top = movers >= 30
    pairs = np.stack([first[top] // 10, second[top] // 10], axis=1)
    kinds, counts = np.unique(pairs, axis=0, return_counts=True)
    assert kinds.tolist() == [[0, 1], [0, 2], [1, 2]]
    n = counts.sum()
    # multinomial with p = 1/3: five standard errors
    assert np.abs(counts / n - 1 / 3).max() < 5 * np.sqrt(2 / 9 / n)


def test_an_external_step_equals_the_loop_and_pairs_rows():
    x, v, _, u, _ = draws(1, 3, 5, 2)
    w = np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]])
    mixed = np.einsum("ij,jpd->ipd", w, x)
    momentum = 0.8 * u[:, :, 0]
    old, speed = x.copy(), v.copy()
    swarm.external_step(x, v, mixed, momentum)
    for i in range(3):
        for p in range(5):
            pull = sum(w[i, j] * (old[j, p] - old[i, p]) for j in range(3))
            expected = momentum[i, p] * speed[i, p] + pull
            np.testing.assert_allclose(v[i, p], expected, rtol=0, atol=1e-15)
            np.testing.assert_array_equal(x[i, p], old[i, p] + v[i, p])


@pytest.mark.parametrize("success", [[0.0] * 4, [1.0] * 4, [1.0, 0.0, 0.3, 0.9]])
def test_a_number_of_levels_is_chosen_in_proportion_to_the_exponential_of_its_success(success):
    n = 40_000
    u = np.random.default_rng(3).random(n)
    chosen = swarm.choose_levels(np.tile(success, (n, 1)), u)
    share = np.bincount(chosen, minlength=4) / n
    expected = np.exp(7 * np.array(success)) / np.exp(7 * np.array(success)).sum()
    assert np.abs(share - expected).max() < 5 * np.sqrt(0.25 / n)


def test_success_stays_between_zero_and_one_whatever_the_losses():
    success, best, greatest = np.ones((1, 3)), np.array([np.inf]), np.zeros(1)
    rng = np.random.default_rng(5)
    for least in [np.inf, 10.0, *rng.normal(size=50).cumsum(), -1e300, np.inf]:
        swarm.update_success(success, np.array([1]), np.array([least]), best, greatest)
        assert ((success >= 0) & (success <= 1)).all()
        assert np.isfinite(greatest).all()
    assert best[0] == -1e300


def test_every_level_has_two_particles_however_few_there_are():
    for p in (4, 6, 10, 20, 50, 299, 300, 1000):
        pool = swarm.level_pool(p)
        assert pool
        assert all(p // n >= 2 for n in pool)


@pytest.mark.parametrize(
    ("divergence", "expected"), [(0.1, 1.0), (0.01, 1.0), (0.1001, 0.7), (0.0099, 1.3)]
)
def test_both_limits_belong_to_the_middle_regime(divergence, expected):
    limits = act.thresholds("absolute", np.zeros(1), np.ones(1))
    s = act.coefficient(np.array([divergence]), np.array([0.7]), np.array([1.3]), limits)
    assert s[0] == expected


def test_limits_relative_to_the_box_are_the_absolute_ones_in_the_published_box():
    low, high = np.full(100, -100.0), np.full(100, 100.0)
    np.testing.assert_allclose(act.thresholds("box", low, high), (1e-2, 1e-1))


def test_divergence_is_the_mean_squared_distance_from_the_centre():
    x = np.random.default_rng(2).normal(size=(2, 7, 3))
    expected = [np.mean([np.sum((p - s.mean(axis=0)) ** 2) for p in s]) for s in x]
    np.testing.assert_allclose(swarm.divergence(x), expected)

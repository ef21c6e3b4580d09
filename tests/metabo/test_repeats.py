"""The repeat rule: staleness, counting, limits, and the values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bbopt.errors import UsageError
from bbopt.metabo import RBF, Matern52, Posterior
from bbopt.metabo.repeats import (
    default_staleness,
    free_staleness,
    learning_cap,
    most_batches,
    repeats,
    repeats_for_cost,
    scheduled_staleness,
    staleness_for_cost,
)

stalenesses = st.floats(1.05, 4.0)
variances = st.floats(1e-9, 10.0)
noises = st.floats(1e-6, 10.0)


@given(
    seed=st.integers(0, 10_000),
    kernel=st.sampled_from([RBF(0.2), RBF([0.1, 0.6], 2.0), Matern52(0.3), Matern52(0.05)]),
    noise=st.floats(1e-3, 1.0),
    staleness=stalenesses,
)
@settings(max_examples=500)
def test_no_sd_shrinks_by_more_than_the_staleness_and_one_repeat_more_would(
    seed, kernel, noise, staleness
):
    rng = np.random.default_rng(seed)
    x = rng.random((30, 2))
    p, q = (Posterior(kernel, noise, candidates=x) for _ in range(2))
    visited = rng.integers(0, 30, rng.integers(1, 12))
    counts, zeros = rng.integers(1, 30, len(visited)), np.zeros(len(visited))
    p.update_many(x[visited], counts, zeros, zeros)
    q.update_many(x[visited], counts, zeros, zeros)
    i, before = int(rng.integers(30)), p.sd**2
    z = (staleness**2 - 1) * noise / before[i]
    assume(z >= 1 and abs(z - round(z)) > 1e-6)
    [n] = repeats(before[i : i + 1], noise, staleness, 10**9)
    p.update(i, count=int(n), mean=0.0)
    q.update(i, count=int(n) + 1, mean=0.0)
    assert np.max(before / p.sd**2) <= staleness**2 * (1 + 1e-9)
    assert before[i] / q.sd[i] ** 2 > staleness**2


@given(variances, noises, stalenesses, st.integers(1, 10**12), st.sampled_from(["floor", "plus1"]))
def test_there_is_at_least_one_repeat_and_at_most_the_limit(v, noise, c, limit, rounding):
    assert 1 <= repeats(v, noise, c, limit, rounding) <= limit


@given(variances, noises, stalenesses, st.floats(1.0, 2.0), st.sampled_from(["floor", "plus1"]))
def test_repeats_grow_with_noise_and_staleness_and_fall_with_variance(v, noise, c, f, rounding):
    n = repeats(v, noise, c, 10**15, rounding)
    assert repeats(v, noise * f, c, 10**15, rounding) >= n
    assert repeats(v, noise, c * f, 10**15, rounding) >= n
    assert repeats(v * f, noise, c, 10**15, rounding) <= n


@pytest.mark.parametrize(("rounding", "expected"), [("floor", [1, 3, 12, 48]), ("plus1", [1, 4])])
def test_repeats_worked_out_by_hand(rounding, expected):
    p = Posterior(RBF(1.0), 0.04, candidates=[[0.5]])
    got = []
    for _ in expected:
        [n] = repeats(p.sd**2, 0.04, 2.0, 10**6, rounding)
        got.append(int(n))
        p.update(0, count=int(n), mean=0.0)
    assert got == expected


def test_each_revisit_multiplies_the_count_by_the_square_of_the_staleness():
    for staleness in (math.sqrt(2.0), 2.0, 3.0):
        p, total = Posterior(RBF(1.0), 100.0, candidates=[[0.5]]), 0
        while total < 10**6:
            [n] = repeats(p.sd**2, 100.0, staleness, 10**9)
            # noise/variance = total + noise, here with a prior worth 100 evaluations
            exact = (staleness**2 - 1) * (total + 100)
            assert math.floor(exact * (1 - 1e-8)) <= n <= exact * (1 + 1e-8)
            p.update(0, count=int(n), mean=0.0)
            total += int(n)


def test_a_variance_of_zero_is_no_overflow():
    assert repeats(0.0, 0.1, 2.0, 77) == 77
    assert repeats(0.0, 0.1, 1.0, 77) == 1
    assert repeats(1e-300, 1e300, 2.0, 77) == 77
    assert repeats(0.0, 0.1, 2.0, 77, "plus1") == 77


@pytest.mark.parametrize("choose", ["ucb", "at random"])
@pytest.mark.parametrize("rounding", ["floor", "plus1"])
@pytest.mark.parametrize("staleness", [1.1, math.sqrt(2.0), 2.0, 4.0])
def test_batches_are_no_more_than_the_information_pays_for(choose, rounding, staleness):
    rng = np.random.default_rng(7)
    x = rng.random((200, 2))
    f = np.sin(6 * x[:, 0]) + np.cos(4 * x[:, 1])
    p = Posterior(Matern52(0.2), 0.09, candidates=x)
    batches = 0
    while p.n_evaluations < 20_000 and batches < 500:
        i = p.argmax(lambda m, s: m + 2 * s) if choose == "ucb" else int(rng.integers(200))
        [n] = repeats(p.sd[i : i + 1] ** 2, 0.09, staleness, 10**9, rounding)
        p.update(i, count=int(n), mean=float(f[i] + 0.3 / math.sqrt(n) * rng.normal()))
        batches += 1
        assert batches <= most_batches(p.info, staleness, rounding)


def test_a_staleness_near_one_is_plain_gp_ucb_choice_by_choice():
    rng = np.random.default_rng(1)
    x, noise, horizon = rng.random((100, 2)), 0.09, 300
    f = np.sin(6 * x[:, 0])
    staleness = math.sqrt(1 + 2 / (horizon + noise)) * (1 - 1e-9)
    values = f[:, None] + 0.3 * rng.normal(size=(100, horizon))  # by candidate and repeat
    mini, plain = (Posterior(Matern52(0.2), noise, candidates=x) for _ in range(2))
    chosen = []
    for p in (mini, plain):
        visits, indices = np.zeros(100, dtype=int), []
        while len(indices) < horizon:
            i = p.argmax(lambda m, s: m + 2 * s)
            left = horizon - len(indices)
            n = int(repeats(p.sd[i] ** 2, noise, staleness, left)) if p is mini else 1
            p.update(i, values[i, visits[i] : visits[i] + n])
            visits[i] += n
            indices += [i] * n
        chosen.append(indices)
    assert chosen[0] == chosen[1]


@pytest.mark.parametrize("cost", [0.1, 1.0, 10.0, 1000.0])
@pytest.mark.parametrize("variance", [1e-3, 1.0, 30.0])
def test_repeats_after_a_switch_gain_the_most_information_a_unit_of_cost(variance, cost):
    noise = 0.3
    n = np.arange(1, 100_000)
    rate = np.log1p(n * variance / noise) / (cost + n)
    best = int(n[np.argmax(rate)])
    assert repeats_for_cost(variance, noise, cost) in (best - 1, best)  # the real one, cut


def test_repeats_after_a_switch_have_limits():
    assert repeats_for_cost(1.0, 1.0, 0.0) == 0
    assert repeats_for_cost(0.0, 1.0, 1.0) == 2**53
    for variance in (0.99e-13, 1.01e-13):  # of either side of where the series takes over
        expected = math.sqrt(2.0 * 1000.0 / variance)  # relative error of order sqrt(1e-10)
        assert repeats_for_cost(variance, 1.0, 1000.0) == pytest.approx(expected, rel=1e-4)


def test_staleness_from_the_switch_cost_is_that_of_the_worked_example():
    # β = 3, γ = 50, T = 1e4; g = 0.2 is the prior variance for which κ²/ln(1 + κ²/noise) = 0.2
    given_ = {"beta": 3.0, "info": 50.0, "evaluations": 10_000, "prior_variance": 1.0}
    given_["noise"] = 1.0 / (math.exp(5.0) - 1.0)
    assert staleness_for_cost(0.0, **given_) == pytest.approx(1.0, abs=1e-6)
    assert staleness_for_cost(1.0, **given_) == pytest.approx(1.14, abs=0.01)
    assert staleness_for_cost(20.0, **given_) == pytest.approx(1.62, abs=0.01)
    assert staleness_for_cost(200.0, **given_) == pytest.approx(3.03, abs=0.01)
    assert staleness_for_cost(1e9, **given_) == 4.0


def test_a_batch_of_a_model_that_still_learns_is_at_most_a_tenth_of_the_data():
    assert [learning_cap(n) for n in (0, 9, 10, 100_000)] == [16, 16, 17, 10_016]


def test_defaults():
    assert free_staleness(1.0, 0.01) == pytest.approx(math.sqrt(101))
    assert default_staleness(1.0, 0.01) == math.sqrt(2.0)
    assert default_staleness(1.0, 4.0) == pytest.approx(math.sqrt(1.25))
    assert [scheduled_staleness(u, 3, early=1.1, late=2.0) for u in (29, 30)] == [1.1, 2.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.1, 0.1, 0.9, 5), "staleness must be a finite number >= 1"),
        ((0.1, 0.1, 2.0, 0), "limit must be an integer >= 1"),
        ((0.1, 0.1, 2.0, 5, "round"), "rounding must be one of 'floor', 'plus1'"),
    ],
)
def test_bad_settings_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        repeats(*arguments)

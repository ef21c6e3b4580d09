"""Learning hyper-parameters: recovery, bounds, and data from which nothing can be learned."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bbopt.errors import UsageError
from bbopt.metabo import RBF, Matern52
from bbopt.metabo.evidence import evidence
from bbopt.metabo.hyperparameters import (
    GROWTH,
    _Target,
    fit,
    is_deterministic,
    local_noise,
    refit_due,
    within_variance,
)
from bbopt.metabo.posterior.observations import Observations, moments


def rng():
    return np.random.default_rng(0)


def observe(points, statistics):
    data = Observations(np.shape(points)[1])
    for x, (n, mean, m2) in zip(np.asarray(points, dtype=float), statistics, strict=True):
        data.pool(data.add(x, 1.0), n, mean, m2)
    return data


def draw(seed, kernel, noise, u=100, total=10_000):
    """A draw from the prior at ``u`` points with unequal counts that sum to about ``total``."""
    draws = np.random.default_rng(seed)
    x = draws.random((u, 2))
    f = np.linalg.cholesky(kernel(x, x) + 1e-10 * np.eye(u)) @ draws.normal(size=u)
    shares = draws.dirichlet(np.full(u, 0.5))
    counts = 1 + draws.multinomial(total - u, shares)
    means = f + np.sqrt(noise / counts) * draws.normal(size=u)
    m2 = [noise * draws.chisquare(n - 1) if n > 1 else 0.0 for n in counts]
    return observe(x, zip(counts.tolist(), means.tolist(), m2, strict=True))


def test_hyper_parameters_of_a_draw_are_recovered_from_a_bad_start():
    truth, noise = Matern52(0.3, 1.5), 0.09
    errors = []
    for seed in range(20):
        found = fit(Matern52(2.0, 0.1), draw(seed, truth, noise), rng=rng(), n_starts=2)
        errors.append(np.abs(found.kernel.log_parameters - truth.log_parameters))
        errors[-1] = np.append(errors[-1], abs(math.log(found.noise / noise)))
    errors = np.array(errors)
    within = errors <= [0.5, 1.1, 4 * math.sqrt(2 / 9_900)]
    assert np.all(within.mean(axis=0) >= 0.9)


def test_the_spread_within_points_counts():
    # The means alone hold 100 of the 10,000 degrees of freedom of the noise.
    data = draw(0, Matern52(0.3), 0.09)
    found = fit(Matern52(0.3), data, rng=rng())
    assert found.noise == pytest.approx(within_variance(data), rel=0.01)


def test_a_million_evaluations_do_not_drown_the_lengthscale():
    truth = Matern52(0.3)
    found = fit(Matern52(3.0), draw(3, truth, 0.09, total=1_000_000), rng=rng())
    assert abs(math.log(found.kernel.lengthscales[0] / 0.3)) < 0.5


def test_the_fit_ends_in_the_same_place_from_two_starts_however_many_evaluations():
    data = draw(3, Matern52(0.3), 0.09, total=100_000_000)
    a, b = (fit(Matern52(scale), data, rng=rng(), n_starts=1) for scale in (3.0, 0.1))
    np.testing.assert_allclose(a.kernel.lengthscales, b.kernel.lengthscales, rtol=1e-2)


def test_more_starts_never_find_less():
    data = draw(4, RBF([0.1, 0.8]), 0.01, u=30, total=100)
    densities = [fit(RBF([3.0, 0.1]), data, rng=rng(), n_starts=n).log_density for n in (1, 4, 8)]
    assert densities == sorted(densities)


def test_the_same_generator_finds_the_same():
    data = draw(5, RBF([0.1, 0.8]), 0.01, u=30, total=100)
    assert fit(RBF([0.3, 0.3]), data, rng=rng()) == fit(RBF([0.3, 0.3]), data, rng=rng())


def test_a_fit_does_not_depend_on_the_unit_of_the_values_nor_a_fitted_constant_on_their_zero():
    data = draw(6, Matern52(0.3), 0.05, u=40, total=400)
    moved = observe(
        data.points, zip(data.count.tolist(), 1e3 + 10 * data.mean, 100 * data.m2, strict=True)
    )
    a = fit(Matern52(0.5), data, rng=rng(), fit_constant=True)
    b = fit(Matern52(0.5, 100.0), moved, rng=rng(), fit_constant=True)
    assert b.noise == pytest.approx(100 * a.noise, rel=1e-3)
    assert b.constant == pytest.approx(1e3 + 10 * a.constant, rel=1e-3)
    np.testing.assert_allclose(b.kernel.lengthscales, a.kernel.lengthscales, rtol=1e-2)


def test_one_good_value_is_not_explained_away():
    # Nine bad values and a good one, each seen once: as noise it would be forgotten.
    x = np.random.default_rng(0).random((10, 2))
    data = observe(x, [(1, 0.01 * i, 0.0) for i in range(9)] + [(1, 4.0, 0.0)])
    assert fit(Matern52(0.3), data, rng=rng()).kernel.variance >= 4.0 * (1 - 1e-12)


@pytest.mark.parametrize("noise", [1e-7, 0.01, 0.5, 30.0])
def test_a_noise_that_is_given_is_held_and_the_rest_is_fitted_to_it(noise):
    data = draw(7, Matern52(0.3, 1.5), 0.09, u=40, total=200)
    found = fit(Matern52(1.0), data, rng=rng(), noise=noise, fit_constant=True)
    assert found.noise == pytest.approx(noise, rel=1e-12)
    free = fit(Matern52(1.0), data, rng=rng(), fit_constant=True)
    assert found.log_density <= free.log_density + 1e-6
    assert found.kernel != Matern52(1.0)


def test_a_noise_that_is_given_is_held_where_nothing_else_can_be_learned_too():
    data = observe([[0.1, 0.1]], [(5, 2.0, 4.0)])
    assert fit(RBF(0.2), data, rng=rng(), noise=0.25).noise == 0.25


@pytest.mark.parametrize("kernel", [RBF(0.4), Matern52([0.3, 0.8], 2.0)], ids=str)
@pytest.mark.parametrize("constant", [None, 0.0])
def test_the_gradient_of_what_is_minimised_is_that_of_central_differences(kernel, constant):
    data = draw(8, Matern52(0.3), 0.09, u=20, total=200)
    target = _Target(kernel, data, constant, within_variance(data))
    h = 1e-5
    for theta in (target.centre, target.centre + 0.7 * target.sd, target.centre - target.sd):
        _, gradient = target(theta)
        steps = np.eye(len(theta)) * h
        differences = [(target(theta + s)[0] - target(theta - s)[0]) / (2 * h) for s in steps]
        np.testing.assert_allclose(gradient, differences, rtol=1e-5, atol=1e-4)


def test_the_prior_is_normal_in_logarithms_and_apart_from_it_there_is_the_evidence():
    data = draw(8, Matern52(0.3), 0.09, u=20, total=200)
    target = _Target(Matern52([0.3, 0.8]), data, 0.0, within_variance(data))
    theta = target.centre + np.array([0.5, -1.0, 0.3, 2.0])
    kernel = Matern52(np.exp(theta[:2]), math.exp(theta[2]))
    likelihood = evidence(kernel, math.exp(theta[3]), data).value
    gap = (theta - target.centre) / target.sd
    expected = target.offset - likelihood + 0.5 * float(gap @ gap)
    assert target(theta)[0] == pytest.approx(expected, rel=1e-10)


def test_priors_are_on_the_scale_of_the_values():
    data = draw(9, RBF(0.3), 0.1, u=20, total=100)
    larger = data.scaled(0.0, 0.1)
    a, b = (_Target(RBF(0.3), d, 0.0, within_variance(d)) for d in (data, larger))
    np.testing.assert_allclose(b.centre - a.centre, np.log([1.0, 100.0, 100.0]), atol=1e-9)
    assert np.array_equal(a.sd, b.sd)


def test_few_data_leave_the_lengthscale_of_an_idle_coordinate_to_the_prior():
    x = np.array([[0.1, 0.5], [0.4, 0.5], [0.6, 0.5], [0.9, 0.5]])  # the second never varies
    data = observe(x, [(3, v, 0.01) for v in (0.0, 1.0, 0.5, -1.0)])
    found = fit(Matern52([2.0, 2.0]), data, rng=rng(), n_starts=3)
    centre = _Target(Matern52([2.0, 2.0]), data, 0.0, within_variance(data)).centre
    assert math.log(found.kernel.lengthscales[1]) == pytest.approx(centre[1], abs=1e-3)


@pytest.mark.parametrize(
    ("statistics", "noise"),
    [
        ([(1, 2.0, 0.0)], 1e-6),  # one value
        ([(5, 2.0, 4.0)], 1.0),  # one point with repeats
        ([(3, 2.0, 0.0), (3, 2.0, 0.0)], 1e-6),  # a constant function
        ([(3, 2.0, 1.0), (3, 2.0, 3.0)], 1.0),  # equal means that repeats disagree about
    ],
)
def test_where_nothing_can_be_learned_the_kernel_stays(statistics, noise):
    x = [[0.1, 0.1], [0.9, 0.9]][: len(statistics)]
    found = fit(RBF([0.2, 0.3]), observe(x, statistics), rng=rng(), fit_constant=True)
    assert found.kernel == RBF([0.2, 0.3])
    assert found.noise == pytest.approx(noise)
    assert found.constant == 2.0
    assert math.isfinite(found.log_density)


def test_repeats_that_agree_exactly_are_recognised_and_get_the_least_noise():
    x = np.random.default_rng(0).random((8, 2))
    values = np.sin(5 * x[:, 0])
    data = observe(x, [(3, v, 0.0) for v in values])
    assert is_deterministic(data)
    found = fit(Matern52(0.3), data, rng=rng(), deterministic=True)
    assert found.noise == pytest.approx(1e-6 * np.var(values))
    assert fit(Matern52(0.3), data, rng=rng()).noise == pytest.approx(found.noise)


@pytest.mark.parametrize(
    ("statistics", "expected"),
    [
        ([(3, 1.0, 0.0), (3, 2.0, 0.0), (1, 3.0, 0.0)], True),
        ([(3, 1.0, 0.0), (2, 2.0, 0.0), (1, 3.0, 0.0)], False),  # too few repeats
        ([(3, 1.0, 0.0), (3, 2.0, 1e-9), (1, 3.0, 0.0)], False),
        ([(3, 1.0, 0.0), (3, 2.0, 0.0), (2, 0.0, 1e-9)], False),
        ([(9, 0.0, 0.0), (5, 1.0, 0.0), (1, 1.0, 0.0)], False),  # may be successes and failures
    ],
)
def test_an_objective_is_deterministic_only_on_enough_evidence(statistics, expected):
    x = [[0.1], [0.2], [0.3]][: len(statistics)]
    assert is_deterministic(observe(x, statistics)) is expected


@pytest.mark.parametrize(
    ("values", "counts", "expected"),
    [
        (range(8, 0, -1), (2, 2), False),  # seven are better than the worst
        (range(9, 0, -1), (2, 2), True),
        (range(9, 0, -1), (3,), True),
        (range(9, 0, -1), (2,), False),
        ([9, 8, 7, 6, 5, 4, 3, 2, 1, 1, 1, 1], (2, 2), True),  # a penalty
        ([9, 8, 7, 6, 5, 4, 3, 3, 2, 1], (2, 2), False),  # shares of twenty, say
        (range(1, 10), (3,), False),  # of the worst alone
    ],
)
def test_two_repeats_are_enough_where_all_values_differ(values, counts, expected):
    n = [*counts, *[1] * (len(values) - len(counts))]
    x = np.linspace(0, 1, len(values))[:, None]
    data = observe(x, [(k, float(v), 0.0) for k, v in zip(n, values, strict=True)])
    assert is_deterministic(data) is expected
    if expected:
        noisy = [(k, float(v), 1e-6 * (k > 1)) for k, v in zip(n, values, strict=True)]
        assert not is_deterministic(observe(x, noisy))


@pytest.mark.parametrize("count", [1, 4, 40])
def test_the_prior_variance_is_that_of_the_function_whatever_noise_the_means_have(count):
    """Half of the means are of ``count`` evaluations, half of 40; noise of sd 2 spreads them."""
    draws = np.random.default_rng(5)
    x = draws.random((60, 1))
    values = np.sin(12.0 * x[:, 0])  # of variance about 1/2
    counts = np.where(np.arange(60) % 2, count, 40)
    samples = [v + 2.0 * draws.normal(size=n) for v, n in zip(values, counts, strict=True)]
    data = observe(x, [moments(sample) for sample in samples])
    found = fit(RBF(0.2), data, rng=rng(), fit_constant=True)
    assert found.kernel.variance == pytest.approx(0.5, rel=0.5)
    assert found.noise == pytest.approx(4.0, rel=0.1)


def test_equal_values_are_deterministic_though_their_mean_is_rounded():
    equal = [(n, v, n * np.spacing(abs(v)) ** 2) for v in rng().normal(size=100) for n in (3, 100)]
    x = np.arange(len(equal))[:, None] / len(equal)
    assert is_deterministic(observe(x, equal))
    noisy = [(n, v, n * (1e-6 * v) ** 2) for n, v, _ in equal]
    assert not is_deterministic(observe(x, noisy))


def test_the_noise_of_a_point_is_its_own_the_more_it_was_repeated():
    data = observe([[0.1], [0.2], [0.3]], [(1, 0.0, 0.0), (11, 0.0, 40.0), (10**6, 0.0, 4e6)])
    np.testing.assert_allclose(local_noise(1.0, data), [1.0, 2.5, 4.0], rtol=1e-4)


def test_the_spread_within_points_is_unknown_without_repeats():
    assert within_variance(observe([[0.1]], [(1, 0.0, 0.0)])) is None
    values = np.random.default_rng(0).normal(size=50)
    data = observe([[0.1]], [moments(values)])
    assert within_variance(data) == pytest.approx(values.var(ddof=1), rel=1e-13)


def test_a_refit_is_due_when_batches_double():
    fits, fitted = [], (0, 0)
    for batches in range(1, 200):
        if refit_due(batches, min(batches, 8), *fitted):
            fits.append(batches)
            fitted = (batches, min(batches, 8))
    assert fits == [8, 16, 32, 64, 128]


def test_a_refit_is_due_when_there_are_so_many_more_points():
    enough = math.ceil(GROWTH * 100)
    assert enough > 100
    assert refit_due(120, enough, 110, 100)
    assert not refit_due(120, enough - 1, 110, 100)
    assert not refit_due(7, 7, 4, 2)  # too few batches for anything


def test_no_start_at_all_is_refused():
    with pytest.raises(UsageError, match="n_starts must be an integer >= 1"):
        fit(RBF(0.3), observe([[0.1]], [(1, 0.0, 0.0)]), rng=rng(), n_starts=0)

"""Paths drawn from a posterior: their moments, gradients, and that they pass through the data."""

from __future__ import annotations

import numpy as np
import pytest

from bbopt.metabo import RBF, Matern52, Posterior
from bbopt.metabo.thompson import Features, Path

KERNELS = [
    RBF(0.3, 2.0),
    RBF([0.2, 0.6]),
    Matern52(0.3, 2.0),
    Matern52([0.2, 0.6], 0.5),
    Matern52([0.4], groups=(0, 0)),
]
PATHS = 1500

each_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=str)


def conditioned(kernel, noise=0.1, n=8, count=None, **kwargs):
    rng = np.random.default_rng(3)
    p = Posterior(kernel, noise, **kwargs)
    for x in rng.random((n, 2)):
        repeats = int(rng.integers(1, 10)) if count is None else count
        p.update(x, count=repeats, mean=float(rng.normal()))
    return p


def dense(p, x):
    """Posterior mean and covariance at ``x`` from the unique points, naively."""
    data = p.observations
    m = p.kernel(data.points, data.points) + np.diag(data.noise / data.count)
    cross = np.linalg.solve(m, p.kernel(data.points, x))
    return cross.T @ data.mean, p.kernel(x, x) - p.kernel(x, data.points) @ cross


def check_moments(values, mean, covariance):
    """Sample moments within five standard errors of what they should be.

    Frequencies are drawn anew for each path, so that both moments are exact in expectation; the
    paths are sums of 1,024 cosines, normal up to a kurtosis of 3 + O(1/1024). The standard error
    of a mean is ``sqrt(c_ii/n)``, that of a covariance ``sqrt((c_ii c_jj + c_ij²)/n)``. At most
    20 moments a kernel: the chance of a failure at another seed is below 2e-5.
    """
    n = len(values)
    variance = np.diag(covariance)
    assert np.all(np.abs(values.mean(axis=0) - mean) <= 5 * np.sqrt(variance / n))
    error = np.sqrt((np.outer(variance, variance) + covariance**2) / n)
    gap = values - mean
    assert np.all(np.abs(gap.T @ gap / n - covariance) <= 5 * error)


@each_kernel
def test_draws_of_the_prior_have_the_moments_of_the_prior(kernel):
    rng = np.random.default_rng(0)
    x = np.array([[0.1, 0.2], [0.15, 0.3], [0.5, 0.5], [0.9, 0.1]])
    values = np.array([Features(kernel, 2, rng)(x) for _ in range(PATHS)])
    check_moments(values, np.zeros(4), kernel(x, x))


@each_kernel
def test_paths_have_the_mean_and_covariance_of_the_posterior(kernel):
    p = conditioned(kernel)
    rng = np.random.default_rng(1)
    x = np.vstack([np.random.default_rng(2).random((3, 2)), p.observations.points[:1]])
    values = np.array([Path(p, 2, rng).at(p, x) for _ in range(PATHS)])
    check_moments(values, *dense(p, x))


def test_points_of_unequal_noise_spread_the_paths_unequally():
    p = Posterior(RBF(0.1), 0.1)
    p.update([0.1, 0.1], count=4, mean=1.0, noise=4.0)
    p.update([0.9, 0.9], count=4, mean=1.0, noise=0.04)
    rng = np.random.default_rng(5)
    x = p.observations.points
    values = np.array([Path(p, 2, rng).at(p, x) for _ in range(PATHS)])
    check_moments(values, *dense(p, x))


@each_kernel
def test_the_gradient_is_that_of_central_differences(kernel):
    path = Path(conditioned(kernel), 2, np.random.default_rng(4))
    x = np.random.default_rng(5).random((10, 2))
    values, gradient = path.slope(None, x)
    assert np.array_equal(values, path.at(None, x))
    h = 1e-6
    for axis in range(2):
        step = np.eye(2)[axis] * h
        differences = (path.at(None, x + step) - path.at(None, x - step)) / (2 * h)
        np.testing.assert_allclose(gradient[:, axis], differences, rtol=1e-5, atol=1e-6)


@each_kernel
def test_paths_pass_through_what_was_seen_without_noise(kernel):
    noise = 1e-8
    p = conditioned(kernel, noise, count=1)
    data = p.observations
    rng = np.random.default_rng(6)
    # At the data a path is off by noise M⁻¹(residual) and by its own error of sd 1e-4: five of
    # these for the latter; the residual of 8 values is at most 10, M's least eigenvalue 1e-3.
    assert np.linalg.eigvalsh(kernel(data.points, data.points)).min() > 1e-3
    for _ in range(20):
        path = Path(p, 2, rng)
        assert np.max(np.abs(path.at(p, data.points) - data.mean)) <= 5e-4 + noise * 10 / 1e-3


def test_a_path_is_one_function_over_a_table_and_anywhere_else():
    x = np.random.default_rng(3).random((8, 2))
    table, free = conditioned(Matern52(0.3), candidates=x), conditioned(Matern52(0.3))
    paths = [Path(p, 2, np.random.default_rng(7)) for p in (table, free)]
    np.testing.assert_allclose(paths[0].at(table, x), paths[1].at(free, x), rtol=1e-9)


def test_before_any_value_a_path_is_a_draw_of_the_prior():
    p = Posterior(RBF(0.3), 0.1)
    x = np.random.default_rng(0).random((5, 2))
    path = Path(p, 2, np.random.default_rng(8))
    assert np.array_equal(path.at(p, x), Features(RBF(0.3), 2, np.random.default_rng(8))(x))


def test_the_same_generator_draws_the_same_path_and_another_draws_another():
    p, x = conditioned(RBF(0.3)), np.random.default_rng(0).random((5, 2))
    a, b, c = (Path(p, 2, np.random.default_rng(seed)).at(p, x) for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert not np.allclose(a, c)


def test_a_path_has_no_near_maximisers():
    path = Path(conditioned(RBF(0.3)), 2, np.random.default_rng(0))
    assert np.array_equal(path.slack(np.ones(3), 0.5), np.zeros(3))

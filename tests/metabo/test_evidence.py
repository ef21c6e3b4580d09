"""The marginal likelihood from sufficient statistics against the one with all rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from bbopt.metabo import RBF, Matern52
from bbopt.metabo.evidence import evidence
from bbopt.metabo.posterior.observations import Observations, moments

KERNELS = [RBF(0.3, 1.7), Matern52([0.2, 0.6], 0.8)]


def draw(seed, counts):
    """Observations with those counts, and the same as rows."""
    rng = np.random.default_rng(seed)
    data, rows, values = Observations(2), [], []
    for n in counts:
        x, y = rng.random(2), rng.normal(0.4, 1.0, size=n)
        data.pool(data.add(x, 1.0), *moments(y))
        rows += [x] * n
        values += [*y]
    return data, np.array(rows), np.array(values)


@pytest.mark.parametrize("kernel", KERNELS)
@given(
    seed=st.integers(0, 99),
    counts=st.lists(st.integers(1, 20), min_size=1, max_size=12),
    noise=st.floats(1e-3, 2.0),
    constant=st.floats(-1.0, 1.0),
)
@settings(max_examples=40)
def test_statistics_give_the_likelihood_of_all_rows(kernel, seed, counts, noise, constant):
    data, rows, values = draw(seed, counts)
    covariance = kernel(rows, rows) + noise * np.eye(len(rows))
    expected = multivariate_normal(np.full(len(rows), constant), covariance).logpdf(values)
    got = evidence(kernel, noise, data, constant=constant).value
    assert got == pytest.approx(expected, rel=1e-7)


def test_points_of_unequal_noise_give_the_likelihood_of_all_rows():
    kernel, counts = KERNELS[1], [3, 1, 7, 4]
    data, rows, values = draw(0, counts)
    noise = np.array([0.1, 0.5, 0.02, 1.0])
    covariance = kernel(rows, rows) + np.diag(np.repeat(noise, counts))
    expected = multivariate_normal(np.zeros(len(rows)), covariance).logpdf(values)
    assert evidence(kernel, noise, data).value == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("constant", [0.0, 0.7, None])
@pytest.mark.parametrize("noise", [0.05, np.array([0.1, 0.5, 0.02, 1.0, 0.3])])
def test_the_gradient_is_that_of_central_differences(kernel, constant, noise):
    data, _, _ = draw(1, [3, 1, 7, 40, 2])
    theta = np.append(kernel.log_parameters, 0.0)

    def value(t):
        changed = kernel.with_log_parameters(t[:-1])
        return evidence(changed, noise * np.exp(t[-1]), data, constant=constant).value

    steps = np.eye(len(theta)) * 1e-5
    differences = [(value(theta + s) - value(theta - s)) / 2e-5 for s in steps]
    got = evidence(kernel, noise, data, constant=constant)
    np.testing.assert_allclose(got.gradient, differences, rtol=1e-5, atol=1e-6)


def test_the_fitted_constant_is_the_one_of_largest_likelihood():
    data, _, _ = draw(2, [3, 1, 7, 4])
    best = evidence(KERNELS[0], 0.1, data, constant=None)
    for shift in (-1e-3, 1e-3):
        moved = evidence(KERNELS[0], 0.1, data, constant=best.constant + shift)
        assert moved.value < best.value

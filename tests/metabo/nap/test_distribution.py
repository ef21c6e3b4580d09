"""Bucketised densities against samples, quadrature and the normal distribution."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from bbopt.metabo.nap.distribution import BucketDensity, uniform_edges

EDGES = np.array([-2.0, -0.5, 0.0, 0.1, 1.0, 3.0])


@pytest.fixture
def density():
    return BucketDensity(np.random.default_rng(0).normal(size=(3, 5)), EDGES)


def samples(density, row, n=400_000):
    rng = np.random.default_rng(1)
    k = rng.choice(len(EDGES) - 1, size=n, p=density.p[row])
    return rng.uniform(EDGES[k], EDGES[k + 1])


@pytest.mark.parametrize("row", [0, 1, 2])
@pytest.mark.parametrize("best", [-3.0, -0.3, 0.05, 0.1, 2.5])
def test_what_is_said_of_it_agrees_with_samples(density, row, best):
    y = samples(density, row)
    error = 5.0 / len(y) ** 0.5  # five standard errors of a mean of spread one
    assert density.mean[row] == pytest.approx(y.mean(), abs=error * y.std())
    assert density.variance[row] == pytest.approx(y.var(), abs=4 * error * y.var())
    gain = np.maximum(y - best, 0.0)
    assert density.ei(best)[row] == pytest.approx(gain.mean(), abs=error * gain.std() + 1e-12)
    assert density.pi(best)[row] == pytest.approx((y > best).mean(), abs=error)


def test_a_discretised_normal_has_the_closed_forms_of_the_normal():
    edges = uniform_edges(2000, 9.0)
    middle = 0.5 * (edges[1:] + edges[:-1])
    mean, sd = 0.7, 0.9
    density = BucketDensity(norm.logpdf(middle, mean, sd)[None], edges)
    assert density.mean[0] == pytest.approx(mean, abs=1e-6)
    assert density.variance[0] == pytest.approx(sd**2, rel=1e-4)
    for best in (-1.0, 0.7, 2.0, 4.0):
        a = (mean - best) / sd
        ei = sd * (a * norm.cdf(a) + norm.pdf(a))
        assert density.ei(best)[0] == pytest.approx(ei, rel=1e-3)
        assert density.pi(best)[0] == pytest.approx(norm.sf(best, mean, sd), rel=1e-2)


def test_within_the_bucket_of_the_incumbent_expected_improvement_is_exact():
    density = BucketDensity(np.zeros((1, 1)), np.array([0.0, 2.0]))
    assert density.ei(0.5)[0] == pytest.approx(1.5**2 / (2 * 2.0))


@given(st.floats(-2.5, 3.0), st.floats(0.0, 1.0), st.integers(0, 10))
def test_expected_improvement_decreases_and_is_convex_in_the_incumbent(best, gap, seed):
    density = BucketDensity(np.random.default_rng(seed).normal(size=(1, 5)), EDGES)
    low, middle, high = (density.ei(best + k * gap)[0] for k in range(3))
    assert high <= middle + 1e-12
    assert middle <= low + 1e-12
    assert middle <= 0.5 * (low + high) + 1e-12


def test_far_below_all_buckets_expected_improvement_is_the_mean_less_the_incumbent(density):
    np.testing.assert_allclose(density.ei(-100.0), density.mean + 100.0, rtol=1e-12)


def test_the_derivative_of_expected_improvement_is_minus_the_probability(density):
    for best in (-1.0, 0.03, 0.7):
        slope = (density.ei(best + 1e-6) - density.ei(best - 1e-6)) / 2e-6
        np.testing.assert_allclose(slope, -density.pi(best), rtol=1e-6)

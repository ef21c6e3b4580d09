"""Acquisition functions against closed forms, quadrature, 50-digit arithmetic, differences."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm

from bbopt.metabo import Matern52, Posterior
from bbopt.metabo.acquisition import (
    log_ei,
    log_ei_gradient,
    log_tau,
    optimality_gap,
    ucb,
    ucb_bound,
    ucb_gradient,
)


def log_tau_in_fifty_digits(a):
    with mpmath.workdps(50):
        a = mpmath.mpf(a)
        if a < -60:  # a Φ(a) + φ(a) cancels: φ(a) Σ (-1)^k (2k+1)!! a^-(2k+2)
            terms = [(-1) ** k * mpmath.fac2(2 * k + 1) / a ** (2 * k + 2) for k in range(20)]
            return float(mpmath.log(mpmath.npdf(a)) + mpmath.log(mpmath.fsum(terms)))
        with mpmath.workdps(2000):
            return float(mpmath.log(a * mpmath.ncdf(a) + mpmath.npdf(a)))


FAR = [-1e6, -1e4, -300.0, -70.0, -50.0, -49.999, -38.5, -10.0, -5.0, -1.0001]
NEAR = [-1.0, -0.5, 0.0, 0.3, 0.9, 1.0, 3.0, 10.0]


@pytest.mark.parametrize("a", FAR + NEAR)
def test_the_logarithm_of_tau_is_right_to_the_last_digits(a):
    expected = log_tau_in_fifty_digits(a)
    assert log_tau(np.array([a]))[0] == pytest.approx(expected, rel=1e-12, abs=1e-15)


@given(st.floats(-1e6, 10.0), st.floats(0.0, 100.0))
def test_the_logarithm_of_tau_increases(a, gap):
    low, high = log_tau(np.array([a, a + gap]))
    assert low <= high + 1e-13 * abs(high)


def test_expected_improvement_is_the_integral_that_defines_it():
    mean, sd, best = 0.3, 0.7, 0.9
    value, _ = quad(lambda y: (y - best) * norm.pdf(y, mean, sd), best, np.inf, epsabs=1e-13)
    assert np.exp(log_ei(np.array([mean]), np.array([sd]), best))[0] == pytest.approx(value)


def test_expected_improvement_still_ranks_what_is_far_from_hope():
    scores = log_ei(np.array([-100.0, -90.0, -95.0]), np.full(3, 0.1), best=0.0)
    assert np.argmax(scores) == 1
    assert np.all(np.isfinite(scores))


@pytest.fixture
def posterior():
    rng = np.random.default_rng(2)
    p = Posterior(Matern52([0.3, 0.5], 1.3), 0.01)
    for x in rng.random((12, 2)):
        p.update(x, rng.normal(size=int(rng.integers(1, 100))))
    return p


@pytest.mark.parametrize("best", [0.5, 5.0, 40.0])
@pytest.mark.parametrize("beta", [1.0, 2.5])
def test_gradients_of_both_acquisitions_are_those_of_central_differences(posterior, best, beta):
    x = np.random.default_rng(3).random((15, 2))
    mean, sd, d_mean, d_sd = posterior.gradients(x)
    of_ucb = ucb_gradient(d_mean, d_sd, beta)
    of_ei = log_ei_gradient(mean, sd, d_mean, d_sd, best, beta)
    h = 1e-6
    for axis in range(2):
        up = posterior.predict(x + h * np.eye(2)[axis])
        down = posterior.predict(x - h * np.eye(2)[axis])
        differences = (ucb(*up, beta) - ucb(*down, beta)) / (2 * h)
        np.testing.assert_allclose(of_ucb[:, axis], differences, atol=1e-6)
        differences = (log_ei(*up, best, beta) - log_ei(*down, best, beta)) / (2 * h)
        np.testing.assert_allclose(of_ei[:, axis], differences, rtol=1e-6, atol=1e-6)


def test_the_bound_on_ucb_holds_through_a_run():
    rng = np.random.default_rng(0)
    x = rng.random((200, 2))
    p = Posterior(Matern52(0.2), 0.05, candidates=x)
    history = [(p.mean.copy(), p.sd, 0.0)]
    drift = 0.0
    for step in range(40):
        i, y = int(rng.integers(200)), float(rng.normal())
        length = np.sqrt(p.sd[i] ** 2 + 0.05)
        drift += ((y - p.mean[i]) / length) ** 2
        p.update(i, y)
        now = ucb(p.mean, p.sd, 2.0)
        for mean, sd, since in history:
            bound = ucb_bound(mean, sd, np.sqrt(drift - since), 2.0)
            assert np.all(now <= bound + 1e-12)
        if step % 10 == 0:
            history.append((p.mean.copy(), p.sd, drift))


def test_the_certificate_is_the_distance_between_the_confidence_bounds():
    mean, sd = np.array([1.0, 2.0, 0.0]), np.array([0.1, 0.2, 1.5])
    assert optimality_gap(mean, sd, 2.0, returned=1) == pytest.approx(3.0 - 1.6)
    assert optimality_gap(np.array([1.0]), np.array([0.1]), 2.0, returned=0) == pytest.approx(0.4)

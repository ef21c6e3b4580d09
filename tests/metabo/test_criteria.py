"""Criteria: gradients through a posterior, bounds that hold, and what counts as near."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bbopt.metabo import RBF, Matern52, Posterior
from bbopt.metabo.criteria import UCB, LogEI, Uncertainty

CRITERIA = [UCB(0.0), UCB(2.5), LogEI(0.7, 1.0), LogEI(3.0, 0.4), Uncertainty()]
CANDIDATES = np.random.default_rng(8).random((40, 2))

each_criterion = pytest.mark.parametrize("criterion", CRITERIA, ids=str)


def posterior(kernel, seed=0, n=12, **kwargs):
    rng = np.random.default_rng(seed)
    p = Posterior(kernel, 0.05, **kwargs)
    x = CANDIDATES if "candidates" in kwargs else rng.random((n, 2))
    for i in range(n):
        p.update(x[i], count=int(rng.integers(1, 20)), mean=float(rng.normal()))
    return p


@each_criterion
@pytest.mark.parametrize("kernel", [RBF([0.2, 0.7], 2.0), Matern52([0.3, 0.2])], ids=str)
def test_the_gradient_is_that_of_central_differences(criterion, kernel):
    p = posterior(kernel)
    x = np.random.default_rng(1).random((15, 2))
    values, gradient = criterion.slope(p, x)
    np.testing.assert_allclose(values, criterion.at(p, x), rtol=1e-10)
    h = 1e-6
    for axis in range(2):
        step = np.eye(2)[axis] * h
        differences = (criterion.at(p, x + step) - criterion.at(p, x - step)) / (2 * h)
        # rounding: 1e-15 of the value over h; the truncation is h² times a third derivative
        np.testing.assert_allclose(gradient[:, axis], differences, rtol=1e-6, atol=1e-6)


@each_criterion
def test_scores_of_points_are_those_of_their_mean_and_sd(criterion):
    p = posterior(Matern52(0.3))
    x = np.random.default_rng(2).random((5, 2))
    assert np.array_equal(criterion.at(p, x), criterion(*p.predict(x)))


def test_scores_worked_out_by_hand():
    mean, sd = np.array([1.0, 2.0]), np.array([0.5, 0.1])
    np.testing.assert_allclose(UCB(3.0)(mean, sd), [2.5, 2.3], rtol=1e-15)
    assert np.array_equal(Uncertainty()(mean, sd), sd)
    # at the best mean the improvement is that of a normal variable above its own mean
    at_best = 2.0 * 0.1 / math.sqrt(2.0 * math.pi)
    assert LogEI(2.0, 2.0)(mean, sd)[1] == pytest.approx(math.log(at_best), rel=1e-14)


@each_criterion
@given(
    batches=st.lists(
        st.tuples(st.integers(0, 39), st.integers(1, 50), st.floats(-5, 5)), min_size=1, max_size=8
    ),
    seed=st.integers(0, 20),
)
@settings(max_examples=40)
def test_no_score_passes_its_bound_whatever_is_told(criterion, batches, seed):
    p = posterior(Matern52(0.25), seed, candidates=CANDIDATES)
    mean, sd, drift = p.mean.copy(), p.sd, 0.0
    for i, count, value in batches:
        innovation = (value - p.mean[i]) / math.sqrt(p.sd[i] ** 2 + 0.05 / count)
        drift = math.hypot(drift, innovation)
        p.update(i, count=count, mean=value)
    bound = criterion.bound(mean, sd, np.full(40, drift))
    score = criterion(p.mean, p.sd)
    assert np.all(score <= bound + 1e-9 * (1.0 + np.abs(bound)))


@each_criterion
def test_without_any_innovation_the_bound_is_the_score(criterion):
    mean, sd = np.linspace(-1, 1, 9), np.linspace(0.1, 2, 9)
    np.testing.assert_allclose(
        criterion.bound(mean, sd, np.zeros(9)), criterion(mean, sd), rtol=1e-14, atol=1e-15
    )


@given(st.floats(0.0, 0.5), st.floats(0.01, 5.0), st.floats(0.05, 3.0), st.integers(0, 999))
@settings(max_examples=60)
def test_a_point_within_the_slack_is_nearly_as_good_in_the_unit_of_the_criterion(
    near, beta, best, seed
):
    rng = np.random.default_rng(seed)
    mean, sd = rng.normal(size=50), rng.uniform(0.01, 1.0, 50)
    for criterion in (UCB(beta), LogEI(best, beta), Uncertainty()):
        score = criterion(mean, sd)
        slack = criterion.slack(sd, near)
        assert slack.shape == (50,)
        assert np.all(slack >= 0.0)
        within = score >= score.max() - slack
        assert within[np.argmax(score)]
        if isinstance(criterion, UCB):  # beside the maximum only η β of its own sd is lost
            lost = (score.max() - score[within]) / sd[within]
            assert np.all(lost <= near * beta * (1 + 1e-9) + 1e-9)
        elif isinstance(criterion, LogEI):  # the improvement itself is (1 - η) of the largest
            assert np.all(np.exp(score[within] - score.max()) >= (1 - near) * (1 - 1e-12))
            np.testing.assert_allclose(np.exp(-slack), 1 - near, rtol=1e-12)
        else:
            assert np.all(sd[within] >= sd.max() / (1 + near) * (1 - 1e-12))


@each_criterion
def test_with_no_slack_only_the_maximum_is_near(criterion):
    assert np.array_equal(criterion.slack(np.array([0.3, 2.0]), 0.0), np.zeros(2))

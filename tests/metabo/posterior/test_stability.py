"""Counts from 1 to a million, long runs, compaction, drift."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest

from bbopt.metabo import RBF, Matern52, Posterior
from bbopt.metabo.posterior.observations import Observations, moments

FORMS = [None, "rows", "unique", "lazy"]


def in_fifty_digits(kernel, noise, points, counts, means, x):
    """Mean and variance at ``x`` from the same kernel values, in 50-digit arithmetic."""
    with mpmath.workdps(50):
        m = mpmath.matrix(kernel(points, points).tolist())
        for i, n in enumerate(counts):
            m[i, i] += mpmath.mpf(noise) / int(n)
        y = mpmath.matrix(means.tolist())
        cross = kernel(points, x)
        mean, variance = [], []
        inverse = m**-1
        for column in cross.T:
            k = mpmath.matrix(column.tolist())
            solved = inverse * k
            mean.append(float((solved.T * y)[0]))
            variance.append(float(mpmath.mpf(kernel.variance) - (k.T * solved)[0]))
    return np.array(mean), np.array(variance)


@pytest.mark.parametrize("kernel", [Matern52(0.3), RBF(0.2)])
@pytest.mark.parametrize("form", FORMS)
def test_single_values_beside_many_repeats_are_exact(form, kernel):
    rng = np.random.default_rng(3)
    noise, points = 0.01, rng.random((20, 2))
    x = np.concatenate([points, rng.random((10, 2))])
    p = Posterior(kernel, noise) if form is None else None
    p = p or Posterior(kernel, noise, candidates=x, form=form)
    counts = rng.choice([1, 10, 1000, 100_000], 20)
    counts[:2] = 1, 100_000
    means = np.sin(5 * points[:, 0]) + rng.normal(size=20) * np.sqrt(noise / counts)
    for part in (0.3, 0.7):  # every point with many repeats is visited twice
        for point, count, mean in zip(points, counts, means, strict=True):
            n = max(1, round(count * part)) if count > 1 else int(part < 0.5)
            if n:
                p.update(point, count=n, mean=mean, m2=0.0)
    assert np.array_equal(p.observations.count, counts)
    mean, variance = in_fifty_digits(kernel, noise, points, counts, means, x)
    got_mean, got_sd = p.predict(x) if form is None else (p.mean, p.sd)
    np.testing.assert_allclose(got_mean, mean, atol=1e-6)
    np.testing.assert_allclose(got_sd**2, variance, rtol=1e-5)


def test_a_million_evaluations_of_one_point_leave_the_variance_of_their_mean():
    p = Posterior(Matern52(0.2), 0.04, candidates=[[0.5], [0.6]])
    n = 0
    while n < 1_000_000:
        more = 2 * n + 1
        p.update(0, count=more, mean=1.0, m2=0.0)
        n += more
    assert p.sd[0] ** 2 == pytest.approx(0.04 / (0.04 + n), rel=1e-7)
    assert p.predict([[0.5]])[1][0] ** 2 == pytest.approx(0.04 / (0.04 + n), rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_rounding_never_makes_a_point_less_certain_than_the_mean_of_its_values(form):
    x = np.random.default_rng(0).random((5, 2))
    p = Posterior(Matern52(0.3), 0.04) if form is None else None
    p = p or Posterior(Matern52(0.3), 0.04, candidates=x, form=form)
    for i in [0, 1, 2, 3, 4] * 4:
        p.update(x[i], count=3**17 + i, mean=1.0, m2=0.0)
        sd = p.predict(p.observations.points)[1] if form is None else p.sd[: len(p.observations)]
        assert np.all(sd**2 <= 0.04 / p.observations.count * (1 + 1e-12))


@pytest.mark.parametrize("form", ["rows", "unique", "lazy"])
def test_two_points_a_millionth_of_a_lengthscale_apart_are_survived(form):
    x = np.array([[0.5], [0.5 + 1e-7], [0.9]])
    p = Posterior(RBF(0.1), 0.01, candidates=x, form=form)
    for i in (0, 1, 2, 0, 1):
        p.update(i, count=100_000, mean=1.0, m2=0.0)
    p.compact()
    assert np.all(np.isfinite(p.mean))
    np.testing.assert_allclose(p.sd[:2] ** 2, 0.01 / 400_000, rtol=1e-3)


@pytest.mark.parametrize("form", ["rows", "unique", "lazy"])
def test_compaction_changes_nothing_but_the_number_of_rows(form):
    rng = np.random.default_rng(0)
    x = rng.random((300, 2))
    p = Posterior(Matern52(0.3), 0.05, candidates=x, form=form)
    for i in rng.integers(0, 10, 30):
        p.update(int(i), rng.normal(size=4))
    mean, sd, info = p.mean.copy(), p.sd.copy(), p.info
    p.compact()
    assert p._table.rows == len(p.observations)
    np.testing.assert_allclose(p.mean, mean, atol=1e-11)
    np.testing.assert_allclose(p.sd, sd, atol=1e-11)
    assert p.info == pytest.approx(info, abs=1e-10)


@pytest.mark.parametrize("form", ["rows", "unique", "lazy"])
def test_rows_stay_few_however_many_batches_there_were(form):
    rng = np.random.default_rng(0)
    p = Posterior(Matern52(0.3), 0.05, candidates=rng.random((50, 2)), form=form)
    for i in rng.integers(0, 10, 600):
        p.update(int(i), rng.normal(size=4))
        assert p._table.rows <= 1.5 * 10 + 32
    np.testing.assert_allclose((p.mean, p.sd), p.predict(p.candidates), atol=1e-9)


@pytest.mark.parametrize("form", ["rows", "unique"])
def test_drift_is_found_and_repaired(form):
    rng = np.random.default_rng(0)
    p = Posterior(Matern52(0.3), 0.05, candidates=rng.random((50, 2)), form=form)
    for i in range(31):
        p.update(i % 30, rng.normal(size=4))
    p._table._mean += 1e-6  # rounding never gets so far
    p.update(31, rng.normal(size=4))
    np.testing.assert_allclose((p.mean, p.sd), p.predict(p.candidates), atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_other_hyper_parameters_give_the_posterior_that_had_them_from_the_start(form):
    rng = np.random.default_rng(0)
    x = rng.random((40, 2))
    where = {} if form is None else {"candidates": x, "form": form}
    p, q = Posterior(RBF(0.1), 0.5, **where), Posterior(Matern52(0.4, 2.0), 0.02, **where)
    for i in rng.integers(0, 10, 20):
        y = rng.normal(size=3)
        p.update(x[i], y)
        q.update(x[i], y)
    p.refit(Matern52(0.4, 2.0), 0.02)
    np.testing.assert_allclose(p.predict(x), q.predict(x), atol=1e-12)
    assert p.info == pytest.approx(q.info, abs=1e-9)
    if form is not None:
        np.testing.assert_allclose((p.mean, p.sd), (q.mean, q.sd), atol=1e-9)


def test_pooling_a_million_values_keeps_every_digit_of_their_spread():
    values = 1e6 + 1e-3 * np.random.default_rng(0).normal(size=1_000_000)
    mean = math.fsum(values.tolist()) / len(values)
    m2 = math.fsum(((values - mean) ** 2).tolist())
    m2 -= math.fsum((values - mean).tolist()) ** 2 / len(values)
    assert moments(values)[2] == pytest.approx(m2, rel=1e-9)
    data = Observations(1)
    j = data.add(np.zeros(1), 1.0)
    for part in np.array_split(values, 1000):
        data.pool(j, *moments(part))
    assert data.count[0] == len(values)
    assert data.mean[0] == pytest.approx(mean, rel=1e-15)
    assert data.m2[0] == pytest.approx(m2, rel=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_noise_told_later_equals_noise_told_from_the_start(form):
    rng = np.random.default_rng(0)
    x = rng.random((6, 2))
    noise = [0.01, 0.5, 0.1, 2.0]
    where = {} if form is None else {"candidates": x, "form": form}
    p, q = (Posterior(Matern52(0.4), 0.1, **where) for _ in range(2))
    for i in range(4):
        y = rng.normal(size=3)
        p.update(x[i], y)
        q.update(x[i], y, noise=noise[i])
    p.refit(p.kernel, 0.1, point_noise=noise)
    for r in (p, q):
        r.update(x[5], 1.0)  # a new point has the noise of all
        r.update(x[1], 2.0)
    np.testing.assert_allclose(p.predict(x), q.predict(x), atol=1e-11)
    if form is not None:
        np.testing.assert_allclose((p.mean, p.sd), (q.mean, q.sd), atol=1e-10)

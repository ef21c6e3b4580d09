"""Covariances with one candidate, and the sd once pending evaluations are in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bbopt.errors import UsageError
from bbopt.metabo import RBF, Matern52, Posterior
from bbopt.metabo.posterior import lazy

CANDIDATES = np.random.default_rng(5).random((60, 2))
FORMS = ["rows", "unique", "lazy"]
NOISE = 0.05

batches = st.lists(st.tuples(st.integers(0, 11), st.integers(1, 30)), max_size=12)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(lazy, "BLOCK", 16)


def told(form, kernel, history):
    p = Posterior(kernel, NOISE, candidates=CANDIDATES, form=form)
    for i, n in history:
        p.update(i, count=n, mean=0.1 * i, m2=0.0)
    return p


def dense(kernel, history):
    """Posterior covariance of all candidates from one row an evaluation."""
    prior = kernel(CANDIDATES, CANDIDATES)
    rows = [i for i, n in history for _ in range(n)]
    cross = prior[rows]
    return prior - cross.T @ np.linalg.solve(cross[:, rows] + NOISE * np.eye(len(rows)), cross)


@pytest.mark.parametrize("form", FORMS)
@given(history=batches, i=st.integers(0, 59))
@settings(max_examples=25)
def test_the_covariance_is_the_row_of_the_dense_matrix(form, history, i):
    kernel = Matern52(0.3, 2.0)
    p = told(form, kernel, history)
    before = p.mean.copy(), p.sd.copy()
    np.testing.assert_allclose(p.covariance(i), dense(kernel, history)[i], atol=1e-9)
    assert p.covariance(i)[i] == pytest.approx(p.sd[i] ** 2)
    np.testing.assert_array_equal((p.mean, p.sd), before)


@pytest.mark.parametrize("form", FORMS)
@given(history=batches, pending=batches)
@settings(max_examples=25)
def test_pending_evaluations_shrink_the_sd_as_told_ones_do(form, history, pending):
    kernel = RBF(0.3)
    p = told(form, kernel, history)
    before = p.mean.copy(), p.sd.copy()
    variance = np.diag(dense(kernel, history + pending))
    np.testing.assert_allclose(p.hallucinated(pending) ** 2, variance, atol=1e-9)
    np.testing.assert_array_equal((p.mean, p.sd), before)


@pytest.mark.parametrize("form", FORMS)
def test_a_pending_point_has_the_noise_that_it_was_told_with(form):
    p, q = told(form, RBF(0.3), []), told(form, RBF(0.3), [])
    for r, counts in ((p, [2]), (q, [2, 5])):
        for count in counts:
            r.update(3, count=count, mean=1.0, noise=0.5)
    np.testing.assert_allclose(p.hallucinated([(3, 2), (3, 3)]), q.sd, rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_many_repeats_keep_the_variance_accurate(form):
    p = told(form, Matern52(0.3), [(0, 1), (1, 10**6), (2, 1)])
    q = told(form, Matern52(0.3), [(0, 1), (1, 10**6), (2, 1), (1, 10**6)])
    np.testing.assert_allclose(p.hallucinated([(1, 10**6)]), q.sd, rtol=1e-6)
    assert p.hallucinated([(1, 10**6)])[1] ** 2 == pytest.approx(NOISE / 2e6, rel=1e-6)


def test_wrong_use_is_refused_by_name():
    p = told("rows", RBF(0.3), [])
    with pytest.raises(UsageError, match=r"i must be an integer in \[0, 59\], got 60"):
        p.covariance(60)
    with pytest.raises(UsageError, match=r"candidate must be an integer in \[0, 59\], got -1"):
        p.hallucinated([(-1, 1)])
    with pytest.raises(UsageError, match="count must be an integer >= 1, got 0"):
        p.hallucinated([(0, 0)])
    with pytest.raises(UsageError, match="need candidates"):
        Posterior(RBF(0.3), 0.1).covariance(0)
    with pytest.raises(UsageError, match="need candidates"):
        Posterior(RBF(0.3), 0.1).hallucinated([])

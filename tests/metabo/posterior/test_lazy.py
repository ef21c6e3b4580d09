"""The lazy argmax chooses as the dense one does, and looks at less."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbopt.metabo import RBF, Matern52, Posterior
from bbopt.metabo.acquisition import log_ei, ucb, ucb_bound
from bbopt.metabo.posterior import lazy
from bbopt.metabo.posterior.lazy import neighbourhoods
from bbopt.metabo.repeats import repeats


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(lazy, "BLOCK", 50)


def run(kernel, acquisition, batches=60, n=3000):
    """Both forms side by side; returns the lazy one."""
    rng = np.random.default_rng(1)
    x = rng.random((n, 2))
    x[1500] = x[7]  # equal candidates: the lower index wins
    f = np.sin(6 * x[:, 0]) * np.cos(5 * x[:, 1])
    dense, late = (Posterior(kernel, 0.09, candidates=x, form=form) for form in ("rows", "lazy"))
    touched = []
    for _ in range(batches):
        chosen = [acquisition(p) for p in (dense, late)]
        touched.append(np.mean(late._table._level == late._table.rows))
        assert chosen[0] == chosen[1]
        i = chosen[0]
        count = int(repeats(dense.sd[i] ** 2, 0.09, 1.5, 10**6))
        mean = float(f[i] + 0.3 / np.sqrt(count) * rng.normal())
        for p in (dense, late):
            p.update(i, count=count, mean=mean)
    return dense, late, touched


def by_ucb(p, beta=2.0):
    return p.argmax(lambda m, s: ucb(m, s, beta), lambda m, s, drift: ucb_bound(m, s, drift, beta))


def by_mean(p):
    return p.argmax(lambda m, s: m)


def by_log_ei(p):
    best = p._table.at(by_mean(p))[0]
    return p.argmax(lambda m, s: log_ei(m, s, best, 1.5))


@pytest.mark.parametrize("kernel", [Matern52(0.15), RBF(0.2)])
@pytest.mark.parametrize("acquisition", [by_ucb, by_log_ei])
def test_every_choice_is_that_of_the_dense_argmax(kernel, acquisition):
    dense, late, _ = run(kernel, acquisition)
    np.testing.assert_allclose(late.mean, dense.mean, atol=1e-10)
    np.testing.assert_allclose(late.sd, dense.sd, atol=1e-9)
    assert late.info == pytest.approx(dense.info, abs=1e-9)


def test_most_blocks_are_left_alone():
    _, _, touched = run(Matern52(0.15), by_ucb)
    assert np.median(touched) < 0.5


def test_the_bound_is_above_the_score_of_every_candidate():
    rng = np.random.default_rng(2)
    x = rng.random((1000, 2))
    p = Posterior(Matern52(0.2), 0.05, candidates=x, form="lazy")
    exact = Posterior(Matern52(0.2), 0.05, candidates=x)
    table = p._table
    for _ in range(30):
        i, y = by_ucb(p), float(rng.normal())
        p.update(i, y)
        exact.update(i, y)
        score = ucb(exact.mean, exact.sd, 2.0)[table._order]
        sharp = table.bounds(lambda m, s: ucb(m, s, 2.0), lambda *a: ucb_bound(*a, 2.0))
        general = table.bounds(lambda m, s: ucb(m, s, 2.0), None)
        assert np.all(score <= sharp + 1e-9)
        assert np.all(sharp <= general + 1e-12)


@given(st.integers(1, 300), st.integers(1, 3), st.integers(1, 40), st.booleans())
def test_neighbourhoods_hold_every_point_once_and_none_is_too_large(n, d, largest, equal):
    points = np.random.default_rng(n).random((n, d))
    if equal:
        points[:] = 0.5
    order, starts = neighbourhoods(points, largest)
    assert sorted(order.tolist()) == list(range(n))
    sizes = np.diff(starts)
    assert sizes.min() >= 1
    assert sizes.max() <= largest

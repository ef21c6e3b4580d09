"""Every form of the posterior against the naive one with a row an evaluation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bbopt.metabo import RBF, Matern52, Posterior

CANDIDATES = np.random.default_rng(5).random((60, 2))
ANYWHERE = np.random.default_rng(6).random((20, 2))
FORMS = [None, "rows", "unique", "lazy"]  # None: no candidates, the Cholesky form

kernels = st.builds(
    lambda kind, scales, variance: kind(scales, variance),
    st.sampled_from([RBF, Matern52]),
    st.lists(st.floats(0.1, 1.0), min_size=1, max_size=2),
    st.floats(0.5, 3.0),
)
batches = st.lists(st.tuples(st.integers(0, 11), st.integers(1, 50)), min_size=1, max_size=20)


def make(form, kernel, noise, candidates=CANDIDATES):
    if form is None:
        return Posterior(kernel, noise)
    return Posterior(kernel, noise, candidates=candidates, form=form)


def values_of(history, seed):
    rng = np.random.default_rng(seed)
    return [(i, rng.normal(size=n)) for i, n in history]


def naive(kernel, noise, told, x):
    """Mean, variance and information from one row an evaluation."""
    rows = np.concatenate([np.repeat(CANDIDATES[i : i + 1], len(y), axis=0) for i, y in told])
    y = np.concatenate([y for _, y in told])
    m = kernel(rows, rows) + noise * np.eye(len(rows))
    cross = kernel(rows, x)
    solved = np.linalg.solve(m, np.column_stack([y, cross]))
    variance = kernel.diag(x) - np.einsum("ij,ij->j", cross, solved[:, 1:])
    info = 0.5 * (np.linalg.slogdet(m)[1] - len(rows) * np.log(noise))
    return cross.T @ solved[:, 0], variance, info


@pytest.mark.parametrize("form", FORMS)
@given(kernel=kernels, noise=st.floats(1e-3, 1.0), history=batches, seed=st.integers(0, 99))
@settings(max_examples=30)
def test_a_row_a_unique_point_equals_a_row_an_evaluation(form, kernel, noise, history, seed):
    told = values_of(history, seed)
    p = make(form, kernel, noise)
    for step, (i, y) in enumerate(told):
        p.update(CANDIDATES[i], y)
        if step % 3 == 0:
            p.predict(ANYWHERE)  # so that some updates extend a factor and some make it anew
    mean, variance, info = naive(kernel, noise, told, ANYWHERE)
    got_mean, got_sd = p.predict(ANYWHERE)
    np.testing.assert_allclose(got_mean, mean, atol=1e-8)
    np.testing.assert_allclose(got_sd**2, variance, atol=1e-8)
    assert p.info == pytest.approx(info, abs=1e-8)
    if form is not None:
        mean, variance, _ = naive(kernel, noise, told, CANDIDATES)
        np.testing.assert_allclose(p.mean, mean, atol=1e-8)
        np.testing.assert_allclose(p.sd**2, variance, atol=1e-8)


@pytest.mark.parametrize("form", FORMS)
@given(kernel=kernels, history=batches, seed=st.integers(0, 99), data=st.data())
@settings(max_examples=20)
def test_the_order_of_batches_does_not_matter(form, kernel, history, seed, data):
    told = values_of(history, seed)
    other = data.draw(st.permutations(told))
    p, q = make(form, kernel, 0.01), make(form, kernel, 0.01)
    for (i, y), (j, z) in zip(told, other, strict=True):
        p.update(CANDIDATES[i], y)
        q.update(CANDIDATES[j], z)
    (mean, sd), (other_mean, other_sd) = p.predict(ANYWHERE), q.predict(ANYWHERE)
    np.testing.assert_allclose(mean, other_mean, atol=1e-8)
    np.testing.assert_allclose(sd**2, other_sd**2, atol=1e-8)
    if form is not None:
        np.testing.assert_allclose(p.mean, q.mean, atol=1e-8)
        np.testing.assert_allclose(p.sd**2, q.sd**2, atol=1e-8)


@pytest.mark.parametrize("form", FORMS)
@given(history=batches, cut=st.integers(1, 49), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_two_halves_of_a_batch_equal_the_whole(form, history, cut, seed):
    kernel = Matern52(0.3)
    whole, halves = make(form, kernel, 0.05), make(form, kernel, 0.05)
    for i, y in values_of(history, seed):
        whole.update(CANDIDATES[i], y)
        halves.update(CANDIDATES[i], y[:cut])
        if len(y) > cut:
            halves.update(CANDIDATES[i], y[cut:])
    for a, b in zip(whole.predict(ANYWHERE), halves.predict(ANYWHERE), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-9)
    assert whole.info == pytest.approx(halves.info, abs=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_values_worked_out_by_hand(form):
    # Two points with k(x₁, x₂) = 1/2, counts (1, 3), means (1, 2), noise 0.04.
    x = np.array([[0.0], [np.sqrt(2 * np.log(2.0))]])
    p = make(form, RBF(1.0), 0.04, x)
    p.update(x[0], 1.0)
    p.update(x[1], count=3, mean=2.0, m2=0.5)
    mean, sd = p.predict(x)
    np.testing.assert_allclose(mean, [0.9993365, 1.9737933], atol=5e-8)
    np.testing.assert_allclose(sd**2, [0.0379831, 0.0131033], atol=5e-8)
    if form is not None:
        np.testing.assert_allclose(p.mean, [0.9993365, 1.9737933], atol=5e-8)
        np.testing.assert_allclose(p.sd**2, [0.0379831, 0.0131033], atol=5e-8)


@pytest.mark.parametrize("form", FORMS)
def test_points_of_unequal_noise_equal_the_naive_posterior(form):
    kernel, rng = Matern52(0.3, 2.0), np.random.default_rng(0)
    noise = {0: 0.01, 1: 0.3, 2: 1.0}
    told = [(int(i), rng.normal(size=3)) for i in rng.integers(0, 3, 12)]
    p = make(form, kernel, 0.1)
    for i, y in told:
        p.update(CANDIDATES[i], y, noise=noise[i])
    rows = CANDIDATES[np.repeat([i for i, _ in told], 3)]
    diagonal = np.repeat([noise[i] for i, _ in told], 3)
    m = kernel(rows, rows) + np.diag(diagonal)
    cross = kernel(rows, CANDIDATES)
    mean = cross.T @ np.linalg.solve(m, np.concatenate([y for _, y in told]))
    variance = 2.0 - np.einsum("ij,ij->j", cross, np.linalg.solve(m, cross))
    got_mean, got_sd = p.predict(CANDIDATES) if form is None else (p.mean, p.sd)
    np.testing.assert_allclose(got_mean, mean, atol=1e-9)
    np.testing.assert_allclose(got_sd**2, variance, atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_many_points_at_once_equal_one_after_the_other(form):
    told = values_of([(3, 5), (1, 2), (3, 1), (7, 40)], 0)
    one, many = make(form, RBF(0.4), 0.01), make(form, RBF(0.4), 0.01)
    for i, y in told:
        one.update(CANDIDATES[i], y)
    many.update_many(
        CANDIDATES[[i for i, _ in told]],
        [len(y) for _, y in told],
        [y.mean() for _, y in told],
        [y.var() * len(y) for _, y in told],
    )
    for a, b in zip(one.predict(ANYWHERE), many.predict(ANYWHERE), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-10)
    assert one.info == pytest.approx(many.info, abs=1e-10)
    np.testing.assert_allclose(one.observations.m2, many.observations.m2, atol=1e-12)


@pytest.mark.parametrize("form", FORMS)
@given(history=batches)
@settings(max_examples=20)
def test_the_variance_never_grows_and_is_at_most_that_of_the_mean(form, history):
    noise = 0.02
    p = make(form, RBF(0.3), noise)
    before = p.predict(CANDIDATES)[1] ** 2
    for i, n in history:
        p.update(CANDIDATES[i], count=n, mean=0.3, m2=0.0)
        now = p.predict(CANDIDATES)[1] ** 2 if form is None else p.sd**2
        assert np.all(now <= before + 1e-12)
        visited = p.observations
        for x, count in zip(visited.points, visited.count, strict=True):
            at = p.predict(x[None])[1][0] ** 2
            assert at <= noise / count * (1 + 1e-12)
        before = now


@pytest.mark.parametrize("form", FORMS)
def test_the_gradients_are_those_of_central_differences(form):
    p = make(form, Matern52([0.3, 0.6], 1.5), 0.01)
    for i, y in values_of([(3, 5), (1, 2), (3, 1), (7, 40), (20, 3)], 1):
        p.update(CANDIDATES[i], y)
    mean, sd, d_mean, d_sd = p.gradients(ANYWHERE)
    np.testing.assert_allclose((mean, sd), p.predict(ANYWHERE), rtol=1e-14)
    for axis in range(2):
        step = np.eye(2)[axis] * 1e-6
        up, down = p.predict(ANYWHERE + step), p.predict(ANYWHERE - step)
        np.testing.assert_allclose(d_mean[:, axis], (up[0] - down[0]) / 2e-6, atol=1e-6)
        np.testing.assert_allclose(d_sd[:, axis], (up[1] - down[1]) / 2e-6, atol=1e-6)


def test_standardised_innovations_are_standard_normal_on_draws_of_the_prior():
    from scipy.stats import kstest

    kernel, noise, innovations = Matern52(0.3), 0.1, []
    root = np.linalg.cholesky(kernel(CANDIDATES, CANDIDATES) + 1e-12 * np.eye(len(CANDIDATES)))
    for seed in range(20):
        rng = np.random.default_rng(seed)
        f = root @ rng.normal(size=len(CANDIDATES))
        p = make("rows", kernel, noise)
        for _ in range(30):
            i = p.argmax(lambda mean, sd: mean + 2 * sd)
            n = int(rng.integers(1, 6))
            y = f[i] + np.sqrt(noise) * rng.normal(size=n)
            length = np.sqrt(p.sd[i] ** 2 + noise / n)
            innovations.append((y.mean() - p.mean[i]) / length)
            p.update(i, y)
    assert kstest(innovations, "norm").pvalue > 1e-3

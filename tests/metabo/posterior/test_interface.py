"""What a Posterior accepts, refuses, and says before the first value."""

from __future__ import annotations

import numpy as np
import pytest

import bbopt.metabo
from bbopt.errors import UsageError
from bbopt.metabo import RBF, Matern52, Posterior

X = np.array([[0.1, 0.2], [0.5, 0.5], [0.9, 0.2]])


def test_the_package_offers_what_its_design_names():
    assert sorted(bbopt.metabo.__all__) == ["Matern52", "Posterior", "RBF"]


@pytest.mark.parametrize("form", ["rows", "unique", "lazy"])
def test_before_the_first_value_the_posterior_is_the_prior(form):
    p = Posterior(Matern52(0.2, 4.0), 0.1, candidates=X, form=form)
    for mean, sd in (p.predict(X), (p.mean, p.sd), p.gradients(X)[:2]):
        assert np.array_equal(mean, np.zeros(3))
        assert np.array_equal(sd, np.full(3, 2.0))
    assert np.array_equal(p.gradients(X)[2:], np.zeros((2, 3, 2)))
    assert p.info == 0.0
    assert p.n_evaluations == 0
    assert p.argmax(lambda mean, sd: mean + sd) == 0
    p.refit(RBF(0.2), 0.3)
    assert np.array_equal(p.sd, np.ones(3))


@pytest.mark.parametrize("x", [1, np.int64(1), X[1], X[1].tolist()])
def test_a_candidate_is_told_by_index_or_by_coordinates(x):
    p = Posterior(RBF(0.3), 0.1, candidates=X)
    p.update(x, 1.0)
    p.update(1, [1.0, 2.0])
    assert np.array_equal(p.observations.points, X[1:2])
    assert np.array_equal(p.observations.count, [3])


def test_values_and_their_moments_are_the_same_data():
    p, q = Posterior(RBF(0.3), 0.1), Posterior(RBF(0.3), 0.1)
    p.update(X[0], [1.0, 2.0, 4.5])
    q.update(X[0], count=3, mean=2.5, m2=6.5)
    assert p.predict(X)[0] == pytest.approx(q.predict(X)[0], rel=1e-15)
    assert p.observations.m2[0] == pytest.approx(6.5, rel=1e-15)


def test_negative_zero_is_the_same_point_as_zero():
    p = Posterior(RBF(0.3), 0.1)
    p.update([0.0], 1.0)
    p.update([-0.0], 1.0)
    assert len(p.observations) == 1


@pytest.mark.parametrize("candidates", [np.zeros((2, 2)), np.vstack([X, X])])
def test_equal_candidates_are_one_point(candidates):
    p = Posterior(RBF(0.3), 0.1, candidates=candidates)
    half = len(candidates) // 2
    p.update(0, 1.0)
    p.update(half, 2.0)
    p.update(candidates[half], 3.0)
    assert len(p.observations) == 1
    assert p.mean[0] == pytest.approx(p.mean[half], rel=1e-12)
    p.compact()
    assert p.mean[0] == pytest.approx(p.mean[half], rel=1e-12)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"values": [1.0, np.nan]}, "values must be one or more finite numbers"),
        ({"values": []}, "values must be one or more finite numbers"),
        ({"values": [[1.0]]}, "values must be one or more finite numbers"),
        ({}, "count must be an integer >= 1, got None"),
        ({"count": 0, "mean": 1.0}, "count must be an integer >= 1, got 0"),
        ({"count": 2, "mean": np.inf}, "mean must be a finite number, got inf"),
        ({"count": 2, "mean": 1.0, "m2": -1.0}, "m2 must be a finite number >= 0"),
        ({"values": 1.0, "count": 1}, "either values or count"),
        ({"values": 1.0, "noise": 0.0}, "noise must be > 0"),
    ],
)
def test_bad_values_are_refused_and_leave_nothing_behind(told, message):
    p = Posterior(RBF(0.3), 0.1, candidates=X)
    with pytest.raises(UsageError, match=message):
        p.update(0, **told)
    assert p.n_evaluations == 0
    assert np.array_equal(p.mean, np.zeros(3))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (3, r"x must be an integer in \[0, 2\], got 3"),
        ([0.1, 0.3], "x must be one of the candidates"),
        ([0.1, np.nan], r"x must be one finite point \(d,\)"),
        (X, r"x must be one finite point \(d,\)"),
    ],
)
def test_what_is_not_a_candidate_is_refused(x, message):
    with pytest.raises(UsageError, match=message):
        Posterior(RBF(0.3), 0.1, candidates=X).update(x, 1.0)


def test_wrong_use_is_refused_by_name():
    p = Posterior(RBF(0.3), 0.1)
    with pytest.raises(UsageError, match="an index needs candidates"):
        p.update(0, 1.0)
    with pytest.raises(UsageError, match="need candidates"):
        p.mean  # noqa: B018
    p.update([0.1, 0.2], 1.0)
    with pytest.raises(UsageError, match="x must have 2 coordinates, got 1"):
        p.update([0.1], 1.0)
    with pytest.raises(UsageError, match="X must have 2 columns"):
        p.predict([[0.1]])
    with pytest.raises(UsageError, match="X must be finite and"):
        p.predict([0.1, 0.2])
    with pytest.raises(UsageError, match="told at its first visit"):
        p.update([0.1, 0.2], 1.0, noise=0.2)
    with pytest.raises(UsageError, match="point_noise must be > 0, one number for each of the 1"):
        p.refit(RBF(0.3), 0.1, point_noise=[0.1, 0.2])
    with pytest.raises(UsageError, match="mean must have one entry a row of X"):
        p.update_many([[0.1, 0.2]], [1], [1.0, 2.0], [0.0])
    with pytest.raises(UsageError, match="noise must be > 0, got 0"):
        Posterior(RBF(0.3), 0.0)
    with pytest.raises(UsageError, match="form must be one of 'rows', 'unique', 'lazy'"):
        Posterior(RBF(0.3), 0.1, candidates=X, form="dense")
    with pytest.raises(UsageError, match="candidates must have at least one row"):
        Posterior(RBF(0.3), 0.1, candidates=np.empty((0, 2)))

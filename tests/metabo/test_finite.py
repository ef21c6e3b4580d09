"""Choosing from a finite table: the maximum, ties, what is near, what pends, what is taken."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bbopt.metabo import RBF, Matern52, Posterior
from bbopt.metabo.criteria import UCB, LogEI, Uncertainty
from bbopt.metabo.domain import Pending, Preference
from bbopt.metabo.domain_of import domain_of
from bbopt.metabo.finite import Finite
from bbopt.metabo.thompson import Path
from bbopt.space import Categorical, Float, Int, Space
from bbopt.spec import Spec, Table

PLANE = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 2.0)})
NOISE = 0.09
CRITERIA = [UCB(2.0), LogEI(0.5, 1.0), Uncertainty()]

each_criterion = pytest.mark.parametrize("criterion", CRITERIA, ids=str)


def rng(seed=0):
    return np.random.default_rng(seed)


def table(n=60, seed=0):
    u = rng(seed).random((n, 2))
    return domain_of(Spec(space=PLANE, candidates={"x": u[:, 0], "y": 2.0 * u[:, 1]}))


def posterior(domain, seed=1, n=10):
    draws = rng(seed)
    p = Posterior(Matern52(0.3), NOISE, candidates=domain.candidates)
    for row in draws.integers(0, len(domain.candidates), n):
        p.update(int(row), count=int(draws.integers(1, 30)), mean=float(draws.normal()))
    return p


def choose(domain, score, p, pending=(), preference=None):
    return domain.choose(score, p, pending, preference or Preference(), rng())


def dense(p, domain):
    """Posterior mean and covariance at all rows from the unique points, naively."""
    x, data = domain.candidates, p.observations
    m = p.kernel(data.points, data.points) + np.diag(data.noise / data.count)
    cross = np.linalg.solve(m, p.kernel(data.points, x))
    return cross.T @ data.mean, p.kernel(x, x) - p.kernel(x, data.points) @ cross


# -- the table


def test_rows_and_params_are_each_others():
    domain = table()
    for row in (0, 17, 59):
        place = domain.locate(domain.params(domain.locate(domain.params(_place(domain, row)))))
        assert place.row == row
        assert np.array_equal(place.x, domain.candidates[row])
    assert domain.locate({"x": 0.123456, "y": 0.5}) is None


def _place(domain, row):
    return next(p for p in domain.starts(len(domain.candidates), 0) if p.row == row)


def test_of_equal_rows_the_first_is_meant():
    domain = domain_of(Spec(space=PLANE, candidates={"x": [0.1, 0.5, 0.1], "y": [1.0, 1.0, 1.0]}))
    assert domain.locate({"x": 0.1, "y": 1.0}).row == 0
    assert domain.size == 3.0


def test_a_small_discrete_space_is_a_table_of_all_its_points():
    space = Space(
        {
            "n": Int(1, 7, step=3),
            "log": Int(1, 4, log=True),
            "x": Float(0.1, 0.3, step=0.1),
            "c": Categorical([True, None, "a"]),
            "fixed": Float(2.5, 2.5),
        }
    )
    domain = domain_of(Spec(space=space))
    assert isinstance(domain, Finite)
    rows = [domain.params(_place(domain, row)) for row in range(3 * 4 * 3 * 3)]
    assert {p["n"] for p in rows} == {1, 4, 7}
    assert {p["log"] for p in rows} == {1, 2, 3, 4}
    assert {p["x"] for p in rows} == {0.1, 0.2, 0.3}
    assert {p["fixed"] for p in rows} == {2.5}
    assert len({space.key(p) for p in rows}) == len(rows) == domain.size
    for row, params in enumerate(rows):
        assert space.validate(params) == params
        assert domain.locate(params).row == row


def test_starts_are_different_rows_until_all_were_taken_and_then_again():
    domain = table(n=12)
    rows = [place.row for place in domain.starts(30, 5)]
    assert sorted(rows[:12]) == sorted(rows[12:24]) == list(range(12))
    assert rows == [place.row for place in domain.starts(30, 5)]
    assert rows != [place.row for place in domain.starts(30, 6)]


def test_starts_fill_the_space():
    # Of 16 points of a scrambled Sobol' sequence one lies in each cell of a 4 x 4 grid; the row
    # nearest to it is at most a row's spacing away.
    axis = (np.arange(40) + 0.5) / 40
    x, y = np.meshgrid(axis, axis)
    domain = domain_of(Spec(space=PLANE, candidates={"x": x.ravel(), "y": 2.0 * y.ravel()}))
    points = np.array([place.x for place in domain.starts(16, 0)])
    gaps = np.abs(points[:, None] - (np.arange(4) + 0.5)[None, :, None] / 4)
    for axis_gaps in (gaps[:, :, 0], gaps[:, :, 1]):
        assert np.bincount(np.argmin(axis_gaps, axis=1), minlength=4).tolist() == [4] * 4


# -- the maximum


@each_criterion
@given(seed=st.integers(0, 999))
@settings(max_examples=25)
def test_the_choice_is_the_row_with_the_largest_score(criterion, seed):
    domain = table(seed=seed)
    p = posterior(domain, seed)
    mean, covariance = dense(p, domain)
    variance = np.diag(covariance)
    scores = criterion(mean, np.sqrt(variance))
    choice = choose(domain, criterion, p)
    assert scores[choice.place.row] >= scores.max() - 1e-7
    assert choice.mean == pytest.approx(mean[choice.place.row], abs=1e-9)
    assert choice.variance == pytest.approx(variance[choice.place.row], abs=1e-9)
    assert choice.gain == 0.0


def test_a_path_is_chosen_where_it_is_largest():
    domain = table()
    p = posterior(domain)
    path = Path(p, 2, rng(4))
    assert choose(domain, path, p).place.row == np.argmax(path.at(p, domain.candidates))


@each_criterion
def test_ties_go_to_the_lowest_row(criterion):
    domain = table()
    before = Posterior(RBF(0.3), NOISE, candidates=domain.candidates)
    assert choose(domain, criterion, before).place.row == 0
    twice = Spec(space=PLANE, candidates={"x": [0.0, 0.9, 0.5, 0.9], "y": [0.0, 1.0, 1.0, 1.0]})
    domain = domain_of(twice)
    p = Posterior(RBF(0.1), NOISE, candidates=domain.candidates)
    for row in (0, 2):
        p.update(row, count=5, mean=-1.0)
    assert choose(domain, criterion, p).place.row == 1


# -- what is near


def near_rows(p, criterion, near):
    scores = criterion(p.mean, p.sd)
    return np.flatnonzero(scores >= scores.max() - criterion.slack(p.sd, near))


@each_criterion
@given(seed=st.integers(0, 999), near=st.floats(0.01, 0.9))
@settings(max_examples=25)
def test_the_last_row_is_kept_exactly_while_it_is_near(criterion, seed, near):
    domain = table(seed=seed)
    p = posterior(domain, seed)
    best = choose(domain, criterion, p).place.row
    good = near_rows(p, criterion, near)
    for place in domain.starts(60, 0)[::3]:
        preference = Preference(near=near, last=place)
        chosen = choose(domain, criterion, p, preference=preference).place.row
        assert chosen == (place.row if place.row in good else best)


@each_criterion
@given(seed=st.integers(0, 999), near=st.floats(0.01, 0.9))
@settings(max_examples=25)
def test_with_a_cost_of_distance_the_nearest_of_the_near_is_taken(criterion, seed, near):
    domain = table(seed=seed)
    p = posterior(domain, seed)
    good = near_rows(p, criterion, near)
    for place in domain.starts(60, 0)[::6]:
        preference = Preference(near=near, last=place, distance_cost=1.0)
        chosen = choose(domain, criterion, p, preference=preference).place.row
        distance = np.linalg.norm(domain.candidates - place.x, axis=1)
        assert chosen in good
        assert distance[chosen] == distance[good].min()


def test_without_nearness_the_last_row_is_nothing_special():
    domain = table()
    p = posterior(domain)
    best = choose(domain, UCB(2.0), p).place.row
    other = next(place for place in domain.starts(60, 0) if place.row != best)
    assert choose(domain, UCB(2.0), p, preference=Preference(last=other)).place.row == best


def test_a_path_keeps_to_its_maximum_whatever_was_last():
    domain = table()
    p = posterior(domain)
    path = Path(p, 2, rng(4))
    best = int(np.argmax(path.at(p, domain.candidates)))
    other = next(place for place in domain.starts(60, 0) if place.row != best)
    preference = Preference(near=0.9, last=other)
    assert choose(domain, path, p, preference=preference).place.row == best


# -- what is taken


@pytest.mark.parametrize("score", [*CRITERIA, "path"], ids=str)
def test_rows_are_taken_in_the_order_of_their_scores_until_none_is_free(score):
    domain = table(n=15)
    p = posterior(domain, n=5)
    score = Path(p, 2, rng(4)) if score == "path" else score
    values = score.at(p, domain.candidates) if isinstance(score, Path) else score(p.mean, p.sd)
    taken, rows = set(), []
    for _ in range(15):
        preference = Preference(excluded=frozenset(taken))
        place = choose(domain, score, p, preference=preference).place
        taken.add(place.x.tobytes())
        rows.append(place.row)
    assert sorted(rows) == list(range(15))
    np.testing.assert_allclose(values[rows], np.sort(values)[::-1], atol=1e-8)
    preference = Preference(excluded=frozenset(taken))
    assert choose(domain, score, p, preference=preference).place.row == rows[0]


def test_a_taken_row_is_not_kept_though_it_was_last_and_is_near():
    domain = table()
    p = posterior(domain)
    last = choose(domain, UCB(2.0), p).place
    for cost in (0.0, 1.0):
        preference = Preference(0.9, last, cost, frozenset({last.x.tobytes()}))
        assert choose(domain, UCB(2.0), p, preference=preference).place.row != last.row


# -- what pends


@given(
    seed=st.integers(0, 999),
    pending=st.lists(st.tuples(st.integers(0, 59), st.integers(1, 40)), min_size=1, max_size=6),
)
@settings(max_examples=40)
def test_pending_results_shrink_the_variance_as_told_ones_would_and_leave_the_mean(seed, pending):
    domain = table(seed=seed)
    p, told = posterior(domain, seed), posterior(domain, seed)
    places = {place.row: place for place in domain.starts(60, 0)}
    awaited = [Pending(places[row], count) for row, count in pending]
    choice = choose(domain, UCB(2.0), p, awaited)
    for row, count in pending:
        told.update(row, count=count, mean=0.0)
    scores = p.mean + 2.0 * told.sd
    assert scores[choice.place.row] >= scores.max() - 1e-8
    assert choice.variance == pytest.approx(told.sd[choice.place.row] ** 2, rel=1e-8)
    assert choice.mean == p.mean[choice.place.row]
    assert domain.look(choice.place, p, awaited) == choice
    # ln det(I + Σ/λ) with a row an evaluation
    rows = np.repeat([row for row, _ in pending], [count for _, count in pending])
    covariance = dense(p, domain)[1][np.ix_(rows, rows)]
    expected = np.linalg.slogdet(np.eye(len(rows)) + covariance / NOISE)[1]
    assert choice.gain == pytest.approx(expected, rel=1e-7)


def test_the_gain_of_a_point_with_a_noise_of_its_own_is_measured_in_that():
    domain = table()
    places = {place.row: place for place in domain.starts(60, 0)}
    p = Posterior(Matern52(0.3), NOISE, candidates=domain.candidates)
    p.update(3, count=2, mean=1.0, noise=4.0)
    p.update(9, count=2, mean=0.0, noise=0.01)
    awaited = [Pending(places[3], 5), Pending(places[9], 2), Pending(places[20], 1)]
    rows, noise = np.repeat([3, 9, 20], [5, 2, 1]), np.repeat([4.0, 0.01, NOISE], [5, 2, 1])
    covariance = dense(p, domain)[1][np.ix_(rows, rows)]
    expected = np.linalg.slogdet(np.eye(8) + covariance / np.sqrt(np.outer(noise, noise)))[1]
    assert choose(domain, UCB(2.0), p, awaited).gain == pytest.approx(expected, rel=1e-9)


def test_the_best_mean_is_over_all_rows():
    domain = table()
    p = posterior(domain)
    assert domain.best_mean(p) == np.max(p.mean)


def test_a_table_of_categories_and_numbers_is_searched_in_the_coordinates_of_the_model():
    space = Space({"x": Float(0.0, 1.0), "c": Categorical(["a", "b"]), "fixed": Int(3, 3)})
    rows = [{"x": x, "c": c, "fixed": 3} for x in (0.0, 0.5, 1.0) for c in "ab"]
    domain = domain_of(Spec(space=space, candidates=Table(space, rows)))
    assert domain.candidates.shape == (6, 3)
    p = Posterior(
        RBF([0.3, 0.3], groups=domain.encoding.groups), NOISE, candidates=domain.candidates
    )
    p.update(domain.locate(rows[3]).row, count=9, mean=5.0)
    assert domain.params(choose(domain, UCB(1.0), p).place) == rows[3]

"""Choosing from a box: global maxima, discrete parameters, what is near, pends or is taken."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bbopt.metabo import RBF, Matern52, Posterior
from bbopt.metabo.box import Box, evaluated, with_pending
from bbopt.metabo.criteria import UCB, LogEI, Uncertainty
from bbopt.metabo.domain import Pending, Place, Preference
from bbopt.metabo.domain_of import domain_of
from bbopt.metabo.encoding import Encoding
from bbopt.metabo.thompson import Path
from bbopt.space import Categorical, Float, Int, Space
from bbopt.spec import Spec

LINE = Space({"x": Float(-2.0, 3.0)})
PLANE = Space({"x": Float(0.0, 1.0), "y": Float(1e-3, 1.0, log=True)})
MIXED = Space({"x": Float(0.0, 1.0), "n": Int(1, 8), "c": Categorical(["a", "b", "c"])})
NOISE = 0.09
# Score by which a maximum found may be below that of a dense grid: L-BFGS-B stops at a relative
# change of 1e-9, and scores are of order 1.
LOSS = 1e-6

CRITERIA = [UCB(2.0), LogEI(1.0, 1.0), Uncertainty()]

each_criterion = pytest.mark.parametrize("criterion", CRITERIA, ids=str)


def rng(seed=0):
    return np.random.default_rng(seed)


def posterior(d, seed=1, n=10):
    draws = rng(seed)
    p = Posterior(Matern52(0.2), NOISE)
    for x in draws.random((n, d)):
        p.update(x, count=int(draws.integers(1, 30)), mean=float(draws.normal()))
    return p


def crowded(seed):
    """A posterior about as uncertain at the points seen as between them."""
    draws = rng(seed)
    p = Posterior(RBF(0.4), 2.0)
    for x in draws.random((40, 2)):
        p.update(x, count=int(draws.integers(1, 4)), mean=float(draws.normal()))
    return p


def choose(box, score, p, pending=(), preference=None, seed=0):
    return box.choose(score, p, pending, preference or Preference(), rng(seed))


def grid(d, n):
    axis = np.linspace(0.0, 1.0, n)
    return np.stack(np.meshgrid(*[axis] * d), axis=-1).reshape(-1, d)


def dense(p, x):
    """Posterior covariance at ``x`` from the unique points, naively."""
    data = p.observations
    m = p.kernel(data.points, data.points) + np.diag(data.noise / data.count)
    cross = np.linalg.solve(m, p.kernel(data.points, x))
    return p.kernel(x, x) - p.kernel(x, data.points) @ cross


# -- the maximum


@each_criterion
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("space", "n"), [(LINE, 4001), (PLANE, 151)], ids=["line", "plane"])
def test_no_point_of_a_dense_grid_is_better(space, n, criterion, seed):
    box = Box(Encoding(space))
    p = posterior(len(space), seed)
    choice = choose(box, criterion, p)
    [value] = criterion.at(p, choice.place.x[None])
    assert value >= criterion.at(p, grid(len(space), n)).max() - LOSS
    assert np.all((choice.place.x >= 0.0) & (choice.place.x <= 1.0))
    mean, sd = p.predict(choice.place.x[None])
    assert choice.mean == pytest.approx(mean[0], rel=1e-12)
    assert choice.variance == pytest.approx(sd[0] ** 2, rel=1e-12)
    assert choice.place.row == -1


@pytest.mark.parametrize("seed", range(4))
def test_the_maximum_of_a_path_is_found(seed):
    p = posterior(2, seed)
    path = Path(p, 2, rng(seed))
    [value] = path.at(p, choose(Box(Encoding(PLANE)), path, p).place.x[None])
    assert value >= path.at(p, grid(2, 151)).max() - LOSS


@each_criterion
def test_before_any_value_some_point_is_chosen(criterion):
    choice = choose(Box(Encoding(PLANE)), criterion, Posterior(RBF(0.3), NOISE))
    assert choice.variance == pytest.approx(1.0)
    assert choice.place.x.shape == (2,)


def test_mixed_spaces_reach_their_best_discrete_setting_in_nearly_all_cases():
    # Local searches from the eight best of a thousand points: over 300 other seeds all but two
    # ended in the maximum, and those two 0.03 below it.
    encoding = Encoding(MIXED)
    box, kernel = Box(encoding), Matern52([0.3, 0.4, 0.8], groups=encoding.groups)
    everywhere = encoding.encode(
        [
            {"x": x, "n": n, "c": c}
            for x, n, c in product(np.linspace(0, 1, 101).tolist(), range(1, 9), "abc")
        ]
    )
    losses = []
    for seed in range(40):
        p, draws = Posterior(kernel, NOISE), rng(seed)
        for params in MIXED.sample(draws, 12):
            p.update(encoding.encode(params)[0], count=5, mean=float(draws.normal()))
        x = choose(box, UCB(2.0), p).place.x
        losses.append(UCB(2.0).at(p, everywhere).max() - UCB(2.0).at(p, x[None])[0])
        assert np.array_equal(encoding.rounded(x[None])[0], x)
        MIXED.validate(box.params(Place(x)))
    assert max(losses) <= 0.05
    assert sum(loss > LOSS for loss in losses) <= 2


def test_a_grid_too_large_to_enumerate_is_climbed_to_its_maximum():
    space = Space({"n": Int(0, 999), "m": Int(0, 999)})
    box = domain_of(Spec(space=space))
    assert isinstance(box, Box)
    p = Posterior(RBF(0.3), NOISE)
    for x, mean in ([0.2, 0.2], 0.0), ([0.6, 0.6], 3.0), ([0.9, 0.3], 0.0):
        p.update(x, count=100, mean=mean)
    choice = choose(box, UCB(1.0), p)
    cells = (np.arange(1000) + 0.5) / 1000
    everywhere = np.stack(np.meshgrid(cells, cells), axis=-1).reshape(-1, 2)
    scores = UCB(1.0).at(p, everywhere)
    [value] = UCB(1.0).at(p, choice.place.x[None])
    # Hill climbing by single steps may end a step beside the maximum, along a ridge: the score
    # falls by the curvature, at most (1 + β)/0.3², times half the square of 2 steps.
    assert value >= scores.max() - 3.0 * 3.0 / 0.09 * 0.5 * 0.002**2


def test_the_same_generator_gives_the_same_choice():
    box, p = Box(Encoding(PLANE)), posterior(2)
    a, b = (choose(box, UCB(2.0), p, seed=7) for _ in range(2))
    assert np.array_equal(a.place.x, b.place.x)


# -- what is near


def near_points(p, criterion, near, top):
    known = p.observations.points
    return known[criterion.at(p, known) >= top - criterion.slack(p.predict(known)[1], near)]


@each_criterion
@pytest.mark.parametrize("near", [0.001, 0.5, 0.8])
@pytest.mark.parametrize("seed", [0, 3])
def test_a_point_evaluated_before_is_taken_where_it_is_near_and_only_there(criterion, near, seed):
    box, p = Box(Encoding(PLANE)), crowded(seed)
    free = choose(box, criterion, p).place.x
    [top] = criterion.at(p, free[None])
    good = near_points(p, criterion, near, top)
    chosen = choose(box, criterion, p, preference=Preference(near=near)).place.x
    assert bool(len(good)) == (near > 0.001)  # so that both happen here
    if not len(good):
        assert np.array_equal(chosen, free)
        return
    assert chosen.tobytes() in {x.tobytes() for x in good}
    slack = criterion.slack(p.predict(good)[1], near)
    below = top - criterion.at(p, good) - slack
    mine = [x.tobytes() for x in good].index(chosen.tobytes())
    assert below[mine] == pytest.approx(below.min(), abs=1e-12)


def test_repeats_come_from_snapping_and_not_without_it():
    p = posterior(2, 3)
    box = Box(Encoding(PLANE))
    known = {x.tobytes() for x in p.observations.points}
    assert choose(box, UCB(2.0), p).place.x.tobytes() not in known
    wide = Preference(near=10.0)
    assert choose(box, UCB(2.0), p, preference=wide).place.x.tobytes() in known


@each_criterion
def test_the_last_point_is_kept_while_it_is_near_and_left_when_it_is_not(criterion):
    box, p, near = Box(Encoding(PLANE)), crowded(0), 0.6
    free = choose(box, criterion, p).place.x
    [top] = criterion.at(p, free[None])
    good = {x.tobytes() for x in near_points(p, criterion, near, top)}
    assert 1 < len(good) < 40
    plain = choose(box, criterion, p, preference=Preference(near=near)).place.x
    for x in p.observations.points:
        preference = Preference(near=near, last=Place(x))
        chosen = choose(box, criterion, p, preference=preference).place.x
        assert np.array_equal(chosen, x if x.tobytes() in good else plain)


@each_criterion
def test_with_a_cost_of_distance_the_nearest_of_the_near_is_taken(criterion):
    box, p, near = Box(Encoding(PLANE)), crowded(0), 0.6
    free = choose(box, criterion, p).place.x
    [top] = criterion.at(p, free[None])
    good = near_points(p, criterion, near, top)
    for x in rng(3).random((6, 2)):
        preference = Preference(near=near, last=Place(x), distance_cost=1.0)
        chosen = choose(box, criterion, p, preference=preference).place.x
        distance = np.linalg.norm(good - x, axis=1)
        assert np.array_equal(chosen, good[np.argmin(distance)])


# -- what is taken


@each_criterion
def test_excluded_points_are_avoided_and_not_snapped_to(criterion):
    box, p = Box(Encoding(PLANE)), posterior(2, 2)
    taken = frozenset(x.tobytes() for x in p.observations.points)
    first = choose(box, criterion, p).place.x
    taken |= {first.tobytes()}
    preference = Preference(near=10.0, excluded=taken)
    second = choose(box, criterion, p, preference=preference).place.x
    assert second.tobytes() not in taken
    # the next best point is as good to rounding: the maximum is not isolated
    assert criterion.at(p, second[None])[0] >= criterion.at(p, first[None])[0] - 0.1


def test_in_a_discrete_box_every_point_is_taken_once_before_any_is_taken_twice():
    encoding = Encoding(Space({"n": Int(1, 4), "c": Categorical(["a", "b", "c"])}))
    box = Box(encoding)
    p = Posterior(Matern52([0.3, 0.8], groups=encoding.groups), NOISE)
    p.update(encoding.encode({"n": 2, "c": "b"})[0], count=2, mean=1.0)
    taken = set()
    for _ in range(12):
        place = choose(box, UCB(2.0), p, preference=Preference(excluded=frozenset(taken))).place
        assert place.x.tobytes() not in taken
        taken.add(place.x.tobytes())
    again = choose(box, UCB(2.0), p, preference=Preference(excluded=frozenset(taken))).place
    assert again.x.tobytes() in taken


# -- what pends


@given(
    seed=st.integers(0, 999),
    pending=st.lists(st.tuples(st.integers(0, 14), st.integers(1, 40)), min_size=1, max_size=5),
)
@settings(max_examples=12, derandomize=True)  # the search misses the highest of peaks in 0.7 %
def test_pending_results_shrink_the_variance_as_told_ones_would_and_leave_the_mean(seed, pending):
    box, p, told = Box(Encoding(PLANE)), posterior(2, seed), posterior(2, seed)
    anywhere = np.vstack([p.observations.points, rng(seed + 1).random((5, 2))])
    awaited = [Pending(Place(anywhere[i]), count) for i, count in pending]
    choice = choose(box, UCB(2.0), p, awaited)
    for i, count in pending:
        told.update(anywhere[i], count=count, mean=0.0)
    x = choice.place.x[None]
    assert choice.variance == pytest.approx(told.predict(x)[1][0] ** 2, rel=1e-7)
    assert choice.mean == pytest.approx(p.predict(x)[0][0], abs=1e-8)
    assert box.look(choice.place, p, awaited) == choice
    everywhere = grid(2, 51)
    scores = p.predict(everywhere)[0] + 2.0 * told.predict(everywhere)[1]
    value = choice.mean + 2.0 * choice.variance**0.5
    assert value >= scores.max() - LOSS
    rows = np.repeat(anywhere[[i for i, _ in pending]], [n for _, n in pending], axis=0)
    information = np.eye(len(rows)) + dense(p, rows) / NOISE
    assert choice.gain == pytest.approx(np.linalg.slogdet(information)[1], rel=1e-7, abs=1e-7)


def test_the_gain_of_a_point_with_a_noise_of_its_own_is_measured_in_that():
    p = Posterior(Matern52(0.3), NOISE)
    p.update([0.2, 0.2], count=2, mean=1.0, noise=4.0)
    p.update([0.3, 0.4], count=2, mean=0.0, noise=0.01)
    x = np.array([[0.2, 0.2], [0.3, 0.4], [0.7, 0.7]])
    awaited = [Pending(Place(point), n) for point, n in zip(x, (5, 2, 1), strict=True)]
    rows, noise = np.repeat(x, [5, 2, 1], axis=0), np.repeat([4.0, 0.01, NOISE], [5, 2, 1])
    information = np.eye(8) + dense(p, rows) / np.sqrt(np.outer(noise, noise))
    choice = choose(Box(Encoding(PLANE)), UCB(2.0), p, awaited)
    assert choice.gain == pytest.approx(np.linalg.slogdet(information)[1], rel=1e-9)


def test_without_pending_results_the_posterior_is_the_same_object_and_else_a_new_one():
    p = posterior(2)
    assert with_pending(p, ()) is p
    before = p.predict(grid(2, 5))
    with_pending(p, [Pending(Place(np.array([0.5, 0.5])), 3)])
    after = p.predict(grid(2, 5))
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


# -- the box


def test_the_best_mean_is_over_the_points_evaluated():
    p = posterior(2)
    assert Box(Encoding(PLANE)).best_mean(p) == np.max(p.predict(p.observations.points)[0])
    before = Posterior(RBF(0.2), 0.1)
    assert Box(Encoding(PLANE)).best_mean(before) == 0.0
    assert evaluated(before, 2).shape == (0, 2)


def test_params_and_places_are_each_others():
    box = Box(Encoding(MIXED))
    for params in MIXED.sample(rng(), 10):
        place = box.locate(params)
        again = box.params(place)
        assert again["x"] == pytest.approx(params["x"], abs=1e-12)
        assert (again["n"], again["c"]) == (params["n"], params["c"])
        assert np.array_equal(box.locate(again).x, place.x)


def test_starts_of_a_power_of_two_lie_in_different_cells_of_every_axis():
    points = np.array([place.x for place in Box(Encoding(PLANE)).starts(16, 3)])
    for column in points.T:
        assert sorted(np.floor(16 * column).astype(int)) == list(range(16))

"""Looking around: grids along the coordinates, the leaps that they suggest, whole descents."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bbopt
from bbopt.lacmas import outlook
from tests.lacmas.swarms import play
from tests.lacmas.test_quasi_newton import PULL, search


@given(d=st.integers(1, 6), seed=st.integers(0, 1000))
def test_grids_leave_all_but_one_coordinate_and_have_a_point_in_every_cell(d, seed):
    rng = np.random.default_rng(seed)
    x = rng.random(d)
    lines = outlook.grids(x, rng.random((d, outlook.POINTS))).reshape(d, outlook.POINTS, d)
    for j, line in enumerate(lines):
        cells = np.floor(line[:, j] * outlook.POINTS)
        np.testing.assert_array_equal(cells, np.arange(outlook.POINTS))
        assert (np.delete(line, j, axis=1) == np.delete(x, j)).all()


@settings(max_examples=50)
@given(d=st.integers(1, 9), seed=st.integers(0, 1000), least=st.floats(0, 2))
def test_leaps_move_the_coordinates_that_gain_most(d, seed, least):
    rng = np.random.default_rng(seed)
    x = rng.random(d)
    grids = outlook.grids(x, rng.random((d, outlook.POINTS)))
    gains = rng.normal(-1, 1, len(grids))
    found = outlook.leaps(x, grids, gains, least)
    lines = gains.reshape(d, -1)
    lower = [j for j in np.argsort(-lines.max(axis=1)) if lines[j].max() > least]
    sizes = [k for k in (1, 2, 4, 8) if k < len(lower)] + [len(lower)] * bool(lower)
    assert [int((leap != x).sum()) for leap in found] == sizes
    for leap, k in zip(found, sizes, strict=True):
        for j in range(d):
            best = grids[j * outlook.POINTS + lines[j].argmax(), j]
            assert leap[j] == (best if j in lower[:k] else x[j])


def wells(x, i):
    """Two wells a coordinate, the one near -1 deeper, and conflicts that cancel in the mean."""
    own = (x**2 - 1) ** 2 + 0.3 * x
    return own.sum(axis=1) + 10 * x @ (PULL[i] - PULL.mean(axis=0))


DEEP = min(np.roots([4, 0, -4, 0.3]).real)


@pytest.mark.parametrize("budget", [1000, 6000])
def test_all_coordinates_come_to_the_deeper_well_where_there_is_budget_for_it(budget):
    newton = search(d=6, budget=budget, low=-2.0, high=2.0, start=np.full((6, 6), 0.9))
    play(newton, wells)
    if budget == 1000:  # a look around costs 193 evaluations: few of them, or none, can be paid
        assert newton.evaluations.max() <= budget
    else:
        assert newton.ending == "converged"
        np.testing.assert_allclose(newton.points[0], DEEP, atol=1e-5)


def test_a_descent_that_cannot_pay_for_a_look_ends_where_it_is():
    newton = search(d=6, budget=3000, low=-2.0, high=2.0, start=np.full((6, 6), 0.9))
    newton._may_look = lambda: False
    play(newton, wells)
    assert newton.ending == "converged"
    shallow = max(np.roots([4, 0, -4, 0.3]).real)
    np.testing.assert_allclose(newton.points[0], shallow, atol=1e-5)


def test_nobody_leaps_to_where_some_agent_fails():
    def broken(x, i):
        return np.where((x[:, 0] < 0) & (i == 2), np.nan, wells(x, i))

    newton = search(d=6, budget=6000, low=-2.0, high=2.0, start=np.full((6, 6), 0.9))
    play(newton, broken)
    assert newton.points[0, 0] > 0
    np.testing.assert_allclose(newton.points[0, 1:], DEEP, atol=1e-4)


@pytest.mark.parametrize("seed", range(3))
def test_sensors_locate_every_target_from_any_swarm(seed):
    problem = bbopt.problem("distributed/sensors", targets=10)
    optimizer = bbopt.optimizer("lacmas", problem.spec, seed=seed)
    result = bbopt.run(problem, optimizer, 30_000 * 16)
    assert result.true_value == pytest.approx(problem.optimum, rel=1e-8)

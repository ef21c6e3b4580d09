"""Slopes from values, and the step that a probe chooses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbopt.lacmas import finite_differences as fd

coordinate = st.sampled_from([0.0, 1e-7, 0.3, 0.999, 1.0]) | st.floats(0.0, 1.0)


@given(st.lists(coordinate, min_size=1, max_size=4), st.floats(1e-4, 0.2), st.integers(0, 100))
def test_slopes_of_quadratics_are_exact_also_at_the_bounds(x, h, seed):
    x = np.array(x)
    d = len(x)
    rng = np.random.default_rng(seed)
    q = rng.normal(size=(2, d, d))
    q = q + q.swapaxes(1, 2)
    b = rng.normal(size=(2, d))

    def f(points):  # (2, m, d)
        return 0.5 * np.einsum("amd,ade,ame->am", points, q, points) + np.einsum(
            "amd,ad->am", points, b
        )

    step = np.array([h, h / 2])
    points = fd.points(x, step)
    assert points.min() >= 0
    assert points.max() <= 1
    here = f(np.tile(x, (2, 1, 1)))[:, 0]
    slopes = fd.slopes(x, step, here, f(points))
    # values carry a rounding of 1e-15 or so, which a step divides
    np.testing.assert_allclose(slopes, q @ x + b, atol=1e-13 * d / h + 1e-12)


def test_a_missing_value_leaves_the_other_side():
    x, step = np.array([0.5, 0.5]), np.array([1e-3])
    values = 3 * fd.points(x, step)[..., 0] - fd.points(x, step)[..., 1]
    values[0, 0] = np.nan
    np.testing.assert_allclose(fd.slopes(x, step, np.array([1.0]), values), [[3, -1]])
    values[0, 2] = np.nan  # both of the first coordinate
    np.testing.assert_allclose(fd.slopes(x, step, np.array([1.0]), values), [[0, -1]])
    np.testing.assert_array_equal(fd.slopes(x, step, np.array([np.nan]), values), [[0, 0]])


def probed(f, x, seed=0, a=1):
    normals = np.random.default_rng(seed).normal(size=(a, fd.DIRECTIONS, len(x)))
    points = fd.probe_points(x, normals)
    assert points.min() >= 0
    assert points.max() <= 1
    np.testing.assert_array_equal(points[:, 0], np.tile(x, (a, 1)))
    return fd.probe(f(points))


def wave(points):
    return np.sin(6 * points).sum(axis=-1)


def test_a_smooth_function_gets_a_step_between_rounding_and_curvature():
    found = probed(wave, np.full(5, 0.4))
    assert 1e-8 < found.step[0] < 1e-2
    assert found.noise[0] < 1e-13
    assert found.slope_error[0] < 1e-8


@pytest.mark.parametrize("sigma", [1e-6, 1e-3])
def test_noise_is_measured_and_lengthens_the_step(sigma):
    rng = np.random.default_rng(4)
    found = probed(lambda p: wave(p) + sigma * rng.normal(size=p.shape[:-1]), np.full(5, 0.4), a=30)
    smooth = probed(wave, np.full(5, 0.4), a=30)
    assert np.median(found.step) > 5 * np.median(smooth.step)
    assert sigma / 3 < np.median(found.noise) < 3 * sigma


def test_steps_shorter_than_a_plateau_are_not_taken_for_a_slope_of_zero():
    found = probed(lambda p: np.round(wave(p), 3), np.full(5, 0.4), a=20)
    assert found.step.min() > 1e-4
    assert 1e-4 < np.median(found.noise) < 1e-2


def test_where_values_are_missing_the_default_stays():
    nothing = probed(lambda p: np.full(p.shape[:-1], np.nan), np.full(2, 0.5))
    assert nothing.step.tolist() == [fd.STEP]
    assert np.isnan(nothing.noise).all()


def test_where_values_are_all_the_same_the_longest_step_is_taken():
    flat = probed(lambda p: np.zeros(p.shape[:-1]), np.full(2, 0.5))
    assert flat.step.tolist() == [fd.SCALES[-2]]
    assert flat.noise.tolist() == [0.0]


def test_a_corner_is_probed_like_the_middle():
    found = probed(wave, np.array([0.0, 1.0]))
    assert 1e-8 < found.step[0] < 1e-2
    assert found.slope_error[0] < 1e-7

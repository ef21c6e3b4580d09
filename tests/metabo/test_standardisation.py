"""Scales of values: what the model sees is increasing, can be undone, and keeps densities."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from bbopt.metabo.posterior.observations import Observations
from bbopt.metabo.standardisation import KNEES, Standardisation

numbers = st.floats(-1e6, 1e6)
positive = st.floats(1e-3, 1e3)
scales = st.builds(Standardisation, numbers, positive, st.floats(-5, 5), st.none() | positive)


def observe(points, statistics):
    data = Observations(np.shape(points)[1])
    for x, (n, mean, m2) in zip(np.asarray(points, dtype=float), statistics, strict=True):
        data.pool(data.add(x, 1.0), n, mean, m2)
    return data


def some_data(n=20):
    draws = np.random.default_rng(0)
    return observe(draws.random((n, 2)), [(2, draws.normal(3, 5), 0.1) for _ in range(n)])


def test_standardised_means_have_mean_zero_and_variance_one():
    data = some_data()
    scale = Standardisation.of(data)
    means = scale.apply(data).mean
    assert means.mean() == pytest.approx(0.0, abs=1e-14)
    assert means.std() == pytest.approx(1.0, rel=1e-14)
    back = [scale.undo(z, 1.0) for z in means]
    np.testing.assert_allclose([value for value, _ in back], data.mean, rtol=1e-12)
    assert {sd for _, sd in back} == {scale.scale}


@pytest.mark.parametrize(
    ("statistics", "expected"),
    [
        ([(1, 5.0, 0.0)], Standardisation(5.0, 1.0)),
        ([(2, 5.0, 0.0), (1, 5.0, 0.0)], Standardisation(5.0, 1.0)),
        ([(3, 5.0, 8.0), (1, 5.0, 0.0)], Standardisation(5.0, 2.0)),
        ([(1, 5.0, 0.0), (1, 5.0 * (1 + 1e-15), 0.0)], Standardisation(5.0, 1.0)),  # rounding
    ],
)
def test_values_without_spread_have_a_scale_all_the_same(statistics, expected):
    x = [[0.1], [0.2]][: len(statistics)]
    scale = Standardisation.of(observe(x, statistics))
    assert scale.shift == pytest.approx(expected.shift, rel=1e-14)
    assert scale.scale == expected.scale


@given(scales, st.lists(st.floats(-20, 5), min_size=2, max_size=6, unique=True))
def test_what_the_model_sees_is_increasing_and_can_be_undone(scale, units):
    values = scale.shift + scale.scale * np.sort(units)
    seen = [scale.apply_one(value, 0.0)[0] for value in values]
    assert np.all(np.diff(seen) >= 0)
    back = [scale.undo(z, 0.0)[0] for z in seen]
    # the shift, the top and the gap from it each round what is left of the value
    size = abs(scale.shift) + 30 * scale.scale * (1 + (scale.knee or 0.0))
    np.testing.assert_allclose(back, values, rtol=0, atol=1e-13 * size)


@given(scales, st.floats(-20, 5), st.floats(0.1, 10))
def test_spreads_go_there_and_back_by_the_slope(scale, unit, sd):
    value = scale.shift + scale.scale * unit
    seen, m2 = scale.apply_one(value, sd * sd)
    assert scale.undo(seen, math.sqrt(m2))[1] == pytest.approx(sd, rel=1e-6)
    step = 1e-4 * scale.scale * min(scale.knee or 1.0, 1.0)
    if abs(scale.shift) < 1e2 * scale.scale and abs(unit - scale.top) > 1e-3:
        ends = [scale.apply_one(value + s * step, 0.0)[0] for s in (-1, 1)]
        assert (ends[1] - ends[0]) / (2 * step) == pytest.approx(math.sqrt(m2) / sd, rel=1e-3)


@pytest.mark.parametrize("knee", [None, 0.02, 3.0])
def test_densities_of_values_integrate_to_one(knee):
    scale = Standardisation(-4.0, 3.0, 0.5, knee)

    def density(value):
        point = observe([[0.5, 0.5]], [(1, value, 0.0)])
        z = scale.apply_one(value, 0.0)[0] + 1.0  # a normal variable with mean -1
        return math.exp(-0.5 * z * z + scale.log_slopes(point)) / math.sqrt(2 * math.pi)

    top = scale.shift + scale.scale * scale.top  # where the slope has its corner
    total = sum(
        quad(density, low, high, limit=500)[0]
        for low, high in [(-2000.0, top - 3.0), (top - 3.0, top), (top, top + 60.0)]
    )
    assert total == pytest.approx(1.0, abs=1e-5)


def test_knees_are_shares_of_the_median_distance_from_the_best():
    data = observe([[0.1], [0.2], [0.3], [0.4]], [(1, v, 0.0) for v in (7.0, 5.0, -3.0, 7.0)])
    plain, *kneed = Standardisation(1.0, 2.0, 9.0, 0.5).with_knees(data)
    assert plain == Standardisation(1.0, 2.0)
    assert [(s.shift, s.scale, s.top) for s in kneed] == [(1.0, 2.0, 7.0)] * len(KNEES)
    assert [s.knee for s in kneed] == pytest.approx([6.0 * share for share in KNEES])


def test_equal_values_have_no_knee():
    data = observe([[0.1], [0.2]], [(1, 5.0, 0.0), (1, 5.0, 0.0)])
    assert Standardisation.of(data).with_knees(data) == [Standardisation.of(data)]

"""No advice, whatever it is, leaves the contract."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbopt.lacmas import spectrum
from bbopt.lacmas.guides import contract
from bbopt.lacmas.guides.contract import (
    LEAST_WEIGHT,
    MOST_WEIGHT,
    guarded,
    least_coefficient,
    limited,
    to_mass,
    wishes,
)

ANYTHING = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.tuples(ANYTHING, st.floats(0.5, 1.0)), min_size=1, max_size=5))
def test_coefficients_stay_in_their_range_and_move_a_little(pairs):
    wanted, now = np.array(pairs).T
    result = limited(wanted, now, (0.5, 1.0), 0.2)
    assert ((result >= 0.5) & (result <= 1.0)).all()
    assert (np.abs(result - now) <= 0.2 + 1e-12).all()


def test_where_nothing_is_wanted_a_coefficient_stays_even_outside_the_range():
    assert limited(np.array([np.nan]), np.array([1.0]), (0.2, 0.7), 0.2) == [1.0]


def test_what_is_wanted_and_within_reach_is_what_comes():
    result = limited(np.array([0.85, 0.1]), np.array([1.0, 1.0]), (0.5, 1.0), 0.2)
    np.testing.assert_allclose(result, [0.85, 0.8])


@st.composite
def weighted(draw):
    """What is wanted of each edge, the weights in force, whose they are, and the masses."""
    degrees = draw(st.lists(st.integers(0, 30), min_size=1, max_size=6))
    rows = np.repeat(np.arange(len(degrees)), degrees)
    mass = np.array([draw(st.floats(0.01, 0.99)) for _ in degrees])
    numbers = st.one_of(st.just(np.nan), st.floats(0, 1e300), st.floats(0, 1))
    wanted = np.array([draw(numbers) for _ in rows])
    now = np.array([draw(st.floats(0, 1)) for _ in rows])
    return wanted, now, rows, mass


@given(weighted())
def test_wishes_stay_within_bounds_and_sum_to_the_mass(case):
    wanted, now, rows, mass = case
    with np.errstate(over="ignore"):
        result = wishes(wanted, now, rows, mass)
    degree = np.bincount(rows, minlength=len(mass))
    total = np.bincount(rows, result, minlength=len(mass))
    # a sum of up to 30 numbers below 1, each off by one unit of its last place
    np.testing.assert_allclose(total[degree > 0], mass[degree > 0], rtol=1e-12)
    share = (mass / np.maximum(degree, 1))[rows]
    assert (result >= np.minimum(LEAST_WEIGHT, share / 2) - 1e-15).all()
    assert (result <= np.maximum(MOST_WEIGHT, share) + 1e-15).all()


def test_weights_within_bounds_keep_their_proportions():
    rows, mass = np.array([0, 0, 0, 2]), np.array([0.75, 0.0, 0.5])
    result = to_mass(np.array([1.0, 2.0, 2.0, 7.0]), rows, mass)
    np.testing.assert_allclose(result, [0.15, 0.3, 0.3, 0.5], rtol=1e-12)


def test_bounded_weights_leave_the_rest_to_the_others_in_proportion():
    result = to_mass(np.array([100.0, 1.0, 2.0]), np.zeros(3, dtype=int), np.array([0.75]))
    np.testing.assert_allclose(result, [0.6, 0.05, 0.1], rtol=1e-12)


def test_wishes_go_half_the_way():
    now, rows = np.array([0.25, 0.25, 0.25]), np.zeros(3, dtype=int)
    result = wishes(np.array([0.4, 0.4, 0.2]), now, rows, np.array([0.75]))
    np.testing.assert_allclose(result, (now + 0.75 * np.array([0.4, 0.4, 0.2])) / 2, rtol=1e-12)


def test_a_neighbour_of_whom_nothing_is_wanted_keeps_its_share():
    now, rows = np.array([0.25, 0.25, 0.25]), np.zeros(3, dtype=int)
    result = wishes(np.array([np.nan, 0.3, 0.1]), now, rows, np.array([0.75]))
    np.testing.assert_allclose(result, [0.25, 0.3125, 0.1875], rtol=1e-12)


@pytest.mark.parametrize("interval", [2, 3, 4, 7])
@pytest.mark.parametrize("least", [-0.3891, 0.0, -0.49])
def test_the_least_coefficient_is_where_the_stable_region_ends_with_the_margin(interval, least):
    [s] = least_coefficient(np.array([interval]), least)
    if s >= 0:
        limit = spectrum.MARGIN * spectrum.momentum_limit(s, interval)
        assert limit == pytest.approx(1 - least, rel=1e-12)
    else:  # without any momentum it is stable
        assert 1 - least < spectrum.momentum_limit(0.0, interval)


def test_the_guard_raises_to_one_at_most_and_never_out_of_the_range():
    floor = np.array([0.8, 0.8, 1.2, 0.8])
    values = np.array([0.5, 0.9, 0.5, 3.0])
    np.testing.assert_allclose(guarded(values, floor, (0.5, 1.3)), [0.8, 0.9, 1.0, 1.3])
    np.testing.assert_allclose(guarded(values, floor, (0.5, 0.7)), [0.7, 0.7, 0.7, 0.7])
    assert guarded(np.array([1.8]), np.array([0.0]), (1.0, 1.8)) == [contract.STILL_STABLE]

"""One dimension at a time: what it accepts, and its encoding in the unit interval."""

import math
from enum import StrEnum

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from bbopt import Categorical, Float, Int, Space, Text
from bbopt.errors import SpaceError

finite = st.floats(allow_nan=False, allow_infinity=False)
unit_points = st.lists(st.floats(0, 1), min_size=1, max_size=20)


@st.composite
def linear_floats(draw):
    low, high = sorted((draw(finite), draw(finite)))
    assume(math.isfinite(high - low))
    return Float(low, high)


@st.composite
def log_floats(draw):
    low, high = sorted((draw(st.floats(5e-324, 1.7e308)), draw(st.floats(5e-324, 1.7e308))))
    return Float(low, high, log=True)


@st.composite
def stepped_floats(draw):
    """Decimal grids such as 0.1, 0.4, 0.7, whose points are no exact doubles."""
    scale = 10 ** draw(st.integers(0, 6))
    low, step = draw(st.integers(-(10**6), 10**6)), draw(st.integers(1, 1000))
    n_steps = draw(st.integers(0, 10_000))
    return Float(low / scale, (low + n_steps * step) / scale, step=step / scale)


@st.composite
def ints(draw):
    low, step = draw(st.integers(-(2**62), 2**62)), draw(st.integers(1, 1000))
    return Int(low, low + step * draw(st.integers(0, 2**50)), step=step)


@st.composite
def log_ints(draw):
    low, high = sorted((draw(st.integers(1, 2**40)), draw(st.integers(1, 2**40))))
    return Int(low, high, log=True)


json_scalars = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), finite, st.text())


@st.composite
def categoricals(draw):
    identity = lambda value: (type(value), value)  # noqa: E731
    return Categorical(draw(st.lists(json_scalars, min_size=1, max_size=6, unique_by=identity)))


def column(values):
    return np.reshape(np.asarray(values, dtype=float), (-1, 1))


def typed(values):
    return [(type(value), value) for value in values]


# --- encoding -------------------------------------------------------------------------


@given(st.one_of(stepped_floats(), ints(), log_ints()), unit_points)
def test_encoding_a_decoded_grid_value_leads_back_to_it(dimension, points):
    values = dimension.decode(column(points))
    unit = dimension.encode(values)
    assert unit.shape == (len(points), 1)
    assert ((unit >= 0) & (unit <= 1)).all()
    assert typed(dimension.decode(unit)) == typed(values)
    assert [dimension.normalize(value) for value in values] == values


@given(linear_floats(), unit_points)
def test_a_float_comes_back_to_rounding(dimension, points):
    values = dimension.decode(column(points))
    unit = dimension.encode(values)
    assert ((unit >= 0) & (unit <= 1)).all()
    assert all(dimension.low <= value <= dimension.high for value in values)
    # one rounding each of a difference, a quotient, two products and a sum
    tolerance = 8 * math.ulp(max(abs(dimension.low), abs(dimension.high)))
    assert np.allclose(dimension.decode(unit), values, rtol=0, atol=tolerance)


@given(log_floats(), unit_points)
def test_a_float_on_a_log_scale_comes_back_to_the_rounding_of_its_logarithm(dimension, points):
    values = dimension.decode(column(points))
    unit = dimension.encode(values)
    assert ((unit >= 0) & (unit <= 1)).all()
    assert all(dimension.low <= value <= dimension.high for value in values)
    # |log| <= 745, so 8 roundings of it move the value by a factor of 1 +- 8 * 745 * 2**-53
    assert np.allclose(dimension.decode(unit), values, rtol=1e-12, atol=5e-324)


@given(categoricals(), st.lists(st.integers(0, 5)))
def test_choices_are_one_hot_and_come_back_with_their_type(dimension, picks):
    values = [dimension.choices[i % len(dimension.choices)] for i in picks]
    unit = dimension.encode(values)
    assert unit.shape == (len(picks), len(dimension.choices))
    assert np.array_equal(unit.sum(axis=1), np.ones(len(picks)))
    assert set(np.unique(unit)) <= {0.0, 1.0}
    assert typed(dimension.decode(unit)) == typed(values)


@given(st.one_of(linear_floats(), log_floats(), stepped_floats(), ints(), log_ints()))
def test_the_ends_of_the_interval_are_the_bounds(dimension):
    assert dimension.decode(column([0.0, 1.0])) == [dimension.low, dimension.high]


@pytest.mark.parametrize(
    "dimension",
    [
        Int(-7, 4),
        Int(3, 30, step=3),
        Int(10**18, 10**18 + 5),
        Float(-0.3, 0.6, step=0.1),
        Float(1e6, 1e6 + 0.5, step=0.125),
    ],
)
def test_every_grid_value_owns_an_equal_bin_and_encodes_as_its_centre(dimension):
    n = round((dimension.high - dimension.low) / dimension.step) + 1
    values = dimension.decode(column((np.arange(8 * n) + 0.5) / (8 * n)))
    assert all(values.count(value) == 8 for value in values)
    assert len(set(values)) == n
    centres = (np.arange(n) + 0.5) / n
    assert dimension.encode(sorted(set(values)))[:, 0] == pytest.approx(centres, abs=1e-15)


def test_the_median_of_a_log_scale_is_the_geometric_mean():
    assert Float(1e-6, 1e4, log=True).decode(column([0.5])) == pytest.approx([0.1])


def test_a_log_float_is_uniform_in_its_logarithm():
    draws = Float(1e-3, 1e2, log=True).decode(np.random.default_rng(0).random((5000, 1)))
    exponents = stats.uniform(-3, 5)
    assert stats.kstest(np.log10(draws), exponents.cdf).pvalue > 0.01


def test_a_log_int_has_the_probability_of_its_bin_on_the_log_scale():
    draws = Int(1, 12, log=True).decode(np.random.default_rng(0).random((20_000, 1)))
    k = np.arange(1, 13)
    expected = np.log((k + 0.5) / (k - 0.5)) / np.log(12.5 / 0.5)
    observed = np.bincount(draws, minlength=13)[1:]
    assert stats.chisquare(observed, 20_000 * expected).pvalue > 0.01


def test_a_range_of_ten_to_the_eighteen_is_drawn_evenly_and_without_leaving_it():
    dimension = Int(0, 10**18)
    draws = dimension.decode(np.random.default_rng(0).random((5000, 1)))
    assert all(type(value) is int and 0 <= value <= 10**18 for value in draws)
    assert len(set(draws)) == 5000
    assert stats.kstest(np.array(draws) / 1e18, "uniform").pvalue > 0.01


@pytest.mark.parametrize("low", [10**18, -(10**18), 2**63 - 20])
def test_neighbours_beyond_two_to_the_53_stay_apart(low):
    dimension = Int(low, low + 10)
    values = list(range(low, low + 11))
    assert dimension.decode(dimension.encode(values)) == values


@pytest.mark.parametrize(
    "dimension",
    [
        Float(0.3, 0.3),
        Float(-0.0, 0.0),
        Float(2.0, 2.0, log=True),
        Float(1e300, math.nextafter(1e300, math.inf), log=True),  # logarithms coincide
        Float(0.5, 0.5, step=0.1),
        Int(5, 5),
        Int(5, 5, log=True),
        Int(10**18, 10**18, log=True),
        Categorical([None]),
    ],
)
def test_a_dimension_of_one_point_has_a_finite_encoding(dimension):
    value = dimension.choices[0] if isinstance(dimension, Categorical) else dimension.low
    unit = dimension.encode([value])
    assert unit.shape == (1, 1)
    assert 0 <= unit[0, 0] <= 1
    assert dimension.decode(unit) == [value]
    assert dimension.encode([]).shape == (0, 1)


def test_the_first_of_equally_large_columns_is_chosen():
    assert Categorical(["a", "b", "c"]).decode(np.array([[0.2, 0.9, 0.9]])) == ["b"]


# --- what is accepted -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Float("0", 1), "Float: low must be a finite number, got low='0'"),
        (lambda: Float(0, math.inf), "Float: high must be a finite number, got high=inf"),
        (lambda: Float(0, math.nan), "high must be a finite number"),
        (lambda: Float(0, 10**400), "high must be a finite number"),
        (lambda: Float(False, 1), "low must be a finite number, got low=False"),
        (lambda: Float(1, 0), "low must be <= high, got low=1.0, high=0.0"),
        (lambda: Float(-1e308, 1e308), "high - low must be finite"),
        (lambda: Float(0, 1, log=True), "low must be > 0 when log=True, got low=0.0"),
        (lambda: Float(-0.0, 1, log=True), "low must be > 0 when log=True"),
        (lambda: Float(1, 2, log=10), "log must be True or False, got log=10"),
        (lambda: Float(1, 2, log=True, step=1), "log and step exclude each other, got step=1"),
        (lambda: Float(0, 1, step=0.3), "step must divide high - low, got low=0.0, high=1.0"),
        (lambda: Float(0, 1, step=0), "step must be a number > 0, got step=0"),
        (lambda: Float(0, 1, step="0.1"), "step must be a number > 0, got step='0.1'"),
        (lambda: Float(0, 1, step=1e-30), "step must be >= .* to tell neighbours apart"),
        (lambda: Float(1e17, 1e17 + 64, step=1), "step must be >= 128.0 to tell neighbours"),
        (lambda: Float(0, 1, initial=2), r"Float: initial must be in \[0.0, 1.0\], got 2"),
        (lambda: Int(0.5, 3), "Int: low must be an integer, got low=0.5"),
        (lambda: Int(0, True), "Int: high must be an integer, got high=True"),
        (lambda: Int(2, 1), "Int: low must be <= high, got low=2, high=1"),
        (lambda: Int(0, 2**63), r"Int: bounds and high - low must be < 2\*\*63"),
        (lambda: Int(-(2**62), 2**62), r"Int: bounds and high - low must be < 2\*\*63"),
        (lambda: Int(0, 8, log=True), "low must be > 0 when log=True, got low=0"),
        (lambda: Int(1, 9, log=True, step=2), "log and step exclude each other, got step=2"),
        (lambda: Int(1, 8, step=2), "step must divide high - low, got low=1, high=8, step=2"),
        (lambda: Int(1, 8, step=0), "step must be an integer > 0, got step=0"),
        (lambda: Int(1, 8, step=3.5), "step must be an integer > 0, got step=3.5"),
        (lambda: Int(1, 8, initial=9), r"Int: initial must be in \[1, 8\], got 9"),
        (lambda: Categorical([]), "choices must name at least one choice"),
        (lambda: Categorical("ab"), "choices must be a sequence, got 'ab'"),
        (lambda: Categorical(5), "choices must be a sequence, got 5"),
        (lambda: Categorical({"a"}), "choices must be a sequence"),
        (lambda: Categorical([math.nan]), "choices must be JSON scalars .*, got nan"),
        (lambda: Categorical([(1, 2)]), r"choices must be JSON scalars .*, got \(1, 2\)"),
        (lambda: Categorical(["a", "a"]), "choices must differ"),
        (lambda: Categorical(["a"], initial="b"), r"initial must be one of \('a',\), got 'b'"),
        (lambda: Text(3), "Text: initial must be a text"),
        (lambda: Text("abc", max_chars=2), "Text: initial must have at most 2 characters, got 3"),
        (lambda: Text("abc", max_chars=0), "max_chars must be an integer >= 1, got 0"),
        (lambda: Text("abc", language=None), "Text: language must be a str, got None"),
    ],
)
def test_a_bad_dimension_is_refused_in_words(build, message):
    with pytest.raises(SpaceError, match=message):
        build()


@pytest.mark.parametrize(
    ("dimension", "value", "expected"),
    [
        (Float(0, 1), 1, 1.0),
        (Float(0, 1), np.float32(0.5), 0.5),
        (Float(0, 1), np.int64(1), 1.0),
        (Float(0, 1, step=0.1), 0.1 + 0.2, 0.3),
        (Float(0, 1, step=0.1), sum([0.1] * 7), 0.7),
        (Int(0, 8), 3.0, 3),
        (Int(0, 8), np.int8(3), 3),
        (Int(0, 8), np.float64(3), 3),
        (Int(0, 2**62), 2**53 + 1, 2**53 + 1),
        (Categorical([0.1, "a"]), np.float64(0.1), 0.1),
        (Categorical([0.1, "a"]), np.str_("a"), "a"),
        (Categorical([True, 1, 1.0]), np.bool_(True), True),
        (Categorical([True, 1, 1.0]), np.int64(1), 1),
        (Categorical([True, 1, 1.0]), 1.0, 1.0),
        (Text("a"), "b", "b"),
    ],
)
def test_values_become_plain_python_ones(dimension, value, expected):
    assert typed([dimension.normalize(value)]) == typed([expected])


@pytest.mark.parametrize(
    ("dimension", "value", "message"),
    [
        (Float(0, 1), "0.5", "must be a finite number, got '0.5'"),
        (Float(0, 1), True, "must be a finite number, got True"),
        (Float(0, 1), math.nan, "must be a finite number, got nan"),
        (Float(0, 1), [0.5], "must be a finite number"),
        (Float(0, 1), 10**400, "must be a finite number"),
        (Float(0, 1), math.nextafter(1, 2), r"must be in \[0.0, 1.0\]"),
        (Float(0, 0.1), np.float32(0.1), r"must be in \[0.0, 0.1\]"),  # it is above 0.1
        (Float(0, 1, step=0.1), 0.3001, r"must be 0.0 \+ k \* 0.1, got 0.3001"),
        (Float(1e6, 2e6, step=1e-4), 1000000.00005, r"must be 1000000.0 \+ k \* 0.0001"),
        (Int(0, 8), 2.5, "must be an integer, got 2.5"),
        (Int(0, 8), "3", "must be an integer, got '3'"),
        (Int(0, 8), False, "must be an integer, got False"),
        (Int(0, 8), 9, r"must be in \[0, 8\], got 9"),
        (Int(0, 8, step=4), 3, r"must be 0 \+ k \* 4, got 3"),
        (Categorical([1, "a"]), True, r"must be one of \(1, 'a'\), got True"),
        (Categorical([1, "a"]), 1.0, "must be one of"),
        (Categorical([1, "a"]), [1], r"must be one of .* got \[1\]"),
        (Categorical([1, "a"]), None, "must be one of"),
        (Text("a", max_chars=3), "abcd", "must have at most 3 characters, got 4"),
        (Text("a"), b"a", "must be a text"),
    ],
)
def test_a_value_outside_is_refused_in_words(dimension, value, message):
    with pytest.raises(SpaceError, match=message):
        dimension.normalize(value)


def test_bounds_steps_and_initials_are_kept_as_plain_numbers():
    real = Float(np.float32(0), np.int64(2), step=np.float64(0.5), initial=np.float64(1))
    assert typed([real.low, real.high, real.step, real.initial]) == typed([0.0, 2.0, 0.5, 1.0])
    whole = Int(np.int8(0), np.int64(100), step=np.int32(5), initial=10.0)
    assert typed([whole.low, whole.high, whole.step, whole.initial]) == typed([0, 100, 5, 10])
    choice = Categorical(np.array([1, 2]), initial=np.int64(2))
    assert typed([*choice.choices, choice.initial]) == typed([1, 2, 2])


def test_numpy_bounds_do_not_overflow():
    dimension = Int(np.int8(-100), np.int8(100))
    assert dimension.decode(column([0.0, 0.5, 1.0])) == [-100, 0, 100]


def test_members_of_an_enumeration_are_no_json_scalars():
    class Colour(StrEnum):
        RED = "red"

    with pytest.raises(SpaceError, match="choices must be JSON scalars"):
        Categorical([Colour.RED])


def test_choices_of_different_type_make_different_dimensions():
    assert Categorical([1, 2]) != Categorical([True, 2])
    assert Categorical([1, 2]) == Categorical((1, 2))
    assert Categorical([1, 2], initial=1) != Categorical([1, 2])
    assert hash(Categorical([1, 2])) == hash(Categorical((1, 2)))
    assert Categorical([1]) != 1


def test_dimensions_cannot_be_changed():
    with pytest.raises(AttributeError):
        Float(0, 1).low = 2.0
    with pytest.raises(AttributeError):
        Categorical(["a", "b"]).choices = ()


def test_none_can_be_the_choice_in_use_today():
    today = Categorical([None, 2, 4], initial=None)
    unset = Categorical([None, 2, 4])
    assert today.has_initial
    assert not unset.has_initial
    assert today != unset
    space = Space({"depth": today, "n": Int(2, 40, initial=10)})
    assert space.initial == {"depth": None, "n": 10}
    assert Space.from_json(space.to_json()).initial == space.initial
    assert Space({"depth": unset, "n": Int(2, 40, initial=10)}).initial is None
    assert not Categorical(["a", "b"], initial=None).has_initial

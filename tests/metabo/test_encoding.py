"""The coordinates of the model: there and back, rounding, groups, neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bbopt.metabo.encoding import Encoding
from bbopt.space import Categorical, Float, Int, Space
from bbopt.testing import SPACES

NUMERIC = sorted(name for name, space in SPACES.items() if "text" not in space.kinds)
# Doubles in [0, 1] tell no more than this many integers apart.
LARGEST = 2**52

each_space = pytest.mark.parametrize("name", NUMERIC)
seeds = st.integers(0, 10_000)
few = settings(max_examples=15)


def samples(space, seed, n=8):
    return space.sample(np.random.default_rng(seed), n)


def is_continuous(dimension):
    return isinstance(dimension, Float) and dimension.step is None


def is_fine(dimension):
    """Whether the grid of an integer is finer than doubles in [0, 1]."""
    return isinstance(dimension, Int) and dimension.high - dimension.low > LARGEST


@each_space
@given(seed=seeds)
@few
def test_params_come_back_from_their_point(name, seed):
    space = SPACES[name]
    encoding = Encoding(space)
    for params in samples(space, seed):
        back = encoding.decode(encoding.encode(params)[0])
        for key, dimension in space.items():
            if is_continuous(dimension):
                scale = abs(params[key]) if dimension.log else dimension.high - dimension.low
                assert abs(back[key] - params[key]) <= 1e-12 * scale
            elif is_fine(dimension):
                assert abs(back[key] - params[key]) <= (dimension.high - dimension.low) // LARGEST
            else:
                assert type(back[key]) is type(params[key])
                assert back[key] == params[key]


@each_space
def test_columns_that_cannot_vary_are_left_out_and_filled_in_again(name):
    space = SPACES[name]
    encoding = Encoding(space)
    free = [
        dimension
        for dimension in space.values()
        if (dimension.width > 1 if isinstance(dimension, Categorical) else not _fixed(dimension))
    ]
    assert encoding.d == sum(dimension.width for dimension in free)
    assert [field.dimension for field in encoding.fields] == free
    columns = [i for field in encoding.fields for i in range(encoding.d)[field.columns]]
    assert columns == list(range(encoding.d))
    params = samples(space, 0, 1)[0]
    back = encoding.decode(encoding.encode(params)[0])
    for key, dimension in space.items():
        if dimension not in free:
            assert back[key] == params[key]


def _fixed(dimension):
    return dimension.low == dimension.high


def test_a_space_of_one_point_has_no_coordinates():
    space = SPACES["one point"]
    encoding = Encoding(space)
    x = encoding.encode(samples(space, 0, 3))
    assert x.shape == (3, 0)
    assert encoding.decode(x[0]) == {"x": 0.3, "n": 7, "c": "only"}
    assert encoding.from_coordinates(np.zeros((2, 0))).shape == (2, 0)
    assert encoding.neighbours(x[0]).shape == (0, 0)


@each_space
@given(seed=seeds)
@few
def test_rounding_is_decoding_and_encoding_again_but_keeps_continuous_columns(name, seed):
    space = SPACES[name]
    encoding = Encoding(space)
    x = np.random.default_rng(seed).random((8, encoding.d))
    rounded = encoding.rounded(x)
    again = encoding.encode([encoding.decode(row) for row in x])
    np.testing.assert_allclose(rounded, again, rtol=0, atol=1e-12)
    discrete = ~encoding.is_continuous
    assert np.array_equal(rounded[:, discrete], again[:, discrete])
    assert np.array_equal(rounded[:, ~discrete], x[:, ~discrete])
    assert np.array_equal(encoding.rounded(rounded), rounded)


@given(seed=seeds)
@few
def test_points_with_equal_params_are_one_point_after_rounding(seed):
    space = SPACES["mixed"]
    encoding = Encoding(space)
    x = np.random.default_rng(seed).random((200, encoding.d))
    x[:, encoding.is_continuous] = 0.5
    rounded = encoding.rounded(x)
    keys = [space.key(encoding.decode(row)) for row in x]
    assert len(set(keys)) == len({row.tobytes() for row in rounded})


def test_the_columns_of_a_category_share_a_lengthscale():
    mixed = Encoding(SPACES["mixed"])
    assert mixed.groups == (0, 1, 2, 3, 4, 4, 4)
    assert mixed.is_continuous.tolist() == [True, True, False, False, False, False, False]
    assert Encoding(SPACES["categorical"]).groups == (0, 0, 0, 0, 0, 1, 1)


@pytest.mark.parametrize("name", ["float", "int", "float step", "one free"])
def test_without_categories_each_coordinate_has_its_own(name):
    assert Encoding(SPACES[name]).groups is None


def test_every_field_of_a_group_is_named_in_order_though_fixed_columns_are_gone():
    space = Space({"c": Categorical(["a", "b"]), "fixed": Int(3, 3), "x": Float(0, 1)})
    encoding = Encoding(space)
    assert encoding.groups == (0, 0, 1)
    assert encoding.decode(np.array([0.0, 1.0, 0.25])) == {"c": "b", "fixed": 3, "x": 0.25}


@each_space
@given(seed=seeds)
@few
def test_points_from_uniform_numbers_are_points_of_the_space(name, seed):
    space = SPACES[name]
    encoding = Encoding(space)
    u = np.random.default_rng(seed).random((16, len(encoding.fields)))
    u[0], u[1] = 0.0, np.nextafter(1.0, 0.0)
    x = encoding.from_coordinates(u)
    assert x.shape == (16, encoding.d)
    assert np.array_equal(encoding.rounded(x), x)
    for row in x:
        space.validate(encoding.decode(row))


def test_uniform_numbers_give_every_choice_its_share():
    encoding = Encoding(SPACES["mixed"])
    u = (np.arange(1200) + 0.5)[:, None].repeat(5, axis=1) / 1200
    x = encoding.from_coordinates(u)
    assert x[:, 4:].sum(axis=0).tolist() == [400, 400, 400]
    depths = [encoding.decode(row)["depth"] for row in x]
    assert [depths.count(depth) for depth in range(1, 13)] == [100] * 12


@each_space
@given(seed=seeds)
@few
def test_neighbours_differ_in_exactly_one_discrete_parameter(name, seed):
    space = SPACES[name]
    encoding = Encoding(space)
    x = encoding.encode(samples(space, seed, 1))[0]
    around = encoding.neighbours(x)
    assert around.shape[1] == encoding.d
    assert np.array_equal(encoding.rounded(around), around)
    assert len({row.tobytes() for row in around}) == len(around)
    for row in around:
        space.validate(encoding.decode(row))
        changed = [
            field
            for field in encoding.fields
            if not np.array_equal(row[field.columns], x[field.columns])
        ]
        assert len(changed) == 1
        assert not changed[0].is_continuous


@each_space
def test_every_choice_and_both_next_numbers_are_neighbours(name):
    space = SPACES[name]
    encoding = Encoding(space)
    here = samples(space, 3, 1)[0]
    around = [encoding.decode(row) for row in encoding.neighbours(encoding.encode(here)[0])]
    for field in encoding.fields:
        key = next(k for k, dimension in space.items() if dimension is field.dimension)
        values = [(type(p[key]), p[key]) for p in around if p[key] is not here[key]]
        if field.is_categorical:
            for choice in field.dimension.choices:
                assert choice is here[key] or (type(choice), choice) in values
        elif not field.is_continuous and not is_fine(field.dimension):
            step = field.dimension.step or 1
            for value in (here[key] - step, here[key] + step):
                inside = field.dimension.low <= value <= field.dimension.high
                assert not inside or any(abs(v - value) < 1e-9 for _, v in values)


def test_a_bound_that_a_sum_passes_by_rounding_is_a_neighbour():
    assert 0.2 + 0.1 > 0.3
    encoding = Encoding(Space({"x": Float(0.1, 0.3, step=0.1)}))
    around = encoding.neighbours(encoding.encode({"x": 0.2})[0])
    assert [encoding.decode(row)["x"] for row in around] == [0.1, 0.3]

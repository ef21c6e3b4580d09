"""The space as a whole: order, encoding, validation, JSON."""

import json
import math
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bbopt import Categorical, Float, Int, Space, Text
from bbopt.errors import SpaceError

MIXED = Space(
    {
        "lr": Float(1e-5, 1.0, log=True, initial=0.01),
        "momentum": Float(0.0, 0.9, step=0.1),
        "depth": Int(1, 12),
        "units": Int(8, 1024, log=True),
        "kind": Categorical([1, True, 1.0, None, "1"]),
        "fixed": Int(3, 3),
        "huge": Int(-(10**17), 10**17),
    }
)

dimensions = st.one_of(
    st.tuples(st.floats(-1e3, 1e3), st.floats(0, 1e3)).map(lambda t: Float(t[0], t[0] + t[1])),
    st.tuples(st.floats(1e-9, 1), st.floats(1, 1e9)).map(lambda t: Float(*t, log=True)),
    st.integers(0, 20).map(lambda n: Float(0, n / 4, step=0.25, initial=0)),
    st.tuples(st.integers(-50, 50), st.integers(0, 99)).map(lambda t: Int(t[0], t[0] + t[1])),
    st.integers(1, 10**9).map(lambda n: Int(1, n, log=True, initial=n)),
    st.integers(1, 9).map(lambda n: Int(0, 7 * n, step=n)),
    st.sampled_from([("a", "b"), (1, True, 1.0), (None,), (None, "a", 2.5)]).map(Categorical),
)
numeric_spaces = st.dictionaries(st.text(min_size=1), dimensions, min_size=1, max_size=5).map(Space)
texts = st.builds(Text, st.text(max_size=9), description=st.text(), max_chars=st.just(9))
spaces = st.dictionaries(
    st.text(min_size=1), st.one_of(dimensions, texts), min_size=1, max_size=5
).map(Space)


def typed(params):
    return [(name, type(value), value) for name, value in params.items()]


# --- encoding -------------------------------------------------------------------------


@given(numeric_spaces, st.integers(0, 2**32), st.integers(0, 5))
def test_encoding_and_decoding_are_inverse_on_params(space, seed, n):
    params = space.sample(np.random.default_rng(seed), n)
    x = space.to_unit(params)
    assert x.shape == (n, space.width)
    assert x.dtype == np.float64
    assert ((x >= 0) & (x <= 1)).all()
    back = space.from_unit(x)
    assert len(back) == n
    for one, other in zip(params, back, strict=True):
        for name, dimension in space.items():
            if isinstance(dimension, Float) and dimension.step is None:
                # 8 roundings: of the value, or of its logarithm, which is at most 21
                largest = max(abs(dimension.low), abs(dimension.high))
                tolerance = 1e-13 * one[name] if dimension.log else 8 * math.ulp(largest)
                assert other[name] == pytest.approx(one[name], rel=0, abs=tolerance)
            else:
                assert typed({name: other[name]}) == typed({name: one[name]})


@given(numeric_spaces, st.data())
def test_every_point_of_the_cube_decodes_to_valid_params(space, data):
    point = data.draw(st.lists(st.floats(0, 1), min_size=space.width, max_size=space.width))
    (params,) = space.from_unit(point)
    assert typed(space.validate(params)) == typed(params)
    assert list(params) == list(space)


def test_columns_are_in_the_order_of_the_space_whatever_the_order_of_the_params():
    space = Space({"b": Float(0, 1), "c": Categorical(["u", "v", "w"]), "a": Int(0, 9)})
    x = space.to_unit({"a": 0, "c": "w", "b": 0.25})
    assert x.tolist() == [[0.25, 0.0, 0.0, 1.0, 0.05]]
    assert space.width == 5


def test_a_single_point_or_a_list_of_points_can_be_given():
    space = Space({"a": Float(0, 1), "b": Float(0, 1)})
    assert space.to_unit({"a": 0.1, "b": 0.2}).tolist() == [[0.1, 0.2]]
    assert space.to_unit(iter([{"a": 0.1, "b": 0.2}] * 2)).shape == (2, 2)
    assert space.to_unit([]).shape == (0, 2)
    assert space.from_unit([0.1, 0.2]) == [{"a": 0.1, "b": 0.2}]
    assert space.from_unit(np.empty((0, 2))) == []


def test_values_outside_the_cube_are_clipped():
    assert Space({"a": Float(0, 2)}).from_unit([[-0.5], [np.inf]]) == [{"a": 0.0}, {"a": 2.0}]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 3)), r"x must have shape \(n, 2\), got \(2, 3\)"),
        (np.zeros((1, 2, 2)), r"x must have shape \(n, 2\)"),
        ([], r"x must have shape \(n, 2\)"),
        ([[0.5, np.nan]], "x must not hold NaN"),
    ],
)
def test_points_of_the_wrong_shape_are_refused(x, message):
    with pytest.raises(SpaceError, match=message):
        Space({"a": Float(0, 1), "b": Float(0, 1)}).from_unit(x)


def test_a_text_has_no_encoding():
    space = Space({"a": Float(0, 1), "prompt": Text("Say yes.")})
    for call in (
        lambda: space.to_unit({"a": 0.5, "prompt": "Say no."}),
        lambda: space.from_unit([[0.5]]),
        lambda: space.columns_to_unit({"a": [0.5], "prompt": ["Say no."]}),
    ):
        with pytest.raises(SpaceError, match="parameter 'prompt' is a text and has no numeric"):
            call()


def test_columns_encode_as_the_rows_do():
    rows = MIXED.sample(np.random.default_rng(3), 50)
    columns = {name: [row[name] for row in rows] for name in MIXED}
    assert np.array_equal(MIXED.columns_to_unit(columns), MIXED.to_unit(rows))


# --- drawing --------------------------------------------------------------------------


@pytest.mark.parametrize("draw", ["sample", "from_unit"])
def test_uniform_points_decode_to_uniform_draws(draw):
    space = Space({"i": Int(0, 9), "s": Float(0, 1, step=0.25), "c": Categorical([1, True, "1"])})
    rng = np.random.default_rng(12)
    n = 15_000
    if draw == "sample":
        params = space.sample(rng, n)
    else:
        params = space.from_unit(rng.random((n, space.width)))
    for name, values in (
        ("i", range(10)),
        ("s", [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("c", [1, True, "1"]),
    ):
        drawn = Counter((type(p[name]), p[name]) for p in params)
        observed = [drawn[type(value), value] for value in values]
        assert sum(observed) == n
        assert stats.chisquare(observed).pvalue > 0.01


def test_sampling_depends_on_the_generator_alone():
    one, other = (MIXED.sample(np.random.default_rng(5), 4) for _ in range(2))
    assert [typed(p) for p in one] == [typed(p) for p in other]
    assert one != MIXED.sample(np.random.default_rng(6), 4)


def test_texts_are_sampled_as_their_initial():
    space = Space({"prompt": Text("Say yes."), "a": Float(0, 1)})
    assert {p["prompt"] for p in space.sample(np.random.default_rng(0), 3)} == {"Say yes."}


# --- params ---------------------------------------------------------------------------


def test_valid_params_are_plain_and_in_the_order_of_the_space():
    space = Space({"a": Float(0, 1), "b": Int(0, 9), "c": Categorical([True, 1])})
    params = space.validate({"c": np.bool_(True), "b": np.float64(2), "a": 1})
    assert typed(params) == [("a", float, 1.0), ("b", int, 2), ("c", bool, True)]


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"a": 0.5}, "parameter 'b' is missing, got 'a'"),
        ({}, "parameter 'a' is missing, got none"),
        ({"a": 0.5, "b": 1, "z": 0}, "unknown parameter 'z': allowed are a, b"),
        ({"a": 0.5, "b": 10}, r"parameter 'b' must be in \[0, 9\], got 10"),
        ({"a": None, "b": 1}, "parameter 'a' must be a finite number, got None"),
        ({"a": {}, "b": 1}, "parameter 'a' must be a finite number, got {}"),
        ([0.5, 1], r"params must map names to values, got \[0.5, 1\]"),
        ("a", "params must map names to values, got 'a'"),
    ],
)
def test_bad_params_are_refused_by_name(params, message):
    space = Space({"a": Float(0, 1), "b": Int(0, 9)})
    with pytest.raises(SpaceError, match=message):
        space.validate(params)
    with pytest.raises(SpaceError, match=message):
        space.to_unit([params])


def test_the_key_of_a_point_tells_types_of_choices_apart_and_ignores_order():
    space = Space({"a": Float(0, 1), "c": Categorical([1, True, 1.0])})
    keys = {space.key({"c": c, "a": 0.5}) for c in (1, True, 1.0)}
    assert len(keys) == 3
    assert space.key({"a": 0.5, "c": 1}) == space.key({"c": 1, "a": 0.5})


def test_initial_is_the_setting_where_every_dimension_has_one():
    space = {"a": Float(0, 1, initial=1), "b": Text("x"), "c": Categorical([0, 1], initial=0)}
    assert Space(space).initial == {"a": 1.0, "b": "x", "c": 0}
    assert Space({**space, "d": Int(0, 1)}).initial is None


# --- the mapping ----------------------------------------------------------------------


def test_a_space_is_an_ordered_mapping():
    assert list(MIXED) == ["lr", "momentum", "depth", "units", "kind", "fixed", "huge"]
    assert MIXED["depth"] == Int(1, 12)
    assert MIXED.kinds == {"float", "int", "categorical"}
    a, b = Float(0, 1), Int(0, 1)
    assert Space({"a": a, "b": b}) == Space({"a": a, "b": b})
    assert Space({"a": a, "b": b}) != Space({"b": b, "a": a})
    assert Space({"a": a}) != {"a": a}
    assert len({Space({"a": a}), Space({"a": a})}) == 1
    assert eval(repr(MIXED)) == MIXED


def test_changing_the_given_mapping_changes_nothing():
    given_dimensions = {"a": Float(0, 1)}
    space = Space(given_dimensions)
    given_dimensions["b"] = Int(0, 1)
    assert list(space) == ["a"]


@pytest.mark.parametrize(
    ("dimensions", "message"),
    [
        ({}, "space must map at least one name to a dimension"),
        ([Float(0, 1)], "space must map at least one name to a dimension"),
        ({1: Float(0, 1)}, "names must be non-empty strings, got 1"),
        ({"": Float(0, 1)}, "names must be non-empty strings, got ''"),
        ({"a": (0, 1)}, r"parameter 'a' must be Float, Int, Categorical or Text, got \(0, 1\)"),
        ({"a": Float}, "parameter 'a' must be Float, Int, Categorical or Text"),
    ],
)
def test_a_bad_space_is_refused_in_words(dimensions, message):
    with pytest.raises(SpaceError, match=message):
        Space(dimensions)


# --- JSON and pickle ------------------------------------------------------------------


@given(spaces)
def test_a_space_survives_json_and_pickle(space):
    data = json.loads(json.dumps(space.to_json(), allow_nan=False))
    assert data == space.to_json()
    again = Space.from_json(data)
    assert again == space
    assert list(again) == list(space)
    assert pickle.loads(pickle.dumps(space)) == space


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([], "space must map at least one name"),
        ([{"kind": "float", "low": 0, "high": 1}], "names must be non-empty strings, got None"),
        ([{"name": "a", "kind": "vector"}], "'a': kind must be one of float, int, .* got 'vector'"),
        ([{"name": "a", "kind": "float", "low": 0}], "parameter 'a': .*'high'"),
        ([{"name": "a", "kind": "int", "low": 0, "high": 1, "q": 2}], "parameter 'a': .*'q'"),
        ([{"name": "a", "kind": "int", "low": 2, "high": 1}], "'a': Int: low must be <= high"),
        ([{"name": "a", "kind": "text", "initial": ""}] * 2, "parameter 'a' is given twice"),
    ],
)
def test_a_bad_description_is_refused_by_name(entries, message):
    with pytest.raises(SpaceError, match=message):
        Space.from_json(entries)

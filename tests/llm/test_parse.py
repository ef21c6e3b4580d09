"""JSON out of what models write."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbopt.errors import UsageError
from bbopt.llm.parse import MOST_STARTS, check_schema, conform, is_closed, read_json

POINT = {
    "type": "object",
    "properties": {"x": {"type": "number", "minimum": 0, "maximum": 10}},
    "required": ["x"],
}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("ab_", max_size=4), inner),
    max_leaves=12,
)


@pytest.mark.parametrize(
    "text",
    [
        '{"x": 3}',
        '  {"x": 3}\n',
        'Sure, here it is:\n```json\n{"x": 3}\n```\nIs {that} all right?',
        '```\n{"x": 3}\n```',
        'The answer is {"x": 3}.',
        '{"x": 3,}',
        'I take {"x": 3,\n} because [it is better].',
        '<think>{"x": 99} would be {too much}</think>{"x": 3}',
        'First {"x": 11}, no: {"x": 3}',
        '{"x": 3.0, "why": "a line\nbreak"}',
        '[] {"x": 3}',
    ],
)
def test_the_value_is_found_whatever_stands_round_it(text: str) -> None:
    assert read_json(text, POINT)["x"] == 3


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "there is no JSON value"),
        ("no idea", "there is no JSON value"),
        ('{"x": 3', "there is no JSON value"),
        ("[1, 2]", "the value must be an object"),
        ('{"y": 3}', "the value must have the property 'x'"),
        ('{"x": "3"}', "x must be a number"),
        ('{"x": true}', "x must be a number"),
        ('{"x": 11}', r"x must be in \[0, 10\]"),
        ('{"x": 1e999}', "x must be a finite number"),
        ('{"x": NaN}', "x must be a finite number"),
        ('{"x": -Infinity}', "x must be a finite number"),
        ('{"x": 1' + "0" * 400 + "}", "x must be a finite number"),
        ('{"x": 1, "other": {"deep": [1, 1e999]}}', r"other.deep must be a finite number"),
        ('{"x": 1' + "0" * 5000 + "}", "there is no JSON value"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_json(text, POINT)


@pytest.mark.parametrize("bad", ["[" * 10**6, '{"x":' * 10**5, "{" * 10**6, '["\\"' * 10**5])
def test_a_megabyte_of_brackets_is_no_value_and_no_crash(bad: str) -> None:
    with pytest.raises(ValueError, match=r"no JSON value|deep"):
        read_json(bad, POINT)


def test_deep_nesting_inside_a_value_is_no_crash() -> None:
    for depth in (100, 500, 900, 5000):
        text = '{"x": 1, "y": ' + "[" * depth + "]" * depth + "}"
        try:
            assert read_json(text, POINT)["x"] == 1
        except ValueError as error:
            assert "nested too deeply" in str(error) or "no JSON value" in str(error)  # noqa: PT017


def test_only_the_first_brackets_are_tried() -> None:
    text = "{" * MOST_STARTS + ' {"x": 3} '
    with pytest.raises(ValueError, match="no JSON value"):
        read_json(text, POINT)


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "string", "maxLength": 3}, "abc", "abcd"),
        ({"type": "string", "minLength": 1}, "a", ""),
        ({"type": "integer", "minimum": 1}, 2, 0),
        ({"type": "integer"}, 2, 2.5),
        ({"type": "number"}, 2, "2"),
        ({"type": "boolean"}, True, 1),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 2}, [1, 2], [1, 2, 3]),
        ({"type": "array", "items": {"type": "integer"}}, [1], [1, "a"]),
        ({"type": "array", "minItems": 1}, [1], []),
        ({"enum": ["a", 1]}, "a", "b"),
        ({"enum": [1]}, 1, True),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": False}, {}, {"b": 1}),
    ],
)
def test_each_keyword_is_checked(schema: dict, good: object, bad: object) -> None:
    assert conform(good, schema) == good
    with pytest.raises(ValueError, match="must"):
        conform(bad, schema)


def test_a_whole_float_is_an_integer_where_one_is_wanted() -> None:
    value = conform(3.0, {"type": "integer"})
    assert (value, type(value)) == (3, int)


@given(JSON)
def test_every_finite_value_is_read_back_as_it_was_written(value: object) -> None:
    inside = {"type": "object", "properties": {"v": {}}, "required": ["v"]}
    fenced = f"Well:\n```json\n{json.dumps({'v': value}, indent=1)}\n```"
    for text in (json.dumps({"v": value}), fenced):
        assert read_json(text, inside) == {"v": value}


@given(st.text(max_size=60) | st.text('{}[]",:1e9 \n`', max_size=60))
def test_no_text_raises_anything_but_value_error(text: str) -> None:
    try:
        value = read_json(text, {"type": "object"})
    except ValueError:
        return
    assert isinstance(value, dict)


def test_lone_surrogates_do_not_get_through() -> None:
    value = read_json(r'{"x": "\ud800", "\udc00": ["\ud83d\ude00"]}', {"type": "object"})
    assert value == {"x": "\ufffd", "\ufffd": ["\U0001f600"]}
    json.dumps(value, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "null"},
        {"type": "string", "pattern": "a+"},
        {"anyOf": [{}]},
        {"type": "object", "properties": {"a": {"type": "string", "format": "date"}}},
        {"type": "array", "items": {"$ref": "#"}},
        {"type": "object", "additionalProperties": {"type": "string"}},
        "object",
    ],
)
def test_a_schema_that_would_not_be_checked_is_refused(schema: object) -> None:
    with pytest.raises(UsageError, match="schema"):
        check_schema(schema)  # type: ignore[arg-type]


def test_a_schema_is_closed_where_nothing_is_optional() -> None:
    closed = {**POINT, "additionalProperties": False}
    assert is_closed(closed)
    assert is_closed({"type": "array", "items": closed})
    assert not is_closed(POINT)
    assert not is_closed({"type": "array", "items": POINT})
    assert not is_closed({**closed, "required": []})


def test_infinity_is_refused_without_any_schema() -> None:
    with pytest.raises(ValueError, match="finite"):
        conform([{"a": math.inf}], {})

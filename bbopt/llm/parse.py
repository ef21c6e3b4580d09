"""From what a model wrote to a JSON value that can be trusted.

Models put fences and prose round their JSON, break lines inside strings and leave a comma
before a bracket; all that is read. A schema-constrained decoder still lets ``1e999`` through,
which parses to infinity: numbers are checked here, after parsing.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from bbopt.errors import UsageError
from bbopt.trial import LARGEST

MOST_STARTS = 64
"""How many brackets in a text are tried as the start of the value."""

_KEYWORDS = {
    "object": {"properties", "required", "additionalProperties"},
    "array": {"items", "minItems", "maxItems"},
    "string": {"minLength", "maxLength"},
    "number": {"minimum", "maximum"},
    "integer": {"minimum", "maximum"},
    "boolean": set(),
}
_ALWAYS = {"type", "enum", "title", "description"}

_THOUGHT = re.compile(r"\A.*</think>", re.DOTALL)
_FENCED = re.compile(r"```[\w-]*\n(.*?)```", re.DOTALL)
_LAST_COMMA = re.compile(r",(\s*[}\]])")
_SURROGATES = re.compile("[\ud800-\udfff]")
_DECODER = json.JSONDecoder(strict=False)  # lets line breaks stand inside strings


def read_json(text: str, schema: Mapping[str, Any]) -> Any:
    r"""The first JSON value in a text that meets a schema.

    Parameters
    ----------
    text : str
        What a model wrote, prose and fences included.
    schema : mapping
        In the subset that :func:`check_schema` allows.

    Raises
    ------
    ValueError
        If there is none; the message says what is wrong with the first value that there is,
        in words that help a model to mend it.

    Examples
    --------
    >>> read_json('Sure!\n```json\n{"x": 3,}\n```', {"type": "object"})
    {'x': 3}
    """
    problem = ""
    for value in _values(_THOUGHT.sub("", text)):
        try:
            return conform(value, schema)
        except ValueError as error:
            problem = problem or str(error)
        except RecursionError:
            problem = problem or "it is nested too deeply"
    raise ValueError(problem or "there is no JSON value in it")


def conform(value: Any, schema: Mapping[str, Any], name: str = "the value") -> Any:
    """The value as the schema has it (3.0 is the integer 3).

    Raises
    ------
    ValueError
        If it does not meet the schema, or holds a number that is not finite.
    """
    kind = schema.get("type")
    if "enum" in schema and not any(_same(value, item) for item in schema["enum"]):
        raise ValueError(f"{name} must be one of {json.dumps(schema['enum'])}")
    if kind == "object":
        return _conform_object(value, schema, name)
    if kind == "array":
        if not isinstance(value, list):
            raise ValueError(f"{name} must be an array")
        _check_size(len(value), schema, "Items", f"{name} must have", "items")
        items = schema.get("items", {})
        return [conform(item, items, f"{name}[{i}]") for i, item in enumerate(value)]
    if kind == "string":
        if not isinstance(value, str):
            raise ValueError(f"{name} must be a string")
        _check_size(len(value), schema, "Length", f"{name} must have", "characters")
        return without_surrogates(value)
    if kind in ("number", "integer"):
        return _conform_number(value, schema, name)
    if kind == "boolean" and not isinstance(value, bool):
        raise ValueError(f"{name} must be true or false")
    return _finite(value, name)


def check_schema(schema: Mapping[str, Any]) -> None:
    """Refuse a schema that says something that :func:`conform` would not check.

    Allowed are the types object, array, string, number, integer and boolean with
    ``properties``, ``required``, ``additionalProperties`` (true or false), ``items``,
    ``minItems``, ``maxItems``, ``minLength``, ``maxLength``, ``minimum``, ``maximum``,
    ``enum``, ``title`` and ``description``.

    Raises
    ------
    UsageError
        If there is anything else in it.
    """
    if not isinstance(schema, Mapping):
        raise UsageError(f"schema must be a mapping, got {schema!r}")
    kind = schema.get("type")
    if kind is not None and kind not in _KEYWORDS:
        raise UsageError(f"schema: type must be one of {', '.join(_KEYWORDS)}, got {kind!r}")
    allowed = _ALWAYS | _KEYWORDS.get(kind or "", set())
    for keyword in schema:
        if keyword not in allowed:
            raise UsageError(
                f"schema: {keyword!r} is not checked for type {kind!r}; "
                f"allowed are {', '.join(sorted(allowed))}"
            )
    if not isinstance(schema.get("additionalProperties", True), bool):
        raise UsageError("schema: additionalProperties must be true or false")
    for part in _parts(schema):
        check_schema(part)


def is_closed(schema: Mapping[str, Any]) -> bool:
    """Whether each object has exactly its properties, as strict decoders demand it."""
    if schema.get("type") == "object":
        exact = set(schema.get("properties", {})) == set(schema.get("required", ()))
        if not exact or schema.get("additionalProperties", True):
            return False
    return all(is_closed(part) for part in _parts(schema))


def without_surrogates(text: str) -> str:
    """The text with lone surrogates, which no file takes, replaced by U+FFFD."""
    return _SURROGATES.sub("\ufffd", text)


def _parts(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The schemas inside a schema."""
    items = [schema["items"]] if "items" in schema else []
    return [*schema.get("properties", {}).values(), *items]


def _values(text: str) -> Iterator[Any]:
    """The JSON values in a text: the whole, what is fenced, what begins at a bracket."""
    for part in (text, *_FENCED.findall(text)):
        for candidate in (part, _LAST_COMMA.sub(r"\1", part)):
            yield from _decoded(candidate.strip(), whole=True)
    for part in (text, _LAST_COMMA.sub(r"\1", text)):
        starts = re.finditer(r"[{\[]", part)
        for _, start in zip(range(MOST_STARTS), starts, strict=False):
            yield from _decoded(part, start.start())


def _decoded(text: str, start: int = 0, *, whole: bool = False) -> Iterator[Any]:
    """The value that begins at ``start``, if one does (and ends the text)."""
    try:
        value, end = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):  # no JSON, or thousands of digits or brackets
        return
    if not whole or end == len(text):
        yield value


def _conform_object(value: Any, schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} must be an object")
    properties = schema.get("properties", {})
    for key in schema.get("required", ()):
        if key not in value:
            raise ValueError(f"{name} must have the property {key!r}")
    if not schema.get("additionalProperties", True):
        for key in value:
            if key not in properties:
                raise ValueError(f"{name} must not have the property {key[:80]!r}")
    inside = "" if name == "the value" else f"{name}."
    return {
        without_surrogates(key): conform(item, properties.get(key, {}), f"{inside}{key[:80]}")
        for key, item in value.items()
    }


def _conform_number(value: Any, schema: Mapping[str, Any], name: str) -> float:
    kind = schema["type"]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} must be {'an integer' if kind == 'integer' else 'a number'}")
    number: float = _finite(value, name)
    if kind == "integer":
        if int(number) != number:
            raise ValueError(f"{name} must be an integer")
        number = int(number)
    low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    if not low <= number <= high:
        raise ValueError(f"{name} must be in [{low}, {high}]")
    return number


def _check_size(size: int, schema: Mapping[str, Any], of: str, name: str, unit: str) -> None:
    low, high = schema.get(f"min{of}", 0), schema.get(f"max{of}", math.inf)
    if size < low:
        raise ValueError(f"{name} at least {low} {unit}, it has {size}")
    if size > high:
        raise ValueError(f"{name} at most {high} {unit}, it has {size}")


def _finite(value: Any, name: str) -> Any:
    """The value, of any shape, if every number in it is finite; its texts without surrogates."""
    if isinstance(value, dict):
        return {without_surrogates(k): _finite(v, f"{name}.{k[:80]}") for k, v in value.items()}
    if isinstance(value, list):
        return [_finite(item, name) for item in value]
    if isinstance(value, str):
        return without_surrogates(value)
    if isinstance(value, int | float) and not abs(value) <= LARGEST:  # NaN compares false
        raise ValueError(f"{name} must be a finite number")
    return value


def _same(value: Any, item: Any) -> bool:
    return isinstance(value, bool) == isinstance(item, bool) and bool(value == item)

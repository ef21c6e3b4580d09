"""From what a language model wrote to numbers that can be used, or to nothing.

JSON is preferred; the forms of the paper, ``(d, c)`` and ``[w1, ..., wn]``, are taken too, the last
one in the text. What the numbers then do is for the contract to bound.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from bbopt.lacmas.guides.prompts import ACT_SCHEMA, cooperate_schema
from bbopt.llm.parse import read_json

_THOUGHT = re.compile(r"\A.*</think>", re.DOTALL)
_ROUND = re.compile(r"[(（]([^()（）]*)[)）]")
_SQUARE = re.compile(r"[\[【]([^\[\]【】]*)[\]】]")
_COMMA = re.compile(r"[,，、;；]")


def read_coefficients(text: str) -> tuple[float, float] | None:
    """The coefficients (d, c) of a reply; None where it has none that are finite and >= 0.

    Examples
    --------
    >>> read_coefficients("<think>(9, 9)?</think> Raise c: (0.7, 1.3)")
    (0.7, 1.3)
    """
    text = _answer(text)
    data = _json(text, _open(ACT_SCHEMA), "act")
    numbers = [data["d"], data["c"]] if data else _listed(_ROUND, text, 2)
    usable = _usable(numbers)
    return (usable[0], usable[1]) if usable else None


def read_weights(text: str, labels: Sequence[str]) -> list[float] | None:
    """The weights of the neighbours of these labels, in their order; None where it has none.

    Examples
    --------
    >>> read_weights('{"weights": {"3": 0.2, "8": 0.8}}', ["3", "8"])
    [0.2, 0.8]
    """
    text = _answer(text)
    data = _json(text, _open(cooperate_schema(labels)["properties"]["weights"]), "weights", "coop")
    numbers = [data[label] for label in labels] if data else _listed(_SQUARE, text, len(labels))
    return _usable(numbers)


def _answer(text: str) -> str:
    """A reply without its thoughts, whether they end or were cut."""
    return _THOUGHT.sub("", text).partition("<think>")[0]


def _open(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema where a reply may say more than was asked."""
    return {key: value for key, value in schema.items() if key != "additionalProperties"}


def _json(text: str, schema: Mapping[str, Any], *keys: str) -> dict[str, Any] | None:
    """The first JSON object that meets a schema, itself or under one of the keys."""
    nested = [{"type": "object", "properties": {key: schema}, "required": [key]} for key in keys]
    for key, form in zip((None, *keys), (schema, *nested), strict=True):
        try:
            data: dict[str, Any] = read_json(text, form)
        except ValueError:
            continue
        return data if key is None else data[key]
    return None


def _listed(brackets: re.Pattern[str], text: str, n: int) -> list[float] | None:
    """The numbers in the last brackets that hold ``n`` of them."""
    for inside in reversed(brackets.findall(text)):
        parts = _COMMA.split(inside)
        if len(parts) == n:
            try:
                return [float(part) for part in parts]
            except ValueError:
                continue
    return None


def _usable(numbers: Sequence[float] | None) -> list[float] | None:
    if numbers is None or not all(math.isfinite(x) and x >= 0 for x in numbers):
        return None
    return [float(x) for x in numbers] if any(numbers) else None

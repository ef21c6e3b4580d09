"""``key=value`` on the command line."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any

from bbopt.errors import UsageError

_WORDS = {"True": True, "False": False, "None": None}


def read_pairs(option: str, given: Iterable[str]) -> dict[str, Any]:
    """The values of a repeated ``option KEY=VALUE``.

    A value is JSON where it parses as such (``0.5``, ``true``, ``[1, 2]``), or Python's True,
    False or None; any other text is itself, NaN and infinities included.

    Raises
    ------
    UsageError
        If there is no ``=``, or a key occurs twice.

    Examples
    --------
    >>> read_pairs("--with", ["noise=0.3", "split=2,3", "path=a=b.npz", "scale=NaN"])
    {'noise': 0.3, 'split': '2,3', 'path': 'a=b.npz', 'scale': 'NaN'}
    """
    values: dict[str, Any] = {}
    for pair in given:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise UsageError(f"{option} must be KEY=VALUE, got {pair!r}")
        if key in values:
            raise UsageError(f"{option}: {key!r} is given twice")
        values[key] = _value(text)
    return values


def _value(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    try:
        return json.loads(text, parse_float=_finite, parse_constant=_refuse)
    except ValueError:
        return text


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse(text)


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not JSON")

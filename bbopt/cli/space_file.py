"""A file that describes a search space, TOML or JSON.

A table is a parameter; what stands before the first table says what is optimised::

    direction = "maximize"       # "minimize" where it is left out
    objective = "Taste of the tea, 0 to 10."
    deterministic = false

    [minutes]
    kind = "float"               # low, high; log, step, initial
    low = 1
    high = 8

    [grams]
    kind = "int"                 # low, high; log, step, initial
    low = 1
    high = 5

    [leaf]
    kind = "categorical"         # choices; initial
    choices = ["green", "black"]

    [prompt]
    kind = "text"                # initial; description, max_chars, language
    initial = "Answer in one word."

JSON has the same content as one object of objects.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from bbopt.errors import UsageError
from bbopt.space import Space
from bbopt.spec import Spec

SPEC_FIELDS = ("direction", "objective", "deterministic")


def read_space_file(path: Path) -> Spec:
    """The spec that a file describes.

    Raises
    ------
    UsageError
        If the file cannot be read or parsed, or describes no space; it is named.
    """
    try:
        content = _parsed(path)
    except OSError as error:
        raise UsageError(f"space file {path}: {error.strerror}") from None
    except ValueError as error:  # of the syntax, or not UTF-8
        raise UsageError(f"space file {path}: {error}") from None
    if not isinstance(content, dict):
        raise UsageError(f"space file {path}: must be an object of objects")
    tables = {name: value for name, value in content.items() if isinstance(value, dict)}
    fields = {name: value for name, value in content.items() if name not in tables}
    for name, value in fields.items():
        if name not in SPEC_FIELDS:
            allowed = ", ".join(SPEC_FIELDS)
            raise UsageError(
                f"space file {path}: {name!r} must be a table of a parameter, or one of {allowed}; "
                f"got {value!r}"
            )
    try:
        entries = [_entry(name, table) for name, table in tables.items()]
        return Spec(space=Space.from_json(entries), **fields)
    except UsageError as error:
        raise UsageError(f"space file {path}: {error}") from None


def _entry(name: str, table: dict[str, Any]) -> dict[str, Any]:
    if "name" in table:
        raise UsageError(f"parameter {name!r} has no option 'name'")
    return {"name": name, **table}


def _parsed(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else tomllib.loads(text)

"""Settings: one frozen dataclass a method, whose fields carry their range and their meaning."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, get_args, get_origin

from bbopt import checks
from bbopt.errors import UsageError


@dataclass(frozen=True)
class NoSettings:
    """The settings of a method that has none."""


def setting(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[Any, ...] | None = None,
    stands_for: str = "",
) -> Any:
    """A field of a settings dataclass.

    Parameters
    ----------
    default
        Its default; the type annotation says what else is allowed.
    meaning : str
        What it does, with the paper's symbol, in one sentence.
    low, high : float, optional
        Inclusive range of a number.
    choices : tuple, optional
        The only values allowed.
    stands_for : str, optional
        What a default of None comes to, in words.
    """
    return field(
        default=default,
        metadata={
            "meaning": meaning,
            "low": low,
            "high": high,
            "choices": choices,
            "stands_for": stands_for,
        },
    )


def build(settings_class: type[Any], given: Mapping[str, Any], owner: str) -> Any:
    """An instance of ``settings_class`` from the settings ``given`` for ``owner``.

    Raises
    ------
    UsageError
        If a setting is unknown, has the wrong type, or is out of its range.
    """
    known = {f.name: f for f in fields(settings_class)}
    hints = typing.get_type_hints(settings_class)
    for name in given:
        if name not in known:
            allowed = ", ".join(known) or "none"
            raise UsageError(f"{owner} has no setting {name!r}; allowed are {allowed}")
    checked = {
        name: _checked(f"{owner}: {name}", value, hints[name], known[name].metadata)
        for name, value in given.items()
    }
    return settings_class(**checked)


def describe(settings_class: type[Any]) -> list[dict[str, Any]]:
    """Name, type, default, range and meaning of every setting, as JSON values.

    ``stands_for`` says what a default of None comes to, where that is known before a run.
    """
    hints = typing.get_type_hints(settings_class)
    return [
        {
            "name": f.name,
            "type": _type_name(hints[f.name]),
            "default": None if f.default is MISSING else f.default,
            "stands_for": f.metadata.get("stands_for", ""),
            "allowed": _allowed(f.metadata),
            "meaning": f.metadata.get("meaning", ""),
        }
        for f in fields(settings_class)
    ]


def to_json(settings: Any) -> dict[str, Any]:
    """The settings as JSON values; a callable is its qualified name."""
    values = {f.name: getattr(settings, f.name) for f in fields(settings)}
    plain = {name: _name(v) if callable(v) else v for name, v in values.items()}
    jsonable: dict[str, Any] = json.loads(json.dumps(plain))
    return jsonable


def _name(thing: Any) -> str:
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}:{named.__qualname__}"


def _checked(name: str, value: Any, hint: Any, limits: Mapping[str, Any]) -> Any:
    kinds = _alternatives(hint)
    if value is None and type(None) in kinds:
        return None
    if limits.get("choices") is not None:
        return checks.one_of(name, value, limits["choices"])
    low, high = limits.get("low"), limits.get("high")
    if bool in kinds:
        return checks.one_of(name, value, (True, False))
    if str in kinds and isinstance(value, str):
        return value
    if float in kinds:
        return checks.number(name, value, low, high)
    if int in kinds:
        return checks.integer(name, value, low, high)
    if not isinstance(value, tuple(get_origin(kind) or kind for kind in kinds)):
        raise UsageError(f"{name} must be {_type_name(hint)}, got {value!r}")
    return value


def _alternatives(hint: Any) -> tuple[Any, ...]:
    is_union = get_origin(hint) in (typing.Union, types.UnionType)
    return get_args(hint) if is_union else (hint,)


def _type_name(hint: Any) -> str:
    kinds = ("None" if kind is type(None) else kind for kind in _alternatives(hint))
    return " | ".join(getattr(kind, "__name__", str(kind)) for kind in kinds)


def _allowed(limits: Mapping[str, Any]) -> str:
    if limits.get("choices") is not None:
        return ", ".join(str(choice) for choice in limits["choices"])
    low, high = limits.get("low"), limits.get("high")
    if low is None and high is None:
        return ""
    return f"[{'-inf' if low is None else low}, {'inf' if high is None else high}]"

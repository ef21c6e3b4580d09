"""Drive an optimizer without a run: objective, rounds of ask and tell, state through files."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol
from zlib import crc32

import numpy as np

from bbopt.base import Optimizer
from bbopt.space import Params, Space
from bbopt.trial import Trial

Objective = Callable[[Trial], Any]
"""trial -> an outcome, a value or values, in the user's direction."""


class Build(Protocol):
    """Builds the optimizer under test; see :meth:`bbopt.testing.OptimizerContract.build`."""

    def __call__(
        self, space: Space | None = None, *, spec: dict[str, Any] | None = None, **kwargs: Any
    ) -> Optimizer:
        """An optimizer for ``space``, whose spec has the fields ``spec`` too."""
        ...


def bowl(space: Space) -> Objective:
    """A smooth deterministic objective on any space: least at 0.3 in every unit coordinate.

    Texts add a fixed number in [0, 1) each.
    """
    numeric = {name: dim for name, dim in space.items() if dim.width}
    texts = [name for name, dim in space.items() if not dim.width]

    def objective(trial: Trial) -> list[float]:
        value = sum(crc32(trial.params[name].encode()) / 2**32 for name in texts)
        if numeric:
            x = Space(numeric).to_unit({name: trial.params[name] for name in numeric})
            value += float(np.sum((x - 0.3) ** 2))
        return [value] * trial.repeats

    return objective


def play(optimizer: Optimizer, n: int, objective: Objective | None = None) -> list[Params]:
    """Ask for one trial and tell its outcome, ``n`` times or until none comes; the params."""
    objective = objective or bowl(optimizer.space)
    asked: list[Params] = []
    while len(asked) < n and (trials := optimizer.ask()):
        for trial in trials:
            optimizer.tell(trial, objective(trial))
            asked.append(trial.params)
    return asked


def play_late(optimizer: Optimizer, n: int, objective: Objective | None = None) -> list[Params]:
    """Keep three trials open and tell the latest first, until ``n`` are asked; the params."""
    objective = objective or bowl(optimizer.space)
    asked: list[Params] = []
    while len(asked) < n:
        trials = optimizer.ask(3)
        asked += [trial.params for trial in trials]
        if not optimizer.pending:
            break
        for trial in optimizer.pending[:0:-1] or optimizer.pending:
            optimizer.tell(trial, objective(trial))
    return asked


def with_other_texts(space: Space, params: Params) -> Params:
    """The params with other texts, since a method may ask for ``initial`` alone at first."""
    return {
        name: value if space[name].width else f"{value} Or not." for name, value in params.items()
    }


def through_files(state: dict[str, Any]) -> dict[str, Any]:
    """The state as it comes back from JSON text and arrays; fails where it holds other things."""
    arrays: list[np.ndarray] = []
    loaded: dict[str, Any] = json.loads(json.dumps(_plain(state, arrays), allow_nan=False))
    copies = [np.array(array.tolist(), dtype=array.dtype) for array in arrays]
    restored: dict[str, Any] = _restored(loaded, copies)
    return restored


def equal_states(a: Any, b: Any) -> bool:
    """Whether two states hold the same."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f")
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal_states(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(equal_states, a, b))
    return bool(a == b)


def _plain(value: Any, arrays: list[np.ndarray]) -> Any:
    """JSON values, with each array moved to ``arrays`` and replaced by its place there."""
    if isinstance(value, np.ndarray):
        assert value.dtype != object, "a state must not hold arrays of objects"
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, dict):
        assert all(type(key) is str for key in value), f"keys must be str, got {list(value)}"
        return {key: _plain(item, arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, arrays) for item in value]
    assert value is None or type(value) in (bool, int, float, str), (
        f"a state must hold JSON values and arrays, got {value!r} of {type(value)}"
    )
    return value


def _restored(value: Any, arrays: list[np.ndarray]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"array"}:
            return arrays[value["array"]]
        return {key: _restored(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_restored(item, arrays) for item in value]
    return value

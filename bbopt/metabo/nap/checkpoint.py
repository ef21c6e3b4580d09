"""Where a training stands, on disk: weights, moments of the optimizer, the step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bbopt.errors import UsageError
from bbopt.metabo.nap.model import Model
from bbopt.space import Array

if TYPE_CHECKING:  # torch is optional: mypy need not find it
    torch: Any
else:
    try:
        import torch
    except ModuleNotFoundError:  # the model's constructor says what to install
        torch = None

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
"""What Adam keeps of each parameter."""


def write_checkpoint(path: Path, model: Model, optimizer: Any, state: dict[str, Any]) -> None:
    """Write everything that the next step depends on; ``state`` holds JSON values."""
    from safetensors.numpy import save_file

    arrays = {f"model.{name}": array for name, array in model.arrays().items()}
    for i, kept in optimizer.state_dict()["state"].items():
        for name in MOMENTS:
            arrays[f"optimizer.{i}.{name}"] = kept[name].numpy()
    draft = path.with_name(path.name + ".draft")
    save_file(
        {name: np.array(array, order="C") for name, array in arrays.items()},
        draft,
        metadata={"state": json.dumps(state)},
    )
    draft.replace(path)


def read_checkpoint(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays of a checkpoint, and its state.

    Raises
    ------
    UsageError
        If there is none, or it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UsageError(f"resume: no checkpoint {path}")
    try:
        with safe_open(str(path), framework="numpy") as file:
            state: dict[str, Any] = json.loads((file.metadata() or {})["state"])
            return {name: file.get_tensor(name) for name in file.keys()}, state  # noqa: SIM118
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise UsageError(f"{path}: is no checkpoint: {str(error).partition(chr(10))[0]}") from None


def restore(arrays: dict[str, Array], model: Model, optimizer: Any) -> None:
    """Set the weights and the moments to those of a checkpoint."""
    parts: dict[str, dict[str, Array]] = {"model": {}, "optimizer": {}}
    for name, array in arrays.items():
        kind, _, rest = name.partition(".")
        parts[kind][rest] = array
    model.take(parts["model"])
    state = optimizer.state_dict()
    numbers = {int(name.partition(".")[0]) for name in parts["optimizer"]}
    state["state"] = {
        i: {name: torch.from_numpy(parts["optimizer"][f"{i}.{name}"].copy()) for name in MOMENTS}
        for i in numbers
    }
    optimizer.load_state_dict(state)

"""Where a training stands, on disk: weights, moments of the optimizers, the step."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
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


def write_checkpoint(
    path: Path, model: Model, optimizers: Sequence[Any], state: dict[str, Any]
) -> None:
    """Write everything that the next step depends on; ``state`` holds JSON values."""
    from safetensors.numpy import save_file

    arrays = {f"model.{name}": array for name, array in model.arrays().items()}
    for k, optimizer in enumerate(optimizers):
        for i, kept in optimizer.state_dict()["state"].items():
            for name, tensor in kept.items():
                arrays[f"optimizer.{k}.{i}.{name}"] = tensor.numpy()
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


def restore(arrays: dict[str, Array], model: Model, optimizers: Sequence[Any]) -> None:
    """Set the weights and the moments to those of a checkpoint."""
    weights: dict[str, Array] = {}
    moments: list[dict[int, Any]] = [defaultdict(dict) for _ in optimizers]
    for name, array in arrays.items():
        kind, _, rest = name.partition(".")
        if kind == "model":
            weights[rest] = array
        else:
            k, i, moment = rest.split(".")
            moments[int(k)][int(i)][moment] = torch.from_numpy(array.copy())
    model.take(weights)
    for optimizer, kept in zip(optimizers, moments, strict=True):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": dict(kept)})

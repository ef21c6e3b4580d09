"""Weight files: safetensors with what they are and where they come from; no code in them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bbopt import checks
from bbopt.errors import BBOptError, SpaceError, UsageError
from bbopt.metabo.nap.architecture import Architecture
from bbopt.space import Array, Categorical

FORMAT = "bbopt.nap"
"""The key of the metadata, a JSON text."""

VERSION = 1


@dataclass(frozen=True)
class Parameter:
    """A parameter of the space that a network was trained for: a number, or one of ``choices``."""

    name: str
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    choices: tuple[Any, ...] | None = None

    @property
    def width(self) -> int:
        """Columns of the network that it takes: one a choice."""
        return 1 if self.choices is None else len(self.choices)


@dataclass(frozen=True)
class Metadata:
    """What a weight file says of itself.

    Parameters
    ----------
    architecture : Architecture
        The sizes.
    space : tuple of Parameter or None
        The parameters, in order; None: any space of at most ``architecture.columns``
        coordinates.
    history : int
        The longest history in training.
    tasks : tuple of str
        What it was trained on.
    seed : int
        Of the training.
    command : str
        What made it.
    versions : mapping of str to str
        Of the packages.
    validation : mapping
        Measurements on tasks that were not trained on, by name.
    """

    architecture: Architecture
    space: tuple[Parameter, ...] | None = None
    history: int = 50
    tasks: tuple[str, ...] = ()
    seed: int = 0
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    validation: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.space is None:
            return
        width = sum(parameter.width for parameter in self.space)
        if width != self.architecture.columns:
            raise UsageError(f"space must have {self.architecture.columns} columns, got {width}")

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Metadata:
        """The inverse of :meth:`to_json`.

        Raises
        ------
        UsageError
            If it is no such object.
        """
        try:
            space = data["space"]
            return cls(
                Architecture.from_json(data["architecture"]),
                None if space is None else tuple(map(_parameter, space)),
                checks.integer("history", data["history"], 1),
                tuple(str(task) for task in data["tasks"]),
                checks.integer("seed", data["seed"], 0),
                str(data["command"]),
                dict(data["versions"]),
                dict(data["validation"]),
            )
        except (AttributeError, KeyError, TypeError, SpaceError) as error:
            raise UsageError(f"metadata are incomplete: {error}") from None


def save(path: str | Path, tensors: Mapping[str, Array], metadata: Metadata) -> None:
    """Write a weight file whole: another name first, then renamed."""
    from safetensors.numpy import save as serialised

    path = Path(path)
    _check_shapes(tensors, metadata.architecture)
    # one text: of several, safetensors writes the order anew each time
    text = json.dumps({"version": VERSION, **metadata.to_json()}, allow_nan=False)
    arrays = {name: np.array(array, np.float32, order="C") for name, array in tensors.items()}
    draft = path.with_name(path.name + ".draft")
    try:
        draft.write_bytes(serialised(arrays, metadata={FORMAT: text}))
        draft.replace(path)
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error}") from None


def load(path: str | Path) -> tuple[dict[str, Array], Metadata]:
    """Read a weight file: its tensors (float32), and what it says of itself.

    Raises
    ------
    UsageError
        If there is no such file, or it is damaged, of another kind, or of a later version.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise UsageError(f"weights: no such file: {path}")
    try:
        with safe_open(str(path), framework="numpy") as file:
            texts = file.metadata() or {}
            metadata = _read_metadata(texts)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        _check_shapes(tensors, metadata.architecture)
    except (OSError, SafetensorError, ValueError) as error:
        if isinstance(error, BBOptError):
            raise UsageError(f"{path}: {error}") from None
        first = str(error).partition("\n")[0]
        raise UsageError(f"{path}: is no safetensors file: {first}") from None
    return tensors, metadata


def _read_metadata(texts: Mapping[str, str]) -> Metadata:
    if FORMAT not in texts:
        raise UsageError("holds no weights of NAP, but other tensors")
    try:
        data = json.loads(texts[FORMAT])
    except ValueError:
        raise UsageError("metadata are no JSON") from None
    version = data.get("version") if isinstance(data, dict) else None
    if version != VERSION:
        raise UsageError(
            f"has format version {version!r}, and this version of bbopt reads {VERSION}"
        )
    return Metadata.from_json(data)


def _check_shapes(tensors: Mapping[str, Array], architecture: Architecture) -> None:
    shapes = architecture.shapes()
    for name in shapes.keys() ^ tensors.keys():
        raise UsageError(f"tensor {name!r} is " + ("missing" if name in shapes else "unknown"))
    for name, shape in shapes.items():
        array = np.asarray(tensors[name])
        if array.shape != shape or array.dtype.kind != "f" or not np.isfinite(array).all():
            raise UsageError(
                f"tensor {name!r} must be finite numbers of shape {shape}, "
                f"got {array.dtype} of shape {array.shape}"
            )


def _parameter(data: Any) -> Parameter:
    choices = data.get("choices")
    return Parameter(
        str(data["name"]),
        float(data["low"]),
        float(data["high"]),
        bool(data["log"]),
        None if choices is None else Categorical(choices).choices,
    )

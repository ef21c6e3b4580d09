"""What a network is built of: its sizes, and the shapes of its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from bbopt import checks
from bbopt.errors import UsageError

FEATURES = 8
"""What the acquisition head sees of a candidate: see :mod:`.model`."""


@dataclass(frozen=True)
class Architecture:
    """The sizes of a neural acquisition process.

    Parameters
    ----------
    columns : int
        Coordinates of a point; points of fewer dimensions are padded.
    width : int
        Numbers in a token; a multiple of ``heads``.
    layers, heads, hidden : int
        Of the transformer: blocks, attention heads, units of a block's feed-forward part.
    buckets : int
        Of the predicted density of the normalised utility.
    bound : float
        The buckets divide ``[-bound, bound]`` evenly.
    """

    columns: int
    width: int = 64
    layers: int = 4
    heads: int = 4
    hidden: int = 128
    buckets: int = 100
    bound: float = 6.0

    def __post_init__(self) -> None:
        for name in ("columns", "width", "layers", "heads", "hidden", "buckets"):
            checks.integer(name, getattr(self, name), 1, 4096)
        if self.width % self.heads:
            raise UsageError(f"width must be a multiple of heads={self.heads}, got {self.width}")
        if checks.number("bound", self.bound) <= 0:
            raise UsageError(f"bound must be positive, got {self.bound!r}")

    def to_json(self) -> dict[str, Any]:
        """The sizes by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Any) -> Architecture:
        """The inverse of :meth:`to_json`.

        Raises
        ------
        UsageError
            If a size is missing, unknown or out of range.
        """
        names = {field.name for field in fields(cls)}
        if not isinstance(data, Mapping) or data.keys() != names:
            raise UsageError(f"architecture must have {', '.join(sorted(names))}, got {data!r}")
        return cls(**data)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor, by name."""
        width = self.width
        layers = {
            "point.first": (width, self.columns),
            "point.second": (width, width),
            "value.first": (width, 1),
            "value.second": (width, width),
            "density": (self.buckets, width),
            "acquisition.first": (width, FEATURES),
            "acquisition.second": (width, width),
            "acquisition.third": (1, width),
        }
        for i in range(self.layers):
            layers |= {
                f"block{i}.query": (width, width),
                f"block{i}.store": (2 * width, width),
                f"block{i}.relevance": (self.heads * self.columns, width),
                f"block{i}.merge": (width, width),
                f"block{i}.expand": (self.hidden, width),
                f"block{i}.contract": (width, self.hidden),
            }
        shapes: dict[str, tuple[int, ...]] = {"candidate": (width,), "acquisition.slope": ()}
        shapes |= {f"block{i}.prior": (2 * width,) for i in range(self.layers)}
        for name, shape in layers.items():
            shapes[f"{name}.weight"] = shape
            shapes[f"{name}.bias"] = shape[:1]
        return shapes

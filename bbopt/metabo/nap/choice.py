"""Which weights serve a space."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from bbopt.errors import UnsupportedSpec
from bbopt.metabo.encoding import Encoding
from bbopt.metabo.nap.forward import Network
from bbopt.metabo.nap.weights import Column
from bbopt.space import Array, Float, Int, Space

SHIPPED = Path(__file__).parent / "weights"
"""The folder of the weights that come with bbopt."""

GENERIC = "nap_generic"
"""The weights for any space."""

ROUNDING = 1e-6
"""Bounds that differ by less, relative to the range, are equal: single precision wrote some."""


def network_for(space: Space, weights: str) -> Network:
    """The network of a weight file for a space.

    Parameters
    ----------
    space : Space
        What is searched.
    weights : str
        "auto": the shipped weights for a space with just these parameters (names, ranges and
        scales), else those for any space. Otherwise the name of shipped weights, or the path of
        a file.

    Raises
    ------
    UsageError
        If there is no such file, or it cannot be read.
    UnsupportedSpec
        If the weights named are for another space; the first parameter that differs is named.
    """
    if weights == "auto":
        for path in sorted(SHIPPED.glob("*.safetensors")):
            network = _loaded(path)
            if network.metadata.space and difference(space, network.metadata.space) is None:
                return network
        return _loaded(SHIPPED / f"{GENERIC}.safetensors")
    shipped = SHIPPED / f"{weights}.safetensors"
    network = _loaded(shipped if shipped.is_file() else Path(weights))
    if network.metadata.space is not None:
        found = difference(space, network.metadata.space)
        if found is not None:
            raise UnsupportedSpec(f"optimizer 'nap': weights {weights!r} do not fit: {found}")
    return network


def difference(space: Space, columns: tuple[Column, ...]) -> str | None:
    """The first difference of a space from that of a network, as half a sentence, or None."""
    for column in columns:
        dimension = space.get(column.name)
        if dimension is None:
            return f"they need a parameter {column.name!r}, and the space has none"
        if not isinstance(dimension, Float | Int):
            return f"parameter {column.name!r} must be a number, got a {dimension.kind}"
        trained = f"[{column.low!r}, {column.high!r}]" + " with a log scale" * column.log
        given = f"[{dimension.low!r}, {dimension.high!r}]" + " with a log scale" * dimension.log
        bounds = np.array([[column.low, column.high], [dimension.low, dimension.high]])
        if column.log == dimension.log and column.log:
            bounds = np.log(bounds)
        gap = np.abs(bounds[0] - bounds[1]).max()
        if column.log != dimension.log or gap > ROUNDING * max(np.ptp(bounds[0]), 1e-300):
            return f"parameter {column.name!r} must be in {trained}, got {given}"
    for name in space:
        if name not in {column.name for column in columns}:
            return f"they know no parameter {name!r}"
    return None


class View:
    """The columns of a network, filled with points of a space.

    Parameters
    ----------
    encoding : Encoding
        Of the space.
    network : Network
        One whose weights fit it.
    """

    def __init__(self, encoding: Encoding, network: Network) -> None:
        self._encoding = encoding
        trained = network.metadata.space
        names = list(encoding.space)
        self._order = None if trained is None else [names.index(c.name) for c in trained]
        self.columns = network.metadata.architecture.columns
        self.is_too_wide = trained is None and encoding.d > self.columns

    def fields(self, rng: np.random.Generator) -> list[int]:
        """The parameters to look at now: all that fit, or as many as fit in random order."""
        fields = self._encoding.fields
        if not self.is_too_wide:
            return list(range(len(fields)))
        chosen: list[int] = []
        width = 0
        for j in rng.permutation(len(fields)).tolist():
            width += fields[j].columns.stop - fields[j].columns.start
            if width > self.columns and chosen:
                break
            chosen.append(j)
        return sorted(chosen)

    def of(self, X: Array, fields: Sequence[int]) -> Array:  # noqa: N803
        """The points ``(n, d)`` as the network sees them when it looks at some parameters."""
        if self._order is not None:
            return self._encoding.expand(X)[:, self._order]
        if not self.is_too_wide:
            return X
        slices = [self._encoding.fields[j].columns for j in fields]
        # of one parameter with more choices than columns, those that fit
        return np.concatenate([X[:, columns] for columns in slices], axis=1)[:, : self.columns]


def _loaded(path: Path) -> Network:
    stamp = path.stat().st_mtime_ns if path.is_file() else 0
    return _read(path, stamp)


@lru_cache(maxsize=8)
def _read(path: Path, stamp: int) -> Network:
    """Of a file that is written anew, its new weights."""
    return Network.load(path)

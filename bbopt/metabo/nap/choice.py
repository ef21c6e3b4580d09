"""Which weights serve a space."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bbopt.errors import UnsupportedSpec
from bbopt.metabo.encoding import Encoding
from bbopt.metabo.nap.forward import Network
from bbopt.metabo.nap.weights import Parameter
from bbopt.space import Array, Categorical, Float, Int, Space

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


def difference(space: Space, trained: tuple[Parameter, ...]) -> str | None:
    """The first difference of a space from that of a network, as half a sentence, or None."""
    for parameter in trained:
        dimension = space.get(parameter.name)
        if dimension is None:
            return f"they need a parameter {parameter.name!r}, and the space has none"
        if not _is_alike(parameter, dimension):
            wanted, given = _described(parameter), _described(dimension)
            return f"parameter {parameter.name!r} must be {wanted}, got {given}"
    for name in space:
        if name not in {parameter.name for parameter in trained}:
            return f"they know no parameter {name!r}"
    return None


def _is_alike(parameter: Parameter, dimension: Any) -> bool:
    """Whether a dimension is what a network was trained for; the order of choices is free."""
    if parameter.choices is not None:
        choices = getattr(dimension, "choices", ())
        return {(type(c), c) for c in choices} == {(type(c), c) for c in parameter.choices}
    if not isinstance(dimension, Float | Int) or parameter.log != dimension.log:
        return False
    bounds = np.array([[parameter.low, parameter.high], [dimension.low, dimension.high]])
    if parameter.log:
        bounds = np.log(bounds)
    gap = np.abs(bounds[0] - bounds[1]).max()
    return bool(gap <= ROUNDING * max(np.ptp(bounds[0]), 1e-300))


def _described(given: Any) -> str:
    """A parameter, or a dimension, in words."""
    if getattr(given, "choices", None) is not None:
        return f"one of {', '.join(map(repr, given.choices))}"
    if not hasattr(given, "low"):
        return f"a {given.kind}"
    scale = " with a log scale" if given.log else ""
    return f"a number in [{given.low!r}, {given.high!r}]{scale}"


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
        self._order = None if trained is None else _order(encoding.space, trained)
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


def _order(space: Space, trained: Sequence[Parameter]) -> list[int]:
    """The column of the space's unit cube that each column of the network is."""
    first, at = {}, 0
    for name, dimension in space.items():
        first[name] = at
        at += dimension.width
    order = []
    for parameter in trained:
        dimension = space[parameter.name]
        if isinstance(dimension, Categorical):
            places = [dimension.index(choice) for choice in parameter.choices or ()]
        else:
            places = [0]
        order += [first[parameter.name] + place for place in places]
    return order


def _loaded(path: Path) -> Network:
    stamp = path.stat().st_mtime_ns if path.is_file() else 0
    return _read(path, stamp)


@lru_cache(maxsize=8)
def _read(path: Path, stamp: int) -> Network:
    """Of a file that is written anew, its new weights."""
    return Network.load(path)

"""The coordinates in which swarms search: native where a parameter is a plain float."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bbopt.dimensions import Float
from bbopt.lacmas.search import Box
from bbopt.space import Params, Space

Array = npt.NDArray[np.float64]


class Coordinates:
    """Between the search's box and a space's native values.

    A Float without log and step is searched as it is, so that the thresholds and step sizes of
    the papers mean what they mean there; every other parameter in the unit cube.

    Parameters
    ----------
    space : Space
        Of floats and integers.
    """

    def __init__(self, space: Space) -> None:
        self._space = space
        dims = list(space.values())
        self._coded = [
            j
            for j, dim in enumerate(dims)
            if not (isinstance(dim, Float) and not dim.log and dim.step is None)
        ]
        low = np.array([getattr(dim, "low", 0.0) for dim in dims], dtype=float)
        high = np.array([getattr(dim, "high", 0.0) for dim in dims], dtype=float)
        low[self._coded], high[self._coded] = 0.0, 1.0
        self.box = Box(low, high)

    def to_native(self, x: Array) -> Array:
        """Native values ``(m, d)`` of points ``(m, d)`` of the box."""
        if not self._coded:
            return x
        native = x.copy()
        dims = list(self._space.values())
        for j in self._coded:
            native[:, j] = dims[j].decode(x[:, j : j + 1])  # type: ignore[union-attr]
        return native

    def to_params(self, x: Array) -> Params:
        """The params of one point ``(d,)``."""
        row = self.to_native(x[None])[0]
        params = {
            name: int(value) if dim.kind == "int" else float(value)
            for (name, dim), value in zip(self._space.items(), row, strict=True)
        }
        return self._space.validate(params)

    def from_params(self, params: Params) -> Array:
        """The point ``(d,)`` of some params."""
        unit = self._space.to_unit(params)[0]
        plain = np.array([float(value) for value in params.values()])
        plain[self._coded] = unit[self._coded]
        return plain

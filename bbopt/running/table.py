"""Where only the rows of a table can be evaluated: the nearest free row to what was asked."""

from __future__ import annotations

import numpy as np

from bbopt.space import Params, Space
from bbopt.spec import Table


class FreeRows:
    """The rows of a table that were neither evaluated nor are being evaluated.

    Parameters
    ----------
    table : Table
        The candidates.
    space : Space
        Gives distances (Euclidean in the unit cube) and the identity of params.
    """

    def __init__(self, table: Table, space: Space) -> None:
        self._table = table
        self._space = space
        self._free = np.ones(len(table), dtype=bool)
        self._rows: dict[tuple[object, ...], list[int]] | None = None

    def take_nearest(self, params: Params) -> Params | None:
        """Take the nearest free row (the lower index among equals); None if none is left."""
        if not self._free.any():
            return None
        distance = np.square(self._table.x - self._space.to_unit(params)).sum(axis=1)
        index = int(np.argmin(np.where(self._free, distance, np.inf)))
        self._free[index] = False
        row: Params = self._table[index]
        return row

    def take(self, params: Params) -> None:
        """Mark a row that was evaluated (the first free one with these params)."""
        if self._rows is None:
            self._rows = {}
            for i in range(len(self._table)):
                self._rows.setdefault(self._space.key(self._table[i]), []).append(i)
        for index in self._rows.get(self._space.key(params), ()):
            if self._free[index]:
                self._free[index] = False
                return

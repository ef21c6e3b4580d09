"""A tall stack of rows over all candidates, which grows without copying."""

from __future__ import annotations

import numpy as np

from bbopt.space import Array

BLOCK = 32
"""Rows a block; memory of a block is touched only as far as its rows are written."""

CHUNK = 4096
"""Columns a chunk: what is computed for many candidates at once fits the processor's cache."""


class Stack:
    """The matrix V ``(h, n)``, row-major, in blocks.

    Parameters
    ----------
    n : int
        Number of columns (candidates).
    """

    def __init__(self, n: int) -> None:
        self.n = n
        self.clear()

    def __len__(self) -> int:
        return self._rows

    def clear(self) -> None:
        """Forget all rows."""
        self._rows = 0
        self._blocks: list[Array] = []

    def append(self, row: Array) -> None:
        """Add one row ``(n,)``."""
        self.reserve(self._rows + 1)
        self._blocks[-1][(self._rows - 1) % BLOCK] = row

    def reserve(self, rows: int) -> None:
        """Grow to ``rows`` rows; the new ones hold anything until they are written."""
        while len(self._blocks) * BLOCK < rows:
            self._blocks.append(np.empty((BLOCK, self.n)))
        self._rows = rows

    def write(self, chunk: slice, values: Array) -> None:
        """Set the columns ``chunk`` to ``values`` ``(h, columns)``."""
        for start, block in self._filled():
            block[:, chunk] = values[start : start + len(block)]

    def column(self, i: int) -> Array:
        """Column ``i`` ``(h,)``, a copy."""
        if not self._rows:
            return np.empty(0)
        return np.concatenate([block[:, i] for _, block in self._filled()])

    def combine(self, weights: Array) -> Array:
        """``weights @ V`` ``(n,)``: one pass over the memory."""
        total = np.zeros(self.n)
        for start, block in self._filled():
            total += weights[start : start + len(block)] @ block
        return total

    def add_outer(self, weights: Array, row: Array) -> None:
        """``V += outer(weights, row)`` in place, without a temporary of its size."""
        for start, block in self._filled():
            w = weights[start : start + len(block), None]
            for left in range(0, self.n, CHUNK):
                block[:, left : left + CHUNK] += w * row[left : left + CHUNK]

    def _filled(self) -> list[tuple[int, Array]]:
        return [
            (start, block[: self._rows - start])
            for start, block in zip(range(0, self._rows, BLOCK), self._blocks, strict=True)
        ]


def chunks(n: int) -> list[slice]:
    """The columns 0 … n - 1 in slices of at most :data:`CHUNK`."""
    return [slice(start, min(start + CHUNK, n)) for start in range(0, n, CHUNK)]

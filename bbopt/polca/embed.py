"""Distances between candidates: hashed n-grams by default, any embedding, any callable."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from bbopt.errors import UsageError
from bbopt.space import Array, Params

Distance: TypeAlias = Callable[[Sequence[Params], Sequence[Params]], Array]
"""``(n candidates, m candidates) -> (n, m)`` distances >= 0."""

N_FEATURES = 1024
N_GRAMS = (3, 4, 5)
ROWS, BLOCK = 8, 256
"""Distances are computed between so many vectors at once."""


def as_text(params: Params) -> str:
    """A candidate as one text: its only value, or one ``name: value`` a parameter."""
    if len(params) == 1:
        return str(next(iter(params.values())))
    return "\n".join(f"{name}: {value}" for name, value in params.items())


def hashed_ngrams(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Unit vectors ``(n, 1024)`` of the character 3- to 5-grams of words.

    Each n-gram counts +1 or -1 at the place that its hash says. Good at near-duplicates, of
    code too; knows nothing of meaning. The same on every machine.
    """
    vectors = np.zeros((len(texts), N_FEATURES), dtype=np.float32)
    for vector, text in zip(vectors, texts, strict=True):
        hashes = _ngram_hashes(" ".join(text.lower().split()))
        signs = np.where(hashes >> np.uint64(63), 1.0, -1.0)
        places = (hashes % np.uint64(N_FEATURES)).astype(np.int64)
        counts = np.bincount(places, weights=signs, minlength=N_FEATURES)
        vector[:] = counts / (math.sqrt(counts @ counts) or 1.0)
    return vectors


def _ngram_hashes(text: str) -> npt.NDArray[np.uint64]:
    """64-bit hashes of the n-grams of each word with one space on both sides of it."""
    codes = np.frombuffer(f" {text} ".encode("utf-32-le", "surrogatepass"), dtype="<u4")
    n_spaces = np.cumsum(codes == ord(" "))
    found = []
    for n in N_GRAMS:
        hashes = np.full(max(len(codes) - n + 1, 0), n, dtype=np.uint64)
        for j in range(n):  # FNV-1a, a character at a time
            hashes = (hashes ^ codes[j : j + len(hashes)]) * np.uint64(0x100000001B3)
        is_within = n_spaces[n - 2 : n - 2 + len(hashes)] == n_spaces[: len(hashes)]
        found.append(hashes[is_within])
    mixed: npt.NDArray[np.uint64] = np.concatenate(found)
    for shift in (29, 32, 32):  # what is high in a product depends on all characters
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(0xBF58476D1CE4E5B9)
    return mixed


class Embedding:
    """The Euclidean distance of embedded texts; each text is embedded once.

    Parameters
    ----------
    embed : callable
        ``(n texts) -> (n, d)`` finite vectors; of unit length where ε is to mean the same
        for all.

    Raises
    ------
    UsageError
        When called, if ``embed`` returns an array of another shape or one that is not finite.

    Examples
    --------
    >>> lengths = Embedding(lambda texts: [[len(text)] for text in texts])
    >>> lengths([{"prompt": "four"}], [{"prompt": "sixsix"}, {"prompt": "four"}])
    array([[2., 0.]])
    """

    def __init__(self, embed: Callable[[Sequence[str]], npt.ArrayLike]) -> None:
        self._embed = embed
        self._rows: dict[str, int] = {}
        self._vectors: npt.NDArray[np.floating] = np.zeros((0, 0))
        self._squares: npt.NDArray[np.floating] = np.zeros(0)
        self._asked: list[Params] = []
        self._asked_rows = np.zeros(0, dtype=np.int64)

    def __call__(self, candidates: Sequence[Params], others: Sequence[Params]) -> Array:
        """``(n, m)`` distances; each depends on its own two texts alone, to the last bit."""
        columns, rows = self._rows_of(others), self._rows_of(candidates)
        if not len(rows) or not len(columns):
            return np.zeros((len(rows), len(columns)))
        distances = np.empty((len(rows), len(columns)))
        for start in range(0, len(rows), ROWS):
            few = rows[start : start + ROWS]
            distances[start : start + ROWS] = self._to_all(few)[:, columns]
        return distances

    def _to_all(self, rows: npt.NDArray[np.int64]) -> Array:
        """Distances of a few rows to all rows."""
        # A product of matrices rounds according to their shapes: these are always the same.
        few = np.zeros((ROWS, self._vectors.shape[1]), dtype=self._vectors.dtype)
        few[: len(rows)] = self._vectors[rows]
        n_blocks = -(-len(self._rows) // BLOCK)
        blocks = self._vectors[: n_blocks * BLOCK].reshape(n_blocks, BLOCK, -1)
        products = np.matmul(few, blocks.transpose(0, 2, 1)).transpose(1, 0, 2)
        products = products.reshape(ROWS, -1)[: len(rows), : len(self._rows)]
        squares = self._squares[rows, None] + self._squares[: len(self._rows)] - 2 * products
        distances: Array = np.sqrt(np.maximum(squares, 0.0))
        distances[np.arange(len(rows)), rows] = 0.0  # which rounding would miss
        return distances

    def _rows_of(self, group: Sequence[Params]) -> npt.NDArray[np.int64]:
        """The rows of candidates, which are embedded first where they are new."""
        # a memory is asked for again and again with a little more at its end
        n = sum(takewhile(bool, map(operator.is_, self._asked, group)))
        texts = [as_text(params) for params in group[n:]]
        new = list(dict.fromkeys(text for text in texts if text not in self._rows))
        if new:
            self._add(new, self._embed(new))
        rest = np.array([self._rows[text] for text in texts], dtype=np.int64)
        rows = np.concatenate([self._asked_rows[:n], rest])
        if len(group) >= len(self._asked):
            self._asked, self._asked_rows = list(group), rows
        return rows

    def _add(self, texts: Sequence[str], embedded: npt.ArrayLike) -> None:
        vectors = _checked(embedded, len(texts), self._vectors.shape[1] or None)
        n = len(self._rows)
        if n + len(vectors) > len(self._vectors):
            room = -(-(2 * n + len(vectors)) // BLOCK) * BLOCK
            grown = np.zeros((room, vectors.shape[1]), dtype=vectors.dtype)
            if n:
                grown[:n] = self._vectors[:n]
            self._vectors, self._squares = grown, np.resize(self._squares, room)
        new = slice(n, n + len(vectors))
        self._vectors[new] = vectors
        self._squares[new] = (self._vectors[new] ** 2).sum(axis=1)
        for text in texts:
            self._rows[text] = len(self._rows)


def _checked(embedded: npt.ArrayLike, n: int, d: int | None) -> npt.NDArray[np.floating]:
    try:
        vectors = np.asarray(embedded)
        vectors = vectors if vectors.dtype == np.float32 else vectors.astype(float)
    except (TypeError, ValueError):
        vectors = np.full((), np.nan)
    d = d or (vectors.shape[1] if vectors.ndim == 2 else None)
    if vectors.shape != (n, d) or not np.isfinite(vectors).all():
        raise UsageError(
            f"distance: an embedding of {n} texts must be a finite array ({n}, {d or 'd'}), "
            f"got {embedded!r}"
        )
    return vectors

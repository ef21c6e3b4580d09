"""Distances between candidates: hashed n-grams by default, any embedding, any callable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from bbopt.errors import UsageError
from bbopt.space import Array, Params

Distance: TypeAlias = Callable[[Sequence[Params], Sequence[Params]], Array]
"""``(n candidates, m candidates) -> (n, m)`` distances >= 0."""

N_FEATURES = 1024


def as_text(params: Params) -> str:
    """A candidate as one text: its only value, or one ``name: value`` a parameter."""
    if len(params) == 1:
        return str(next(iter(params.values())))
    return "\n".join(f"{name}: {value}" for name, value in params.items())


def hashed_ngrams(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """Unit vectors ``(n, 1024)`` of the character 3- to 5-grams of words.

    Good at near-duplicates, of code too; knows nothing of meaning. The same on every machine.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(
        analyzer="char_wb", ngram_range=(3, 5), n_features=N_FEATURES, dtype=np.float32
    )
    vectors: npt.NDArray[np.float32] = vectorizer.transform(texts).toarray()
    return vectors


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

    def __call__(self, candidates: Sequence[Params], others: Sequence[Params]) -> Array:
        """``(n, m)`` distances."""
        rows, columns = self._known(others, candidates)
        if not len(rows) or not len(columns):
            return np.zeros((len(columns), len(rows)))
        a, b = self._vectors[columns], self._slice(rows)
        squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None, :] - 2 * (a @ b.T)
        distances: Array = np.sqrt(np.maximum(squares, 0.0)).astype(float)
        # equal texts are at 0, which rounding would miss
        distances[columns[:, None] == rows[None, :]] = 0.0
        return distances

    def _known(self, *groups: Sequence[Params]) -> list[npt.NDArray[np.int64]]:
        """The rows of the candidates, embedded first where they are new."""
        texts = [[as_text(params) for params in group] for group in groups]
        new = list(dict.fromkeys(t for group in texts for t in group if t not in self._rows))
        if new:
            vectors = np.asarray(self._embed(new))
            if vectors.ndim != 2 or len(vectors) != len(new) or not np.isfinite(vectors).all():
                raise UsageError(
                    f"distance: an embedding of {len(new)} texts must be a finite array "
                    f"({len(new)}, d), got {np.shape(vectors)}"
                )
            self._grow(vectors)
            for text in new:
                self._rows[text] = len(self._rows)
        return [np.array([self._rows[t] for t in group], dtype=np.int64) for group in texts]

    def _grow(self, vectors: npt.NDArray[np.floating]) -> None:
        n = len(self._rows)
        if n + len(vectors) > len(self._vectors):
            room = np.zeros((2 * n + len(vectors), vectors.shape[1]), dtype=vectors.dtype)
            if n:
                room[:n] = self._vectors[:n]
            self._vectors = room
        self._vectors[n : n + len(vectors)] = vectors

    def _slice(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.floating]:
        """These rows; a view where they are in order, as a memory's are."""
        if rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
            return self._vectors[rows[0] : rows[-1] + 1]
        return self._vectors[rows]

"""Candidates of one decision where there is no table to choose from.

Points that fill the space, points around the best ones, mixtures of these, and, once they are
scored, points around the most promising: all of them points that can be evaluated, since
integers, steps and categories are rounded before anybody scores them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from bbopt.metabo.domain import sobol
from bbopt.metabo.encoding import Encoding, Field
from bbopt.space import Array

RADII = (0.01, 0.03, 0.1, 0.3)
"""Standard deviations of the steps away from a good point, in the unit cube."""

MOVED = 3.0
"""How many parameters such a step changes on average, where there are more."""


def proposed(
    encoding: Encoding,
    best: Array,
    n: int,
    rng: np.random.Generator,
    fields: Sequence[Field] | None = None,
) -> Array:
    """Points to score first, ``(m, d)``: n that fill the space, n around the best, n/4 mixed.

    Parameters
    ----------
    encoding : Encoding
        Of the space.
    best : (k, d) array
        The best points known, best first; k may be 0, which leaves those that fill the space.
    n : int
        See above.
    rng : numpy.random.Generator
        Draws all of them.
    fields : sequence of Field, optional
        The parameters that vary (all where None); the others stay as in the best point.
    """
    spread = encoding.from_coordinates(sobol(n, len(encoding.fields), rng))
    if not len(best):
        return spread
    varied = encoding.fields if fields is None else fields
    filled = np.tile(best[0], (n, 1))
    for field in varied:
        filled[:, field.columns] = spread[:, field.columns]
    mixed = recombined(best, max(n // 4, 1), rng, varied)
    return np.concatenate([filled, perturbed(encoding, best, n, rng, varied), mixed])


def perturbed(
    encoding: Encoding,
    centres: Array,
    n: int,
    rng: np.random.Generator,
    fields: Sequence[Field] | None = None,
) -> Array:
    """``n`` points ``(n, d)`` around centres ``(k, d)``, each drawn from ``rng``.

    A number takes a normal step of one of the radii, at least that of a value, reflected at the
    bounds; a category is drawn anew. At least one of the ``fields`` is changed (all may be where
    None), three on average where there are more.
    """
    fields = encoding.fields if fields is None else fields
    X = centres[rng.integers(len(centres), size=n)]  # noqa: N806
    if not fields:
        return X
    radius = rng.choice(RADII, size=n)
    moved = rng.random((n, len(fields))) < MOVED / len(fields)
    moved[np.arange(n), rng.integers(len(fields), size=n)] = True
    for field, rows in zip(fields, moved.T, strict=True):
        k = int(rows.sum())
        if field.is_categorical:
            width = field.dimension.width
            X[rows, field.columns] = np.eye(width)[rng.integers(width, size=k)]
        else:
            steps = np.maximum(radius[rows], 1.0 / field.n_values) * rng.standard_normal(k)
            X[rows, field.columns.start] = reflected(X[rows, field.columns.start] + steps)
    return encoding.rounded(X)


def recombined(parents: Array, n: int, rng: np.random.Generator, fields: Sequence[Field]) -> Array:
    """``n`` points ``(n, d)``, each of whose ``fields`` comes from one of two parents ``(k, d)``.

    What is in no field comes from the first of the two.
    """
    first, second = parents[rng.integers(len(parents), size=(2, n))]
    children: Array = first
    for field, rows in zip(fields, rng.random((len(fields), n)) < 0.5, strict=True):
        children[rows, field.columns] = second[rows, field.columns]
    return children


def reflected(x: Array) -> Array:
    """Numbers folded back into [0, 1] at its ends, as often as it takes."""
    folded: Array = 1.0 - np.abs(1.0 - np.mod(x, 2.0))
    return folded


def distinct(X: Array, taken: Collection[bytes] = ()) -> Array:  # noqa: N803
    """The points ``(m, d)`` that are not ``taken`` (as ``x.tobytes()``), each once, in order."""
    first: dict[bytes, int] = {}
    for i, x in enumerate(X):
        first.setdefault(x.tobytes(), i)
    kept: Array = X[[i for key, i in first.items() if key not in taken]]
    return kept

"""From functions to what the network is trained on: histories and candidates.

Which points a history and its candidates hold depends on what the history has shown so far
and never on values that it has not: otherwise the densities that are learned would be those
of points chosen with hindsight.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from bbopt.metabo.nap.families import Functions, Numbers
from bbopt.metabo.nap.forward import padded
from bbopt.metabo.nap.normalise import Scale, scale_of
from bbopt.space import Array

TOP = 5
"""The best points of a history that others are placed around."""


class Batch(NamedTuple):
    """b histories of n rows, each with m candidates; points as the network sees them."""

    x: Array
    """``(b, n, columns)``."""
    z: Array
    """``(b, n)``."""
    candidates: Array
    """``(b, m, columns)``."""
    targets: Array
    """Normalised utilities of the candidates, ``(b, m)``, clipped to the buckets."""


class Instances(NamedTuple):
    """b optimisation problems over m candidates each."""

    points: Array
    """As the network sees them, ``(b, m, columns)``."""
    utility: Array
    """``(b, m)``."""


class Source(Protocol):
    """Where training tasks come from."""

    def batch(self, rng: np.random.Generator, b: int, n: int, m: int, bound: float) -> Batch:
        """B histories of n rows with m candidates each."""

    def instances(self, rng: np.random.Generator, b: int, m: int) -> Instances:
        """B problems over m candidates each."""


class FunctionSource:
    """Random functions of :mod:`.families`, of any number of coordinates.

    Parameters
    ----------
    columns : int
        Of the network.
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns

    def batch(self, rng: np.random.Generator, b: int, n: int, m: int, bound: float) -> Batch:
        """See :class:`Source`; the targets are free of noise."""
        functions = Functions(rng, b, self.columns)
        space = functions.space
        x, u = _history(rng, functions, n)
        q = space.rounded(_candidates(rng, x, u, m))
        return normalised_batch(x, u, q, functions(q), space.sizes, bound)

    def instances(self, rng: np.random.Generator, b: int, m: int) -> Instances:
        """See :class:`Source`: candidates all over, and around the best of them."""
        functions = Functions(rng, b, self.columns)
        x = functions.space.rounded(rng.random((b, m, self.columns)))
        third = m // 3
        x[:, :third] = functions.space.rounded(_near_best(rng, x, functions(x), third))
        return Instances(padded(x, functions.space.sizes, self.columns), functions(x))


def normalised_batch(
    x: Array, u: Array, q: Array, targets: Array, sizes: Numbers, bound: float
) -> Batch:
    """A batch in the units of its histories.

    Parameters
    ----------
    x, u : (b, n, columns) and (b, n) arrays
        The histories: points of the unit cube and utilities.
    q, targets : (b, m, columns) and (b, m) arrays
        The candidates, and their utilities.
    sizes : (b,) array of int
        Coordinates in use.
    bound : float
        Of the buckets.
    """
    z = np.empty(u.shape)
    wanted = np.empty(targets.shape)
    for i, (values, task) in enumerate(zip(u, targets, strict=True)):
        scale = scale_of(values)
        z[i] = scale.normalised(values)
        if len(values) < 2:
            # no unit is known: the task's own, about the value that is zero for the network
            own = scale_of(task)
            unit = own.spread * own.sd
            scale = Scale(scale.median, unit) if len(values) else own
        wanted[i] = scale.normalised(task)
    columns = x.shape[2]
    return Batch(
        padded(x, sizes, columns),
        z.astype(np.float32),
        padded(q, sizes, columns),
        np.clip(wanted, -bound, bound).astype(np.float32),
    )


def _history(rng: np.random.Generator, functions: Functions, n: int) -> tuple[Array, Array]:
    """Points ``(b, n, columns)`` and what was observed there.

    Half of the histories are uniform; the others go on around their best points, in up to
    three waves, as an optimizer does.
    """
    b = len(functions.space.sizes)
    columns = functions.space.levels.shape[1]
    uniform = functions.space.rounded(rng.random((b, n, columns)))
    u = functions.observed(uniform, rng)
    if n < 4 or rng.random() < 0.4:
        return uniform, u
    x = uniform
    start = int(rng.integers(2, n))
    for end in sorted({*rng.integers(start + 1, n + 1, 2).tolist(), n}):
        if end > start:
            wave = _near_best(rng, x[:, :start], u[:, :start], end - start)
            keep = rng.random((b, end - start, 1)) < rng.random((b, 1, 1)) * 0.6  # still uniform
            wave = functions.space.rounded(np.where(keep, x[:, start:end], wave))
            x[:, start:end] = wave
            u[:, start:end] = functions.observed(wave, rng)
            start = end
    return x, u


def _candidates(rng: np.random.Generator, x: Array, u: Array, m: int) -> Array:
    """Candidates ``(b, m, columns)``: all over, around the best, around any row, recombined."""
    b, n, columns = x.shape
    q = rng.random((b, m, columns))
    if n:
        near = 3 * m // 8
        q[:, :near] = _near_best(rng, x, u, near)
        jittered = slice(near, near + m // 8)
        rows = rng.integers(0, n, (b, m // 8))
        size = np.exp(rng.uniform(np.log(1e-3), np.log(0.1), (b, m // 8, 1)))
        spots = np.take_along_axis(x, rows[..., None], axis=1)
        q[:, jittered] = reflected(spots + size * rng.normal(size=spots.shape))
    return q


def _near_best(rng: np.random.Generator, x: Array, u: Array, m: int) -> Array:
    """M points a history, around or between its best rows ``x`` ``(b, n, columns)``."""
    b, n, columns = x.shape
    best = np.argsort(-u, axis=1)[:, :TOP]
    first, second = (
        np.take_along_axis(best, rng.integers(0, min(TOP, n), (b, m)), axis=1) for _ in range(2)
    )
    spots, others = (np.take_along_axis(x, rows[..., None], axis=1) for rows in (first, second))
    spots = np.where(
        rng.random((b, m, columns)) < 0.5 * (rng.random((b, m, 1)) < 0.3), others, spots
    )
    size = np.exp(rng.uniform(np.log(0.003), np.log(0.4), (b, m, 1)))
    moved = rng.random((b, m, columns)) < rng.choice([0.2, 0.5, 1.0], (b, m, 1))
    steps = size * moved * rng.normal(size=spots.shape)
    ends = rng.random((b, m, 1)) < 0.3  # bounds are reached, too
    return np.where(ends, np.clip(spots + steps, 0.0, 1.0), reflected(spots + steps))


def reflected(x: Array) -> Array:
    """Points folded back into the unit cube at its faces."""
    folded: Array = 1.0 - np.abs(1.0 - np.mod(x, 2.0))
    return folded

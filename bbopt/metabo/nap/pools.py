"""Training from tables: their rows, and mixtures of surrogates of them.

Twenty tables alone would be learned by heart: after 4,000 steps their own rows cost .1 nats and
those of other tasks .5. So a table is mostly changed by a random function and a monotone map, and
half of the tasks are new functions of their kind: convex combinations of surrogates (extremely
randomised trees), changed alike. Some read the surrogates through a random projection of the
space, which keeps what functions look like and forgets where their optima are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from bbopt.metabo.nap.batches import TOP, Batch, Instances, normalised_batch
from bbopt.metabo.nap.forward import padded
from bbopt.metabo.nap.tasks import Past, Task
from bbopt.space import Array

Rows: TypeAlias = npt.NDArray[np.intp]

POINTS = 4000
"""Points at which surrogates are known."""

SLICE = 800
"""How many of them one task has."""

TREES = 60
UNCHANGED = 0.3
"""How many of the tables that are drawn are as they are."""

PROJECTIONS = 4


class PoolSource:
    """Tables and mixtures of their surrogates, over one space.

    Parameters
    ----------
    past : Past
        What is known.
    rng : numpy.random.Generator
        Draws the points of the surrogates, their trees and projections.
    tables : float
        The share of training tasks that are rows of a table; 1: there are no surrogates.
    """

    def __init__(self, past: Past, rng: np.random.Generator, tables: float = 0.5) -> None:
        self.tasks = past.tasks
        self.tables = tables
        self.columns = past.space.width
        self.points: Array = past.space.to_unit(past.space.sample(rng, POINTS))
        if tables == 1.0:
            return
        places = [self.points, *(projected(self.points, rng) for _ in range(PROJECTIONS))]
        self.surrogates: Array = np.stack([_surrogate(t, places, rng) for t in past.tasks], axis=1)

    def batch(self, rng: np.random.Generator, b: int, n: int, m: int, bound: float) -> Batch:
        """See :class:`~bbopt.metabo.nap.batches.Source`."""
        sizes = np.full(b, self.columns)
        x, u = np.empty((b, n, self.columns)), np.empty((b, n))
        q, targets = np.empty((b, m, self.columns)), np.empty((b, m))
        is_uniform = rng.random() < 0.5
        for i in range(b):
            points, utility = self._draw(rng)
            rows, others = _split(rng, points, utility, n, m, is_uniform)
            x[i], u[i] = points[rows], utility[rows]
            q[i], targets[i] = points[others], utility[others]
        return normalised_batch(x, u, q, targets, sizes, bound)

    def instances(self, rng: np.random.Generator, b: int, m: int) -> Instances:
        """See :class:`~bbopt.metabo.nap.batches.Source`; mostly mixtures."""
        points, utility = np.empty((b, m, self.columns)), np.empty((b, m))
        for i in range(b):
            x, u = self._draw(rng, tables=1.0 if self.tables == 1.0 else 0.7 * self.tables)
            rows = rng.choice(len(x), m, replace=len(x) < m)
            points[i], utility[i] = x[rows], u[rows]
        return Instances(padded(points, np.full(b, self.columns), self.columns), utility)

    def _draw(self, rng: np.random.Generator, tables: float | None = None) -> tuple[Array, Array]:
        """Points ``(N, d)`` and utilities ``(N,)`` of a table or a mixture."""
        if rng.random() >= (self.tables if tables is None else tables):
            return self._mixture(rng)
        task = self.tasks[int(rng.integers(len(self.tasks)))]
        if self.tables == 1.0 or rng.random() < UNCHANGED:
            return task.x, task.utility
        u = _standardised(task.utility)
        return task.x, _bent(rng, u + rng.uniform(0.0, 0.6) * _random_function(rng, task.x), 0.5)

    def _mixture(self, rng: np.random.Generator) -> tuple[Array, Array]:
        place = 0 if rng.random() < 0.8 else int(rng.integers(1, PROJECTIONS + 1))
        start = int(rng.integers(POINTS - SLICE))
        points = self.points[start : start + SLICE]
        shares = rng.dirichlet(np.full(len(self.tasks), 0.1))
        u = shares @ self.surrogates[place, :, start : start + SLICE]
        u = u + rng.uniform(0.0, 0.6) * _random_function(rng, points)
        u = u + rng.uniform(0.0, 0.15) * rng.normal(size=len(u))
        return points, _bent(rng, _standardised(u), 0.3)


def _standardised(utility: Array) -> Array:
    """Mean zero and deviation one, where there are differences."""
    sd = float(utility.std())
    standardised: Array = (utility - utility.mean()) / (sd if sd > 0 else 1.0)
    return standardised


def _bent(rng: np.random.Generator, u: Array, odds: float) -> Array:
    """Behind a random power that keeps signs, with the odds given."""
    if rng.random() >= odds:
        return u
    bent: Array = np.sign(u) * np.abs(u) ** np.exp(rng.normal(0.0, 0.5))
    return bent


def projected(points: Array, rng: np.random.Generator) -> Array:
    """Points turned about the centre of the cube by a random rotation, folded back into it."""
    rotation, r = np.linalg.qr(rng.normal(size=(points.shape[1],) * 2))
    turned = 0.5 + (points - 0.5) @ (rotation * np.sign(np.diag(r)))
    folded: Array = 1.0 - np.abs(1.0 - np.mod(turned, 2.0))
    return folded


def _surrogate(task: Task, places: Sequence[Array], rng: np.random.Generator) -> Array:
    """Predictions of the standardised utility, ``(places, points)``."""
    from sklearn.ensemble import ExtraTreesRegressor

    trees = ExtraTreesRegressor(TREES, random_state=int(rng.integers(2**31)))
    trees.fit(task.x, _standardised(task.utility))
    predictions = trees.predict(np.concatenate(places))
    return np.asarray(predictions, dtype=float).reshape(len(places), -1)


def _random_function(rng: np.random.Generator, points: Array) -> Array:
    """A draw of a stationary process with heavy-tailed frequencies, ``(N,)``, variance one."""
    features, d = 64, points.shape[1]
    scales = np.exp(rng.uniform(np.log(0.15), np.log(2.0), d))
    frequencies = rng.standard_t(5.0, (features, d)) / scales
    angles = points @ frequencies.T + rng.uniform(0.0, 2.0 * np.pi, features)
    waves = np.cos(angles.astype(np.float32))
    values: Array = waves @ rng.normal(size=features) * (2.0 / features) ** 0.5
    return values


def _split(
    rng: np.random.Generator, points: Array, utility: Array, n: int, m: int, is_uniform: bool
) -> tuple[Rows, Rows]:
    """Rows of a history and, beside it, of candidates; some near the best of the history."""
    order = rng.permutation(len(points))
    wanted, n = n, min(n, len(points) - 1)
    if n < 4 or is_uniform:
        rows = order[:n]
    else:
        start = int(rng.integers(2, n))
        middle = int(rng.integers(start, n + 1))
        rows = order[:start]
        for end in (middle, n):
            share = rng.random()
            near = _nearest(rng, points, rows, utility, int(share * (end - len(rows))))
            free = order[~np.isin(order, np.concatenate([rows, near]))]
            rows = np.concatenate([rows, near, free[: end - len(rows) - len(near)]])
    near = _nearest(rng, points, rows, utility, m // 3 if n else 0)
    free = order[~np.isin(order, np.concatenate([rows, near]))]
    others = np.concatenate([near, free[: m - len(near)]])
    return np.resize(rows, wanted), np.resize(others, m)  # a small table: some of them again


def _nearest(
    rng: np.random.Generator, points: Array, rows: Rows, utility: Array, count: int
) -> Rows:
    """Rows beside ``rows``, near to a few of the best of them; fewer where no more are left."""
    count = min(count, len(points) - len(rows))
    if count <= 0:
        return np.zeros(0, dtype=int)
    best = rows[np.argsort(-utility[rows], kind="stable")[:TOP]]
    best = rng.permutation(best)[: int(rng.integers(1, TOP + 1))]
    gaps = points.astype(np.float32)[:, None, :] - points[best].astype(np.float32)
    distances = np.einsum("nkd,nkd->nk", gaps, gaps).min(axis=1)
    distances *= np.exp(rng.normal(0.0, rng.uniform(0.2, 2.0), len(points)))
    distances[rows] = np.inf
    nearest: Rows = np.argpartition(distances, count)[:count]
    return nearest

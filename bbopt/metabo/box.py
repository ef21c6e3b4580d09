"""A box with continuous parameters: a criterion is maximised from many starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import minimize

from bbopt.metabo.domain import Choice, Domain, Pending, Place, Preference, Score, sobol
from bbopt.metabo.encoding import Encoding
from bbopt.metabo.posterior import Posterior
from bbopt.space import Array, Params

POOL = 1024
"""Points of the Sobol' sequence among which the starts of a local search are chosen."""

AROUND = 16
"""The best points evaluated whose neighbourhoods are searched too."""

RADII = (0.1, 0.01)
"""Standard deviations of the steps into these neighbourhoods, in lengthscales."""

PER_RADIUS = 8
"""Steps of each radius from each of these points."""

STARTS = 8
"""Local searches."""

EXCHANGES = 10
"""Most changes of one discrete parameter at a time, one after the other."""


class Box(Domain):
    """All points of a space with continuous parameters, or with too many to enumerate.

    Parameters
    ----------
    encoding : Encoding
        Of the space.
    """

    def __init__(self, encoding: Encoding) -> None:
        self.encoding = encoding

    @property
    def size(self) -> float:
        """1,000 a coordinate: in practice enough (the theory has a grid finer by far)."""
        return 1000.0 * max(self.encoding.d, 1)

    def params(self, place: Place) -> Params:
        """The params of a point."""
        return self.encoding.decode(place.x)

    def locate(self, params: Mapping[str, Any]) -> Place:
        """The point of params."""
        return Place(self.encoding.encode(params)[0])

    def starts(self, n: int, seed: int) -> list[Place]:
        """The first points of the Sobol' sequence."""
        points = self.encoding.from_coordinates(sobol(n, len(self.encoding.fields), seed))
        return [Place(x) for x in points]

    def choose(
        self,
        score: Score,
        posterior: Posterior,
        pending: Sequence[Pending],
        preference: Preference,
        rng: np.random.Generator,
    ) -> Choice:
        """The best point found; one evaluated before, where that is near to it."""
        expected = with_pending(posterior, pending)
        known = evaluated(posterior, self.encoding.d)
        x = self._maximise(score, expected, known, preference.excluded, rng)
        x = self._preferred(x, score, expected, known, preference)
        return _choice(Place(x), posterior, expected)

    def look(self, place: Place, posterior: Posterior, pending: Sequence[Pending]) -> Choice:
        """See :meth:`Domain.look`."""
        return _choice(place, posterior, with_pending(posterior, pending))

    def best_mean(self, posterior: Posterior) -> float:
        """The largest posterior mean over the points evaluated; the prior's before any."""
        known = evaluated(posterior, self.encoding.d)
        return float(np.max(posterior.predict(known)[0])) if len(known) else 0.0

    def _maximise(
        self,
        score: Score,
        posterior: Posterior,
        known: Array,
        excluded: frozenset[bytes],
        rng: np.random.Generator,
    ) -> Array:
        pool = self._pool(score, posterior, known, rng)
        values = score.at(posterior, pool)
        order = np.argsort(-values, kind="stable")
        starts = pool[order[:STARTS]]
        found = [pool[order[:1]]]
        if self.encoding.is_continuous.any():
            starts = self._climb(score, posterior, starts)
            found.append(starts)
        if not self.encoding.is_continuous.all():
            exchanged = self._exchange(score, posterior, starts)
            found.append(exchanged[None])
            if self.encoding.is_continuous.any():
                found.append(self._climb(score, posterior, exchanged[None]))
        polished = np.concatenate(found)
        candidates = np.concatenate([polished, pool]) if excluded else polished
        allowed = np.array([x.tobytes() not in excluded for x in candidates])
        if not allowed.any():
            allowed[:] = True
        values = np.where(allowed, score.at(posterior, candidates), -np.inf)
        best: Array = candidates[int(np.argmax(values))]
        return best

    def _pool(
        self, score: Score, posterior: Posterior, known: Array, rng: np.random.Generator
    ) -> Array:
        encoding = self.encoding
        fresh = encoding.from_coordinates(sobol(POOL, len(encoding.fields), rng))
        if not len(known):
            return fresh
        best = known[np.argsort(-score.at(posterior, known), kind="stable")[:AROUND]]
        scales = 1.0 / np.sqrt(posterior.kernel.inverse_squares(encoding.d))
        steps = [
            best + radius * scales * rng.standard_normal((PER_RADIUS, *best.shape))
            for radius in RADII
        ]
        around = np.clip(np.concatenate(steps).reshape(-1, encoding.d), 0.0, 1.0)
        return np.concatenate([fresh, encoding.rounded(around), known])

    def _climb(self, score: Score, posterior: Posterior, starts: Array) -> Array:
        """Local maxima in the continuous columns, all starts in one run of L-BFGS-B."""
        free = np.flatnonzero(self.encoding.is_continuous)
        points = starts.copy()

        def descent(z: Array) -> tuple[float, Array]:
            points[:, free] = z.reshape(len(points), -1)
            values, slopes = score.slope(posterior, points)
            return -float(np.sum(values)), -slopes[:, free].ravel()

        result = minimize(
            descent,
            starts[:, free].ravel(),
            jac=True,
            method="L-BFGS-B",
            bounds=[(0.0, 1.0)] * (len(starts) * len(free)),
            options={"maxiter": 60, "ftol": 1e-9},
        )
        points[:, free] = np.clip(result.x, 0.0, 1.0).reshape(len(points), -1)
        return points

    def _exchange(self, score: Score, posterior: Posterior, starts: Array) -> Array:
        """Hill climbing over the discrete parameters, from the best start."""
        values = score.at(posterior, starts)
        x: Array = starts[int(np.argmax(values))]
        best = float(np.max(values))
        for _ in range(EXCHANGES):
            others = self.encoding.neighbours(x)
            if not len(others):
                break
            values = score.at(posterior, others)
            if float(np.max(values)) <= best:
                break
            x, best = others[int(np.argmax(values))], float(np.max(values))
        return x

    def _preferred(
        self,
        x: Array,
        score: Score,
        posterior: Posterior,
        known: Array,
        preference: Preference,
    ) -> Array:
        """A point evaluated before, where its score is near: repeats, not near-duplicates."""
        known = np.array([k for k in known if k.tobytes() not in preference.excluded])
        if not preference.near or not len(known):
            return x
        values = score.at(posterior, known)
        sd = posterior.predict(known)[1]
        gap = score.at(posterior, x[None])[0] - values - score.slack(sd, preference.near)
        near = known[gap <= 0.0]
        if not len(near):
            return x
        last = preference.last
        if last is not None:
            distance = np.sqrt(np.square(near - last.x).sum(axis=1))
            if preference.distance_cost or distance.min() == 0.0:
                nearest: Array = near[int(np.argmin(distance))]
                return nearest
        closest: Array = near[int(np.argmin(gap[gap <= 0.0]))]
        return closest


def _choice(place: Place, posterior: Posterior, expected: Posterior) -> Choice:
    """What is known of a place; ``expected`` is the posterior once pending results are in."""
    mean, sd = expected.predict(place.x[None])
    gain = 0.0 if expected is posterior else 2.0 * (expected.info - posterior.info)
    return Choice(place, float(mean[0]), float(sd[0]) ** 2, gain)


def evaluated(posterior: Posterior, d: int) -> Array:
    """The points that a posterior has data of, ``(u, d)``."""
    data = posterior.observations
    return np.empty((0, d)) if data is None else data.points


def with_pending(posterior: Posterior, pending: Sequence[Pending]) -> Posterior:
    """The posterior once pending results are in: its mean as it is, its variance reduced."""
    if not pending:
        return posterior
    expected = Posterior(posterior.kernel, posterior.noise)
    data = posterior.observations
    if data is not None:
        expected.update_many(data.points, data.count, data.mean, data.m2, data.noise)
    X = np.array([p.place.x for p in pending])  # noqa: N806
    counts = np.array([p.count for p in pending])
    expected.update_many(X, counts, posterior.predict(X)[0], np.zeros(len(X)))
    return expected

"""A finite table of candidates: every decision looks at all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from bbopt.metabo.criteria import Criterion
from bbopt.metabo.domain import Choice, Domain, Pending, Place, Preference, Score, sobol
from bbopt.metabo.encoding import Encoding
from bbopt.metabo.posterior import Posterior
from bbopt.space import Array, Params
from bbopt.spec import Table

TIE = 1e-9
"""Scores this near to the maximum, in prior standard deviations, are tied: lowest row first."""


class Finite(Domain):
    """The rows of a table.

    Parameters
    ----------
    table : Table
        The allowed params.
    encoding : Encoding
        Of their space.
    """

    def __init__(self, table: Table, encoding: Encoding) -> None:
        self.encoding = encoding
        self._table = table
        self.candidates: Array = np.ascontiguousarray(encoding.reduce(table.x))

    @property
    def size(self) -> float:
        """Number of rows."""
        return float(len(self._table))

    def params(self, place: Place) -> Params:
        """The params of a row."""
        params: Params = self._table[place.row]
        return params

    def locate(self, params: Mapping[str, Any]) -> Place | None:
        """The first row with these params."""
        row = self._row_of.get(self._table.space.key(params))
        return None if row is None else self._place(row)

    def starts(self, n: int, seed: int) -> list[Place]:
        """The rows nearest to the points of a Sobol' sequence, each once while there are more."""
        chosen: list[Place] = []
        free = np.ones(len(self._table), dtype=bool)
        for x in self.encoding.from_coordinates(sobol(n, len(self.encoding.fields), seed)):
            if not free.any():
                free[:] = True
            distance = np.square(self.candidates - x).sum(axis=1)
            row = int(np.argmin(np.where(free, distance, np.inf)))
            free[row] = False
            chosen.append(self._place(row))
        return chosen

    def choose(
        self,
        score: Score,
        posterior: Posterior,
        pending: Sequence[Pending],
        preference: Preference,
        rng: np.random.Generator,
    ) -> Choice:
        """The row with the largest score; the lowest of equals."""
        sd = _sd(posterior, pending)
        if isinstance(score, Criterion):
            values = score(posterior.mean, sd)
        else:
            values = score.at(posterior, self.candidates)
        row = self._preferred(values, score, sd, preference, posterior)
        return _choice(self._place(row), posterior, sd, pending)

    def look(self, place: Place, posterior: Posterior, pending: Sequence[Pending]) -> Choice:
        """See :meth:`Domain.look`."""
        return _choice(place, posterior, _sd(posterior, pending), pending)

    def best_mean(self, posterior: Posterior) -> float:
        """The largest posterior mean over all rows."""
        return float(np.max(posterior.mean))

    def _preferred(
        self,
        values: Array,
        score: Score,
        sd: Array,
        preference: Preference,
        posterior: Posterior,
    ) -> int:
        if preference.excluded:
            taken = [row for x in preference.excluded for row in self._rows_at.get(x, ())]
            if len(taken) < len(values):
                values = values.copy()
                values[taken] = -np.inf
        tie = TIE * float(np.sqrt(posterior.kernel.variance))
        best = int(np.argmax(values >= np.max(values) - tie))
        last = preference.last
        if not preference.near or last is None:
            return best
        near = values >= values[best] - score.slack(sd, preference.near)
        if near[last.row]:
            return last.row
        if not preference.distance_cost:
            return best
        distance = np.sqrt(np.square(self.candidates - last.x).sum(axis=1))
        return int(np.argmin(np.where(near, distance, np.inf)))

    def _place(self, row: int) -> Place:
        return Place(self.candidates[row], row)

    @cached_property
    def _rows_at(self) -> dict[bytes, list[int]]:
        """The rows at each point; several where the table has one twice."""
        rows: dict[bytes, list[int]] = {}
        for row, x in enumerate(self.candidates):
            rows.setdefault(x.tobytes(), []).append(row)
        return rows

    @cached_property
    def _row_of(self) -> dict[Any, int]:
        key = self._table.space.key
        rows = range(len(self._table) - 1, -1, -1)  # of equal rows the first
        return {key(self._table[row]): row for row in rows}


def _choice(place: Place, posterior: Posterior, sd: Array, pending: Sequence[Pending]) -> Choice:
    """What is known of a row; ``sd`` are those of all rows once pending results are in."""
    gain = _gain(posterior, pending) if pending else 0.0
    return Choice(place, float(posterior.mean[place.row]), float(sd[place.row]) ** 2, gain)


def _sd(posterior: Posterior, pending: Sequence[Pending]) -> Array:
    """The sd of all rows, once pending results are in."""
    if not pending:
        return posterior.sd
    return posterior.hallucinated([(p.place.row, p.count) for p in pending])


def _gain(posterior: Posterior, pending: Sequence[Pending]) -> float:
    """``ln det(I + Σ/noise)`` of the evaluations that are awaited."""
    counts: dict[int, int] = {}
    for p in pending:
        counts[p.place.row] = counts.get(p.place.row, 0) + p.count
    rows = list(counts)
    covariance = np.array([posterior.covariance(row)[rows] for row in rows])
    noise = [_noise_at(posterior, row) for row in rows]
    scale = np.sqrt(np.array(list(counts.values())) / noise)
    information = covariance * scale * scale[:, None]
    return float(np.linalg.slogdet(np.eye(len(rows)) + information)[1])


def _noise_at(posterior: Posterior, row: int) -> float:
    """Variance of one evaluation of a row."""
    data = posterior.observations
    j = None if data is None else data.find(posterior.candidates[row])
    return posterior.noise if data is None or j is None else float(data.noise[j])

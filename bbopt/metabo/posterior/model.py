"""Posterior: the one interface in front of all forms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from bbopt import checks
from bbopt.errors import UsageError
from bbopt.metabo.kernels import Kernel
from bbopt.metabo.posterior.cholesky import Cholesky
from bbopt.metabo.posterior.lazy import Lazy
from bbopt.metabo.posterior.observations import Observations, moments
from bbopt.metabo.posterior.rows import Batch, Bound, Rows, Score, Table
from bbopt.metabo.posterior.unique import Unique
from bbopt.space import Array

FORMS: dict[str, type[Table]] = {"rows": Rows, "unique": Unique, "lazy": Lazy}

CHECK_EVERY = 32
"""Batches between two checks of the kept values against a fresh solve."""

CHECKED = 8
"""Candidates that are checked."""

DRIFT = 1e-8
"""Drift, as a share of the prior sd (mean) or variance, from which on all is computed anew."""

LONGEST = 256
"""Batches after which it is computed anew in any case."""

STATISTICS = ("count", "mean", "m2", "noise")


class Posterior:
    """The exact posterior of a Gaussian process, whose cost ignores how often points repeat.

    ``y = f(x) + noise``, ``f`` with prior mean zero and covariance ``kernel``. Equal to the
    posterior with one row an evaluation, exact for counts from 1 to 1e6 and more.

    Parameters
    ----------
    kernel : Kernel
        :class:`RBF` or :class:`Matern52`, over the unit cube.
    noise : float
        Variance of one evaluation (λ), > 0.
    candidates : (n, d) array, optional
        A finite set of points; then only they can be evaluated, by index or coordinates, and
        :attr:`mean` and :attr:`sd` are kept up to date at all of them.
    form : str
        How they are kept: ``"rows"`` (one row a batch: fastest up to 1e5 candidates),
        ``"unique"`` (one row a unique point: least memory, many revisits) or ``"lazy"``
        (rows computed where a maximum may be: from 1e6 candidates on).

    Raises
    ------
    UsageError
        If an argument has the wrong shape, sign or name.

    Examples
    --------
    >>> from bbopt.metabo import RBF, Posterior
    >>> p = Posterior(RBF(0.3), noise=0.04)
    >>> p.update([0.2], [1.1, 0.9])
    >>> mean, sd = p.predict([[0.2], [0.9]])
    >>> mean.round(3), sd.round(3)
    (array([0.98 , 0.064]), array([0.14 , 0.998]))
    """

    def __init__(
        self,
        kernel: Kernel,
        noise: float,
        *,
        candidates: npt.ArrayLike | None = None,
        form: str = "rows",
    ) -> None:
        if not isinstance(kernel, Kernel):
            raise UsageError(f"kernel must be an RBF or Matern52, got {kernel!r}")
        self.kernel = kernel
        self.noise = _positive("noise", noise)
        self._observations: Observations | None = None
        self._dense: Cholesky | None = None
        self._table: Table | None = None
        self._candidate_of: list[int] = []
        self._rows_of: dict[bytes, int] = {}  # filled when a candidate is told by coordinates
        self._info = 0.0
        self._base: dict[str, Any] = {}  # the data when the table was last computed anew
        self._since: list[tuple[int, int, float, float, float]] = []  # the batches from then on
        checks.one_of("form", form, FORMS)
        if candidates is not None:
            self.candidates = _matrix("candidates", candidates)
            if not len(self.candidates):
                raise UsageError("candidates must have at least one row, got none")
            self._table = FORMS[form](kernel, self.candidates)

    # -- data

    def update(
        self,
        x: npt.ArrayLike | int,
        values: npt.ArrayLike | None = None,
        *,
        count: int | None = None,
        mean: float | None = None,
        m2: float = 0.0,
        noise: float | None = None,
    ) -> None:
        """Condition on evaluations of one point, as one batch.

        Parameters
        ----------
        x : (d,) array or int
            The point, or the index of a candidate.
        values : float or (b,) array
            What was observed there, finite; or give ``count``, ``mean`` and ``m2`` instead.
        count, mean, m2 : int, float, float
            Number of values (>= 1), their mean and their sum of squared deviations.
        noise : float, optional
            Variance of one evaluation at this point, where it differs from ``noise``; told at
            its first visit, later changed by :meth:`refit` only.

        Raises
        ------
        UsageError
            If a value is not finite, or ``x`` is not a point (or not a candidate).
        """
        point, candidate = self._resolve(x)
        count, mean, m2 = _batch(values, count, mean, m2)
        data, dense = self._start(len(point))
        j = data.find(point)
        if j is None:
            own = self.noise if noise is None else _positive("noise", noise)
            j = data.add(point, own)
            self._candidate_of.append(candidate)
        elif noise is not None and noise != data.noise[j]:
            raise UsageError(
                f"noise at a point is told at its first visit ({data.noise[j]!r}), got {noise!r}"
            )
        batch = Batch(candidate, j, int(data.count[j]), count, mean, float(data.noise[j]))
        self._since.append((candidate, count, mean, m2, batch.noise))
        if self._table is not None:
            self._info += 0.5 * np.log1p(count * self._table.at(candidate)[1] / batch.noise)
            self._table.condition(batch)
        data.pool(j, count, mean, m2)
        dense.changed(j)
        if self._table is not None and self._is_worn():
            self.compact()

    def update_many(
        self,
        X: npt.ArrayLike,  # noqa: N803
        count: npt.ArrayLike,
        mean: npt.ArrayLike,
        m2: npt.ArrayLike,
        noise: npt.ArrayLike | None = None,
    ) -> None:
        """Condition on many points at once: one factorisation instead of many steps.

        Parameters
        ----------
        X : (m, d) array, or (m,) array of int
            Points, or indices of candidates; equal ones allowed.
        count, mean, m2 : (m,) arrays
            Evaluations of each (>= 1), their mean and their sum of squared deviations.
        noise : (m,) array, optional
            Variance of one evaluation at each, where it differs from ``noise``.
        """
        indices = np.asarray(X)
        given = indices if indices.ndim == 1 and indices.dtype.kind == "i" else _matrix("X", X)
        own = np.full(len(given), self.noise) if noise is None else np.asarray(noise)
        columns = [np.asarray(column) for column in (count, mean, m2, own)]
        for name, column in zip(("count", "mean", "m2", "noise"), columns, strict=True):
            if column.shape != (len(given),):
                raise UsageError(
                    f"{name} must have one entry a row of X ({len(given)}), "
                    f"got shape {column.shape}"
                )
        checked = [
            (*self._resolve(x), *_batch(None, n, y, s), _positive("noise", v))
            for x, n, y, s, v in zip(given, *(c.tolist() for c in columns), strict=True)
        ]
        if not checked:
            return
        data, dense = self._start(len(checked[0][0]))
        for point, candidate, n, y, s, v in checked:
            j = data.find(point)
            if j is None:
                j = data.add(point, v)
                self._candidate_of.append(candidate)
            data.pool(j, n, y, s)
        dense.reset(self.kernel)
        self.compact()

    @property
    def observations(self) -> Observations | None:
        """The data: unique points with count, mean, m2 and noise; None before the first."""
        return self._observations

    @property
    def n_evaluations(self) -> int:
        """Evaluations so far (N)."""
        return 0 if self._observations is None else int(self._observations.count.sum())

    # -- the posterior

    def predict(self, X: npt.ArrayLike) -> tuple[Array, Array]:  # noqa: N803
        """Mean and standard deviation of the latent function at any ``X`` ``(n, d)``.

        Returns
        -------
        mean, sd : (n,) arrays
            ``sd`` has no noise of evaluation in it; at least 1e-7 of the prior's.
        """
        points = self._points(X)
        if self._dense is None:
            return np.zeros(len(points)), np.sqrt(self.kernel.diag(points))
        return self._dense.predict(points)

    def gradients(self, X: npt.ArrayLike) -> tuple[Array, Array, Array, Array]:  # noqa: N803
        """Mean and sd ``(n,)`` at ``X`` ``(n, d)``, and their gradients ``(n, d)``."""
        points = self._points(X)
        if self._dense is None:
            return Cholesky(self.kernel, Observations(points.shape[1])).gradients(points)
        return self._dense.gradients(points)

    @property
    def mean(self) -> Array:
        """Posterior mean at the candidates ``(n,)``."""
        return self._over_candidates().mean

    @property
    def sd(self) -> Array:
        """Posterior standard deviation of the latent function at the candidates ``(n,)``."""
        sd: Array = np.sqrt(self._over_candidates().variance)
        return sd

    def covariance(self, i: int) -> Array:
        """Posterior covariance of the latent function at candidate ``i`` with all, ``(n,)``."""
        table = self._over_candidates()
        i = checks.integer("i", i, 0, len(self.candidates) - 1)
        covariance = table.covariance(i)
        covariance[i] = table.at(i)[1]  # where the difference cancels
        return covariance

    def hallucinated(self, pending: Sequence[tuple[int, int]]) -> Array:
        """The sd at the candidates ``(n,)`` once pending evaluations are in, whatever their values.

        Parameters
        ----------
        pending : sequence of (int, int)
            Candidate and number of evaluations (>= 1) of each batch that is awaited.
        """
        table = self._over_candidates()
        counts: dict[int, int] = {}
        for i, count in pending:
            i = checks.integer("candidate", i, 0, len(self.candidates) - 1)
            counts[i] = counts.get(i, 0) + checks.integer("count", count, 1)
        sd: Array = np.sqrt(table.hallucinated([self._awaited(i, n) for i, n in counts.items()]))
        return sd

    def argmax(
        self,
        score: Score,
        bound: Bound | None = None,
        *,
        tolerance: float | None = None,
    ) -> int:
        """The candidate with the largest ``score(mean, sd)``; near-ties go to the lowest index.

        Parameters
        ----------
        score : callable
            Acquisition, elementwise over arrays, not decreasing in mean and sd.
        bound : callable, optional
            ``bound(mean, sd, drift)``: the most that ``score`` can be at a candidate whose
            mean and sd were these, before innovations with sum of squares ``drift²``. By
            default ``score(mean + drift sd, sd)``. Read by the form ``"lazy"`` only.
        tolerance : float, optional
            Scores this near to the maximum are tied; 1e-9 of the prior sd by default.
        """
        table = self._over_candidates()
        if tolerance is None:
            tolerance = 1e-9 * float(np.sqrt(self.kernel.variance))
        return table.argmax(score, bound, tolerance)

    def solve(self, values: npt.ArrayLike) -> Array:
        """``M⁻¹ values`` ``(u,)``, M the covariance of the observed means of the unique points."""
        if self._dense is None:
            raise UsageError("solve needs observations: there are none")
        return self._dense.factor.solve(np.asarray(values, dtype=np.float64))

    @property
    def info(self) -> float:
        """Information gained, ``½ ln det(I + K_N / noise)`` in nats."""
        if self._dense is None:
            return 0.0
        return self._info if self._table is not None else self._dense.factor.info

    # -- upkeep

    def refit(
        self, kernel: Kernel, noise: float, *, point_noise: npt.ArrayLike | None = None
    ) -> None:
        """Take other hyper-parameters and compute everything anew from the data.

        Parameters
        ----------
        kernel : Kernel
            The new covariance function.
        noise : float
            Variance of one evaluation, > 0.
        point_noise : (u,) array, optional
            The same for each unique point so far, where it differs from ``noise``.
        """
        noise = _positive("noise", noise)
        if point_noise is not None:
            given = np.asarray(point_noise, dtype=np.float64)
            u = 0 if self._observations is None else len(self._observations)
            if given.shape != (u,) or not np.all(np.isfinite(given) & (given > 0)):
                raise UsageError(
                    f"point_noise must be > 0, one number for each of the {u} unique points"
                )
        self.kernel, self.noise = kernel, noise
        if self._observations is not None and self._dense is not None:
            self._observations.noise[:] = noise if point_noise is None else given
            self._dense.reset(kernel)
        self.compact()

    def compact(self) -> None:
        """Compute everything anew, with one row a unique point."""
        self._since = []
        if self._table is None:
            if self._dense is not None:
                self._dense.reset(self.kernel)
            return
        data, dense = self._start(self.candidates.shape[1])
        self._base = {name: getattr(data, name).copy() for name in STATISTICS}
        self._base["candidate"] = np.array(self._candidate_of, dtype=np.int64)
        dense.reset(self.kernel)
        self._table.rebuild(self.kernel, data, dense, self._candidate_of)
        self._info = dense.factor.info if len(data) else 0.0

    def to_state(self) -> dict[str, Any]:
        """What gives the same numbers again, to the last bit; only with candidates.

        The data when all was last computed anew, and the batches since then: arrays.
        """
        self._over_candidates()
        since = {
            f"since_{name}": np.array(column)
            for name, column in zip(
                ("candidate", *STATISTICS), list(zip(*self._since, strict=True)), strict=False
            )
        }
        return {**self._base, **since}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`to_state` of an equal posterior gave; only on a fresh one."""
        base = [state[name] for name in ("candidate", *STATISTICS) if name in state]
        if base and len(base[0]):
            self.update_many(*base)
        if "since_candidate" in state:
            columns = [state[f"since_{name}"].tolist() for name in ("candidate", *STATISTICS)]
            for i, count, mean, m2, noise in zip(*columns, strict=True):
                self.update(i, count=count, mean=mean, m2=m2, noise=noise)

    def _awaited(self, i: int, count: int) -> Batch:
        """A batch without values."""
        data = self._observations
        j = None if data is None else data.find(self.candidates[i])
        if data is None or j is None:
            return Batch(i, -1, 0, count, 0.0, self.noise)
        return Batch(i, j, int(data.count[j]), count, 0.0, float(data.noise[j]))

    def _is_worn(self) -> bool:
        """Too many rows, too long since the last time, or drifted."""
        table, data, dense = self._table, self._observations, self._dense
        if table is None or data is None or dense is None:
            return False
        if table.rows > 1.5 * len(data) + 32 or len(self._since) >= LONGEST:
            return True
        if len(self._since) % CHECK_EVERY:
            return False
        # Different candidates each time, spread over the set.
        n = len(self.candidates)
        checked = (np.arange(CHECKED) * n // CHECKED + len(self._since) * 7919) % n
        mean, variance = dense.moments(self.candidates[checked])
        kept = np.array([table.at(int(i)) for i in checked])
        prior = self.kernel.variance
        drift_mean = np.max(np.abs(kept[:, 0] - mean)) / np.sqrt(prior)
        drift_variance = np.max(np.abs(kept[:, 1] - variance)) / prior
        return bool(max(drift_mean, drift_variance) > DRIFT)

    def _start(self, d: int) -> tuple[Observations, Cholesky]:
        if self._observations is None or self._dense is None:
            self._observations = Observations(d)
            self._dense = Cholesky(self.kernel, self._observations)
        if self._observations.d != d:
            raise UsageError(f"x must have {self._observations.d} coordinates, got {d}")
        return self._observations, self._dense

    def _over_candidates(self) -> Table:
        if self._table is None:
            raise UsageError("mean, sd and argmax need candidates: Posterior(..., candidates=X)")
        return self._table

    def _resolve(self, x: npt.ArrayLike | int) -> tuple[Array, int]:
        """The point and, where there are candidates, its index among them (else -1)."""
        if isinstance(x, Integral):
            if self._table is None:
                raise UsageError(f"x must be a point, an index needs candidates; got {x!r}")
            i = checks.integer("x", x, 0, len(self.candidates) - 1)
            return self.candidates[i], i
        point = np.ascontiguousarray(x, dtype=np.float64) + 0.0
        if point.ndim != 1 or not np.all(np.isfinite(point)):
            raise UsageError(f"x must be one finite point (d,), got {x!r}")
        if self._table is None:
            return point, -1
        if not self._rows_of:
            rows = reversed(range(len(self.candidates)))  # of equal rows the lowest
            self._rows_of = {self.candidates[i].tobytes(): i for i in rows}
        found = self._rows_of.get(point.tobytes())
        if found is None:
            raise UsageError(f"x must be one of the candidates, got {x!r}")
        return point, found

    def _points(self, X: npt.ArrayLike) -> Array:  # noqa: N803
        points = _matrix("X", X)
        if self._observations is not None and points.shape[1] != self._observations.d:
            raise UsageError(
                f"X must have {self._observations.d} columns, got shape {points.shape}"
            )
        return points


def _batch(
    values: npt.ArrayLike | None, count: Any, mean: Any, m2: Any
) -> tuple[int, float, float]:
    """Count, mean and m2 of a batch, checked."""
    if values is None:
        return (
            checks.integer("count", count, 1),
            checks.number("mean", mean),
            checks.number("m2", m2, 0),
        )
    if count is not None or mean is not None:
        raise UsageError("give either values or count, mean and m2")
    array = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if array.ndim != 1 or not array.size or not np.all(np.isfinite(array)):
        raise UsageError(f"values must be one or more finite numbers, got {values!r}")
    return moments(array)


def _matrix(name: str, value: npt.ArrayLike) -> Array:
    matrix: Array = np.ascontiguousarray(value, dtype=np.float64) + 0.0
    if matrix.ndim != 2 or not np.all(np.isfinite(matrix)):
        raise UsageError(f"{name} must be finite and (n, d), got shape {matrix.shape}")
    return matrix


def _positive(name: str, value: Any) -> float:
    value = checks.number(name, value)
    if value <= 0:
        raise UsageError(f"{name} must be > 0, got {value!r}")
    return float(value)

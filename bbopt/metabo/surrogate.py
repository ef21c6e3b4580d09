"""The model of a search: observations, hyper-parameters that are learned, their posterior.

The model maximises: it sees minus the loss, standardised once, less a constant mean that is
estimated with the hyper-parameters. Without noise it sees the logarithms of how much worse than
the best the values are, wherever that makes them likelier. Where the hyper-parameters are known
it sees minus the loss as it is, with prior mean zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple, dataclass
from operator import itemgetter
from typing import Any

import numpy as np

from bbopt.metabo.domain import Place
from bbopt.metabo.hyperparameters import (
    EXACT_REPEATS,
    REPLICATED,
    Fit,
    fit,
    has_noise,
    is_deterministic,
    local_noise,
    refit_due,
    within_variance,
)
from bbopt.metabo.kernels import RBF, Kernel, Matern52
from bbopt.metabo.posterior import Posterior
from bbopt.metabo.posterior.observations import Observations
from bbopt.metabo.standardisation import Standardisation
from bbopt.space import Array

KERNELS: dict[str, type[Kernel]] = {"matern52": Matern52, "rbf": RBF}

LARGEST = 1e100
"""Larger losses are cut to this, so that their squares stay finite."""

EXACT = 1e-6
"""The noise of an objective without any, as a share of the prior variance."""

MANY = 500_000
"""Candidates from which on memory decides: one row a unique point is kept, not one a batch."""

FAILED = 0.25
"""Quantile of the means seen at which a failed point counts as one observation."""

FAILED_NOISE = 1.0
"""Noise of that observation, as a share of the prior variance.

It says little beside evaluations nearby, so that what fails by chance does no harm; a region
where all fails adds up.
"""

REPEATS_FOR_NOISE = 10
"""Repeats, of all points together, that tell the noise to within a factor of 2."""

N_STARTS, N_STARTS_LATER = 4, 2
"""Starts of the first fit of hyper-parameters, and of later ones."""


DOUBT = 0.5
"""Longest lengthscale of :meth:`Surrogate.doubted`, as a share of the geometric mean."""


@dataclass(frozen=True)
class Hyperparameters:
    """What the model knows or assumes.

    Parameters
    ----------
    kernel : str
        ``"matern52"``, ``"rbf"``, or ``"auto"``: whichever explains the data better.
    lengthscale : float or None
        Of all coordinates; None where lengthscales, variance and noise are learned.
    variance : float
        Prior variance, where the lengthscale is known.
    noise : float or None
        Variance of one evaluation; None where it is learned.
    heteroscedastic : bool
        Whether each point has a noise of its own.
    deterministic : bool or None
        Whether evaluations have no noise; None where that is found out.
    """

    kernel: str
    lengthscale: float | None
    variance: float
    noise: float | None
    heteroscedastic: bool
    deterministic: bool | None


class Surrogate:
    """A Gaussian process over the points of a domain, from the losses told.

    Parameters
    ----------
    d : int
        Number of coordinates.
    groups : tuple of int or None
        The lengthscale of each coordinate (see :class:`~bbopt.metabo.kernels.Kernel`).
    candidates : (n, d) array or None
        All points, where they are finitely many.
    given : Hyperparameters
        What is known.
    """

    def __init__(
        self,
        d: int,
        groups: tuple[int, ...] | None,
        candidates: Array | None,
        given: Hyperparameters,
    ) -> None:
        self._given, self._candidates = given, candidates
        self.learns = given.lengthscale is None
        n_scales = d if groups is None else max(groups, default=-1) + 1
        scale = 0.5 * max(d, 1) ** 0.5 if given.lengthscale is None else given.lengthscale
        self._kinds = list(KERNELS.values()) if given.kernel == "auto" else [KERNELS[given.kernel]]
        self.kernel: Kernel = self._kinds[0]([scale] * max(n_scales, 1), given.variance, groups)
        self.noise = EXACT if given.noise is None else given.noise
        self.data = Observations(d)  # of minus the loss
        self._rows: list[int] = []  # of the points, in the table
        self._failed: dict[bytes, Place] = {}  # points without any value
        self._scale = Standardisation()
        self._constant = 0.0
        self._point_noise: Array | None = None
        self.n_batches = 0
        self._fitted = (0, 0)  # batches and points at the last fit
        self._posterior: Posterior | None = None  # updated by what is told
        self._look: Posterior | None = None  # computed for a look at it, until something is told

    # -- data

    def observe(self, place: Place, count: int, mean: float, m2: float) -> None:
        """Learn ``count`` losses with this mean and sum of squared deviations at a place."""
        mean = float(np.clip(-mean, -LARGEST, LARGEST))
        m2 = float(min(m2, LARGEST * LARGEST))
        self.n_batches += 1
        self._look = None
        key = place.x.tobytes()
        if key in self._failed:
            del self._failed[key]
            self._posterior = None  # what stood for the failure must go
        j = self.data.find(place.x)
        if j is None:
            j = self.data.add(place.x, self.noise)
            self._rows.append(place.row)
        self.data.pool(j, count, mean, m2)
        if self._posterior is not None and place.row >= 0:
            mean, m2 = self._scale.apply_one(mean, m2)
            self._posterior.update(place.row, count=count, mean=mean - self._constant, m2=m2)
        else:
            self._posterior = None

    def fail(self, place: Place) -> None:
        """Learn that nothing could be observed at a place."""
        self.n_batches += 1
        self._look = None
        if self.data.find(place.x) is None and place.x.tobytes() not in self._failed:
            self._failed[place.x.tobytes()] = place
            self._posterior = None

    @property
    def points(self) -> list[Array]:
        """Every point with an evaluation, failed ones included."""
        return [*self.data.points, *(place.x for place in self._failed.values())]

    @property
    def n_evaluations(self) -> int:
        """Finite evaluations so far."""
        return int(self.data.count.sum())

    @property
    def is_deterministic(self) -> bool:
        """Whether evaluations have no noise, as said or as seen."""
        if self._given.deterministic is not None:
            return self._given.deterministic
        return self.learns and is_deterministic(self.data)

    @property
    def is_cut(self) -> bool:
        """Whether a loss was too large for the model, which knows a smaller one instead."""
        return bool(np.any(np.abs(self.data.mean) >= LARGEST))

    @property
    def is_ready(self) -> bool:
        """Whether there is data, and the hyper-parameters are known or were learned."""
        return len(self.data) > 0 and (not self.learns or self._fitted != (0, 0))

    # -- hyper-parameters

    @property
    def is_refit_due(self) -> bool:
        """Whether hyper-parameters are learned and enough has come since the last time."""
        u = len(self.data)
        if not self.learns or u < 2:
            return False
        if self._fitted == (0, 0) or refit_due(self.n_batches, u, *self._fitted):
            return True
        if self._scale.knee is not None and not self.is_deterministic:
            return True
        return self.is_contradicted and self.n_batches > self._fitted[0]

    @property
    def is_contradicted(self) -> bool:
        """Whether repeats show another noise than the one that was learned, by a factor of 2."""
        if not self.knows_noise or self.is_deterministic:
            return False
        within = within_variance(self.data) or 0.0
        ratio = within / self._scale.scale**2 / self.noise
        return not 0.5 <= ratio <= 2.0

    @property
    def knows_noise(self) -> bool:
        """Whether enough repeats were seen to learn the noise from; else the prior says it."""
        return self.learns and int(np.sum(self.data.count - 1)) >= REPEATS_FOR_NOISE

    def to_replicate(
        self, awaited: Mapping[bytes, int], *, thorough: bool
    ) -> tuple[Place, int] | None:
        """The best point without repeats, and how many, while too few are there.

        A fit to points evaluated once each cannot tell noise from a function that varies fast.

        Parameters
        ----------
        awaited : mapping of bytes to int
            Evaluations that pend, by the point.
        thorough : bool
            Repeat until the noise can be told; else until it is plain whether there is any.
        """
        points, evaluations = REPLICATED if thorough else (EXACT_REPEATS, 2)
        enough, count = points * (evaluations - 1), self.data.count
        if not self.learns or self._given.noise is not None or np.sum(count - 1) >= enough:
            return None
        if self.is_deterministic or (not thorough and has_noise(self.data)):
            return None
        keys = [x.tobytes() for x in self.data.points]
        count = count + np.array([awaited.get(key, 0) for key in keys], dtype=np.int64)
        if np.sum(count - 1) >= enough:
            return None
        j = int(np.argmax(np.where(count < evaluations, self.data.mean, -np.inf)))
        return Place(self.data.points[j].copy(), self._rows[j]), evaluations - 1

    def refit_if_due(self, rng: np.random.Generator) -> None:
        """Learn the hyper-parameters anew when enough has come since the last time."""
        if not self.is_refit_due:
            return
        if self._fitted == (0, 0):
            self._scale = Standardisation.of(self.data)
        scales = self._scale.with_knees(self.data)
        if not self.is_deterministic or self._given.noise is not None:
            scales = scales[:1]
        first, *others = sorted(self._kinds, key=lambda kind: kind is not type(self.kernel))
        found = max((self._learned(first, scale, rng) for scale in scales), key=itemgetter(2))
        found = max(
            [found, *(self._learned(kind, found[1], rng) for kind in others)], key=itemgetter(2)
        )
        fitted, self._scale, _ = found
        self.kernel, self.noise, self._constant = fitted.kernel, fitted.noise, fitted.constant
        self._point_noise = None
        if self._given.heteroscedastic:
            self._point_noise = local_noise(self.noise, self._scale.apply(self.data))
        self._fitted = (self.n_batches, len(self.data))
        self._posterior = self._look = None

    def _learned(
        self, kind: type[Kernel], scale: Standardisation, rng: np.random.Generator
    ) -> tuple[Fit, Standardisation, float]:
        """The fit of a kernel of this kind on this scale, and its log density of the values."""
        given = self._given.noise
        found = fit(
            self._as(kind),
            scale.apply(self.data),
            rng=rng,
            n_starts=N_STARTS if self._fitted == (0, 0) else N_STARTS_LATER,
            fit_constant=True,
            deterministic=self.is_deterministic,
            noise=None if given is None else given / scale.scale**2,
        )
        return found, scale, found.log_density + scale.log_slopes(self.data)

    def _as(self, kind: type[Kernel]) -> Kernel:
        """A kernel of this kind with the lengthscales and variance of today's."""
        k = self.kernel
        return kind(k.lengthscales, k.variance, k.groups)

    # -- what is known

    @property
    def posterior(self) -> Posterior:
        """The posterior of all that was told; to look at it changes nothing later."""
        if self._posterior is not None:
            return self._posterior
        if self._look is None:
            self._look = self._computed()
        return self._look

    def doubted(self) -> Posterior:
        """The posterior of a function that varies faster than what was learned.

        No lengthscale is longer than ``DOUBT`` of their geometric mean. A few points may explain
        a coordinate away, and a search that believes them never evaluates what would tell.
        Berkenkamp et al. 2019 (arXiv:1901.03357) shorten lengthscales for the same reason.
        """
        k = self.kernel
        longest = DOUBT * float(np.exp(np.log(k.lengthscales).mean()))
        shorter = np.minimum(k.lengthscales, longest).tolist()
        return self._computed(kernel=type(k)(shorter, k.variance, k.groups))

    def keep(self) -> None:
        """Update the posterior from now on, over a table, rather than compute it anew."""
        self._posterior = self.posterior

    def at_points(self) -> tuple[Array, Array]:
        """Posterior mean and sd at the points of :attr:`data`, ``(u,)`` each."""
        if self._candidates is None:
            return self.posterior.predict(self.data.points)
        return self.posterior.mean[self._rows], self.posterior.sd[self._rows]

    def noise_at(self, place: Place) -> float:
        """Variance of one evaluation at a place, on the model's scale."""
        j = self.data.find(place.x)
        if self._point_noise is None or j is None or j >= len(self._point_noise):
            return self.noise
        return float(self._point_noise[j])

    def loss(self, mean: float, sd: float) -> tuple[float, float]:
        """A mean of the model as a loss, and its sd on the scale of losses."""
        value, sd = self._scale.undo(mean + self._constant, sd)
        return -value, sd

    @property
    def noise_sd(self) -> float:
        """Standard deviation of one evaluation, on the scale of losses."""
        return 0.0 if self.is_deterministic else self.loss(0.0, self.noise**0.5)[1]

    def _standardised(self) -> Observations:
        data = self._scale.apply(self.data)
        data.mean[:] -= self._constant
        return data

    def _prior(self, kernel: Kernel | None = None) -> Posterior:
        """A posterior without data."""
        n = 0 if self._candidates is None else len(self._candidates)
        form = "unique" if n >= MANY else "rows"
        return Posterior(kernel or self.kernel, self.noise, candidates=self._candidates, form=form)

    def observed(self) -> Posterior:
        """The posterior of what was observed alone, without what stands for failures."""
        return self._computed([]) if self._failed else self.posterior

    def _computed(
        self, failed: list[Place] | None = None, kernel: Kernel | None = None
    ) -> Posterior:
        posterior = self._prior(kernel)
        data = self._standardised()
        failed = list(self._failed.values()) if failed is None else failed
        low = float(np.quantile(data.mean, FAILED)) if len(data) else 0.0
        count = np.concatenate([data.count, np.ones(len(failed), dtype=np.int64)])
        mean = np.concatenate([data.mean, np.full(len(failed), low)])
        m2 = np.concatenate([data.m2, np.zeros(len(failed))])
        noise = np.full(len(count), self.noise)
        noise[len(data) :] = FAILED_NOISE * posterior.kernel.variance
        if self._point_noise is not None:
            noise[: len(self._point_noise)] = self._point_noise
        if not len(count):
            return posterior
        if self._candidates is None:
            points = [*data.points, *(place.x for place in failed)]
            posterior.update_many(np.array(points), count, mean, m2, noise)
        else:
            rows = np.array([*self._rows, *(place.row for place in failed)])
            posterior.update_many(rows, count, mean, m2, noise)
        return posterior

    # -- state

    def to_state(self) -> dict[str, Any]:
        """JSON values and arrays; :meth:`load_state` gives the same numbers to the last bit."""
        data, posterior = self.data, self._posterior
        keeps_up = posterior is not None and self._candidates is not None
        return {
            "points": data.points.copy(),
            "count": data.count.copy(),
            "mean": data.mean.copy(),
            "m2": data.m2.copy(),
            "rows": np.array(self._rows, dtype=np.int64),
            "failed": [[place.x.tolist(), place.row] for place in self._failed.values()],
            "kernel": self._kinds.index(type(self.kernel)),
            "lengthscales": list(self.kernel.lengthscales),  # type: ignore[arg-type]
            "variance": self.kernel.variance,
            "noise": self.noise,
            "point_noise": None if self._point_noise is None else self._point_noise.copy(),
            "scale": list(astuple(self._scale)),
            "constant": self._constant,
            "n_batches": self.n_batches,
            "fitted": list(self._fitted),
            "posterior": posterior.to_state() if posterior is not None and keeps_up else None,
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`to_state` gave; only on a fresh one."""
        columns = (state[name].tolist() for name in ("count", "mean", "m2", "rows"))
        for x, count, mean, m2, row in zip(state["points"], *columns, strict=True):
            self.data.pool(self.data.add(x, self.noise), count, mean, m2)
            self._rows.append(row)
        for x, row in state["failed"]:
            place = Place(np.array(x, dtype=np.float64), row)
            self._failed[place.x.tobytes()] = place
        kind = self._kinds[state["kernel"]]
        self.kernel = kind(state["lengthscales"], state["variance"], self.kernel.groups)
        self.noise, self._point_noise = state["noise"], state["point_noise"]
        self._scale, self._constant = Standardisation(*state["scale"]), state["constant"]
        self.n_batches, self._fitted = state["n_batches"], tuple(state["fitted"])
        if state["posterior"] is not None:
            self._posterior = self._prior()
            self._posterior.load_state(state["posterior"])

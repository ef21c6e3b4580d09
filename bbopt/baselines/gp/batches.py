"""GP-UCB in batches: a mean that stays, an sd that shrinks, until too much has gone unseen."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bbopt.baselines.gp.hallucination import Hallucination
from bbopt.baselines.gp.known import KnownGP, KnownGPSettings
from bbopt.baselines.gp.nystroem import Nystroem
from bbopt.budget import Budget
from bbopt.metabo.posterior import Posterior
from bbopt.metabo.posterior.cholesky import FLOOR
from bbopt.metabo.posterior.observations import Observations
from bbopt.registry import register_optimizer
from bbopt.settings import setting
from bbopt.space import Array
from bbopt.trial import Trial


@dataclass(frozen=True)
class BatchSettings(KnownGPSettings):
    """When a batch is closed."""

    staleness: float = setting(
        math.sqrt(2.0), "C: a batch ends when sd may have shrunk by more; beta is times C", low=1
    )


class Batches(KnownGP):
    """What methods share that look at values only when a batch is complete.

    Each evaluation of a batch maximises ``mean + C beta sd`` with the mean of the batch's start
    and the sd as if all evaluations before it were in. Foreign trials are looked at with the
    next batch, and so are results that are pending when it begins: until then they are taken
    for evaluations of the new one.
    """

    Settings: ClassVar[type[Any]] = BatchSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.n_batches = 0
        """Batches begun."""
        self._data = Observations(self.candidates.x.shape[1])
        self._told: list[tuple[int, int, float]] = []  # since the last batch began
        self._is_open = False
        self._hallucination: Hallucination
        self._exact: Posterior | None = None  # of all data, where it was needed

    @property
    @abstractmethod
    def _mean(self) -> Array:
        """Posterior mean at the candidates at the start of the batch."""

    @abstractmethod
    def _begin(self, told: Sequence[tuple[int, int, float]]) -> Hallucination:
        """Learn what was told, and begin a batch."""

    @abstractmethod
    def _closes(self, row: int) -> bool:
        """Whether the batch ends with an evaluation at a row; called before it is added."""

    def _ask(self, n: int, left: Budget) -> list[Trial]:
        return [self._next() for _ in range(n)]

    def _next(self) -> Trial:
        if not self._is_open:
            self._hallucination = self._begin(self._told)
            self._told = []
            self.n_batches += 1
            for row, _ in self._asked.values():
                self._closes(row)
                self._hallucination.add(row)
        row = self._choice()
        self._is_open = not self._closes(row)
        self._hallucination.add(row)
        return self._trial_at(row)

    def _choice(self) -> int:
        if not self._data:
            return self._drawn()
        beta = self.settings.staleness * self._beta()
        return self._argmax(self._mean + beta * np.sqrt(self._hallucination.variance))

    def _learn(self, row: int, count: int, value: float) -> None:
        self._told.append((row, count, value))
        j = self._data.find(self.candidates.x[row])
        if j is None:
            j = self._data.add(self.candidates.x[row], self.settings.noise)
        self._data.pool(j, count, value, 0.0)
        self._exact = None

    def _moments_at(self, rows: Sequence[int]) -> tuple[Array, Array]:
        if self._exact is None:
            data = self._data
            self._exact = Posterior(self.kernel, self.settings.noise)
            self._exact.update_many(data.points, data.count, data.mean, data.m2)
        return self._exact.predict(self.candidates.x[rows])


@register_optimizer("gp:bucb")
class BUCB(Batches):
    """GP-BUCB: a batch ends when ``ln det(I + covariance / noise)`` of it is above ``ln C²``.

    Desautels, Krause and Burdick (2014), with batches that end as in their GP-AUCB: no sd has
    shrunk by more than a factor C before the last evaluation of a batch is chosen.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._posterior = Posterior(
            self.kernel, self.settings.noise, candidates=self.candidates.x, form="rows"
        )
        self._gained = 0.0  # twice the information of the batch

    @property
    def _mean(self) -> Array:
        return self._posterior.mean

    def _begin(self, told: Sequence[tuple[int, int, float]]) -> Hallucination:
        for row, (count, value) in pooled(told).items():
            self._posterior.update(row, count=count, mean=value)
        self._gained = 0.0
        return Hallucination(
            self._posterior.sd**2,
            self._posterior.covariance,
            self.settings.noise,
            FLOOR * self.settings.variance,
        )

    def _closes(self, row: int) -> bool:
        self._gained += math.log1p(self._hallucination.variance[row] / self.settings.noise)
        return bool(self._gained > 2.0 * math.log(self.settings.staleness))


@dataclass(frozen=True)
class BBKBSettings(BatchSettings):
    """How large the dictionary is."""

    oversampling: float = setting(5.0, "times the variance that an arm is kept with, q̄", low=1e-3)


@register_optimizer("gp:bbkb")
class BBKB(Batches):
    """Batch budgeted kernel bandits: an approximate posterior from a few of the visited points.

    Calandriello et al. (2020). A batch ends when ``1 + Σ variance/noise``, of its evaluations
    at the batch's start, is above C²; then each evaluation of a visited candidate enters the
    dictionary with probability ``min(1, q̄ variance/noise)``.
    """

    Settings: ClassVar[type[Any]] = BBKBSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._approximation = Nystroem(self.kernel, self.settings.noise, self.candidates.x)
        self._visited: list[int] = []  # a row of each unique point, in the order of the data
        self._stale = 1.0

    @property
    def _mean(self) -> Array:
        return self._approximation.mean

    def _begin(self, told: Sequence[tuple[int, int, float]]) -> Hallucination:
        model, noise = self._approximation, self.settings.noise
        if self._visited:
            variance = self._hallucination.variance if self.n_batches else model.variance
            chance = np.minimum(self.settings.oversampling * variance[self._visited] / noise, 1.0)
            draws = self._stream(self.next_number).binomial(self._data.count, chance)
            kept = np.flatnonzero(draws) if draws.any() else [int(np.argmax(chance))]
            visited = np.array(self._visited)
            model.fit(visited[kept], visited, self._data.count, self._data.mean)
        self._stale = 1.0
        return Hallucination(
            model.variance, model.covariance, noise, FLOOR * self.settings.variance
        )

    def _closes(self, row: int) -> bool:
        self._stale += self._approximation.variance[row] / self.settings.noise
        return bool(self._stale > self.settings.staleness**2)

    def _learn(self, row: int, count: int, value: float) -> None:
        super()._learn(row, count, value)
        if len(self._data) > len(self._visited):
            self._visited.append(row)


def pooled(told: Sequence[tuple[int, int, float]]) -> dict[int, tuple[int, float]]:
    """Count and mean of each row, in the order of their first values."""
    found: dict[int, tuple[int, float]] = {}
    for row, count, value in told:
        n, mean = found.get(row, (0, 0.0))
        found[row] = n + count, mean + (value - mean) * (count / (n + count))
    return found

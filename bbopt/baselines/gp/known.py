"""A Gaussian process with known hyper-parameters over a finite table: what its methods share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from bbopt.baselines.gp.table import FiniteOptimizer
from bbopt.metabo.confidence import finite_beta
from bbopt.metabo.kernels import RBF, Kernel, Matern52
from bbopt.metabo.posterior.rows import first_near_maximum
from bbopt.settings import setting
from bbopt.space import Array
from bbopt.trial import Best

KERNELS: dict[str, type[Kernel]] = {"matern52": Matern52, "rbf": RBF}

TIE = 1e-9
"""Scores that differ by less than this share of the prior sd are tied; the lowest row wins."""


@dataclass(frozen=True)
class KnownGPSettings:
    """The prior and the width of the confidence intervals."""

    kernel: str = setting("matern52", "covariance function k", choices=tuple(KERNELS))
    lengthscale: float = setting(0.2, "its lengthscale, in the unit cube", low=1e-6, high=1e6)
    variance: float = setting(1.0, "its variance κ², of the values as they are", low=1e-12)
    noise: float = setting(0.01, "variance of one evaluation, λ", low=1e-12)
    beta: float | None = setting(
        None, "sd in an upper confidence bound; None: sqrt(2 ln(A π² t²/(6 δ))), scaled", low=0
    )
    beta_scale: float = setting(0.5, "what that beta is multiplied by", low=0)
    delta: float = setting(0.1, "probability δ that an interval fails", low=1e-12, high=1.0)


class KnownGP(FiniteOptimizer):
    """Upper confidence bounds under a prior of mean zero whose hyper-parameters are given.

    Values are used as they are: nothing is standardised and nothing is learned. The candidate
    to deploy has the greatest ``mean - beta sd`` among those with feasible values only (the
    best value where the problem is deterministic); its value is the mean of its own.
    """

    Settings: ClassVar[type[Any]] = KnownGPSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kernel = KERNELS[self.settings.kernel](
            self.settings.lengthscale, self.settings.variance
        )
        self._tolerance = TIE * math.sqrt(self.settings.variance)

    @abstractmethod
    def _moments_at(self, rows: Sequence[int]) -> tuple[Array, Array]:
        """Posterior mean and sd at rows, after all that was told; changes nothing."""

    def _beta(self) -> float:
        """The width of the intervals at the next evaluation."""
        if self.settings.beta is not None:
            return float(self.settings.beta)
        t = self._evaluations + 1
        if self._asked:
            t += sum(repeats for _, repeats in self._asked.values())
        n = len(self.candidates)
        return float(self.settings.beta_scale * finite_beta(n, t, self.settings.delta))

    def _argmax(self, score: Array) -> int:
        return first_near_maximum(score, self._tolerance)

    def _best(self) -> Best | None:
        rows = self._deployable()
        if not rows or self.spec.deterministic:
            return super()._best()
        mean, sd = self._moments_at(rows)
        row = rows[int(np.argmax(mean - self._beta() * sd))]
        count, loss, m2 = self._seen[row]
        stderr = math.sqrt(m2 / (count - 1) / count) if count > 1 else None
        return Best(self.space.validate(self.candidates[row]), loss, stderr, count)

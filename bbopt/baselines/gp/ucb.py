"""GP-UCB over a finite table, one evaluation or a fixed number at a time (Srinivas et al. 2010)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from bbopt.baselines.gp.known import KnownGP, KnownGPSettings
from bbopt.budget import Budget
from bbopt.metabo.kernels import Kernel
from bbopt.metabo.posterior import Posterior
from bbopt.metabo.posterior.cholesky import FLOOR
from bbopt.metabo.posterior.rows import Batch, Rows
from bbopt.registry import register_optimizer
from bbopt.settings import setting
from bbopt.space import Array
from bbopt.trial import Trial


class Model(Protocol):
    """The posterior at all candidates."""

    def update(self, row: int, count: int, value: float) -> None:
        """Condition on ``count`` evaluations of a row, with mean ``value``."""

    def upper(self, beta: float) -> Array:
        """``mean + beta sd`` at all candidates ``(n,)``, valid until the next call."""

    def upper_while(self, pending: Sequence[tuple[int, int]], beta: float) -> Array:
        """The same with the sd once pending (row, repeats) are in, and the mean of today."""

    def at(self, rows: Sequence[int]) -> tuple[Array, Array]:
        """Mean and sd at rows; changes nothing."""


class Appended:
    """One row an evaluation: the posterior as it is usually kept, O(n t) for evaluation t."""

    def __init__(self, kernel: Kernel, noise: float, candidates: Array) -> None:
        self._table = Rows(kernel, candidates)
        self._noise = noise
        self._counts: dict[int, int] = {}

    def update(self, row: int, count: int, value: float) -> None:
        """See :class:`Model`."""
        self._table.condition(self._batch(row, count, value))
        self._counts[row] = self._counts.get(row, 0) + count

    def upper(self, beta: float) -> Array:
        """See :class:`Model`."""
        upper: Array = self._table.mean + beta * np.sqrt(self._table.variance)
        return upper

    def upper_while(self, pending: Sequence[tuple[int, int]], beta: float) -> Array:
        """See :class:`Model`."""
        counts: dict[int, int] = {}
        for row, repeats in pending:
            counts[row] = counts.get(row, 0) + repeats
        batches = [self._batch(row, count, 0.0) for row, count in counts.items()]
        upper: Array = self._table.mean + beta * np.sqrt(self._table.hallucinated(batches))
        return upper

    def at(self, rows: Sequence[int]) -> tuple[Array, Array]:
        """See :class:`Model`."""
        index = np.asarray(rows)
        return self._table.mean[index], np.sqrt(self._table.variance[index])

    def _batch(self, row: int, count: int, value: float) -> Batch:
        return Batch(row, -1, self._counts.get(row, 0), count, value, self._noise)


class Merged:
    """Duplicates are pooled, and a run of evaluations of one candidate is one step.

    While the same candidate is evaluated again and again, with ``c = cov(·, x)`` and the
    posterior as they were at the second evaluation of the run, that after ``b`` more of mean
    ``ȳ`` is ``mean + c (ȳ - mean(x)) / (s²(x) + noise/b)`` and
    ``variance - c² / (s²(x) + noise/b)``: O(n), whatever was seen before. The posterior itself
    is touched at the first evaluation of a run, and at its end.
    """

    def __init__(self, kernel: Kernel, noise: float, candidates: Array) -> None:
        self._posterior = Posterior(kernel, noise, candidates=candidates, form="rows")
        self._noise = noise
        self._floor = FLOOR * kernel.variance
        self._row = -1  # the latest
        self._count, self._value = 0, 0.0  # of the run, beside its first evaluation
        self._upper, self._shift = np.empty(len(candidates)), np.empty(len(candidates))

    def update(self, row: int, count: int, value: float) -> None:
        """See :class:`Model`."""
        if row != self._row:
            self._commit()
            self._posterior.update(row, count=count, mean=value)
            self._row = row
            return
        if not self._count:
            self._start()
        self._count += count
        self._value += (value - self._value) * (count / self._count)

    def upper(self, beta: float) -> Array:
        """See :class:`Model`."""
        if not self._count:
            return self._posterior.mean + beta * self._posterior.sd
        gain, shift = self._gains()
        upper = np.multiply(self._square, -gain, out=self._upper)
        upper += self._variance
        np.maximum(upper, self._floor, out=upper)
        np.sqrt(upper, out=upper)
        upper *= beta
        upper += self._mean
        upper += np.multiply(self._c, shift, out=self._shift)
        return upper

    def upper_while(self, pending: Sequence[tuple[int, int]], beta: float) -> Array:
        """See :class:`Model`."""
        self._commit()
        return self._posterior.mean + beta * self._posterior.hallucinated(pending)

    def at(self, rows: Sequence[int]) -> tuple[Array, Array]:
        """See :class:`Model`."""
        index = np.asarray(rows)
        if not self._count:
            return self._posterior.mean[index], self._posterior.sd[index]
        gain, shift = self._gains()
        variance = self._variance[index] - gain * self._square[index]
        sd = np.sqrt(np.maximum(variance, self._floor))
        return self._mean[index] + shift * self._c[index], sd

    def _start(self) -> None:
        self._c = self._posterior.covariance(self._row)
        self._square = self._c**2
        self._mean, self._variance = self._posterior.mean, self._posterior.sd**2

    def _gains(self) -> tuple[float, float]:
        """What the squares and the covariances are multiplied by."""
        row = self._row
        gain = 1.0 / (float(self._c[row]) + self._noise / self._count)
        return gain, gain * (self._value - float(self._mean[row]))

    def _commit(self) -> None:
        """Take the run into the posterior."""
        if self._count:
            self._posterior.update(self._row, count=self._count, mean=self._value)
        self._row, self._count, self._value = -1, 0, 0.0


FORMS: dict[str, Callable[[Kernel, float, Array], Model]] = {"merged": Merged, "append": Appended}


@dataclass(frozen=True)
class UCBSettings(KnownGPSettings):
    """How the posterior is kept."""

    form: str = setting(
        "merged",
        "merged: duplicates pooled, O(A) a repeat; append: one row an evaluation, O(A t)",
        choices=tuple(FORMS),
    )


@register_optimizer("gp:ucb")
class UCB(KnownGP):
    """Proposes the candidate with the greatest ``mean + beta sd``, and looks at every value.

    The first candidate is drawn. Where results are pending, or several trials are asked for,
    each is chosen with the sd as if the others were in already (and the mean of today).
    """

    Settings: ClassVar[type[Any]] = UCBSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        form = FORMS[self.settings.form]
        self._model = form(self.kernel, self.settings.noise, self.candidates.x)
        self._is_prior = True

    def _ask(self, n: int, left: Budget) -> list[Trial]:
        return [self._trial_at(self._choice(), self._repeats(left)) for _ in range(n)]

    def _choice(self) -> int:
        if self._is_prior:
            return self._drawn()
        if self._asked:
            pending = list(self._asked.values())
            return self._argmax(self._model.upper_while(pending, self._beta()))
        return self._argmax(self._model.upper(self._beta()))

    def _repeats(self, left: Budget) -> int:
        return 1

    def _learn(self, row: int, count: int, value: float) -> None:
        self._is_prior = False
        self._model.update(row, count, value)

    def _moments_at(self, rows: Sequence[int]) -> tuple[Array, Array]:
        return self._model.at(rows)


@dataclass(frozen=True)
class FixedSettings(UCBSettings):
    """How often each choice is repeated."""

    repeats: int = setting(20, "evaluations of each choice, B", low=1)


@register_optimizer("gp:fixed")
class Fixed(UCB):
    """GP-UCB with the same number of repeats at each choice: what a repeat rule must beat."""

    Settings: ClassVar[type[Any]] = FixedSettings

    def _repeats(self, left: Budget) -> int:
        wanted = int(self.settings.repeats)
        return wanted if left.evaluations is None else max(1, min(wanted, left.evaluations))

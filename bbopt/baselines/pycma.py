"""CMA-ES by its authors' package ``cma`` (pycma; Hansen 2016, arXiv:1604.00772).

A population is sampled in the unit cube, its members are proposed one by one, and the next
one is sampled when all have been told. What the package does not do itself: whole columns of
one value are left out, a dummy coordinate is added where fewer than two remain (pycma needs
two), the space rounds integers and choices, and a strategy that has converged is restarted
from a random point with a larger population (IPOP; Auger and Hansen 2005), so that a run ends
with its budget.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bbopt.base import Optimizer
from bbopt.baselines.minibatch import affordable
from bbopt.baselines.quiet import quiet
from bbopt.budget import Budget
from bbopt.errors import require
from bbopt.registry import register_optimizer
from bbopt.settings import setting
from bbopt.space import Array, Categorical, Dimension, Text
from bbopt.trial import Outcome, Trial

HUGE = 1e100
"""Larger losses and violations are cut to this, so that their differences stay finite."""
MARGIN = 0.05
"""The mean starts so far inside the cube: nearer to its faces pycma's transformation bends."""
LEAST_STEP = 0.2
"""The least standard deviation of an integer, in units of its step (pycma's own bound)."""


@dataclass(frozen=True)
class CmaSettings:
    """The settings of ``cma``."""

    sigma0: float = setting(0.3, "initial σ, in units of the cube's edge", low=1e-6, high=1.0)
    popsize: int | None = setting(None, "population size λ; None is 4 + 3 ln d", low=4)
    repeats: int = setting(1, "evaluations of each member, told as their mean", low=1)
    incpopsize: float = setting(2.0, "factor on λ at each restart", low=1.0, high=10.0)


@register_optimizer("cma")
class Cma(Optimizer):
    """CMA-ES with restarts; learns from whole populations, told in any order.

    While members are pending and none is left to propose, ``ask`` returns nothing: with K
    trials in flight choose ``popsize`` a multiple of K. A member that fails ranks last, one
    that is infeasible ranks by its violation behind all feasible ones. Foreign trials known
    before the first population give its mean; later ones count for ``best`` alone.

    Raises
    ------
    MissingExtra
        If the package ``cma`` is not installed.
    """

    Settings = CmaSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        with quiet():
            self._cma = require("cma", extra="bench", needed_by=f"optimizer {self.name!r}")
        self._rng = self._stream(0)
        steps = [(_is_free(d), _step(d)) for d in self.space.values() for _ in range(d.width)]
        self._free = np.array([i for i, (is_free, _) in enumerate(steps) if is_free], dtype=int)
        self._least = [LEAST_STEP * steps[i][1] for i in self._free]
        self._dim = max(2, len(self._free))
        self._least += [0.0] * (self._dim - len(self._free))
        self._strategy: Any = None
        self._n_restarts = 0
        self._population: list[Array] = []
        self._outcomes: dict[int, Outcome] = {}  # position in the population -> outcome
        self._members: dict[int, int] = {}  # pending trial number -> position
        self._n_proposed = 0

    def _ask(self, n: int, left: Budget) -> list[Trial]:
        if self._n_proposed == len(self._population):
            if self._members:
                return []
            self._sample_population()
        trials = []
        for x in self._population[self._n_proposed : self._n_proposed + n]:
            self._members[self.next_number] = self._n_proposed
            self._n_proposed += 1
            repeats = affordable(self.settings.repeats, left)
            trials.append(self._new_trial(self.space.from_unit(self._full(x))[0], repeats))
        return trials

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        position = None if trial.number is None else self._members.pop(trial.number, None)
        if position is None:
            return
        self._outcomes[position] = outcome
        if len(self._outcomes) == len(self._population):
            losses = _losses([self._outcomes[i] for i in range(len(self._population))])
            with quiet():
                self._strategy.tell(self._population, losses)
                if self._strategy.stop():
                    self._strategy = None
                    self._n_restarts += 1

    def _tell_replaced(self, asked: Trial, trial: Trial, outcome: Outcome) -> None:
        self._tell(asked, outcome)

    def _sample_population(self) -> None:
        with quiet():
            if self._strategy is None:
                self._strategy = self._new_strategy()
            self._population = self._strategy.ask()
        self._outcomes, self._n_proposed = {}, 0

    def _new_strategy(self) -> Any:
        popsize = self.settings.popsize or 4 + int(3 * math.log(self._dim))
        options = {
            "bounds": [0, 1],
            "popsize": int(popsize * self.settings.incpopsize**self._n_restarts),
            "minstd": self._least,
            # the default from 300 dimensions on draws from numpy's global generator
            "AdaptSigma": self._cma.sigma_adaptation.CMAAdaptSigmaCSA,
            "randn": lambda *shape: self._rng.standard_normal(shape),
            "seed": math.nan,  # do not seed numpy's global generator
            "verbose": -10,  # print nothing, read no file of signals
            "verb_log": 0,
            "verb_disp": 0,
        }
        return self._cma.CMAEvolutionStrategy(self._start(), self.settings.sigma0, options)

    def _start(self) -> Array:
        """The first mean: the best point known, or the middle; after a restart a random one."""
        start = self._rng.random(self._dim) if self._n_restarts else np.full(self._dim, 0.5)
        known = self.space.initial if self.best is None else self.best.params
        if known is not None and not self._n_restarts:
            start[: len(self._free)] = self.space.to_unit(known)[0, self._free]
        return np.clip(start, MARGIN, 1.0 - MARGIN)

    def _full(self, x: Array) -> Array:
        """A member of the population as a point of the space's unit cube."""
        full = np.full(self.space.width, 0.5)
        full[self._free] = x[: len(self._free)]
        return full


def _losses(outcomes: Sequence[Outcome]) -> list[float]:
    """Losses in which feasible values come first, then violations, then failures."""
    feasible = [_cut(o.mean) for o in outcomes if o.count and o.feasible]
    worst = max(feasible, default=0.0)
    gap = worst - min(feasible, default=0.0) or max(abs(worst), 1.0)
    losses = []
    for outcome in outcomes:
        if not outcome.count:
            losses.append(worst + 3.0 * gap)
        elif not outcome.feasible:
            excess = math.fsum(_cut(c) for c in outcome.constraints if not c <= 0)
            losses.append(worst + gap * (1.0 + excess / (1.0 + excess)))
        else:
            losses.append(_cut(outcome.mean))
    return losses


def _cut(value: float) -> float:
    return HUGE if math.isnan(value) else min(max(value, -HUGE), HUGE)


def _is_free(dimension: Dimension) -> bool:
    """Whether there is anything to choose."""
    if isinstance(dimension, Categorical):
        return dimension.width > 1
    return not isinstance(dimension, Text) and dimension.low < dimension.high


def _step(dimension: Dimension) -> float:
    """The width of an integer's or a stepped float's bin in the unit cube, 0 where none."""
    if isinstance(dimension, Categorical | Text) or dimension.log or dimension.step is None:
        return 0.0
    return 1.0 / ((dimension.high - dimension.low) / dimension.step + 1.0)

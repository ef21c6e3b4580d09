"""The runs of ``generative.py`` by problem, budget and method, as arrays over paired seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bbopt import seeding
from bbopt.bench.record import Record
from bbopt.bench.statistics import Estimate, estimate, paired_difference
from bbopt.budget import Budget
from bbopt.space import Array

AXES = {"evaluations": "evaluations", "llm_calls": "calls of the language model"}


class Place(NamedTuple):
    """A budget on one axis: the other has room for everything."""

    axis: str
    amount: int

    @classmethod
    def of(cls, budget: Budget) -> Place:
        """The axis that ends a run."""
        axis = "evaluations" if budget.llm_calls is None else "llm_calls"
        return cls(axis, getattr(budget, axis))

    @property
    def half(self) -> Place:
        """Half as much."""
        return Place(self.axis, self.amount // 2)

    def __str__(self) -> str:
        return f"{self.amount} {AXES[self.axis]}"


class Results:
    """All runs of one or more benches that gave a value.

    Parameters
    ----------
    records : sequence of Record
        Of methods that maximise, on problems that know their true values.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        found = [record for record in records if record.incumbents]
        self._runs = {
            (r.cell.problem_label, Place.of(r.cell.budget), r.cell.optimizer_label, r.cell.seed): r
            for r in found
        }
        self.methods = list(dict.fromkeys(method for _, _, method, _ in self._runs))
        self.problems = list(dict.fromkeys(problem for problem, _, _, _ in self._runs))
        self.places = sorted({place for _, place, _, _ in self._runs})
        self.seeds = sorted({seed for _, _, _, seed in self._runs})

    def runs(self, problem: str, place: Place, method: str) -> list[Record]:
        """In the order of their seeds."""
        wanted = ((problem, place, method, seed) for seed in self.seeds)
        return [self._runs[key] for key in wanted if key in self._runs]

    def doubled(self, axis: str) -> list[Place]:
        """The budgets on an axis of which half was run too."""
        places = [place for place in self.places if place.axis == axis]
        return [place for place in places if not place.amount % 2 and place.half in places]

    def true(self, problem: str, place: Place, method: str) -> Array:
        """Shape ``(seeds,)``: the true value of what the method returns; NaN where not run."""
        return self._array(problem, place, method, 2)

    def own(self, problem: str, place: Place, method: str) -> Array:
        """The same: its own estimate of that."""
        return self._array(problem, place, method, 1)

    def gap(self, problem: str, place: Place, method: str) -> Estimate | None:
        """Optimism: own estimate less true value."""
        own, true = (part(problem, place, method) for part in (self.own, self.true))
        return paired_difference(own, true, _rng())

    def value(self, problem: str, place: Place, method: str) -> Estimate | None:
        """The mean true value."""
        known = self.true(problem, place, method)
        known = known[np.isfinite(known)]
        return estimate(known, _rng()) if known.size else None

    def lead(
        self, problem: str, first: tuple[Place, str], second: tuple[Place, str]
    ) -> Estimate | None:
        """By how much the true value of the first exceeds the second's, seed by seed."""
        a, b = (self.true(problem, *where) for where in (first, second))
        return paired_difference(a, b, _rng())

    def mean(self, problem: str, place: Place, method: str, name: str) -> float:
        """The mean of a number of the summary; NaN where it is not known."""
        known = [r.summary.get(name) for r in self.runs(problem, place, method)]
        numbers = [number for number in known if number is not None]
        return float(np.mean(numbers)) if numbers else np.nan

    def _array(self, problem: str, place: Place, method: str, field: int) -> Array:
        keys = [(problem, place, method, seed) for seed in self.seeds]
        last = [self._runs[key].incumbents[-1] if key in self._runs else None for key in keys]
        return np.array([np.nan if one is None else float(one[field] or 0.0) for one in last])


def _rng() -> np.random.Generator:
    return seeding.stream(0, "bootstrap generative")


def with_interval(value: Estimate | None) -> str:
    """``0.512 [0.480, 0.540]``."""
    if value is None:
        return ""
    ends = "" if np.isnan(value.low) else f" [{value.low:.3f}, {value.high:.3f}]"
    return f"{value.mean:.3f}{ends}"


def signed(value: Estimate | None) -> str:
    """``+0.012 [−0.004, +0.030]``."""
    if value is None:
        return ""
    ends = "" if np.isnan(value.low) else f" [{value.low:+.3f}, {value.high:+.3f}]"
    return f"{value.mean:+.3f}{ends}".replace("-", "−")

"""A task: a problem with a budget, all runs of all methods on it, and the verdict.

Its losses are regrets where the problem knows its
optimum, else values with the sign that makes smaller better; of true values where these are
known of every incumbent, else of the estimates at hand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bbopt import seeding
from bbopt.bench import statistics as st
from bbopt.bench.record import AXES, Incumbent, Record
from bbopt.bench.statistics import Estimate
from bbopt.budget import WHOLE
from bbopt.space import Array


@dataclass(frozen=True)
class Standing:
    """How a method stands on a task.

    Parameters
    ----------
    verdict : str
        ``"best"``, ``"no worse"``, ``"worse"``, ``"open"`` (a single pair of runs),
        ``"failed"`` (no run gave a value) or ``"absent"``.
    final : Estimate or None
        Of the loss at the end, over the runs that gave a value.
    behind : Estimate or None
        The paired difference to the best method's; None for itself.
    """

    verdict: str
    final: Estimate | None = None
    behind: Estimate | None = None


class Task:
    """All runs of all methods on one problem with one budget.

    Parameters
    ----------
    records : sequence of Record
        Those of the task.
    methods : sequence of str
        The labels of all methods of the bench; axis 0 of every array here.
    number : int
        Of the task, for its stream of resamples.
    """

    def __init__(self, records: Sequence[Record], methods: Sequence[str], number: int) -> None:
        cell = records[0].cell
        self.number = number
        self.label, self.budget = cell.problem_label, cell.budget_label
        self.methods = tuple(methods)
        self.seeds = tuple(sorted({record.cell.seed for record in records}))
        runs = [record for record in records if record.incumbents]
        self.direction = runs[0].direction if runs else "minimize"
        self.optimum = runs[0].optimum if runs else None
        self.has_truth = all(i.true_value is not None for r in runs for i in r.incumbents)
        self._records = {(r.cell.optimizer_label, r.cell.seed): r for r in records}
        self._rng = seeding.stream(0, "bootstrap", number=number)
        self.axis = self._binding_axis(records)
        """What its budget limits: of several axes the one that ended most of the runs."""
        self.length = self.most_spent(self.axis)
        """The most that any run spent on it."""

    @property
    def sign(self) -> float:
        """1 where smaller values are better, else −1."""
        return 1.0 if self.direction == "minimize" else -1.0

    @property
    def is_regret(self) -> bool:
        """Whether a loss is a regret: the distance to the optimum."""
        return self.optimum is not None

    def _binding_axis(self, records: Sequence[Record]) -> str:
        """The limited axis that ended most of the runs; the first of them where none did."""
        limited = [axis for axis in records[0].cell.budget.to_json() if self.most_spent(axis)]
        reasons = [record.stop_reason for record in records]
        return max(limited, key=reasons.count, default="evaluations")

    def shown(self, loss: float) -> float:
        """The number for people: a regret, or a value in the user's direction."""
        return loss if self.is_regret else self.sign * loss

    def run(self, method: str, seed: int) -> Record | None:
        """The record of a run, complete or not, or None."""
        return self._records.get((method, seed))

    def most_spent(self, axis: str, method: str | None = None) -> float:
        """The most that any run spent on an axis, or any run of one method; 0 without runs."""
        spent = [
            float(record.summary.get(axis) or 0.0)
            for (label, _), record in self._records.items()
            if record.incumbents and method in (None, label)
        ]
        return max(spent, default=0.0)

    @cached_property
    def other_axes(self) -> tuple[str, ...]:
        """What else was spent, where that says more than ``axis``.

        Switches do not where nobody stayed on a candidate for longer than one evaluation in ten.
        """
        used = [axis for axis in AXES if axis != self.axis and self.most_spent(axis)]
        used = [axis for axis in used if len(self._growing(axis, 2)) > 1]
        runs = [record.summary for record in self._records.values() if record.incumbents]
        if all((run.get("switches") or 0) >= 0.9 * run["evaluations"] - 1 for run in runs):
            used = [axis for axis in used if axis != "switches"]
        return tuple(used)

    @cached_property
    def steps(self) -> dict[tuple[str, int], tuple[Array, Array]]:
        """(method, seed) -> what was spent at each incumbent, and losses; empty if it failed."""
        return self._steps_over(self.axis)

    def _steps_over(self, axis: str) -> dict[tuple[str, int], tuple[Array, Array]]:
        return {
            place: self._step(record, axis)
            for place, record in self._records.items()
            if record.status != "skipped"
        }

    def losses_at(self, grid: Array, axis: str | None = None) -> Array:
        """Losses after each amount of ``grid`` was spent on the axis, by default its own.

        Returns
        -------
        ndarray
            Shape ``(methods, seeds, k)``: infinite without a value, NaN where not run.
        """
        losses = np.full((len(self.methods), len(self.seeds), len(grid)), np.nan)
        steps = self.steps if axis is None else self._steps_over(axis)
        for (method, seed), step in steps.items():
            place = self.methods.index(method), self.seeds.index(seed)
            losses[place] = st.held(*step, grid)
        return losses

    @cached_property
    def final(self) -> Array:
        """Shape ``(methods, seeds)``: losses at the end."""
        return self.losses_at(np.array([math.inf]))[:, :, 0]

    def grid(self, shares: Array) -> Array:
        """Amounts that are these shares of ``length``: whole and at least 1 on countable axes."""
        amounts: Array = shares * self.length
        if self.axis in WHOLE:
            amounts = np.maximum(np.ceil(amounts - 1e-9), 1.0)
        return amounts

    @cached_property
    def start(self) -> float:
        """The median loss after one evaluation; NaN without any."""
        first = self.losses_at(np.array([1.0]), "evaluations")
        finite = first[np.isfinite(first)]
        return float(np.median(finite)) if finite.size else math.nan

    @cached_property
    def gain(self) -> float:
        """What the best run of any method gained over ``start``; 0 where nothing was."""
        finite = self.final[np.isfinite(self.final)]
        gained = self.start - finite.min() if finite.size else 0.0
        return max(float(gained), 0.0) if math.isfinite(gained) else 0.0

    @cached_property
    def standings(self) -> dict[str, Standing]:
        """Method -> how it stands against the one with the least mean loss at the end."""
        complete = {
            method: row[~np.isnan(row)].mean()
            for method, row in zip(self.methods, self.final, strict=True)
            if np.isfinite(row).any()
        }
        best = min(complete, key=lambda method: complete[method], default=None)
        return {method: self._standing(method, best) for method in self.methods}

    def _standing(self, method: str, best: str | None) -> Standing:
        row = self.final[self.methods.index(method)]
        if np.isnan(row).all():
            return Standing("absent")
        if best is None or not np.isfinite(row).any():
            return Standing("failed")
        final = st.estimate(row[np.isfinite(row)], self._rng)
        if method == best:
            return Standing("best", final)
        behind = st.paired_difference(row, self.final[self.methods.index(best)], self._rng)
        if behind is None or behind.n < 2:
            return Standing("open", final, behind)
        return Standing("no worse" if behind.reaches_zero else "worse", final, behind)

    def bands(
        self, n_points: int, axis: str | None = None
    ) -> tuple[Array, dict[str, tuple[Array, Array, Array]]]:
        """Mean loss of each method over its runs with its interval, as more and more is spent.

        Parameters
        ----------
        n_points : int
            How many amounts at most.
        axis : str, optional
            What is spent; by default the task's own axis, in equal steps. On others amounts
            grow by equal factors, and a method ends with the longest of its runs.

        Returns
        -------
        grid : ndarray
            Shape ``(k,)``: increasing amounts.
        bands : dict of str to tuple of ndarray
            Method -> mean, low and high, ``(k,)``; NaN while a run has no value yet, and beyond
            the method's end.
        """
        is_own = axis is None
        axis = self.axis if axis is None else axis
        if is_own:
            shares = np.linspace(1 / max(self.length, 1), 1.0, n_points)
            grid = np.unique(self.grid(shares))
        else:
            grid = self._growing(axis, n_points)
        bands = {}
        for method, rows in zip(self.methods, self.losses_at(grid, axis), strict=True):
            rows = rows[np.isfinite(rows[:, -1])]
            if len(rows):
                finite = np.where(np.isfinite(rows), rows, 0.0)
                hole = ~np.isfinite(rows).all(axis=0)
                if not is_own:
                    hole |= grid > self.most_spent(axis, method) * (1 + 1e-9)
                if not hole.all():
                    lines = st.mean_band(finite, self._rng)
                    bands[method] = tuple(np.where(hole, np.nan, line) for line in lines)
        return grid, bands  # type: ignore[return-value]

    def _growing(self, axis: str, n_points: int) -> Array:
        """Amounts from the first that bought a value to the most that was spent, all ends too."""
        times = np.concatenate([times for times, _ in self._steps_over(axis).values()])
        most = self.most_spent(axis)
        first = min([*times[times > 0].tolist(), most])
        grid = np.geomspace(first, most, n_points)
        if axis in WHOLE:
            grid = np.ceil(grid - 1e-9)
        ends = [end for m in self.methods if (end := self.most_spent(axis, m)) >= first]
        amounts: Array = np.union1d(grid, ends)
        return amounts

    def _step(self, record: Record, axis: str) -> tuple[Array, Array]:
        times = np.array([float(getattr(i, axis)) for i in record.incumbents])
        return times, np.array([self._loss(i) for i in record.incumbents])

    def _loss(self, incumbent: Incumbent) -> float:
        value = incumbent.true_value if self.has_truth else incumbent.value
        assert value is not None
        return self.sign * (value - (self.optimum or 0.0))

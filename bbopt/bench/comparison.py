"""All tasks of a bench together: ranks, targets reached, profile, wins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from bbopt import seeding
from bbopt.bench import statistics as st
from bbopt.bench.record import Record
from bbopt.bench.statistics import Estimate
from bbopt.bench.task import Task
from bbopt.space import Array

TOLERANCE = 0.01
"""A tie: within this share of what the best run gained over a first evaluation."""
ACCURACY = 0.1
"""Solved: this share or less of what the best run gained is missing."""
N_TARGETS = 30
SHARES = np.linspace(0.05, 1.0, 39)
"""Of the budget, where ranks and targets are looked at."""


class Quartiles(NamedTuple):
    """The middle of some numbers and how far they spread."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """All tasks of a bench, over which methods are ranked.

    Parameters
    ----------
    methods : tuple of str
        The labels that have at least one run, in the order of the suite.
    tasks : tuple of Task
        In the order of the suite.
    """

    methods: tuple[str, ...]
    tasks: tuple[Task, ...]

    @classmethod
    def of(cls, records: Sequence[Record]) -> Comparison:
        """Sort the records of a bench into tasks, without those on which no run gave a value."""
        methods, groups = _sorted(records)
        tasks = (Task(group, methods, number) for number, group in enumerate(groups))
        return cls(methods, tuple(tasks))

    @classmethod
    def apart(cls, records: Sequence[Record]) -> tuple[Comparison, ...]:
        """The same, apart for methods that share no problem, directly or by way of others."""
        methods, groups = _sorted(records)
        circles = [{method} for method in methods]
        for group in groups:
            met = {record.cell.optimizer_label for record in group}
            joined = set().union(*(circle for circle in circles if circle & met))
            circles = [circle for circle in circles if not circle & met] + [joined]
        comparisons: dict[tuple[str, ...], list[Task]] = {}
        for number, group in enumerate(groups):
            circle = next(c for c in circles if group[0].cell.optimizer_label in c)
            within = tuple(method for method in methods if method in circle)
            comparisons.setdefault(within, []).append(Task(group, within, number))
        return tuple(cls(within, tuple(tasks)) for within, tasks in comparisons.items())

    @cached_property
    def final(self) -> Array:
        """Shape ``(instances, methods)``: losses at the end."""
        return np.concatenate([task.final.T for task in self.tasks])

    def mean_ranks(self) -> dict[str, Estimate]:
        """Method -> mean rank at the end, with its interval, over the instances it was run on."""
        ranks = st.ranks(self.final)
        rng = seeding.stream(0, "bootstrap ranks")
        columns = zip(self.methods, ranks.T, strict=True)
        return {method: st.estimate(c[~np.isnan(c)], rng) for method, c in columns}

    def task_ranks(self) -> tuple[dict[str, float], int]:
        """Method -> mean over tasks of the rank of its mean loss; and how many tasks that are.

        Over the tasks on which every method was run, each of which counts once, however many
        seeds it had: runs of one task are not independent of each other.
        """
        means = np.array([task.final.mean(axis=1) for task in self.tasks])  # NaN: not run
        complete = means[~np.isnan(means).any(axis=1)]
        if not len(complete):
            return {}, 0
        ranks = st.ranks(complete).mean(axis=0)
        return dict(zip(self.methods, ranks.tolist(), strict=True)), len(complete)

    def lead(self, first: str, second: str) -> Estimate | None:
        """The paired difference of ranks by which the first method leads the second."""
        ranks = st.ranks(self.final)
        a, b = (ranks[:, self.methods.index(method)] for method in (second, first))
        return st.paired_difference(a, b, seeding.stream(0, "bootstrap ranks"))

    def ranks_over_budget(self) -> Array:
        """Shape ``(methods, k)``: the mean rank after each of the ``SHARES`` of the budget."""
        losses = np.concatenate(
            [task.losses_at(task.grid(SHARES)).transpose(1, 0, 2) for task in self.tasks]
        )
        ranked = [st.ranks(losses[:, :, i]) for i in range(len(SHARES))]
        return np.stack([st.mean_over_instances(r) for r in ranked], axis=1)

    def targets_reached(self) -> Array:
        """Shape ``(methods, k)``: the share of run-based targets reached at each of ``SHARES``."""
        hits: dict[str, list[Array]] = {method: [] for method in self.methods}
        for task in self.tasks:
            budgets = task.grid(np.geomspace(1 / task.length, 1.0, N_TARGETS))
            losses = task.losses_at(np.unique(budgets))
            everywhere = np.where(np.isnan(losses), np.inf, losses)
            targets = st.run_based_targets(np.median(everywhere, axis=1))
            targets = targets[np.isfinite(targets)]
            for (method, _), step in task.steps.items():
                hits[method].append(st.first_hits(*step, targets) / task.length)
        return np.stack(
            [st.share_reached(np.concatenate(hits[m] or [np.empty(0)]), SHARES) for m in hits]
        )

    def profile(self, ratios: Array) -> Array:
        """Shape ``(methods, k)``: the performance profile of reaching most of the best gain.

        An instance is solved at ``least + ACCURACY (start − least)``, where ``least`` is the
        best loss of any method on it: Moré and Wild (2009), *Benchmarking derivative-free
        optimization algorithms*, equation 2.2.
        """
        costs = []
        for task in self.tasks:
            for seed, losses in zip(task.seeds, task.final.T, strict=True):
                if not np.isfinite(losses).any():
                    continue
                least = losses[np.isfinite(losses)].min()
                gain = task.start - least
                target = np.array([least + ACCURACY * gain if gain > 0 else least])
                row = np.full(len(self.methods), np.nan)
                for i, method in enumerate(self.methods):
                    if (method, seed) in task.steps:
                        hit = st.first_hits(*task.steps[method, seed], target)[0]
                        row[i] = max(hit, task.grid(np.zeros(1))[0])  # none is less than one
                costs.append(row)
        return st.performance_profile(np.array(costs), ratios)

    def wins(self) -> Array:
        """Shape ``(methods, methods, 3)``: wins, ties and losses of the row's method."""
        tolerance = np.concatenate(
            [np.full(len(task.seeds), TOLERANCE * task.gain) for task in self.tasks]
        )
        return st.win_tie_loss(self.final, tolerance)


def _sorted(records: Sequence[Record]) -> tuple[tuple[str, ...], list[list[Record]]]:
    """The methods with a run, and their records of each task on which a run gave a value."""
    run = {r.cell.optimizer_label for r in records if r.status != "skipped"}
    used = [record for record in records if record.cell.optimizer_label in run]
    methods = tuple(dict.fromkeys(record.cell.optimizer_label for record in used))
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in used:
        key = record.cell.problem_label, record.cell.budget_label
        groups.setdefault(key, []).append(record)
    return methods, [g for g in groups.values() if any(r.incumbents for r in g)]


def overhead_growth(records: Sequence[Record]) -> dict[str, tuple[Array, Array]]:
    """Method -> numbers of evaluations, and seconds an evaluation takes beside itself by then.

    Both ``(k,)``: medians over the runs of what was spent while the evaluations doubled; without
    those of the first evaluation, which loads what the method needs.
    """
    points: dict[str, dict[int, list[tuple[float, float]]]] = {}
    for record in records:
        doubled = points.setdefault(record.cell.optimizer_label, {})
        for (n0, before), (n, after) in pairwise(record.overhead):
            each = max(after - before, 1e-9) / (n - n0)
            doubled.setdefault(n.bit_length(), []).append((float(n), each))
    found = {}
    for method, doubled in points.items():
        medians = [np.median(doubled[power], axis=0) for power in sorted(doubled)]
        if medians:
            n, seconds = np.array(medians).T
            found[method] = n, seconds
    return found


def per_evaluation(records: Sequence[Record], name: str) -> dict[str, Quartiles]:
    """Method -> a number of the summary, divided by the evaluations, over its runs."""
    groups: dict[str, list[float]] = {}
    for record in records:
        n, total = record.summary.get("evaluations"), record.summary.get(name)
        if record.is_run and n and total is not None:
            groups.setdefault(record.cell.optimizer_label, []).append(total / n)
    return {
        method: Quartiles(*np.quantile(values, [0.5, 0.25, 0.75]).tolist())
        for method, values in groups.items()
    }

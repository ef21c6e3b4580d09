"""The body of a report: curves, comparisons over all problems, estimates and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from bbopt import seeding
from bbopt.bench import plots
from bbopt.bench import statistics as st
from bbopt.bench.comparison import (
    ACCURACY,
    SHARES,
    TOLERANCE,
    Comparison,
    Quartiles,
)
from bbopt.bench.page import Page, count, figure, interval, method_name, number
from bbopt.bench.plots import Look
from bbopt.bench.record import AXES
from bbopt.bench.task import Task

RATIOS = np.geomspace(1, 32, 60)
N_CURVE_POINTS = 40_000
"""Of all curves of progress together, so that a page of many figures stays small."""
FEW_TO_MANY_POINTS = (25, 120)
"""Of one curve."""


def add_progress(page: Page, tasks: Sequence[Task], look: Mapping[str, Look]) -> None:
    """Append a figure a task on its own axis, then one on every other axis that is spent."""
    pairs = [(task, axis) for axis in (None, *AXES) for task in _spending(tasks, axis)]
    n_points = int(np.clip(N_CURVE_POINTS / max(len(pairs) * len(look), 1), *FEW_TO_MANY_POINTS))
    page.heading("Progress")
    true = (
        "its true value where the problem knows it, else its mean over fresh evaluations that no "
        "method was told"
    )
    page.paragraph(
        f"Mean over the runs of the candidate in the lead as the budget is spent ({true}), with "
        "95 % bootstrap bands.",
        "soft",
    )
    for axis in (None, *AXES):
        spending = _spending(tasks, axis)
        if axis is not None and spending:
            page.heading(f"Progress over {AXES[axis]}")
            page.paragraph("The same; a curve ends with the longest of its method's runs.", "soft")
        if spending:
            page.figures(_progress(page, task, look, axis, n_points) for task in spending)


def _spending(tasks: Sequence[Task], axis: str | None) -> list[Task]:
    """The tasks that have such a figure."""
    return [task for task in tasks if axis is None or axis in task.other_axes]


def _progress(
    page: Page, task: Task, look: Mapping[str, Look], axis: str | None, n_points: int
) -> str:
    name = f"progress{task.number}{axis or ''}"
    svg, numbers = plots.progress(task, look, name, axis, n_points)
    page.curves("progress", axis or task.axis, numbers, (task.label, task.budget))
    return figure(
        svg,
        task.label,
        f"{escape(task.budget)}, {count(len(task.seeds), 'run')} a method"
        + ("" if task.has_truth else "; values as observed, which luck flatters"),
    )


def add_comparison(
    page: Page, comparison: Comparison, look: Mapping[str, Look], which: str = ""
) -> None:
    """Append what all tasks say together: ranks, targets, profile, wins."""
    methods = comparison.methods
    if len(methods) < 2:
        return
    ranks = dict(zip(methods, comparison.ranks_over_budget(), strict=True))
    shares = dict(zip(methods, comparison.targets_reached(), strict=True))
    profile = dict(zip(methods, comparison.profile(RATIOS), strict=True))
    for name, x, curves in (
        ("mean rank", SHARES, ranks),
        ("targets reached", SHARES, shares),
        ("performance profile", RATIOS, profile),
    ):
        page.curves(name, "share" if x is SHARES else "ratio", {m: (x, curves[m]) for m in methods})
    budget, own = "share of the budget", str(comparison.tasks[0].number)
    (axis, *others) = {task.axis for task in comparison.tasks}
    spent = "spent" if others else AXES[axis]
    page.heading(f"All problems together{which}")
    figures = [
        figure(
            plots.lines(
                SHARES, ranks, look, "ranks" + own, labels=(budget, "mean rank"), is_rank=True
            ),
            "Mean rank",
            "Of the candidate in the lead, among all methods with the same seed; 1 is best.",
        ),
        figure(
            plots.lines(SHARES, shares, look, "targets" + own, labels=(budget, "targets reached")),
            "Targets reached",
            "Share of all runs and targets. A target is the least median that any method had "
            "after some part of the budget.",
        ),
        figure(
            plots.lines(
                RATIOS,
                profile,
                look,
                "profile" + own,
                labels=(f"{spent}, as a multiple of the fastest method's", "runs solved"),
                is_log=True,
            ),
            "Performance profile",
            f"A run is solved when at most {100 * ACCURACY:.0f} % is missing of what the best "
            "method with the same seed gained over a first evaluation.",
        ),
    ]
    page.figures([*figures, *_critical_difference(comparison, look)])
    wins = comparison.wins()
    page.table(
        ["Wins – ties – losses", *(method_name(method, look) for method in methods)],
        [
            [
                method_name(method, look),
                *(
                    "" if i == j else " – ".join(str(n) for n in wins[i, j])
                    for j in range(len(methods))
                ),
            ]
            for i, method in enumerate(methods)
        ],
        "Runs with the same seed, row against column. A tie: the difference is at most "
        f"{100 * TOLERANCE:.0f} % of what the best run of any method gained over a first "
        "evaluation.",
    )


def _critical_difference(comparison: Comparison, look: Mapping[str, Look]) -> list[str]:
    """The mean ranks over problems, and how far they must be apart; of two problems or more."""
    ranks, n_tasks = comparison.task_ranks()
    if n_tasks < 2:
        return []
    difference = st.critical_difference(len(ranks), n_tasks)
    bars = {
        method: Quartiles(rank, rank - difference / 2, rank + difference / 2)
        for method, rank in sorted(ranks.items(), key=lambda item: item[1])
    }
    return [
        figure(
            plots.dots(
                bars, look, f"critical{comparison.tasks[0].number}", label="mean rank", is_log=False
            ),
            "Critical difference",
            f"Mean rank over {count(n_tasks, 'problem')} of the mean over the runs, each problem "
            f"counted once. Methods differ at 5 % (Nemenyi's test) where their ranks are more "
            f"than {difference:.2f} apart: where their bars, so long, do not overlap.",
        )
    ]


def add_test_values(
    page: Page, comparison: Comparison, look: Mapping[str, Look], which: str = ""
) -> None:
    """Append the scores on examples never shown, where there are any."""
    rng = seeding.stream(0, "bootstrap test")
    rows = []
    for task in comparison.tasks:
        cells = []
        for method in comparison.methods:
            runs = [task.run(method, seed) for seed in task.seeds]
            values = [run.summary.get("test_value") for run in runs if run is not None]
            known = np.array([value for value in values if value is not None])
            if not known.size:
                cells.append("–")
                continue
            mean = st.estimate(known, rng)
            cells.append(f"{number(mean.mean)}<small>{interval(mean.low, mean.high)}</small>")
        if set(cells) != {"–"}:
            arrow = "↓" if task.direction == "minimize" else "↑"
            rows.append([f"{escape(task.label)}<small>{escape(task.budget)} {arrow}</small>"])
            rows[-1] += cells
    if rows:
        page.heading(f"On data never shown{which}")
        page.table(
            ["Problem", *(method_name(method, look) for method in comparison.methods)],
            rows,
            "Each run's result, scored once on examples that no evaluation used: mean with its "
            "95 % bootstrap interval.",
        )


def add_estimates(
    page: Page, comparison: Comparison, look: Mapping[str, Look], which: str = ""
) -> None:
    """Append what each method says of its result beside the truth, where that is known."""
    rows = []
    rng = seeding.stream(0, "bootstrap estimates")
    for task in (task for task in comparison.tasks if task.has_truth):
        cells, is_exact = [], True
        for method in comparison.methods:
            runs = [task.run(method, seed) for seed in task.seeds]
            last = [run.incumbents[-1] for run in runs if run is not None and run.incumbents]
            known = [(i.value, i.true_value) for i in last if i.true_value is not None]
            if not known:
                cells.append("–")
                continue
            own, true = np.array(known).T
            is_exact &= bool((own == true).all())
            gap = st.estimate(-task.sign * (own - true), rng)
            means = f"says {number(own.mean(), 3)}, is {number(true.mean(), 3)}"
            ends = interval(gap.low, gap.high, digits=2)
            cells.append(f"{number(gap.mean, 2)}<small>{'<br>'.join(filter(None, [ends, means]))}")
            cells[-1] += "</small>"
        if not is_exact:
            rows.append([f"{escape(task.label)}<small>{escape(task.budget)}</small>", *cells])
    if rows:
        page.heading(f"What they say of their results{which}")
        page.table(
            ["Problem", *(method_name(method, look) for method in comparison.methods)],
            rows,
            "By how much a method's own estimate of its result is better than the truth: mean over "
            "the runs with its 95 % bootstrap interval. Above zero, it promises too much.",
        )

"""The body of a report: curves, comparisons over all problems, and what the runs cost."""

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
    per_evaluation,
)
from bbopt.bench.page import Page, count, figure, interval, method_name, number
from bbopt.bench.plots import Look
from bbopt.bench.record import Record
from bbopt.bench.task import Task

RATIOS = np.geomspace(1, 32, 60)


def add_progress(page: Page, tasks: Sequence[Task], look: Mapping[str, Look]) -> None:
    """Append a figure a task: the candidate in the lead as evaluations go on."""
    page.heading("Progress")
    true = (
        "its true value where the problem knows it, else its mean over fresh evaluations that no "
        "method was told"
    )
    page.paragraph(
        f"Mean over the runs of the candidate in the lead after each evaluation ({true}), with "
        "95 % bootstrap bands.",
        "soft",
    )
    page.figures(
        figure(
            plots.progress(task, look, f"progress{n}"),
            task.label,
            f"{escape(task.budget)}, {count(len(task.seeds), 'run')} a method"
            + ("" if task.has_truth else "; values as observed, which luck flatters"),
        )
        for n, task in enumerate(tasks)
    )


def add_comparison(page: Page, comparison: Comparison, look: Mapping[str, Look]) -> None:
    """Append what all tasks say together: ranks, targets, profile, wins."""
    methods = comparison.methods
    if len(methods) < 2:
        return
    ranks = dict(zip(methods, comparison.ranks_over_budget(), strict=True))
    shares = dict(zip(methods, comparison.targets_reached(), strict=True))
    profile = dict(zip(methods, comparison.profile(RATIOS), strict=True))
    budget = "share of the budget"
    page.heading("All problems together")
    page.figures(
        [
            figure(
                plots.lines(
                    SHARES, ranks, look, "ranks", labels=(budget, "mean rank"), is_rank=True
                ),
                "Mean rank",
                "Of the candidate in the lead, among all methods with the same seed; 1 is best.",
            ),
            figure(
                plots.lines(SHARES, shares, look, "targets", labels=(budget, "targets reached")),
                "Targets reached",
                "Share of all runs and targets. A target is the least median that any method had "
                "after some number of evaluations.",
            ),
            figure(
                plots.lines(
                    RATIOS,
                    profile,
                    look,
                    "profile",
                    labels=("evaluations, as a multiple of the fastest method's", "runs solved"),
                    is_log=True,
                ),
                "Performance profile",
                f"A run is solved when at most {100 * ACCURACY:.0f} % is missing of what the best "
                "method with the same seed gained over a first evaluation.",
            ),
        ]
    )
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


def add_test_values(page: Page, comparison: Comparison, look: Mapping[str, Look]) -> None:
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
        page.heading("On data never shown")
        page.table(
            ["Problem", *(method_name(method, look) for method in comparison.methods)],
            rows,
            "Each run's result, scored once on examples that no evaluation used: mean with its "
            "95 % bootstrap interval.",
        )


def add_effort(
    page: Page, records: Sequence[Record], comparison: Comparison, look: Mapping[str, Look]
) -> None:
    """Append what the runs took beside their evaluations, and what these were spent on."""
    overhead = {
        method: Quartiles(*(1e3 * seconds for seconds in quartiles))
        for method, quartiles in per_evaluation(records, "overhead_seconds").items()
    }
    shares = {name: per_evaluation(records, name) for name in ("unique", "switches", "failures")}
    page.heading("Effort")
    page.figures(
        [
            figure(
                plots.dots(overhead, look, "overhead", label="milliseconds an evaluation"),
                "Overhead",
                "Time a run spends outside evaluations (proposing, bookkeeping), median and "
                "quartiles over the runs.",
            )
        ]
    )
    page.table(
        ["Median over the runs", "Overhead, ms an evaluation", "Unique", "Switches", "Failures"],
        [
            [
                method_name(method, look),
                number(overhead[method].median, 3),
                *(f"{100 * shares[name][method].median:.0f} %" for name in shares),
            ]
            for method in comparison.methods
            if method in overhead
        ],
        "Unique: different settings tried, a hundred evaluations. Switches: changes of setting "
        "from one trial to the next. Failures: trials without a value.",
    )


def add_estimates(page: Page, comparison: Comparison, look: Mapping[str, Look]) -> None:
    """Append what each method says of its result beside the truth, where that is known."""
    rows = []
    rng = seeding.stream(0, "bootstrap estimates")
    for task in (task for task in comparison.tasks if task.has_truth):
        cells = []
        for method in comparison.methods:
            runs = [task.run(method, seed) for seed in task.seeds]
            last = [run.incumbents[-1] for run in runs if run is not None and run.incumbents]
            known = [(i.value, i.true_value) for i in last if i.true_value is not None]
            if not known:
                cells.append("–")
                continue
            own, true = np.array(known).T
            gap = st.estimate(-task.sign * (own - true), rng)
            means = f"says {number(own.mean(), 3)}, is {number(true.mean(), 3)}"
            ends = interval(gap.low, gap.high, digits=2)
            cells.append(f"{number(gap.mean, 2)}<small>{'<br>'.join(filter(None, [ends, means]))}")
            cells[-1] += "</small>"
        rows.append([f"{escape(task.label)}<small>{escape(task.budget)}</small>", *cells])
    if rows:
        page.heading("What they say of their results")
        page.table(
            ["Problem", *(method_name(method, look) for method in comparison.methods)],
            rows,
            "By how much a method's own estimate of its result is better than the truth: mean over "
            "the runs with its 95 % bootstrap interval. Above zero, it promises too much.",
        )


def add_spend(page: Page, records: Sequence[Record], look: Mapping[str, Look]) -> None:
    """Append what language models and evaluations cost, where they cost anything."""
    names = ("evaluations", "llm_calls", "proposer_calls", "tokens", "unique", "cost", "seconds")
    runs: dict[tuple[str, str], list[list[float]]] = {}
    for record in records:
        if record.is_run:
            spent = [float(record.summary.get(name) or 0.0) for name in names]
            place = record.cell.budget_label, record.cell.optimizer_label
            runs.setdefault(place, []).append(spent)
    means = {place: np.mean(spent, axis=0) for place, spent in runs.items()}
    paid = [names.index(name) for name in ("llm_calls", "tokens", "cost")]
    if not any(mean[paid].any() for mean in means.values()):
        return
    page.heading("Spend")
    head = ["Evaluations", "LLM calls", "Of these for proposals", "Tokens", "Unique", "Cost"]
    for budget in dict.fromkeys(budget for budget, _ in means):
        page.table(
            [escape(budget), *head, "Seconds"],
            [
                [method_name(method, look), *(_amount(value) for value in mean)]
                for (place, method), mean in means.items()
                if place == budget
            ],
            "" if budget != next(iter(means))[0] else "Means of a run, over all problems.",
        )


def _amount(value: float) -> str:
    """A whole number where it is large enough for one."""
    return f"{value:,.0f}" if value >= 100 else number(value, 3)

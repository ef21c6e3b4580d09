"""The end of a report's body: what the runs cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from bbopt.bench import plots
from bbopt.bench import statistics as st
from bbopt.bench.comparison import Quartiles, overhead_growth, per_evaluation
from bbopt.bench.page import Page, figure, method_name, number
from bbopt.bench.plots import Look
from bbopt.bench.record import Record

SPEND = {
    "evaluations": "Evaluations",
    "llm_calls": "LLM calls",
    "proposer_calls": "Of these for proposals",
    "tokens": "Tokens",
    "messages": "Messages",
    "bytes_per_agent": "Bytes sent by an agent",
    "unique": "Unique",
    "cost": "Cost",
    "seconds": "Seconds",
}
"""Columns of the table of spend; those that nobody used are left out."""


def add_effort(
    page: Page, records: Sequence[Record], methods: Sequence[str], look: Mapping[str, Look]
) -> None:
    """Append what the runs took beside their evaluations, and what these were spent on."""
    overhead = {
        method: Quartiles(*(1e3 * seconds for seconds in quartiles))
        for method, quartiles in per_evaluation(records, "overhead_seconds").items()
    }
    shares = {name: per_evaluation(records, name) for name in ("unique", "switches", "failures")}
    curves = overhead_growth(records)
    figures = [
        figure(
            plots.dots(overhead, look, "overhead", label="milliseconds an evaluation"),
            "Overhead",
            "Time a run spends outside evaluations (proposing, bookkeeping), median and "
            "quartiles over the runs.",
        )
    ]
    if curves:
        page.curves("overhead", "evaluations", curves)
        labels = ("evaluations so far", "seconds an evaluation")
        figures.append(
            figure(
                plots.growth(curves, look, "growth", labels=labels),
                "Overhead as a run goes on",
                "Median over the runs of the time outside evaluations while their number "
                "doubled. A method whose slope is 1 takes twice as long an evaluation after "
                "twice as many.",
            )
        )
    page.heading("Effort")
    page.figures(figures)
    page.table(
        [
            "Median over the runs",
            "Overhead, ms an evaluation",
            "Slope",
            "Unique",
            "Switches",
            "Failures",
        ],
        [
            [
                method_name(method, look),
                number(overhead[method].median, 3),
                number(st.growth(*curves[method]), 2) if method in curves else "–",
                *(_percent(shares[name].get(method)) for name in shares),
            ]
            for method in methods
            if method in overhead
        ],
        "Slope: of the overhead an evaluation against the number of evaluations, both as "
        "logarithms, over the later half. Unique: different settings tried, a hundred "
        "evaluations. Switches: changes of setting from one trial to the next. Failures: trials "
        "without a value.",
    )


def _percent(share: Quartiles | None) -> str:
    return "–" if share is None else f"{100 * share.median:.0f} %"


def add_spend(page: Page, records: Sequence[Record], look: Mapping[str, Look]) -> None:
    """Append what runs used of models, networks and money, where they used any."""
    names = tuple(SPEND)
    runs: dict[tuple[str, str], list[list[float]]] = {}
    for record in records:
        if record.is_run:
            spent = [float(record.summary.get(name) or 0.0) for name in names]
            place = record.cell.budget_label, record.cell.optimizer_label
            runs.setdefault(place, []).append(spent)
    means = {place: np.mean(spent, axis=0) for place, spent in runs.items()}
    paid = [names.index(name) for name in ("llm_calls", "tokens", "cost", "bytes_per_agent")]
    if not any(mean[paid].any() for mean in means.values()):
        return
    page.heading("Spend")
    used = np.any([mean > 0 for mean in means.values()], axis=0)
    head = [title for title, is_used in zip(SPEND.values(), used, strict=True) if is_used]
    for budget in dict.fromkeys(budget for budget, _ in means):
        page.table(
            [escape(budget), *head],
            [
                [method_name(method, look), *map(_amount, mean[used])]
                for (place, method), mean in means.items()
                if place == budget
            ],
            "" if budget != next(iter(means))[0] else "Means of a run, over all problems.",
        )


def _amount(value: float) -> str:
    """A whole number where it is large enough for one."""
    return f"{value:,.0f}" if value >= 100 else number(value, 3)

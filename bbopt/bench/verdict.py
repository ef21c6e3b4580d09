"""The head of a report: who wins where, by how much, how sure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import permutations
from typing import Any

from bbopt.bench.comparison import Comparison
from bbopt.bench.page import Page, count, interval, method_name, number
from bbopt.bench.plots import Look
from bbopt.bench.statistics import Estimate
from bbopt.bench.task import Standing, Task

FEW_RUNS = 10
"""With fewer runs bootstrap intervals are too short, and the page says so."""


def add_verdict(
    page: Page, comparison: Comparison, look: Mapping[str, Look], which: str = ""
) -> None:
    """Append the verdict: a sentence, the methods by rank, each method on each problem.

    Here and in :mod:`.evidence` ``which`` ends the heading.
    """
    ranks = comparison.mean_ranks()
    order = sorted(ranks, key=lambda method: ranks[method].mean)
    tasks = comparison.tasks
    placed = {
        method: [sum(t.standings[method].verdict == v for t in tasks) for v in ("best", "no worse")]
        for method in order
    }
    page.heading(f"Verdict{which}")
    if len(order) > 1:
        first, second = order[:2]
        n_best, n_close = placed[first]
        page.paragraph(
            f"{method_name(first, look)} has the best mean rank, {ranks[first].mean:.2f} of "
            f"{len(order)}. By its mean, it is the best on {n_best} and no worse than the best on "
            f"{n_close} more of {count(len(tasks), 'problem')}. "
            + _certainty(comparison.lead(first, second), method_name(second, look))
            + _other_leader({method: placed[method][0] for method in order}, look),
            "lead",
        )
    page.table(
        ["Method", "Mean rank", "95 % interval", "Best", "No worse", "Problems"],
        [
            [
                method_name(method, look),
                f"{ranks[method].mean:.2f}",
                interval(ranks[method].low, ranks[method].high),
                *map(str, placed[method]),
                str(sum(t.standings[method].verdict != "absent" for t in tasks)),
            ]
            for method in order
        ],
        "Rank 1 is best; over all problems and seeds, at the end of the budget. Best, no worse: on "
        "how many problems, by the mean over the seeds, as the next table has it. A rank counts "
        "how often a method is ahead, a mean by how much: they may favour different methods.",
    )
    page.table(
        ["Problem", *(method_name(method, look) for method in order)],
        [
            [_task_name(task), *(_standing(task, task.standings[method]) for method in order)]
            for task in tasks
        ],
        "Mean at the end of the budget; below it, the paired difference to the best method with "
        "its 95 % bootstrap interval. <b>No worse</b>: that interval reaches zero.",
    )
    n_runs = min(len(task.seeds) for task in tasks)
    if n_runs < FEW_RUNS:
        page.paragraph(
            f"With {count(n_runs, 'run')} a method, such intervals come out too short: read them "
            "as a hint, and repeat the bench with more seeds before you rely on them.",
            "soft",
        )


def verdict_rows(comparisons: Sequence[Comparison]) -> list[list[Any]]:
    """The rows of ``verdict.csv``, the head first: a line a method and problem, then the ranks.

    Means and differences are losses: regrets, or values with the sign that makes less better.
    """
    head = ["problem", "budget", "optimizer", "verdict", "loss", "low", "high", "runs"]
    rows: list[list[Any]] = [[*head, "behind", "behind_low", "behind_high", "pairs"]]
    for task in (task for comparison in comparisons for task in comparison.tasks):
        for method, standing in task.standings.items():
            place = [task.label, task.budget, method, standing.verdict]
            rows.append([*place, *_numbers(standing.final), *_numbers(standing.behind)])
    for comparison in comparisons:
        for method, rank in comparison.mean_ranks().items():
            rows.append(["mean rank", "", method, "", *_numbers(rank), *_numbers(None)])
    return rows


def win_rows(comparisons: Sequence[Comparison]) -> list[list[Any]]:
    """The rows of ``wins.csv``, the head first: a line a pair of methods."""
    rows: list[list[Any]] = [["optimizer", "against", "wins", "ties", "losses"]]
    for comparison in comparisons:
        wins = comparison.wins()
        for i, j in permutations(range(len(comparison.methods)), 2):
            rows.append([comparison.methods[i], comparison.methods[j], *wins[i, j].tolist()])
    return rows


def _numbers(found: Estimate | None) -> list[Any]:
    """Mean, ends and number of runs, empty where they are not known."""
    if found is None:
        return [""] * 4
    numbers = (found.mean, found.low, found.high)
    return [*("" if math.isnan(x) else x for x in numbers), found.n]


def _certainty(lead: Estimate | None, second: str) -> str:
    """How sure the first place is, in a sentence."""
    if lead is None or lead.n < 2:
        return f"There are too few runs to tell it from {second}."
    by = f"{lead.mean:.2f} {interval(lead.low, lead.high)}"
    if lead.reaches_zero:
        return f"Its lead over {second} is not certain: {by} in rank."
    return f"It leads {second} by {by} in rank."


def _other_leader(n_best: Mapping[str, int], look: Mapping[str, Look]) -> str:
    """A sentence on who is the best most often, where that is not the first of ``n_best``."""
    most = max(n_best, key=lambda method: n_best[method])
    if n_best[most] == n_best[next(iter(n_best))]:
        return ""
    return (
        f" By means, {method_name(most, look)} is the best most often: on "
        f"{count(n_best[most], 'problem')}."
    )


def _task_name(task: Task) -> str:
    what = "regret" if task.is_regret else "value"
    if not task.has_truth:
        what = f"{what} as observed"
    arrow = "↑" if task.direction == "maximize" and not task.is_regret else "↓"
    return f"{escape(task.label)}<small>{escape(task.budget)} · {what} {arrow}</small>"


def _standing(task: Task, standing: Standing) -> str:
    if standing.final is None:
        return f'<td class="soft">{"failed" if standing.verdict == "failed" else "not run"}</td>'
    lines = [number(task.shown(standing.final.mean))]
    if standing.behind is None:
        lines.append("best" if standing.verdict == "best" else "no pair")
    else:
        sign = 1.0 if task.is_regret else task.sign
        low, high = sorted([sign * standing.behind.low, sign * standing.behind.high])
        gap = number(sign * standing.behind.mean, 2)
        lines.append(gap if gap.startswith("−") else f"+{gap}")
        lines.append(interval(low, high, digits=2))
    if standing.verdict == "no worse":
        lines.append("no worse")
    kind = {"best": ' class="best"', "no worse": ' class="close"'}.get(standing.verdict, "")
    return f"<td{kind}>{lines[0]}<small>{'<br>'.join(filter(None, lines[1:]))}</small></td>"

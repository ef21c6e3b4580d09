"""``bbopt report``: what a bench found, on one page, with the CSV files it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import bbopt
from bbopt.bench import plots
from bbopt.bench.comparison import Comparison
from bbopt.bench.effort import add_effort, add_spend
from bbopt.bench.evidence import add_comparison, add_estimates, add_progress, add_test_values
from bbopt.bench.page import CURVES, Page, count, duration, number
from bbopt.bench.record import write_csv, write_csvs
from bbopt.bench.runner import Bench, read_bench
from bbopt.bench.verdict import add_verdict, verdict_rows, win_rows
from bbopt.errors import StorageError, UsageError

FILES = {
    "cells": "a line a run",
    "incumbents": "a line a change of the candidate in the lead",
    "overhead": "a line each time a run's evaluations had doubled",
    "verdict": "a line a method and problem",
    "wins": "a line a pair of methods",
    "curves": "what the figures show",
}


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` and the CSV files into the folder of a bench; returns the page.

    Raises
    ------
    UsageError
        If it is not the folder of a bench, or no run of it gave a value.
    MissingExtra
        If matplotlib is not installed.
    StorageError
        If a file cannot be read or written.
    """
    folder = Path(folder)
    bench = read_bench(folder)
    comparisons = Comparison.apart(bench.records)
    if not comparisons:
        errors = [record.error for record in bench.records if record.error]
        reason = f"; the first error is: {errors[0]}" if errors else ""
        raise UsageError(f"nothing to report in {str(folder)!r}: no run gave a value{reason}")
    page, path = make_page(bench, comparisons), folder / "report.html"
    try:
        write_csvs(bench.records, folder)
        write_csv(folder / "verdict.csv", verdict_rows(comparisons))
        write_csv(folder / "wins.csv", win_rows(comparisons))
        write_csv(folder / "curves.csv", [CURVES, *page.numbers])
        path.write_text(page.html(), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{error.filename}: {error.strerror}") from None
    return path


def make_page(bench: Bench, comparisons: Sequence[Comparison]) -> Page:
    """The report, and the numbers of its figures.

    Parameters
    ----------
    bench : Bench
        What was run.
    comparisons : sequence of Comparison
        From :meth:`Comparison.apart`: each has a verdict of its own.
    """
    page = Page(bench.title)
    methods = [method for comparison in comparisons for method in comparison.methods]
    tasks = [task for comparison in comparisons for task in comparison.tasks]
    look = plots.looks(methods)
    _head(page, bench, len(methods), len(tasks))
    which = [_which(comparison, comparisons) for comparison in comparisons]
    for comparison, end in zip(comparisons, which, strict=True):
        add_verdict(page, comparison, look, end)
    add_progress(page, tasks, look)
    for add in (add_comparison, add_estimates, add_test_values):
        for comparison, end in zip(comparisons, which, strict=True):
            add(page, comparison, look, end)
    add_effort(page, bench.records, methods, look)
    add_spend(page, bench.records, look)
    _troubles(page, bench)
    _origin(page, bench)
    return page


def _which(comparison: Comparison, comparisons: Sequence[Comparison]) -> str:
    """For headings: the problems of one comparison, where there are several."""
    if len(comparisons) == 1:
        return ""
    return ": " + ", ".join(dict.fromkeys(task.label for task in comparison.tasks))


def _head(page: Page, bench: Bench, n_methods: int, n_tasks: int) -> None:
    runs = [record for record in bench.records if record.is_run]
    seconds = sum(record.summary.get("seconds", 0.0) for record in runs)
    page.add(f"<h1>{escape(bench.title)}</h1>")
    if bench.description:
        page.paragraph(escape(bench.description), "lead")
    page.paragraph(
        f"{count(n_methods, 'method')} on {count(n_tasks, 'problem')}: "
        f"{count(len(runs), 'run')}, "
        f"{duration(seconds)} of computing."
        + (f" {count(bench.n_missing, 'run')} of the grid still to come." * bool(bench.n_missing)),
        "soft",
    )


def _troubles(page: Page, bench: Bench) -> None:
    rows: dict[tuple[str, ...], list[int]] = {}
    for record in bench.records:
        if record.status != "done":
            reason = record.error or record.stop_reason
            cell = record.cell
            key = (cell.optimizer_label, cell.problem_label, record.status, reason)
            rows.setdefault(key, []).append(cell.seed)
    if not rows:
        return
    page.heading("Failed, stopped, skipped")
    page.table(
        ["Method", "Problem", "What", "Runs", "Why"],
        [
            [
                escape(method),
                f'<td class="text">{escape(problem)}</td>',
                f'<td class="text">{what}</td>',
                str(len(seeds)),
                f'<td class="text">{escape(why)}</td>',
            ]
            for (method, problem, what, why), seeds in rows.items()
        ],
        "A stopped run counts with what it had; a failed one ranks last.",
    )


def _origin(page: Page, bench: Bench) -> None:
    page.heading("How this was made")
    rows = []
    for session in bench.sessions:
        machine = f"{session['processor']}, {session['cores']} cores, {session['system']}"
        rows.append(
            [
                escape(session["started"]),
                f'<td class="text"><code>{escape(session["command"])}</code></td>',
                f'<td class="text">{escape(session.get("commit", ""))}</td>',
                f'<td class="text">{escape(machine)}</td>',
                number(session["load"]),
            ]
        )
    page.table(["Session", "Command", "Commit", "Machine", "Load"], rows)
    versions = {
        tuple(sorted(record.environment["versions"].items()))
        for record in bench.records
        if "versions" in record.environment
    }
    for found in sorted(versions):
        page.paragraph(escape(", ".join(f"{name} {version}" for name, version in found)), "soft")
    page.paragraph(
        "The numbers: "
        + "; ".join(f'<a href="{name}.csv">{name}.csv</a>, {what}' for name, what in FILES.items())
        + f". Written by bbopt {bbopt.__version__}.",
        "soft",
    )

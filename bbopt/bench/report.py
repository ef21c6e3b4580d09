"""``bbopt report``: what a bench found, on one page, with the CSV files it is made of."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

import bbopt
from bbopt.bench import plots
from bbopt.bench import statistics as st
from bbopt.bench.comparison import ACCURACY, SHARES, TOLERANCE, Comparison, per_evaluation
from bbopt.bench.page import Page, figure, interval, number
from bbopt.bench.plots import Look
from bbopt.bench.record import Record, write_csvs
from bbopt.bench.runner import Bench, read_bench
from bbopt.bench.task import Standing, Task
from bbopt.errors import UsageError

FEW_RUNS = 10
"""With fewer runs bootstrap intervals are too short, and the page says so."""
RATIOS = np.geomspace(1, 32, 60)


def write_report(folder: str | Path) -> Path:
    """Write ``report.html`` and the CSV files into the folder of a bench; returns the page.

    Raises
    ------
    UsageError
        If it is not the folder of a bench, or no run of it gave a value.
    MissingExtra
        If matplotlib is not installed.
    StorageError
        If a file cannot be read.
    """
    folder = Path(folder)
    bench = read_bench(folder)
    comparison = Comparison.of(bench.records)
    write_csvs(bench.records, folder)
    if not comparison.tasks:
        errors = [record.error for record in bench.records if record.error]
        reason = f"; the first error is: {errors[0]}" if errors else ""
        raise UsageError(f"nothing to report in {str(folder)!r}: no run gave a value{reason}")
    path = folder / "report.html"
    path.write_text(make_page(bench, comparison), encoding="utf-8")
    return path


def make_page(bench: Bench, comparison: Comparison) -> str:
    """The report as HTML."""
    page = Page(bench.title)
    look = plots.looks(comparison.methods)
    _head(page, bench, comparison)
    _verdict(page, comparison, look)
    _progress(page, comparison.tasks, look)
    _together(page, comparison, look)
    _test_values(page, bench.records, comparison, look)
    _effort(page, bench.records, comparison, look)
    _spend(page, bench.records, look)
    _troubles(page, bench)
    _origin(page, bench)
    return page.html()


def _head(page: Page, bench: Bench, comparison: Comparison) -> None:
    runs = [record for record in bench.records if record.is_run]
    seconds = sum(record.summary.get("seconds", 0.0) for record in runs)
    page.add(f"<h1>{escape(bench.title)}</h1>")
    if bench.description:
        page.paragraph(escape(bench.description), "lead")
    page.paragraph(
        f"{_count(len(comparison.methods), 'method')} on "
        f"{_count(len(comparison.tasks), 'problem')}: {_count(len(runs), 'run')}, "
        f"{_duration(seconds)} of computing."
        + (f" {_count(bench.n_missing, 'run')} of the grid still to come." * bool(bench.n_missing)),
        "soft",
    )


# --- who wins -------------------------------------------------------------------------


def _verdict(page: Page, comparison: Comparison, look: dict[str, Look]) -> None:
    ranks = comparison.mean_ranks()
    order = sorted(ranks, key=lambda method: ranks[method].mean)
    tasks = comparison.tasks
    count = {
        method: [sum(t.standings[method].verdict == v for t in tasks) for v in ("best", "no worse")]
        for method in order
    }
    page.heading("Verdict")
    if len(order) > 1:
        first = order[0]
        page.paragraph(
            f"{_name(first, look)} has the best mean rank, {ranks[first].mean:.2f} of "
            f"{len(order)}. It is the best method, or no worse than the best, on "
            f"{sum(count[first])} of {_count(len(tasks), 'problem')}.",
            "lead",
        )
    page.table(
        ["Method", "Mean rank", "95 % interval", "Best", "No worse", "Problems"],
        [
            [
                _name(method, look),
                f"{ranks[method].mean:.2f}",
                interval(*np.round([ranks[method].low, ranks[method].high], 2)),
                *map(str, count[method]),
                str(sum(t.standings[method].verdict != "absent" for t in tasks)),
            ]
            for method in order
        ],
        "Rank 1 is best; over all problems and seeds, at the end of the budget.",
    )
    page.table(
        ["Problem", *(_name(method, look) for method in order)],
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
            f"With {_count(n_runs, 'run')} a method, such intervals come out too short: read them "
            "as a hint, and repeat the bench with more seeds before you rely on them.",
            "soft",
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
        ends = sorted([sign * standing.behind.low, sign * standing.behind.high])
        gap = number(sign * standing.behind.mean, 2)
        lines.append(gap if gap.startswith("−") else f"+{gap}")
        lines.append(interval(*ends, digits=2))
    if standing.verdict == "no worse":
        lines.append("no worse")
    kind = {"best": ' class="best"', "no worse": ' class="close"'}.get(standing.verdict, "")
    return f"<td{kind}>{lines[0]}<small>{'<br>'.join(filter(None, lines[1:]))}</small></td>"


# --- figures --------------------------------------------------------------------------


def _progress(page: Page, tasks: Sequence[Task], look: dict[str, Look]) -> None:
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
            plots.progress(task, look, f"progress{number_}"),
            task.label,
            f"{escape(task.budget)}, {_count(len(task.seeds), 'run')} a method"
            + ("" if task.has_truth else "; values as observed, which luck flatters"),
        )
        for number_, task in enumerate(tasks)
    )


def _together(page: Page, comparison: Comparison, look: dict[str, Look]) -> None:
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
                f"A run is solved when at most {ACCURACY:.0%} is missing of what the best method "
                "with the same seed gained over a first evaluation.",
            ),
        ]
    )
    wins = comparison.wins()
    page.table(
        ["Wins – ties – losses", *(_name(method, look) for method in methods)],
        [
            [
                _name(method, look),
                *(
                    "" if i == j else " – ".join(str(n) for n in wins[i, j])
                    for j in range(len(methods))
                ),
            ]
            for i, method in enumerate(methods)
        ],
        "Runs with the same seed, row against column. A tie: the difference is at most "
        f"{TOLERANCE:.0%} of what the best run of any method gained over a first evaluation.",
    )


# --- what else was measured -----------------------------------------------------------


def _test_values(
    page: Page, records: Sequence[Record], comparison: Comparison, look: dict[str, Look]
) -> None:
    rng = np.random.default_rng(0)
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
            ["Problem", *(_name(method, look) for method in comparison.methods)],
            rows,
            "Each run's result, scored once on examples that no evaluation used: mean with its "
            "95 % bootstrap interval.",
        )


def _effort(
    page: Page, records: Sequence[Record], comparison: Comparison, look: dict[str, Look]
) -> None:
    overhead = {
        method: tuple(1e3 * seconds for seconds in quartiles)
        for method, quartiles in per_evaluation(records, "overhead_seconds").items()
    }
    shares = {name: per_evaluation(records, name) for name in ("unique", "switches", "failures")}
    page.heading("Effort")
    svg = plots.dots(overhead, look, "overhead", label="milliseconds an evaluation")
    page.figures(
        [
            figure(
                svg,
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
                _name(method, look),
                number(overhead[method][0]),
                *(f"{shares[name][method][0]:.0%}" for name in shares),
            ]
            for method in comparison.methods
            if method in overhead
        ],
        "Unique: different settings tried, a hundred evaluations. Switches: changes of setting "
        "from one trial to the next. Failures: trials without a value.",
    )


def _spend(page: Page, records: Sequence[Record], look: dict[str, Look]) -> None:
    names = ("llm_calls", "tokens", "cost")
    total: dict[str, list[float]] = {}
    for record in records:
        sums = total.setdefault(record.cell.optimizer_label, [0.0] * len(names))
        for i, name in enumerate(names):
            sums[i] += record.summary.get(name) or 0.0
    spenders = {method: sums for method, sums in total.items() if any(sums)}
    if spenders:
        page.heading("Spend")
        page.table(
            ["Over all runs", "LLM calls", "Tokens", "Cost"],
            [[_name(method, look), *map(number, sums)] for method, sums in spenders.items()],
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
                f'<td class="text">{escape(machine)}</td>',
                number(session["load"]),
            ]
        )
    page.table(["Session", "Command", "Machine", "Load"], rows)
    versions = {
        tuple(sorted(record.environment["versions"].items()))
        for record in bench.records
        if "versions" in record.environment
    }
    for found in sorted(versions):
        page.paragraph(escape(", ".join(f"{name} {version}" for name, version in found)), "soft")
    page.paragraph(
        "The numbers: "
        '<a href="cells.csv">cells.csv</a>, a line a run; '
        '<a href="incumbents.csv">incumbents.csv</a>, a line a change of the candidate in the '
        f"lead. Written by bbopt {bbopt.__version__}.",
        "soft",
    )


# --- words ----------------------------------------------------------------------------


def _name(method: str, look: dict[str, Look]) -> str:
    """A method's name with its colour; hollow where its curves are dashed."""
    colour, dash = look.get(method, Look(plots.INK, "-"))
    style = f"color:{colour};background:{colour if dash == '-' else 'none'}"
    text = escape(method).replace(":", ":<wbr>")
    return f'<span class="name"><span class="chip" style="{style}"></span>{text}</span>'


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"

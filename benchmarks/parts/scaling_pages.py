"""The tables of ``mini_gp_scaling.py``."""

from __future__ import annotations

import csv
import importlib.metadata
import os
import platform
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

DIMS = (2, 6)
KNOWN_GOAL, LEARNED_GOAL, MOONSHOT_GOAL = 5.0, 15.0, 60.0  # seconds of overhead
MEMORY_GOAL = 2.0  # GB
SLOPE_GOAL, RATIO_GOAL, RATIO_AT = 0.1, 1000.0, 2000
PEERS = {  # name, evaluations in a row of the model
    "botorch:logei, raw rows": ("botorch:logei", 1),
    "botorch:logei, rows of 10": ("botorch:logei", 10),
    "optuna:gp, raw rows": ("optuna:gp", 1),
}
DIRECT, NAIVE = "direct", "naive"
BOX, TABLE = "mini-gp-ucb, box, learned", "mini-gp-ucb, table, known"


@dataclass(frozen=True)
class Record:
    """One run: ``n`` counts its evaluations; ``found`` is empty where it ran out of time."""

    part: str
    case: str
    n: int
    seed: int
    found: dict[str, Any]


def header(title: str, size: str) -> str:
    """The title, what was run, where."""
    names = ("bbopt", "numpy", "scipy", "torch", "botorch", "gpytorch", "optuna")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    option = "" if size == "default" else f" --{size}"
    return (
        f"# {title}\n\n"
        f"`python benchmarks/mini_gp_scaling.py{option}`: {versions}, Python "
        f"{platform.python_version()}, {platform.system()}, {os.cpu_count()} cores, one BLAS "
        f"thread; load before it began {os.getloadavg()[0]:.1f}.\n\n"
        "Median over seeds (largest). *Overhead*: all seconds in ask and tell, on the clock. "
        "*Peak*: memory of the whole process, with Python and the problem.\n"
    )


def million_page(records: list[Record]) -> str:
    about = (
        "`mini-gp-ucb` over 10,000 candidates, 10^6 evaluations with noise of sd 0.3; f a path "
        "of Matérn 5/2 with lengthscale 0.2 (d = 2) or 0.7 (d = 6), sd 1. *Known*: the kernel "
        "and the noise are given; *learned*: defaults.\n\n"
    )
    return about + cost_table(
        records, lambda case: KNOWN_GOAL if "known" in case else LEARNED_GOAL, np.inf
    )


def moonshot_page(records: list[Record]) -> str:
    lines = [
        f"The registered `mini-gp-ucb` over a table of {records[0].found['candidates']:,} rows "
        "given as columns, hyper-parameters known, C = 2 and β = 3 (`staleness`, `beta`), 10^7 "
        "evaluations; else as in a million evaluations.",
        "",
        cost_table(
            [r for r in records if r.part == "moonshot"], lambda _: MOONSHOT_GOAL, MEMORY_GOAL
        ),
        f"*{DIRECT}*: no optimizer, but a loop over `Posterior(form='unique')`, the repeat rule "
        "and the upper confidence bound (the last seed). Its choices, and those of a naive "
        "reference over fewer candidates (numpy, double precision, the posterior at all "
        "candidates solved anew at each decision), beside the optimizer's:",
        "",
        "| | candidates | decisions compared | same candidate | same repeats | largest relative "
        "difference |",
        "|---|---|---|---|---|---|",
        *same_choices(records, "moonshot", DIRECT),
        *same_choices(records, "fewer", NAIVE),
    ]
    return "\n".join(lines) + "\n"


def same_choices(records: list[Record], part: str, other: str) -> list[str]:
    """A line for each run by other means, beside the optimizer's of the same seed."""
    runs = {(r.case, r.seed): r.found for r in records if r.part == part}
    lines = []
    for (case, seed), theirs in runs.items():
        if not case.endswith(other):
            continue
        mine = runs[case.removesuffix(f", {other}"), seed]
        both = list(zip(mine["counts"], theirs["counts"], strict=False))
        cells = [
            case,
            f"{mine['candidates']:,}",
            max(len(mine["rows"]), len(theirs["rows"])),
            sum(a == b for a, b in zip(mine["rows"], theirs["rows"], strict=False)),
            sum(a == b for a, b in both),
            f"{max(abs(a - b) / b for a, b in both):.1g}",
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def cost_table(records: list[Record], goal_of: Any, memory_goal: float) -> str:
    """Costs and regret of each case; goals are for the worst seed."""
    lines = [
        "| | overhead s | goal | largest ask s | decisions | unique | switches | simple regret "
        "| true best | peak GB | seeds |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for case, made in by_case(records).items():
        columns = {key: [r.found[key] for r in made] for key in made[0].found}
        goal = goal_of(case)
        is_met = max(columns["overhead"]) < goal
        memory = spread(columns["memory"])
        if max(columns["memory"]) >= memory_goal:
            memory += f" **≥ {memory_goal:g}**"
        cells = [
            case,
            spread(columns["overhead"]),
            f"< {goal:g} {'met' if is_met else '**missed**'}",
            *(spread(columns[k]) for k in ("largest_ask", "decisions", "unique", "switches")),
            spread(columns["regret"]),
            f"{sum(columns['is_best'])} of {len(made)}",
            memory,
            str(len(made)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def each_page(records: list[Record]) -> str:
    ours = {
        case: {n: [r.found for r in made] for n, made in by_n(group).items()}
        for case, group in by_case([r for r in records if r.part == "ours"]).items()
    }
    mean = {
        case: {n: float(np.median([f["overhead"] for f in made])) / n for n, made in group.items()}
        for case, group in ours.items()
    }
    our_n = next(iter(ours.values()))
    lines = [
        "Hartmann 6 with noise of sd 0.3 (in sd of f): over the box with everything learned, and "
        "over 10,000 Sobol' points with the kernel known. Microseconds in ask and tell an "
        "evaluation, means over a run of T.",
        "",
        "| | " + " | ".join(f"T = {n:,}" for n in our_n) + " | slope | goal |",
        "|---|" + "---|" * (len(our_n) + 2),
    ]
    for case, group in ours.items():
        cells = [spread([1e6 * f["overhead"] / n for f in made]) for n, made in group.items()]
        points = np.log([(n, mean[case][n]) for n in group])
        slope = float(np.polyfit(points[:, 0], points[:, 1], 1)[0])
        met = "met" if slope <= SLOPE_GOAL else "**missed**"
        lines.append(
            f"| {case} | " + " | ".join(cells) + f" | {slope:.2f} | ≤ {SLOPE_GOAL} {met} |"
        )
    peers = [r for r in records if r.part.startswith("peer")]
    return "\n".join([*lines, "", *peer_lines(peers, mean)]) + "\n"


def peer_lines(records: list[Record], mean: dict[str, dict[int, float]]) -> list[str]:
    """Others beside our ``mean`` seconds an evaluation, by case and evaluations."""
    lines = [
        "Others. *One step*: seconds of one ask and tell once n evaluations at random points have "
        "been told (median of up to three), not a whole run; *mean, integrated* is what a run of "
        "n would then cost an evaluation (trapezia over the n measured). `gp:ucb` was run from "
        "the start: means over the run. Ratios are to our mean over a run of T = n: over the box "
        f"for the first, over the table for `gp:ucb`. The goal, at n = {RATIO_AT}, is "
        f"{RATIO_GOAL:,.0f} for the raw rows. With rows of 10 a step is ten evaluations: its "
        "seconds are divided by 10.",
        "",
        "| | n | seconds a step | steps | s an evaluation | mean, integrated | ratio | ratio of "
        "means | goal |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case, made in by_case(records).items():
        mean_of = PEERS.get(case, ("", 1))[1]
        known: list[tuple[int, float]] = []
        for record in made:
            found, n = record.found, record.n
            if not found:
                lines.append(f"| {case} | {n} | timed out | 0 | | | | | |")
                continue
            is_run = "overhead" in found
            a_step = found["overhead"] / n if is_run else found["seconds"]
            known.append((n, a_step / mean_of))
            average = known[-1][1] if is_run else integrated(known) / n
            our = mean[TABLE if is_run else BOX].get(n)
            ratios = (
                ["", ""] if our is None else [f"{v / our:,.0f}" for v in (known[-1][1], average)]
            )
            goal = ""
            if n == RATIO_AT and our is not None and ("raw" in case or "append" in case):
                goal = "met" if known[-1][1] / our >= RATIO_GOAL else "**missed**"
            cells = [case, str(n), f"{a_step:.3g}", "run" if is_run else str(found["steps"])]
            cells += [f"{known[-1][1]:.3g}", f"{average:.3g}", *ratios, goal]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def integrated(known: list[tuple[int, float]]) -> float:
    """Seconds of a run up to the last n, from seconds an evaluation at some n."""
    n, seconds = np.array(known).T
    return float(np.trapezoid(np.append(seconds[0], seconds), np.append(0, n)))


def by_case(records: list[Record]) -> dict[str, list[Record]]:
    groups = defaultdict(list)
    for record in records:
        groups[record.case].append(record)
    return dict(groups)


def by_n(records: list[Record]) -> dict[int, list[Record]]:
    groups = defaultdict(list)
    for record in records:
        groups[record.n].append(record)
    return dict(groups)


def spread(values: list[float]) -> str:
    """Median and, of several, the largest."""
    middle, top = (f"{v:.3g}" if v < 1000 else f"{v:.0f}" for v in (np.median(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({top})"


def brief(found: dict[str, Any]) -> dict[str, Any]:
    """The numbers without the lists."""
    return {
        key: float(f"{value:.6g}") if isinstance(value, float) else value
        for key, value in found.items()
        if not isinstance(value, list)
    }


def write_csv(records: list[Record], path: Path) -> None:
    """A line a run."""
    measures = dict.fromkeys(key for record in records for key in brief(record.found))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["part", "case", "n", "seed", *measures])
        for r in records:
            found = brief(r.found)
            writer.writerow([r.part, r.case, r.n, r.seed, *(found.get(m, "") for m in measures)])

"""The page and the table of ``generative.py``."""

from __future__ import annotations

import csv
import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

import bbopt
from bbopt.bench.page import count
from bbopt.bench.record import Record
from bbopt.bench.runner import Bench
from parts.generative_predictions import predictions
from parts.generative_results import AXES, Place, Results, signed, with_interval

OURS = "polca"
PEERS = ("gepa", "openevolve", "random-restarts", "best-of-n")
MAIN = ("staircase", "rulebook", "paraphrase", "hints")
GAP_GOAL = 0.02
SPENT = ("evaluations", "llm_calls", "proposer_calls", "tokens", "unique", "seconds")


def write_page(bench: Bench, parts: Bench, size: str, folder: Path, stem: str) -> str:
    """Write ``STEM.csv``, a line a run of both benches, and ``STEM.md``; returns the latter."""
    _write_csv([*bench.records, *parts.records], folder / f"{stem}.csv")
    text = "\n".join(_page(bench, parts, size)) + "\n"
    (folder / f"{stem}.md").write_text(text, encoding="utf-8")
    return text


def _page(bench: Bench, parts: Bench, size: str) -> Iterator[str]:
    found = Results(bench.records)
    yield "# Generative search"
    yield ""
    yield from _about(bench, found, size)
    yield from _moonshot(found)
    yield from _gaps(found)
    yield "\n## Predictions\n"
    yield "Written down before the runs; what does not hold is said as plainly as what does.\n"
    yield from predictions(found, Results(parts.records))
    for axis, name in AXES.items():
        for place in (p for p in found.places if p.axis == axis):
            yield f"\n## Equal {name}: {place.amount:,}"
            yield from _tables(found, place)
    yield from _troubles([*bench.records, *parts.records])


def _about(bench: Bench, found: Results, size: str) -> Iterator[str]:
    option = "" if size == "default" else f" --{size}"
    packages = ", ".join(f"{name} {version(name)}" for name in ("gepa", "openevolve", "numpy"))
    session = bench.sessions[-1]
    yield (
        f"`python benchmarks/generative.py{option}`: bbopt {bbopt.__version__}, {packages}, "
        f"Python {platform.python_version()}, {session['cores']} cores; load when the last "
        f"session began {session['load']:.1f}."
    )
    yield ""
    yield (
        f"Every method on every problem with {count(len(found.seeds), 'seed')}, the same for all. "
        "One local service proposes, summarises and evaluates for every method alike and counts "
        "what it is asked: its proposer is simulated, uses nothing but the prompt that it is sent, "
        "and answers the n-th request of a run with the same draws for all. So this shows "
        "properties of search loops, **not** of language models in the field. Settings of the "
        "peers were chosen on other seeds (`generative_tuning.md`); `polca` has its defaults."
    )
    yield ""
    yield (
        "*True*: expected value of one evaluation of what the method itself returns, with its "
        "95 % bootstrap interval. *Own*: what the method says it is worth. *Gap*: own less true. "
        "*Less polca*: paired difference of true values. *Seen*: the best true value of all that "
        "was evaluated. *Calls*: requests to the model, in brackets those for proposals; the rest "
        "are summaries. Budgets of evaluations leave calls free; those of calls have room for "
        f"{_most_evaluations(bench):,} evaluations, which ended {_n_short(bench)} of their runs."
    )


def _most_evaluations(bench: Bench) -> int:
    """The most evaluations that any budget of calls allows."""
    budgets = [record.cell.budget for record in bench.records]
    return max((b.evaluations or 0 for b in budgets if b.llm_calls is not None), default=0)


def _n_short(bench: Bench) -> int:
    """How many runs with a budget of calls ran out of evaluations instead."""
    by_calls = (r for r in bench.records if r.cell.budget.llm_calls is not None)
    return sum(record.stop_reason == "evaluations" for record in by_calls)


# --- goals --------------------------------------------------------------------------------


def _moonshot(found: Results) -> Iterator[str]:
    yield "\n## Half the budget\n"
    yield (
        "Goal: with half the budget, POLCA returns what the best peer returns with all of it, on "
        "three of four problems, on both axes. The best peer is the one that did best, known "
        "afterwards. *Reached*: its mean is at least as high; *open*: lower, but the interval of "
        "the difference reaches zero."
    )
    for axis in AXES:
        for full in found.doubled(axis):
            rows = [row for problem in MAIN if (row := _race(found, problem, full)) is not None]
            if not rows:
                continue
            n_reached = sum(row.endswith("| reached |") for row in rows)
            yield f"\n{full.half} against {full}: reached on {n_reached} of {len(rows)}.\n"
            yield f"| problem | polca, {full.half} | best peer | {full} | difference | |"
            yield "|---|---|---|---|---|---|"
            yield from rows


def _race(found: Results, problem: str, full: Place) -> str | None:
    """POLCA with half the budget against the best peer with all of it."""
    peer = best_peer(found, problem, full)
    lead = None if peer is None else found.lead(problem, (full.half, OURS), (full, peer))
    if peer is None or lead is None:
        return None
    is_below = lead.n > 1 and lead.high < 0
    verdict = "reached" if lead.mean >= -1e-12 else "missed" if is_below else "open"
    ours, theirs = found.value(problem, full.half, OURS), found.value(problem, full, peer)
    numbers = with_interval(ours), peer, with_interval(theirs), signed(lead), verdict
    return f"| {problem} | {' | '.join(numbers)} |"


def best_peer(found: Results, problem: str, place: Place) -> str | None:
    """The peer of the best mean true value."""
    values = {peer: found.value(problem, place, peer) for peer in PEERS}
    known = {peer: value.mean for peer, value in values.items() if value is not None}
    return max(known, key=lambda peer: known[peer], default=None)


def _gaps(found: Results) -> Iterator[str]:
    yield "\n## Optimism\n"
    yield f"Goal: POLCA's own estimate within {GAP_GOAL} of the truth, on average over the seeds.\n"
    problems = [p for p in MAIN if p in found.problems]
    yield f"| budget | method | {' | '.join(problems)} |"
    yield "|---|---|" + "---|" * len(problems)
    met = total = 0
    for place in found.places:
        for method in (OURS, *PEERS):
            gaps = [found.gap(problem, place, method) for problem in problems]
            if not any(gaps):
                continue
            if method == OURS:
                met += sum(gap is not None and abs(gap.mean) <= GAP_GOAL for gap in gaps)
                total += len(problems)
            yield f"| {place} | {method} | {' | '.join(map(signed, gaps))} |"
    yield f"\nMet in {met} of {total} cells."


# --- tables ---------------------------------------------------------------------------------


def _tables(found: Results, place: Place) -> Iterator[str]:
    head = (
        "true",
        "less polca",
        "own",
        "gap",
        "seen",
        "evaluations",
        "calls",
        "tokens",
        "texts",
        "s",
    )
    for problem in found.problems:
        rows = [
            f"| {method} | {' | '.join(_line(found, problem, place, method))} |"
            for method in found.methods
            if found.runs(problem, place, method)
        ]
        if rows:
            yield f"\n**{problem}**\n"
            yield f"| method | {' | '.join(head)} |"
            yield "|---|" + "---|" * len(head)
            yield from rows


def _line(found: Results, problem: str, place: Place, method: str) -> Iterator[str]:
    spent = {name: found.mean(problem, place, method, name) for name in (*SPENT, "best_seen")}
    lead = None
    if method != OURS:
        lead = found.lead(problem, (place, method), (place, OURS))
    yield with_interval(found.value(problem, place, method))
    yield signed(lead)
    yield f"{np.nanmean(found.own(problem, place, method)):.3f}"
    yield signed(found.gap(problem, place, method))
    yield f"{spent['best_seen']:.3f}"
    yield f"{spent['evaluations']:,.0f}"
    yield f"{spent['llm_calls']:.0f} ({spent['proposer_calls']:.0f})"
    yield f"{spent['tokens']:,.0f}"
    yield f"{spent['unique']:.0f}"
    yield f"{spent['seconds']:.1f}"


def _troubles(records: Sequence[Record]) -> Iterator[str]:
    bad = [record for record in records if record.status != "done"]
    if bad:
        yield "\n## Stopped, failed, skipped\n"
        yield from (f"- {r.cell}: {r.status}: {r.error or r.stop_reason}" for r in bad)


def _write_csv(records: Sequence[Record], path: Path) -> None:
    numbers = ("best_value", "best_count", "best_seen", *SPENT)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["problem", "budget", "method", "seed", "status", "true_value", *numbers])
        for record in records:
            cell, place = record.cell, Place.of(record.cell.budget)
            true = record.incumbents[-1].true_value if record.incumbents else None
            values = [true, *(record.summary.get(name) for name in numbers)]
            head = [cell.problem_label, str(place), cell.optimizer_label, cell.seed, record.status]
            writer.writerow([*head, *(_short(value) for value in values)])


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"

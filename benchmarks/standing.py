"""The standing comparison with the peers: ``RESULTS.md``, made of benches that have been run.

Give it the folders of benches (by default those of the package's suites in ``runs/``): of each it
writes ``results/suite_NAME.csv``, a line a run, and ``results/suite_NAME.md``; then it gathers
all such pages that are there, and the titles of the others, in ``RESULTS.md``. Nothing is run::

    bbopt bench bbo --jobs 2
    python benchmarks/standing.py runs/bbo
"""

from __future__ import annotations

import argparse
import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bbopt import registry, seeding
from bbopt.bench import statistics as st
from bbopt.bench.comparison import Comparison, per_evaluation
from bbopt.bench.page import interval, number
from bbopt.bench.record import Record
from bbopt.bench.runner import MANIFEST, Bench, read_bench
from bbopt.bench.suite import suite_names
from bbopt.bench.task import Task

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PEERS = ("bbopt.baselines", "bbopt.lacmas.baselines")
"""The rooms of the methods that others have made, or that are there to compare with."""
BOUNDS = ("swarm:cma",)
"""Methods that know more than the others may: no peers."""
HEAD = """# Results

The standing comparison with the peers, wins and losses alike, written by
`python benchmarks/standing.py`. *No worse*: the 95 % bootstrap interval of the difference, paired
by seed, reaches zero. *Better*: it lies below. The best peer of a problem is known afterwards.
The numbers of every run are in `results/suite_*.csv`; the commands given, and then `bbopt report`,
make the whole page with its figures.
"""


class Pairing(NamedTuple):
    """One of our methods against the peer of the least mean, problem by problem."""

    no_worse: int
    better: int
    problems: int
    fewer_switches: float | None
    """The median over the problems of the peer's switches as a multiple of ours."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, help="benches; runs/SUITE where left out")
    options = parser.parse_args()
    known = [Path("runs") / name for name in suite_names()]
    folders = options.folders or [folder for folder in known if (folder / MANIFEST).is_file()]
    for folder in folders:
        bench = read_bench(folder)
        comparison = Comparison.of(bench.records)
        if not comparison.tasks:
            raise SystemExit(f"nothing in {folder}: no run gave a value")
        page = "\n".join(section(bench, comparison)) + "\n"
        (RESULTS / f"suite_{bench.suite}.md").write_text(page, encoding="utf-8")
        write_runs(bench.records, RESULTS / f"suite_{bench.suite}.csv")
    (HERE / "RESULTS.md").write_text(gathered(), encoding="utf-8")


def gathered() -> str:
    """RESULTS.md."""
    pages = [HEAD]
    pages += [path.read_text(encoding="utf-8") for path in sorted(RESULTS.glob("suite_*.md"))]
    others = [path for path in sorted(RESULTS.glob("*.md")) if not path.name.startswith("suite_")]
    rows = [f"* [{_title(path)}](results/{path.name})" for path in others]
    if len(pages) == 1:
        pages.append("No suite has been run at its default size.\n")
    return "\n".join([*pages, "## Other measurements\n", *rows]) + "\n"


def _title(path: Path) -> str:
    first, *_ = path.read_text(encoding="utf-8").splitlines()
    return first.removeprefix("# ")


def section(bench: Bench, comparison: Comparison) -> Iterator[str]:
    """The page of one suite."""
    yield f"## {bench.title}\n"
    yield f"{bench.description}\n"
    yield from _origin(bench, comparison)
    yield from _goals(comparison)
    yield from _ranks(bench, comparison)
    yield from _finals(comparison)


def _origin(bench: Bench, comparison: Comparison) -> Iterator[str]:
    seeds = sorted({seed for task in comparison.tasks for seed in task.seeds})
    runs = [record for record in bench.records if record.is_run]
    stopped = sum(record.status == "stopped" for record in runs)
    yield (
        f"Seeds {seeds[0]} to {seeds[-1]}; {len(runs)} runs, of which {stopped} were stopped at "
        f"their time limit; {bench.n_missing} still to come.\n"
    )
    for session in bench.sessions:
        yield (
            f"* `{session['command']}`, commit {session.get('commit') or 'unknown'}, "
            f"{session['started']}, {session['processor']}, {session['cores']} cores, load "
            f"{session['load']}"
        )
    versions = {
        f"{name} {version}"
        for record in runs
        for name, version in record.environment.get("versions", {}).items()
    }
    yield f"\n{', '.join(sorted(versions))}.\n"
    data = os.environ.get("BBOPT_DATA") or "BBOPT_DATA"  # where it is here is nobody's business
    missing: dict[str, set[str]] = {}
    for record in bench.records:
        if record.status in ("failed", "skipped"):
            what = f"{record.cell.optimizer_label} {record.status}: {record.error}"
            what = what.replace(f"{data}/", "")
            missing.setdefault(what, set()).add(record.cell.problem_label)
    for what, where in sorted(missing.items()):
        yield f"* {what} ({'; '.join(sorted(where))})"
    yield ""


def _goals(comparison: Comparison) -> Iterator[str]:
    """Each of our methods against the best peer of each problem, and against each peer."""
    ours = [method for method in comparison.methods if _is_ours(method, comparison)]
    peers = [m for m in comparison.methods if m not in ours and m not in BOUNDS]
    if not ours or not peers:
        return
    yield "| | against | no worse | of it better | problems | the peer's switches, as a multiple |"
    yield "|---|---|---|---|---|---|"
    for method in ours:
        for against in [None, *peers]:
            found = pairing(comparison, method, peers if against is None else [against])
            fewer = "" if found.fewer_switches is None else number(found.fewer_switches, 3)
            yield (
                f"| {method} | {against or '**the best peer of each problem**'} | "
                f"{found.no_worse} | {found.better} | {found.problems} | {fewer} |"
            )
    yield ""


def pairing(comparison: Comparison, method: str, peers: list[str]) -> Pairing:
    """How a method does on every problem against the peer that has the least mean there."""
    no_worse, better, problems, switches = 0, 0, 0, []
    for task in comparison.tasks:
        standing = {m: task.standings[m].final for m in (method, *peers)}
        if standing[method] is None or all(standing[m] is None for m in peers):
            continue
        best = min(
            (m for m in peers if standing[m] is not None),
            key=lambda m: standing[m].mean,  # type: ignore[union-attr]
        )
        rows = [task.final[task.methods.index(m)] for m in (method, best)]
        rng = seeding.stream(0, "bootstrap standing", number=task.number)
        difference = st.paired_difference(rows[0], rows[1], rng)
        if difference is None or difference.n < 2:
            continue
        problems += 1
        no_worse += difference.reaches_zero
        better += difference.high < 0
        own, other = _switches(task, method), _switches(task, best)
        if own is not None and other is not None:
            switches.append(other / max(own, 1.0))
    fewer = float(np.median(switches)) if switches else None
    return Pairing(no_worse, better, problems, fewer)


def _switches(task: Task, method: str) -> float | None:
    runs = [task.run(method, seed) for seed in task.seeds]
    counts = [run.summary.get("switches") for run in runs if run is not None]
    known = [count for count in counts if count is not None]
    return float(np.median(known)) if known else None


def _is_ours(method: str, comparison: Comparison) -> bool:
    for task in comparison.tasks:
        for seed in task.seeds:
            run = task.run(method, seed)
            if run is not None:
                return not registry.optimizer_class(run.cell.optimizer).__module__.startswith(PEERS)
    return False


def _ranks(bench: Bench, comparison: Comparison) -> Iterator[str]:
    ranks = comparison.mean_ranks()
    overhead = per_evaluation(bench.records, "overhead_seconds")
    yield "| method | mean rank | best | no worse | problems | overhead, ms an evaluation |"
    yield "|---|---|---|---|---|---|"
    for method in sorted(ranks, key=lambda m: ranks[m].mean):
        verdicts = [task.standings[method].verdict for task in comparison.tasks]
        rank = ranks[method]
        took = number(1e3 * overhead[method].median, 3) if method in overhead else "–"
        yield (
            f"| {method} | {rank.mean:.2f} {interval(rank.low, rank.high)} | "
            f"{verdicts.count('best')} | {verdicts.count('no worse')} | "
            f"{len(verdicts) - verdicts.count('absent')} | {took} |"
        )
    yield ""


def _finals(comparison: Comparison) -> Iterator[str]:
    """The mean at the end of the budget: **the best**, *no worse*."""
    yield f"| problem | {' | '.join(comparison.methods)} |"
    yield "|---" * (len(comparison.methods) + 1) + "|"
    for task in comparison.tasks:
        cells = []
        for method in comparison.methods:
            standing = task.standings[method]
            text = "–" if standing.final is None else number(task.shown(standing.final.mean), 3)
            mark = {"best": "**", "no worse": "*"}.get(standing.verdict, "")
            cells.append(f"{mark}{text}{mark}")
        what = "regret" if task.is_regret else f"value, {task.direction}d"
        yield f"| {task.label}, {task.budget} ({what}) | {' | '.join(cells)} |"
    yield ""


def write_runs(records: list[Record], path: Path) -> None:
    """A line a run: what it ended with, and what it took."""
    counts = ("evaluations", "switches", "unique", "llm_calls", "tokens", "bytes_per_agent")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        head = ["problem", "budget", "optimizer", "seed", "status", "optimum", "true_value"]
        writer.writerow([*head, *counts, "overhead_seconds", "seconds"])
        for record in records:
            cell = record.cell
            true = record.incumbents[-1].true_value if record.incumbents else None
            place = [cell.problem_label, cell.budget_label, cell.optimizer_label, cell.seed]
            spent = [record.summary.get(n) for n in (*counts, "overhead_seconds", "seconds")]
            writer.writerow([*place, record.status, record.optimum, true, *spent])


if __name__ == "__main__":
    main()

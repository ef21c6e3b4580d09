"""``bbopt bench`` and ``bbopt report``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bbopt.cli.messages import complain
from bbopt.errors import UsageError

if TYPE_CHECKING:
    from bbopt.bench.cell import Cell
    from bbopt.bench.record import Record

RUNS = Path("runs")
"""Where benches are kept if nothing else is said."""
AT_LEAST_1 = click.IntRange(min=1)


@click.command()
@click.argument("suite")
@click.option("--quick", "is_quick", is_flag=True, help="Under two minutes.")
@click.option("--full", "is_full", is_flag=True, help="What a paper would print.")
@click.option("--optimizers", metavar="A,B,...", help="Only these; also others than the suite's.")
@click.option(
    "--seeds", type=AT_LEAST_1, metavar="N", help="Seeds 0 to N-1 instead of the suite's."
)
@click.option("--jobs", type=AT_LEAST_1, default=1, show_default=True, help="Runs at once.")
@click.option("--out", metavar="DIR", help="Where to keep it.  [default: runs/SUITE, -SIZE]")
@click.pass_context
def bench(
    ctx: click.Context,
    suite: str,
    is_quick: bool,
    is_full: bool,
    optimizers: str | None,
    seeds: int | None,
    jobs: int,
    out: str | None,
) -> int:
    """Run a SUITE: every problem with every optimizer and every seed.

    SUITE is one of the package's (demo, bbo, noisy, hpo, meta, generative, programs, consensus,
    scaling) or the path of a TOML file. Whatever is finished stays in DIR: the same command goes
    on after an interruption, and a wider one (more seeds, another optimizer) adds to it.

    \b
    bbopt bench demo --jobs 2
    bbopt bench bbo --quick --optimizers optuna:tpe,cma --seeds 5 --out runs/two
    """  # noqa: D301 - \b keeps click from wrapping what follows
    from bbopt.bench.record import write_csvs
    from bbopt.bench.runner import open_bench, read_bench, run_cells
    from bbopt.bench.suite import load_suite
    from bbopt.running.identity import command_line

    if is_quick and is_full:
        raise UsageError("--quick and --full are two sizes: give one")
    size = "quick" if is_quick else "full" if is_full else None
    chosen = load_suite(suite)
    names = None if optimizers is None else _names(optimizers, chosen.optimizers)
    cells = chosen.cells(size or "default", optimizers=names, seeds=seeds)
    folder = RUNS / (chosen.name + (f"-{size}" if size else "")) if out is None else Path(out)
    todo = open_bench(
        folder,
        cells,
        title=chosen.title,
        description=chosen.description,
        suite=chosen.name,
        command=command_line(),
    )
    try:
        with _watcher(cells, todo, is_quiet=ctx.find_root().params.get("quiet", False)) as watch:
            run_cells(todo, folder, jobs=jobs, watch=watch)
    except KeyboardInterrupt:
        complain("interrupted", f"what is finished is kept; go on with: {command_line()}")
        return 1
    records = read_bench(folder).records
    write_csvs(records, folder)
    places = {cell.place for cell in cells}
    return _sum_up([record for record in records if record.cell.place in places], folder)


@click.command()
@click.argument("folder", metavar="[DIR]", required=False)
@click.option(
    "--coco", metavar="FOLDER", help="Also write the runs on bbob/... for cocopp and IOHanalyzer."
)
def report(folder: str | None, coco: str | None) -> None:
    """Write the report of the bench in DIR as one page, and print its path.

    Without DIR, of the latest bench in runs/. The CSV files that it is made of lie beside it.
    """
    from bbopt.bench.coco import write_coco
    from bbopt.bench.report import write_report
    from bbopt.bench.runner import read_bench

    chosen = _latest() if folder is None else Path(folder)
    if coco is not None:
        for path in write_coco(read_bench(chosen).records, Path(coco)):
            click.echo(path)
    click.echo(write_report(chosen))


def _names(text: str, labels: Container[str]) -> list[str]:
    """The names of a list, each once; a label may have commas of its own."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise UsageError(f"--optimizers must be names separated by commas, got {text!r}")
    names: dict[str, None] = {}
    while parts:
        lengths = range(len(parts), 1, -1)
        n = next((n for n in lengths if ", ".join(parts[:n]) in labels), 1)
        names[", ".join(parts[:n])] = None
        del parts[:n]
    return list(names)


def _latest() -> Path:
    from bbopt.bench.runner import MANIFEST

    manifests = list(RUNS.glob(f"*/{MANIFEST}"))
    if not manifests:
        raise UsageError(f"no bench in {str(RUNS)!r}: name the folder of one")
    return max(manifests, key=lambda path: path.stat().st_mtime).parent


@contextmanager
def _watcher(
    cells: Sequence[Cell], todo: Sequence[Cell], *, is_quiet: bool
) -> Iterator[Callable[[Record], None]]:
    """What is called with each new record: a bar on a terminal, else a line a cell."""
    n_known, n = len(cells) - len(todo), len(cells)
    if is_quiet:
        yield lambda record: None
        return
    if n_known:
        print(f"{n_known} of {n} runs are there already", file=sys.stderr)
    if sys.stderr.isatty():
        with _bar(n_known, n) as watch:
            yield watch
        return
    done = iter(range(n_known + 1, n + 1))
    yield lambda record: print(_line(next(done), n, record), file=sys.stderr, flush=True)


@contextmanager
def _bar(n_known: int, n: int) -> Iterator[Callable[[Record], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = (BarColumn(), MofNCompleteColumn(), Remaining(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=n, completed=n_known)

        def watch(record: Record) -> None:
            progress.update(task, advance=1, description=str(record.cell))
            if record.status != "done":
                progress.console.print(_outcome(record), markup=False, highlight=False)

        yield watch


def _line(number: int, n: int, record: Record) -> str:
    return f"[{number:{len(str(n))}}/{n}] {_outcome(record)}"


def _outcome(record: Record) -> str:
    if not record.incumbents:
        return f"{record.cell}: {record.status}: {record.error}"
    last = record.incumbents[-1]
    value = last.value if last.true_value is None else last.true_value
    text = f"{record.cell}: {value:.6g} ({record.summary['seconds']:.1f} s)"
    return text if record.status == "done" else f"{text}, {record.status}: {record.stop_reason}"


def _sum_up(records: Sequence[Record], folder: Path) -> int:
    """Say what came of the cells and what comes next; the exit code."""
    counts: dict[str, int] = {}
    for record in records:
        counts[record.status] = counts.get(record.status, 0) + 1
    click.echo(", ".join(f"{n} {status}" for status, n in counts.items()) + f": {folder}")
    for status in ("skipped", "failed"):
        reasons = dict.fromkeys(
            f"{r.cell.optimizer_label} on {r.cell.problem_label}: {r.error}"
            for r in records
            if r.status == status
        )
        for reason in reasons:
            complain(status, reason)
    return 1 if counts.get("failed") else 0

"""POLCA beside GEPA, OpenEvolve and plain resampling, on prompts whose true value is known.

The suites ``generative``, at equal evaluations and at equal calls of the language model, with
the simulated proposer and evaluator of one local service for all, and ``generative_parts``.
Writes ``generative.csv`` (a line a run) and ``generative.md``. Three sizes: ``--quick`` (two
minutes), the default (an hour on two cores), ``--full``. Runs are kept where ``bbopt bench`` keeps
them: the same command goes on, and ``bbopt report`` writes a page of figures.

``--tune`` runs the grids of settings from which the suite's were chosen instead, and writes
``generative_tuning.csv`` and ``.md``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from parts.generative_page import write_page
from parts.generative_tuning import GRIDS, tuning_cells, write_tuning

from bbopt.bench.cell import Cell
from bbopt.bench.record import Record
from bbopt.bench.runner import Bench, open_bench, read_bench, run_cells
from bbopt.bench.suite import Suite, load_suite

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    suite = load_suite("generative")
    if options.tune:
        cells = tuning_cells(suite, options.methods.split(","))
        bench = _run(suite, cells, options.runs / "generative-tuning", options.jobs)
        print(write_tuning(bench.records, options.out))
        return
    size = options.size or "default"
    benches = {}
    for name in ("generative", "generative_parts"):
        suite = load_suite(name)
        folder = options.runs / (name + (f"-{options.size}" if options.size else ""))
        benches[name] = _run(suite, suite.cells(size), folder, options.jobs)
    stem = "generative" + (f"_{options.size}" if options.size else "")
    print(write_page(benches["generative"], benches["generative_parts"], size, options.out, stem))


def _run(suite: Suite, cells: list[Cell], folder: Path, jobs: int) -> Bench:
    """Run what is not in the folder yet, and read all that is."""
    todo = open_bench(
        folder,
        cells,
        title=suite.title,
        description=suite.description,
        suite=suite.name,
        command=" ".join(["python", "benchmarks/generative.py", *sys.argv[1:]]),
    )
    done = iter(range(len(cells) - len(todo) + 1, len(cells) + 1))

    def watch(record: Record) -> None:
        print(f"[{next(done)}/{len(cells)}] {record.cell}: {record.status}", flush=True)

    run_cells(todo, folder, jobs=jobs, watch=watch)
    return read_bench(folder)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    chosen = parser.add_mutually_exclusive_group()
    for name in ("quick", "full"):
        chosen.add_argument(f"--{name}", dest="size", action="store_const", const=name)
    chosen.add_argument("--tune", action="store_true", help="run the grids of settings instead")
    parser.add_argument("--methods", default=",".join(GRIDS), help="whose grids, with --tune")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="where runs are kept")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the tables")
    return parser.parse_args()


if __name__ == "__main__":
    main()

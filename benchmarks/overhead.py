"""What bbopt itself costs: its start, its loop, and its storage beside Optuna's own.

Writes ``overhead.md`` and ``overhead.csv``. Three sizes: ``--quick`` (half a minute), the
default (a few minutes), ``--full``. What is compared runs by turns, in an order that changes
from repeat to repeat, so that whatever else the machine does falls on both; medians and
quartiles over the repeats.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

import bbopt
from bbopt.function import FunctionProblem

START_GOAL = 0.3  # seconds
LOOP_GOAL = 0.2  # milliseconds an evaluation
STORAGE_GOAL = 1.5  # times what Optuna costs
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Size:
    """How often each measurement is repeated, and over how many trials."""

    starts: int
    loops: int
    evaluations: int
    stores: int
    journal_trials: int
    sqlite_trials: int


SIZES = {
    "quick": Size(5, 3, 500, 3, 100, 20),
    "default": Size(20, 10, 2000, 9, 300, 80),
    "full": Size(50, 30, 5000, 25, 1000, 300),
}


@dataclass(frozen=True)
class Row:
    """One line of the result; the ``goal`` is for the median of what is ``compared``."""

    what: str
    unit: str
    reference: np.ndarray | None
    ours: np.ndarray
    goal: float
    is_ratio: bool = False

    def compared(self) -> np.ndarray:
        """What the goal is about: ours, or how many times the reference it is."""
        if self.is_ratio and self.reference is not None:
            return self.ours / self.reference
        return self.ours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    chosen = parser.add_mutually_exclusive_group()
    for name in ("quick", "full"):
        chosen.add_argument(f"--{name}", dest="size", action="store_const", const=name)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the tables")
    arguments = parser.parse_args()
    name = arguments.size or "default"
    size = SIZES[name]
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    load = os.getloadavg()[0]
    rows = [starts(size), *loops(size), *stores(size)]
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = table(rows, name, load)
    (arguments.out / "overhead.md").write_text(text, encoding="utf-8")
    write_csv(rows, arguments.out / "overhead.csv")
    print(text)


# --- what is measured -----------------------------------------------------------------


def starts(size: Size) -> Row:
    """``bbopt --help`` beside a Python that does nothing."""
    command = [str(Path(sys.executable).with_name("bbopt")), "--help"]
    nothing = [sys.executable, "-c", "pass"]

    def run(words: list[str]) -> float:
        start = time.perf_counter()
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - start

    reference, ours = by_turns(lambda: run(nothing), lambda: run(command), size.starts)
    return Row("`bbopt --help` beside `python -c pass`", "s", reference, ours, START_GOAL)


def loops(size: Size) -> list[Row]:
    """Random search without storage, with evaluations of a microsecond.

    In processor time: the loop waits for nothing, and other work on the machine stays out.
    """
    rows = []
    for dim in (2, 6):
        problem = make_problem(dim)
        bbopt.run(problem, "random", 100)
        spent = []
        for seed in range(size.loops):
            start = time.process_time()
            bbopt.run(problem, "random", size.evaluations, seed=seed)
            spent.append(1e3 * (time.process_time() - start) / size.evaluations)
        what = f"loop without storage, {dim} parameters"
        rows.append(Row(what, "ms an evaluation", None, np.array(spent), LOOP_GOAL))
    return rows


def stores(size: Size) -> list[Row]:
    """Runs with a storage: ours beside ask, suggest and tell of Optuna's random sampler."""
    rows = []
    for kind, n in (("journal file", size.journal_trials), ("SQLite", size.sqlite_trials)):
        for dim in (2, 6):
            problem = make_problem(dim)

            def ours(problem: FunctionProblem = problem, kind: str = kind, n: int = n) -> float:
                with empty_folder() as folder:
                    place = folder / "runs.journal"
                    storage = place if kind == "journal file" else f"sqlite:///{folder}/runs.db"
                    start = time.perf_counter()
                    bbopt.run(problem, "random", n, storage=storage, name="overhead")
                    return 1e3 * (time.perf_counter() - start) / n

            def theirs(dim: int = dim, kind: str = kind, n: int = n) -> float:
                with empty_folder() as folder:
                    start = time.perf_counter()
                    run_optuna(folder, kind, dim, n)
                    return 1e3 * (time.perf_counter() - start) / n

            reference, mine = by_turns(theirs, ours, size.stores)
            what = f"{kind}, {dim} parameters, {n} trials"
            rows.append(Row(what, "ms a trial", reference, mine, STORAGE_GOAL, is_ratio=True))
    return rows


def make_problem(dim: int) -> FunctionProblem:
    """The sum of ``dim`` numbers."""
    space = {f"x{i}": bbopt.Float(0, 1) for i in range(dim)}
    return FunctionProblem(lambda params: sum(params.values()), space, deterministic=True)


def run_optuna(folder: Path, kind: str, dim: int, n: int) -> None:
    """The same with Optuna alone."""
    storage = (
        JournalStorage(JournalFileBackend(str(folder / "runs.journal")))
        if kind == "journal file"
        else optuna.storages.RDBStorage(f"sqlite:///{folder}/runs.db")
    )
    study = optuna.create_study(storage=storage, sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(n):
        trial = study.ask()
        study.tell(trial, sum(trial.suggest_float(f"x{i}", 0, 1) for i in range(dim)))


@contextmanager
def empty_folder():
    """A folder that goes with everything in it."""
    with TemporaryDirectory(prefix="bbopt-overhead-") as folder:
        yield Path(folder)


def by_turns(
    a: Callable[[], float], b: Callable[[], float], n: int
) -> tuple[np.ndarray, np.ndarray]:
    """``n`` results of each, called a b, b a, a b, ... after one of each that is not counted."""
    a(), b()
    found: list[tuple[float, float]] = []
    for i in range(n):
        if i % 2 == 0:
            first = a()
            found.append((first, b()))
        else:
            second = b()
            found.append((a(), second))
    left, right = np.array(found).T
    return left, right


# --- how it is written ----------------------------------------------------------------


def table(rows: list[Row], size: str, load: float) -> str:
    """The rows as Markdown."""
    versions = f"bbopt {bbopt.__version__}, Optuna {optuna.__version__}"
    python = f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores"
    lines = [
        "# Overhead",
        "",
        f"`python benchmarks/overhead.py{'' if size == 'default' else f' --{size}'}`: {versions}, "
        f"{python}; load before it began {load:.1f}.",
        "Median [quartiles] over the repeats, which go by turns. *Ratio*: ours over the "
        "reference, repeat by repeat.",
        "",
        "| | unit | reference | bbopt | ratio | goal | |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        ratio = "" if row.reference is None else spread(row.ours / row.reference)
        goal = f"ratio ≤ {row.goal:g}" if row.is_ratio else f"< {row.goal:g} {row.unit}"
        met = "met" if np.median(row.compared()) <= row.goal else "**missed**"
        reference = "" if row.reference is None else spread(row.reference)
        cells = [row.what, row.unit, reference, spread(row.ours), ratio, goal, met]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def spread(values: np.ndarray) -> str:
    """Median and quartiles."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return f"{middle:.3g} [{low:.3g}, {high:.3g}]"


def write_csv(rows: list[Row], path: Path) -> None:
    """Every repeat in a line."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["what", "unit", "repeat", "reference", "bbopt"])
        for row in rows:
            references = [""] * len(row.ours) if row.reference is None else row.reference
            for i, (reference, ours) in enumerate(zip(references, row.ours, strict=True)):
                writer.writerow([row.what.replace("`", ""), row.unit, i, reference, ours])


if __name__ == "__main__":
    main()

"""NAP on tables of hyperparameters: what earlier tasks are worth, and to whom.

Every arm searches the same tables, of tasks that nobody has trained on. *Protocol A*: five random
rows are evaluated first, the same for every arm. *Protocol B*: none are; arms that draw nothing
run once. Scored is the normalised simple regret (best seen - least) / (greatest - least), counted
from the first evaluation; means over tasks of means over seeds, with intervals by bootstrap over
*tasks*. The earlier tasks are there for ``portfolio`` and ``transfer-gp``; ``nap`` brings its
weights. Methods that propose points get the nearest row that is free, but BoTorch, whose
acquisition is maximised over the free rows.

Writes ``nap_hpo.csv`` (a row a run; rows that are there are not computed again, unless the
weights have changed) and ``nap_hpo.md``. Sizes: ``--quick``, the default (under an hour on two
cores) and ``--full`` (30 seeds). The tables are not part of bbopt: ``--tasks`` and ``--earlier``
take any in the format of ``hpo/table``.
"""

from __future__ import annotations

import argparse
import csv
import glob
import hashlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"  # before the first import of torch

import numpy as np
from parts.nap_page import AT, Arm, page
from parts.table_logei import TableLogEI

import bbopt
from bbopt import seeding
from bbopt.base import Optimizer
from bbopt.metabo.nap.choice import SHIPPED
from bbopt.running.table import FreeRows

RESULTS = Path(__file__).parent / "results"
DATA = Path(os.environ.get("BBOPT_DATA", Path(__file__).parents[2] / "shared/data"))
N_INITIAL = 5
BUDGET = max(AT)

ARMS = {
    "random": Arm("random"),
    "optuna:tpe": Arm("optuna:tpe", {"n_startup_trials": N_INITIAL}),
    "mini-gp-ei": Arm("mini-gp-ei", {"n_startup_trials": N_INITIAL}),
    "botorch logei": Arm("botorch"),
    "optuna:gp": Arm("optuna:gp", {"n_startup_trials": N_INITIAL}),
    "portfolio": Arm("portfolio", is_certain=True),
    "transfer-gp": Arm("transfer-gp", is_certain=True),
    "greedy mean": Arm("nap", {"acquisition": "mean"}, is_certain=True),
    "np-ei": Arm("nap", {"acquisition": "ei"}, is_certain=True),
    "nap": Arm("nap", {}, is_certain=True),
}
"""In the order of the tables. All arms of ``nap`` are one network; ``np-ei`` is its first stage."""

B_ARMS = ("random", "mini-gp-ei", *(name for name, arm in ARMS.items() if arm.is_certain))


class Cell(NamedTuple):
    """One run."""

    protocol: str
    arm: str
    task: str
    seed: int


@dataclass(frozen=True)
class Run:
    """What came of it: regrets after 5, 10, 25 and 50 evaluations, milliseconds an ask (of CPU)."""

    cell: Cell
    regrets: tuple[float, ...]
    milliseconds: float
    weights: str = ""


@dataclass(frozen=True)
class Plan:
    """What is run on what.

    Parameters
    ----------
    tasks : tuple of str
        Files of the tables that are searched.
    earlier : str
        Pattern of those of earlier tasks.
    seeds : int
        Draws of the five rows.
    arms : dict of str to Arm
        By name.
    """

    tasks: tuple[str, ...]
    earlier: str
    seeds: int
    arms: dict[str, Arm]

    def cells(self) -> Iterator[Cell]:
        """All runs, those of whole seeds first."""
        names = [Path(file).stem for file in self.tasks]
        for seed in range(self.seeds):
            for name, arm in self.arms.items():
                yield from (Cell("A", name, task, seed) for task in names)
                if (name in B_ARMS or arm.weights) and not (arm.is_certain and seed):
                    yield from (Cell("B", name, task, seed) for task in names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    chosen = parser.add_mutually_exclusive_group()
    for name in ("quick", "full"):
        chosen.add_argument(f"--{name}", dest="size", action="store_const", const=name)
    folder = DATA / "hpobench_xgb"
    parser.add_argument("--tasks", default=str(folder / "task_2?.npz"), help="tables to search")
    parser.add_argument("--earlier", default=str(folder / "task_[01]?.npz"), help="earlier ones")
    parser.add_argument("--weights", type=Path, nargs="*", default=[], help="further weights")
    parser.add_argument("--arms", default=",".join(ARMS), help="methods to run")
    parser.add_argument("--seeds", type=int, help="run fewer seeds than the size has")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the tables")
    parser.add_argument("--name", help="what the tables are called")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    options = parser.parse_args()
    tasks = tuple(sorted(glob.glob(options.tasks)))
    if not tasks:
        raise SystemExit(f"no tables: --tasks {options.tasks}")
    is_quick = options.size == "quick"
    further = {f"nap: {p.stem}": Arm("nap", {}, True, str(p)) for p in options.weights}
    named = {name: ARMS[name] for name in options.arms.split(",")} | further
    if is_quick:
        tasks = tasks[:2]
        named = {name: arm for name, arm in named.items() if not name.startswith(("bo", "op"))}
    seeds = options.seeds or {"quick": 1, "full": 30}.get(options.size, 10)
    plan = Plan(tasks, options.earlier, seeds, named)
    name = options.name or "nap_hpo" + "_quick" * is_quick
    table = options.out / f"{name}.csv"
    runs = {
        cell: run
        for cell, run in read(table).items()
        if cell.arm not in named or run.weights == digest(named[cell.arm])
    }
    missing = [cell for cell in plan.cells() if cell not in runs]
    with ProcessPoolExecutor(options.jobs) as pool:
        for future in as_completed([pool.submit(play, cell, plan) for cell in missing]):
            run = future.result()
            runs[run.cell] = run
            write(table, runs.values())
    command = "python benchmarks/nap_hpo.py" + (f" --{options.size}" if options.size else "")
    order = [*ARMS, *sorted({cell.arm for cell in runs} - set(ARMS))]
    report = options.out / f"{name}.md"
    whole = sum(1 for _ in Plan(tasks, options.earlier, seeds, ARMS | further).cells())
    report.write_text(page(list(runs.values()), order, command, whole))
    print(report.read_text())


def digest(arm: Arm) -> str:
    """Which weights an arm has: the start of the file's SHA-256; nothing without any."""
    if arm.optimizer != "nap":
        return ""
    path = Path(arm.weights) if arm.weights else SHIPPED / "nap_xgb6.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


@cache
def problem_of(file: str) -> bbopt.Problem:
    return bbopt.problem("hpo/table", path=file)


def play(cell: Cell, plan: Plan) -> Run:
    """Carry out one run."""
    arm = plan.arms[cell.arm]
    problem = problem_of(next(file for file in plan.tasks if Path(file).stem == cell.task))
    spec = problem.spec
    assert spec.candidates is not None
    optimizer = build(arm, spec, cell.seed, plan.earlier)
    free = FreeRows(spec.candidates, spec.space)
    losses: list[float] = []
    if cell.protocol == "A":
        rng = seeding.stream(cell.seed, f"initial rows of {cell.task}")
        for row in rng.choice(len(spec.candidates), N_INITIAL, replace=False).tolist():
            params = spec.candidates[row]
            free.take(params)
            losses.append(problem.truth(params))
            optimizer.tell(bbopt.Trial(None, params), losses[-1])
    seconds = 0.0
    n_asks = BUDGET - len(losses)
    for _ in range(n_asks):
        start = time.process_time()
        (trial,) = optimizer.ask(1, bbopt.Budget(evaluations=BUDGET - len(losses)))
        seconds += time.process_time() - start
        params = free.take_nearest(trial.params)
        losses.append(problem.truth(params))
        optimizer.tell(bbopt.Trial(trial.number, params), losses[-1])
    values = np.array([problem.truth(params) for params in spec.candidates]) * spec.sign
    best = np.minimum.accumulate(np.array(losses) * spec.sign)
    regret = (best - values.min()) / np.ptp(values)
    regrets = tuple(float(regret[n - 1]) for n in AT)
    return Run(cell, regrets, 1000 * seconds / n_asks, digest(arm))


def build(arm: Arm, spec: bbopt.Spec, seed: int, earlier: str) -> Optimizer:
    """The optimizer of an arm."""
    if arm.optimizer == "botorch":
        return TableLogEI(spec, seed=seed)
    settings = dict(arm.settings)
    if arm.optimizer in ("portfolio", "transfer-gp"):
        settings["tables"] = earlier
    if arm.weights:
        settings["weights"] = arm.weights
    return bbopt.optimizer(arm.optimizer, spec, seed=seed, **settings)


def read(path: Path) -> dict[Cell, Run]:
    """The rows of a table, as far as there is one."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    runs = {}
    for row in rows:
        cell = Cell(row["protocol"], row["arm"], row["task"], int(row["seed"]))
        regrets = tuple(float(row[f"regret_{n}"]) for n in AT)
        runs[cell] = Run(cell, regrets, float(row["milliseconds"]), row["weights"])
    return runs


def write(path: Path, runs) -> None:
    """All rows, in the order of their cells."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    with draft.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*Cell._fields, *(f"regret_{n}" for n in AT), "milliseconds", "weights"])
        for run in sorted(runs, key=lambda run: run.cell):
            regrets = [f"{regret:.6g}" for regret in run.regrets]
            writer.writerow([*run.cell, *regrets, f"{run.milliseconds:.2f}", run.weights])
    draft.replace(path)


if __name__ == "__main__":
    main()

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

import glob
import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"  # before the first import of torch

import numpy as np
from parts import resumable
from parts.nap_page import AT, Arm, page
from parts.table_fit import TableFit
from parts.table_logei import TableLogEI

import bbopt
from bbopt import seeding
from bbopt.base import Optimizer
from bbopt.metabo.nap.choice import SHIPPED
from bbopt.running.table import FreeRows

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
    "fit of the table": Arm("fit", is_certain=True),
}
"""In the order of the tables. All arms of ``nap`` are one network; ``np-ei`` is its first stage."""

SEEDS = {"quick": 1, "default": 10, "full": 30}
B_ARMS = ("random", "mini-gp-ei", *(name for name, arm in ARMS.items() if arm.is_certain))


class Cell(NamedTuple):
    """One run."""

    protocol: str
    arm: str
    task: str
    seed: int


@dataclass(frozen=True)
class Run:
    """What came of it: regrets after so many evaluations, milliseconds of CPU an ask."""

    regret_5: float
    regret_10: float
    regret_25: float
    regret_50: float
    milliseconds: float
    weights: str


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
    options_of = resumable.parser(__doc__)
    folder = DATA / "hpobench_xgb"
    options_of.add_argument("--tasks", default=str(folder / "task_2?.npz"), help="to search")
    options_of.add_argument("--earlier", default=str(folder / "task_[01]?.npz"), help="before them")
    options_of.add_argument("--weights", type=Path, nargs="*", default=[], help="further weights")
    options_of.add_argument("--name", help="what the tables are called")
    options = options_of.parse_args()
    tasks = tuple(sorted(glob.glob(options.tasks)))
    if not tasks:
        raise SystemExit(f"no tables: --tasks {options.tasks}")
    seeds = SEEDS[options.size] if options.seeds is None else options.seeds
    further = {f"nap: {p.stem}": Arm("nap", {}, True, str(p)) for p in options.weights}
    arms = ARMS | further
    if options.size == "quick":
        tasks = tasks[:2]
        arms = {name: arm for name, arm in arms.items() if not name.startswith(("bo", "op"))}
    plan = Plan(tasks, options.earlier, seeds, arms)
    chosen = list(arms) if options.arms is None else options.arms.split(";")
    stem = options.name or resumable.stem("nap_hpo", options.size)
    runs = resumable.Runs(options.out / f"{stem}.csv", Cell, Run)
    for cell in [
        c for c, run in runs.items() if c.arm in arms and run.weights != digest(arms[c.arm])
    ]:
        del runs[cell]
    wanted = list(plan.cells())
    runs.compute(
        [cell for cell in wanted if cell.arm in chosen],
        play, plan, jobs=options.jobs, fresh=options.fresh,
    )  # fmt: skip
    command = f"python benchmarks/nap_hpo.py{resumable.option(options.size)}"
    order = [*arms, *sorted({cell.arm for cell in runs} - set(arms))]
    text = page(runs, order, command, len(wanted))
    (options.out / f"{stem}.md").write_text(text, encoding="utf-8")
    print(text)


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
    optimizer = build(arm, problem, cell.seed, plan.earlier)
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
    regrets = (float(regret[n - 1]) for n in AT)
    return Run(*regrets, 1000 * seconds / n_asks, digest(arm))


def build(arm: Arm, problem: bbopt.Problem, seed: int, earlier: str) -> Optimizer:
    """The optimizer of an arm."""
    if arm.optimizer == "botorch":
        return TableLogEI(problem.spec, seed=seed)
    if arm.optimizer == "fit":
        return TableFit(problem, seed=seed)
    settings = dict(arm.settings)
    if arm.optimizer in ("portfolio", "transfer-gp"):
        settings["tables"] = earlier
    if arm.weights:
        settings["weights"] = arm.weights
    return bbopt.optimizer(arm.optimizer, problem.spec, seed=seed, **settings)


if __name__ == "__main__":
    main()

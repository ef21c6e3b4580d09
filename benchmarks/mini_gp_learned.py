"""mini-GP with learned hyper-parameters beside Optuna's and BoTorch's Gaussian processes.

Five test functions through three levels of noise (standard deviations in units of that of the
function over its box), 200 and 2,000 evaluations, paired seeds. Ours and Optuna's run with
default settings, BoTorch's with cheaper ones. Of 2,000 evaluations the peers get 200 means of
10, as their users do; ours decides for itself how often to repeat. Scored is the true value of
what each method recommends, less the optimum, in the same units. A run that passes ten minutes
is stopped and scored as it stands.

Writes ``mini_gp_learned.csv`` (a row a run; rows that are there are not computed again) and
``mini_gp_learned.md``. Three sizes: ``--quick``, the default (an hour), ``--full`` (ten seeds
of everything: five hours).
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"  # before the first import of torch

import numpy as np
from parts import resumable
from threadpoolctl import threadpool_limits

import bbopt
from bbopt import seeding
from bbopt.bench.statistics import Estimate, paired_difference
from bbopt.problems.noisy_function import NoisyFunction

FUNCTIONS = {
    "branin": ("synthetic/branin", {}),
    "hartmann3": ("synthetic/hartmann3", {}),
    "levy4": ("synthetic/levy", {"dim": 4}),
    "ackley5": ("synthetic/ackley", {"dim": 5}),
    "hartmann6": ("synthetic/hartmann6", {}),
}
OURS = ("mini-gp-ucb", "mini-gp-ei")
PEERS = {
    "optuna:gp": {},
    # its defaults took three times as long and were no better where tried
    "botorch:qlognei": {"num_restarts": 4, "raw_samples": 128, "mc_samples": 64, "refit_every": 3},
}
REPLICATES = 10  # of the peers, from LARGE evaluations on
LARGE = 2000
TIME_LIMIT = 600.0


class Cell(NamedTuple):
    """One run."""

    evaluations: int
    function: str
    noise: float
    arm: str
    seed: int


@dataclass(frozen=True)
class Size:
    """What is run: ``few`` seeds of what costs a minute a run, BoTorch and large budgets."""

    functions: tuple[str, ...]
    noises: tuple[float, ...]
    evaluations: tuple[int, ...]
    seeds: int
    few: int

    def cells(self) -> Iterator[Cell]:
        """All runs."""
        grid = product(self.evaluations, self.functions, self.noises, (*OURS, *PEERS))
        for evaluations, function, noise, arm in grid:
            is_costly = arm.startswith("botorch") or evaluations >= LARGE
            for seed in range(self.few if is_costly and arm not in OURS else self.seeds):
                yield Cell(evaluations, function, noise, arm, seed)


SIZES = {
    "quick": Size(("branin",), (0.3,), (30,), 2, 1),
    "default": Size(tuple(FUNCTIONS), (0.1, 0.3, 1.0), (200, 2000), 10, 3),
    "full": Size(tuple(FUNCTIONS), (0.1, 0.3, 1.0), (200, 2000), 10, 10),
}


@dataclass(frozen=True)
class Run:
    """What came of it: the regret is in units of the function's standard deviation."""

    regret: float
    unique: int
    switches: int
    seconds: float


def main() -> None:
    options_of = resumable.parser(__doc__)
    options_of.add_argument("--evaluations", type=int, help="run one of the budgets of the size")
    options = options_of.parse_args()
    size, stem = SIZES[options.size], resumable.stem("mini_gp_learned", options.size)
    cells = [
        cell
        for cell in size.cells()
        if (options.arms is None or cell.arm in options.arms.split(";"))
        and options.evaluations in (None, cell.evaluations)
        and (options.seeds is None or cell.seed < options.seeds)
    ]
    # by seeds: a comparison that was cut short is still one of whole seeds
    cells.sort(key=lambda cell: cell.seed)
    runs = resumable.Runs(options.out / f"{stem}.csv", Cell, Run)
    runs.compute(cells, play, jobs=options.jobs, fresh=options.fresh)
    command = f"python benchmarks/mini_gp_learned.py{resumable.option(options.size)}"
    text = summary(runs, command)
    (options.out / f"{stem}.md").write_text(text, encoding="utf-8")
    print(text)


@cache
def unit(function: str) -> float:
    """Standard deviation of a function over its box."""
    name, arguments = FUNCTIONS[function]
    problem = bbopt.problem(name, **arguments)
    assert isinstance(problem, NoisyFunction)
    low, high = problem.bounds.T
    x = seeding.stream(0, "unit").random((50_000, len(low)))
    return float(problem.function(low + x * (high - low)).std())


def play(cell: Cell) -> Run:
    """Carry out one run, on one BLAS thread."""
    name, arguments = FUNCTIONS[cell.function]
    problem = bbopt.problem(name, noise=cell.noise * unit(cell.function), **arguments)
    settings = PEERS.get(cell.arm, {})
    optimizer = bbopt.optimizer(cell.arm, problem.spec, seed=cell.seed, **settings)
    repeats = REPLICATES if cell.arm in PEERS and cell.evaluations >= LARGE else 1
    start = time.perf_counter()
    spent, unique, switches, last = 0, set(), 0, None
    with threadpool_limits(1):
        while spent < cell.evaluations and time.perf_counter() - start < TIME_LIMIT:
            (trial,) = optimizer.ask(1, bbopt.Budget(evaluations=cell.evaluations - spent))
            rng = seeding.stream(cell.seed, "evaluate", number=trial.number or 0)
            outcome = bbopt.Outcome.coerce(
                problem.evaluate(replace(trial, repeats=repeats * trial.repeats), rng)
            )
            spent += outcome.count
            optimizer.tell(trial, outcome.mean if repeats > 1 else outcome)
            point = problem.spec.space.key(trial.params)
            switches += last is not None and point != last
            unique.add(point)
            last = point
        best = optimizer.best
    seconds = time.perf_counter() - start
    assert best is not None
    regret = (problem.truth(best.params) - problem.optimum) / unit(cell.function)
    return Run(regret, len(unique), switches, seconds)


def summary(runs: Mapping[Cell, Run], command: str) -> str:
    """The comparison as a page: a verdict for each of ours and each peer, then the cells."""
    cells: dict[tuple[int, str, float], dict[str, dict[int, Run]]] = {}
    for cell, run in sorted(runs.items()):
        place = cells.setdefault(cell[:3], {})
        place.setdefault(cell.arm, {})[cell.seed] = run
    lines = [
        "# mini-GP with learned hyper-parameters beside Optuna's and BoTorch's",
        "",
        f"`{command}`; bbopt {bbopt.__version__}, numpy {np.__version__}, Python "
        f"{platform.python_version()}, {platform.system()}; {len(runs)} runs.",
        "",
        "Simple regret of the recommended candidate, in standard deviations of the function: "
        "means over seeds (their number), in brackets the paired difference of `mini-gp-ucb` and "
        "the method with its 95 % bootstrap interval. *No worse*: the interval reaches zero or "
        "lies below it. "
        f"From {LARGE:,} evaluations on the peers get means of {REPLICATES}.",
        "",
        *verdicts(cells),
    ]
    for evaluations in sorted({place[0] for place in cells}):
        lines += ["", f"## {evaluations:,} evaluations", "", *table(cells, evaluations)]
    return "\n".join(lines) + "\n"


def gap(ours: dict[int, Run], theirs: dict[int, Run]) -> Estimate | None:
    """The mean of the paired differences, where there are at least two pairs."""
    seeds = sorted(ours.keys() & theirs.keys())
    if len(seeds) < 2:
        return None
    a, b = (np.array([runs[seed].regret for seed in seeds]) for runs in (ours, theirs))
    return paired_difference(a, b, seeding.stream(0, "bootstrap"))


def verdicts(cells) -> list[str]:
    """In how many cells each of ours is better than, no worse than and worse than each peer."""
    lines = ["| | evaluations | against | no worse | of it better | worse | cells with pairs |"]
    lines += ["|---|---|---|---|---|---|---|"]
    for arm, evaluations, peer in product(OURS, sorted({c[0] for c in cells}), PEERS):
        found = [
            gap(arms[arm], arms[peer])
            for place, arms in cells.items()
            if place[0] == evaluations and arm in arms and peer in arms
        ]
        gaps = [each for each in found if each is not None]
        if gaps:
            worse = sum(each.low > 0 for each in gaps)
            better = sum(each.high < 0 for each in gaps)
            counts = [len(gaps) - worse, better, worse, len(gaps)]
            lines.append(f"| {arm} | {evaluations:,} | {peer} | {' | '.join(map(str, counts))} |")
    return lines


def table(cells, evaluations: int) -> list[str]:
    """A line a cell, a column a method."""
    arms = [*OURS, *PEERS]
    lines = ["| function | noise | " + " | ".join(arms) + " | seconds a run | switches |"]
    lines += ["|---|---|" + "---|" * (len(arms) + 2)]
    for (n, function, noise), found in sorted(cells.items()):
        if n != evaluations:
            continue
        row = [function, f"{noise:g}"]
        for arm in arms:
            runs = list(found.get(arm, {}).values())
            text = f"{np.mean([run.regret for run in runs]):.3f}" if runs else ""
            against = gap(found.get(OURS[0], {}), found[arm]) if runs and arm != OURS[0] else None
            if against is not None:
                text += f" [{against.mean:+.3f}: {against.low:+.3f}, {against.high:+.3f}]"
            row.append(text + (f" ({len(runs)})" if runs else ""))
        for field, form in (("seconds", "{:.1f}"), ("switches", "{:.0f}")):
            medians = [
                form.format(np.median([getattr(run, field) for run in found[arm].values()]))
                for arm in arms
                if arm in found
            ]
            row.append(" / ".join(medians))
        lines.append("| " + " | ".join(row) + " |")
    return lines


if __name__ == "__main__":
    main()

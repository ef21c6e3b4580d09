"""What a change of candidate costs: regret of mini-GP against evaluations plus switches.

A switch costs 1, 10 or 100 evaluations, and a run ends when 3,000 units are spent on both. The
methods are told the same kernel, noise and first evaluation; beta is 2. Compared are rules for
how long to stay on a candidate. Each run is scored by its *loss*, the mean regret over the units
spent, where a unit that went into a switch counts as an evaluation of a random candidate; and by
the *simple* regret of the candidate named best after a tenth and three tenths of the units, and
at the end. Everything is in standard deviations of f.

Writes ``mini_gp_switching.csv`` (a row a run; rows that are there are not computed again) and
``mini_gp_switching.md``. Three sizes: ``--quick``, the default, ``--full``; the first and the
last have files of their own.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
import scipy
from mini_gp_regret import draws, interval
from parts import resumable
from parts.bandits import NATURAL, Bandit, Noise, bandit
from threadpoolctl import threadpool_limits

import bbopt
from bbopt import seeding
from bbopt.bench.statistics import paired_difference
from bbopt.metabo import mini_gp
from bbopt.metabo.repeats import repeats_for_cost, staleness_for_cost

AUTO = "auto"
NOISE = {"G2": "0.3", "G6": "0.3", "S": NATURAL}
OURS = "mini-gp-ucb"
FROM_BOUNDS = "from the bounds"
CHECKS = (0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Arm:
    """A method, its settings, and what stands in its module instead of the module's own."""

    name: str = OURS
    settings: Mapping[str, Any] = field(default_factory=dict)
    instead: Mapping[str, Any] = field(default_factory=dict)


def least(rule: Callable[[float, float, float], float]) -> Arm:
    """At least so many repeats after a switch: of variance, noise and the cost of the switch."""
    return Arm(instead={"repeats_for_cost": lambda *given: int(rule(*given))})


ARMS = {
    AUTO: Arm(),
    "auto, η = 0": Arm(instead={"STAY": 0.0}),
    "auto, η = 0.05": Arm(instead={"STAY": 0.05}),
    "auto, η = 1": Arm(instead={"STAY": 1.0}),
    "half of auto's least": least(lambda *given: repeats_for_cost(*given) / 2),
    "twice auto's least": least(lambda *given: repeats_for_cost(*given) * 2),
    "least: cost / 4": least(lambda variance, noise, cost: cost / 4),
    "least: cost": least(lambda variance, noise, cost: cost),
    "no least": least(lambda variance, noise, cost: 0),
    "C from the bounds": Arm(settings={"staleness": FROM_BOUNDS}),
    "C = 1.1": Arm(settings={"staleness": 1.1}),
    "C = 1.41": Arm(settings={"staleness": 2.0**0.5}),
    "C = 2": Arm(settings={"staleness": 2.0}),
    "C = 4": Arm(settings={"staleness": 4.0}),
    "mini-gp-ei": Arm("mini-gp-ei", {"beta": 1.0}),
    "mini-gp-ei, η = 0": Arm("mini-gp-ei", {"beta": 1.0}, {"STAY": 0.0}),
    "gp:ucb": Arm("gp:ucb"),
    "gp:fixed 20": Arm("gp:fixed", {"repeats": 20}),
}
"""``auto``: after a switch at least the repeats that gain the most information a unit of cost,
and the last candidate is kept where it is within η = 0.5 beta sd of the maximum."""


@dataclass(frozen=True)
class Size:
    """What is run."""

    n: int
    units: int
    sets: tuple[str, ...]
    costs: tuple[int, ...]
    seeds: int


SIZES = {
    "quick": Size(500, 1000, ("G2", "S"), (10, 100), 3),
    "default": Size(1000, 3000, ("G2", "G6", "S"), (1, 10, 100), 20),
    "full": Size(2000, 10_000, ("G2", "G6", "S"), (1, 10, 100), 20),
}


class Cell(NamedTuple):
    """One run."""

    set: str
    cost: int
    arm: str
    seed: int


@dataclass(frozen=True)
class Run:
    """What came of it."""

    loss: float
    simple10: float
    simple30: float
    simple: float
    evaluations: int
    switches: int
    unique: int


Runs = Mapping[Cell, Run]


def main() -> None:
    options = resumable.parser(__doc__).parse_args()
    size, stem = SIZES[options.size], resumable.stem("mini_gp_switching", options.size)
    arms = list(ARMS) if options.arms is None else options.arms.split(";")
    seeds = size.seeds if options.seeds is None else min(options.seeds, size.seeds)
    wanted = [
        Cell(name, cost, arm, seed)
        for seed, name, cost, arm in product(range(seeds), size.sets, size.costs, arms)
    ]
    runs = resumable.Runs(options.out / f"{stem}.csv", Cell, Run)
    spent = runs.compute(
        wanted, run, size, jobs=options.jobs, fresh=options.fresh,
        together=lambda cell: (cell.set, cell.seed),
    )  # fmt: skip
    text = page(runs, options.size, spent)
    (options.out / f"{stem}.md").write_text(text, encoding="utf-8")
    print(text)


def run(cell: Cell, size: Size) -> Run:
    """Carry out one run, on one BLAS thread."""
    problem = bandit(cell.set, NOISE[cell.set], cell.seed, size.n)
    with threadpool_limits(1):
        return play(problem, ARMS[cell.arm], cell, size.units)


def play(problem: Bandit, arm: Arm, cell: Cell, units: int) -> Run:
    """One run; the first candidate is drawn by the seed, and costs its evaluation only."""
    columns = {f"x{j}": column for j, column in enumerate(problem.x.T)}
    space = bbopt.Space({column: bbopt.Float(0, 1) for column in columns})
    spec = bbopt.Spec(
        space=space, direction="maximize", candidates=columns, switch_cost=float(cell.cost)
    )
    row_of = {tuple(x): row for row, x in reversed(list(enumerate(problem.x.tolist())))}
    regrets = problem.f.max() - problem.f
    noise = Noise(problem, cell.seed)
    first = int(seeding.stream(cell.seed, "first").integers(len(problem.f)))
    settings = dict(problem.told) | {"beta": 2.0} | dict(arm.settings)
    if settings.get("staleness") == FROM_BOUNDS:
        settings["staleness"] = from_bounds(problem, cell.cost, units)
    simple: list[float] = []
    with mock.patch.multiple(mini_gp, **{"STAY": mini_gp.STAY, **arm.instead}):
        optimizer = bbopt.optimizer(arm.name, spec, seed=cell.seed, **settings)
        optimizer.tell(bbopt.Trial(None, spec.candidates[first]), noise.draw(first, 1))
        row, unique = first, {first}
        spent, evaluations, switches, loss = 1, 1, 0, regrets[first]
        while spent < units:
            (trial,) = optimizer.ask(1, bbopt.Budget(evaluations=units - spent))
            chosen = row_of[tuple(trial.params.values())]
            fee = cell.cost * (chosen != row)
            count = min(trial.repeats, units - spent - fee)
            if count < 1:  # not even one evaluation is left after the switch
                break
            while spent + fee + count > CHECKS[len(simple)] * units:
                simple.append(regrets[row_of[tuple(optimizer.best.params.values())]])
            optimizer.tell(trial, noise.draw(chosen, count))
            loss += count * regrets[chosen] + fee * regrets.mean()
            switches += chosen != row
            spent, evaluations, row = spent + fee + count, evaluations + count, chosen
            unique.add(row)
        final = regrets[row_of[tuple(optimizer.best.params.values())]]
    simple += [final] * (len(CHECKS) - len(simple))
    scores = [round(float(score), 9) for score in (loss / spent, *simple)]
    return Run(*scores, evaluations, int(switches), len(unique))


def from_bounds(problem: Bandit, cost: int, units: int) -> float:
    """C that balances the bounds on regret and on switches, if a run gains 50 nats."""
    variance, noise = problem.told["variance"], problem.told["noise"]
    price = cost * variance**0.5
    given: dict[str, Any] = {"beta": 2.0, "info": 50.0, "evaluations": units}
    return staleness_for_cost(price, **given, prior_variance=variance, noise=noise)


# --- the page -------------------------------------------------------------------------


def page(runs: Runs, size_name: str, spent: str) -> str:
    """A table of ratios over everything, and one a set and cost."""
    size = SIZES[size_name]
    lines = [
        "# Switch costs",
        "",
        f"`python benchmarks/mini_gp_switching.py{resumable.option(size_name)}`: {size.n} "
        f"candidates, {size.units} units; bbopt {bbopt.__version__}, numpy {np.__version__}, "
        f"scipy {scipy.__version__}, Python {platform.python_version()}, {platform.system()}, "
        f"{os.cpu_count()} cores. {len(runs)} runs; {spent}.",
        "",
        "*Loss*: mean regret over the units spent, a unit of switching counted as a random "
        "candidate; with 95 % bootstrap intervals, *against auto* of the paired differences. "
        "*Simple*: regret of the candidate named best at 10 %, 30 % and 100 % of the units. "
        "Medians of the counts.",
        "",
        "## Loss in units of that of auto",
        "",
        "Geometric means over sets, of the means over seeds.",
        "",
        *ratios(runs, size),
    ]
    for name, cost in product(size.sets, size.costs):
        lines += ["", f"## {name}, a switch costs {cost}", "", *table(runs, name, cost)]
    return "\n".join(lines) + "\n"


def made(runs: Runs, name: str, cost: int, arm: str) -> dict[int, Run]:
    """The runs of an arm by seed."""
    return {cell.seed: run for cell, run in sorted(runs.items()) if cell[:3] == (name, cost, arm)}


def ratios(runs: Runs, size: Size) -> list[str]:
    """One line an arm: loss, and simple regret over the three checks, for each cost."""
    head = [f"loss, {cost}" for cost in size.costs] + [f"simple, {cost}" for cost in size.costs]
    lines = ["| arm | " + " | ".join(head) + " |", "|---" * (1 + len(head)) + "|"]

    def mean(name: str, cost: int, arm: str, scores: tuple[str, ...]) -> float:
        found = made(runs, name, cost, arm).values()
        return float(np.mean([[getattr(run, score) for score in scores] for run in found]))

    for arm in ARMS:
        if not all(made(runs, n, c, a) for n in size.sets for c in size.costs for a in (arm, AUTO)):
            continue
        cells = []
        for scores in (("loss",), ("simple10", "simple30", "simple")):
            for cost in size.costs:
                logs = [
                    np.log(mean(n, cost, arm, scores) / mean(n, cost, AUTO, scores))
                    for n in size.sets
                ]
                cells.append(f"{np.exp(np.mean(logs)):.2f}")
        lines.append("| " + " | ".join([arm, *cells]) + " |")
    return lines


def table(runs: Runs, name: str, cost: int) -> list[str]:
    """One line an arm."""
    lines = [
        "| arm | loss | against auto | simple | switches | unique | evaluations | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    auto = made(runs, name, cost, AUTO)
    for arm in ARMS:
        mine = made(runs, name, cost, arm)
        if not mine:
            continue
        shared = sorted(mine.keys() & auto.keys())
        gap = paired_difference(
            np.array([mine[seed].loss for seed in shared]),
            np.array([auto[seed].loss for seed in shared]),
            draws(),
        )
        against = (
            ""
            if arm == AUTO or gap is None
            else f"{gap.mean:+.2g} [{gap.low:+.2g}, {gap.high:+.2g}]"
        )
        simple = [
            f"{np.mean([getattr(run, score) for run in mine.values()]):.2g}"
            for score in ("simple10", "simple30", "simple")
        ]
        counts = [
            f"{np.median([getattr(run, count) for run in mine.values()]):.0f}"
            for count in ("switches", "unique", "evaluations")
        ]
        loss = interval([run.loss for run in mine.values()])
        cells = [arm, loss, against, ", ".join(simple), *counts, str(len(mine))]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    main()

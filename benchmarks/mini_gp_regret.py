"""mini-GP beside plain GP-UCB and its rivals on finite sets: regret, batches, switches, overhead.

Everybody is told the same kernel, noise and confidence width, the same first evaluation, and
the same k-th value of each candidate; nothing is learned. beta is 2, or 0.5 times the schedule
for finite sets, which counts evaluations (GP-UCB and others) or decisions (mini-GP). Regret is
the mean over evaluations of what each falls short of the best candidate, in standard deviations
of f. Where there is no noise the methods are told a variance of 1e-6.

Writes ``mini_gp_regret.csv`` (a row a run; rows that are there are not computed again) and
``mini_gp_regret.md``. Three sizes: ``--quick``, the default, ``--full``; the first and the last
have files of their own. Overhead is wall-clock time of ask and tell while ``--jobs`` runs share
the machine, on one BLAS thread each.
"""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import scipy
from parts import resumable
from parts.bandits import NATURAL, SETS, Run, bandit, play
from threadpoolctl import threadpool_limits

import bbopt
from bbopt import seeding
from bbopt.bench.statistics import estimate, paired_difference

OURS, PLAIN = "mini-gp-ucb", "gp:ucb"
FEWER_BATCHES = 20
BETAS = {"2": 2.0, "schedule": None}
NO_BETA = "-"

# arm -> optimizer and settings; the first ones are run under both widths
WITH_BETA = {
    "mini-gp-ucb": ("mini-gp-ucb", {}),
    "mini-gp-ucb C=2": ("mini-gp-ucb", {"staleness": 2.0}),
    "gp:ucb": ("gp:ucb", {}),
    "gp:bucb": ("gp:bucb", {}),
    "gp:bbkb": ("gp:bbkb", {}),
    "gp:fixed 5": ("gp:fixed", {"repeats": 5}),
    "gp:fixed 20": ("gp:fixed", {"repeats": 20}),
}
WITHOUT_BETA = {
    "mini-gp-ei": ("mini-gp-ei", {"beta": 1.0}),
    "gp:halving": ("gp:halving", {}),
    "random": ("random", {}),
}
ALL_ARMS = [*product(BETAS, WITH_BETA), *((NO_BETA, arm) for arm in WITHOUT_BETA)]
KNOWS_NOTHING = ("gp:halving", "random")


@dataclass(frozen=True)
class Size:
    """What is run: ``seeds`` of the first sets, ``few`` of the others."""

    n: int
    evaluations: int
    sets: tuple[str, ...]
    noises: tuple[str, ...]
    seeds: int
    few: int


SIZES = {
    "quick": Size(500, 1000, ("G2", "hartmann3", "S"), ("0", "0.3"), 5, 2),
    "default": Size(2000, 10_000, SETS, ("0", "0.1", "0.3", "1"), 20, 5),
    "full": Size(10_000, 10_000, SETS, ("0", "0.1", "0.3", "1"), 20, 20),
}
MANY = ("G2", "G6", "L", "S")


class Place(NamedTuple):
    """What the arms of one comparison share."""

    set: str
    noise: str


class Cell(NamedTuple):
    """One run."""

    set: str
    noise: str
    beta: str
    arm: str
    seed: int


Arms = dict[tuple[Place, str, str], dict[int, Run]]
"""Place, beta and arm -> seed -> run."""


def main() -> None:
    options_of = resumable.parser(__doc__)
    options_of.add_argument("--sets", help="only these, separated by commas")
    options = options_of.parse_args()
    size, stem = SIZES[options.size], resumable.stem("mini_gp_regret", options.size)
    wanted = [
        cell
        for cell in cells(size, options.seeds)
        if (options.arms is None or cell.arm in options.arms.split(";"))
        and (options.sets is None or cell.set in options.sets.split(","))
    ]
    runs = resumable.Runs(options.out / f"{stem}.csv", Cell, Run)
    spent = runs.compute(
        wanted, run, size, jobs=options.jobs, fresh=options.fresh,
        together=lambda cell: (cell.set, cell.noise, cell.seed),
    )  # fmt: skip
    text = page(runs, options.size, spent, options.jobs)
    (options.out / f"{stem}.md").write_text(text, encoding="utf-8")
    print(text[: text.find("## Runs")])


def cells(size: Size, most: int | None) -> list[Cell]:
    """Every run of a size, by seeds: a comparison that was cut short is one of whole seeds."""
    found = []
    for name in size.sets:
        noises = (NATURAL,) if name == "S" else size.noises
        seeds = size.seeds if name in MANY else size.few
        for noise, (beta, arm), seed in product(noises, ALL_ARMS, range(seeds)):
            if most is None or seed < most:
                found.append(Cell(name, noise, beta, arm, seed))
    return sorted(found, key=lambda cell: cell.seed)


def run(cell: Cell, size: Size) -> Run:
    """Carry out one run, on one BLAS thread."""
    problem = bandit(cell.set, cell.noise, cell.seed, size.n)
    name, settings = (WITH_BETA | WITHOUT_BETA)[cell.arm]
    given = dict(settings)
    if name not in KNOWS_NOTHING:
        given = dict(problem.told) | given
    if cell.beta != NO_BETA:
        given["beta"] = BETAS[cell.beta]
    with threadpool_limits(1):
        return play(problem, name, given, cell.seed, size.evaluations)


# --- the page -------------------------------------------------------------------------


def page(runs: Mapping[Cell, Run], size_name: str, spent: str, jobs: int) -> str:
    """Verdicts and tables as Markdown."""
    size, arms = SIZES[size_name], by_arm(runs)
    lines = [
        "# Regret of mini-GP on finite sets",
        "",
        f"`python benchmarks/mini_gp_regret.py{resumable.option(size_name)}`: {size.n} candidates, "
        f"{size.evaluations} evaluations; bbopt {bbopt.__version__}, numpy {np.__version__}, "
        f"scipy {scipy.__version__}, Python {platform.python_version()}, {platform.system()}, "
        f"{os.cpu_count()} cores, {jobs} processes. {len(runs)} runs; {spent}.",
        "",
        "Means over seeds with 95 % bootstrap intervals; *against gp:ucb*: mean of the paired "
        "differences in regret; medians of the counts and of the seconds in ask and tell.",
        "",
        "## Goals",
        "",
        *verdicts(arms),
        "",
        "## Runs",
    ]
    for place in places(arms):
        lines += ["", f"### {place.set}, noise {place.noise}", "", *table(arms, place)]
    return "\n".join(lines) + "\n"


def by_arm(runs: Mapping[Cell, Run]) -> Arms:
    """The runs of each arm."""
    arms: Arms = defaultdict(dict)
    for cell, run in sorted(runs.items()):
        arms[Place(cell.set, cell.noise), cell.beta, cell.arm][cell.seed] = run
    return dict(arms)


def places(arms: Arms) -> list[Place]:
    """The comparisons there are, in the order of the sets."""
    found = {place for place, _, _ in arms}
    return sorted(found, key=lambda place: (SETS.index(place.set), place.noise))


def pairs(arms: Arms, place: Place, beta: str, arm: str) -> list[tuple[Run, Run]]:
    """The runs of an arm with those of plain GP-UCB."""
    mine = arms.get((place, beta, arm), {})
    theirs = arms.get((place, next(iter(BETAS)) if beta == NO_BETA else beta, PLAIN), {})
    return [(mine[seed], theirs[seed]) for seed in sorted(mine.keys() & theirs.keys())]


def table(arms: Arms, place: Place) -> list[str]:
    """One line an arm."""
    lines = [
        "| arm | beta | regret | against gp:ucb | simple regret | batches | largest | unique "
        "| switches | overhead s | seeds |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for beta, arm in ALL_ARMS:
        made = list(arms.get((place, beta, arm), {}).values())
        if not made:
            continue
        regret = interval([run.regret for run in made])
        simple = np.mean([run.simple for run in made])
        against = "" if arm == PLAIN else difference(pairs(arms, place, beta, arm))
        counts = [
            f"{np.median([getattr(run, name) for run in made]):.0f}"
            for name in ("batches", "largest", "unique", "switches")
        ]
        overhead = f"{np.median([run.overhead for run in made]):.2g}"
        cells = [arm, beta, regret, against, f"{simple:.2g}", *counts, overhead, str(len(made))]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def interval(values: list[float]) -> str:
    """Mean and its 95 % interval."""
    found = estimate(np.array(values), draws())
    return f"{found.mean:.3g} [{found.low:.3g}, {found.high:.3g}]"


def difference(runs: list[tuple[Run, Run]]) -> str:
    """The mean of the paired differences in regret and its interval."""
    a, b = np.array([(mine.regret, theirs.regret) for mine, theirs in runs]).reshape(-1, 2).T
    found = paired_difference(a, b, draws())
    return "" if found is None else f"{found.mean:+.2g} [{found.low:+.2g}, {found.high:+.2g}]"


def draws() -> np.random.Generator:
    """The resamples of every interval, the same each time."""
    return seeding.stream(0, "bootstrap")


def verdicts(arms: Arms) -> list[str]:
    """Each goal with the number of comparisons that meet it, and those that do not."""
    goals = defaultdict(list)
    for place, beta in product(places(arms), BETAS):
        both = pairs(arms, place, beta, OURS)
        if len(both) < 2:  # no interval
            continue
        where = f"{place.set} {place.noise} beta={beta}"
        values = np.array([[run.regret for run in pair] for pair in both])
        gap = paired_difference(values[:, 0], values[:, 1], draws())
        if place.noise == "0" and BETAS[beta] is not None:
            same = sum(mine.choices == theirs.choices for mine, theirs in both)
            goals["identical choices without noise, at the same beta"].append(
                (same == len(both), where)
            )
        goals["regret no worse than gp:ucb's"].append((gap.reaches_zero, where))
        for name, factor in (("batches", FEWER_BATCHES), ("switches", 1), ("unique", 1)):
            mine, theirs = (
                np.array([getattr(pair[k], name) for pair in both], float) for k in (0, 1)
            )
            ratio = float(np.median(theirs / np.maximum(mine, 1)))
            goal = f"{factor} times fewer {name}" if factor > 1 else f"no more {name}"
            is_met = ratio >= factor
            goals[f"{goal}, median over seeds"].append((is_met, f"{where} ({ratio:.3g})"))
    lines = [
        f"`{OURS}` beside `{PLAIN}` (merged), of each set, noise and beta with two seeds or more:",
        "",
    ]
    for goal, found in goals.items():
        missed = [where for is_met, where in found if not is_met]
        met = f"{len(found) - len(missed)} of {len(found)}"
        lines.append(
            f"* {goal}: {met}" + (f"; **missed** by {', '.join(missed)}" if missed else "")
        )
    return lines


if __name__ == "__main__":
    main()

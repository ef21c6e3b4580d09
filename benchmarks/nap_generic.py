"""NAP with its generic weights on spaces that it was never trained on.

Test functions and the tuning of real models, 25 and 50 evaluations, beside Optuna's Gaussian
process and TPE (with ``--full`` BoTorch's logEI, too), all with default settings and paired
seeds. Scored is the true value of what each method recommends, where it is known, less the
optimum; for ``hpo/...`` the mean of ten fresh evaluations of it. *No worse*: the 95 % bootstrap
interval of the paired difference reaches zero or lies below it.

Writes ``nap_generic.csv`` (a row a run and budget; rows that are there are not computed again,
unless the weights have changed) and ``nap_generic.md``. Sizes: ``--quick``, the default (under an
hour on two cores) and ``--full`` (30 seeds).
"""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"  # before the first import of torch

import numpy as np
from parts import resumable
from threadpoolctl import threadpool_limits

import bbopt
from bbopt import seeding
from bbopt.bench.statistics import Estimate, paired_difference
from bbopt.metabo.nap.choice import GENERIC, SHIPPED

AT = (25, 50)
FRESH = 10
PROBLEMS = {
    "branin": ("synthetic/branin", {}),
    "hartmann3": ("synthetic/hartmann3", {}),
    "hartmann6": ("synthetic/hartmann6", {}),
    "ackley2": ("synthetic/ackley", {"dim": 2}),
    "ackley5": ("synthetic/ackley", {"dim": 5}),
    "rastrigin2": ("synthetic/rastrigin", {"dim": 2}),
    "rastrigin5": ("synthetic/rastrigin", {"dim": 5}),
    "rosenbrock2": ("synthetic/rosenbrock", {"dim": 2}),
    "rosenbrock5": ("synthetic/rosenbrock", {"dim": 5}),
    "levy4": ("synthetic/levy", {"dim": 4}),
    "levy8": ("synthetic/levy", {"dim": 8}),
    "griewank4": ("synthetic/griewank", {"dim": 4}),
    "styblinski-tang3": ("synthetic/styblinski-tang", {"dim": 3}),
    "step4": ("synthetic/step", {"dim": 4}),
    "gp2": ("synthetic/gp2", {}),
    "digits-svm": ("hpo/digits-svm", {}),
    "cancer-boosting": ("hpo/cancer-boosting", {}),
    "wine-mlp": ("hpo/wine-mlp", {}),
    "diabetes-ridge": ("hpo/diabetes-ridge", {}),
    "digits-forest": ("hpo/digits-forest", {}),
}
OURS = "nap"
PEERS = ("optuna:gp", "optuna:tpe", "botorch:logei")
SETTINGS = {"nap": {"weights": GENERIC}, "botorch:logei": {"num_restarts": 4, "raw_samples": 128}}


class Cell(NamedTuple):
    """One run."""

    problem: str
    arm: str
    seed: int


@dataclass(frozen=True)
class Run:
    """What came of it: the loss after so many evaluations, milliseconds of CPU an ask."""

    loss_25: float
    loss_50: float
    milliseconds: float
    weights: str


@dataclass(frozen=True)
class Size:
    """What is run."""

    problems: tuple[str, ...]
    arms: tuple[str, ...]
    seeds: int

    def cells(self) -> Iterator[Cell]:
        """All runs, those of whole seeds first."""
        for seed in range(self.seeds):
            for problem in self.problems:
                for arm in self.arms:
                    yield Cell(problem, arm, seed)


SIZES = {
    "quick": Size(("branin", "hartmann3"), ("nap", "optuna:tpe"), 2),
    "default": Size(tuple(PROBLEMS), (OURS, *PEERS[:2]), 5),
    "full": Size(tuple(PROBLEMS), (OURS, *PEERS), 30),
}


def main() -> None:
    options_of = resumable.parser(__doc__)
    options_of.add_argument("--problems", help="only these, separated by commas")
    options = options_of.parse_args()
    size, stem = SIZES[options.size], resumable.stem("nap_generic", options.size)
    wanted = list(size.cells())
    chosen = [
        cell
        for cell in wanted
        if (options.arms is None or cell.arm in options.arms.split(";"))
        and (options.problems is None or cell.problem in options.problems.split(","))
        and (options.seeds is None or cell.seed < options.seeds)
    ]
    runs = resumable.Runs(options.out / f"{stem}.csv", Cell, Run)
    for cell in [cell for cell, run in runs.items() if run.weights != digest_of(cell.arm)]:
        del runs[cell]
    runs.compute(chosen, play, jobs=options.jobs, fresh=options.fresh)
    command = f"python benchmarks/nap_generic.py{resumable.option(options.size)}"
    text = page(runs, command, len(wanted))
    (options.out / f"{stem}.md").write_text(text, encoding="utf-8")
    print(text)


def digest_of(arm: str) -> str:
    """Which weights an arm has: the start of the file's SHA-256; nothing without any."""
    if arm != OURS:
        return ""
    return hashlib.sha256((SHIPPED / f"{GENERIC}.safetensors").read_bytes()).hexdigest()[:12]


def play(cell: Cell) -> Run:
    """Carry out one run, on one BLAS thread."""
    name, arguments = PROBLEMS[cell.problem]
    problem = bbopt.problem(name, **arguments)
    spec = problem.spec
    optimizer = bbopt.optimizer(cell.arm, spec, seed=cell.seed, **SETTINGS.get(cell.arm, {}))
    seconds, losses = 0.0, []
    with threadpool_limits(1):
        for i in range(max(AT)):
            start = time.process_time()
            (trial,) = optimizer.ask(1, bbopt.Budget(evaluations=max(AT) - i))
            seconds += time.process_time() - start
            rng = seeding.stream(cell.seed, "evaluate", number=trial.number or 0)
            optimizer.tell(trial, problem.evaluate(trial, rng))
            if i + 1 in AT:
                losses.append(spec.sign * true_value(problem, optimizer.best, cell.seed))
    milliseconds = 1000 * seconds / max(AT)
    return Run(*losses, milliseconds, digest_of(cell.arm))


def true_value(problem: bbopt.Problem, best: bbopt.Best, seed: int) -> float:
    """The regret of what is recommended, or its mean over fresh evaluations."""
    truth = problem.truth(best.params)
    if truth is not None:
        return truth - (problem.optimum or 0.0)
    trial = bbopt.Trial(0, best.params, FRESH)
    values = problem.evaluate(trial, seeding.stream(seed, "fresh evaluations"))
    return float(np.mean(values))


def loss(run: Run, n: int) -> float:
    """The loss of a run after n evaluations."""
    return float(getattr(run, f"loss_{n}"))


def gap(ours: dict[int, Run], theirs: dict[int, Run], n: int) -> Estimate | None:
    """The paired difference over seeds, where there are at least two pairs."""
    seeds = sorted(ours.keys() & theirs.keys())
    if len(seeds) < 2:
        return None
    a, b = (np.array([loss(runs[seed], n) for seed in seeds]) for runs in (ours, theirs))
    return paired_difference(a, b, seeding.stream(0, "bootstrap"))


def page(runs: Mapping[Cell, Run], command: str, whole: int) -> str:
    """The verdicts, then a line a problem and budget; ``whole``: how many runs the size has."""
    found: dict[str, dict[str, dict[int, Run]]] = {}
    for cell, run in sorted(runs.items()):
        found.setdefault(cell.problem, {}).setdefault(cell.arm, {})[cell.seed] = run
    arms = [arm for arm in (OURS, *PEERS) if any(arm in each for each in found.values())]
    digests = sorted({run.weights for run in runs.values() if run.weights})
    lines = [
        "# NAP with its generic weights",
        "",
        f"`{command}`; bbopt {bbopt.__version__}, numpy {np.__version__}, Python "
        f"{platform.python_version()}, {platform.system()}; {len(runs)} of {whole} runs; weights "
        f"{', '.join(digests)}.",
        "",
        "Mean regret of what is recommended (`hpo/...`: its loss in fresh evaluations), over seeds "
        "(their number); in brackets the paired difference of `nap` and the method with its 95 % "
        "bootstrap interval. *No worse*: the interval reaches zero or lies below it.",
        "",
        "| against | evaluations | no worse | of it better | worse | problems |",
        "|---|---|---|---|---|---|",
    ]
    for peer in arms[1:]:
        for n in AT:
            gaps = {p: gap(each.get(OURS, {}), each.get(peer, {}), n) for p, each in found.items()}
            known = {p: each for p, each in gaps.items() if each is not None}
            worse = [p for p, each in known.items() if not each.reaches_zero]
            better = sum(each.high < 0 for each in known.values())
            counts = [len(known) - len(worse), better, len(worse), len(known)]
            named = f" ({', '.join(worse)})" if worse else ""
            row = [*map(str, counts[:2]), f"{counts[2]}{named}", str(counts[3])]
            lines.append(f"| {peer} | {n} | {' | '.join(row)} |")
    lines += ["", "Milliseconds of processor time an ask, median over runs: "]
    times = []
    for arm in arms:
        spent = [run.milliseconds for each in found.values() for run in each.get(arm, {}).values()]
        times.append(f"{arm} {np.median(spent):.1f}")
    lines[-1] += ", ".join(times) + "."
    for n in AT:
        lines += ["", f"## {n} evaluations", "", "| problem | " + " | ".join(arms) + " |"]
        lines.append("|---" * (len(arms) + 1) + "|")
        for problem in PROBLEMS:
            if problem not in found:
                continue
            row = [problem]
            for arm in arms:
                each = found[problem].get(arm, {})
                text = f"{np.mean([loss(r, n) for r in each.values()]):.3g}" if each else ""
                against = gap(found[problem].get(OURS, {}), each, n) if arm != OURS else None
                if against is not None:
                    text += f" [{against.mean:+.2g}: {against.low:+.2g}, {against.high:+.2g}]"
                row.append(text + (f" ({len(each)})" if each else ""))
            lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

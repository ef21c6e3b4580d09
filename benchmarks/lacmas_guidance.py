"""Does a guide help, and does a language model help more? Swarms alone, on f1, f5, f8 and f10.

The four published functions on which swarms last long enough to be guided. Every arm is
``variant=swarm`` with the same graph, evaluations and seeds; only who sets the coefficients (and,
for models, the weights of the neighbours) differs. ``embedded`` is the small model of ``--llm
embedded``; ``random advice`` takes its place request by request: the same schedule, groups and
bounds, but each reply is drawn at random in the ranges that the model is told. What it reaches
needs no model; what ``fixed`` reaches needs no guide.

Writes ``lacmas_guidance.csv`` (a row a run; rows that are there are not computed again) and
``lacmas_guidance.md``. ``--quick``, the default and ``--full`` have files of their own. The
embedded model needs ``make embedded``; without it its arm is left out.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, fields
from itertools import product
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np
from parts import resumable
from parts.significance import holm
from scipy import stats
from threadpoolctl import threadpool_limits

import bbopt
from bbopt import seeding
from bbopt.errors import MissingExtra, UsageError
from bbopt.lacmas.guides import GuideSettings
from bbopt.lacmas.settings import VARIANTS
from bbopt.llm import Client, Embedded
from bbopt.llm.exchange import FREE, Answer, Request

RANGES = {"d": VARIANTS["swarm"]["d_range"], "c": GuideSettings().c_range}

NONE, EMBEDDED, RANDOM = "none", "embedded", "random advice"
ARMS: dict[str, dict[str, object]] = {
    NONE: {"guide": "none"},
    EMBEDDED: {"guide": "llm"},
    RANDOM: {"guide": "llm"},
    "rules": {"guide": "rules"},
    "imitation": {"guide": "imitation"},
    "bandit": {"guide": "bandit"},
    "fixed 0.7, 1.3": {"guide": "fixed", "d": 0.7, "c": 1.3},
}
"""Arm -> settings of ``lacmas`` beside the variant."""


@dataclass(frozen=True)
class Size:
    """What is run, and the evaluations of each agent."""

    evaluations: int
    functions: tuple[str, ...]
    seeds: int
    requests: int  # of the model at once: agents in like circumstances share one
    particles: int | None = None


FUNCTIONS = ("f1", "f5", "f8", "f10")
SIZES = {
    "quick": Size(6_000, ("f1", "f10"), 1, 1, particles=20),
    "default": Size(100_000, FUNCTIONS, 5, 4),
    "full": Size(1_500_000, FUNCTIONS, 25, 8),
}


class Cell(NamedTuple):
    """One run."""

    function: str
    arm: str
    seed: int


@dataclass(frozen=True)
class Run:
    """What came of it; evaluations and bytes are those of one agent."""

    value: float
    disagreement: float
    evaluations: float
    bytes: float
    rounds: float
    calls: float
    tokens: float
    fallbacks: float
    seconds: float


def main() -> None:
    options = resumable.parser(__doc__).parse_args()
    size = SIZES[options.size]
    stem = resumable.stem("lacmas_guidance", options.size)
    arms = list(ARMS) if options.arms is None else options.arms.split(";")
    if EMBEDDED in arms and not is_there():
        print(f"without the arm {EMBEDDED!r}: see 'make embedded'")
        arms.remove(EMBEDDED)
    seeds = size.seeds if options.seeds is None else min(options.seeds, size.seeds)
    wanted = [Cell(f, arm, seed) for seed, f, arm in product(range(seeds), size.functions, arms)]
    runs = resumable.Runs(options.out / f"{stem}.csv", Cell, Run, place)
    spent = runs.compute(wanted, run, size, jobs=options.jobs, fresh=options.fresh)
    text = page(runs, options.size, spent, options.jobs)
    (options.out / f"{stem}.md").write_text(text, encoding="utf-8")
    print(text)


def place(cell: Cell) -> tuple[int, int, int]:
    """Where a run stands in the file."""
    return FUNCTIONS.index(cell.function), list(ARMS).index(cell.arm), cell.seed


# --- the runs ---------------------------------------------------------------------------


class RandomAdvice:
    """A model whose every reply is drawn in the ranges that its prompt names."""

    model, price, max_concurrent = "random advice", FREE, 8

    def send(self, request: Request) -> Answer:
        """Uniform coefficients; weights uniform over those that sum to one."""
        words = request.messages[-1]["content"]
        rng = seeding.stream(request.seed, "random advice", number=crc32(words.encode()))
        assert request.schema is not None
        asked = request.schema["properties"]
        reply: dict[str, Any]
        if "weights" in asked:
            labels = list(asked["weights"]["properties"])
            shares = rng.dirichlet(np.ones(len(labels))).tolist()
            reply = {"weights": dict(zip(labels, shares, strict=True))}
        else:
            reply = {name: rng.uniform(*range_) for name, range_ in RANGES.items()}
        return Answer(json.dumps(reply), tokens=(0, 0))

    def close(self) -> None:
        """Nothing is open."""


def is_there() -> bool:
    """Whether the embedded model can be used."""
    try:
        Embedded().close()
    except (MissingExtra, UsageError):
        return False
    return True


def client_of(arm: str) -> Any:
    """Who answers the guide's requests, as a context."""
    if arm == EMBEDDED:
        return Client(None, roles={"guide": Embedded()})
    if arm == RANDOM:
        return Client(None, roles={"guide": RandomAdvice()})
    return nullcontext()


def run(cell: Cell, size: Size) -> Run:
    """Carry out one run, on one BLAS thread."""
    with threadpool_limits(1), client_of(cell.arm) as client:
        problem = bbopt.problem(f"distributed/{cell.function}")
        n = problem.spec.agents.n
        optimizer = bbopt.optimizer(
            "lacmas",
            problem.spec,
            seed=cell.seed,
            llm=client,
            variant="swarm",
            particles=size.particles,
            requests=size.requests,
            **ARMS[cell.arm],
        )
        start = time.perf_counter()
        result = bbopt.run(problem, optimizer, size.evaluations * n)
        seconds = time.perf_counter() - start
    said = result.diagnostics
    return Run(
        float(np.nan if result.true_value is None else result.true_value),
        said["disagreement"],
        result.spent.evaluations / n,
        said["bytes_per_agent"],
        said["rounds"],
        said["guide_calls"],
        said["guide_tokens"],
        said["guide_fallbacks"],
        seconds,
    )


# --- the page ---------------------------------------------------------------------------


def page(runs: dict[Cell, Run], size_name: str, spent: str, jobs: int) -> str:
    """Verdicts and tables as Markdown."""
    size, option = SIZES[size_name], "" if size_name == "default" else f" --{size_name}"
    functions = [f for f in FUNCTIONS if any(cell.function == f for cell in runs)]
    arms = [arm for arm in ARMS if any(cell.arm == arm for cell in runs)]
    n_seeds = len({cell.seed for cell in runs})
    lines = [
        "# Does guidance help?",
        "",
        f"`python benchmarks/lacmas_guidance.py{option}`: {size.evaluations:,} evaluations an "
        f"agent, {n_seeds} of {size.seeds} seeds; bbopt {bbopt.__version__}, numpy "
        f"{np.__version__}, Python {platform.python_version()}, {platform.system()}, "
        f"{os.cpu_count()} cores, {jobs} processes. {len(runs)} runs; {spent}.",
        "",
        "Swarms alone (`variant=swarm`), 20 agents, 100 dimensions, d in "
        f"[{RANGES['d'][0]:g}, {RANGES['d'][1]:g}], c in "
        f"[{RANGES['c'][0]:g}, {RANGES['c'][1]:g}]; values are the noise-free mean over agents at "
        "the point they agree on. *Ratio*: value over that of `none` with the same seed, as a "
        "geometric mean; below 1 is better.",
        "",
        "## Verdicts",
        "",
        *verdicts(runs, arms),
        "",
        "## Values (ratio)",
        "",
        f"| | {' | '.join(functions)} | all |",
        "|---" * (len(functions) + 2) + "|",
    ]
    for arm in arms:
        cells = [value_cell(runs, f, arm) for f in functions]
        overall = np.exp(np.mean(list(logs(runs, arm, NONE).values())))
        lines.append(f"| {arm} | {' | '.join(cells)} | {overall:.3g} |")
    lines += [
        "",
        "## What each arm used",
        "",
        "Means a run: calls of the model and their tokens, calls that came to nothing; megabytes "
        "sent by an agent; rounds; disagreement at the end (median).",
        "",
        "| | calls | tokens | fallbacks | MB an agent | rounds | disagreement |",
        "|---" * 7 + "|",
    ]
    for arm in arms:
        made = [run for cell, run in runs.items() if cell.arm == arm]
        used = Run(*(float(np.mean([getattr(r, f.name) for r in made])) for f in fields(Run)))
        apart = np.median([r.disagreement for r in made])
        lines.append(
            f"| {arm} | {used.calls:.3g} | {used.tokens:,.0f} | {used.fallbacks:.2g} | "
            f"{used.bytes / 1e6:.3g} | {used.rounds:.0f} | {apart:.1g} |"
        )
    return "\n".join(lines) + "\n"


def value_cell(runs: dict[Cell, Run], function: str, arm: str) -> str:
    """Mean value and ratio."""
    made = {c.seed: r.value for c, r in runs.items() if (c.function, c.arm) == (function, arm)}
    here = {cell: run for cell, run in runs.items() if cell.function == function}
    ratio = np.exp(np.mean(list(logs(here, arm, NONE).values()) or [np.nan]))
    return f"{np.mean(list(made.values())):.4g} ({ratio:.3g})" if made else ""


def logs(runs: dict[Cell, Run], arm: str, other: str) -> dict[tuple[str, int], float]:
    """Logarithm of the ratio of two arms' values, by function and seed."""
    found = {}
    for (function, of_arm, seed), made in runs.items():
        twin = runs.get(Cell(function, other, seed))
        if of_arm == arm and twin is not None:
            found[function, seed] = float(np.log(made.value / twin.value))
    return found


def verdicts(runs: dict[Cell, Run], arms: list[str]) -> list[str]:
    """Every arm against none, and the model against its controls."""
    pairs = [(arm, NONE) for arm in arms if arm != NONE]
    pairs += [(EMBEDDED, arm) for arm in arms if EMBEDDED in arms and arm not in (EMBEDDED, NONE)]
    tests = {pair: logs(runs, *pair) for pair in pairs}
    tests = {pair: found for pair, found in tests.items() if found}
    p = holm({f"{a} / {b}": p_value(found) for (a, b), found in tests.items()})
    lines = []
    for (arm, other), found in tests.items():
        better = sum(x < 0 for x in found.values())
        ratio = np.exp(np.mean(list(found.values())))
        lines.append(
            f"* `{arm}` is {ratio:.3g} times `{other}` (geometric mean), lower in {better} of "
            f"{len(found)} pairs (Wilcoxon-Holm p = {p[f'{arm} / {other}']:.2g})"
        )
    return lines


def p_value(found: Mapping[tuple[str, int], float]) -> float:
    """Wilcoxon's signed-rank test on the logarithms."""
    values = np.array(list(found.values()))
    return float(stats.wilcoxon(values).pvalue) if values.any() else 1.0


if __name__ == "__main__":
    main()

"""Tuning for ``generative.py``: eight settings of POLCA, up to ten of a peer, on seeds of its own.

Grids were widened where the best setting was at their end. The setting of the best mean true
value over the four noisy problems is what the suite then has for the method. OpenEvolve with one
evaluation a program is left out: 600 calls of the model a run, and the luck of single coins
returned as the best.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from bbopt import seeding
from bbopt.bench.cell import Cell
from bbopt.bench.record import Record
from bbopt.bench.statistics import estimate
from bbopt.bench.suite import Suite
from bbopt.budget import Budget

FIRST_SEED, N_SEEDS = 1000, 10
BUDGET = Budget(evaluations=600)
PROBLEMS = ("staircase", "rulebook", "paraphrase", "hints")

STRICT, EQUAL = "strict_improvement", "improvement_or_equal"


def _grid(**choices: Sequence[Any]) -> list[dict[str, Any]]:
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


GRIDS: dict[str, list[dict[str, Any]]] = {
    "polca": [
        {},
        {"n_parents": 3},
        {"n_parents": 5},
        {"minibatch": 4},
        {"ucb_scale": 0.5},
        {"prior": 0.0},
        {"epsilon": 0.1},
        {"summarize_after": 1},
    ],
    "gepa": [
        {
            "reflection_minibatch_size": minibatch,
            "valset_size": valset,
            "acceptance_criterion": acceptance,
        }
        for minibatch, valset, acceptance in (
            (2, 5, STRICT),
            (3, 10, STRICT),
            (3, 20, STRICT),
            (5, 10, STRICT),
            (5, 20, STRICT),
            (3, 10, EQUAL),
            (5, 10, EQUAL),
            (5, 20, EQUAL),
            (10, 20, EQUAL),
            (20, 20, EQUAL),
        )
    ],
    "openevolve": _grid(evaluations_per_program=(3, 10, 20, 30, 50), num_islands=(1, 3)),
    "random-restarts": _grid(minibatch=(2, 5, 10, 20, 40, 60), patience=(5,)),
    "best-of-n": _grid(minibatch=(5, 10, 20, 40, 60)),
}


def tuning_cells(suite: Suite, methods: Sequence[str]) -> list[Cell]:
    """The runs of the grids of these methods, seed by seed."""
    return [
        Cell(
            problem=problem.name,
            arguments=problem.arguments,
            problem_label=problem.label,
            optimizer=method,
            settings=chosen,
            optimizer_label=_label(method, chosen),
            budget=BUDGET,
            seed=seed,
            confirm=suite.confirm,
            rescore=suite.rescore,
            time_limit=suite.time_limit,
            llm=suite.llm,
        )
        for seed in range(FIRST_SEED, FIRST_SEED + N_SEEDS)
        for problem in (suite.problems[label] for label in PROBLEMS)
        for method in methods
        for chosen in GRIDS[method]
    ]


def write_tuning(records: Sequence[Record], folder: Path) -> str:
    """Write ``generative_tuning.csv`` (a line a run) and ``.md`` (a line a setting)."""
    rows = [_row(record) for record in records]
    with (folder / "generative_tuning.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["method", "settings", "problem", "seed", "true_value", "estimate"])
        writer.writerows(rows)
    text = "\n".join(_page(records)) + "\n"
    (folder / "generative_tuning.md").write_text(text, encoding="utf-8")
    return text


def _page(records: Sequence[Record]) -> Iterator[str]:
    yield "# Tuning of the methods in the generative comparison"
    yield ""
    yield (
        f"`python benchmarks/generative.py --tune`: true value of what each setting returns after "
        f"{BUDGET.evaluations} evaluations, mean over {N_SEEDS} seeds that the comparison does not "
        f"use ({FIRST_SEED} to {FIRST_SEED + N_SEEDS - 1}), and over the four problems with its "
        "95 % bootstrap interval. In bold the best of each method."
    )
    rng = seeding.stream(0, "bootstrap tuning")
    for method, grid in GRIDS.items():
        runs = [r for r in records if r.cell.optimizer == method and r.incumbents]
        if not runs:
            continue
        lines = []
        for chosen in grid:
            mine = [r for r in runs if dict(r.cell.settings) == chosen]
            means = [_mean([r for r in mine if r.cell.problem_label == p]) for p in PROBLEMS]
            seeds = sorted({r.cell.seed for r in mine})
            over = np.array([_mean([r for r in mine if r.cell.seed == seed]) for seed in seeds])
            lines.append((float(np.mean(means)), chosen, means, estimate(over, rng)))
        best = max(line[0] for line in lines)
        yield f"\n## {method}\n"
        yield "| setting | " + " | ".join(PROBLEMS) + " | all four |"
        yield "|---|" + "---|" * (len(PROBLEMS) + 1)
        for mean, chosen, means, over_all in lines:
            bold = "**" if mean == best else ""
            cells = " | ".join(f"{value:.3f}" for value in means)
            interval = f"[{over_all.low:.3f}, {over_all.high:.3f}]"
            yield f"| {bold}{_text(chosen)}{bold} | {cells} | {bold}{mean:.3f}{bold} {interval} |"


def _row(record: Record) -> list[Any]:
    cell, last = record.cell, record.incumbents[-1] if record.incumbents else None
    found = ["", ""] if last is None else [round(last.true_value or 0, 6), round(last.value, 6)]
    return [cell.optimizer, _text(cell.settings), cell.problem_label, cell.seed, *found]


def _mean(records: Sequence[Record]) -> float:
    return float(np.mean([r.incumbents[-1].true_value for r in records])) if records else np.nan


def _label(method: str, chosen: dict[str, Any]) -> str:
    return f"{method}: {_text(chosen)}"


def _text(chosen: Any) -> str:
    return ", ".join(f"{name}={value}" for name, value in chosen.items()) or "defaults"

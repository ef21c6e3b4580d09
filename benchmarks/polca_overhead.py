"""What POLCA itself costs: seconds in ask and tell for a round, by the size of its memory.

Writes ``polca_overhead.md`` and ``.csv``. Three sizes: ``--quick`` (half a minute), the default
(a few minutes), ``--full``. No evaluator and no language model: the memory is filled with
earlier results of random prompts of about 600 characters, values are coins, and the proposer
changes words of its parent; what the proposer takes is not counted. Every run has a process of
its own, on one thread.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy

import argparse
import csv
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from parts.scaling_runs import apart

import bbopt
from bbopt import seeding
from bbopt.polca import Embedding
from bbopt.polca.embed import hashed_ngrams

RESULTS = Path(__file__).parent / "results"
GOAL_AT, GOAL = 1000, 5.0  # ms a round
WORDS_A_TEXT, N_WORDS = 100, 5000
LETTERS = list("etaoinshrdlucmfwypvbgk")
WARM_UP = 5  # rounds


@dataclass(frozen=True)
class Size:
    """How much is run."""

    candidates: tuple[int, ...]
    rounds: int
    seeds: int


SIZES = {
    "quick": Size((100, 1000, 10_000), 50, 1),
    "default": Size((100, 1000, 10_000, 100_000), 200, 3),
    "full": Size((100, 1000, 10_000, 100_000, 300_000), 1000, 10),
}
MEASURES = ("round", "hashing", "first_ask", "earlier", "memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    chosen = parser.add_mutually_exclusive_group()
    for name in ("quick", "full"):
        chosen.add_argument(f"--{name}", dest="size", action="store_const", const=name)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the tables")
    options = parser.parse_args()
    name = options.size or "default"
    size, load = SIZES[name], os.getloadavg()[0]
    found: list[dict[str, Any]] = []
    for seed in range(size.seeds):  # by turns: other work on the machine falls on all
        for n in size.candidates:
            found.append(apart(measure, n, size.rounds, seed) | {"n": n, "seed": seed})
            print(n, seed, f"{1e3 * np.median(found[-1]['round']):.3g} ms a round", flush=True)
    stem = "polca_overhead" + (f"_{options.size}" if options.size else "")
    options.out.mkdir(parents=True, exist_ok=True)
    text = page(found, name, load)
    (options.out / f"{stem}.md").write_text(text, encoding="utf-8")
    write_csv(found, options.out / f"{stem}.csv")
    print(text)


# --- what is measured -----------------------------------------------------------------


class Clock:
    """Adds up the seconds spent in the functions that it wraps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function on this clock."""

        def timed(*arguments: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*arguments)
            finally:
                self.seconds += time.perf_counter() - start

        return timed


class Writer:
    """Texts of made-up words, the common ones common; and edits of them."""

    def __init__(self, seed: int) -> None:
        rng = seeding.stream(seed, "overhead words")
        lengths = 1 + rng.poisson(4.5, N_WORDS)
        self._words = ["".join(rng.choice(LETTERS, length)) for length in lengths]

    def words(self, n: int, rng: np.random.Generator) -> list[str]:
        """So many words."""
        return [self._words[i] for i in rng.zipf(1.2, n) % N_WORDS]

    def text(self, rng: np.random.Generator) -> str:
        """About 600 characters."""
        return " ".join(self.words(WORDS_A_TEXT, rng))

    def edit(
        self, params: dict[str, str], feedback: list[Any], rng: np.random.Generator
    ) -> dict[str, str]:
        """Every second one is a near-duplicate, which is refused."""
        words, n = params["prompt"].split(" "), 1 if rng.random() < 0.5 else 20
        start = int(rng.integers(len(words) - n + 1))
        return {"prompt": " ".join([*words[:start], *self.words(n, rng), *words[start + n :]])}


def measure(n: int, rounds: int, seed: int) -> dict[str, Any]:
    """Seconds of each round with ``n`` candidates and a few more in memory."""
    writer, proposing, hashing = Writer(seed), Clock(), Clock()
    rng = seeding.stream(seed, "overhead texts")
    spec = bbopt.Spec(
        space=bbopt.Space({"prompt": bbopt.Text(writer.text(rng))}), direction="maximize"
    )
    optimizer: Any = bbopt.optimizer(
        "polca",
        spec,
        seed=seed,
        proposer=proposing.around(writer.edit),
        distance=Embedding(hashing.around(hashed_ngrams)),  # the default, timed
    )
    earlier = [(bbopt.Trial(None, {"prompt": writer.text(rng)}, 2), coins(rng)) for _ in range(n)]
    start = time.perf_counter()
    for trial, outcome in earlier:
        optimizer.tell(trial, outcome)
    filling = time.perf_counter() - start
    spent: list[float] = []
    hashed: list[float] = []
    seconds, done, first_ask = 0.0, 0, 0.0
    while len(spent) < rounds + WARM_UP:
        start, before = time.perf_counter(), proposing.seconds
        (trial,) = optimizer.ask()
        took = time.perf_counter() - start - (proposing.seconds - before)
        first_ask, seconds = max(first_ask, took), seconds + took
        if optimizer.diagnostics()["rounds"] > done:  # this ask has begun another round
            done += 1
            spent.append(seconds)
            hashed.append(hashing.seconds)
            seconds, hashing.seconds = 0.0, 0.0
        outcome = coins(rng)
        start = time.perf_counter()
        optimizer.tell(trial, outcome)
        seconds += time.perf_counter() - start
    return {
        "round": spent[WARM_UP:],
        "hashing": hashed[WARM_UP:],
        "first_ask": first_ask,  # in which all of the memory is hashed
        "earlier": filling / n,
        "candidates": optimizer.diagnostics()["candidates"],
    }


def coins(rng: np.random.Generator) -> bbopt.Outcome:
    """Two evaluations and what they say."""
    values = (rng.random(2) < 0.5).astype(float).tolist()
    return bbopt.Outcome(values, feedback=[f"The reader gave {value:g}." for value in values])


# --- how it is written ----------------------------------------------------------------


def page(found: list[dict[str, Any]], size: str, load: float) -> str:
    """The runs as Markdown."""
    versions = f"bbopt {bbopt.__version__}, numpy {np.__version__}"
    python = f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores"
    lines = [
        "# Overhead of POLCA",
        "",
        f"`python benchmarks/polca_overhead.py{'' if size == 'default' else f' --{size}'}`: "
        f"{versions}, {python}, one thread; load before it began {load:.1f}.",
        "*A round*: all its asks and tells, two or so of each, with the shipped settings; median "
        f"[quartiles] and worst over {SIZES[size].rounds} rounds of each of {SIZES[size].seeds} "
        "seeds. *Hashing*: of the texts of its proposals, in the round. *First*: the ask that "
        "hashes the whole memory, once a session. *Earlier*: one earlier result told. *Memory*: "
        "peak of the process with everything.",
        "",
        "| candidates | ms a round | worst | hashing | µs a candidate | first, s | earlier, ms | "
        "memory, GB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    medians = {}
    for n in dict.fromkeys(run["n"] for run in found):
        pooled = {
            m: np.concatenate([np.atleast_1d(run[m]) for run in found if run["n"] == n])
            for m in MEASURES
        }
        low, medians[n], high = 1e3 * np.quantile(pooled["round"], [0.25, 0.5, 0.75])
        cells = [
            f"{n:,}",
            f"{medians[n]:.3g} [{low:.3g}, {high:.3g}]",
            f"{1e3 * pooled['round'].max():.3g}",
            f"{1e3 * np.median(pooled['hashing']):.2g}",
            f"{1e3 * medians[n] / n:.3g}",
            f"{np.median(pooled['first_ask']):.2g}",
            f"{1e3 * np.median(pooled['earlier']):.2g}",
            f"{pooled['memory'].max():.2g}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    most = max(medians)
    growth, larger = medians[most] / medians[GOAL_AT], most / GOAL_AT
    return "\n".join(
        [
            *lines,
            "",
            f"Goal: under {GOAL:g} ms a round with {GOAL_AT:,} candidates: "
            f"{medians[GOAL_AT]:.3g} ms, {verdict(medians[GOAL_AT] < GOAL)}.",
            "",
            f"Goal: from {GOAL_AT:,} to {most:,} candidates no faster than linear growth: "
            f"{growth:.3g} times for {larger:.3g} times as many, {verdict(growth <= larger)}.",
            "",
        ]
    )


def verdict(is_met: bool) -> str:
    return "met" if is_met else "**missed**"


def write_csv(found: list[dict[str, Any]], path: Path) -> None:
    """A line a run: the median of its rounds, the worst, and the rest."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["n", "seed", "candidates_at_the_end", "worst_round", *MEASURES])
        for run in found:
            medians = [f"{float(np.median(run[m])):.6g}" for m in MEASURES]
            worst = f"{max(run['round']):.6g}"
            writer.writerow([run["n"], run["seed"], run["candidates"], worst, *medians])


if __name__ == "__main__":
    main()

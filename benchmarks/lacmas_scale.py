"""What many agents cost: a round, its memory and its messages, from 10 to 10,000 agents.

*In process*: guided swarms of 20 particles in 10 dimensions (``variant=swarm``), the time of a
round by the number of agents; and the default of ``lacmas`` run to its end, with what it misses
of the optimum in closed form. *Under mpirun*: the same swarms on 1, 2 and 4 ranks, rounds a
second, and the share of the time spent communicating. All on ``distributed/quadratic``, where an
evaluation costs next to nothing; every run has processes of its own, one thread each.

Writes ``lacmas_scale.md`` and ``.csv``. Three sizes: ``--quick`` (under a minute), the default
(minutes), ``--full``.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy

import argparse
import csv
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from parts.scaling_runs import apart

import bbopt

RESULTS = Path(__file__).parent / "results"
LAUNCHER = Path(sys.executable).with_name("mpirun")
PARTICLES, STEPS = 20, 5  # evaluations of an agent in a round: their product
WARM_UP = 2  # rounds
SLOPE_GOAL = 1.1
GAP_GOAL, MINUTES_GOAL = 1e-6, 10  # of 10,000 agents

Found = dict[str, Any]


@dataclass(frozen=True)
class Size:
    """How much is run."""

    agents: tuple[int, ...]
    rounds: int
    evaluations: int  # of each agent, for the default of lacmas
    seeds: int
    ranks: tuple[int, ...]
    mpi_agents: tuple[int, ...]
    mpi_rounds: int


AGENTS = (10, 30, 100, 300, 1000, 3000, 10_000)
SIZES = {
    "quick": Size((10, 100, 1000), 5, 1500, 1, (1, 2), (100,), 30),
    "default": Size(AGENTS, 10, 1500, 1, (1, 2, 4), (100, 1000), 30),
    "full": Size((*AGENTS, 30_000), 30, 1500, 5, (1, 2, 4), (100, 1000, 10_000), 100),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    chosen = parser.add_mutually_exclusive_group()
    for name in ("quick", "full"):
        chosen.add_argument(f"--{name}", dest="size", action="store_const", const=name)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the tables")
    parser.add_argument("--rank", nargs=3, help=argparse.SUPPRESS)  # under mpirun
    options = parser.parse_args()
    if options.rank:
        n, rounds, file = options.rank
        on_a_rank(int(n), int(rounds), Path(file))
        return
    size_name = options.size or "default"
    size, load, start = SIZES[size_name], os.getloadavg()[0], time.perf_counter()
    found: list[Found] = []
    for seed in range(size.seeds):
        for n in size.agents:
            for part, measured in (("rounds", rounds_of), ("default", default_of)):
                given = size.rounds if part == "rounds" else size.evaluations
                found.append({"part": part, "n": n, "seed": seed} | apart(measured, n, given, seed))
                print(part, n, seed, f"{found[-1]['seconds']:.3g} s", flush=True)
    for n in size.mpi_agents:
        for ranks in size.ranks if LAUNCHER.exists() else ():
            found.append({"part": "mpi", "n": n} | under_mpirun(ranks, n, size.mpi_rounds))
            print("mpi", n, ranks, f"{found[-1]['seconds']:.3g} s", flush=True)
    stem = "lacmas_scale" + ("" if size_name == "default" else f"_{size_name}")
    options.out.mkdir(parents=True, exist_ok=True)
    spent = (time.perf_counter() - start) / 60
    text = page(found, size_name, load, spent)
    (options.out / f"{stem}.md").write_text(text, encoding="utf-8")
    write_csv(found, options.out / f"{stem}.csv")
    print(text)


# --- what is measured -----------------------------------------------------------------


def swarms(n: int, seed: int) -> tuple[bbopt.Problem, bbopt.Optimizer]:
    """The problem and its swarms."""
    problem = bbopt.problem("distributed/quadratic", agents=n)
    optimizer = bbopt.optimizer(
        "lacmas", problem.spec, seed=seed, variant="swarm", particles=PARTICLES
    )
    return problem, optimizer


def evaluations_of(n: int, rounds: int) -> int:
    """The budget of so many rounds."""
    return n * (PARTICLES * (1 + STEPS * rounds) + 1)


class Ends:
    """What some numbers are at the end of each round, such as the time.

    Agents that have not improved for ten rounds learn in fewer steps: rounds are counted, and what
    comes after those asked for is left out.
    """

    def __init__(self, optimizer: Any, rounds: int, look: Callable[[], list[float]]) -> None:
        self._rounds = rounds
        self._seen: list[list[float]] = []
        row_of = optimizer._row

        def row(search: Any) -> Mapping[str, float]:
            made: Mapping[str, float] = row_of(search)
            self._seen.append(look())
            return made

        optimizer._row = row

    @property
    def each(self) -> np.ndarray:
        """The numbers ``(rounds, k)`` that each round has added, after the first few rounds."""
        added = np.diff(self._seen, axis=0)[WARM_UP - 1 :][: self._rounds]
        assert len(added) == self._rounds
        return added


def rounds_of(n: int, rounds: int, seed: int) -> Found:
    """Seconds of processor time in each round of the swarms."""
    problem, optimizer = swarms(n, seed)
    ends = Ends(optimizer, rounds, lambda: [time.process_time()])
    bbopt.run(problem, optimizer, evaluations_of(n, rounds + WARM_UP))
    return {"seconds": float(np.median(ends.each))}


def default_of(n: int, evaluations: int, seed: int) -> Found:
    """The default, to its end."""
    problem = bbopt.problem("distributed/quadratic", agents=n)
    start = time.process_time()
    result = bbopt.run(problem, "lacmas", n * evaluations, seed=seed)
    said = result.diagnostics
    return {
        "seconds": time.process_time() - start,
        "gap": result.true_value / problem.optimum - 1,
        "disagreement": said["disagreement"],
        "evaluations": result.spent.evaluations / n,
        "bytes": said["bytes_per_agent"],
        "total_rounds": said["rounds"],
    }


def under_mpirun(ranks: int, n: int, rounds: int) -> Found:
    """Rounds of the swarms on so many ranks."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "found.json"
        program = [sys.executable, __file__, "--rank", str(n), str(rounds), str(file)]
        subprocess.run([str(LAUNCHER), "-n", str(ranks), *program], check=True, timeout=3600)
        return {"ranks": ranks} | json.loads(file.read_text(encoding="utf-8"))


def on_a_rank(n: int, rounds: int, file: Path) -> None:
    """One of the ranks; rank 0 writes what came of it."""
    from bbopt.running import mpirun
    from bbopt.running.ranks import Ranks

    problem, optimizer = swarms(n, 0)
    spent, waited = [0.0], [0.0]  # seconds in collective calls, and there in waiting
    ends = Ends(optimizer, rounds, lambda: [time.perf_counter(), spent[0], waited[0]])
    together, wait = timed(Ranks.together, spent), timed(Ranks.wait, waited)
    with mock.patch.object(Ranks, "together", together), mock.patch.object(Ranks, "wait", wait):
        bbopt.run(problem, optimizer, evaluations_of(n, rounds + WARM_UP))
    if mpirun.rank() == 0:
        took, collective, waiting = ends.each.sum(axis=0)
        said = {
            "seconds": took / rounds,
            "collective": collective / took,
            "waiting": waiting / took,
        }
        file.write_text(json.dumps(said), encoding="utf-8")


def timed(function: Callable[..., Any], total: list[float]) -> Callable[..., Any]:
    """The function, its seconds added to a total."""

    def call(*arguments: Any) -> Any:
        start = time.perf_counter()
        try:
            return function(*arguments)
        finally:
            total[0] += time.perf_counter() - start

    return call


# --- how it is written ----------------------------------------------------------------


def page(found: list[Found], size_name: str, load: float, minutes: float) -> str:
    """The runs as Markdown."""
    size, option = SIZES[size_name], "" if size_name == "default" else f" --{size_name}"
    lines = [
        "# Many agents",
        "",
        f"`python benchmarks/lacmas_scale.py{option}`: bbopt {bbopt.__version__}, numpy "
        f"{np.__version__}, Python {platform.python_version()}, {platform.system()}, "
        f"{os.cpu_count()} cores; load before it began {load:.1f}; {minutes:.1f} minutes. "
        "`distributed/quadratic`, 10 dimensions, 3 neighbours an agent.",
        "",
        "## In one process",
        "",
        f"Swarms of {PARTICLES} particles, {PARTICLES * STEPS} evaluations and one exchange of "
        f"swarms in a round: median of {size.rounds} rounds, in seconds of processor time, the "
        f"evaluations included. *Default*: `lacmas` as it is, to its end, with "
        f"{size.evaluations:,} evaluations an agent at most; *gap*: relative to the optimum. "
        f"Means over {size.seeds} seed{'s' * (size.seeds > 1)}.",
        "",
        "| agents | s a round | µs an agent and round | GB | default, s | GB | gap | "
        "disagreement | evaluations | kB sent |",
        "|---" * 10 + "|",
    ]
    for n in size.agents:
        a, b = (mean(found, part, n) for part in ("rounds", "default"))
        cells = [
            f"{n:,}", f"{a['seconds']:.3g}", f"{1e6 * a['seconds'] / n:.3g}", f"{a['memory']:.2g}",
            f"{b['seconds']:.3g}", f"{b['memory']:.2g}", f"{b['gap']:.1g}",
            f"{b['disagreement']:.1g}", f"{b['evaluations']:.0f}", f"{b['bytes'] / 1e3:.0f}",
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", *verdicts(found, size), "", "## Under mpirun", ""]
    return "\n".join([*lines, *mpi_table(found, size)]) + "\n"


def verdicts(found: list[Found], size: Size) -> list[str]:
    """Goals, and whether they are met."""
    seconds = [mean(found, "rounds", n)["seconds"] for n in size.agents]
    slope = float(np.polyfit(np.log(size.agents), np.log(seconds), 1)[0])
    last = [n for n in size.agents if n >= 100]
    high = float(
        np.polyfit(np.log(last), np.log(seconds[-len(last) :]), 1)[0]
    )  # where the arrays, not the interpreter, take the time
    lines = [
        f"* Slope of log seconds a round against log agents: {slope:.2f}; from 100 agents on "
        f"{high:.2f}. Goal ≤ {SLOPE_GOAL}: {verdict(max(slope, high) <= SLOPE_GOAL)}."
    ]
    if 10_000 in size.agents:
        it = mean(found, "default", 10_000)
        met = it["gap"] <= GAP_GOAL and it["seconds"] <= 60 * MINUTES_GOAL
        lines.append(
            f"* 10,000 agents within {GAP_GOAL:g} of the optimum in less than {MINUTES_GOAL} "
            f"minutes on one core: {it['seconds'] / 60:.1f} minutes, {verdict(met)}."
        )
    return lines


def mpi_table(found: list[Found], size: Size) -> list[str]:
    """Rounds a second by the number of ranks."""
    runs = [run for run in found if run["part"] == "mpi"]
    if not runs:
        return ["Not measured: no mpirun beside Python."]
    cores = os.cpu_count()
    lines = [
        f"The same swarms, {size.mpi_rounds} rounds; wall-clock time on {cores} cores, which more "
        "ranks share. *Communicating*: share of rank 0's time in collective calls, the product of "
        "weights and swarms that overlaps with them included; *waiting*: there for others.",
        "",
        "| agents | ranks | rounds a second | communicating | waiting |",
        "|---" * 5 + "|",
    ]
    for run in runs:
        lines.append(
            f"| {run['n']:,} | {run['ranks']} | {1 / run['seconds']:.3g} | "
            f"{run['collective']:.0%} | {run['waiting']:.0%} |"
        )
    return lines


def mean(found: list[Found], part: str, n: int) -> dict[str, float]:
    """The numbers of a part, over seeds."""
    runs = [run for run in found if run["part"] == part and run["n"] == n]
    names = [name for name, value in runs[0].items() if isinstance(value, (int, float))]
    return {name: float(np.mean([run[name] for run in runs])) for name in names}


def verdict(is_met: bool) -> str:
    return "met" if is_met else "**missed**"


def write_csv(found: list[Found], path: Path) -> None:
    """A line a run."""
    names = list(dict.fromkeys(name for run in found for name in run))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        for run in found:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in run.items()})


if __name__ == "__main__":
    main()

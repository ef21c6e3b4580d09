"""What mini-GP costs: a million evaluations, ten million over a million candidates, and peers.

Writes ``mini_gp_scaling_PART.md`` and ``.csv`` of each of its three parts. Three sizes:
``--quick`` (three minutes), the default (25 minutes), ``--full``; the first and the last have
files of their own. Overhead is wall-clock time in ask and tell, on one BLAS thread; every run
has a process of its own, whose peak memory includes Python, the problem and all else.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before numpy and torch

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from parts import scaling_hartmann as hartmann
from parts import scaling_runs as runs
from parts.scaling_pages import (
    BOX,
    DIMS,
    DIRECT,
    NAIVE,
    PEERS,
    TABLE,
    Record,
    brief,
    each_page,
    header,
    million_page,
    moonshot_page,
    write_csv,
)

RESULTS = Path(__file__).parent / "results"
TABLE_PEERS = {"gp:ucb append": {"form": "append"}, "gp:ucb merged": {"form": "merged"}}


@dataclass(frozen=True)
class Size:
    """How much is run; ``peer_n`` and the like are numbers of evaluations."""

    seeds: int
    moonshots: int
    moonshot_candidates: int
    reference_candidates: int
    few: int
    our_n: tuple[int, ...]
    peer_n: tuple[int, ...]
    append_n: tuple[int, ...]
    merged_n: tuple[int, ...]
    patience: float = 30.0
    most: float = 300.0  # seconds for one cell of a peer


SHORT, LONG = (1000, 2000, 10_000, 100_000), (1000, 2000, 10_000, 100_000, 1_000_000)
SIZES = {
    "quick": Size(2, 1, 100_000, 10_000, 1, SHORT, (100, 300), (1000,), (1000, 2000)),
    "default": Size(
        5, 2, 1_000_000, 100_000, 3, LONG, (100, 300, 1000, 2000), (1000, 2000), (1000, 2000)
    ),
    "full": Size(
        20,
        5,
        1_000_000,
        1_000_000,
        10,
        LONG,
        (100, 300, 1000, 2000),
        (1000, 2000),
        (1000, 2000, 10_000),
        patience=300.0,
        most=1800.0,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    chosen = parser.add_mutually_exclusive_group()
    for name in ("quick", "full"):
        chosen.add_argument(f"--{name}", dest="size", action="store_const", const=name)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the tables")
    names = [part.__name__ for part, _, _ in PARTS]
    parser.add_argument(
        "--parts",
        default=",".join(names),
        help="which of " + ", ".join(names),
    )
    options = parser.parse_args()
    name = options.size or "default"
    size, stem = SIZES[name], "mini_gp_scaling" + (f"_{options.size}" if options.size else "")
    options.out.mkdir(parents=True, exist_ok=True)
    for part, page, title in PARTS:
        if part.__name__ not in options.parts.split(","):
            continue
        text, records = header(title, name), []
        for record in part(size):
            print(record.part, record.case, record.n, record.seed, brief(record.found), flush=True)
            records.append(record)
        text += "\n" + page(records)
        file = options.out / f"{stem}_{part.__name__}.md"
        file.write_text(text, encoding="utf-8")
        write_csv(records, file.with_suffix(".csv"))
        print(text)


# --- what is run ----------------------------------------------------------------------


def million(size: Size) -> Iterator[Record]:
    """10^6 evaluations over 10^4 candidates."""
    for d in DIMS:
        for is_known in (True, False):
            case = f"d = {d}, {'known' if is_known else 'learned'}"
            for seed in range(size.seeds):
                found = runs.apart(runs.finite_run, d, 10**4, 10**6, is_known, seed)
                yield Record("million", case, 10**6, seed, found)


def moonshot(size: Size) -> Iterator[Record]:
    """10^7 evaluations over a million candidates, and the same choices by other means."""
    n = 10**7
    for d in DIMS:
        for seed in range(size.moonshots):
            shape = d, size.moonshot_candidates, n, True, seed, runs.FEW_BATCHES
            found = runs.apart(runs.finite_run, *shape)
            yield Record("moonshot", f"d = {d}", n, seed, found)
        found = runs.apart(runs.direct_run, d, size.moonshot_candidates, n, "unique", seed)
        yield Record("moonshot", f"d = {d}, {DIRECT}", n, seed, found)
    for d in DIMS:
        shape = d, size.reference_candidates, n, True, 0, runs.FEW_BATCHES
        found = runs.apart(runs.finite_run, *shape)
        yield Record("fewer", f"d = {d}", n, 0, found)
        found = runs.apart(runs.naive_choices, d, size.reference_candidates, n, 0)
        yield Record("fewer", f"d = {d}, {NAIVE}", n, 0, found)


def each(size: Size) -> Iterator[Record]:
    """Overhead an evaluation on Hartmann 6, ours and others'."""
    name = "mini-gp-ucb"
    for n in size.our_n:
        for seed in range(size.few):
            yield Record("ours", BOX, n, seed, runs.apart(hartmann.continuous_run, name, n, seed))
            found = runs.apart(hartmann.table_run, name, {}, 10**4, n, seed)
            yield Record("ours", TABLE, n, seed, found)
    for case, settings in TABLE_PEERS.items():
        for n in size.append_n if settings["form"] == "append" else size.merged_n:
            found = runs.apart(
                hartmann.table_run, "gp:ucb", settings, 10**4, n, 0, timeout=size.most
            )
            yield Record("peer, mean over a run", case, n, 0, found)
    for case, (peer, mean_of) in PEERS.items():
        for n in size.peer_n:
            if n // mean_of < 24:  # it would not have begun to model
                continue
            arguments = (peer, n, mean_of, size.patience, 0)
            found = runs.apart(hartmann.one_step, *arguments, timeout=size.most)
            yield Record("peer, one step", case, n, 0, found)


PARTS = (
    (million, million_page, "mini-GP over a million evaluations"),
    (moonshot, moonshot_page, "mini-GP over ten million evaluations"),
    (each, each_page, "Overhead of mini-GP an evaluation"),
)


if __name__ == "__main__":
    main()

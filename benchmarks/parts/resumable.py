"""Runs that a benchmark keeps in a file: a second call goes on where the first one ended."""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import fields
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "results"


def parser(about: str | None) -> argparse.ArgumentParser:
    """The options that such a benchmark has: size, folder, processes, arms, seeds, anew."""
    made = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    chosen = made.add_mutually_exclusive_group()
    for name in ("quick", "full"):
        chosen.add_argument(f"--{name}", dest="size", action="store_const", const=name)
    made.set_defaults(size="default")
    made.add_argument("--out", type=Path, default=RESULTS, help="folder of the tables")
    made.add_argument("--jobs", type=int, default=2, help="processes")
    made.add_argument("--arms", help="only these, separated by semicolons")
    made.add_argument("--seeds", type=int, help="at most so many")
    made.add_argument("--fresh", action="store_true", help="compute the chosen rows anew")
    return made


def stem(name: str, size: str) -> str:
    """What the files of one size are called."""
    return name if size == "default" else f"{name}_{size}"


class Runs(dict[Any, Any]):
    """Cell -> run, in memory and in a CSV file.

    Parameters
    ----------
    file : Path
        Read where it exists.
    cell : type
        A NamedTuple of texts that ends with the seed.
    run : type
        A dataclass of floats.
    order : callable
        Sort key of the rows.
    """

    def __init__(self, file: Path, cell: Any, run: Any, order: Callable[[Any], Any]) -> None:
        super().__init__()
        self._file, self._cell, self._order = file, cell, order
        self._names = [field.name for field in fields(run)]
        if file.exists():
            with file.open(newline="", encoding="utf-8") as lines:
                for row in csv.DictReader(lines):
                    key = [row[name] for name in cell._fields]
                    known = {name: float(row[name]) for name in self._names}
                    self[cell(*key[:-1], int(key[-1]))] = run(**known)

    def compute(
        self, wanted: Sequence[Any], work: Callable[..., Any], *given: Any, jobs: int, fresh: bool
    ) -> str:
        """Carry out ``work(cell, *given)`` for the missing ones, and say what that took."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        if fresh:
            for cell in wanted:
                self.pop(cell, None)
        start = time.perf_counter()
        missing = [cell for cell in wanted if cell not in self]
        with ProcessPoolExecutor(jobs) as pool:
            waiting = {pool.submit(work, cell, *given): cell for cell in missing}
            for future in as_completed(waiting):
                self[waiting[future]] = future.result()
                self._write()
        minutes = (time.perf_counter() - start) / 60
        return f"{len(missing)} runs were new and took {minutes:.1f} minutes"

    def _write(self) -> None:
        with self._file.open("w", newline="", encoding="utf-8") as lines:
            writer = csv.writer(lines, lineterminator="\n")
            writer.writerow([*self._cell._fields, *self._names])
            for cell in sorted(self, key=self._order):
                run = self[cell]
                writer.writerow([*cell, *(f"{getattr(run, name):.8g}" for name in self._names)])

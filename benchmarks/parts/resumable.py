"""Runs that a benchmark keeps in a file: a second call goes on where the first one ended."""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

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


def option(size: str) -> str:
    """What chooses a size on the command line, after a space."""
    return "" if size == "default" else f" --{size}"


class Runs(dict[Any, Any]):
    """Cell -> run, in memory and in a CSV file.

    Parameters
    ----------
    file : Path
        Read where it exists.
    cell : type
        A NamedTuple of texts and numbers.
    run : type
        A dataclass of texts and numbers.
    order : callable, optional
        Sort key of the rows; None: that of the cells.
    """

    def __init__(
        self, file: Path, cell: Any, run: Any, order: Callable[[Any], Any] | None = None
    ) -> None:
        super().__init__()
        self._file, self._order = file, order
        kinds = get_type_hints(cell), get_type_hints(run)
        self._header = [*cell._fields, *(field.name for field in fields(run))]
        if file.exists():
            with file.open(newline="", encoding="utf-8") as lines:
                for row in csv.DictReader(lines):
                    key, known = (
                        {name: kind(row[name]) for name, kind in each.items()} for each in kinds
                    )
                    self[cell(**key)] = run(**known)

    def compute(
        self,
        wanted: Iterable[Any],
        work: Callable[..., Any],
        *given: Any,
        jobs: int,
        fresh: bool = False,
        together: Callable[[Any], Hashable] = lambda cell: cell,
    ) -> str:
        """Carry out ``work(cell, *given)`` for the missing ones, and say what that took.

        Cells for which ``together`` says the same are carried out one after the other.
        """
        self._file.parent.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        missing = [cell for cell in wanted if fresh or cell not in self]
        for cell in missing:
            self.pop(cell, None)
        groups: dict[Hashable, list[Any]] = {}
        for cell in missing:
            groups.setdefault(together(cell), []).append(cell)
        with ProcessPoolExecutor(jobs) as pool:
            waiting = [pool.submit(_each, work, group, given) for group in groups.values()]
            for future in as_completed(waiting):
                self.update(future.result())
                self._write()
        minutes = (time.perf_counter() - start) / 60
        return f"{len(missing)} runs were new and took {minutes:.1f} minutes"

    def _write(self) -> None:
        draft = self._file.with_suffix(".draft")
        with draft.open("w", newline="", encoding="utf-8") as lines:
            writer = csv.writer(lines, lineterminator="\n")
            writer.writerow(self._header)
            for cell in sorted(self, key=self._order):
                values = [*cell, *vars(self[cell]).values()]
                writer.writerow([f"{v:.8g}" if isinstance(v, float) else v for v in values])
        draft.replace(self._file)  # a run that is killed here leaves the old file


def _each(work: Callable[..., Any], cells: Sequence[Any], given: Sequence[Any]) -> dict[Any, Any]:
    return {cell: work(cell, *given) for cell in cells}

"""The grid of a suite, cell by cell, in a folder from which it can always go on.

``bench.json`` says what was asked for, in which sessions; ``cells/`` has one file a finished
cell, written at once and whole. A cell that is there is not run again, unless it failed, was
skipped, or was stopped sooner than it would be now.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeAlias

from bbopt.bench.cell import Cell
from bbopt.bench.play import STOPPED, Interrupted, describe_machine, play
from bbopt.bench.record import FORMAT, Record, dumps
from bbopt.errors import MissingData, MissingExtra, StorageError, UnsupportedSpec, UsageError

MANIFEST = "bench.json"
NO_FILE_OF_OURS = "is damaged, not a bench's, or of another version: remove it"
GRACE = 30.0
"""Seconds, beyond a tenth of the time limit, until a run that does not stop is killed."""

Watcher: TypeAlias = Callable[[Record], None]


@dataclass(frozen=True)
class Bench:
    """A folder of records, in the order of their grid.

    Parameters
    ----------
    title, description, suite : str
        Of the suite that was run last.
    sessions : list of dict
        Command, size, time and machine of every session.
    records : list of Record
        Of the cells that are there.
    n_missing : int
        How many cells were asked for and have not been run.
    """

    title: str
    description: str
    suite: str
    sessions: list[dict[str, Any]]
    records: list[Record]
    n_missing: int


def open_bench(
    out: Path, cells: Sequence[Cell], *, title: str, description: str, suite: str, command: str
) -> list[Cell]:
    """Write down what is asked for, beside what was before; returns the cells to be run.

    Raises
    ------
    UsageError
        If the folder holds another suite: their problems would be ranked together.
    StorageError
        If the folder cannot be written, or holds something else.
    """
    try:
        (out / "cells").mkdir(parents=True, exist_ok=True)
        manifest = _read_manifest(out) if (out / MANIFEST).exists() else {}
        there = manifest.get("suite", suite)
        if there != suite:
            raise UsageError(
                f"folder {out} holds the suite {there!r}: choose another for {suite!r}"
            )
        session = {"command": command, **describe_machine()}
        session["commit"] = _commit()
        session["started"] = time.strftime("%Y-%m-%d %H:%M:%S %z")
        grid = manifest.get("grid", {}) | {cell.place: cell.key for cell in cells}
        _write(
            out / MANIFEST,
            json.dumps(
                {
                    "format": FORMAT,
                    "title": title,
                    "description": description,
                    "suite": suite,
                    "sessions": [*manifest.get("sessions", []), session],
                    "grid": grid,
                },
                indent=1,
            ),
        )
        return [cell for cell in cells if not _is_finished(out, cell)]
    except OSError as error:
        raise StorageError(f"folder {out}: {error.strerror or error}") from None


def run_cells(cells: Sequence[Cell], out: Path, *, jobs: int, watch: Watcher) -> None:
    """Run cells in ``jobs`` processes; ``watch`` is called with each record once it is written.

    Whatever goes wrong in a cell, a dead process included, is in its record.
    """
    for record in _played(cells, jobs):
        _write(_file(out, record.cell), dumps(record))
        watch(record)


def read_bench(out: str | Path) -> Bench:
    """All that a folder holds.

    Raises
    ------
    UsageError
        If it is not the folder of a bench.
    StorageError
        If one of its files cannot be read.
    """
    out = Path(out)
    if not (out / MANIFEST).is_file():
        raise UsageError(f"no bench in {str(out)!r}: it has no file {MANIFEST}")
    manifest = _read_manifest(out)
    records, n_missing = [], 0
    for place, key in manifest["grid"].items():
        record = _read_record(out / "cells" / f"{key}.json")
        if record is None:
            n_missing += 1
        else:
            records.append(_under(record, place))
    return Bench(
        title=manifest["title"],
        description=manifest["description"],
        suite=manifest["suite"],
        sessions=manifest["sessions"],
        records=records,
        n_missing=n_missing,
    )


def _played(cells: Sequence[Cell], jobs: int) -> Iterator[Record]:
    """Records in the order in which they become ready."""
    import pebble

    if not cells:
        return
    with _one_thread():
        pool: Any = pebble.ProcessPool(min(jobs, len(cells)), context=get_context("spawn"))
        try:
            waiting: dict[Future[Record], Cell] = {}
            for cell in cells:
                limit = 1.1 * cell.time_limit + GRACE
                waiting[pool.schedule(play, args=(cell,), timeout=limit)] = cell
            while waiting:
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield _record_of(future, waiting.pop(future))
        finally:
            pool.stop()
            pool.join()


def _record_of(future: Future[Record], cell: Cell) -> Record:
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, MissingData | MissingExtra | UnsupportedSpec):
        return Record(cell, "skipped", str(error))
    if isinstance(error, TimeoutError):
        return Record(cell, "stopped", "killed after the time limit", stop_reason=STOPPED)
    if isinstance(error, Interrupted):
        raise KeyboardInterrupt
    lines = str(error).strip().splitlines() or [""]
    return Record(cell, "failed", f"{type(error).__name__}: {lines[0]}")


@contextmanager
def _one_thread() -> Generator[None]:
    """Let the processes started meanwhile use one BLAS or OpenMP thread each."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _commit() -> str:
    """Of the checkout that this package is run from, with a + where files differ; or nothing."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+"]
    try:
        done = subprocess.run([*git, "--exclude=*"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _is_finished(out: Path, cell: Cell) -> bool:
    record = _read_record(_file(out, cell))
    if record is None or record.status in ("failed", "skipped"):
        return False
    return record.status == "done" or record.cell.time_limit >= cell.time_limit


def _under(record: Record, place: str) -> Record:
    """The record, shown under the labels of ``place``: the suite may have renamed them."""
    problem_label, _, optimizer_label, _ = json.loads(place)
    cell = replace(record.cell, problem_label=problem_label, optimizer_label=optimizer_label)
    return replace(record, cell=cell)


def _file(out: Path, cell: Cell) -> Path:
    return out / "cells" / f"{cell.key}.json"


def _read_record(path: Path) -> Record | None:
    data = _read_json(path) if path.exists() else None
    try:
        return None if data is None else Record.from_json(data)
    except (KeyError, TypeError, ValueError):
        raise StorageError(f"{path} {NO_FILE_OF_OURS}") from None


def _read_manifest(out: Path) -> dict[str, Any]:
    return _read_json(out / MANIFEST)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StorageError(f"{path}: {error}") from None
    except ValueError:
        data = None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise StorageError(f"{path} {NO_FILE_OF_OURS}")
    return data


def _write(path: Path, text: str) -> None:
    """Write a file at once: a reader, or a later session, sees all of it or nothing."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)

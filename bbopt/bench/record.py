"""What a bench keeps of a cell, and the two CSV files made of it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bbopt.bench.cell import Cell

FORMAT = 1
STATUSES = ("done", "stopped", "failed", "skipped")
"""Within its budget; at the time limit; with an error; for want of an extra or a capability."""

COUNTS = (
    "evaluations",
    "unique",
    "switches",
    "failures",
    "llm_calls",
    "proposer_calls",
    "tokens",
)
VALUES = (
    "best_value",
    "best_stderr",
    "best_count",
    "best_seen",
    "initial_value",
    "test_value",
    "cost",
)
TIMES = ("seconds", "overhead_seconds")


class Incumbent(NamedTuple):
    """The candidate that would have been deployed after some evaluations.

    Parameters
    ----------
    evaluations : int
        How many evaluations there were when it took over.
    value : float
        The estimate of it at that moment, in the user's direction.
    true_value : float or None
        Its value without noise, or the mean of fresh evaluations of it; None if neither.
    seconds : float
        When it took over, since the run began.
    """

    evaluations: int
    value: float
    true_value: float | None
    seconds: float


@dataclass(frozen=True)
class Record:
    """What came of a cell.

    Parameters
    ----------
    cell : Cell
        What was run.
    status : {"done", "stopped", "failed", "skipped"}
        See :data:`STATUSES`.
    error : str
        Why it failed or was skipped.
    direction : str
        Of the problem.
    optimum : float or None
        The best value there is, where the problem knows it.
    incumbents : sequence of Incumbent
        One a change of the incumbent; the last is the run's result after all evaluations.
    summary : mapping
        The numbers of the run that :meth:`bbopt.Result.to_json` names; where a local service
        evaluated and proposed, its counts, ``proposer_calls`` and ``best_seen`` (the best true
        value of all that was evaluated).
    stop_reason : str
        What ended the run.
    environment : mapping
        Versions, processor and load at the start.
    """

    cell: Cell
    status: str
    error: str = ""
    direction: str = "minimize"
    optimum: float | None = None
    incumbents: Sequence[Incumbent] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)
    stop_reason: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_run(self) -> bool:
        """Whether there is a run, complete or stopped."""
        return self.status in ("done", "stopped")

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {"format": FORMAT, **vars(self), "cell": self.cell.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Record:
        """The record that :meth:`to_json` described."""
        fields = {name: value for name, value in data.items() if name != "format"}
        fields["cell"] = Cell.from_json(data["cell"])
        fields["incumbents"] = [Incumbent(*row) for row in data["incumbents"]]
        return cls(**fields)


def write_csvs(records: Iterable[Record], folder: Path) -> list[Path]:
    """Write ``cells.csv`` (a line a cell) and ``incumbents.csv`` (a line a change of incumbent).

    The columns of time, ``seconds`` and ``overhead_seconds``, come last: without them, equal
    benches give equal files.
    """
    chosen = list(records)
    head = ["problem", "budget", "optimizer", "seed"]
    facts = ["status", "stop_reason", "direction", "optimum", "true_value"]
    cells: list[list[Any]] = [[*head, *facts, *VALUES, *COUNTS, "error", *TIMES]]
    changes: list[list[Any]] = [[*head, "evaluations", "value", "true_value", "seconds"]]
    for record in chosen:
        cell, last = record.cell, record.incumbents[-1] if record.incumbents else None
        place = [cell.problem_label, cell.budget_label, cell.optimizer_label, cell.seed]
        what: list[Any] = [record.status, record.stop_reason, record.direction, record.optimum]
        what.append(None if last is None else last.true_value)
        numbers = [record.summary.get(name) for name in (*VALUES, *COUNTS)]
        times = [record.summary.get(name) for name in TIMES]
        cells.append([*place, *what, *numbers, record.error, *times])
        changes += [[*place, *incumbent] for incumbent in record.incumbents]
    return [_write(folder / "cells.csv", cells), _write(folder / "incumbents.csv", changes)]


def dumps(record: Record) -> str:
    """The record as a line of JSON."""
    return json.dumps(record.to_json(), allow_nan=False) + "\n"


def _write(path: Path, rows: list[list[Any]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return path

"""What a bench keeps of a cell, and the CSV files made of it."""

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
"""Within its budget; at the time limit; with an error; for want of something that it needs."""

COUNTS = (
    "evaluations",
    "unique",
    "switches",
    "failures",
    "llm_calls",
    "proposer_calls",
    "tokens",
    "messages",
    "bytes_per_agent",
)
VALUES = (
    "best_value",
    "best_stderr",
    "best_count",
    "best_seen",
    "initial_value",
    "test_value",
    "disagreement",
    "cost",
)
TIMES = ("seconds", "overhead_seconds")
AXES = {
    "evaluations": "evaluations",
    "switches": "switches",
    "llm_calls": "calls of a language model",
    "tokens": "tokens",
    "cost": "cost",
    "bytes_per_agent": "bytes sent by an agent",
    "seconds": "seconds",
}
"""What a run spends, as an incumbent and a summary name it, and in words."""


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
    switches, llm_calls, tokens, cost, bytes_per_agent
        What else had been spent by then.
    """

    evaluations: int
    value: float
    true_value: float | None
    seconds: float
    switches: int = 0
    llm_calls: int = 0
    tokens: int = 0
    cost: float = 0.0
    bytes_per_agent: float = 0.0


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
    overhead : sequence of (int, float)
        Evaluations and the seconds spent outside them so far, each time their number has doubled.
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
    overhead: Sequence[tuple[int, float]] = ()

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
        fields["overhead"] = [(n, seconds) for n, seconds in data.get("overhead", ())]
        return cls(**fields)


def write_csvs(records: Iterable[Record], folder: Path) -> list[Path]:
    """Write ``cells.csv``, ``incumbents.csv`` and ``overhead.csv``; returns their paths.

    They have a line a cell, a line a change of incumbent, and a line each time the evaluations
    have doubled. The columns of time, ``seconds`` and ``overhead_seconds``, come last: without
    them, equal benches give equal files.
    """
    chosen = list(records)
    head = ["problem", "budget", "optimizer", "seed"]
    facts = ["status", "stop_reason", "direction", "optimum", "true_value"]
    steps = [name for name in Incumbent._fields if name != "seconds"]
    cells: list[list[Any]] = [[*head, *facts, *VALUES, *COUNTS, "error", *TIMES]]
    changes: list[list[Any]] = [[*head, *steps, "seconds"]]
    overhead: list[list[Any]] = [[*head, "evaluations", "overhead_seconds"]]
    for record in chosen:
        cell, last = record.cell, record.incumbents[-1] if record.incumbents else None
        place = [cell.problem_label, cell.budget_label, cell.optimizer_label, cell.seed]
        what: list[Any] = [record.status, record.stop_reason, record.direction, record.optimum]
        what.append(None if last is None else last.true_value)
        numbers = [record.summary.get(name) for name in (*VALUES, *COUNTS)]
        times = [record.summary.get(name) for name in TIMES]
        cells.append([*place, *what, *numbers, record.error, *times])
        for incumbent in record.incumbents:
            spent = incumbent._asdict()
            changes.append([*place, *(spent[name] for name in steps), incumbent.seconds])
        overhead += [[*place, *point] for point in record.overhead]
    tables = {"cells": cells, "incumbents": changes, "overhead": overhead}
    return [write_csv(folder / f"{name}.csv", rows) for name, rows in tables.items()]


def dumps(record: Record) -> str:
    """The record as a line of JSON."""
    return json.dumps(record.to_json(), allow_nan=False) + "\n"


def write_csv(path: Path, rows: Iterable[Sequence[Any]]) -> Path:
    """Write rows, the head first; returns the path."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return path

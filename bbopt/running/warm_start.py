"""Earlier results for a new run: told to its optimizer as foreign trials, off the budget."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bbopt.errors import UsageError
from bbopt.running.session import Session
from bbopt.running.storage import FOREIGN_WORKER, read_finished
from bbopt.space import Categorical, Float, Int, Space
from bbopt.spec import Spec
from bbopt.trial import Outcome, Trial

Finished = tuple[Trial, Outcome]


def read_warm_start(source: str | Path, spec: Spec) -> list[Finished]:
    """Finished trials from a CSV file or from every study of a storage.

    A CSV file has a column for each parameter and one named ``value`` (as ``--trace`` and
    ``Result.to_csv`` write it; other columns are ignored, an empty value is a failure). From
    a storage, trials outside the space and studies of another direction are left out.

    Raises
    ------
    UsageError
        If the file has no such columns or a row is outside the space; the line is named.
    StorageError
        If the storage cannot be read.
    """
    if "://" not in str(source) and Path(source).suffix.lower() == ".csv":
        return _read_csv(Path(source), spec.space)
    return read_finished(source, spec)


def tell_warm_start(session: Session, finished: Sequence[Finished], source: str) -> None:
    """Tell a session's optimizer finished trials, once a study, through the log if it has one."""
    log = session.log
    if log is None:
        for i, (trial, outcome) in enumerate(finished):
            session.tell_outcome((FOREIGN_WORKER, i), trial, outcome)
        return
    done = log.attributes().get("bbopt:warm_start", [])
    if source in done:
        return
    rows = [row.place for row in log.rows() if row.place.get("source") == source]
    written = {place["index"] for place in rows}  # before a kill
    for i, (trial, outcome) in enumerate(finished):
        if i not in written:
            place = {"source": source, "index": i}
            log.create(trial, place=place, worker=FOREIGN_WORKER, outcome=outcome)
    log.set_attribute("bbopt:warm_start", [*done, source])


def _read_csv(path: Path, space: Space) -> list[Finished]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a BOM
            reader = csv.DictReader(file, restval="")
            columns, rows = reader.fieldnames or (), list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"warm start {path}: {error}") from None
    missing = [name for name in (*space, "value") if name not in columns]
    if missing:
        raise UsageError(f"warm start {path}: no column {missing[0]!r}")
    return [_read_row(path, line, row, space) for line, row in enumerate(rows, start=2)]


def _read_row(path: Path, line: int, row: Mapping[str, str], space: Space) -> Finished:
    try:
        params = space.validate({name: parse_value(space, name, row[name]) for name in space})
        value = float(row["value"]) if row["value"] else float("nan")
        context = dict(json.loads(row["context"])) if row.get("context") else {}
        context.pop("examples", None)  # one row is one value, whatever it was a mean of
    except (TypeError, ValueError) as error:
        raise UsageError(f"warm start {path}, line {line}: {error}") from None
    return Trial(None, params, context=context), Outcome(value)


def parse_value(space: Space, name: str, text: str) -> Any:
    """A parameter's value from its text, as a CSV file or a command line holds it."""
    dimension = space[name]
    if isinstance(dimension, Categorical):
        for choice in dimension.choices:
            if text in (choice, str(choice), json.dumps(choice)):
                return choice
        return text
    if isinstance(dimension, Float | Int):
        try:
            return int(text) if isinstance(dimension, Int) else float(text)
        except ValueError:
            raise UsageError(f"parameter {name!r} must be a number, got {text!r}") from None
    return text

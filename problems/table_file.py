"""Files of evaluated settings, npz and CSV, as typed columns."""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bbopt.errors import SpaceError, UsageError
from bbopt.space import Array, Categorical, Dimension, Float, Int, Space
from bbopt.spec import Direction

KEYS = ("X", "y", "names", "low", "high", "log", "minimise")
"""What an npz file must hold."""


class Contents(NamedTuple):
    """What a file says."""

    space: Space
    columns: dict[str, Any]
    """Name -> ``(n,)`` native values."""
    values: Array
    """The objective, ``(n,)``."""
    direction: Direction


def read_npz(file: Path) -> Contents:
    """Read the keys ``X, y, names, low, high, log, minimise`` of an npz file.

    Raises
    ------
    UsageError
        If the file cannot be read, a key is missing or has the wrong shape or type, a number
        is not finite, or a row is outside the ranges by more than rounding.
    """
    arrays = _load_arrays(file)
    x = arrays["X"]
    if x.ndim != 2 or not x.size:
        raise UsageError(f"{file}: X must have shape (n, d), both at least 1, got {x.shape}")
    shapes = {"X": x.shape, "y": x.shape[:1], "minimise": ()}
    for key in KEYS:
        shape = shapes.get(key, x.shape[1:])
        if arrays[key].shape != shape:
            raise UsageError(f"{file}: {key} must have shape {shape}, got {arrays[key].shape}")
        kinds, meaning = _allowed_types(key)
        if arrays[key].dtype.kind not in kinds:
            raise UsageError(f"{file}: {key} must hold {meaning}, got {arrays[key].dtype}")
        if "f" in kinds and not np.isfinite(arrays[key]).all():
            raise UsageError(f"{file}: {key} must be finite, got NaN or infinity")
    names = _checked_names(file, arrays["names"].tolist())
    columns = {name: x[:, j].astype(float) for j, name in enumerate(names)}
    dimensions: dict[str, Dimension] = {}
    for name, low, high, log in zip(
        names, arrays["low"], arrays["high"], arrays["log"], strict=True
    ):
        try:
            dimensions[name] = _float_around(columns[name], low, high, bool(log))
        except SpaceError as error:
            raise UsageError(f"{file}: parameter {name!r}: {error}") from None
    direction: Direction = "minimize" if arrays["minimise"] else "maximize"
    return Contents(Space(dimensions), columns, arrays["y"].astype(float), direction)


def read_csv(file: Path, value: str | None, log: Sequence[str], direction: Direction) -> Contents:
    """Read a CSV file with a header; ``value`` names the objective, ``log`` the log scales.

    Raises
    ------
    UsageError
        If the file cannot be read, a named column is missing, a row has the wrong length, a
        cell is empty, a number is not finite, or a log scale does not fit its column.
    """
    names, rows, lines = _load_rows(file)
    target = value or ("value" if "value" in names else names[-1])
    _require_columns(file, "value", [target], names)
    _require_columns(file, "log", log, [name for name in names if name != target])
    if len(names) < 2:
        raise UsageError(f"{file}: needs a column besides the objective {target!r}")
    columns: dict[str, Any] = {}
    dimensions: dict[str, Dimension] = {}
    for name, cells in zip(names, zip(*rows, strict=True), strict=True):
        column = _typed(cells)
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            line = lines[int(np.argmin(np.isfinite(column)))]
            raise UsageError(f"{file}: line {line}: column {name!r} must be finite numbers")
        if name != target:
            try:
                dimensions[name] = _dimension_of(column, name in log)
            except SpaceError as error:
                raise UsageError(f"{file}: column {name!r}: {error}") from None
        columns[name] = column
    values = columns.pop(target)
    if values.dtype.kind == "O":
        raise UsageError(f"{file}: the objective {target!r} must be numbers")
    return Contents(Space(dimensions), columns, values.astype(float), direction)


def _load_arrays(file: Path) -> dict[str, Any]:
    try:
        if not zipfile.is_zipfile(file):
            raise UsageError(f"{file}: is no npz file")
        with np.load(file, allow_pickle=False) as archive:
            damaged = archive.zip.testzip()
            if damaged is not None:
                raise UsageError(f"{file}: {damaged} is damaged")
            missing = [key for key in KEYS if key not in archive]
            if missing:
                raise UsageError(
                    f"{file}: lacks {', '.join(missing)}; it has {', '.join(archive) or 'nothing'}"
                )
            return {key: np.asarray(archive[key]) for key in KEYS}
    except UsageError:
        raise
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{file}: cannot be read: {_first_line(error)}") from None


def _allowed_types(key: str) -> tuple[str, str]:
    """The numpy kinds allowed for a key of an npz file, and what to call them."""
    if key == "names":
        return "U", "texts"
    return ("biu", "booleans") if key in ("log", "minimise") else ("fiu", "numbers")


def _float_around(column: Array, low: Any, high: Any, log: bool) -> Float:
    """The range, as the decimal numbers it was written in, widened to rows that it rounds off.

    A single-precision 1e-5 is 9.99999975e-06: the range says 1e-5, and a row of exactly that
    value is inside.
    """
    # the text of a numpy number is the shortest that identifies it in its own precision
    least, greatest = float(str(low)), float(str(high))
    for outermost, bound in ((column.min(), least), (column.max(), greatest)):
        beyond = outermost < least or outermost > greatest
        if beyond and abs(outermost - bound) > 1e-6 * abs(bound):
            raise SpaceError(f"must be in [{least!r}, {greatest!r}], got {float(outermost)!r}")
    return Float(min(least, float(column.min())), max(greatest, float(column.max())), log=log)


def _load_rows(file: Path) -> tuple[list[str], list[list[str]], list[int]]:
    """The header, the rows of stripped cells, and the line that each row ends on."""
    rows, lines = [], []
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            for cells in reader:
                if cells:
                    rows.append([cell.strip() for cell in cells])
                    lines.append(reader.line_num)
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(f"{file}: cannot be read: {_first_line(error)}") from None
    if len(rows) < 2:
        raise UsageError(f"{file}: needs a header and at least one row")
    names = _checked_names(file, rows[0])
    for cells, line in zip(rows[1:], lines[1:], strict=True):
        if len(cells) != len(names):
            raise UsageError(f"{file}: line {line}: {len(cells)} cells for {len(names)} columns")
        if "" in cells:
            raise UsageError(f"{file}: line {line}: column {names[cells.index('')]!r} is empty")
    return names, rows[1:], lines[1:]


def _require_columns(file: Path, argument: str, wanted: Sequence[str], names: list[str]) -> None:
    for name in wanted:
        if name not in names:
            raise UsageError(
                f"{argument}: {file} has no column {name!r}; it has {', '.join(names)}"
            )


def _checked_names(file: Path, names: list[str]) -> list[str]:
    for name in names:
        if not name:
            raise UsageError(f"{file}: a column has no name")
        if names.count(name) > 1:
            raise UsageError(f"{file}: two columns are called {name!r}")
    return names


def _typed(cells: Sequence[str]) -> Any:
    """Cells as an array of integers, else of floats, else of texts (dtype object)."""
    if not any("_" in cell for cell in cells):  # Python reads 1_0 as ten
        for kind, dtype in ((int, np.int64), (float, np.float64)):
            try:
                return np.array([kind(cell) for cell in cells], dtype=dtype)
            except (ValueError, OverflowError):
                continue
    return np.array(cells, dtype=object)


def _dimension_of(column: Any, log: bool) -> Dimension:
    if column.dtype.kind == "O":
        if log:
            raise SpaceError("a log scale needs numbers, got texts")
        return Categorical(sorted(set(column.tolist())))
    kind = Int if column.dtype.kind == "i" else Float
    return kind(column.min().item(), column.max().item(), log=log)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0] or type(error).__name__

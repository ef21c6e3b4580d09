"""Runs on the functions of BBOB in the format of COCO, which cocopp and IOHanalyzer read.

Hansen et al. (2021), *COCO: a platform for comparing continuous optimizers in a black-box
setting*, Optimization Methods and Software 36. One folder a method; in it one ``.info`` file a
function, and beside that the two data files of each dimension: ``.dat`` has a line each time the
best value has improved, ``.tdat`` at numbers of evaluations that grow by a tenth. What counts is
the candidate in the lead by its value without noise; its coordinates are not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from bbopt.bench.record import Record
from bbopt.errors import UsageError

FAMILY = "bbob/f"
PRECISION = 1e-8
"""The least target of COCO."""
HEAD = (
    "% f evaluations | g evaluations | best noise-free fitness - Fopt ({optimum:.12e}) + sum g_i+ "
    "| measured fitness | best measured fitness or single-digit g-values | x1 | x2...\n"
)


def write_coco(records: Iterable[Record], folder: Path) -> list[Path]:
    """Write one folder a method that has runs on ``bbob/...``; returns the folders.

    Raises
    ------
    UsageError
        If no run is on a function of BBOB.
    """
    runs: dict[str, dict[int, dict[int, list[Record]]]] = {}
    for record in records:
        cell = record.cell
        if cell.problem.startswith(FAMILY) and record.incumbents and record.optimum is not None:
            number, dim = int(cell.problem.removeprefix(FAMILY)), cell.arguments.get("dim", 2)
            functions = runs.setdefault(cell.optimizer_label, {})
            functions.setdefault(number, {}).setdefault(dim, []).append(record)
    if not runs:
        raise UsageError("no run is on a function of BBOB, as bbob/f1 is: nothing to write")
    written = []
    for method, functions in runs.items():
        place = folder / "".join(c if c.isalnum() or c in "-_" else "-" for c in method)
        for number, dims in functions.items():
            _write_function(place, method, number, dims)
        written.append(place)
    return written


def _write_function(
    place: Path, method: str, number: int, dims: Mapping[int, list[Record]]
) -> None:
    (place / f"data_f{number}").mkdir(parents=True, exist_ok=True)
    info = []
    for dim, records in sorted(dims.items()):
        name = f"data_f{number}/bbobexp_f{number}_DIM{dim}"
        improved, sampled, ends = [], [], []
        for record in records:
            steps = _steps(record)
            head = HEAD.format(optimum=record.optimum)
            improved += [head, *(_line(*step, record) for step in steps)]
            last = max(int(record.summary["evaluations"]), steps[-1][0])
            sampled += [head, *(_line(*step, record) for step in _sampled(steps, last))]
            instance = record.cell.arguments.get("instance", 1)
            ends.append(f"{instance}:{last}|{max(steps[-1][1], 0.0):.1e}")
        (place / f"{name}.dat").write_text("".join(improved), encoding="utf-8")
        (place / f"{name}.tdat").write_text("".join(sampled), encoding="utf-8")
        info.append(
            f"suite = 'bbob', funcId = {number}, DIM = {dim}, Precision = {PRECISION:.3e}, "
            f"algId = '{method}'\n% bbopt\n{name}.dat, {', '.join(ends)}\n"
        )
    (place / f"bbobexp_f{number}.info").write_text("".join(info), encoding="utf-8")


def _steps(record: Record) -> list[tuple[int, float]]:
    """(evaluations, regret) at each improvement of the best regret so far."""
    assert record.optimum is not None
    steps: list[tuple[int, float]] = []
    for incumbent in record.incumbents:
        value = incumbent.value if incumbent.true_value is None else incumbent.true_value
        regret = value - record.optimum
        if not steps or regret < steps[-1][1]:
            steps.append((incumbent.evaluations, regret))
    return steps


def _sampled(steps: list[tuple[int, float]], last: int) -> list[tuple[int, float]]:
    """The best regret at 1, 2, ... evaluations that grow by a tenth, and at the end."""
    found, at, n = [], 0, steps[0][0]
    while n <= last:
        while at + 1 < len(steps) and steps[at + 1][0] <= n:
            at += 1
        found.append((n, steps[at][1]))
        n = n + 1 if n == last or n < 10 else min(max(n + 1, int(1.1 * n)), last)
    return found


def _line(evaluations: int, regret: float, record: Record) -> str:
    assert record.optimum is not None
    value = regret + record.optimum
    return f"{evaluations} 0 {regret:.9e} {value:.9e} {value:.9e}\n"

"""What a run returns: the candidate to deploy, every evaluation, and what it cost."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bbopt.budget import Meter
from bbopt.space import Params
from bbopt.trial import Best, Outcome, Trial


@dataclass(frozen=True)
class Evaluation:
    """A trial, what came of it, and the best known after it.

    Parameters
    ----------
    worker : int
        Who asked for it.
    trial : Trial
        As evaluated.
    outcome : Outcome
        In the user's direction.
    best : Best or None
        The best candidate by pooled observations once this one was told.
    """

    worker: int
    trial: Trial
    outcome: Outcome
    best: Best | None


@dataclass(frozen=True)
class Result:
    """What a run returns.

    Parameters
    ----------
    best : Best or None
        The candidate to deploy and an honest estimate of it: where evaluations were held
        back to confirm it, from these alone. None if no evaluation succeeded.
    trials : sequence of Evaluation
        In the order in which the optimizer was told.
    spent : Meter
        Evaluations, switches, failures, cost, use of language models, seconds.
    stop_reason : str
        A budget's axis (``"evaluations"``, ``"seconds"``, ...), ``"target"``, ``"patience"``,
        ``"exhausted"``, ``"max_failures"``, ``"callback"``, ``"interrupted"``, ``"llm"`` (the
        language model was down) or ``"proposer"`` (nothing that was proposed could be used).
    initial_value : float or None
        Mean observed at the space's ``initial``, where it has one.
    true_value : float or None
        ``best`` without noise, where the problem knows it.
    test_value : float or None
        ``best`` on examples never shown, where the problem has such.
    storage : str or None
        Where the run is stored.
    study : str or None
        The study's name there.
    metadata : mapping
        Problem, optimizer, settings, seed and versions, so that a figure can be traced.
    diagnostics : mapping
        What the method itself says of its search (see :meth:`bbopt.Optimizer.diagnostics`).
    rounds : sequence of mapping
        The scalars of each round, for methods that evaluate whole arrays; ``trials`` is then
        empty.
    """

    best: Best | None
    trials: Sequence[Evaluation]
    spent: Meter
    stop_reason: str
    initial_value: float | None
    true_value: float | None
    test_value: float | None
    storage: str | None
    study: str | None
    metadata: Mapping[str, Any]
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    rounds: Sequence[Mapping[str, Any]] = ()

    def to_json(self) -> dict[str, Any]:
        """The summary that ``bbopt run --json`` prints; NaN is null."""
        best, spent = self.best, self.spent
        return {
            "problem": self.metadata["problem"],
            "optimizer": self.metadata["optimizer"],
            "seed": self.metadata["seed"],
            "best_value": _null(best.value) if best else None,
            "best_stderr": _null(best.stderr) if best else None,
            "best_count": best.count if best else 0,
            "best_params": best.params if best else None,
            "initial_value": _null(self.initial_value),
            "true_value": _null(self.true_value),
            "test_value": _null(self.test_value),
            "evaluations": spent.evaluations,
            "unique": self.n_unique,
            "switches": spent.switches,
            "failures": spent.failures,
            "llm_calls": spent.usage.llm_calls,
            "tokens": spent.usage.tokens,
            "cost": spent.cost + spent.usage.cost,
            "seconds": round(spent.seconds, 6),
            "overhead_seconds": round(spent.overhead_seconds, 6),
            "stop_reason": self.stop_reason,
            "storage": self.storage,
            "study": self.study,
            **{name: _null(value) for name, value in self._last_round().items()},
            **{name: _null(value) for name, value in self.diagnostics.items()},
        }

    def _last_round(self) -> dict[str, Any]:
        """What the last round says beyond the fields that every run has."""
        own = ("value", "evaluations", "round")
        return {k: v for k, v in self.rounds[-1].items() if k not in own} if self.rounds else {}

    @property
    def n_unique(self) -> int:
        """How many different params were evaluated."""
        return len({_identity(evaluation.trial.params) for evaluation in self.trials})

    def to_csv(self, path: str | Path) -> None:
        r"""Write one line a trial, in the order told, without any column of time.

        Columns: worker, number, one a parameter, repeats, context (JSON), value, stderr,
        count, failed, best_value; or one line a round with its scalars. Equal runs give
        equal files. A lone surrogate, which is no character, stands as ``\udXXX``.
        """
        if self.rounds:
            _write_rows(Path(path), list(self.rounds[0]), [list(r.values()) for r in self.rounds])
            return
        names = list(self.trials[0].trial.params) if self.trials else []
        head = ["worker", "number", *names, "repeats", "context", "value", "stderr"]
        rows = [_csv_row(evaluation, names) for evaluation in self.trials]
        _write_rows(Path(path), [*head, "count", "failed", "best_value"], rows)


def _write_rows(path: Path, head: list[str], rows: list[list[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(head)
        writer.writerows(rows)


def _csv_row(evaluation: Evaluation, names: list[str]) -> list[Any]:
    trial, outcome = evaluation.trial, evaluation.outcome
    stderr = None
    if outcome.count > 1:
        stderr = math.sqrt(outcome.m2 / (outcome.count - 1) / outcome.count)
    return [
        evaluation.worker,
        trial.number,
        *(_text(trial.params[name]) for name in names),
        trial.repeats,
        json.dumps(dict(trial.context)) if trial.context else "",
        repr(outcome.mean) if outcome.count else "",
        "" if stderr is None else repr(stderr),
        outcome.count,
        outcome.failed,
        "" if evaluation.best is None else repr(evaluation.best.value),
    ]


def _text(value: Any) -> Any:
    """What a cell holds; ``None`` is a choice, and an empty cell is not."""
    return "None" if value is None else value


def _identity(params: Params) -> str:
    return json.dumps(params, sort_keys=True)


def _null(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None

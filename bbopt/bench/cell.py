"""A cell of the grid: one optimizer on one problem with one budget and one seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bbopt.budget import Budget


@dataclass(frozen=True)
class Cell:
    """What is run, and under which labels it is shown.

    Parameters
    ----------
    problem, arguments, problem_label : str, mapping, str
        Registered name, arguments, and the name shown.
    optimizer, settings, optimizer_label : str, mapping, str
        The same for the optimizer.
    budget : Budget
        Of the run.
    seed : int
        Of the run; cells that differ in the optimizer alone are a pair.
    confirm : float or None
        Share of the evaluations kept back to confirm the best few; None as the method likes.
    rescore : int
        Fresh evaluations of every incumbent where the problem does not know its true values.
    time_limit : float
        Seconds after which the run is stopped.
    llm : {"none", "loopback"}
        Who proposes texts: the problem itself, or the model of a local service, the same for
        all optimizers, which evaluates too.
    """

    problem: str
    arguments: Mapping[str, Any]
    problem_label: str
    optimizer: str
    settings: Mapping[str, Any]
    optimizer_label: str
    budget: Budget
    seed: int
    confirm: float | None
    rescore: int
    time_limit: float
    llm: str = "none"

    @property
    def place(self) -> str:
        """Where it stands in the grid: only one cell of a bench is shown in each place."""
        return json.dumps([self.problem_label, self.budget_label, self.optimizer_label, self.seed])

    @property
    def budget_label(self) -> str:
        """The budget for people: ``40 evaluations``."""
        limits = self.budget.to_json().items()
        return ", ".join(f"{limit:,} {axis.replace('_', ' ')}" for axis, limit in limits)

    @property
    def key(self) -> str:
        """A file name that tells cells apart by everything that their results depend on."""
        definition = self.to_json()
        for shown in ("problem_label", "optimizer_label", "time_limit"):
            del definition[shown]
        text = json.dumps(definition, sort_keys=True)
        names = f"{self.problem}-{self.optimizer}-{self.seed}"
        slug = "".join(c if c.isalnum() or c == "-" else "-" for c in names)
        return f"{slug}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def __str__(self) -> str:
        return (
            f"{self.problem_label}, {self.budget_label}, {self.optimizer_label}, seed {self.seed}"
        )

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            **vars(self),
            "arguments": dict(self.arguments),
            "settings": dict(self.settings),
            "budget": self.budget.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Cell:
        """The cell that :meth:`to_json` described."""
        return cls(**{**data, "budget": Budget(**data["budget"])})

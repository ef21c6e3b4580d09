"""How a run is carried out: its arguments, checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

from bbopt import checks
from bbopt.base import Optimizer
from bbopt.budget import Budget
from bbopt.errors import UsageError
from bbopt.spec import Spec
from bbopt.trial import Best, Outcome, Trial

Callback: TypeAlias = Callable[[Trial, Outcome, Best | None], Any]


@dataclass(frozen=True)
class Options:
    """How a run is carried out; the fields are arguments of :func:`bbopt.run`.

    Raises
    ------
    UsageError
        If a field has a value that is not allowed; it is named.
    """

    budget: Budget
    jobs: int = 1
    executor: Executor | None = None
    in_flight: int | None = None
    confirm: float | None = None
    evaluation_timeout: float | None = None
    retries: int = 0
    max_failures: int | None = None
    target: float | None = None
    patience: int | None = None
    callbacks: Sequence[Callback] = ()

    def __post_init__(self) -> None:
        whole = {"jobs": 1, "retries": 0, "in_flight": 1, "max_failures": 0, "patience": 1}
        for name, low in whole.items():
            value = getattr(self, name)
            if value is not None or name in ("jobs", "retries"):
                object.__setattr__(self, name, checks.integer(name, value, low))
        if self.executor is not None and not hasattr(self.executor, "submit"):
            raise UsageError(
                f"executor must be a concurrent.futures.Executor, got {self.executor!r}"
            )
        if self.target is not None:
            checks.number("target", self.target)
        if self.confirm is not None and not 0 <= checks.number("confirm", self.confirm) < 1:
            raise UsageError(f"confirm must be in [0, 1), got {self.confirm!r}")
        if self.confirm and self.budget.evaluations is None:
            raise UsageError("confirm needs a budget of evaluations to hold a share of it back")
        timeout = self.evaluation_timeout
        if timeout is not None and checks.number("evaluation_timeout", timeout) <= 0:
            raise UsageError(f"evaluation_timeout must be > 0 seconds, got {timeout!r}")
        for callback in self.callbacks:
            if not callable(callback):
                raise UsageError(f"callbacks must be callable, got {callback!r}")

    def refused_by_rounds(self) -> str | None:
        """The first argument that is set and makes no sense for whole rounds, if any."""
        names = ("executor", "in_flight", "evaluation_timeout", "confirm")
        given = [name for name in names if getattr(self, name) is not None]
        given += [
            name
            for name, plain in (("jobs", 1), ("retries", 0), ("callbacks", ()))
            if getattr(self, name) != plain
        ]
        return given[0] if given else None

    def n_confirm(self, spec: Spec, optimizer: Optimizer) -> int:
        """How many evaluations are held back to confirm the best few."""
        share = self.confirm
        if optimizer.solves:  # its best is what all agents have evaluated once more
            if share:
                raise UsageError(f"confirm: {optimizer.name!r} confirms what it returns itself")
            return 0
        if share is None:
            share = 0.0 if spec.deterministic is True else optimizer.confirm
        if not share or self.budget.evaluations is None:
            return 0
        held_back = math.ceil(round(share * self.budget.evaluations, 9))  # 0.07 * 100 is above 7
        return min(held_back, self.budget.evaluations - 1)

    def search_budget(self, n_confirm: int) -> Budget:
        """The budget without what confirming needs, which is a switch too."""
        if not n_confirm or self.budget.evaluations is None:
            return self.budget
        switches = None if self.budget.switches is None else max(self.budget.switches - 1, 0)
        rest = self.budget.evaluations - n_confirm
        return replace(self.budget, evaluations=rest, switches=switches)


class RunArguments(TypedDict, total=False):
    """The keyword arguments of :func:`bbopt.run`, for functions that pass them on."""

    settings: Mapping[str, Any] | None
    llm: Any
    jobs: int
    executor: Executor | None
    in_flight: int | None
    storage: str | Path | None
    name: str | None
    snapshots: str | Path | None
    seed: int | None
    resume: bool
    worker: int
    warm_start: str | Path | None
    confirm: float | None
    evaluation_timeout: float | None
    retries: int
    max_failures: int | None
    target: float | None
    patience: int | None
    progress: bool
    callbacks: Sequence[Callback]

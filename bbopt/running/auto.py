"""Which optimizer ``"auto"`` stands for."""

from __future__ import annotations

from pathlib import Path

from bbopt.running.studies import find_study
from bbopt.spec import Spec

NUMERIC = "mini-gp-ucb"
"""For numbers and categories: first or second of its rivals in mean rank on the suites bbo, noisy
and scaling, and never slow there. mini-gp-ei is as good, but not near a narrow minimum: ackley."""

MANY = "optuna:tpe"
"""The same with many evaluations: where each is of a point of its own, a model of all of them
takes too long."""

FEW = 500
"""Evaluations up to which there are not many."""

FEW_NOISY = 10_000
"""The same where a problem says that it is noisy, since points are evaluated again there."""


def auto(spec: Spec, evaluations: int | None) -> str:
    """The name of the optimizer that ``"auto"`` stands for.

    Parameters
    ----------
    spec : Spec
        Of the problem.
    evaluations : int or None
        How many the budget allows; None: it has another limit.
    """
    if "text" in spec.space.kinds:
        return "polca"
    if spec.agents is not None:
        return "lacmas"
    few = FEW_NOISY if spec.deterministic is False else FEW
    return NUMERIC if evaluations is not None and evaluations <= few else MANY


def stored_optimizer(storage: str | Path, study: str, worker: int) -> str | None:
    """The name of the optimizer with which a worker began, or the first did; None before."""
    stored = find_study(storage, study)
    if stored is None:
        return None
    name: str | None = (stored.workers.get(worker) or stored.workers.get(0, {})).get("optimizer")
    return name

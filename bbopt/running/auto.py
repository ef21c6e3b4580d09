"""Which optimizer ``"auto"`` stands for."""

from __future__ import annotations

from pathlib import Path

from bbopt.running.studies import find_study
from bbopt.spec import Spec

NUMERIC = "mini-gp-ei"
"""For numbers and categories: first or second of eight in mean rank on the suites bbo and noisy."""

MANY = "optuna:tpe"
"""The same with many evaluations: where they have no noise, a model of all takes too long."""

FEW = 500
"""Evaluations up to which there are not many."""


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
    return NUMERIC if evaluations is not None and evaluations <= FEW else MANY


def stored_optimizer(storage: str | Path, study: str, worker: int) -> str | None:
    """The name of the optimizer with which a worker began, or the first did; None before."""
    stored = find_study(storage, study)
    if stored is None:
        return None
    name: str | None = (stored.workers.get(worker) or stored.workers.get(0, {})).get("optimizer")
    return name

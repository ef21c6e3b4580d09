"""A finished run, for people."""

from __future__ import annotations

from dataclasses import fields as dataclass_fields
from typing import TYPE_CHECKING

from bbopt.budget import Budget
from bbopt.cli.layout import best_text, params_text, print_fields, print_title, value_text
from bbopt.running.result import Result
from bbopt.spec import Spec

if TYPE_CHECKING:
    from bbopt.llm import Ledger


def print_summary(result: Result, spec: Spec, ledger: Ledger | None = None) -> None:
    """Print what a run found, what it spent (``ledger``: on which models), how it can go on."""
    about = result.metadata
    print_title(f"{about['problem']}, {spec.direction}d by {about['optimizer']}")
    fields = []
    if result.best is not None:
        fields.append(("best value", best_text(result.best)))
    for label, value in (("true value", result.true_value), ("test value", result.test_value)):
        if value is not None:
            fields.append((label, value_text(value)))
    if result.initial_value is not None:
        fields.append(("initial value", _initial(result, spec)))
    if result.best is not None:
        fields.append(("best params", params_text(result.best.params)))
    if result.diagnostics:
        shown = {name.replace("_", " "): value for name, value in result.diagnostics.items()}
        fields.append(("diagnostics", params_text(shown)))
    fields.append(("evaluations", _evaluations(result)))
    fields += _spent(result, ledger)
    is_axis = result.stop_reason in {axis.name for axis in dataclass_fields(Budget)}
    stop = f"budget of {result.stop_reason}" if is_axis else result.stop_reason
    stop = {
        "llm": "the language model: it does not answer",
        "proposer": "the proposer: nothing that it gave could be used",
    }.get(stop, stop)
    fields.append(("stopped by", stop))
    if result.storage is not None:
        fields.append(("stored", f"study {result.study!r} in {result.storage}"))
        if is_axis:
            fields.append(("go on", "with a larger --budget and --resume"))
    print_fields(fields)


def _initial(result: Result, spec: Spec) -> str:
    assert result.initial_value is not None
    assert spec.space.initial is not None
    text, key = value_text(result.initial_value), spec.space.key
    if result.best is not None and key(result.best.params) == key(spec.space.initial):
        text += " (the initial params are the best)"
    elif result.best is not None:
        gain = spec.sign * (result.initial_value - result.best.value)
        text += f" (improved by {gain:.4g})" if gain > 0 else " (not improved)"
    return text


def _evaluations(result: Result) -> str:
    spent = result.spent
    text = f"{spent.evaluations}"
    if result.trials:
        text += f" ({result.n_unique} different)"
    return text + (f", {spent.failures} trials failed" if spent.failures else "")


def _spent(result: Result, ledger: Ledger | None) -> list[tuple[str, str]]:
    spent, usage = result.spent, result.spent.usage
    fields = []
    if spent.cost or usage.cost:
        fields.append(("cost", f"{spent.cost + usage.cost:.6g}"))
    if usage.llm_calls:
        fields.append(("language model", f"{usage.llm_calls} calls, {usage.tokens} tokens"))
        fields += _by_role(ledger) if ledger is not None else []
    fields.append(
        (
            "seconds",
            f"{spent.seconds:.3g}, of which {spent.overhead_seconds:.2g} between evaluations",
        )
    )
    fields.append(("seed", str(result.metadata["seed"])))
    return fields


def _by_role(ledger: Ledger) -> list[tuple[str, str]]:
    """What each role spent, and whether that is all that there is to pay."""
    used = {role: charge for role, charge in ledger.roles.items() if charge.calls}
    fields = []
    for role, charge in used.items():
        text = f"{charge.calls} calls, {charge.tokens} tokens"
        if charge.estimated:
            text += f", at most: of {charge.estimated} calls nobody says how many"
        fields.append((f"  {role}", text))
    if ledger.has_unknown_cost:
        fields.append(("  cost", "unknown: give --price"))
    return fields

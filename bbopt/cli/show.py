"""``bbopt show``: what a storage holds."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import click

from bbopt.errors import UsageError

if TYPE_CHECKING:
    from bbopt.running.studies import StoredStudy


@click.command()
@click.argument("storage")
@click.option("--name", help="Show this study in detail.  [default: all, in brief]")
@click.option("--command", is_flag=True, help="Print the lines that repeat the runs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list, or one object.")
def show(storage: str, name: str | None, command: bool, as_json: bool) -> None:
    """Show the studies of STORAGE, a journal file or a URL.

    They may be running. Every study is one of Optuna's, too: optuna-dashboard opens the same
    storage.
    """
    from bbopt.running.studies import read_studies, read_study

    studies = [read_study(storage, name)] if name is not None else read_studies(storage)
    if command:
        _print_commands(studies)
    elif as_json:
        described = [_describe(study) for study in studies]
        click.echo(json.dumps(described if name is None else described[0], allow_nan=False))
    elif name is None and len(studies) != 1:
        _print_brief(studies)
    else:
        _print_study(studies[0])


def _print_commands(studies: list[StoredStudy]) -> None:
    lines = [who["command"] for s in studies for who in s.workers.values() if "command" in who]
    if not lines:
        raise UsageError("no run has stored its command line there")
    for line in lines:
        click.echo(line)


def _describe(study: StoredStudy) -> dict[str, Any]:
    """A study as JSON values."""
    spent, best, observed = study.spent, study.best, study.best_observed
    return {
        "name": study.name,
        "problem": study.about.get("problem"),
        "arguments": study.about.get("arguments"),
        "direction": study.direction,
        "workers": {str(worker): dict(about) for worker, about in study.workers.items()},
        "trials": study.n_trials,
        "open": len(study.open_rows),
        "evaluations": spent.evaluations,
        "failures": spent.failures,
        "llm_calls": spent.usage.llm_calls,
        "tokens": spent.usage.tokens,
        "cost": spent.cost + spent.usage.cost,
        "seconds": spent.seconds,
        "overhead_seconds": spent.overhead_seconds,
        "best": None if best is None else best.to_json(),
        "best_observed": None if observed is None else observed.to_json(),
        "errors": dict(_errors(study)),
    }


def _print_brief(studies: list[StoredStudy]) -> None:
    from bbopt.cli.layout import print_columns, value_text

    if not studies:
        click.echo("It holds no study.")
        return
    rows = [["NAME", "PROBLEM", "OPTIMIZER", "TRIALS", "FAILED", "BEST"]]
    for study in studies:
        chosen = {who.get("optimizer", "?") for who in study.workers.values()}
        best = "" if study.best is None else value_text(study.best.value, study.best.stderr)
        rows.append(
            [
                study.name,
                study.about.get("problem", "(not bbopt's)"),
                ", ".join(sorted(chosen)),
                str(study.n_trials),
                str(study.spent.failures),
                best,
            ]
        )
    print_columns(rows)


def _print_study(study: StoredStudy) -> None:
    from bbopt.cli.layout import best_text, params_text, print_fields, print_title

    print_title(study.name)
    fields = [("direction", study.direction), ("trials", _trials(study))]
    if study.about:
        arguments = "".join(f", {k}={v}" for k, v in study.about["arguments"].items())
        fields.insert(0, ("problem", f"{study.about['problem']}{arguments}"))
    fields += [(f"worker {n}", _worker(who)) for n, who in study.workers.items()]
    best, observed = study.best, study.best_observed
    if best is not None:
        fields.append(("best value", best_text(best)))
        fields.append(("best params", params_text(best.params)))
        if observed is not None and observed.params != best.params:
            fields.append(("best observed", best_text(observed)))
            fields.append(("at", params_text(observed.params)))
    if study.rounds:
        last = ", ".join(f"{k} {v:.6g}" for k, v in study.rounds[-1].items() if v is not None)
        fields.append(("rounds", f"{len(study.rounds)}, the last: {last}"))
    fields += _spent(study)
    fields += [("error", f"{n} times {error}") for error, n in _errors(study).most_common(5)]
    print_fields(fields)


def _trials(study: StoredStudy) -> str:
    text = f"{study.n_trials}"
    if study.about:
        text += f": {len(study.open_rows)} open, {study.spent.failures} failed"
    return text


def _worker(who: Any) -> str:
    settings = "".join(f", {name}={value}" for name, value in who.get("settings", {}).items())
    return f"{who.get('optimizer')}, seed {who.get('seed')}{settings}"


def _spent(study: StoredStudy) -> list[tuple[str, str]]:
    spent = study.spent
    cost = spent.cost + spent.usage.cost
    fields = [("evaluations", str(spent.evaluations)), ("seconds", f"{spent.seconds:.3g}")]
    if cost:
        fields.append(("cost", f"{cost:.6g}"))
    if spent.usage.llm_calls:
        calls, tokens = spent.usage.llm_calls, spent.usage.tokens
        fields.append(("language model", f"{calls} calls, {tokens} tokens"))
    return fields


def _errors(study: StoredStudy) -> Counter[str]:
    """How often each error occurred."""
    outcomes = (row.outcome for row in study.rows if row.outcome is not None)
    return Counter(o.error.split("\n")[0] for o in outcomes if o.error)

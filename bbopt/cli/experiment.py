"""``bbopt ask`` and ``bbopt tell``: experiments that a person or a shell script carries out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bbopt.cli.messages import complain
from bbopt.errors import UsageError

if TYPE_CHECKING:
    from bbopt.base import Problem
    from bbopt.trial import Outcome, Trial


def _study(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that name the study."""
    command = click.option("--name", required=True, help="The study's name in the storage.")(
        command
    )
    return click.option(
        "--storage", required=True, metavar="PATH|URL", help="A journal file, or a URL."
    )(command)


@click.command()
@_study
@click.option("--space", metavar="FILE", help="Describes the parameters: TOML or JSON.")
@click.option("--problem", metavar="NAME", help="A problem instead of a space.")
@click.option("--with", "arguments", multiple=True, metavar="KEY=VALUE", help="Argument of it.")
@click.option("--optimizer", metavar="NAME", help="Who proposes.  [default: auto]")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Setting of it.")
@click.option("--seed", type=int, help="Of every draw.  [default: 0]")
@click.option("-n", "--trials", "n", type=int, default=1, show_default=True, help="How many.")
@click.option("--open", "show_open", is_flag=True, help="Print the open trials again, ask nothing.")
def ask(storage: str, name: str, n: int, show_open: bool, **given: Any) -> None:
    """Get trials to carry out by hand, as a JSON list.

    Each has a number, params, repeats (how often to measure them) and a context. Report what
    came of them with 'bbopt tell', in any order, whenever it is known.

    The first ask starts the study, which remembers space, optimizer, settings and seed. A
    space file has one table for each parameter:

    \b
    direction = "maximize"             # default "minimize"
    objective = "Taste of the tea."    # optional, as is: deterministic = false
    [minutes]
    kind = "float"                     # float and int: low, high, log, step, initial
    low = 1
    high = 8
    [leaf]
    kind = "categorical"               # choices, initial
    choices = ["green", "black"]       # kind = "text": initial, description, max_chars
    """  # noqa: D301 - \b keeps click from wrapping what follows
    from bbopt.running import by_hand

    if show_open:
        _print_trials(by_hand.open_trials(storage, name))
        return
    trials = by_hand.ask(
        storage,
        name,
        n,
        problem=_problem(given["space"], given["problem"], given["arguments"]),
        optimizer=None if given["optimizer"] == "auto" else given["optimizer"],
        settings=_settings(given["settings"]),
        seed=given["seed"],
    )
    _print_trials(trials)
    if not trials:
        waiting = [str(trial.number) for trial in by_hand.open_trials(storage, name)]
        reason = "waiting for " + ", ".join(waiting) if waiting else "nothing is left to try"
        complain("note", f"no trial: {reason}")


@click.command(context_settings={"ignore_unknown_options": True})  # -0.5 is a value
@_study
@click.argument("number")
@click.argument("values", nargs=-1, metavar="VALUE...")
@click.option("--failed", metavar="REASON", help="It could not be carried out, and why.")
def tell(storage: str, name: str, number: str, values: tuple[str, ...], failed: str | None) -> None:
    """Report what came of the trial NUMBER that was carried out by hand.

    Give its VALUE, or one VALUE for each of its repeats, or why it failed. Prints the
    best candidate so far, as a JSON object.
    """
    from bbopt.running import by_hand

    best = by_hand.tell(storage, name, _number(number), _outcome(values, failed))
    click.echo(json.dumps({"best": None if best is None else best.to_json()}, allow_nan=False))


def _problem(space: str | None, name: str | None, arguments: tuple[str, ...]) -> Problem | None:
    from bbopt.cli.pairs import read_pairs
    from bbopt.cli.space_file import read_space_file
    from bbopt.running.by_hand import HandProblem
    from bbopt.sources import load_problem

    if space is not None and name is not None:
        raise UsageError("--space and --problem exclude each other")
    if name is not None:
        return load_problem(name, read_pairs("--with", arguments))
    if arguments:
        raise UsageError("--with gives arguments of --problem, which is missing")
    return None if space is None else HandProblem(read_space_file(Path(space)))


def _settings(given: tuple[str, ...]) -> dict[str, Any] | None:
    from bbopt.cli.pairs import read_pairs

    return read_pairs("--set", given) if given else None


def _print_trials(trials: Any) -> None:
    click.echo(json.dumps([_trial(trial) for trial in trials], allow_nan=False))


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "params": trial.params,
        "repeats": trial.repeats,
        "context": dict(trial.context),
    }


def _number(text: str) -> int:
    if not text.isdecimal():
        raise UsageError(f"NUMBER must be that of a trial, got {text!r}")
    return int(text)


def _outcome(values: tuple[str, ...], failed: str | None) -> Outcome:
    from bbopt import checks
    from bbopt.trial import Outcome

    if failed is not None:
        if values:
            raise UsageError("a trial has values, or it failed: give VALUE or --failed")
        return Outcome.failure(failed)
    if not values:
        raise UsageError("give the trial's VALUE, or --failed REASON")
    return Outcome([checks.number("VALUE", _float(text)) for text in values])


def _float(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text

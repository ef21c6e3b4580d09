"""``bbopt run``."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bbopt.cli.messages import complain
from bbopt.errors import BBOptError, UsageError
from bbopt.running import mpirun

if TYPE_CHECKING:
    from bbopt.base import Problem
    from bbopt.llm import Client
    from bbopt.running.result import Result

FAILED = 1
"""The exit code of a run that failed or was interrupted."""


@click.command()
@click.argument("problem")
@click.option(
    "--with", "arguments", multiple=True, metavar="KEY=VALUE", help="An argument of the problem."
)
@click.option(
    "--optimizer",
    default="auto",
    show_default=True,
    metavar="NAME",
    help="Who proposes; 'bbopt optimizers' lists them.",
)
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of the optimizer."
)
@click.option(
    "--budget",
    required=True,
    metavar="N|AXIS=N,...",
    help="Evaluations, or any of evaluations, llm_calls (requests; what the transport repeats is "
    "one), tokens, cost, seconds, switches.",
)
@click.option("--seed", type=int, help="Of every draw.  [default: the stored study's, else 0]")
@click.option("--jobs", type=int, default=1, show_default=True, help="Evaluations at once.")
@click.option(
    "--in-flight",
    type=int,
    metavar="K",
    help="Keep K trials open and tell them in order: the same run for any --jobs.",
)
@click.option("--storage", metavar="PATH|URL", help="Keep every result: a journal file, or a URL.")
@click.option("--name", help="The study's name in the storage.  [default: the problem's]")
@click.option("--resume", is_flag=True, help="Continue the study if it exists.")
@click.option(
    "--worker", type=int, default=0, show_default=True, help="Our number in a shared study."
)
@click.option("--snapshots", metavar="FOLDER", help="Where the optimizer's state is saved.")
@click.option(
    "--warm-start",
    metavar="FILE.csv|STORAGE",
    help="Earlier results to learn from, off the budget.",
)
@click.option(
    "--confirm",
    type=float,
    metavar="SHARE",
    help="Share of the evaluations held back to measure the best few again.",
)
@click.option("--target", type=float, help="Stop at a value that good.")
@click.option("--patience", type=int, help="Stop after so many evaluations without a better one.")
@click.option("--max-failures", type=int, help="Stop after more failed trials than that.")
@click.option("--timeout", "evaluation_timeout", type=float, help="Seconds for one evaluation.")
@click.option(
    "--retries",
    type=int,
    default=0,
    show_default=True,
    help="Further attempts where one raised, died or timed out.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of a summary.")
@click.option("--trace", metavar="FILE.csv", help="Write one line a trial.")
@click.option(
    "--llm",
    multiple=True,
    metavar="[ROLE=]SPEC",
    help="Language model: none, embedded[:PATH] (a GGUF file; without PATH a tiny model, to try "
    "things out), openai:MODEL (the server at OPENAI_BASE_URL) or replay:FILE (a recorded run). "
    "ROLE: proposer, summarizer, guide or judge.  [default: none]",
)
@click.option(
    "--price",
    multiple=True,
    metavar="[ROLE=]P/C",
    help="Money for a million prompt and completion tokens of an openai model.",
)
@click.option(
    "--llm-wait",
    type=float,
    metavar="SECONDS",
    help="Pause that long when the model's server is down, before the run ends.",
)
@click.pass_context
def run(
    ctx: click.Context,
    /,
    problem: str,
    arguments: tuple[str, ...],
    optimizer: str,
    settings: tuple[str, ...],
    as_json: bool,
    trace: str | None,
    llm: tuple[str, ...],
    price: tuple[str, ...],
    llm_wait: float | None,
    **options: Any,
) -> int:
    """Optimise PROBLEM within a budget.

    PROBLEM is a name that 'bbopt problems' lists, or a problem of your own: MODULE:NAME or
    FILE.py:NAME, where NAME is a bbopt.Problem, a class of them, or a function that builds one
    (--with gives its arguments).

    Ctrl-C finishes what is being evaluated and says how to go on; a second one drops it.

    \b
    bbopt run hpo/digits-svm --optimizer optuna:tpe --budget 60 --storage runs.journal --resume
    bbopt run synthetic/branin --with noise=0.3 --budget 100 --confirm 0.2 --json
    bbopt run text/rulebook --llm embedded --budget evaluations=40,llm_calls=30
    bbopt run oven.py:Oven --budget evaluations=50,seconds=600 --jobs 2
    """  # noqa: D301 - \b keeps click from wrapping what follows
    _check_storage_options(options)
    _check_trace(trace)
    with _stdout_kept_clean():
        from bbopt.cli.models import build_client
        from bbopt.cli.pairs import read_pairs
        from bbopt.running.identity import command_line
        from bbopt.running.loop import run as run_problem
        from bbopt.sources import load_problem

        built = load_problem(problem, read_pairs("--with", arguments))
        options["settings"] = read_pairs("--set", settings)
        is_quiet = ctx.find_root().params["quiet"] or mpirun.rank() > 0
        progress = sys.stderr.isatty() and not is_quiet
        client = build_client(llm, price=price, wait=llm_wait)
        try:
            with nullcontext() if client is None else client:
                result = run_problem(built, optimizer, llm=client, progress=progress, **options)
        except KeyboardInterrupt:  # the second one
            complain("aborted", _how_to_go_on(options["storage"], command_line()))
            return FAILED
    if mpirun.rank() == 0:
        _print(result, built, as_json, client)
        if trace is not None:
            _write_trace(result, trace)
    what, reason = _verdict(result)
    if reason:
        complain(what, reason)
    return FAILED if reason else 0


def _check_storage_options(options: dict[str, Any]) -> None:
    for option in ("name", "resume", "snapshots"):
        if options[option] and options["storage"] is None:
            raise UsageError(f"--{option} needs --storage")


def _check_trace(trace: str | None) -> None:
    """Refuse a file that could not be written, before anything is spent."""
    if trace is None:
        return
    path = Path(trace)
    if not path.parent.is_dir():
        raise UsageError(f"--trace {trace}: no such folder: {path.parent}")
    if path.is_dir():
        raise UsageError(f"--trace {trace}: this is a folder")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"--trace {trace}: not writable")


@contextmanager
def _stdout_kept_clean() -> Iterator[None]:
    """Whatever evaluations print, here or in another process, goes to stderr.

    Stdout then holds the result and nothing else.
    """
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(saved, 1)
        os.close(saved)


def _print(result: Result, problem: Problem, as_json: bool, client: Client | None) -> None:
    ledger = None if client is None else client.ledger
    if as_json:
        fields = result.to_json()
        if ledger is not None and ledger.has_unknown_cost:
            fields["cost"] = None
        click.echo(json.dumps(fields, allow_nan=False))
        return
    from bbopt.cli.summary import print_summary

    print_summary(result, problem.spec, ledger)


def _write_trace(result: Result, trace: str) -> None:
    try:
        result.to_csv(trace)
    except OSError as error:
        raise BBOptError(f"--trace {trace}: {error.strerror}") from None


def _verdict(result: Result) -> tuple[str, str]:
    """What went wrong, and why; the reason is empty where nothing did."""
    if result.stop_reason == "interrupted":
        return "interrupted", _how_to_go_on(result.storage, result.metadata["command"])
    errors = (e.outcome.error for e in reversed(result.trials))
    last_error = next((error for error in errors if error is not None), None)
    tail = f"; the last error: {last_error}" if last_error else ""
    if result.stop_reason == "max_failures":
        return "error", f"stopped after {result.spent.failures} failed trials{tail}"
    if result.stop_reason == "llm":
        go_on = _how_to_go_on(result.storage, result.metadata["command"])
        return "error", f"the language model gave no more proposals; {go_on}"
    if result.stop_reason == "proposer":
        return "error", "of all that was proposed nothing could be used; a warning says why"
    if result.best is None:
        return "error", f"no evaluation gave a candidate that can be used{tail}"
    return "", ""


def _how_to_go_on(storage: str | None, command: str) -> str:
    if storage is None:
        return "nothing is stored; with --storage, the run could go on"
    return f"go on with: {command}" + ("" if "--resume" in shlex.split(command) else " --resume")

"""``bbopt train``: networks that are trained before they optimise."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bbopt.errors import UsageError

if TYPE_CHECKING:
    from bbopt.metabo.nap.tasks import Past
    from bbopt.metabo.nap.train import Lesson, Progress


@click.group()
def train() -> None:
    """Train what optimizers are made of."""


@train.command()
@click.option(
    "--data",
    metavar="FOLDER|STORAGE",
    help="Earlier tasks over one space: a folder of npz or CSV tables, or a storage with many "
    "studies.  [default: random functions, for any space]",
)
@click.option("--out", required=True, metavar="FILE", help="The weight file to write.")
@click.option(
    "--tasks",
    metavar="A-B",
    help="The tasks to learn from, counted from 0 in the order of their names.  "
    "[default: all that are not held out]",
)
@click.option(
    "--validation",
    metavar="A-B",
    help="The tasks that are held out, to measure with.  [default: the last fifth]",
)
@click.option(
    "--stages",
    metavar="1,2,3",
    help="1: densities. 2: the acquisition. 3: both.  [default: 1,2; on random functions, where "
    "2 gains nothing, 1]",
)
@click.option(
    "--log",
    metavar="NAMES",
    default="",
    help="Parameters of CSV tables that are on a log scale, separated by commas.",
)
@click.option("--steps", metavar="N,N,N", help="Of each stage.  [default: 2000, 150, 50]")
@click.option("--minutes", type=float, help="Stop after so many, wherever it is.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of every draw.")
@click.option("--resume", is_flag=True, help="Go on from where it stopped.")
@click.pass_context
def nap(ctx: click.Context, /, data: str | None, out: str, **given: Any) -> None:
    """Train a neural acquisition process, and print what the validation says of it.

    The same steps and seed give the same weights on the same machine; '--minutes' may stop
    earlier. Beside FILE, named ....safetensors, lie the log (.training.csv), the curves
    (.training.svg) and what '--resume' needs. Ctrl-C stops after the step under way and keeps
    all that.

    \b
    bbopt train nap --data tables/ --out mine.safetensors
    bbopt train nap --data runs.journal --out mine.safetensors --minutes 10
    bbopt run PROBLEM --optimizer nap --set weights=mine.safetensors
    """  # noqa: D301 - \b keeps click from wrapping what follows
    from bbopt.metabo.nap import train as training
    from bbopt.running.identity import command_line

    stages = _numbers("--stages", given["stages"] or ("1" if data is None else "1,2"))
    if given["steps"] is None:
        steps = tuple(training.DEFAULT_STEPS.get(stage, 1) for stage in stages)
    else:
        steps = _numbers("--steps", given["steps"])
    plan = training.Plan(stages, steps, given["seed"])
    minutes = given["minutes"]
    if minutes is not None and not minutes > 0:
        raise UsageError(f"--minutes must be positive, got {minutes!r}")
    path = Path(out)
    if not path.parent.is_dir():
        raise UsageError(f"--out: no such folder: {path.parent}")
    if data is not None and Path(data).resolve() in (path.resolve(), path.parent.resolve()):
        raise UsageError(f"--out must not lie where the data are, got {out}")
    lesson = _lesson(data, given["log"], given["tasks"], given["validation"], plan.seed)
    with _Line(is_quiet=ctx.find_root().params.get("quiet", False)) as line:
        metadata = training.train(
            lesson,
            plan,
            path,
            minutes=minutes,
            resume=given["resume"],
            command=command_line(),
            watch=line.show,
        )
    for stage, measures in metadata.validation.items():
        click.echo(f"{stage}: " + ", ".join(f"{k} {v:.4f}" for k, v in measures.items()))
    click.echo(out)


class _Line:
    """Progress on stderr: a bar on a terminal, else a line for each line of the log.

    Ctrl-C ends the training after the step under way, a second one at once.
    """

    def __init__(self, *, is_quiet: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._is_quiet = is_quiet
        self._is_stopped = False
        console = Console(stderr=True)
        self._is_bar = console.is_terminal and not is_quiet
        text, left = TextColumn("{task.description}"), TimeRemainingColumn()
        self._bar: Any = Bar(
            text, BarColumn(), MofNCompleteColumn(), left, console=console, disable=not self._is_bar
        )
        self._tasks: dict[int, Any] = {}

    def __enter__(self) -> _Line:
        self._handler = signal.signal(signal.SIGINT, self._stop)
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()
        signal.signal(signal.SIGINT, self._handler)

    def _stop(self, *_: object) -> None:
        if self._is_stopped:  # a second time: at once
            raise KeyboardInterrupt
        self._is_stopped = True
        print("stops after this step; --resume goes on", file=sys.stderr, flush=True)

    def show(self, progress: Progress) -> bool:
        text = " ".join(f"{name} {value:.3f}" for name, value in progress.measures.items())
        if self._is_bar:
            if progress.stage not in self._tasks:
                task = self._bar.add_task("", total=progress.steps)
                self._tasks[progress.stage] = task
            label = f"stage {progress.stage} loss {progress.measures['loss']:.3f}"
            task = self._tasks[progress.stage]
            self._bar.update(task, completed=progress.step, description=label)
        elif len(progress.measures) > 1 and not self._is_quiet:
            where = f"stage {progress.stage} step {progress.step}/{progress.steps}"
            print(f"{where}: {text}", file=sys.stderr, flush=True)
        return self._is_stopped


def _lesson(
    data: str | None, log: str, tasks: str | None, validation: str | None, seed: int
) -> Lesson:
    from bbopt.metabo.nap.tasks import read_past
    from bbopt.metabo.nap.train import lesson_of, lesson_of_functions

    if data is None:
        if tasks is not None or validation is not None or log:
            raise UsageError("--tasks, --validation and --log need --data")
        return lesson_of_functions()
    past = read_past(data, [name for name in log.split(",") if name])
    return lesson_of(*_split(past, tasks, validation), seed)


def _split(past: Past, tasks: str | None, validation: str | None) -> tuple[Past, Past]:
    """The tasks to learn from, and those held out."""
    n = len(past.tasks)
    if n < 2:
        raise UsageError("--data needs at least two tasks, one of them to measure with")
    last = range(n - max(n // 5, 1), n)
    held_out = list(last) if validation is None else _range("--validation", validation)
    learned = [i for i in range(n) if i not in held_out]
    if tasks is not None:
        learned = _range("--tasks", tasks)
        both = sorted({*learned} & {*held_out})
        if both:
            raise UsageError(f"--tasks must leave out those of --validation, got {both[0]} in both")
    if not learned:
        raise UsageError("--validation must leave tasks to learn from")
    return past.only(learned), past.only(held_out)


def _range(option: str, text: str) -> list[int]:
    first, dash, last = text.partition("-")
    try:
        numbers = list(range(int(first), int(last if dash else first) + 1))
    except ValueError:
        numbers = []
    if not numbers:
        raise UsageError(f"{option} must be numbers as in 0-19, got {text!r}")
    return numbers


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} must be numbers separated by commas, got {text!r}") from None

"""The training of a network, stage by stage: steps, log, checkpoints, validation, curves.

Every step draws from a stream of its own, ``(seed, stage, step)``, so the same seed on the
same machine gives the same weights, in one go or resumed.
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bbopt import checks
from bbopt.errors import UsageError, require
from bbopt.metabo.nap.architecture import Architecture
from bbopt.metabo.nap.batches import FunctionSource, Source
from bbopt.metabo.nap.checkpoint import read_checkpoint, restore, write_checkpoint
from bbopt.metabo.nap.episodes import first_rows, play, regrets
from bbopt.metabo.nap.model import Model
from bbopt.metabo.nap.pools import PoolSource
from bbopt.metabo.nap.reinforce import Reinforcement
from bbopt.metabo.nap.supervised import Supervised, validation_losses
from bbopt.metabo.nap.tasks import Past
from bbopt.metabo.nap.weights import Metadata, Parameter, save

if TYPE_CHECKING:  # torch is optional: mypy need not find it
    torch: Any
else:
    try:
        import torch
    except ModuleNotFoundError:  # the model's constructor says what to install
        torch = None

COLUMNS = 16
"""Coordinates of the network that serves any space."""

STAGES = {1: "densities", 2: "acquisition", 3: "both"}
DEFAULT_STEPS = {1: 2000, 2: 150, 3: 50}
RECORDS = {1: 250, 2: 10, 3: 10}
"""Steps from one line of the log, and one checkpoint, to the next."""

COUNTS = ("stage", "step")
"""Columns of the log that hold integers."""

PROBLEMS, POOL, PLAYED = 60, 500, 25
"""Of the optimisations in the validation: how many, of how many candidates and evaluations."""


@dataclass(frozen=True)
class Plan:
    """What a training does.

    Parameters
    ----------
    stages : tuple of int
        Of 1 (densities, by likelihood), 2 (acquisition, by reinforcement), 3 (both), increasing.
    steps : tuple of int
        Of each stage.
    seed : int
        Of every draw.
    """

    stages: tuple[int, ...] = (1, 2)
    steps: tuple[int, ...] = (DEFAULT_STEPS[1], DEFAULT_STEPS[2])
    seed: int = 0

    def __post_init__(self) -> None:
        checks.integer("seed", self.seed, 0)
        for stage in self.stages:
            checks.one_of("stages", stage, STAGES)
        if not self.stages or list(self.stages) != sorted(set(self.stages)):
            raise UsageError(
                f"stages must increase, as in 1,2, got {','.join(map(str, self.stages))}"
            )
        if len(self.steps) != len(self.stages):
            raise UsageError(
                f"steps must give one number for each of {len(self.stages)} stages, "
                f"got {','.join(map(str, self.steps))}"
            )
        for steps in self.steps:
            checks.integer("steps", steps, 1)


@dataclass(frozen=True)
class Lesson:
    """What is learned from.

    Parameters
    ----------
    source : Source
        Of the training tasks.
    validation : Source
        Of others.
    columns : int
        Of the network.
    space : tuple of Parameter or None
        Of the tasks; None: any.
    tasks : tuple of str
        Names of the training tasks.
    """

    source: Source
    validation: Source
    columns: int
    space: tuple[Parameter, ...] | None
    tasks: tuple[str, ...]


def lesson_of_functions() -> Lesson:
    """Random functions: for a network that serves any space."""
    source = FunctionSource(COLUMNS)
    return Lesson(source, source, COLUMNS, None, ("random functions",))


def lesson_of(past: Past, held_out: Past, seed: int) -> Lesson:
    """Earlier tasks over one space, some of them held out for the validation."""
    names = tuple(task.name for task in past.tasks)
    source = PoolSource(past, np.random.default_rng([seed, 0]))
    validation = PoolSource(held_out, np.random.default_rng(1), tables=1.0)
    return Lesson(source, validation, source.columns, past.parameters, names)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread for each sum, so that sums keep their order; see ``Halves``."""
    require("torch", extra="metabo", needed_by="training a network")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Progress:
    """Where a training stands."""

    stage: int
    step: int
    steps: int
    measures: dict[str, float]
    """The loss, and at some steps what the validation says."""


@one_thread()
def train(
    lesson: Lesson,
    plan: Plan,
    out: Path,
    *,
    minutes: float | None = None,
    resume: bool = False,
    command: str = "",
    watch: Callable[[Progress], bool | None] = lambda progress: None,
) -> Metadata:
    """Train a network and write its weights to ``out``.

    Beside it: ``.training.csv`` with the log, ``.training.svg`` with the curves where matplotlib
    is installed, and ``.checkpoint`` from which a training is resumed.

    Parameters
    ----------
    lesson : Lesson
        What is learned from.
    plan : Plan
        Stages, steps, seed.
    out : Path
        The weight file, ``....safetensors``.
    minutes : float, optional
        After so many of them the training stops where it is; resumed, it goes on.
    resume : bool
        Whether to go on from the checkpoint.
    command : str
        For the metadata.
    watch : callable
        Is called after every step, and again with what a validation says; True after a step:
        the training stops there, and can be resumed.

    Raises
    ------
    MissingExtra
        If torch is not installed.
    UsageError
        If ``out`` is no name for weights, there is nothing to resume, or it is another
        training.
    """
    if out.suffix != ".safetensors" or out.is_dir():
        raise UsageError(f"out must be a file named ....safetensors, got {str(out)!r}")
    architecture = Architecture(lesson.columns)
    model = Model(architecture, np.random.default_rng([plan.seed, 9]))
    log = _Log(out.with_suffix(".training.csv"), keep=resume)
    arrays, state = read_checkpoint(out.with_suffix(".checkpoint")) if resume else ({}, {})
    about = {**asdict(plan), "stages": list(plan.stages), "steps": list(plan.steps)}
    if resume and state["plan"] != about:
        raise UsageError(f"resume: the checkpoint is of another plan: {state['plan']!r}")
    metadata = Metadata(
        architecture, lesson.space, tasks=lesson.tasks, seed=plan.seed, command=command,
        versions={"torch": torch.__version__, "numpy": np.__version__},
        validation=state.get("validation", {}),
    )  # fmt: skip
    end = None if minutes is None else time.monotonic() + 60.0 * minutes
    for stage, steps in zip(plan.stages, plan.steps, strict=True):
        if resume and stage < state["stage"]:
            continue
        trainer = _trainer(stage, steps, model, lesson.source, plan.seed)
        first = 0
        if resume and stage == state["stage"]:
            restore(arrays, model, trainer.optimizers)
            first = state["step"]
        is_stopped = False
        for i in range(first, steps):
            measures = {"loss": trainer.step(i)}
            is_late = end is not None and time.monotonic() > end
            is_stopped = bool(watch(Progress(stage, i + 1, steps, measures))) or is_late
            is_last = i + 1 == steps or is_stopped
            if not is_last and (i + 1) % RECORDS[stage]:
                continue
            if stage != 2:
                measures |= validation_losses(model, lesson.validation)
            if is_last:
                measures |= validation_regrets(model, lesson.validation)
                found = {**metadata.validation, f"stage {stage}": measures}
                metadata = replace(metadata, validation=found)
            log.write(stage, i + 1, measures)
            where = {"stage": stage, "step": i + 1, "plan": about}
            where["validation"] = dict(metadata.validation)
            write_checkpoint(out.with_suffix(".checkpoint"), model, trainer.optimizers, where)
            if len(measures) > 1:
                watch(Progress(stage, i + 1, steps, measures))
            if is_stopped:
                break
        save(out, model.arrays(), metadata)
        if is_stopped:
            break
    log.draw(out.with_suffix(".training.svg"))
    return metadata


def validation_regrets(model: Model, source: Source) -> dict[str, float]:
    """Mean simple regret after 25 evaluations, five of them random, as a share of the range."""
    rng = np.random.default_rng(20_011)  # the same problems every time
    problems = source.instances(rng, PROBLEMS, POOL)
    start = first_rows(rng, PROBLEMS, POOL, 5)
    return {
        f"regret {by}": float(
            regrets(problems.utility, play(model, problems, start, PLAYED, by=by)[0])[:, -1].mean()
        )
        for by in ("ei", "acquisition")
    }


def _trainer(stage: int, steps: int, model: Model, source: Source, seed: int) -> Any:
    if stage == 1:
        return Supervised(model, source, steps, seed)
    return Reinforcement(model, source, seed, joint=stage == 3)


class _Log:
    """The CSV of a training, and its curves."""

    def __init__(self, path: Path, *, keep: bool) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        if keep and path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                self.rows = [
                    {k: int(v) if k in COUNTS else float(v) for k, v in row.items() if v}
                    for row in csv.DictReader(file)
                ]

    def write(self, stage: int, step: int, measures: dict[str, float]) -> None:
        self.rows = [r for r in self.rows if (r["stage"], r["step"]) < (stage, step)]
        self.rows.append({"stage": stage, "step": step, **measures})
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with self.path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(self.rows)

    def draw(self, path: Path) -> None:
        """Loss against step, one panel a stage."""
        try:
            import matplotlib
        except ModuleNotFoundError:
            return
        matplotlib.use("svg")
        from matplotlib import pyplot

        stages = sorted({int(row["stage"]) for row in self.rows})
        figure, axes = pyplot.subplots(
            1, len(stages), figsize=(5 * len(stages), 3.2), squeeze=False
        )
        for axis, stage in zip(axes[0], stages, strict=True):
            rows = [row for row in self.rows if row["stage"] == stage]
            for name in dict.fromkeys(name for row in rows for name in row):
                shown = [row for row in rows if name in row]
                if name not in COUNTS and len(shown) > 1:
                    axis.plot([r["step"] for r in shown], [r[name] for r in shown], label=name)
            axis.set(title=f"stage {stage}: {STAGES[stage]}", xlabel="step")
            if axis.lines:  # of one line of the log nothing can be drawn
                axis.legend(fontsize=7)
        figure.tight_layout()
        figure.savefig(path)
        pyplot.close(figure)

"""Run one cell, and write down what is needed to compare it with others."""

from __future__ import annotations

import math
import os
import platform
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bbopt import registry, seeding
from bbopt.base import Problem
from bbopt.bench.cell import Cell
from bbopt.bench.record import COUNTS, TIMES, VALUES, Incumbent, Record
from bbopt.bench.served import Served, served, spent
from bbopt.running.blocks import Block, evaluate_block
from bbopt.running.loop import run
from bbopt.running.result import Result
from bbopt.space import Params
from bbopt.trial import Best, Outcome, Trial

STOPPED = "time limit"
"""The stop reason of a run that took too long."""


class Interrupted(Exception):
    """The run was ended from outside: there is nothing to record."""


def play(cell: Cell) -> Record:
    """Run a cell in this process, on one BLAS thread, and off every network but this machine's.

    Raises
    ------
    Interrupted
        If a signal ended the run.
    """
    from threadpoolctl import threadpool_limits

    environment = describe_machine()
    problem = registry.problem(cell.problem, **cell.arguments)
    client = None
    with threadpool_limits(1), ExitStack() as stack:
        if cell.llm == "loopback":
            problem, client = stack.enter_context(served(problem, cell.seed))
        optimizer = registry.optimizer(
            cell.optimizer, problem.spec, seed=cell.seed, llm=client, **cell.settings
        )
        watch = _Watch(cell.time_limit)
        result = run(problem, optimizer, cell.budget, confirm=cell.confirm, callbacks=[watch])
        if result.stop_reason == "interrupted":
            raise Interrupted
        incumbents = _incumbents(result, watch.clock, _Judge(problem, cell))
    summary = result.to_json()
    if isinstance(problem, Served):
        summary |= spent(problem.service.ledger, problem.spec.sign)
    return Record(
        cell=cell,
        status="stopped" if watch.is_over else "done",
        direction=problem.spec.direction,
        optimum=problem.optimum,
        incumbents=incumbents,
        summary={name: summary.get(name) for name in (*VALUES, *COUNTS, *TIMES, "best_params")},
        stop_reason=STOPPED if watch.is_over else result.stop_reason,
        environment={**environment, "versions": dict(result.metadata["versions"])},
    )


def describe_machine() -> dict[str, Any]:
    """Processor, cores, system and current load."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "load": round(os.getloadavg()[0], 2),
    }


class _Watch:
    """A callback that notes when each trial was told and ends what takes too long."""

    def __init__(self, limit: float) -> None:
        self.clock: list[float] = []
        self.is_over = False
        self._limit = limit
        self._parent = os.getppid()
        self._start = time.monotonic()

    def __call__(self, trial: Trial, outcome: Outcome, best: Best | None) -> bool:
        now = time.monotonic() - self._start
        self.clock.append(now)
        if os.getppid() != self._parent:
            raise Interrupted  # the bench was killed: nobody is left to take the record
        self.is_over = now > self._limit
        return self.is_over


class _Judge:
    """The value of a candidate without the luck that made it the incumbent.

    The problem's truth where it knows it, else the mean of fresh evaluations with the same
    draws for every candidate and every optimizer of one seed, so that differences are paired.
    """

    def __init__(self, problem: Problem, cell: Cell) -> None:
        self._problem, self._n = problem, cell.rescore
        self._seed = seeding.stream_seed(cell.seed, "rescore")
        self._known: dict[Any, float | None] = {}

    def value(self, params: Params) -> float | None:
        """In the user's direction; None where nothing is known."""
        key = self._problem.spec.space.key(params)
        if key not in self._known:
            self._known[key] = self._look(params)
        return self._known[key]

    def _look(self, params: Params) -> float | None:
        truth = self._problem.truth(params)
        if truth is not None:
            return truth
        outcomes = [
            evaluate_block(self._problem, Block(Trial(number, params), 0, self._seed, 0))
            for number in range(self._n)
        ]
        values = [outcome.mean for outcome in outcomes if outcome.count]
        return math.fsum(values) / len(values) if values else None


def _incumbents(result: Result, clock: list[float], judge: _Judge) -> list[Incumbent]:
    """Each change of the running best, then the run's result after its last evaluation."""
    found: list[Incumbent] = []
    before: tuple[Params, float] | None = None
    count = 0
    for evaluation, seconds in zip(result.trials, clock, strict=True):
        count += evaluation.outcome.evaluations
        best = evaluation.best
        if best is None or (best.params, best.value) == before:
            continue
        before = best.params, best.value
        found.append(Incumbent(count, best.value, judge.value(best.params), seconds))
    best = result.best
    if best is not None and found and (best.params, best.value) != before:
        found.append(Incumbent(count, best.value, judge.value(best.params), clock[-1]))
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()

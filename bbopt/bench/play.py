"""Run one cell, and write down what is needed to compare it with others."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from bbopt import registry, seeding
from bbopt.base import Optimizer, Problem
from bbopt.bench.cell import Cell
from bbopt.bench.clock import Clock, Timed
from bbopt.bench.record import COUNTS, TIMES, VALUES, Incumbent, Record
from bbopt.bench.served import Served, served, spent
from bbopt.running.blocks import Block, evaluate_block
from bbopt.running.loop import run
from bbopt.running.result import Result
from bbopt.sources import load_problem
from bbopt.space import Params
from bbopt.trial import NO_USAGE, Best, Outcome, Trial, Usage

STOPPED = "time limit"
"""The stop reason of a run that took too long."""
ROUND_LOOKS = 1.05
"""Of a method with rounds, the first is looked at that has so many times the evaluations."""


class Interrupted(Exception):
    """The run was ended from outside: there is nothing to record."""


class _Parent:
    """The bench that started this process."""

    def __init__(self) -> None:
        self._id = os.getppid()

    def check(self) -> None:
        """Raise Interrupted if it was killed: nobody is left to take the record."""
        if os.getppid() != self._id:
            raise Interrupted


def play(cell: Cell) -> Record:
    """Run a cell in this process, on one BLAS thread, and off every network but this machine's.

    Raises
    ------
    Interrupted
        If a signal ended the run.
    """
    from threadpoolctl import threadpool_limits

    environment = describe_machine()
    problem = load_problem(cell.problem, cell.arguments)
    client = None
    with threadpool_limits(1), ExitStack() as stack:
        if cell.llm == "loopback":
            problem, client = stack.enter_context(served(problem, cell.seed))
        optimizer = registry.optimizer(
            cell.optimizer,
            problem.spec,
            seed=cell.seed,
            llm=client,
            proposer=problem.propose,
            **cell.settings,
        )
        by_rounds = optimizer.solves and problem.evaluate_array is not None
        how = _by_rounds if by_rounds else _by_trials
        result, is_over, incumbents, overhead = how(problem, optimizer, cell)
        if result.stop_reason == "interrupted":
            raise Interrupted
    summary = result.to_json()
    if isinstance(problem, Served):
        summary |= spent(problem.service.ledger, problem.spec.sign)
    if by_rounds:
        summary |= {"unique": None, "switches": None}  # which nobody counts
    return Record(
        cell=cell,
        status="stopped" if is_over else "done",
        direction=problem.spec.direction,
        optimum=problem.optimum,
        incumbents=incumbents,
        summary={name: summary.get(name) for name in (*VALUES, *COUNTS, *TIMES, "best_params")},
        stop_reason=STOPPED if is_over else result.stop_reason,
        environment={**environment, "versions": dict(result.metadata["versions"])},
        overhead=overhead,
    )


def describe_machine() -> dict[str, Any]:
    """Processor, cores, system and current load."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "load": round(os.getloadavg()[0], 2),
    }


class _Played(NamedTuple):
    """What came of a run: it, whether it took too long, and two fields of the record."""

    result: Result
    is_over: bool
    incumbents: list[Incumbent]
    overhead: list[tuple[int, float]]


class _Moment(NamedTuple):
    """What had been spent when a trial was told."""

    seconds: float
    usage: Usage


class _Watch:
    """A callback that notes what each trial was told at, and ends what takes too long."""

    def __init__(self, limit: float, clock: Clock, usage: Callable[[], Usage]) -> None:
        self.moments: list[_Moment] = []
        self.is_over = False
        self._limit, self._clock, self._usage = limit, clock, usage
        self._evaluations = 0
        self._parent = _Parent()

    def __call__(self, trial: Trial, outcome: Outcome, best: Best | None) -> bool:
        self._parent.check()
        self._evaluations += outcome.evaluations
        self._clock.note(self._evaluations)
        now = self._clock.seconds
        self.moments.append(_Moment(now, self._usage()))
        self.is_over = now > self._limit
        return self.is_over


def _by_trials(problem: Problem, optimizer: Optimizer, cell: Cell) -> _Played:
    """Ask, evaluate, tell."""

    def usage() -> Usage:
        if not isinstance(problem, Served):
            return optimizer.usage
        ledger = problem.service.ledger
        return Usage(llm_calls=sum(ledger.chat_calls.values()), tokens=ledger.tokens)

    clock = Clock()
    watch = _Watch(cell.time_limit, clock, usage)
    timed = Timed(problem, clock)
    result = run(timed, optimizer, cell.budget, confirm=cell.confirm, callbacks=[watch])
    incumbents = _incumbents(result, watch.moments, _Judge(problem, cell))
    return _Played(result, watch.is_over, incumbents, clock.overhead)


def _by_rounds(problem: Problem, optimizer: Optimizer, cell: Cell) -> _Played:
    """Whole rounds, of which each is looked at that comes a twentieth later than the last."""
    clock, parent = Clock(), _Parent()
    seen: list[tuple[Params, Incumbent]] = []
    solve = optimizer.solve  # type: ignore[attr-defined]

    def watched(evaluate: Any, *, report: Callable[..., bool], **others: Any) -> Best | None:
        def look(row: Mapping[str, float]) -> bool:
            n, best = int(row["evaluations"]), optimizer.best
            parent.check()
            clock.note(n)
            if best is not None and (not seen or n >= ROUND_LOOKS * seen[-1][1].evaluations):
                sent = row["bytes_per_agent"]
                now = Incumbent(n, row["value"], None, clock.seconds, bytes_per_agent=sent)
                seen.append((best.params, now))
            return report(row)

        found: Best | None = solve(clock.waiting(evaluate), report=look, **others)
        return found

    optimizer.solve = watched  # type: ignore[attr-defined]
    limit = min(cell.time_limit, cell.budget.seconds or math.inf)
    result = run(problem, optimizer, replace(cell.budget, seconds=limit))
    if result.best is not None:
        sent = result.rounds[-1]["bytes_per_agent"] if result.rounds else 0.0
        n, best = result.spent.evaluations, result.best
        last = Incumbent(n, best.value, None, clock.seconds, bytes_per_agent=sent)
        seen.append((best.params, last))
    judge = _Judge(problem, cell)
    incumbents = [now._replace(true_value=judge.value(params, now.value)) for params, now in seen]
    is_over = result.stop_reason == "seconds" and limit != cell.budget.seconds
    return _Played(result, is_over, incumbents, clock.overhead)


class _Judge:
    """The value of a candidate without the luck that made it the incumbent.

    The problem's truth where it knows it, else the mean of fresh evaluations with the same
    draws for every candidate and every optimizer of one seed, so that differences are paired.
    """

    def __init__(self, problem: Problem, cell: Cell) -> None:
        self._problem, self._n = problem, cell.rescore
        self._seed = seeding.stream_seed(cell.seed, "rescore")
        self._known: dict[Any, float | None] = {}

    def value(self, params: Params, observed: float) -> float | None:
        """In the user's direction; None where nothing is known.

        What was observed is true by itself where evaluations are deterministic.
        """
        key = self._problem.spec.space.key(params)
        if key not in self._known:
            self._known[key] = self._look(params)
        known = self._known[key]
        is_exact = self._problem.spec.deterministic is True and self._problem.spec.agents is None
        return observed if known is None and is_exact else known

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


def _incumbents(result: Result, moments: list[_Moment], judge: _Judge) -> list[Incumbent]:
    """Each change of the running best, then the run's result after its last evaluation."""
    found: list[Incumbent] = []
    before: tuple[Params, float] | None = None
    last: Params | None = None
    count, switches, cost, usage = 0, 0, 0.0, NO_USAGE

    def take_over(best: Best, moment: _Moment) -> None:
        used = moment.usage + usage  # by proposals and by evaluations
        found.append(
            Incumbent(
                count,
                best.value,
                judge.value(best.params, best.value),
                moment.seconds,
                switches,
                used.llm_calls,
                used.tokens,
                cost + used.cost,
            )
        )

    for evaluation, moment in zip(result.trials, moments, strict=True):
        outcome, params = evaluation.outcome, evaluation.trial.params
        count += outcome.evaluations
        switches += last is not None and params != last
        cost += outcome.cost if math.isfinite(outcome.cost) else 0.0
        usage, last = usage + outcome.usage, params
        best = evaluation.best
        if best is None or (best.params, best.value) == before:
            continue
        before = best.params, best.value
        take_over(best, moment)
    best = result.best
    if best is not None and found and (best.params, best.value) != before:
        take_over(best, moments[-1])
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()

"""A block: one call of ``evaluate``, with its own stream; what executors run.

A trial's repeats are split into blocks of ``problem.block``. What a block draws depends on
its trial and its index alone, so results never depend on jobs, order or ranks.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pickle import PicklingError
from typing import Any

import numpy as np

from bbopt import seeding
from bbopt.base import Problem
from bbopt.budget import Meter
from bbopt.errors import UsageError
from bbopt.trial import Outcome, Trial, merge


@dataclass(frozen=True)
class Block:
    """One call of ``evaluate``: a trial cut to some of its repeats.

    Parameters
    ----------
    trial : Trial
        With ``repeats`` and ``context["examples"]`` cut to the block.
    index : int
        Which block of the trial it is.
    seed, worker : int
        Of the run; with the trial's number and the index they name the stream.
    """

    trial: Trial
    index: int
    seed: int
    worker: int

    def rng(self) -> np.random.Generator:
        """The generator of everything that this evaluation draws."""
        assert self.trial.number is not None
        return seeding.stream(
            self.seed,
            "evaluate",
            worker=self.worker,
            number=self.trial.number,
            block=self.index,
        )


@dataclass(eq=False)
class OpenTrial:
    """A trial that was asked and not told.

    Parameters
    ----------
    trial : Trial
        As it is evaluated: another row of the table, or cut to the budget.
    asked : Trial or None
        As the optimizer proposed it; None where it is told as foreign.
    row : int or None
        Its id in the log.
    """

    trial: Trial
    asked: Trial | None
    row: int | None = None
    blocks: dict[int, Outcome] = field(default_factory=dict)
    next_block: int = 0
    outcome: Outcome | None = None
    saved_at: float = field(default_factory=time.monotonic)
    spent: Meter = field(default_factory=Meter)

    def __post_init__(self) -> None:
        for outcome in self.blocks.values():
            self.spent.add(outcome)

    def keep(self, index: int, outcome: Outcome) -> None:
        """Take what came of a block."""
        self.blocks[index] = outcome
        self.spent.add(outcome)

    @property
    def number(self) -> int:
        """The trial's number."""
        assert self.trial.number is not None
        return self.trial.number


def count_blocks(trial: Trial, size: int) -> int:
    """How many blocks of ``size`` repeats a trial has."""
    return -(-trial.repeats // size)


def cut(trial: Trial, size: int, index: int) -> Trial:
    """The trial cut to block ``index``."""
    if trial.repeats <= size:
        return trial
    return trial.slice(index * size, min((index + 1) * size, trial.repeats))


def merge_blocks(trial: Trial, size: int, blocks: Mapping[int, Outcome]) -> Outcome:
    """The outcome of a trial from its blocks; some at the end may be missing or cut short.

    What is missing before a later block counts as failed: each value keeps its example.
    """
    last = max(blocks)
    parts = []
    for index in range(last + 1):
        repeats = cut(trial, size, index).repeats
        part = blocks.get(index) or Outcome.failure("not evaluated", repeats)
        missing = repeats - part.evaluations
        if missing and index < last:
            part = merge([part, Outcome.failure("not evaluated", missing)])
        parts.append(part)
    return merge(parts)


def evaluate_block(problem: Problem, block: Block) -> Outcome:
    """Evaluate one block; whatever goes wrong is in the outcome, never raised."""
    try:
        return _checked(problem.evaluate(block.trial, block.rng()), block.trial.repeats)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the evaluation boundary: recorded
        return failed_block(block, error)


async def evaluate_block_async(problem: Problem, block: Block) -> Outcome:
    """Evaluate one block of a problem whose ``evaluate`` is a coroutine."""
    try:
        value: Awaitable[Any] = problem.evaluate(block.trial, block.rng())
        return _checked(await value, block.trial.repeats)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the evaluation boundary: recorded
        return failed_block(block, error)


def failed_block(block: Block, error: BaseException | str) -> Outcome:
    """The outcome of a block that gave nothing."""
    if isinstance(error, BaseException):
        error = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return Outcome.failure(error, block.trial.repeats)


def timed_out(block: Block, timeout: float | None) -> Outcome:
    """The outcome of a block that was given up."""
    return failed_block(block, f"timed out after {timeout:g} s" if timeout else "timed out")


def is_coroutine(problem: Problem) -> bool:
    """Whether the problem's ``evaluate`` is ``async def``."""
    return inspect.iscoroutinefunction(problem.evaluate)


class Portable:
    """A problem that travels to another process, also one made of lambdas and closures.

    Pickled with cloudpickle once; a process that receives it many times rebuilds it once.
    """

    def __init__(self, problem: Problem | None, payload: bytes | None = None) -> None:
        self._problem = problem
        self._payload = payload

    @property
    def problem(self) -> Problem:
        """The problem.

        Raises
        ------
        UsageError
            If it was sent here and cannot be rebuilt.
        """
        if self._problem is None:
            assert self._payload is not None
            self._problem = unpack(self._payload)
        return self._problem

    def payload(self) -> bytes:
        """The pickled problem.

        Raises
        ------
        UsageError
            If the problem holds something that cannot be pickled.
        """
        import cloudpickle

        if self._payload is None:
            problem = self.problem
            try:
                self._payload = cloudpickle.dumps(problem)
            except (TypeError, ValueError, AttributeError, PicklingError) as error:
                raise UsageError(
                    f"problem {problem.name!r} cannot be sent to another process ({error}); "
                    "use jobs=1, or executor=ThreadPoolExecutor(...)"
                ) from None
        return self._payload

    def __reduce__(self) -> tuple[type[Portable], tuple[None, bytes]]:
        return Portable, (None, self.payload())


@lru_cache(maxsize=8)
def unpack(payload: bytes) -> Problem:
    """The problem that was sent.

    Raises
    ------
    UsageError
        If it cannot be rebuilt here, such as for a module that is not found.
    """
    import cloudpickle

    try:
        problem: Problem = cloudpickle.loads(payload)
    except Exception as error:  # noqa: BLE001 - any module that it imports runs its code here
        raise UsageError(
            f"the problem cannot be rebuilt in another process ({type(error).__name__}: {error}); "
            "use jobs=1, or executor=ThreadPoolExecutor(...)"
        ) from None
    return problem


def _checked(value: Any, repeats: int) -> Outcome:
    if value is None:
        raise TypeError("evaluate returned None instead of a value")
    outcome = Outcome.coerce(value)
    if outcome.evaluations != repeats:
        raise ValueError(f"evaluate returned {outcome.evaluations} values for {repeats} repeats")
    return outcome

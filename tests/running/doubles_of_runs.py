"""Optimizers and problems that make every slip of the running layer visible."""

from __future__ import annotations

import asyncio
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from bbopt import Budget, Categorical, Float, Int, Optimizer, Outcome, Problem, Result, Space, Spec
from bbopt.settings import setting
from bbopt.trial import Trial

MIXED = Space({"x": Float(0, 1), "k": Int(1, 2**62), "c": Categorical([1, True, "a", None])})


class Crash(BaseException):
    """A kill, as far as one process can play its own."""


@dataclass(frozen=True)
class ChainedSettings:
    """How a chained optimizer asks."""

    max_repeats: int = setting(1, "repeats of a trial are drawn up to this", low=1)
    batch: int = setting(99, "most trials of one ask", low=1)
    generation: int = setting(0, "wait for all of so many before the next; 0: never", low=0)
    limit: int = setting(10**9, "most trials in all", low=0)


class Chained(Optimizer):
    """Each proposal depends on all that was told before it, and in which order."""

    Settings = ChainedSettings
    name = "chained"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.link = 0
        self.in_generation = 0
        self.told: list[tuple[int | None, float]] = []
        self.lefts: list[Budget] = []

    def _ask(self, n: int, left: Budget) -> list[Trial]:
        s = self.settings
        self.lefts.append(left)
        n = min(n, s.batch, s.limit - self.next_number)
        if s.generation:
            if self.in_generation == s.generation and self.pending:
                return []
            used = 0 if self.in_generation == s.generation else self.in_generation
            n = min(n, s.generation - used)
            self.in_generation = used + n
        return [self._propose(left) for _ in range(n)]

    def _propose(self, left: Budget) -> Trial:
        rng = self._stream(self.next_number)
        unit = rng.random((1, self.space.width))
        shift = self.link / 2**32 + 1e-3 * (left.evaluations or 0)
        params = self.space.from_unit((unit + shift) % 1.0)[0]
        return self._new_trial(params, 1 + int(rng.integers(self.settings.max_repeats)))

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        self.told.append((trial.number, outcome.mean))
        seen = (trial.number, sorted(trial.params.items()), outcome.values, outcome.count)
        self.link = crc32(repr(seen).encode(), self.link)


class CompactChained(Chained):
    """The same with a compact state, so that there are snapshots."""

    def _state(self) -> dict[str, Any]:
        return {"link": self.link, "in_generation": self.in_generation}

    def _restore(self, state: dict[str, Any]) -> None:
        self.link, self.in_generation = state["link"], state["in_generation"]


class Forgetful(Chained):
    """Proposes something else each time it is built: no replay can repeat it."""

    def _propose(self, left: Budget) -> Trial:
        x = random.SystemRandom().random()
        return self._new_trial(self.space.from_unit(np.full(self.space.width, x))[0])


class Noisy(Problem):
    """A noisy function of any numeric space; each evaluation can be written down.

    Parameters
    ----------
    space : Space
    block : int
        Repeats a call.
    notes : Path, optional
        A file to which each finished call appends trial number and values.
    pauses : mapping of int to float
        Trial number -> seconds to sleep.
    """

    name = "noisy"

    def __init__(
        self,
        space: Space = MIXED,
        *,
        block: int = 1,
        notes: Path | None = None,
        pauses: Mapping[int, float] | None = None,
        cost: float = 0.0,
        **spec: Any,
    ) -> None:
        self._spec = Spec(space=space, **spec)
        self.block, self.notes, self.cost = block, notes, cost
        self.pauses = dict(pauses or {})

    @property
    def spec(self) -> Spec:
        return self._spec

    def truth(self, params: dict[str, Any]) -> float:
        return float(np.sum((self.spec.space.to_unit(params) - 0.3) ** 2))

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
        assert trial.number is not None
        time.sleep(self.pauses.get(trial.number, 0.0))
        values = self.truth(trial.params) + 0.1 * rng.standard_normal(trial.repeats)
        self.note(trial, values)
        return Outcome(values, cost=self.cost * trial.repeats)

    def note(self, trial: Trial, values: np.ndarray) -> None:
        if self.notes is not None:
            line = f"{trial.number} {trial.repeats} {float(values[0])!r}\n"
            handle = os.open(self.notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.write(handle, line.encode())
            os.close(handle)


class AsyncNoisy(Noisy):
    """The same as a coroutine."""

    async def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:  # type: ignore[override]
        await asyncio.sleep(self.pauses.get(trial.number or 0, 0.0))
        return Outcome(self.truth(trial.params) + 0.1 * rng.standard_normal(trial.repeats))


class Shuffled(Executor):
    """Carries out what it is given in one thread, in an order that a seed shuffles.

    Parameters
    ----------
    n : int
        How many blocks it says it can take at once.
    seed : int
        Of the order.
    """

    def __init__(self, n: int, seed: int = 0) -> None:
        self.num_workers = n
        self._chance = random.Random(seed)
        self._tasks: list[tuple[Future[Any], Callable[[], Any]]] = []
        self._changed = threading.Condition()
        self._is_open = True
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with self._changed:
            self._tasks.append((future, partial(fn, *args, **kwargs)))
            self._changed.notify()
        return future

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._tasks or not self._is_open)
                if not self._is_open:
                    return
                if len(self._tasks) < self.num_workers and self._chance.random() < 0.5:
                    self._changed.wait(0.001)  # for more to choose from
                future, call = self._tasks.pop(self._chance.randrange(len(self._tasks)))
            if future.set_running_or_notify_cancel():
                future.set_result(call())

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._changed:
            self._is_open = False
            self._changed.notify()
        self._thread.join()


def trace(result: Result, folder: Path) -> str:
    """The trace of a run, as its CSV file has it."""
    path = folder / "trace.csv"
    result.to_csv(path)
    return path.read_text()

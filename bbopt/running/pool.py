"""Who carries out evaluations: this process, replaceable processes, an executor, a loop.

Each pool takes blocks and calls ``done`` once for each of them with its outcome, from whichever
thread learns of it first.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Protocol, TypeAlias

from bbopt.base import Problem
from bbopt.errors import UsageError
from bbopt.running.blocks import (
    Block,
    Portable,
    evaluate_block,
    evaluate_block_async,
    failed_block,
    is_coroutine,
    timed_out,
)
from bbopt.running.processes import WorkerProcess
from bbopt.trial import Outcome

Answer: TypeAlias = Outcome | UsageError
"""What came of a block, or why the problem cannot be evaluated in that pool at all."""

Done: TypeAlias = Callable[[Answer], None]


class Pool(Protocol):
    """Something that carries out blocks."""

    capacity: int
    """How many blocks it works on at once."""

    def submit(self, block: Block, done: Done) -> None:
        """Evaluate a block and call ``done`` once with what came of it."""

    def take_busy_seconds(self) -> float:
        """Seconds since the last call in which ``submit`` itself was evaluating."""

    def close(self, *, kill: bool) -> None:
        """Free what the pool holds; with ``kill``, without waiting for running blocks."""


class _Background:
    """Base of the pools that evaluate elsewhere."""

    def take_busy_seconds(self) -> float:
        """Zero: ``submit`` returns at once."""
        return 0.0


def make_pool(
    problem: Problem, *, jobs: int, executor: Executor | None, timeout: float | None
) -> Pool:
    """The pool that fits: the caller's executor, coroutines, threads, processes or none."""
    if executor is not None:
        return ExecutorPool(problem, executor, jobs if jobs > 1 else _n_workers(executor), timeout)
    if is_coroutine(problem):
        return AsyncPool(problem, jobs, timeout)
    if problem.needs_llm and (jobs > 1 or timeout is not None):
        # one process, so that one ledger and one set of limits holds for all calls
        threads = ThreadPoolExecutor(jobs, thread_name_prefix="bbopt-evaluate")
        return ExecutorPool(problem, threads, jobs, timeout, owned=True)
    if jobs == 1 and timeout is None:
        return SerialPool(problem)
    return ProcessPool(problem, jobs, timeout)


class SerialPool:
    """Evaluates in this process, one block at a time, while ``submit`` is called."""

    capacity = 1

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._busy = 0.0

    def submit(self, block: Block, done: Done) -> None:
        """Evaluate now."""
        start = time.monotonic()
        outcome = evaluate_block(self._problem, block)
        self._busy += time.monotonic() - start
        done(outcome)

    def take_busy_seconds(self) -> float:
        """Seconds since the last call in which it was evaluating."""
        busy, self._busy = self._busy, 0.0
        return busy

    def close(self, *, kill: bool) -> None:
        """Nothing is held."""


class ProcessPool(_Background):
    """Replaceable processes, each served by a thread that waits for it."""

    def __init__(self, problem: Problem, jobs: int, timeout: float | None) -> None:
        self.capacity = jobs
        payload = Portable(problem).payload()
        self._blocks: SimpleQueue[tuple[Block, Done] | None] = SimpleQueue()
        self._workers = [WorkerProcess(payload, timeout) for _ in range(jobs)]
        self._threads = [
            threading.Thread(target=self._serve, args=[worker], name="bbopt-worker", daemon=True)
            for worker in self._workers
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, block: Block, done: Done) -> None:
        """Queue a block; its time-out starts when a process takes it up."""
        self._blocks.put((block, done))

    def _serve(self, worker: WorkerProcess) -> None:
        while (task := self._blocks.get()) is not None:
            block, done = task
            done(worker.evaluate(block))
        worker.close()

    def close(self, *, kill: bool) -> None:
        """End the processes."""
        for worker in self._workers if kill else ():
            worker.kill()
        for _ in self._threads:
            self._blocks.put(None)
        for thread in self._threads:
            thread.join()


class ExecutorPool(_Background):
    """Any ``concurrent.futures.Executor``; a timed-out block's late result is dropped."""

    def __init__(
        self,
        problem: Problem,
        executor: Executor,
        jobs: int,
        timeout: float | None,
        *,
        owned: bool = False,
    ) -> None:
        self.capacity = jobs
        self._portable = Portable(problem)
        self._executor = executor
        self._timeout = timeout
        self._owned = owned

    def submit(self, block: Block, done: Done) -> None:
        """Hand a block to the executor; its time-out starts now."""
        once = _Once(done)
        future = self._executor.submit(_evaluate_portable, self._portable, block)

        def give_up() -> None:
            once(timed_out(block, self._timeout))
            future.cancel()  # if it still waits for its turn

        def finished(future: Future[Outcome]) -> None:
            if timer is not None:
                timer.cancel()
            once(_answer_of(future, block))

        timer = None
        if self._timeout is not None:
            timer = threading.Timer(self._timeout, give_up)
            timer.daemon = True
            timer.start()

        future.add_done_callback(finished)

    def close(self, *, kill: bool) -> None:
        """Shut the executor down if the pool made it."""
        if self._owned:
            self._executor.shutdown(wait=False, cancel_futures=True)


class AsyncPool(_Background):
    """Coroutines on one event loop in a thread, ``jobs`` at a time."""

    def __init__(self, problem: Problem, jobs: int, timeout: float | None) -> None:
        self.capacity = jobs
        self._problem = problem
        self._timeout = timeout
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="bbopt-evaluate", daemon=True
        )
        self._thread.start()

    def submit(self, block: Block, done: Done) -> None:
        """Start the coroutine."""
        future = asyncio.run_coroutine_threadsafe(self._evaluate(block), self._loop)
        future.add_done_callback(lambda f: done(_answer_of(f, block)))

    async def _evaluate(self, block: Block) -> Outcome:
        evaluation = evaluate_block_async(self._problem, block)
        try:
            return await asyncio.wait_for(evaluation, self._timeout)
        except TimeoutError:
            return timed_out(block, self._timeout)

    def close(self, *, kill: bool) -> None:
        """Cancel what still runs and stop the loop."""
        asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class _Once:
    """Passes on the first call only."""

    def __init__(self, done: Done) -> None:
        self._done: Done | None = done
        self._lock = threading.Lock()

    def __call__(self, answer: Answer) -> None:
        with self._lock:
            done, self._done = self._done, None
        if done is not None:
            done(answer)


def _answer_of(future: Future[Outcome], block: Block) -> Answer:
    """The block's outcome, or why there is none: a dead process, a lost result."""
    if future.cancelled():
        return failed_block(block, "cancelled")
    error = future.exception()
    if error is None:
        return future.result()
    return error if isinstance(error, UsageError) else failed_block(block, error)


def _n_workers(executor: Executor) -> int:
    """How many blocks a foreign executor can take, as far as it says so."""
    for name in ("num_workers", "_max_workers"):
        n = getattr(executor, name, None)
        if isinstance(n, int) and n > 0:
            return n
    return 1


async def _cancel_all() -> None:
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _evaluate_portable(portable: Portable, block: Block) -> Outcome:
    return evaluate_block(portable.problem, block)

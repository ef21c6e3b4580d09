"""Who carries out evaluations: this process, replaceable processes, an executor, a loop.

Each pool takes blocks and calls ``done(outcome)`` once for each of them, from whichever
thread learns of it first.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import context, popen_forkserver
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from bbopt.base import Problem
from bbopt.running.blocks import (
    Block,
    Portable,
    evaluate_block,
    evaluate_block_async,
    failed_block,
    is_coroutine,
    unpack,
)
from bbopt.trial import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

Done: TypeAlias = Callable[[Outcome], None]


class Pool(Protocol):
    """Something that carries out blocks."""

    capacity: int
    """How many blocks it works on at once."""

    def submit(self, block: Block, done: Done) -> None:
        """Evaluate a block and call ``done`` once with its outcome."""

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
    """Replaceable processes: a hung or dead one costs its block and is started anew."""

    def __init__(self, problem: Problem, jobs: int, timeout: float | None) -> None:
        import pebble

        self.capacity = jobs
        self._timeout = timeout
        self._pool: Any = pebble.ProcessPool(
            max_workers=jobs,
            initializer=_start_worker,
            initargs=(Portable(problem).payload(),),
            context=_ForkServer(),
        )

    def submit(self, block: Block, done: Done) -> None:
        """Queue a block; its time-out starts when a process takes it up."""
        future = self._pool.schedule(_evaluate_in_worker, args=(block,), timeout=self._timeout)
        future.add_done_callback(lambda f: done(_outcome_of(f, block, self._timeout)))

    def close(self, *, kill: bool) -> None:
        """End the processes."""
        if kill:
            self._pool.stop()
        else:
            self._pool.close()
        self._pool.join()


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
        timer = None
        if self._timeout is not None:
            timer = threading.Timer(self._timeout, once, [_timed_out(block, self._timeout)])
            timer.daemon = True
            timer.start()

        def finished(future: Future[Outcome]) -> None:
            if timer is not None:
                timer.cancel()
            once(_outcome_of(future, block, self._timeout))

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
        future.add_done_callback(lambda f: done(_outcome_of(f, block, self._timeout)))

    async def _evaluate(self, block: Block) -> Outcome:
        return await asyncio.wait_for(evaluate_block_async(self._problem, block), self._timeout)

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

    def __call__(self, outcome: Outcome) -> None:
        with self._lock:
            done, self._done = self._done, None
        if done is not None:
            done(outcome)


def _outcome_of(future: Future[Outcome], block: Block, timeout: float | None) -> Outcome:
    """The block's outcome, or why there is none: time-out, dead process, lost result."""
    if future.cancelled():
        return failed_block(block, "cancelled")
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, TimeoutError):
        return _timed_out(block, timeout)
    if type(error).__name__ == "ProcessExpired":
        return failed_block(block, f"the process died: exit code {getattr(error, 'exitcode', '?')}")
    return failed_block(block, error)


def _timed_out(block: Block, timeout: float | None) -> Outcome:
    return failed_block(block, f"timed out after {timeout:g} s")


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


# --- inside a worker process ----------------------------------------------------------

_payload = b""


def _start_worker(payload: bytes) -> None:
    global _payload
    _payload = payload


def _evaluate_in_worker(block: Block) -> Outcome:
    return _evaluate_portable(unpack(_payload), block)


# --- how worker processes start -------------------------------------------------------
# From a fork server: forking this process would copy its threads' locks and its OpenMP
# state. Without the main module: cloudpickle carries what is defined there by value, and a
# script needs no ``if __name__ == "__main__"`` guard.

_main_lock = threading.Lock()


@contextmanager
def _hidden_main() -> Iterator[None]:
    main = sys.modules["__main__"]
    with _main_lock:
        saved = {n: main.__dict__.pop(n) for n in ("__file__", "__spec__") if n in main.__dict__}
        main.__spec__ = None
        try:
            yield
        finally:
            del main.__spec__
            vars(main).update({str(name): value for name, value in saved.items()})


class _Process(context.ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: Any) -> Any:  # noqa: N802 - multiprocessing's name
        with _hidden_main():
            return popen_forkserver.Popen(process_obj)


class _ForkServer(context.ForkServerContext):
    Process = _Process

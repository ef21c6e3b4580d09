"""Worker processes that can be replaced: one that hangs or dies costs its block alone.

Each has its own pipe and shares no lock with the others, so that one that is killed at the
worst moment cannot hold up the rest. They start from a fork server (forking this process would
copy its threads' locks and its OpenMP state) and without the main module: cloudpickle carries
what is defined there by value, and a script needs no ``if __name__ == "__main__"`` guard.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from pickle import PicklingError
from types import ModuleType
from typing import Any

from bbopt.errors import UsageError
from bbopt.running.blocks import Block, evaluate_block, failed_block, timed_out, unpack
from bbopt.trial import Outcome

GRACE = 5.0
"""Seconds that a process gets to end by itself."""

_lock = threading.Lock()
"""Held while a process starts or is reaped: both look at all children of this process."""


class WorkerProcess:
    """One process that evaluates blocks, one at a time; started when it is first needed.

    Parameters
    ----------
    payload : bytes
        The pickled problem.
    timeout : float or None
        Seconds after which an evaluation is given up; starting up does not count.
    """

    def __init__(self, payload: bytes, timeout: float | None) -> None:
        self._payload = payload
        self._timeout = timeout
        self._process: multiprocessing.process.BaseProcess | None = None
        self._connection: Connection
        self._is_killed = False

    def evaluate(self, block: Block) -> Outcome | UsageError:
        """The block's outcome; an error if the problem cannot be rebuilt in a process."""
        try:
            if self._process is None:
                self._start()
                error: UsageError | None = self._receive(None)
                if error is not None:
                    self.close()
                    return error
            self._connection.send(block)
            answer: Outcome = self._receive(self._timeout)
        except TimeoutError:
            self.close(kill=True)
            return timed_out(block, self._timeout)
        except (EOFError, OSError):
            return failed_block(block, f"the process died: exit code {self.close()}")
        return answer

    def kill(self) -> None:
        """End the process whatever it does; from another thread than ``evaluate``'s."""
        with _lock:
            self._is_killed = True
            if self._process is not None:
                self._process.kill()

    def close(self, *, kill: bool = False) -> int | None:
        """Let the process end, which it does when nothing more can come; its exit code."""
        if self._process is None:
            return None
        self._connection.close()
        with _lock:
            if not kill:
                self._process.join(GRACE)
            self._process.kill()
            self._process.join()
            code = self._process.exitcode
            self._process = None
        return code

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        self._connection, theirs = context.Pipe()
        with _lock, theirs:
            if self._is_killed:
                raise EOFError
            process = context.Process(target=_serve, args=(theirs, self._payload))
            with _hidden_main():
                process.start()
            self._process = process

    def _receive(self, timeout: float | None) -> Any:
        assert self._process is not None
        ready = wait([self._connection, self._process.sentinel], timeout)
        if not ready:
            raise TimeoutError
        if self._connection not in ready:  # dead, though a child of it may hold the pipe open
            raise EOFError
        return self._connection.recv()


@contextmanager
def _hidden_main() -> Iterator[None]:
    """No main module for as long as a process starts, which would import it otherwise."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _serve(connection: Connection, payload: bytes) -> None:
    """Inside the process: evaluate what comes until nothing more can come."""
    # Ctrl-C is the parent's business (a handler, since programs started here inherit SIG_IGN)
    signal.signal(signal.SIGINT, lambda *_: None)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        problem = unpack(payload)
    except UsageError as error:
        connection.send(error)
        return
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):  # the parent is gone
        connection.send(None)
        while True:
            block: Block = connection.recv()
            outcome = evaluate_block(problem, block)
            try:
                connection.send(outcome)
            except (PicklingError, TypeError, AttributeError, ValueError) as error:
                connection.send(failed_block(block, error))


def _end_with_parent() -> None:
    """A run that is killed must not leave its evaluations behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)

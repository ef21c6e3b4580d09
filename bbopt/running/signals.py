"""Ctrl-C that finishes cleanly."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

logger = logging.getLogger("bbopt")


@contextmanager
def interruptible(interrupt: Callable[[], None]) -> Iterator[None]:
    """The first Ctrl-C calls ``interrupt``, the second raises KeyboardInterrupt.

    Does nothing outside the main thread, where Python delivers no signals. SIGTERM is left
    alone: Python drops a signal that reaches a fresh fork, so that the processes of an
    evaluation could not be ended; and the log survives any end.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted, process = False, os.getpid()

    def stop(number: int, frame: Any) -> None:
        nonlocal interrupted
        if os.getpid() != process:  # a child that an evaluation forked: let it finish too
            return
        if interrupted:
            raise KeyboardInterrupt
        interrupted = True
        logger.warning("finishing the running evaluations; once more drops them")
        interrupt()

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

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
    """The first Ctrl-C (or SIGTERM) calls ``interrupt``, the second raises KeyboardInterrupt.

    Does nothing outside the main thread, where Python delivers no signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted = False

    process = os.getpid()

    def stop(number: int, frame: Any) -> None:
        nonlocal interrupted
        if os.getpid() != process:  # a child that an evaluation forked, asked to end
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        if interrupted:
            raise KeyboardInterrupt
        interrupted = True
        logger.warning("finishing the running evaluations; once more drops them")
        interrupt()

    before = {which: signal.signal(which, stop) for which in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)

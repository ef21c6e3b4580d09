"""Several requests at once, in threads that nobody has to wait for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def together(
    function: Callable[[Item], Result], items: Sequence[Item], n_threads: int
) -> list[Result]:
    """``[function(item) for item in items]``, up to ``n_threads`` at once.

    Where it is interrupted or a call raises, nothing more is started, and what runs is left to
    itself: a server may owe its reply for minutes, and the process can end meanwhile.
    """
    waiting: SimpleQueue[tuple[int, Item]] = SimpleQueue()
    arrived: SimpleQueue[tuple[int, Any, BaseException | None]] = SimpleQueue()
    for place in enumerate(items):
        waiting.put(place)

    def work() -> None:
        with suppress(Empty):
            while True:
                i, item = waiting.get_nowait()
                try:
                    arrived.put((i, function(item), None))
                except BaseException as error:  # noqa: BLE001 - raised again in the caller
                    _drop(waiting)
                    arrived.put((i, None, error))

    for _ in range(min(n_threads, len(items))):
        threading.Thread(target=work, name="bbopt-llm", daemon=True).start()
    results: dict[int, Result] = {}
    try:
        while len(results) < len(items):
            i, result, error = arrived.get()
            if error is not None:
                raise error
            results[i] = result
    finally:
        _drop(waiting)
    return [results[i] for i in range(len(items))]


def _drop(waiting: SimpleQueue[Any]) -> None:
    with suppress(Empty):
        while True:
            waiting.get_nowait()

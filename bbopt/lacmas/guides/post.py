"""Requests under way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any


class Post:
    """Requests under way, each in a thread that nobody has to wait for."""

    def __init__(self, ask: Callable[[str, Mapping[str, Any]], Any]) -> None:
        self._ask = ask
        self._boxes: dict[str, SimpleQueue[tuple[Any, BaseException | None]]] = {}

    def send(self, prompt: str, schema: Mapping[str, Any]) -> None:
        """Ask, unless the same is being asked."""
        if prompt in self._boxes:
            return
        box = self._boxes[prompt] = SimpleQueue()

        def work() -> None:
            try:
                box.put((self._ask(prompt, schema), None))
            except BaseException as error:  # noqa: BLE001 - raised again where it is collected
                box.put((None, error))

        threading.Thread(target=work, name="bbopt-guide", daemon=True).start()

    def collect(self, prompt: str) -> Any:
        """Wait for the reply to what was sent."""
        reply, error = self._boxes.pop(prompt).get()
        if error is not None:
            raise error
        return reply

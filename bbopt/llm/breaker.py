"""The circuit breaker: a server that is down is left alone, and looked at now and then."""

from __future__ import annotations

import logging
import threading
import time

from bbopt.llm.exchange import KEY_REFUSED

logger = logging.getLogger("bbopt.llm")


class Breaker:
    """Counts failures in a row; open, it lets no request through but one probe at a time.

    Parameters
    ----------
    name : str
        What it guards, for messages.
    failures : int
        So many failures in a row open it, >= 1.
    cool_down : float
        Seconds after a failure until the next probe, > 0.
    """

    def __init__(self, name: str, failures: int, cool_down: float) -> None:
        self._name = name
        self._failures = failures
        self._cool_down = cool_down
        self._in_a_row = 0
        self._last_error = ""
        self._next_probe = 0.0
        self._is_probing = False
        self._changed = threading.Condition()

    @property
    def is_open(self) -> bool:
        """Whether the server counts as down."""
        return self._in_a_row >= self._failures

    def admit(self, until: float) -> str | None:
        """Let a request through, or say why not.

        Waits, while the breaker is open, for a closed one or for the turn to probe, no longer
        than ``until`` (on the clock ``time.monotonic``). Each admission is followed by one
        :meth:`report` or :meth:`withdraw`.
        """
        with self._changed:
            while self.is_open:
                now = time.monotonic()
                if now >= self._next_probe and not self._is_probing:
                    self._is_probing = True
                    return None
                if now >= until:
                    return (
                        f"{self._name} is unavailable: {self._in_a_row} requests in a row "
                        f"failed, the last with: {self._last_error}"
                    )
                turn = until if self._is_probing else min(until, self._next_probe)
                self._changed.wait(turn - now)
        return None

    def withdraw(self) -> None:
        """Say that an admitted request was not made after all."""
        with self._changed:
            self._is_probing = False
            self._changed.notify_all()

    def report(self, error: str | None) -> None:
        """Say how an admitted request ended; None where it succeeded."""
        with self._changed:
            was_open = self.is_open
            self._is_probing = False
            if error is None:
                self._in_a_row = 0
            else:
                self._in_a_row += 1
                self._last_error = error
                self._next_probe = time.monotonic() + self._cool_down
            if self.is_open != was_open:
                logger.warning("%s%s", self._name, _news(error))
            self._changed.notify_all()


def _news(error: str | None) -> str:
    """What has become of a server whose breaker opened, by this error, or closed."""
    if error is None:
        return " is back"
    return f": {error}" if error.startswith(KEY_REFUSED) else f" is down: {error}"

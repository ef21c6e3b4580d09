"""One server: whose turn it is, whether it is down, and what its replies are worth."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import replace

from bbopt.llm.breaker import Breaker
from bbopt.llm.exchange import INTERRUPTED, NO_ROOM, Answer, Backend, Reply, Request
from bbopt.llm.ledger import Charge, Ledger, Reservation
from bbopt.llm.parse import read_json
from bbopt.trial import NO_USAGE, Usage

logger = logging.getLogger("bbopt.llm")

MOST_QUOTED = 4000
"""Characters of a reply that a request to repair it shows."""


class Line:
    """The way to one server, whichever roles it has.

    Parameters
    ----------
    backend : Backend
        The server.
    ledger : Ledger
        What the calls are booked in.
    failures, cool_down, wait
        As :class:`~bbopt.llm.Client` has them.
    """

    def __init__(
        self, backend: Backend, ledger: Ledger, *, failures: int, cool_down: float, wait: float
    ) -> None:
        self._backend, self._ledger, self._wait = backend, ledger, wait
        self.max_concurrent = backend.max_concurrent
        self._turn = threading.BoundedSemaphore(backend.max_concurrent)
        self._breaker = Breaker(str(backend), failures, cool_down)
        self.silent: frozenset[str] = frozenset()
        """The roles for which nothing more is sent."""

    @property
    def is_down(self) -> bool:
        """Whether its server counts as down."""
        return self._breaker.is_open

    def answer(self, request: Request) -> Reply:
        """Ask; once more, to mend it, where the reply does not meet the schema."""
        return self._attempt(request, may_mend=True)

    def _attempt(self, request: Request, *, may_mend: bool) -> Reply:
        """One call, read and checked; and one more to mend what it said."""
        answer, usage, latency = self._call(request)
        reply = Reply(answer.text, None, usage, answer.error, latency)
        if answer.error is not None or request.schema is None:
            return reply
        try:
            return replace(reply, data=read_json(answer.text, request.schema))
        except ValueError as error:
            reply = replace(reply, error=f"the reply does not meet the schema: {error}")
        if not may_mend:
            return reply
        mended = self._attempt(_repair(request, reply), may_mend=False)
        if mended.usage.llm_calls == 0:  # it was not sent
            return replace(reply, error=f"{reply.error}; not repaired: {mended.error}")
        return replace(
            mended, usage=reply.usage + mended.usage, latency=reply.latency + mended.latency
        )

    def _call(self, request: Request) -> tuple[Answer, Usage, float]:
        """Send a request when its turn has come; again while its server is waited for."""
        until, usage, latency = time.monotonic() + self._wait, NO_USAGE, 0.0
        with self._turn:
            while True:
                problem = self._breaker.admit(until)
                if problem is not None:
                    return Answer(error=problem), usage, latency
                if request.role in self.silent:
                    self._breaker.withdraw()
                    return Answer(error=INTERRUPTED), usage, latency
                reservation = self._ledger.reserve(request)
                if isinstance(reservation, str):
                    self._breaker.withdraw()
                    return Answer(error=NO_ROOM + reservation), usage, latency
                answer, charge, seconds = self._send(request, reservation)
                usage, latency = usage + charge.usage, latency + seconds
                is_down = self._breaker.is_open or answer.attempts == 0  # or soon counts as down
                if answer.error is None or not is_down or time.monotonic() >= until:
                    return answer, usage, latency

    def _send(self, request: Request, reservation: Reservation) -> tuple[Answer, Charge, float]:
        """Send an admitted request, and book it whatever happens."""
        start = time.monotonic()
        answer = Answer(error="interrupted")
        try:
            answer = self._backend.send(request)
        finally:
            seconds = time.monotonic() - start
            self._breaker.report(None if answer.is_cut else answer.error)
            charge = self._ledger.settle(reservation, answer.attempts, answer.tokens)
            logger.info(
                "%s request %d: %.1f s, %d tokens%s",
                *(request.role, request.draw, seconds, charge.tokens),
                f": {answer.error}" if answer.error else "",
            )
        return answer, charge, seconds


def _repair(request: Request, reply: Reply) -> Request:
    """The request to say it again, properly."""
    again = f"{reply.error}. Reply again with that mended, and with JSON only."
    return replace(
        request,
        messages=[
            *request.messages,
            {"role": "assistant", "content": reply.text[:MOST_QUOTED]},
            {"role": "user", "content": again},
        ],
    )

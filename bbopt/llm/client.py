"""The client: one door to every language model of a run, with budgets, a memory and patience."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bbopt import checks
from bbopt.errors import UsageError
from bbopt.llm.breaker import Breaker
from bbopt.llm.cache import Cache
from bbopt.llm.exchange import ROLES, Answer, Backend, Reply, Request
from bbopt.llm.ledger import Charge, Ledger, Reservation
from bbopt.llm.parse import read_json
from bbopt.trial import NO_USAGE, Usage

MOST_QUOTED = 4000
"""Characters of a reply that a request to repair it shows."""


class Recording:
    """Answers from a recorded file, and fails on what is not in it.

    The ledger books what the recorded replies had used, so that a replayed run ends where the
    recorded one did.

    Parameters
    ----------
    path : path
        A file that :meth:`Client.record` wrote.

    Raises
    ------
    StorageError
        If there is no such file, or it is no recording.
    """

    def __init__(self, path: str | Path) -> None:
        self._cache = Cache(path, read_only=True)

    def __str__(self) -> str:
        return f"the recording {self._cache.path}"

    def find(self, request: Request) -> Reply | None:
        """The recorded reply, a failure included."""
        return self._cache.find(request, failures=True)

    def close(self) -> None:
        """Close the file."""
        self._cache.close()


class Client:
    """Sends requests to language models within a budget; safe to use from several threads.

    Parameters
    ----------
    backend : Backend or Recording or None
        What answers the roles that ``roles`` does not name; nothing where None.
    roles : mapping of str to Backend or Recording or None
        Other models for some of the roles proposer, summarizer, guide and judge.
    failures : int
        After so many failures in a row a server counts as down, and requests to it fail
        without being sent.
    cool_down : float
        Seconds until a server that is down is tried again, by one request.
    wait : float
        Seconds for which a request waits for a server that is down, so that the run pauses.

    Raises
    ------
    UsageError
        If an argument is not as said here.

    Examples
    --------
    >>> from bbopt.testing import ScriptedLLM
    >>> with ScriptedLLM(['{"x": 3}']) as client:  # a Client whose model is a list of replies
    ...     client.ledger.limit({"llm_calls": 10})
    ...     messages = [{"role": "user", "content": "A JSON object with a number x."}]
    ...     client.complete(messages, role="proposer", draw=0, schema={"type": "object"}).data
    {'x': 3}
    """

    def __init__(
        self,
        backend: Backend | Recording | None,
        *,
        roles: Mapping[str, Backend | Recording | None] | None = None,
        failures: int = 5,
        cool_down: float = 30.0,
        wait: float = 0.0,
    ) -> None:
        failures = checks.integer("failures", failures, 1)
        cool_down = checks.number("cool_down", cool_down, 0)
        self._wait = checks.number("wait", wait, 0)
        given = {checks.one_of("roles: a role", r, ROLES): b for r, b in (roles or {}).items()}
        sources = {role: given.get(role, backend) for role in ROLES}
        self._sources = {role: source for role, source in sources.items() if source is not None}
        self._lines: dict[str, _Line] = {}
        lines: dict[int, _Line] = {}  # one for each server, whichever roles it has
        for role, source in self._sources.items():
            if not isinstance(source, Recording):
                line = lines.setdefault(id(source), _Line(source, failures, cool_down))
                self._lines[role] = line
        self.ledger = Ledger({role: line.backend.price for role, line in self._lines.items()})
        """What each role has spent, and the limits."""
        self._cache: Cache | None = None
        self._replaying = 0
        self._lock = threading.Lock()

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles that something answers."""
        return tuple(self._sources)

    @property
    def max_concurrent(self) -> int:
        """How many requests it sends at once to any one server; more wait for their turn."""
        return max((line.backend.max_concurrent for line in self._lines.values()), default=1)

    @property
    def is_available(self) -> bool:
        """Whether no server counts as down."""
        return not any(line.breaker.is_open for line in self._lines.values())

    @property
    def replaying(self) -> bool:
        """Whether only what is recorded is answered."""
        return self._replaying > 0

    def describe(self) -> dict[str, str]:
        """What answers each role, in words."""
        return {role: str(source) for role, source in self._sources.items()}

    def complete(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        role: str,
        draw: int,
        seed: int = 0,
        schema: Mapping[str, Any] | None = None,
        max_tokens: int = 2048,
        temperature: float = 1.0,
    ) -> Reply:
        """Ask the model of a role.

        Whatever a model or a server does is a reply: one that cannot be used has ``error`` set.
        With a schema, a reply that does not meet it is asked for once more, as a call of its
        own, where the budget has one.

        Parameters
        ----------
        messages : sequence of mapping
            ``{"role": "system" | "user" | "assistant", "content": str}``.
        role : {"proposer", "summarizer", "guide", "judge"}
            Whom the request is booked to.
        draw : int
            The number of the request within the role, chosen by the caller; with ``seed`` it
            tells apart requests of equal words, and seeds the server.
        seed : int
            The run's seed, >= 0.
        schema : mapping, optional
            JSON schema of the reply; then ``reply.data`` is the value.
        max_tokens : int
            How long the reply may be.
        temperature : float
            In [0, 2].

        Raises
        ------
        UsageError
            If an argument is not as said here.
        StorageError
            If the recording cannot be written.
        """
        request = Request(messages, role, draw, seed, schema, max_tokens, temperature)
        source, line = self._sources.get(request.role), self._lines.get(request.role)
        cache, replaying = self._cache, self.replaying
        if cache is not None:
            model = line.backend.model if line is not None and not replaying else None
            recorded = cache.find(request, model=model, failures=replaying)
            if recorded is not None:
                return recorded
        if replaying and not isinstance(source, Recording):
            return Reply(error="this request is not recorded, and only a recording may answer")
        reply = self._answer(request, source, line)
        if cache is not None:
            cache.keep(request, reply, line.backend.model if line is not None else "")
        return reply

    def record(self, path: str | Path) -> None:
        """Record every reply into a file, and answer from it what is in it already.

        The ledger goes on from what the file says was spent. A recorded failure is answered
        only under :meth:`replay_only`; otherwise its request is made again.

        Raises
        ------
        UsageError
            If this client records already.
        StorageError
            If the file cannot be used.
        """
        if self._cache is not None:
            raise UsageError(f"this client records into {self._cache.path} already")
        cache = Cache(path)
        self.ledger.keep_in(cache)
        self._cache = cache

    @contextmanager
    def replay_only(self) -> Iterator[None]:
        """Answer from the recording alone meanwhile: nothing is sent, in no thread."""
        with self._lock:
            self._replaying += 1
        try:
            yield
        finally:
            with self._lock:
                self._replaying -= 1

    def close(self) -> None:
        """Close connections and files."""
        for source in {id(source): source for source in self._sources.values()}.values():
            source.close()
        if self._cache is not None:
            self._cache.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.close()

    # --- inside ------------------------------------------------------------------------

    def _answer(
        self, request: Request, source: Backend | Recording | None, line: _Line | None
    ) -> Reply:
        if source is None:
            return Reply(error=f"there is no language model for the role {request.role!r}")
        if isinstance(source, Recording):
            recorded = source.find(request)
            if recorded is None:
                return Reply(error=f"{source} does not have this request")
            self.ledger.book(request.role, recorded.usage)
            return recorded
        assert line is not None  # every other source has one
        return self._attempt(request, line, may_mend=True)

    def _attempt(self, request: Request, line: _Line, *, may_mend: bool) -> Reply:
        """One call, read and checked; and one more to mend what it said."""
        answer, usage, latency = self._call(request, line)
        reply = Reply(answer.text, None, usage, answer.error, latency)
        if answer.error is not None or request.schema is None:
            return reply
        try:
            return replace(reply, data=read_json(answer.text, request.schema))
        except ValueError as error:
            reply = replace(reply, error=f"the reply does not meet the schema: {error}")
        if not may_mend:
            return reply
        mended = self._attempt(_repair(request, reply), line, may_mend=False)
        if mended.usage.llm_calls == 0:  # it was not sent
            return replace(reply, error=f"{reply.error}; not repaired: {mended.error}")
        return replace(
            mended, usage=reply.usage + mended.usage, latency=reply.latency + mended.latency
        )

    def _call(self, request: Request, line: _Line) -> tuple[Answer, Usage, float]:
        """Send a request when its turn has come; again while its server is waited for."""
        until, usage, latency = time.monotonic() + self._wait, NO_USAGE, 0.0
        with line.turn:
            while True:
                problem = line.breaker.admit(until)
                if problem is not None:
                    return Answer(error=problem), usage, latency
                reservation = self.ledger.reserve(request)
                if isinstance(reservation, str):
                    line.breaker.withdraw()
                    problem = f"the budget has no room for the request: {reservation}"
                    return Answer(error=problem), usage, latency
                answer, charge, seconds = self._send(request, line, reservation)
                usage, latency = usage + charge.usage, latency + seconds
                if answer.error is None or not line.breaker.is_open or time.monotonic() >= until:
                    return answer, usage, latency

    def _send(
        self, request: Request, line: _Line, reservation: Reservation
    ) -> tuple[Answer, Charge, float]:
        """Send an admitted request, and book it whatever happens."""
        start = time.monotonic()
        answer = Answer(error="interrupted")
        try:
            answer = line.backend.send(request)
        finally:
            seconds = time.monotonic() - start
            line.breaker.report(None if answer.is_cut else answer.error)
            charge = self.ledger.settle(reservation, answer.attempts, answer.tokens)
        return answer, charge, seconds


class _Line:
    """One server: whose turn it is, and whether it is down."""

    def __init__(self, backend: Backend, failures: int, cool_down: float) -> None:
        self.backend = backend
        self.turn = threading.BoundedSemaphore(backend.max_concurrent)
        self.breaker = Breaker(str(backend), failures, cool_down)


def _repair(request: Request, reply: Reply) -> Request:
    """The request to say it again, properly."""
    again = f"{reply.error}. Reply again with that mended, and with JSON only."
    return replace(
        request,
        messages=[
            *request.messages,
            {"role": "assistant", "content": reply.text[:MOST_QUOTED]},
            {
                "role": "user",
                "content": again,
            },
        ],
    )

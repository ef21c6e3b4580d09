"""The client: one door to every language model of a run, with budgets, a memory and patience."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bbopt import checks
from bbopt.errors import UsageError
from bbopt.llm.cache import Cache
from bbopt.llm.exchange import ROLES, Backend, Reply, Request
from bbopt.llm.ledger import Ledger
from bbopt.llm.line import Line
from bbopt.llm.recording import Recording


class Client:
    """Sends requests to language models within a budget; safe to use from several threads.

    Parameters
    ----------
    backend : Backend or Recording or None
        What answers the roles that ``roles`` does not name: a :class:`Server`, the
        :class:`Embedded` model, a :class:`Recording`, or any :class:`Backend`; nothing where
        None.
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
        cool_down, wait = checks.number("cool_down", cool_down, 0), checks.number("wait", wait, 0)
        given = {checks.one_of("roles: a role", r, ROLES): b for r, b in (roles or {}).items()}
        sources = {role: given.get(role, backend) for role in ROLES}
        self._sources = {role: source for role, source in sources.items() if source is not None}
        servers = {r: s for r, s in self._sources.items() if not isinstance(s, Recording)}
        self.ledger = Ledger({role: server.price for role, server in servers.items()})
        """What each role has spent, and the limits."""
        lines = {
            server: Line(server, self.ledger, failures=failures, cool_down=cool_down, wait=wait)
            for server in set(servers.values())  # one for each, whichever roles it has
        }
        self._lines = {role: lines[server] for role, server in servers.items()}
        self.full: str | None = None
        """The axis of the budget that had no room for the request answered last, if any."""
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
        return max((line.max_concurrent for line in self._lines.values()), default=1)

    @property
    def is_available(self) -> bool:
        """Whether no server counts as down."""
        return not any(line.is_down for line in self._lines.values())

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
        reply = self._reply_to(request)
        self.full = reply.full
        return reply

    def record(self, path: str | Path, *, run: str = "") -> None:
        """Record every reply into a file, and answer from it what is in it already.

        The ledger goes on from what the file says that ``run`` had spent: runs that have names
        can share a file. A recorded failure is answered only under :meth:`replay_only`;
        otherwise its request is made again.

        Raises
        ------
        UsageError
            If this client records already.
        StorageError
            If the file cannot be used.
        """
        if self._cache is not None:
            raise UsageError(f"this client records into {self._cache.path} already")
        cache = Cache(path, run=run)
        self.ledger.keep_in(cache)
        self._cache = cache

    def hang_up(self, roles: Collection[str]) -> None:
        """Send nothing more for these roles, until this is called with others, or with none."""
        for line in self._lines.values():
            line.silent = frozenset(roles)

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
        """Close connections and files; what waits for its turn is not sent any more."""
        self.hang_up(ROLES)
        for source in set(self._sources.values()):
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

    def _reply_to(self, request: Request) -> Reply:
        """What is recorded of a request, else what comes of it now, which is then recorded."""
        source, cache, replaying = self._sources.get(request.role), self._cache, self.replaying
        model = "" if source is None or isinstance(source, Recording) else source.model
        if cache is not None:
            wanted = None if replaying or not model else model
            recorded = cache.find(request, model=wanted, failures=replaying)
            if recorded is not None:
                return recorded
        if isinstance(source, Recording):
            reply = source.answer(request)
            self.ledger.book(request.role, reply.usage)
        elif replaying:
            return Reply(error="this request is not recorded, and only a recording may answer")
        elif source is None:
            reply = Reply(error=f"there is no language model for the role {request.role!r}")
        else:
            reply = self._lines[request.role].answer(request)
        if cache is not None:
            cache.keep(request, reply, model)
        return reply

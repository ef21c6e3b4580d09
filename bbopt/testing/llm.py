"""Language models for tests: a script in this process, and a server that misbehaves on purpose."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, TypeAlias

from bbopt.errors import UsageError
from bbopt.llm import FREE, Answer, Client, Price, Request

Line: TypeAlias = Any
"""What a script says: a text, an Answer, an exception, or a JSON value to be written out."""

BEHAVIOURS = (
    *("good", "400", "401", "404", "429", "500", "hang", "close", "truncated"),
    *("malformed", "empty", "huge", "wrong", "no-usage", "cut"),
)


class ScriptedLLM(Client):
    """A client whose model reads from a script; ledger, parsing, breaker and recording are real.

    Parameters
    ----------
    replies : sequence or callable
        What it answers, in the order of arrival; or a function of the
        :class:`~bbopt.llm.Request`, for requests from several threads. An answer is a text, a
        JSON value to be written as text, an :class:`~bbopt.llm.Answer`, or an exception, which
        stands for a failure of the server. A script that has ended fails.
    price : Price, optional
        Unknown where None.
    **options
        Of :class:`~bbopt.llm.Client`.

    Examples
    --------
    >>> llm = ScriptedLLM(["better", TimeoutError("slow")])
    >>> ask = [{"role": "user", "content": "Improve."}]
    >>> [llm.complete(ask, role="proposer", draw=i).error for i in range(2)]
    [None, 'slow']
    """

    def __init__(
        self,
        replies: Sequence[Line] | Callable[[Request], Line],
        *,
        price: Price | None = FREE,
        max_concurrent: int = 8,
        **options: Any,
    ) -> None:
        self.script = Script(replies, price, max_concurrent)
        super().__init__(self.script, **options)

    @property
    def requests(self) -> list[Request]:
        """What it was sent, in the order of arrival."""
        return self.script.requests


class Script:
    """The backend of :class:`ScriptedLLM`, for a role of a client; a token is four characters."""

    model = "script"

    def __init__(
        self,
        replies: Sequence[Line] | Callable[[Request], Line],
        price: Price | None,
        max_concurrent: int,
    ) -> None:
        self.price, self.max_concurrent = price, max_concurrent
        self.requests: list[Request] = []
        self._replies = replies
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return "a script"

    def send(self, request: Request) -> Answer:
        """The next line of the script."""
        with self._lock:
            n = len(self.requests)
            self.requests.append(request)
        if callable(self._replies):
            line = self._replies(request)
        else:
            ended = EOFError("the script has ended")
            line = self._replies[n] if n < len(self._replies) else ended
        if isinstance(line, Answer):
            return line
        if isinstance(line, Exception):
            return Answer(error=str(line), tokens=(0, 0))
        text = line if isinstance(line, str) else json.dumps(line)
        prompt = sum(len(message["content"]) for message in request.messages)
        tokens = (prompt // 4 + 1, min(len(text) // 4 + 1, request.max_tokens))
        return Answer(text, None if text.strip() else "the reply is empty", tokens)

    def close(self) -> None:
        """There is nothing to close."""


class HostileServer:
    """An OpenAI-compatible HTTP server on this machine whose behaviour is scripted.

    Parameters
    ----------
    script : sequence of str, or callable
        What it does with each request to ``/v1/chat/completions``, in the order of arrival;
        "good" once the script has ended. Or a function of the request's number and its JSON
        body. Behaviours are ``"good"``; the statuses ``"400"`` (refuses ``response_format``
        where it is asked for it, else the request), ``"401"``, ``"404"``, ``"429"``, ``"500"``;
        ``"hang"`` (never answers), ``"close"`` (hangs up), ``"truncated"`` (stops within the
        body), ``"malformed"`` (no JSON), ``"empty"``, ``"huge"`` (1 MB), ``"wrong"`` (JSON that
        meets no schema, with an infinite number), ``"no-usage"``, ``"cut"`` (at max_tokens).
        Any other text is the content of a good reply.
    reply : str
        The content of a good reply.

    Attributes
    ----------
    url : str
        For ``OPENAI_BASE_URL``.
    served : Counter
        How often each behaviour was shown.
    bodies : list of dict
        The JSON bodies received, in the order of arrival.
    headers : list of dict
        Their headers, names in lower case.
    tokens : int
        Prompt and completion tokens of all replies that it would bill, those that were lost on
        the way included.

    Examples
    --------
    >>> with HostileServer(["500", "good"]) as server:
    ...     server.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(
        self, script: Sequence[str] | Callable[[int, Any], str] = (), *, reply: str = "fine"
    ) -> None:
        self.script, self.reply = script, reply
        self.served: Counter[str] = Counter()
        self.bodies: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.tokens = 0
        self._lock = threading.Lock()
        self._port = 0
        self._http: ThreadingHTTPServer | None = None
        self._released = threading.Event()
        self.revive()

    @property
    def url(self) -> str:
        """Where it listens, or did before it died."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def requests(self) -> int:
        """How many requests it received."""
        return len(self.bodies)

    def revive(self) -> None:
        """Listen, at the same address as before."""
        if self._http is not None:
            raise UsageError("the server is alive")
        self._released = threading.Event()
        self._http = _Listener(("127.0.0.1", self._port), _Handler)
        self._http.owner = self
        self._port = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def die(self) -> None:
        """Stop listening; connections are refused from now on."""
        http, self._http = self._http, None
        if http is not None:
            self._released.set()
            http.shutdown()
            self._thread.join()
            http.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.die()

    def _behave(self, body: Any, headers: dict[str, str]) -> str:
        """Take a request down; what to do with it."""
        with self._lock:
            n = len(self.bodies)
            self.bodies.append(body)
            self.headers.append(headers)
            if callable(self.script):
                behaviour = self.script(n, body)
            else:
                behaviour = self.script[n] if n < len(self.script) else "good"
            self.served[behaviour] += 1
        return behaviour

    def _bill(self, body: Any, content: str) -> dict[str, int]:
        limit = body.get("max_tokens") or body.get("max_completion_tokens") or 16
        prompt = sum(len(message["content"]) for message in body["messages"]) // 4 + 1
        completion = min(len(content) // 4 + 1, limit)
        with self._lock:
            self.tokens += prompt + completion
        return {"prompt_tokens": prompt, "completion_tokens": completion}


class _Listener(ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for them
    request_queue_size = 128  # many may knock at once
    owner: HostileServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up are part of the play."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"  # one request a connection, which is closed after it
    server: _Listener

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        owner = self.server.owner
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): value for name, value in self.headers.items()}
        behaviour = owner._behave(body, headers)
        if behaviour == "hang":
            owner._released.wait(60)
        elif behaviour == "400" and "response_format" in body:
            self._reply(400, _error("response_format is not supported here"))
        elif behaviour in ("400", "401", "404", "429", "500"):
            self._reply(int(behaviour), _error(f"this is a {behaviour}"))
        elif behaviour == "malformed":
            owner._bill(body, "")
            self._reply(200, '{"choices": [{"message": {"content": "fi')
        elif behaviour != "close":
            self._complete(body, behaviour)

    def _complete(self, body: Any, behaviour: str) -> None:
        owner = self.server.owner
        content = {
            "good": owner.reply,
            "truncated": owner.reply,
            "no-usage": owner.reply,
            "cut": owner.reply,
            "empty": "",
            "huge": "x" * 2**20,
            "wrong": '{"unexpected": [1e999]}',
        }.get(behaviour, behaviour)
        reason = "length" if behaviour == "cut" else "stop"
        message = {"role": "assistant", "content": content}
        data: dict[str, Any] = {
            "id": "1",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "finish_reason": reason, "message": message}],
            "usage": owner._bill(body, content),
        }
        if behaviour == "no-usage":
            del data["usage"]
        self._reply(200, json.dumps(data), cut=behaviour == "truncated")

    def _reply(self, status: int, text: str, *, cut: bool = False) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("retry-after-ms", "1")  # a client that waits its time would slow tests
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if cut else body)


def _error(message: str) -> str:
    return json.dumps({"error": {"message": message, "type": "hostile"}})

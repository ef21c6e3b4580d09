"""One local HTTP service that evaluates and proposes for every tool in a comparison.

Whatever the tool, its prompts go to the same simulated proposer, its candidates to the same
evaluator, and what it spent is read from one ledger. The endpoints:

``POST /v1/chat/completions``
    OpenAI's form. A prompt that shows a candidate between ``@@PARENT@@`` and ``@@END@@`` gets a
    child of it, for which all else in the prompt may be used; one that asks for a summary gets
    what the feedback in it says. With a JSON schema, every text property named like the
    problem's parameter (or ``summary``) holds the new text; else it stands in a fence.
``POST /v1/embeddings``
    OpenAI's form. Hashed character n-grams, the same for all time.
``POST /evaluate``
    ``{"text": ..., "example_ids": [...]}`` -> ``{"scores": [...], "feedbacks": [...]}``.
``GET /ledger``
    What was asked of the service so far (:class:`Ledger`).

What an evaluation draws depends on the seed, the text, the example and how often this pair was
evaluated before: two tools that evaluate the same text see the same values, in whatever order.
What a reply draws depends on the seed, the role and the request's own ``seed`` (and how often
the role had that one before: some tools send the same with all requests), or without one on the
number of the request: it never depends on the prompt.
"""

from __future__ import annotations

import base64
import copy
import json
import re
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from zlib import crc32

import numpy as np

from bbopt import seeding
from bbopt.errors import UsageError
from bbopt.spec import Spec
from bbopt.trial import Feedback

PARENT = re.compile(r"@@PARENT@@(.*?)@@END@@", re.DOTALL)
MODEL = "simulated"
N_FEATURES = 4096
"""Length of an embedding."""


class Simulation(Protocol):
    """A problem of one text parameter that can play evaluator, proposer and summarizer."""

    @property
    def spec(self) -> Spec:
        """Names the parameter."""

    def truth(self, params: dict[str, Any]) -> float | None:
        """The expected value of one evaluation."""

    def score(
        self, text: str, example: int | None, rng: np.random.Generator
    ) -> tuple[float, Feedback]:
        """The value of one evaluation, and what is said about it."""

    def reply(self, parent: str, context: str, rng: np.random.Generator) -> str:
        """A child of ``parent``."""

    def summary(self, context: str, rng: np.random.Generator) -> str:
        """What the feedback in ``context`` says."""


@dataclass
class Ledger:
    """What was asked of the service.

    Parameters
    ----------
    metric_calls : int
        Evaluations of one text on one example.
    chat_calls : dict
        Requests by role: ``proposer``, ``summarizer``.
    embeddings : int
        Texts embedded.
    tokens : int
        Prompt and completion tokens of all chat requests, a token being four bytes.
    history : list of (int, int, float)
        After each request to evaluate: metric calls and chat calls so far, and the true value
        of the text.
    """

    metric_calls: int = 0
    chat_calls: dict[str, int] = field(default_factory=lambda: {"proposer": 0, "summarizer": 0})
    embeddings: int = 0
    tokens: int = 0
    history: list[tuple[int, int, float | None]] = field(default_factory=list)


class Loopback:
    """The service for one problem, on 127.0.0.1; a context manager.

    Parameters
    ----------
    problem : Simulation
        One of ``text/...``.
    seed : int
        Seed of every draw, >= 0.
    port : int
        Where it listens; 0 takes any free port.

    Attributes
    ----------
    url : str
        ``http://127.0.0.1:PORT``, without a slash at the end.
    api_base : str
        ``url`` with ``/v1``: what an OpenAI client takes as its base URL.

    Raises
    ------
    UsageError
        If the problem cannot play these parts.
    OSError
        If the port is taken.

    Examples
    --------
    >>> import bbopt
    >>> with Loopback(bbopt.problem("text/hints"), seed=1) as service:
    ...     service.evaluate("Refunds take 14 days.", [0, 1])["scores"], service.ledger.metric_calls
    ([0.0, 0.0], 2)
    """

    def __init__(self, problem: Simulation, seed: int = 0, port: int = 0) -> None:
        if not all(hasattr(problem, part) for part in ("score", "reply", "summary")):
            raise UsageError(f"problem must be one of text/..., got {problem!r}")
        self.problem = problem
        (self.parameter,) = problem.spec.space
        self.seed = seeding.checked_seed(seed)
        self._ledger = Ledger()
        self._lock = threading.Lock()
        self._evaluated = Counter[tuple[str, int | None]]()
        self._asked = Counter[tuple[str, Any]]()
        self._server = _Server(self, port)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.api_base = f"{self.url}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def __enter__(self) -> Loopback:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, drop open connections, and wait until all is at rest."""
        self._server.shutdown()
        self._thread.join()
        self._server.drop_connections()
        self._server.server_close()

    @property
    def ledger(self) -> Ledger:
        """A copy of the ledger as it stands."""
        with self._lock:
            return copy.deepcopy(self._ledger)

    def evaluate(self, text: str, example_ids: Sequence[int | None]) -> dict[str, list[Any]]:
        """The values of ``text`` on some examples (a repeat each), and what is said about them.

        Raises
        ------
        UsageError
            If ``text`` is no text or there is no such example.
        """
        params = self.problem.spec.space.validate({self.parameter: text})
        with self._lock:
            repeats = []
            for example in example_ids:
                repeats.append(self._evaluated[text, example])
                self._evaluated[text, example] += 1
        scored = [
            self.problem.score(text, example, self._noise(text, example, repeat))
            for example, repeat in zip(example_ids, repeats, strict=True)
        ]
        truth = self.problem.truth(params)
        with self._lock:
            ledger = self._ledger
            ledger.metric_calls += len(scored)
            ledger.history.append((ledger.metric_calls, sum(ledger.chat_calls.values()), truth))
        return {"scores": [v for v, _ in scored], "feedbacks": [said for _, said in scored]}

    def chat(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to a chat request, both in OpenAI's form."""
        prompt = "\n\n".join(_content(message) for message in request["messages"])
        schema = (request.get("response_format") or {}).get("json_schema", {}).get("schema")
        parents = list(PARENT.finditer(prompt))
        asks_summary = "summary" in (schema or {}).get("properties", {})
        if asks_summary or (not parents and "summar" in prompt.lower()):
            role = "summarizer"
            name, text = "summary", self.problem.summary(prompt, self._draws(role, request))
        else:
            role, parent, context = "proposer", "", prompt
            if parents:  # the last: instructions before it may mention the markers
                parent = parents[-1].group(1).strip("\n")
                context = prompt[: parents[-1].start()] + "\n" + prompt[parents[-1].end() :]
            name = self.parameter
            text = self.problem.reply(parent, context, self._draws(role, request))
        if schema:
            content = json.dumps(_filled(schema, name, text, schema))
        elif role == "summarizer":
            content = text
        else:
            content = f"A small change of the text.\n```text\n{text}\n```"
        usage = {"prompt_tokens": _tokens(prompt), "completion_tokens": _tokens(content)}
        usage["total_tokens"] = sum(usage.values())
        with self._lock:
            self._ledger.chat_calls[role] += 1
            self._ledger.tokens += usage["total_tokens"]
        message = {"role": "assistant", "content": content}
        return {
            "id": "chatcmpl-0",
            "object": "chat.completion",
            "created": 0,
            "model": request.get("model", MODEL),
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": usage,
        }

    def embed(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to a request for embeddings, both in OpenAI's form."""
        given = request["input"]
        texts = [given] if isinstance(given, str) else list(given)
        vectors = _embedding(texts)
        as_base64 = request.get("encoding_format") == "base64"
        with self._lock:
            self._ledger.embeddings += len(texts)
        tokens = sum(map(_tokens, texts))
        return {
            "object": "list",
            "model": request.get("model", MODEL),
            "data": [
                {
                    "object": "embedding",
                    "index": index,
                    "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode()
                    if as_base64
                    else row.tolist(),
                }
                for index, row in enumerate(vectors)
            ],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }

    def _noise(self, text: str, example: int | None, repeat: int) -> np.random.Generator:
        number = 0 if example is None else example + 1
        name = f"loopback evaluation of {text}"
        return seeding.stream(self.seed, name, number=number, block=repeat)

    def _draws(self, role: str, request: Mapping[str, Any]) -> np.random.Generator:
        own = request.get("seed")
        with self._lock:
            count = self._asked[role, own]
            self._asked[role, own] += 1
        number = 0 if own is None else 1 + crc32(str(own).encode())
        return seeding.stream(self.seed, f"loopback {role}", number=number, block=count)


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing waits for every one
    request_queue_size = 128

    def __init__(self, loopback: Loopback, port: int) -> None:
        self.loopback = loopback
        self._connections = set[socket.socket]()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client may hang up
            super().handle_error(request, client_address)

    def drop_connections(self) -> None:
        """End the connections that clients keep open, whose threads would wait for ever."""
        for connection in list(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # it was closed in the meantime
                continue


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"  # connections stay open
    disable_nagle_algorithm = True
    wbufsize = -1  # a reply is one packet

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed."""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        loopback = self.server.loopback
        endpoints: dict[str, Callable[[Any], Any]] = {
            "POST /v1/chat/completions": loopback.chat,
            "POST /v1/embeddings": loopback.embed,
            "POST /evaluate": lambda request: loopback.evaluate(
                request["text"], request["example_ids"]
            ),
            "GET /ledger": lambda _: asdict(loopback.ledger),
        }
        endpoint = endpoints.get(f"{self.command} {self.path}")
        if endpoint is None:
            self._send(404, _error(f"there is no {self.command} {self.path}"))
            return
        try:
            reply = endpoint(json.loads(body or b"{}"))
        except KeyError as error:
            self._send(400, _error(f"the request needs {error}"))
        except (ValueError, TypeError, AttributeError) as error:
            self._send(400, _error(str(error)))
        else:
            self._send(200, reply)

    def _send(self, status: int, reply: Any) -> None:
        data = json.dumps(reply).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error"}}


def _content(message: Mapping[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content)


def _tokens(text: str) -> int:
    return 1 + len(text.encode()) // 4


def _embedding(texts: list[str]) -> np.ndarray:
    """Unit vectors ``(n, N_FEATURES)``."""
    from sklearn.feature_extraction.text import HashingVectorizer

    grams = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), n_features=N_FEATURES)
    vectors: np.ndarray = grams.transform(texts).toarray()
    return vectors


def _filled(schema: Any, name: str, text: str, root: Any, key: str = "") -> Any:
    """A value that fits the usual JSON schemas; text properties called ``name`` hold ``text``."""
    if "$ref" in schema:
        part = root
        for step in schema["$ref"].removeprefix("#/").split("/"):
            part = part[step]
        return _filled(part, name, text, root, key)
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _filled(schema["anyOf"][0], name, text, root, key)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0]
    if kind == "object":
        parts = {k: {"type": "string"} for k in schema.get("required", ())}
        parts |= schema.get("properties", {})
        return {k: _filled(part, name, text, root, k) for k, part in parts.items()}
    if kind == "array":
        n = schema.get("minItems", 0)
        return [_filled(schema["items"], name, text, root, key) for _ in range(n)]
    if kind in ("integer", "number"):
        return schema.get("minimum", 0)
    if kind == "string":
        return text if key == name else "A small change of the text."
    return True if kind == "boolean" else None

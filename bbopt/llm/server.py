"""A server of language models that speaks OpenAI's protocol, through the package openai.

What such servers understand differs. What one refuses with status 400 or 422 is remembered and left
out of what it is sent next: structured output (the schema then goes into the prompt), ``seed``,
``temperature``, ``max_tokens`` (newer models call it ``max_completion_tokens``); a prompt too
long for its context, where it says by how much, is shortened in the middle.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import threading
import weakref
from typing import Any
from urllib.parse import urlsplit

from bbopt.errors import MissingExtra, UsageError, require
from bbopt.llm.exchange import KEY_REFUSED, Answer, Price, Request
from bbopt.llm.parse import is_closed, without_surrogates
from bbopt.seeding import stream_seed

logger = logging.getLogger("bbopt.llm")

NOT_SENT = ("ConnectError", "ConnectTimeout", "PoolTimeout", "UnsupportedProtocol")
"""The HTTP client's errors after which no server has seen the request."""
MOST_TOKENS = 10**9
"""A count above that is nonsense."""
MOST_CHARACTERS_A_TOKEN = 64
"""A reply that has more, on average, did not keep to max_tokens."""
MOST_ADAPTATIONS = 8
LEFT_OUT = "\n[... {} characters left out: the prompt is too long for this model ...]\n"


class Server:
    """A model behind an OpenAI-compatible server.

    Parameters
    ----------
    model : str
        As the server calls it.
    base_url : str, optional
        From ``OPENAI_BASE_URL`` where None; OpenAI's own where that is not set.
    api_key : str, optional
        From ``OPENAI_API_KEY`` where None. Never logged, stored or shown.
    price : Price, optional
        Unknown where None.
    timeout : float
        Seconds for one attempt.
    max_retries : int
        How often the openai package repeats what failed for a reason that may pass; a budget
        counts that as one call.
    max_concurrent : int
        How many requests it is sent at once.

    Raises
    ------
    MissingExtra
        If the package openai is not installed.
    UsageError
        If there is neither a key nor a server of one's own, or ``base_url`` is no address.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        price: Price | None = None,
        timeout: float = 120.0,
        max_retries: int = 2,
        max_concurrent: int = 8,
    ) -> None:
        if importlib.util.find_spec("openai") is None:
            raise MissingExtra("openai", "llm", "a language model")
        self.model, self.price, self.max_concurrent = model, price, max_concurrent
        self.base_url = base_url or os.environ.get("OPENAI_BASE_URL") or None
        self._key = api_key or os.environ.get("OPENAI_API_KEY") or ""
        if not self._key and self.base_url is None:
            raise UsageError(
                f"openai:{model} needs the environment variable OPENAI_API_KEY, "
                "or OPENAI_BASE_URL for a server of your own"
            )
        if self.base_url is not None and not _is_web_address(self.base_url):
            raise UsageError(
                "base_url (OPENAI_BASE_URL) must be an address such as http://localhost:8000/v1, "
                f"got {self.base_url.rpartition('@')[2]!r}"  # without a password in it
            )
        self._timeout, self._max_retries = timeout, max_retries
        self._refused: frozenset[str] = frozenset()
        self._sent = threading.local()
        self._lock = threading.Lock()
        self._api: Any = None
        self._close: Any = None

    def __str__(self) -> str:
        url = urlsplit(self.base_url or "https://api.openai.com/v1")
        host = url.netloc.rpartition("@")[2]  # without a password in it
        return f"{self.model} at {url.scheme}://{host}{url.path}"

    def send(self, request: Request) -> Answer:
        """Ask; whatever goes wrong is an :class:`Answer`."""
        openai = require("openai", extra="llm", needed_by="a language model")
        self._sent.attempts = 0
        cut: list[dict[str, str]] | None = None  # the messages, once they were too long
        for _ in range(MOST_ADAPTATIONS):
            arguments = self._arguments(request, cut)
            try:
                raw = self._opened(openai).chat.completions.with_raw_response.create(**arguments)
                return self._read(raw.text, request.max_tokens)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                refused = _refused_argument(error, arguments)
                if refused is not None:
                    self._refused |= {refused}
                    logger.info("%s refuses %s: %s", self, refused, self._line(error))
                    continue
                cut = _shortened(arguments, error.body)
                if cut is None:
                    return self._failure(error, tokens=(0, 0))
                logger.warning("%s: prompts too long for its context are shortened", self)
            except openai.AuthenticationError as error:
                problem = f"{KEY_REFUSED}: {self._line(error)}"
                return Answer(error=problem, tokens=(0, 0), attempts=self._sent.attempts)
            except openai.APIStatusError as error:
                return self._failure(error, tokens=(0, 0))
            except Exception as error:  # noqa: BLE001 - the LLM boundary
                return self._failure(error, tokens=None)
        return Answer(error="the server refuses request after request", tokens=(0, 0))

    def close(self) -> None:
        """Close its connections."""
        with self._lock:
            if self._api is not None:
                self._close()
                self._api = None

    # --- inside ------------------------------------------------------------------------

    def _opened(self, openai: Any) -> Any:
        with self._lock:
            if self._api is None:
                self._api = openai.OpenAI(
                    api_key=self._key or "none",
                    base_url=self.base_url,
                    timeout=self._timeout,
                    max_retries=self._max_retries,
                    http_client=_counting_client(openai, self._sent, self._is_local),
                )
                self._close = weakref.finalize(self, self._api.close)
            return self._api

    @property
    def _is_local(self) -> bool:
        return urlsplit(self.base_url or "").hostname in ("127.0.0.1", "::1", "localhost")

    def _arguments(self, request: Request, cut: list[dict[str, str]] | None) -> dict[str, Any]:
        limit = "max_completion_tokens" if "max_tokens" in self._refused else "max_tokens"
        arguments: dict[str, Any] = {
            "model": self.model,
            "messages": cut or [dict(message) for message in request.messages],
            limit: request.max_tokens,
            "temperature": request.temperature,
            "seed": stream_seed(request.seed, f"llm:{request.role}", number=request.draw) >> 1,
        }
        schema = request.schema
        if schema is not None and "response_format" not in self._refused:
            form = {"name": "reply", "schema": dict(schema), "strict": is_closed(schema)}
            arguments["response_format"] = {"type": "json_schema", "json_schema": form}
        elif schema is not None and cut is None:
            arguments["messages"] = _with_schema_in_prompt(arguments["messages"], schema)
        return {name: value for name, value in arguments.items() if name not in self._refused}

    def _read(self, body: str, max_tokens: int) -> Answer:
        """The answer in the body of a successful response, whatever it holds."""
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            return Answer(error="the server's reply is not JSON", attempts=self._sent.attempts)
        tokens = _counted(data)
        try:
            choice = data["choices"][0]
            content, refusal = choice["message"].get("content"), choice["message"].get("refusal")
        except (LookupError, TypeError, AttributeError):
            missing = "the server's reply has no message"
            return Answer(error=missing, tokens=tokens, attempts=self._sent.attempts)
        text = without_surrogates(self._without_key(content)) if isinstance(content, str) else ""
        is_cut = choice.get("finish_reason") == "length"
        problem: str | None = None
        if len(text) > MOST_CHARACTERS_A_TOKEN * max_tokens:
            text, problem = "", f"the reply is longer than {max_tokens} tokens can be"
        elif is_cut:
            problem = "the reply was cut off at max_tokens"
        elif not text.strip():
            problem = "the reply is empty"
            if isinstance(refusal, str) and refusal:
                problem = f"the model refused: {self._line(refusal)}"
        return Answer(text, problem, tokens, self._sent.attempts, is_cut)

    def _failure(self, error: Exception, tokens: tuple[int, int] | None) -> Answer:
        return Answer(error=self._line(error), tokens=tokens, attempts=self._sent.attempts)

    def _line(self, error: object) -> str:
        """An error as one line without the key."""
        cause = getattr(error, "__cause__", None)
        text = str(error) + (f" ({cause})" if cause is not None and str(cause) else "")
        line = " ".join(self._without_key(text).split()) or type(error).__name__
        return without_surrogates(line if len(line) <= 300 else line[:299] + "…")

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if len(self._key) >= 8 else text


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises where it is no number
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _counting_client(openai: Any, sent: threading.local, is_local: bool) -> Any:
    """An HTTP client that counts, per thread, the requests that reach a server."""

    class Counting(openai.DefaultHttpxClient):  # type: ignore[misc]
        def send(self, *args: Any, **options: Any) -> Any:
            sent.attempts += 1
            try:
                return super().send(*args, **options)
            except Exception as error:
                sent.attempts -= type(error).__name__ in NOT_SENT
                raise

    return Counting(trust_env=not is_local)  # what is here needs no proxy


def _refused_argument(error: Any, arguments: dict[str, Any]) -> str | None:
    """Which optional argument a server says it does not take."""
    message = f"{error.param or ''} {error.message}"
    if "too large" in message or "context" in message:  # not the argument, its value
        return None
    for name in ("max_tokens", "temperature", "seed", "response_format"):
        if name in arguments and name in message:
            return name
    hints = ("json_schema", "structured", "schema", "grammar", "sampler")
    if "response_format" in arguments and any(hint in message.lower() for hint in hints):
        return "response_format"
    return None


def _with_schema_in_prompt(messages: list[dict[str, str]], schema: Any) -> list[dict[str, str]]:
    *before, last = messages
    ask = f"Reply with one JSON value and nothing else. Its JSON schema:\n{json.dumps(schema)}"
    return [*before, {**last, "content": f"{last['content']}\n\n{ask}"}]


def _shortened(arguments: dict[str, Any], body: Any) -> list[dict[str, str]] | None:
    """The messages with the middle of the longest left out, as llama.cpp's refusal demands."""
    body = body if isinstance(body, dict) else {}
    has, context = body.get("n_prompt_tokens"), body.get("n_ctx")
    if not isinstance(has, int) or not isinstance(context, int) or not 0 < context <= has:
        return None
    room = 0.95 * (context - min(arguments.get("max_tokens", context), context // 4))
    messages: list[dict[str, str]] = arguments["messages"]
    at = max(range(len(messages)), key=lambda i: len(messages[i]["content"]))
    text = messages[at]["content"]
    total = sum(len(message["content"]) for message in messages)
    keep = len(text) - int(total * (1 - room / has)) - len(LEFT_OUT) - 1
    if keep <= 0:
        return None
    note = LEFT_OUT.format(len(text) - keep)
    half = keep // 2
    content = text[: keep - half] + note + text[len(text) - half :]
    return [*messages[:at], {**messages[at], "content": content}, *messages[at + 1 :]]


def _counted(data: Any) -> tuple[int, int] | None:
    """The tokens that the server counted, where it says so and they can be."""
    usage = data.get("usage") if isinstance(data, dict) else None
    if not isinstance(usage, dict):
        return None
    counts = (usage.get("prompt_tokens"), usage.get("completion_tokens"))
    if all(type(count) is int and 0 <= count <= MOST_TOKENS for count in counts):
        return counts  # type: ignore[return-value]
    return None

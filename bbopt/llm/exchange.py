"""What travels between a caller, the client and a server: Request, Answer, Reply."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from bbopt import checks
from bbopt.errors import UsageError
from bbopt.llm.parse import check_schema, without_surrogates
from bbopt.trial import NO_USAGE, Usage

ROLES = ("proposer", "summarizer", "guide", "judge")
"""Whom the ledger books a request to; each may be served by another model."""

SPEAKERS = ("system", "user", "assistant")


@dataclass(frozen=True)
class Price:
    """Money for a million tokens.

    Parameters
    ----------
    prompt, completion : float
        In any one currency, >= 0.
    """

    prompt: float
    completion: float

    def __post_init__(self) -> None:
        for name in ("prompt", "completion"):
            checks.number(f"price of {name} tokens", getattr(self, name), 0)

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """What so many tokens cost."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


FREE = Price(0.0, 0.0)


@dataclass(frozen=True)
class Request:
    """One request to a language model, checked.

    Parameters
    ----------
    messages : sequence of mapping
        ``{"role": "system" | "user" | "assistant", "content": str}``, at least one.
    role : str
        One of :data:`ROLES`.
    draw : int
        The number of the request within its role, >= 0.
    seed : int
        The run's seed, >= 0.
    schema : mapping, optional
        The JSON schema of the reply, in the subset that :mod:`bbopt.llm.parse` checks.
    max_tokens : int
        How long the reply may be, >= 1.
    temperature : float
        In [0, 2].

    Raises
    ------
    UsageError
        If one of them is not as said here.
    """

    messages: Sequence[Mapping[str, str]]
    role: str
    draw: int
    seed: int = 0
    schema: Mapping[str, Any] | None = None
    max_tokens: int = 2048
    temperature: float = 1.0

    def __post_init__(self) -> None:
        messages = tuple(_checked_message(message) for message in self.messages)
        if not messages:
            raise UsageError("messages must hold at least one message, got none")
        schema = self.schema
        if schema is not None:
            check_schema(schema)
            schema = json.loads(json.dumps(schema, default=dict))  # ours, and plain
        for name, value in (
            ("messages", messages),
            ("role", checks.one_of("role", self.role, ROLES)),
            ("draw", checks.integer("draw", self.draw, 0)),
            ("schema", schema),
            ("seed", checks.integer("seed", self.seed, 0)),
            ("max_tokens", checks.integer("max_tokens", self.max_tokens, 1)),
            ("temperature", checks.number("temperature", self.temperature, 0, 2)),
        ):
            object.__setattr__(self, name, value)

    @cached_property
    def key(self) -> str:
        """What tells it from every other request: a digest of all its fields."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """Its fields as one JSON object."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return json.dumps(fields, sort_keys=True)


@dataclass(frozen=True)
class Answer:
    """What a server made of one request.

    Parameters
    ----------
    text : str
        The completion; empty where there is none.
    error : str, optional
        Why there is none, or why it cannot be used.
    tokens : (int, int), optional
        Tokens of the prompt and of the completion as the server counted them; None where they
        may have been spent and nobody says how many.
    attempts : int
        How often the request reached the server, >= 0.
    is_cut : bool
        Whether the completion ended at ``max_tokens``.
    """

    text: str = ""
    error: str | None = None
    tokens: tuple[int, int] | None = None
    attempts: int = 1
    is_cut: bool = False


class Backend(Protocol):
    """What answers requests: a server, a model in this process, a script."""

    @property
    def model(self) -> str:
        """Its name, for people and for the recording."""

    @property
    def price(self) -> Price | None:
        """None where it is unknown."""

    @property
    def max_concurrent(self) -> int:
        """How many requests it is sent at once, >= 1."""

    def send(self, request: Request) -> Answer:
        """Ask; whatever goes wrong is an :class:`Answer`. Called from several threads."""

    def close(self) -> None:
        """Free what it holds; it may be asked again, and closed again."""


NO_ROOM = "the budget has no room for the request: "
"""The error of a request that was refused for want of what follows, an axis of the budget."""


INTERRUPTED = "interrupted: nothing more is asked"
"""The error of a request that was not sent as the run was interrupted."""

KEY_REFUSED = "the key is refused (check OPENAI_API_KEY)"
"""How the error of a request starts whose key the server did not take."""


@dataclass(frozen=True)
class Reply:
    """What came of a request.

    Parameters
    ----------
    text : str
        What the model wrote; may be there although ``error`` is set.
    data : JSON value or None
        The value that it wrote, where a schema was given and is met; its numbers are finite.
    usage : Usage
        What the request used, a repair included.
    error : str, optional
        Why the reply cannot be used, in one line.
    latency : float
        Seconds that the model took, waiting for a turn not included.
    """

    text: str = ""
    data: Any = None
    usage: Usage = NO_USAGE
    error: str | None = None
    latency: float = 0.0

    @property
    def full(self) -> str | None:
        """The axis of the budget that had no room for the request, if that is the error."""
        is_refused = self.error is not None and self.error.startswith(NO_ROOM)
        return self.error.removeprefix(NO_ROOM).split(" ")[0] if self.error and is_refused else None

    def to_json(self) -> str:
        """One JSON object that :meth:`from_json` reads back."""
        return json.dumps({**self.__dict__, "usage": self.usage.to_json()})

    @classmethod
    def from_json(cls, text: str) -> Reply:
        """The reply that :meth:`to_json` described."""
        data = json.loads(text)
        return cls(**{**data, "usage": Usage(**data["usage"])})


def _checked_message(message: Mapping[str, str]) -> dict[str, str]:
    if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
        raise UsageError(f"a message must have 'role' and 'content', got {message!r}")
    speaker = checks.one_of("the role of a message", message["role"], SPEAKERS)
    content = message["content"]
    if not isinstance(content, str):
        raise UsageError(f"the content of a message must be a str, got {content!r}")
    return {"role": speaker, "content": without_surrogates(content)}

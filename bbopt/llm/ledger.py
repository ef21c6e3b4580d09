"""The ledger: what each role has spent on language models, and limits that hold.

A *call* is a request that we send. What the transport repeats, after a 429 or a lost
connection, is the same call; how often a request reached the server is listed as *attempts*.
(The tokens of an attempt whose reply was lost and that was then repeated are known to nobody,
and are not booked.)

Before a call its tokens are reserved: the prompt counted as its UTF-8 bytes, since a token has
at least one, an allowance for what a server's template adds, and ``max_tokens``. After it the
server's own count is booked; where the server may have worked and does not say how much, the
reservation stands. A request whose reservation does not fit is not sent.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bbopt.budget import Budget
from bbopt.errors import UsageError
from bbopt.llm.exchange import Price, Request
from bbopt.trial import NO_USAGE, Usage

logger = logging.getLogger("bbopt.llm")

PER_MESSAGE = 16
"""Tokens allowed for the marks that a chat template puts round a message."""
PER_REQUEST = 128
"""Tokens allowed for what a template adds to a conversation, such as its own system prompt."""


@dataclass(frozen=True)
class Charge:
    """What calls have spent.

    Parameters
    ----------
    calls : int
        Requests sent.
    attempts : int
        How often they reached a server, repeats by the transport included.
    prompt_tokens, completion_tokens : int
        As the servers counted them.
    cost : float
        Money; 0 where the price is unknown.
    estimated : int
        Calls whose tokens are our reservation, because no server said how many they were.
    """

    calls: int = 0
    attempts: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    estimated: int = 0

    def __add__(self, other: Charge) -> Charge:
        return Charge(*(getattr(self, n) + getattr(other, n) for n in self.__dataclass_fields__))

    @property
    def tokens(self) -> int:
        """Prompt and completion together."""
        return self.prompt_tokens + self.completion_tokens

    @property
    def usage(self) -> Usage:
        """The axes that a budget knows."""
        return Usage(self.calls, self.tokens, self.cost)


NO_CHARGE = Charge()


@dataclass(frozen=True, eq=False)
class Reservation:
    """Room for one call, taken before it is sent."""

    role: str
    most: Charge
    price: Price | None
    entry: int | None


class Book(Protocol):
    """Where charges are kept on disk."""

    def totals(self) -> Mapping[str, Charge]:
        """What each role has been charged."""

    def open_entry(self, role: str, charge: Charge) -> int:
        """Write down a charge, such as the most that a call can cost; its number."""

    def close_entry(self, entry: int, charge: Charge) -> None:
        """Replace what was written by what the call did cost."""


class Ledger:
    """What each role has spent, and limits on it. Safe to use from several threads.

    Parameters
    ----------
    prices : mapping of str to Price or None
        The price of each role's model, None where it is unknown.
    """

    def __init__(self, prices: Mapping[str, Price | None]) -> None:
        self.prices = dict(prices)
        self._spent: dict[str, Charge] = {}
        self._reserved: set[Reservation] = set()
        self._limit = Usage(math.inf, math.inf, math.inf)  # type: ignore[arg-type]
        self._allowed = self._limit
        self._book: Book | None = None
        self._lock = threading.Lock()

    @property
    def roles(self) -> dict[str, Charge]:
        """What each role has spent."""
        with self._lock:
            return dict(self._spent)

    @property
    def total(self) -> Charge:
        """What all have spent together."""
        with self._lock:
            return self._total()

    @property
    def has_unknown_cost(self) -> bool:
        """Whether a model was asked whose price is unknown."""
        used = (role for role, charge in self.roles.items() if charge.calls)
        return any(role in self.prices and self.prices[role] is None for role in used)

    def limit(
        self, budget: Budget | int | str | Mapping[str, Any], *, beyond: Usage = NO_USAGE
    ) -> None:
        """Limit the whole run: everything booked counts, earlier sessions included.

        Parameters
        ----------
        budget : Budget, or what :meth:`bbopt.Budget.parse` takes
            Its ``llm_calls``, ``tokens`` and ``cost``.
        beyond : Usage
            What is booked and does not count: other runs had spent it.

        Raises
        ------
        UsageError
            If ``cost`` is limited and the price of a model is unknown.
        """
        limit = beyond + self._ceiling(Budget.parse(budget))
        with self._lock:
            self._limit, self._allowed = limit, limit

    def allow(self, left: Budget) -> None:
        """Allow at most what is left, from now on; replaces what was allowed before.

        Raises
        ------
        UsageError
            If ``cost`` is limited and the price of a model is unknown.
        """
        ceiling = self._ceiling(left)
        with self._lock:
            self._allowed = self._total().usage + ceiling

    def keep_in(self, book: Book) -> None:
        """Keep all charges in ``book`` from now on; those in it already count as spent."""
        with self._lock:
            for role, charge in book.totals().items():
                self._add(role, charge)
            self._book = book

    def reserve(self, request: Request) -> Reservation | str:
        """Take the room for one call, or say which axis of the budget has none.

        That is the axis, and where it is another than ``llm_calls``, how much may be needed.
        """
        prompt, price = most_prompt_tokens(request), self.prices.get(request.role)
        cost = price.of(prompt, request.max_tokens) if price else 0.0
        most = Charge(1, 1, prompt, request.max_tokens, cost, estimated=1)
        with self._lock:
            after = sum((each.most for each in self._reserved), self._total()) + most
            for axis in ("llm_calls", "tokens", "cost"):
                ceiling = min(getattr(self._limit, axis), getattr(self._allowed, axis))
                if getattr(after.usage, axis) > ceiling:
                    needed = getattr(most.usage, axis)
                    free = max(ceiling - getattr(after.usage, axis) + needed, 0)
                    form = ",d" if axis == "tokens" else ".6g"
                    of = f" (up to {needed:{form}} may be needed, {free:{form}} are left)"
                    return axis if axis == "llm_calls" else axis + of
            book = self._book
            entry = None if book is None else book.open_entry(request.role, most)
            reservation = Reservation(request.role, most, price, entry)
            self._reserved.add(reservation)
        return reservation

    def settle(
        self, reservation: Reservation, attempts: int, tokens: tuple[int, int] | None
    ) -> Charge:
        """Book what a call did cost in place of its reservation.

        Parameters
        ----------
        reservation : Reservation
            As :meth:`reserve` gave it.
        attempts : int
            How often the request reached the server; a call that never did costs nothing.
        tokens : (int, int), optional
            Of the prompt and the completion; the reservation stands where None.
        """
        most = reservation.most
        if attempts == 0:
            charge = NO_CHARGE
        elif tokens is None:
            charge = most + Charge(attempts=attempts - 1)
        else:
            cost = reservation.price.of(*tokens) if reservation.price else 0.0
            charge = Charge(1, attempts, *tokens, cost)
            if charge.tokens > most.tokens:
                logger.warning(
                    "a server counts more tokens than can be reserved for a request "
                    "(max_tokens not kept, or a long template): limits can be exceeded by that"
                )
        with self._lock:
            self._reserved.remove(reservation)
            self._add(reservation.role, charge)
            if self._book is not None and reservation.entry is not None:
                self._book.close_entry(reservation.entry, charge)
        return charge

    def book(self, role: str, usage: Usage) -> None:
        """Count what a recording says that a request had used."""
        with self._lock:
            charge = Charge(usage.llm_calls, prompt_tokens=usage.tokens, cost=usage.cost)
            self._add(role, charge)
            if self._book is not None:
                self._book.open_entry(role, charge)

    def _total(self) -> Charge:
        return sum(self._spent.values(), NO_CHARGE)

    def _add(self, role: str, charge: Charge) -> None:
        self._spent[role] = self._spent.get(role, NO_CHARGE) + charge

    def _ceiling(self, budget: Budget) -> Usage:
        if budget.cost is not None:
            for role, price in self.prices.items():
                if price is None:
                    raise UsageError(
                        f"budget cost: the price of the model for the role {role!r} is unknown; "
                        "give its price, or limit llm_calls or tokens instead"
                    )
        axes = (budget.llm_calls, budget.tokens, budget.cost)
        return Usage(*(math.inf if limit is None else limit for limit in axes))  # type: ignore[arg-type]


def most_prompt_tokens(request: Request) -> int:
    """The most tokens that the prompt of a request can have.

    The bytes of its texts and of its schema, 16 a message and 128 a request.
    """
    texts = sum(len(message["content"].encode()) for message in request.messages)
    schema = 0 if request.schema is None else len(json.dumps(request.schema).encode())
    return texts + schema + PER_MESSAGE * len(request.messages) + PER_REQUEST

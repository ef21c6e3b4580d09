"""Budget: what a run may spend, on which axis; Meter: what it has spent.

Who enforces what: the loop counts evaluations and switches exactly (none is started that is
not left), stops starting when ``cost`` or ``seconds`` are used up, or calls and tokens where
outcomes report them, and the client of the language model enforces calls, tokens and money
before each request.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from bbopt import checks
from bbopt.errors import UsageError
from bbopt.trial import NO_USAGE, Outcome, Usage

WHOLE = ("evaluations", "llm_calls", "tokens", "switches")


@dataclass(frozen=True)
class Budget:
    """Limits of a run; None is unlimited. Also what is *left* of them, as passed to ``ask``.

    Parameters
    ----------
    evaluations : int, optional
        Evaluations, each repeat counted.
    llm_calls, tokens : int, optional
        Requests to language models, and their prompt and completion tokens: those of proposals
        and those of evaluations, together. A request that the transport repeats (after a 429, a
        500 or a lost connection; ``max_retries`` of :class:`bbopt.llm.Server`) is one call, so
        that a server may count more; the ledger lists these as ``attempts``.
    cost : float, optional
        What evaluations cost and language models charge, together.
    seconds : float, optional
        Wall-clock time over all sessions.
    switches : int, optional
        Changes of params between consecutive trials; the first trial is free.

    Examples
    --------
    >>> Budget.parse("evaluations=100,seconds=600")
    Budget(evaluations=100, llm_calls=None, tokens=None, cost=None, seconds=600.0, switches=None)
    """

    evaluations: int | None = None
    llm_calls: int | None = None
    tokens: int | None = None
    cost: float | None = None
    seconds: float | None = None
    switches: int | None = None

    @classmethod
    def parse(cls, budget: Budget | int | str | Mapping[str, Any]) -> Budget:
        """A positive budget from a number of evaluations, ``"axis=limit,..."`` or a mapping.

        Raises
        ------
        UsageError
            If an axis is unknown, given twice or not positive (``switches`` may be 0), or
            none is given.
        """
        if isinstance(budget, Budget):
            budget = asdict(budget)
        if isinstance(budget, Mapping):
            given = {axis: limit for axis, limit in budget.items() if limit is not None}
        else:
            given = _parse_text(str(budget))
        known = [f.name for f in fields(cls)]
        if not given:
            raise UsageError(f"budget must limit at least one of {', '.join(known)}, got none")
        limits: dict[str, Any] = {}
        for axis, limit in given.items():
            if axis not in known:
                raise UsageError(f"budget: unknown axis {axis!r}; allowed are {', '.join(known)}")
            if axis in WHOLE:
                low = 0 if axis == "switches" else 1
                limits[axis] = checks.integer(f"budget {axis}", limit, low)
            else:
                limits[axis] = checks.number(f"budget {axis}", limit)
                if limits[axis] <= 0:
                    raise UsageError(f"budget {axis} must be > 0, got {limit!r}")
        return cls(**limits)

    def to_json(self) -> dict[str, Any]:
        """The limits that are set."""
        return {axis: limit for axis, limit in self.__dict__.items() if limit is not None}


@dataclass
class Meter:
    """What a run has spent; the same axes as :class:`Budget`, and the failures."""

    evaluations: int = 0
    switches: int = 0
    failures: int = 0
    cost: float = 0.0
    usage: Usage = NO_USAGE
    seconds: float = 0.0
    overhead_seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        """Count a finished trial."""
        self.evaluations += outcome.evaluations
        self.failures += outcome.is_failure
        self.cost += outcome.cost if math.isfinite(outcome.cost) else 0.0
        if outcome.usage is not NO_USAGE:
            self.usage = self.usage + outcome.usage

    def left(self, budget: Budget, *, open_evaluations: int = 0, proposals: Usage) -> Budget:
        """What remains of ``budget``, with ``open_evaluations`` asked for and not yet told.

        ``proposals`` is what the optimizer itself spent on language models.
        """
        return replace(
            budget,
            evaluations=_rest(budget.evaluations, self.evaluations + open_evaluations),
            switches=_rest(budget.switches, self.switches),
            llm_calls=_rest(budget.llm_calls, self.usage.llm_calls + proposals.llm_calls),
            tokens=_rest(budget.tokens, self.usage.tokens + proposals.tokens),
            cost=_rest(budget.cost, self.cost + self.usage.cost + proposals.cost),
            seconds=_rest(budget.seconds, self.seconds),
        )


def _rest(limit: Any, spent: Any) -> Any:
    return None if limit is None else max(limit - spent, 0)


def _parse_text(text: str) -> dict[str, Any]:
    parts = text if "=" in text else f"evaluations={text}"
    given: dict[str, Any] = {}
    for part in parts.split(","):
        axis, equals, limit = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise UsageError(f"budget must be a number or axis=limit,..., got {text!r}")
        if axis in given:
            raise UsageError(f"budget: axis {axis!r} is given twice in {text!r}")
        try:
            given[axis] = float(limit) if not limit.lstrip("-+").isdigit() else int(limit)
        except ValueError:
            raise UsageError(f"budget {axis} must be a number, got {limit!r}") from None
    return given

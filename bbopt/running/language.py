"""The language model of a run: who it belongs to, what is recorded of it, and when it is asked."""

from __future__ import annotations

import logging
import math
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bbopt import registry
from bbopt.base import Optimizer, Problem
from bbopt.budget import Budget, Meter
from bbopt.errors import UsageError
from bbopt.running.storage import StudyLog
from bbopt.trial import NO_USAGE, Outcome, Usage

if TYPE_CHECKING:
    from bbopt.llm import Client

logger = logging.getLogger("bbopt")

MODEL_AXES = ("llm_calls", "tokens", "cost")
"""What language models spend of a budget."""

RECORD = "llm.sqlite"
"""The file of recorded replies, in the folder of the snapshots."""


def model_of(problem: Problem, optimizer: Optimizer | str, llm: Client | None) -> Client | None:
    """The language model of the run, if any; handed to a problem that needs it.

    Raises
    ------
    UsageError
        If ``llm`` is no client or is given beside an instance, or the problem needs one and there
        is none.
    """
    if llm is not None:
        from bbopt.llm import Client

        if not isinstance(llm, Client):
            raise UsageError(f"llm must be a bbopt.llm.Client, got {llm!r}")
    if llm is not None and isinstance(optimizer, Optimizer):
        raise UsageError("llm must be left out where the optimizer is an instance: it has its own")
    client: Client | None = optimizer.llm if isinstance(optimizer, Optimizer) else llm
    if problem.needs_llm:
        problem.llm = problem.llm if problem.llm is not None else client
        if problem.llm is None:
            raise UsageError(f"problem {problem.name!r} needs a language model: give llm (--llm)")
        client = client if client is not None else problem.llm
    return client


def roles_of(optimizer: str, llm: Client | None) -> set[str]:
    """The roles in which an optimizer of that name asks this client."""
    return set() if llm is None else {*llm.roles} & registry.optimizer_class(optimizer).llm_roles


class Books:
    """What models are known to have taken in a run, earlier sessions included.

    They know of calls that proposals and outcomes don't: that a kill interrupted, that came to
    nothing, or that were made by a model which this session is not given.

    Parameters
    ----------
    client : Client, optional
        Of this session; what it has spent so far is another run's.
    """

    def __init__(self, client: Client | None) -> None:
        self.client = client
        self.before = NO_USAGE if client is None else client.ledger.total.usage
        self._recorded = NO_USAGE

    def keep(self, log: StudyLog, folder: str | Path | None) -> None:
        """Record every reply beside the storage, or in ``folder``, so that the run can go on.

        Without a client: look up there what earlier sessions had spent.
        """
        chosen = Path(folder) if folder is not None else log.folder
        if self.client is None:
            if chosen is not None and (chosen / RECORD).is_file():
                self._recorded = _total(chosen / RECORD, log.name)
        elif chosen is None:
            logger.warning(
                "replies of the language model are not recorded, as snapshots is not given: "
                "the run cannot be resumed"
            )
        else:
            self.client.record(chosen / RECORD, run=log.name)

    @property
    def usage(self) -> Usage:
        """What the run has taken so far."""
        if self.client is None:
            return self._recorded
        booked, before = self.client.ledger.total.usage, self.before
        return Usage(
            booked.llm_calls - before.llm_calls,
            booked.tokens - before.tokens,
            max(booked.cost - before.cost, 0.0),  # of two roundings
        )

    def complete(self, spent: Meter) -> Meter:
        """What a run spent, given what its proposals and outcomes say."""
        return replace(spent, usage=spent.usage.at_least(self.usage))


def _total(record: Path, run: str) -> Usage:
    from bbopt.llm.cache import Cache

    with closing(Cache(record, read_only=True, run=run)) as cache:
        return sum((charge.usage for charge in cache.totals().values()), NO_USAGE)


def why_refused(outcome: Outcome) -> str | None:
    """The stop reason of a run whose evaluation wanted a call that was not made, if it did.

    That is an axis of the budget without room for it, or ``"interrupted"``.
    """
    from bbopt.llm.exchange import INTERRUPTED, NO_ROOM

    if outcome.error is None or not math.isnan(sum(outcome.values, 0.0)):
        return None
    if INTERRUPTED in outcome.error:
        return "interrupted"
    axis = outcome.error.partition(NO_ROOM)[2].split(maxsplit=1)
    return axis[0] if axis and axis[0] in MODEL_AXES else None


def without_refused(outcome: Outcome) -> Outcome:
    """The outcome up to its last value: what was refused after that was not evaluated."""
    n = max((i for i, value in enumerate(outcome.values, 1) if not math.isnan(value)), default=0)
    return Outcome(
        outcome.values[:n],
        feedback=outcome.feedback[:n],
        cost=outcome.cost,
        usage=outcome.usage,
        error=outcome.error,
        constraints=outcome.constraints,
        info=outcome.info,
    )


def why_no_more(optimizer: Optimizer, left: Budget) -> str:
    """The stop reason of a run whose optimizer has nothing to evaluate: what it lacks.

    That is the axis of the budget that is used up or has no room for its next request, a model
    that is down, or ideas.
    """
    for axis in ("switches", "llm_calls", "tokens"):
        if getattr(left, axis) == 0:
            return axis
    refused = optimizer.llm.full if optimizer.gave_up == "llm" else None
    return refused or optimizer.gave_up or "exhausted"


def only_recorded(client: Client | None) -> AbstractContextManager[object]:
    """While what happened is replayed, the record alone answers."""
    return nullcontext() if client is None else client.replay_only()

"""The language model of a run: who it belongs to, what is recorded of it, and when it is asked."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bbopt import registry
from bbopt.base import Optimizer, Problem
from bbopt.budget import Budget, Meter
from bbopt.errors import UsageError
from bbopt.running.storage import StudyLog
from bbopt.trial import Usage

if TYPE_CHECKING:
    from bbopt.llm import Client

logger = logging.getLogger("bbopt")


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


def with_lost_calls(spent: Meter, client: Client | None, before: Usage) -> Meter:
    """What a run spent, given what its proposals and outcomes say, and the client had ``before``.

    The ledger alone knows calls that a kill interrupted, and those that came to no proposal.
    """
    if client is None:
        return spent
    booked, told = client.ledger.total.usage, spent.usage
    usage = Usage(
        max(told.llm_calls, booked.llm_calls - before.llm_calls),
        max(told.tokens, booked.tokens - before.tokens),
        max(told.cost, booked.cost - before.cost),
    )
    return replace(spent, usage=usage)


def record(client: Client, log: StudyLog, folder: str | Path | None) -> None:
    """Record every reply beside the storage, or in ``folder``, so that the run can go on."""
    chosen = Path(folder) if folder is not None else log.folder
    if chosen is None:
        logger.warning(
            "replies of the language model are not recorded, as snapshots is not given: "
            "the run cannot be resumed"
        )
        return
    client.record(chosen / "llm.sqlite")


def why_no_more(optimizer: Optimizer, left: Budget) -> str:
    """The stop reason of a run whose optimizer has nothing to evaluate: what it lacks.

    That is the axis of the budget that is used up or has no room for its next request, a model
    that is down, or ideas.
    """
    for axis in ("llm_calls", "tokens"):
        if getattr(left, axis) == 0:
            return axis
    refused = optimizer.llm.full if optimizer.gave_up == "llm" else None
    return refused or optimizer.gave_up or "exhausted"


def only_recorded(client: Client | None) -> AbstractContextManager[object]:
    """While what happened is replayed, the record alone answers."""
    return nullcontext() if client is None else client.replay_only()

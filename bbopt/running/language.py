"""The language model of a run: who it belongs to, what is recorded of it, and when it is asked."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from bbopt.base import Optimizer, Problem
from bbopt.errors import UsageError
from bbopt.running.storage import StudyLog

if TYPE_CHECKING:
    from bbopt.llm import Client

logger = logging.getLogger("bbopt")


def model_of(problem: Problem, optimizer: Optimizer | str, llm: Client | None) -> Client | None:
    """The language model of the run, if any; handed to a problem that needs it.

    Raises
    ------
    UsageError
        If ``llm`` is given beside an instance, or the problem needs one and there is none.
    """
    if llm is not None and isinstance(optimizer, Optimizer):
        raise UsageError("llm must be left out where the optimizer is an instance: it has its own")
    client: Client | None = optimizer.llm if isinstance(optimizer, Optimizer) else llm
    if problem.needs_llm:
        problem.llm = problem.llm if problem.llm is not None else client
        if problem.llm is None:
            raise UsageError(f"problem {problem.name!r} needs a language model: give llm (--llm)")
        client = client if client is not None else problem.llm
    return client


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


def only_recorded(client: Client | None) -> AbstractContextManager[object]:
    """While what happened is replayed, the record alone answers."""
    return nullcontext() if client is None else client.replay_only()

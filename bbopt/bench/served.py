"""A problem of one text behind a local service that proposes, evaluates and counts for all alike.

What a tool spent is read from the service's ledger, never from the tool.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from bbopt.base import Problem
from bbopt.bench.loopback import MODEL, Ledger, Loopback
from bbopt.trial import Outcome, Trial
from bbopt.wrappers import Wrapper

if TYPE_CHECKING:
    from bbopt.llm import Client


class Served(Wrapper):
    """A problem whose evaluations a :class:`~bbopt.bench.loopback.Loopback` makes.

    It has no proposer of its own: proposals come from the service's language model.
    """

    def __init__(self, problem: Problem, service: Loopback) -> None:
        super().__init__(problem)
        self.name, self.service, self.propose = problem.name, service, None

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Outcome:
        """The service's values; examples are drawn where the trial names none."""
        ids: Any = trial.context.get("examples") or [None] * trial.repeats
        examples = self.spec.examples
        if examples is not None and ids[0] is None:
            ids = rng.choice(examples.train, size=trial.repeats).tolist()
        reply = self.service.evaluate(trial.params[self.service.parameter], ids)
        return Outcome(reply["scores"], feedback=reply["feedbacks"])


@contextmanager
def served(problem: Problem, seed: int) -> Generator[tuple[Served, Client]]:
    """The problem behind a service of its own, and a client of the service's language model.

    Raises
    ------
    UsageError
        If the problem cannot play proposer and evaluator.
    MissingExtra
        If the package openai is not installed.
    """
    from bbopt.llm import Client
    from bbopt.llm.server import Server

    with (
        Loopback(problem, seed) as service,  # type: ignore[arg-type]  # it checks that itself
        Client(Server(MODEL, base_url=service.api_base)) as client,
    ):
        yield Served(problem, service), client


def spent(ledger: Ledger, sign: float) -> dict[str, Any]:
    """What the ledger says of a run, under the names of a record's summary.

    Parameters
    ----------
    ledger : Ledger
        At the end of the run.
    sign : float
        1 where smaller values are better, else −1.
    """
    truths = [sign * truth for _, _, truth in ledger.history if truth is not None]
    return {
        "evaluations": ledger.metric_calls,
        "llm_calls": sum(ledger.chat_calls.values()),
        "proposer_calls": ledger.chat_calls["proposer"],
        "tokens": ledger.tokens,
        "best_seen": sign * min(truths) if truths else None,
    }

"""What the optimizers of texts from other packages share: they ask for evaluations themselves.

Each is a :class:`~bbopt.baselines.inverted.Conversation` that requests an evaluation, a
completion of a language model, or (where there is none) a proposal; the first becomes a trial,
the others are answered here, with our budget and in the thread of ``ask``. A peer has one
request at a time, so at most one trial of it is open. It is never told the budget: it goes on
until the run asks no more, and its state is the log of asks and tells.
"""

from __future__ import annotations

import logging
import math
import re
import weakref
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from bbopt.base import Optimizer
from bbopt.baselines.inverted import Conversation, Ended
from bbopt.baselines.minibatch import draw_minibatch
from bbopt.budget import Budget
from bbopt.errors import SpaceError
from bbopt.polca.proposer import (
    MAX_UNUSABLE,
    Complaint,
    Request,
    Seen,
    make_proposer,
    room_for,
)
from bbopt.space import Params
from bbopt.trial import NO_USAGE, Best, Outcome, Trial, Usage

logger = logging.getLogger("bbopt.baselines")

HUGE = 1e100
"""Scores are cut to this, so that sums of them stay finite."""
MAX_BARREN = 100
"""Requests in a row that may come to no trial before a peer counts as stuck."""

PARENT, END = "@@PARENT@@\n", "\n@@END@@"
"""Round the text to improve, in the prompts of every method: a reader finds it by them."""


@dataclass(frozen=True)
class Evaluate:
    """A request to evaluate params.

    Parameters
    ----------
    params : dict
        May be outside the space, and is then scored as bad as the worst.
    repeats : int
        How often, >= 1.
    examples : tuple of int, optional
        One a repeat; drawn from the training examples where None.
    """

    params: Params
    repeats: int
    examples: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Evaluated:
    """The answer to :class:`Evaluate`.

    Parameters
    ----------
    scores : tuple of float
        One a repeat, larger is better. What was not observed has the mean of the others; where
        nothing was, the worst score so far.
    seen : tuple of (Seen or None)
        One a repeat; None where nothing was observed.
    """

    scores: tuple[float, ...]
    seen: tuple[Seen | None, ...]


@dataclass(frozen=True)
class Complete:
    """A request for a language model; answered with its text."""

    messages: list[dict[str, str]]


@dataclass(frozen=True)
class Propose:
    """A request for a proposal in place of a language model; answered with params."""

    params: Params
    seen: tuple[Seen, ...]


class NoProposal(Exception):
    """The answer where a model or proposer gave nothing usable."""


class ClosedLoop(Optimizer):
    """An optimizer of texts that asks for its evaluations itself; see the module."""

    kinds = frozenset({"text"})
    asks_initial = True
    llm_roles = frozenset({"proposer"})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._complain = Complaint(self)
        self._propose = None if self.llm is not None else make_proposer(self, self._complain)
        self._peer: Conversation | None = None
        self._asked: tuple[Trial, Evaluate] | None = None
        self._is_end_noted = False
        self._n_requests = self._n_unusable = 0
        self._usage = NO_USAGE
        self._infeasible: set[Any] = set()
        self._worst = math.inf
        if self.spec.value_range is not None:
            self._worst = min(-self.spec.sign * bound for bound in self.spec.value_range)

    @property
    def usage(self) -> Usage:
        """What proposing has used of language models so far."""
        return self._usage

    def diagnostics(self) -> dict[str, float]:
        """What became of requests for proposals, as far as it is seen outside the peer."""
        return {"proposals": self._n_requests, "unusable_proposals": self._n_unusable}

    # --- what a peer's adapter writes ----------------------------------------------------

    @abstractmethod
    def _start(self) -> Conversation:
        """Start the peer. What it returns must not refer to this object."""

    @abstractmethod
    def _own_best(self) -> Best | None:
        """What the peer would deploy and its own estimate, a loss."""

    def _took(self, request: Evaluate, outcome: Outcome) -> None:
        """Note an outcome (losses) that the peer is about to get."""

    # --- ask and tell --------------------------------------------------------------------

    def _ask(self, n: int, left: Budget) -> list[Trial]:
        self.gave_up = None
        if self._asked is not None:
            return []
        if self._peer is None:
            self._peer = self._start()
            weakref.finalize(self, self._peer.close)
        calls_before = self._usage.llm_calls
        if self.llm is not None:
            self.llm.ledger.allow(left)
        answer: Any
        for _ in range(MAX_BARREN):
            request = self._peer.request
            if isinstance(request, Ended):
                self._note_end()
                return []
            if isinstance(request, Evaluate):
                answer = self._trial(request)
            elif isinstance(request, Complete):
                spent = self._usage.llm_calls - calls_before
                answer = self._completion(request) if self._may_call(left, spent) else None
            else:
                answer = self._proposal(request)
            if answer is None:  # nobody answers now: it waits for the next ask
                return []
            if isinstance(answer, Trial):
                self._asked = answer, request
                return [answer]
            self._answer(answer)
        logger.warning("%s: no trial in %d requests: it is stopped", self.name, MAX_BARREN)
        self._peer.close()
        return []

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        if not outcome.feasible:
            self._infeasible.add(self.space.key(trial.params))
        if self._asked is None or trial.number != self._asked[0].number:
            return
        asked, request = self._asked
        self._asked = None
        self._took(request, outcome)
        self._answer(self._evaluated(asked, outcome))

    def _best(self) -> Best | None:
        """The peer's own choice and estimate, where it has one that was evaluated.

        Where one evaluation says all, nothing is to be estimated, and results of others count.
        """
        own = self._own_best()
        says_all = self.spec.deterministic is True and self.spec.examples is None
        if own is None or says_all or self.space.key(own.params) in self._infeasible:
            return super()._best()
        return own if self._archive.mean(own.params) is not None else super()._best()

    # --- answers ---------------------------------------------------------------------------

    def _answer(self, answer: Any) -> None:
        assert self._peer is not None
        self._peer.answer(answer)
        self._note_end()

    def _note_end(self) -> None:
        """Say once why the peer goes on no more, if it has raised something."""
        assert self._peer is not None
        request = self._peer.request
        if isinstance(request, Ended) and request.reason is not None and not self._is_end_noted:
            self._is_end_noted = True
            logger.warning("%s has ended: %s", self.name, request.reason)

    def _trial(self, request: Evaluate) -> Trial | Evaluated:
        repeats, context = request.repeats, {"examples": request.examples}
        if request.examples is None:
            rng = self._stream(self.next_number)
            repeats, context = draw_minibatch(self.spec, request.repeats, rng)
        try:
            return self._new_trial(request.params, repeats, context)
        except SpaceError as error:
            self._complain("a text", str(error))
            bad = Seen(None, self.spec.sign * -self._lowest(), str(error))
            return Evaluated((self._lowest(),) * repeats, (bad,) * repeats)

    def _may_call(self, left: Budget, spent: int) -> bool:
        """Whether a call is left; a recorded one is, in whichever ask it was made."""
        return self.llm.replaying or left.llm_calls is None or left.llm_calls > spent

    def _completion(self, request: Complete) -> str | NoProposal | None:
        prompt = "".join(message["content"] for message in request.messages)
        reply = self.llm.complete(
            request.messages,
            role="proposer",
            draw=self._n_requests,
            seed=self.seed,
            max_tokens=room_for({"parent": parent_in(prompt)}),
        )
        self._usage += reply.usage
        if reply.error is None:
            self._n_requests += 1
            text: str = reply.text
            return text.replace(PARENT, "").replace(END, "")
        if reply.usage.llm_calls == 0:  # it was not sent
            self.gave_up = "llm"
            logger.warning("%s: no completion: %s", self.name, reply.error)
            return None
        self._complain("a completion", reply.error)
        return self._no_proposal(reply.error)

    def _proposal(self, request: Propose) -> Params | NoProposal | None:
        assert self._propose is not None
        wanted = Request(request.params, request.seen, "", self._n_requests)
        (proposal,) = self._propose([wanted])
        if proposal.params is None:
            return self._no_proposal(proposal.error)
        self._n_requests += 1
        return proposal.params

    def _no_proposal(self, error: str | None) -> NoProposal | None:
        """The answer to a request that came to nothing; None where none has come to anything."""
        if self._n_unusable == self._n_requests >= MAX_UNUSABLE:
            self.gave_up = "proposer"
            return None
        self._n_requests += 1
        self._n_unusable += 1
        return NoProposal(error)

    def _evaluated(self, asked: Trial, outcome: Outcome) -> Evaluated:
        """Losses as scores and what was seen, one a repeat of what was asked."""
        n = asked.repeats
        losses: list[float] = list(outcome.values[:n])
        if outcome.count and not outcome.values:
            losses = [outcome.mean] * n  # more evaluations than single values are kept of
        if not outcome.feasible:
            losses = []
        losses += [math.nan] * (n - len(losses))
        scores = [max(min(-loss, HUGE), -HUGE) for loss in losses if loss == loss]
        self._worst = min([self._worst, *scores])
        absent = sum(scores) / len(scores) if scores else self._lowest()
        each = iter(scores)
        feedback = (*outcome.feedback, *("",) * n)
        examples = asked.context.get("examples") or (None,) * n
        return Evaluated(
            tuple(next(each) if loss == loss else absent for loss in losses),
            tuple(
                Seen(example, self.spec.sign * loss, said) if loss == loss else None
                for example, loss, said in zip(examples, losses, feedback, strict=False)
            ),
        )

    def _lowest(self) -> float:
        return 0.0 if math.isinf(self._worst) else self._worst


def parent_in(prompt: str) -> str:
    """The text between the marks, or nothing."""
    found = re.search(f"{PARENT}(.*?){END}", prompt, re.DOTALL)
    return found[1] if found else ""

"""Who proposes: a language model, a function, or generic edits; all behind one call.

A proposer of one's own is any callable ``(params, feedback, rng) -> params``, the signature of
:attr:`bbopt.Problem.propose`: ``feedback`` has what each evaluation of the parent said, a text
or a mapping of texts, and ends with ``{"summary": text}`` where there is a summary.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bbopt import seeding
from bbopt.base import Optimizer
from bbopt.errors import BBOptError
from bbopt.polca.prompts import proposal_schema, proposer_messages
from bbopt.space import Params, Space, Text
from bbopt.spec import Spec
from bbopt.trial import NO_USAGE, Feedback, Usage

logger = logging.getLogger("bbopt.polca")

MOVE = 0.1
"""Standard deviation of a generic edit of a number, in units of its range."""

MAX_UNUSABLE = 20
"""Proposals of which not one is usable after which a search gives up (``"proposer"``)."""


@dataclass(frozen=True)
class Seen:
    """One evaluation of the parent, as the proposer sees it.

    Parameters
    ----------
    example : int or None
        What it was about.
    value : float
        In the user's direction.
    feedback : str or mapping of str
        What it said; may be empty.
    """

    example: int | None
    value: float
    feedback: Feedback = ""

    def fields(self) -> dict[str, str]:
        """Texts by heading, the score among them."""
        feedback = self.feedback
        texts = {"feedback": feedback} if isinstance(feedback, str) else dict(feedback)
        name = "evaluation" if self.example is None else f"example {self.example}"
        return {name: f"score {self.value:.4g}", **texts}


@dataclass(frozen=True)
class Request:
    """One proposal that is wanted.

    Parameters
    ----------
    params : dict
        The parent.
    seen : tuple of Seen
        Its evaluations on one minibatch.
    summary : str
        What the whole history taught; may be empty.
    draw : int
        Number of the request in the run; what is random in the reply depends on it alone.
    """

    params: Params
    seen: tuple[Seen, ...]
    summary: str
    draw: int


@dataclass(frozen=True)
class Proposal:
    """What came of a request.

    Parameters
    ----------
    params : dict or None
        Valid params; None where the reply was not usable.
    error : str or None
        Why not.
    is_outage : bool
        Whether nobody was asked, as the server is down or the budget has no room, or the run
        was interrupted.
    is_full : bool
        Whether that is for want of room in the budget.
    usage : Usage
        What it took.
    """

    params: Params | None
    error: str | None = None
    is_outage: bool = False
    is_full: bool = False
    usage: Usage = NO_USAGE


Propose = Callable[[Sequence[Request]], list[Proposal]]


class Complaint:
    """Says once, as a warning, why something that was asked for could not be used.

    What a recording alone answered was said when it was recorded.

    Parameters
    ----------
    optimizer : Optimizer
        Who asks.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._name, self._llm = optimizer.name, optimizer.llm
        self._is_said = False

    def __call__(self, what: str, error: str | None) -> None:
        """Warn that ``what`` could not be used, if it is the first."""
        if self._is_said or (self._llm is not None and self._llm.replaying):
            return
        self._is_said = True
        more = "more such are not reported"
        logger.warning("%s: %s could not be used (%s): %s", self._name, what, more, error)


def make_proposer(optimizer: Optimizer, complain: Complaint | None = None) -> Propose:
    """What answers the requests of an optimizer, in their order.

    Its language model where that has the role, else its ``proposer``, else generic edits.
    ``complain`` hears of the proposals that could not be used.
    """
    propose: Propose
    if optimizer.llm is not None and "proposer" in optimizer.llm.roles:
        propose = _ModelProposer(optimizer.spec, optimizer.llm, optimizer.seed)
    else:
        function = optimizer.proposer or _GenericEdits(optimizer.space)
        propose = _FunctionProposer(optimizer.space, function, optimizer.seed, optimizer.worker)
    heard = complain or Complaint(optimizer)

    def watched(requests: Sequence[Request]) -> list[Proposal]:
        proposals = propose(requests)
        for proposal in proposals:
            if proposal.params is None and not proposal.is_outage:
                heard("a proposal", proposal.error)
        return proposals

    return watched


class _FunctionProposer:
    """Calls ``(params, feedback, rng) -> params``; what it raises is no proposal."""

    def __init__(
        self, space: Space, function: Callable[..., Params], seed: int, worker: int
    ) -> None:
        self._space, self._function = space, function
        self._seed, self._worker = seed, worker

    def __call__(self, requests: Sequence[Request]) -> list[Proposal]:
        return [self._one(request) for request in requests]

    def _one(self, request: Request) -> Proposal:
        feedback: list[Feedback] = [s.feedback for s in request.seen]
        if request.summary:
            feedback.append({"summary": request.summary})
        rng = seeding.stream(self._seed, "propose", worker=self._worker, number=request.draw)
        try:
            params = self._function(dict(request.params), feedback, rng)
            return Proposal(self._space.validate(params))
        except Exception as error:  # noqa: BLE001 -- the proposer is as foreign as an evaluation
            return Proposal(None, f"{type(error).__name__}: {error}")


class _ModelProposer:
    """Asks a language model, several requests at once."""

    def __init__(self, spec: Spec, llm: Any, seed: int) -> None:
        self._spec, self._llm, self._seed = spec, llm, seed
        self._schema = proposal_schema(spec.space)

    def __call__(self, requests: Sequence[Request]) -> list[Proposal]:
        if len(requests) < 2:
            return [self._one(request) for request in requests]
        from bbopt.llm.together import together

        return together(self._one, requests, self._llm.max_concurrent)

    def _one(self, request: Request) -> Proposal:
        examples = [seen.fields() for seen in request.seen]
        reply = self._llm.complete(
            proposer_messages(self._spec, request.params, examples, request.summary),
            role="proposer",
            draw=request.draw,
            seed=self._seed,
            schema=self._schema,
            max_tokens=room_for(request.params),
        )
        if reply.error is not None:
            from bbopt.llm.exchange import INTERRUPTED

            is_missed = reply.usage.llm_calls == 0 or INTERRUPTED in reply.error
            is_full = reply.full is not None
            return Proposal(None, reply.error, is_missed, is_full, reply.usage)
        try:
            given = reply.data["params"]
            changed = {name: given[name] for name in self._spec.space if name in given}
            params = self._spec.space.validate({**request.params, **changed})
        except (BBOptError, KeyError, TypeError) as error:
            return Proposal(None, f"reply: {error}", usage=reply.usage)
        return Proposal(params, usage=reply.usage)


def room_for(params: Mapping[str, Any]) -> int:
    """Tokens that a reply may need: twice the present texts, and some for reasoning."""
    n_bytes = sum(len(str(value).encode()) for value in params.values())
    return 768 + 2 * n_bytes // 3


class _GenericEdits:
    """Changes one parameter: an edit of a text, a step of a number, another choice."""

    def __init__(self, space: Space) -> None:
        self._space = space

    def __call__(self, params: Params, feedback: Sequence[Feedback], rng: Any) -> Params:
        name = str(rng.choice(list(self._space)))
        return {**params, name: self._changed(name, params[name], rng)}

    def _changed(self, name: str, value: Any, rng: np.random.Generator) -> Any:
        from bbopt.llm.edit import edit_text

        dimension = self._space[name]
        if isinstance(dimension, Text):
            return edit_text(value, rng, max_chars=dimension.max_chars, language=dimension.language)
        alone = Space({name: dimension})
        x = alone.to_unit({name: value})
        if dimension.kind == "categorical":
            return alone.sample(rng, 1)[0][name]
        return alone.from_unit(np.clip(x + MOVE * rng.standard_normal(x.shape), 0.0, 1.0))[0][name]

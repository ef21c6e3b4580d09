"""A language model as the guide: asked a handful of times in a run, never waited for early.

A request goes out in a thread and its reply is applied a fixed number of rounds later, so that how
long a model takes changes nothing. What fails leaves everything as it is; after three failures in
a row nothing more is asked. All ranks see the same requests: the one with the first living agent
makes them and tells the others what came. Every wait is bounded by the time-outs of the client,
whose failures are recorded like replies, so that a replayed run equals the live one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bbopt.lacmas.draws import Draws
from bbopt.lacmas.guides import contract, schedule
from bbopt.lacmas.guides.base import Advice, Context, Guide, GuideSettings
from bbopt.lacmas.guides.facts import Facts
from bbopt.lacmas.guides.post import Post
from bbopt.lacmas.guides.prompts import ACT_SCHEMA, cooperate_schema
from bbopt.lacmas.guides.replies import read_coefficients, read_weights
from bbopt.lacmas.guides.rules import Rules
from bbopt.lacmas.network import Network
from bbopt.trial import Usage

logger = logging.getLogger("bbopt.lacmas")

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_FAILURES = 3
"""Failures in a row after which nothing more is asked."""
MAX_TOKENS = 1024
"""Room for a reply: a model that thinks aloud needs more than the published 200."""
ACT, COOPERATE = "act", "cooperate"


@dataclass(frozen=True)
class Refresh:
    """Requests of one round, under way; JSON values, the same on every rank.

    Attributes
    ----------
    kind : {"act", "cooperate"}
        What was asked for.
    due : int
        The round from which the replies count.
    groups : list of int
        The group of each agent, -1 for none.
    prompts : list of str
        The requests, each once.
    labels : list of list of str
        For each request the neighbours whose weights it asks for.
    request : list of int
        The request of each group, -1 for none.
    """

    kind: str
    due: int
    groups: list[int]
    prompts: list[str]
    labels: list[list[str]]
    request: list[int]


class LLMGuide(Guide):
    """Coefficients and weights from a language model; see the module.

    Parameters
    ----------
    network, draws, settings
        See :class:`Guide`.
    llm : Client
        A :class:`bbopt.llm.Client` that answers the role "guide".
    """

    shared: ClassVar[tuple[str, ...]] = (
        *Guide.shared,
        *("horizon", "requests", "fallbacks", "failures", "spent", "has_wished", "has_given_up"),
    )

    def __init__(self, network: Network, draws: Draws, settings: GuideSettings, llm: Any) -> None:
        super().__init__(network, draws, settings)
        self.horizon = settings.horizon
        """T; None until it is measured."""
        self.requests = 0
        """Requests made."""
        self.fallbacks = 0
        """Requests that came to nothing."""
        self.failures = 0
        """How many of the last ones, in a row."""
        self.spent = [0, 0, 0.0]
        """Calls (repairs included), tokens and money of the requests whose replies were due."""
        self.has_wished = False
        """Whether weights have been changed."""
        self.has_given_up = False
        """Whether nothing more is asked."""
        self.pending: list[Refresh] = []
        self._llm = llm
        self._post = Post(self._reply)
        self._rules = Rules(network, draws, settings)
        self._has_complained = False
        self._most_mass = float(network.gather(self.mass).max(initial=0.0))

    # --- a round ------------------------------------------------------------------------

    def _advise(self, context: Context) -> Advice:
        now = context.round_
        d, c, wishes = context.d, context.c, None
        for refresh in [r for r in self.pending if r.due <= now]:
            self.pending.remove(refresh)
            answers = self._answers(refresh)
            if refresh.kind == ACT:
                d, c = self._acted(refresh, answers, d, c, context.alive)
            elif not np.isnan(answers).all():
                wishes = self._wished(refresh, answers)
        if self.has_given_up:
            if self.settings.fallback == "rules":
                self._rules.last = self.last
                ruled = self._rules.advise(replace(context, d=d, c=c))
                return ruled if wishes is None else replace(ruled, wishes=wishes)
        else:
            self._settle_horizon(context)
            if self.horizon is not None:
                self._ask(context, self.horizon)
        is_over = self.horizon is not None and now > self.horizon
        if is_over and self.settings.after == "reset":
            d, c = self.start()
        return Advice(d, c, wishes)

    def _settle_horizon(self, context: Context) -> None:
        """Measure the horizon where none is given: when swarms collapse, or money runs out."""
        now = context.round_
        if self.horizon is not None or not self._is_due(context, schedule.EVERY):
            return
        ends = schedule.expected_end(context.history, now, self.settings.limits[0])
        if context.budget is not None:
            ends = np.minimum(ends, now * context.budget / np.maximum(context.evaluations, 1))
        alive = self.network.gather(context.alive)
        everybody = self.network.gather(ends)[alive]
        estimate = float(np.median(everybody)) if len(everybody) else np.inf
        if np.isfinite(estimate):
            self.horizon = schedule.settled(estimate, now)

    def _ask(self, context: Context, horizon: int) -> None:
        """Make the requests that are due."""
        wanted = self.settings.asks
        kinds = [
            kind
            for kind, is_due in ((ACT, schedule.acts), (COOPERATE, schedule.cooperates))
            if wanted in (kind, "both") and is_due(horizon, self.last, context.round_)
        ]
        if not kinds:
            return
        facts = Facts.of(self.network, context, self.settings.calls)
        for kind in kinds:
            pairs = (
                facts.act_prompts(context.round_, horizon, self.settings)
                if kind == ACT
                else facts.cooperate_prompts(context.round_)
            )
            unique = dict.fromkeys(pair for pair in pairs if pair is not None)
            place = {pair: i for i, pair in enumerate(unique)}
            refresh = Refresh(
                kind,
                context.round_ + self.settings.lag,
                facts.groups.tolist(),
                [prompt for prompt, _ in unique],
                [list(labels) for _, labels in unique],
                [-1 if pair is None else place[pair] for pair in pairs],
            )
            if refresh.prompts:
                self.requests += len(refresh.prompts)
                self.pending.append(refresh)
                self._send(refresh)

    # --- requests and replies -------------------------------------------------------------

    def _send(self, refresh: Refresh) -> None:
        if self._caller_place is not None:
            for prompt, labels in zip(refresh.prompts, refresh.labels, strict=True):
                is_act = refresh.kind == ACT
                self._post.send(prompt, ACT_SCHEMA if is_act else cooperate_schema(labels))

    def _reply(self, prompt: str, schema: Mapping[str, Any]) -> Any:
        return self._llm.complete(
            [{"role": "user", "content": prompt}],
            role="guide",
            draw=0,  # requests of equal words are one request, which a recording answers
            seed=self.settings.seed,
            schema=schema,
            max_tokens=MAX_TOKENS,
            temperature=0.0,
        )

    def _answers(self, refresh: Refresh) -> Array:
        """What came of each request, ``(requests, k)``: NaN where nothing; collective.

        Columns are d and c, or the groups in order; those that are no neighbours are NaN.
        """
        width = 2 if refresh.kind == ACT else max(refresh.groups) + 1
        answers = np.full((len(refresh.prompts), width), np.nan)
        spent = np.zeros(3)
        if self._caller_place is not None:
            self._send(refresh)  # what the caller before it had sent, should that have died
            for i, (prompt, labels) in enumerate(zip(refresh.prompts, refresh.labels, strict=True)):
                reply = self._post.collect(prompt)
                spent += (reply.usage.llm_calls, reply.usage.tokens, reply.usage.cost)
                numbers: Sequence[float] | None
                if refresh.kind == ACT:
                    numbers, columns = read_coefficients(reply.text), [0, 1]
                else:
                    numbers = read_weights(reply.text, labels)
                    columns = [int(label) for label in labels]
                if numbers is None:
                    self._complain(reply.error or "the reply has no usable numbers")
                else:
                    answers[i, columns] = numbers
        told = self._from_caller(np.append(answers, spent))
        answers = told[:-3].reshape(answers.shape)
        calls, tokens, cost = told[-3:].tolist()
        self.spent = [self.spent[0] + int(calls), self.spent[1] + int(tokens), self.spent[2] + cost]
        for is_lost in (bool(np.isnan(row).all()) for row in answers):
            self.fallbacks += is_lost
            self.failures = self.failures + 1 if is_lost else 0
            self.has_given_up |= self.failures >= MOST_FAILURES
        return answers

    def _complain(self, why: str) -> None:
        """Warn of the first failure."""
        if not self._has_complained:
            self._has_complained = True
            logger.warning("no advice from the language model (said once): %s", why)

    def _from_caller(self, values: Array) -> Array:
        """The values that the caller has, on every rank; collective."""
        rows = np.zeros((len(self.network.agents), len(values)))
        if self._caller_place is not None:
            rows[self._caller_place] = values
        return np.asarray(self.network.gather(rows)[self._caller], dtype=float)

    @property
    def _caller(self) -> int:
        """The agent whose rank makes the requests."""
        return int(np.argmax(self.network.living))

    @property
    def _caller_place(self) -> int | None:
        """Its place among those owned here, None where it is not."""
        places = np.flatnonzero(self.network.agents == self._caller)
        return int(places[0]) if len(places) else None

    # --- from replies to advice -------------------------------------------------------------

    def _acted(
        self, refresh: Refresh, answers: Array, d: Array, c: Array, alive: npt.NDArray[np.bool_]
    ) -> tuple[Array, Array]:
        """The coefficients that a refresh leads to, ``(a,)`` each."""
        groups = np.array(refresh.groups)[self.network.agents]
        of_group = np.vstack([answers[refresh.request], np.full(2, np.nan)])  # the last: no group
        wanted = np.where(alive[:, None], of_group[groups], np.nan)
        settings = self.settings
        return (
            contract.limited(wanted[:, 0], d, settings.d_range, contract.STEP_D),
            contract.limited(wanted[:, 1], c, settings.c_range, contract.STEP_C),
        )

    def _wished(self, refresh: Refresh, answers: Array) -> Array:
        """The weights that a refresh leads to, ``(e,)``."""
        groups = np.array(refresh.groups)
        n = groups.max() + 1
        table = np.full((n + 1, n + 1), np.nan)  # the last row and column: no group
        for group, request in enumerate(refresh.request):
            if request >= 0:
                table[group, :n] = answers[request]
        here = groups[self.network.agents][self.network.rows]
        self.has_wished = True
        return self._wishes(table[here, groups[self.network.neighbours]])

    @property
    def _least_eigenvalue(self) -> float:
        """Of the weights in force: at least 1 − 2 max Σ_j a_ij once they have changed."""
        least = super()._least_eigenvalue
        return min(least, 1 - 2 * self._most_mass) if self.has_wished else least

    # --- accounts -----------------------------------------------------------------------

    @property
    def usage(self) -> Usage:
        """What the requests whose replies were due have used, the same on every rank."""
        calls, tokens, cost = self.spent
        return Usage(int(calls), int(tokens), cost)

    def diagnostics(self) -> dict[str, float]:
        """Requests made, tokens of those due by now, and those that came to nothing."""
        return {
            "guide_calls": self.requests,
            "guide_tokens": int(self.spent[1]),
            "guide_fallbacks": self.fallbacks,
        }

    def state(self, network: Network) -> dict[str, Any]:
        """See :meth:`Guide.state`; with the requests under way."""
        return super().state(network) | {"pending": [asdict(r) for r in self.pending]}

    def restore(self, state: Mapping[str, Any], network: Network) -> None:
        """See :meth:`Guide.restore`; what was under way is asked again."""
        super().restore(state, network)
        self.pending = [Refresh(**fields) for fields in state["pending"]]
        for refresh in self.pending:
            self._send(refresh)

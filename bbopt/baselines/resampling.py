"""Two plain uses of a proposer, to compare with: best of N, and chains with random restarts.

Neither has a memory, a summary or a filter, and both return the best mean that they saw once:
what a careful method has to beat at the same number of evaluations and of proposals.
"""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bbopt.archive import Archive
from bbopt.base import Optimizer
from bbopt.baselines.minibatch import draw_minibatch
from bbopt.budget import Budget
from bbopt.polca.proposer import MAX_UNUSABLE, Request, Seen, make_proposer
from bbopt.registry import register_optimizer
from bbopt.settings import setting
from bbopt.space import Params
from bbopt.trial import NO_USAGE, Outcome, Trial, Usage

logger = logging.getLogger("bbopt.baselines")


@dataclass(eq=False)
class Chain:
    """A candidate, what was seen of it, and the minibatch that it and its children share."""

    params: Params
    repeats: int
    context: dict[str, Any]
    seen: tuple[Seen, ...] = ()
    loss: float = math.inf
    n_rejected: int = 0


class Resampling(Optimizer):
    """What both share: proposals from the candidates of chains, and their evaluation."""

    kinds = frozenset({"text", "float", "int", "categorical"})
    asks_initial = True
    llm_roles = frozenset({"proposer"})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._propose = make_proposer(self)
        self._n_requests = self._n_unusable = 0
        self._usage = NO_USAGE
        self._chains: list[Chain] = []
        self._open: dict[int, tuple[Chain, Params | None]] = {}  # None: the start of the chain

    @property
    def usage(self) -> Usage:
        """What proposing has used of language models so far."""
        return self._usage

    def diagnostics(self) -> dict[str, float]:
        """What became of proposals."""
        return {"proposals": self._n_requests, "unusable_proposals": self._n_unusable}

    @abstractmethod
    def _n_starts(self, n: int) -> int:
        """How many of the ``n`` trials that are wanted start a chain."""

    @abstractmethod
    def _parents(self, n: int) -> list[Chain]:
        """The chains to propose from next, at most ``n``; one may be named more than once."""

    @abstractmethod
    def _learn(self, chain: Chain, child: Params, outcome: Outcome) -> None:
        """What a child's outcome (losses) means for its chain."""

    def _new_archive(self) -> Archive:
        return Archive(self.space, deterministic=True)  # the best mean, however it came about

    def _ask(self, n: int, left: Budget) -> list[Trial]:
        self.gave_up = None
        if self.llm is not None:
            self.llm.ledger.allow(left)
        trials = [self._start_chain() for _ in range(self._n_starts(n))]
        return trials + self._children(self._parents(n - len(trials)), left)

    def _start_chain(self) -> Trial:
        rng = self._stream(self.next_number)
        params = self.space.initial or self.space.sample(self._stream(0), 1)[0]
        chain = Chain(params, *draw_minibatch(self.spec, self.settings.minibatch, rng))
        self._chains.append(chain)
        return self._hand_out(chain, None)

    def _hand_out(self, chain: Chain, child: Params | None) -> Trial:
        params = chain.params if child is None else child
        trial = self._new_trial(params, chain.repeats, chain.context)
        assert trial.number is not None
        self._open[trial.number] = chain, child
        return trial

    def _children(self, parents: Sequence[Chain], left: Budget) -> list[Trial]:
        """A child of each parent; of none where nobody answers, or nothing usable."""
        trials: list[Trial] = []
        before = self._n_requests, self._n_unusable
        calls = left.llm_calls if self.llm is not None else None
        for _ in range(MAX_UNUSABLE):
            wanted = parents if calls is None else parents[:calls]
            if not wanted:
                break
            requests = [
                Request(chain.params, chain.seen, "", self._n_requests + i)
                for i, chain in enumerate(wanted)
            ]
            proposals = self._propose(requests)
            self._n_requests += len(requests)
            used = sum((proposal.usage for proposal in proposals), NO_USAGE)
            self._usage += used
            calls = None if calls is None else max(calls - used.llm_calls, 0)
            rest = list(parents[len(wanted) :])
            for chain, proposal in zip(wanted, proposals, strict=True):
                if proposal.params is None:
                    rest.append(chain)
                else:
                    trials.append(self._hand_out(chain, proposal.params))
            self._n_unusable += sum(p.params is None and not p.is_outage for p in proposals)
            parents = rest
            outage = next((p.error for p in proposals if p.is_outage), None)
            if outage is not None:
                self.gave_up = "llm"
                logger.warning("%s: no proposal: %s", self.name, outage)
                break
        else:
            self.gave_up = None if trials else "proposer"
        if not trials:  # as if it had not been
            self._n_requests, self._n_unusable = before
        return trials

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        chain, child = self._open.pop(-1 if trial.number is None else trial.number, (None, None))
        if chain is None:
            return
        if child is not None:
            self._learn(chain, child, outcome)
        else:
            self._move(chain, chain.params, outcome)

    def _move(self, chain: Chain, params: Params, outcome: Outcome) -> None:
        """Let a chain stand at ``params``, of which ``outcome`` (losses) was seen."""
        chain.params, chain.n_rejected = params, 0
        chain.loss = outcome.mean if outcome.count and outcome.feasible else math.inf
        ids = chain.context.get("examples") or (None,) * chain.repeats
        said = (*outcome.feedback, *("",) * chain.repeats)
        chain.seen = tuple(
            Seen(example, self.spec.sign * loss, text)
            for example, loss, text in zip(ids, outcome.values, said, strict=False)
            if loss == loss
        )


@dataclass(frozen=True)
class BestOfNSettings:
    """The settings of ``best-of-n``."""

    minibatch: int = setting(5, "m: evaluations of every candidate", low=1, high=1000)


@register_optimizer("best-of-n")
class BestOfN(Resampling):
    """Proposals from the initial params alone, each evaluated on the same m examples.

    N is what the budget pays for. ``best`` is the best of N means: it is too good on average.
    Proposals that are made before the initial params have been evaluated see no feedback.
    """

    Settings = BestOfNSettings

    def _n_starts(self, n: int) -> int:
        return 0 if self._chains else 1

    def _parents(self, n: int) -> list[Chain]:
        return self._chains * n

    def _learn(self, chain: Chain, child: Params, outcome: Outcome) -> None:
        pass  # every proposal is from the initial params


@dataclass(frozen=True)
class RandomRestartsSettings:
    """The settings of ``random-restarts``."""

    minibatch: int = setting(5, "m: evaluations of every candidate", low=1, high=1000)
    patience: int = setting(5, "children in a row that a chain may refuse before it ends", low=1)


@register_optimizer("random-restarts")
class RandomRestarts(Resampling):
    """Chains of proposals, each from the one accepted last.

    A child is accepted where it is no worse than its parent on the minibatch of the chain.
    After ``patience`` refusals a new chain starts from the initial params, with a minibatch of
    its own. With K trials in flight there are K chains.
    """

    Settings = RandomRestartsSettings

    def _n_starts(self, n: int) -> int:
        return n - len(self._parents(n))

    def _parents(self, n: int) -> list[Chain]:
        busy = [chain for chain, _ in self._open.values()]
        return [chain for chain in self._chains if chain not in busy][:n]

    def _learn(self, chain: Chain, child: Params, outcome: Outcome) -> None:
        if outcome.count and outcome.feasible and outcome.mean <= chain.loss:
            self._move(chain, child, outcome)
            return
        chain.n_rejected += 1
        if chain.n_rejected >= self.settings.patience:
            self._chains.remove(chain)

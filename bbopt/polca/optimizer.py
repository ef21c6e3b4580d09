"""POLCA: generative search with a memory, as ask and tell.

Reference: Ren, Nie, Xie and Cheng, "POLCA: Stochastic Generative Optimization with LLM"
(arXiv 2603.14769). A round selects k candidates by priority, evaluates them once more on a
minibatch, asks the proposer for a child of each from what these evaluations said and from a
summary of all that was seen, refuses children within ε of a known candidate before they cost
an evaluation, and evaluates the others on the minibatch of their parent.

``variant="paper"`` is that. The default departs from it where it lost in measurements: see
:data:`bbopt.polca.settings.VARIANTS`. Rounds overlap where more trials are asked for than one
round has to give. Nothing is evaluated twice where the spec says ``deterministic``.
"""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from bbopt import checks, seeding
from bbopt.base import Optimizer
from bbopt.budget import Budget
from bbopt.errors import UsageError
from bbopt.polca import summarizer
from bbopt.polca.embed import Distance, Embedding, hashed_ngrams
from bbopt.polca.epsnet import colliding, farthest_first
from bbopt.polca.memory import Memory
from bbopt.polca.priority import Free, Selection, pareto_front, top, ucb_priority
from bbopt.polca.proposer import (
    MAX_UNUSABLE,
    Complaint,
    Proposal,
    Request,
    Seen,
    make_proposer,
)
from bbopt.polca.rounds import Job, Kind, Pair, Round
from bbopt.polca.settings import EXACT, MINIBATCH, VARIANTS, PolcaSettings
from bbopt.registry import register_optimizer
from bbopt.space import Array, Params
from bbopt.spec import Spec
from bbopt.trial import NO_USAGE, Outcome, Trial, Usage

logger = logging.getLogger("bbopt.polca")

MAX_BARREN = 100
"""Rounds in a row that may give nothing to evaluate before an ask gives up."""

PATIENCE = 10
"""Such rounds in a row after which other parents have their turn."""


@dataclass
class Course:
    """How far the search is; what an ask that comes to nothing takes back."""

    round: int = 0
    position: int = 0  # in the epochs of shuffled examples
    draw: int = 0  # of the proposer
    summaries: int = 0
    summary: str = ""
    read: int = 0  # candidates before this one are in the summary


@dataclass
class Tally:
    """What became of proposals."""

    proposals: int = 0
    unusable: int = 0
    refused: int = 0
    compared: int = 0
    improved: int = 0
    gain: float = 0.0


@register_optimizer("polca")
class Polca(Optimizer):
    """Search from what evaluations say, with a memory of all of them, for texts above all.

    POLCA (arXiv 2603.14769) with the departures that won in measurements; ``variant="paper"``
    is the published method.
    """

    kinds = frozenset({"text", "float", "int", "categorical"})
    asks_initial = True
    llm_roles = frozenset({"proposer", "summarizer"})
    confirm = VARIANTS["bbopt"]["confirm"]
    Settings = PolcaSettings

    def __init__(self, spec: Spec, **arguments: Any) -> None:
        super().__init__(spec, **arguments)
        rule = VARIANTS[self.settings.variant]
        if spec.deterministic is True:
            rule = rule | EXACT
        given = {name: getattr(self.settings, name, None) for name in rule}
        self._rule = rule | {name: value for name, value in given.items() if value is not None}
        self.confirm = rule["confirm"]  # type: ignore[misc]
        self._examples = spec.examples.train if spec.examples is not None else ()
        self._once = spec.deterministic is True
        self._select_from = self._selection()
        self._distance: Distance = self.settings.distance
        if isinstance(self.settings.distance, str):
            checks.one_of("distance", self.settings.distance, ("ngrams",))
            self._distance = Embedding(hashed_ngrams)
        self._complain = Complaint(self)
        self._propose = make_proposer(self, self._complain)
        self._memory = Memory(self.space)
        self._queue: list[Job] = []
        self._out: dict[int, Job] = {}
        self._rounds: dict[int, Round] = {}
        self._course, self._tally, self._usage = Course(), Tally(), NO_USAGE

    @property
    def usage(self) -> Usage:
        """What proposers and summarizers have used so far."""
        return self._usage

    def diagnostics(self) -> dict[str, float]:
        """What became of proposals.

        ``improvement_rate`` and ``mean_gain`` compare children with their parents on the same
        minibatch; ``duplicate_rate`` is the share of usable proposals that were within ε of a
        known candidate.
        """
        t = self._tally
        usable = t.proposals - t.unusable
        return {
            "candidates": len(self._memory),
            "rounds": self._course.round,
            "proposals": t.proposals,
            "unusable_proposals": t.unusable,
            "duplicate_rate": t.refused / usable if usable else 0.0,
            "improvement_rate": t.improved / t.compared if t.compared else 0.0,
            "mean_gain": t.gain / t.compared if t.compared else 0.0,
        }

    # --- ask --------------------------------------------------------------------------

    def _ask(self, n: int, left: Budget) -> list[Trial]:
        self.gave_up = None
        before, spent, barren = self._progress(), self._usage, 0
        refused = Counter[int]()  # rounds in this ask of which nothing came, by parent
        if self.llm is not None:
            self.llm.ledger.allow(left)
        if not self._course.round and (self.space.initial or not self._memory.params):
            self._memory.admit(self._start())
        trials: list[Trial] = []
        while len(trials) < n:
            ready = next((r for r, one in self._rounds.items() if one.is_ready), None)
            if self._queue:
                trials.append(self._hand_out(self._queue.pop(0)))
            elif ready is not None:
                calls = self._calls_left(left, spent)
                parents = {pair.candidate for pair in self._rounds[ready].pairs}
                if calls < 1 or not self._make_children(ready, calls):
                    break
                if not self._queue:
                    refused.update(parents)
            elif barren > MAX_BARREN or not self._start_round(left, refused):
                break
            else:
                barren += 1
        if not trials:  # as if it had not been
            self._course, self._tally, self._rounds = before
        return trials

    def _start(self) -> Params:
        """What is in use today, if that is known."""
        return self.space.initial or self.space.sample(self._stream(0), 1)[0]

    def _progress(self) -> tuple[Course, Tally, dict[int, Round]]:
        """Copies of all that an ask without trials may have changed."""
        rounds = {number: copy.copy(one) for number, one in self._rounds.items()}
        return copy.copy(self._course), copy.copy(self._tally), rounds

    def _calls_left(self, left: Budget, spent: Usage) -> float:
        """How many requests may still be made in this ask, which began with ``spent``."""
        if self.llm is None or left.llm_calls is None:
            return np.inf
        return left.llm_calls - (self._usage.llm_calls - spent.llm_calls)

    def _hand_out(self, job: Job) -> Trial:
        context = {"examples": job.examples} if job.examples else None
        trial = self._new_trial(self._memory.params[job.candidate], job.repeats, context)
        assert trial.number is not None
        self._out[trial.number] = job
        return trial

    # --- a round ------------------------------------------------------------------------

    def _start_round(self, left: Budget, refused: Counter[int]) -> bool:
        """Select parents and queue their evaluations; whether there is any parent."""
        parents = self._parents(refused)
        if not parents:
            return False
        number = self._course.round
        m = self._rule["minibatch"] or affordable(left, self.evaluations_ask)
        batches = [self._minibatch(m) for _ in range(self._rule["n_parents"] // len(parents) or 1)]
        pairs = [Pair(parent, batch, m) for batch in batches for parent in parents]
        self._course.round += 1
        self._rounds[number] = Round(pairs)
        for place, pair in enumerate(pairs):
            job = self._job(pair.candidate, pair, "parent", number, place)
            if job is not None:
                self._rounds[number].waiting += 1
                self._queue.append(job)
        return True

    def _parents(self, refused: Counter[int]) -> list[int]:
        memory, k = self._memory, self._rule["n_parents"]
        free = np.ones(len(memory), dtype=bool)
        busy = [job.candidate for job in (*self._queue, *self._out.values())]
        busy += [p.candidate for r in self._rounds.values() if not r.has_proposed for p in r.pairs]
        free[busy] = False
        sound = free & ((memory.count > 0) | (memory.failed == 0))
        free = sound if sound.any() else free
        if refused:
            tired = [parent for parent, times in refused.items() if times >= PATIENCE]
            rested = free & ~np.isin(np.arange(len(memory)), tired)
            free = rested if rested.any() else free
        if not free.any():
            return []
        rng = seeding.stream(self.seed, "select", worker=self.worker, number=self._course.round)
        chosen = self._checked_selection(self._select_from(memory, k, free.copy(), rng), k, free)
        start = memory.find(self._start()) if not self._course.round else None
        if start is not None and free[start] and start not in chosen:
            return [start, *chosen][:k]
        if self._rule["reserve"] and len(chosen) == k and k > 1:
            rest = free.copy()
            rest[chosen[:-1]] = False
            chosen[-1] = top(-memory.count, 1, rest)[0]
        return chosen

    def _checked_selection(self, chosen: Sequence[int], k: int, free: Free) -> list[int]:
        allowed = set(np.flatnonzero(free).tolist())
        if len(chosen) > k or len({*chosen} & allowed) < len(chosen):
            raise UsageError(
                f"selection must return at most {k} different candidates that are free, "
                f"got {list(chosen)!r}"
            )
        return [int(candidate) for candidate in chosen]

    def _selection(self) -> Selection:
        chosen: str | Selection = self.settings.selection
        if not isinstance(chosen, str):
            return chosen
        if checks.one_of("selection", chosen, ("priority", "pareto")) == "pareto":
            return pareto_front
        c, w = self._rule["ucb_scale"], self._rule["prior"]
        return lambda memory, k, free, rng: top(ucb_priority(memory, c * memory.sd, w), k, free)

    def _minibatch(self, m: int) -> tuple[int, ...]:
        """The next m examples of the shuffled epochs; none where there are no examples."""
        n = len(self._examples)
        if not n:
            return ()
        start = self._course.position
        self._course.position += m
        return tuple(self._shuffled(p // n)[p % n] for p in range(start, self._course.position))

    def _shuffled(self, epoch: int) -> list[int]:
        rng = seeding.stream(self.seed, "minibatch", worker=self.worker, number=epoch)
        return [self._examples[i] for i in rng.permutation(len(self._examples))]

    def _job(
        self, candidate: int, pair: Pair, kind: Kind, number: int, place: int = -1
    ) -> Job | None:
        """What there is to evaluate; None where all of it is known for ever, or soon."""
        examples = pair.examples
        if self._once:
            coming = [j for j in (*self._queue, *self._out.values()) if j.candidate == candidate]
            known = {*self._memory.by_example[candidate], *(e for j in coming for e in j.examples)}
            examples = tuple(dict.fromkeys(e for e in examples if e not in known))
            if not examples and (self._examples or coming or self._memory.count[candidate]):
                return None
        repeats = len(examples) or (1 if self._once else pair.repeats)
        return Job(candidate, examples, repeats, kind, number, place)

    def _completed(self, pair: Pair) -> Pair:
        """The pair with what other evaluations of a deterministic problem say of it."""
        known = self._memory.by_example[pair.candidate]
        said = {r.example: r.to_json() for r in self._memory.rollouts[pair.candidate]}
        said |= {example: [example, loss, told] for example, loss, told in pair.seen}
        if not pair.examples:
            return replace(pair, seen=list(said.values()))
        seen = [
            said.get(e, [e, known[e][1], ""]) for e in dict.fromkeys(pair.examples) if e in known
        ]
        return replace(pair, seen=seen)

    def _make_children(self, number: int, calls: float) -> bool:
        """Propose from a round's pairs and queue what is new; False where nobody answers."""
        this, course = self._rounds[number], copy.copy(self._course)
        if self._once:
            this.pairs = [self._completed(pair) for pair in this.pairs]
        if self.settings.summary and calls >= 2:
            spent = self._usage.llm_calls
            self._summarize(course)
            calls -= self._usage.llm_calls - spent
            if calls < 1:  # the summarizer's reply had to be asked for twice
                return False
        wanted = [p for p in range(len(this.pairs)) for _ in range(self.settings.n_proposals)]
        wanted = wanted[: int(min(calls, len(wanted)))]
        requests = [
            Request(
                self._memory.params[this.pairs[place].candidate],
                tuple(self._seen(*one) for one in this.pairs[place].seen),
                course.summary,
                course.draw + i,
            )
            for i, place in enumerate(wanted)
        ]
        proposals = self._propose(requests)
        self._usage = sum((p.usage for p in proposals), self._usage)
        missed = [p for p in proposals if p.is_outage]
        if len(missed) == len(proposals) or not all(p.is_full for p in missed):
            self.gave_up = "llm"  # what came is recorded: to ask again is free
            logger.warning("no proposal: %s", missed[0].error)
            return False
        course.draw += len(requests)
        self._course, this.has_proposed = course, True
        self._admit(number, wanted, proposals)
        if not this.children:
            del self._rounds[number]
        if self._tally.unusable == self._tally.proposals >= MAX_UNUSABLE:
            self.gave_up = "proposer"
            return False
        return True

    def _admit(self, number: int, places: list[int], proposals: list[Proposal]) -> None:
        """Queue the evaluation of what the ε-net lets through."""
        this, memory, epsilon = self._rounds[number], self._memory, self._rule["epsilon"]
        usable = [(place, p.params) for place, p in zip(places, proposals, strict=True) if p.params]
        self._tally.proposals += len(proposals)
        self._tally.unusable += len(proposals) - len(usable)
        fresh: list[tuple[int, Params]] = []
        for place, params in usable:
            if memory.find(params) != this.pairs[place].candidate:
                fresh.append((place, params))
        new = [params for _, params in fresh]
        to_memory, between = np.split(
            self._distances(new, [*memory.params, *new]), [len(memory)], axis=1
        )
        broken = (memory.count == 0) & (memory.failed > 0)
        # what never gave a value refuses itself alone: a small edit may be what repairs it
        to_memory = np.where(broken & (to_memory > 0), np.inf, to_memory)
        kept = farthest_first(to_memory, between, epsilon)
        self._tally.refused += len(usable) - len(kept)
        refused = [i for i in range(len(fresh)) if i not in kept]
        again = colliding(to_memory, refused, epsilon) if self._rule["evaluate_again"] else []
        for i in kept:
            place, params = fresh[i]
            pair = this.pairs[place]
            child = memory.admit(params, pair.candidate)
            job = self._job(child, pair, "child", number, place)
            if job is not None:
                this.children += 1
                self._queue.append(job)
        if again:
            least = min(again, key=lambda c: memory.count[c])
            job = self._job(least, this.pairs[fresh[refused[0]][0]], "again", number)
            if job is not None:
                self._queue.append(job)

    def _distances(self, candidates: list[Params], others: list[Params]) -> Array:
        distances = np.asarray(self._distance(candidates, others), dtype=float)
        shape = len(candidates), len(others)
        if distances.shape != shape or not (distances >= 0).all():
            raise UsageError(
                f"distance must return an array {shape} of numbers >= 0, got {distances!r}"
            )
        return distances

    def _summarize(self, course: Course) -> None:
        candidates = summarizer.unread(self._memory, course.read)
        if len(candidates) < (self._rule["summarize_after"] if course.summary else 1):
            return
        if self.llm is None or "summarizer" not in self.llm.roles:
            course.summary = summarizer.digest(self._memory, candidates, course.summary)
        else:
            course.summary, usage, error = summarizer.summarize(
                self.spec,
                self.llm,
                self._memory,
                candidates,
                course.summary,
                draw=course.summaries,
                seed=self.seed,
            )
            if error is not None and usage.llm_calls:
                self._complain("a summary", error)
            elif error is not None:  # nobody was asked
                logger.warning("the summary stays as it was: %s", error)
            self._usage += usage
            course.summaries += 1
        course.read = summarizer.read_up_to(self._memory, course.read)

    def _seen(self, example: int | None, loss: float, feedback: Any) -> Seen:
        return Seen(example, self.spec.sign * loss, feedback)

    # --- tell ---------------------------------------------------------------------------

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        job = None if trial.number is None else self._out.pop(trial.number, None)
        examples = trial.context.get("examples") or ()
        if job is None:
            self._memory.record(self._memory.admit(trial.params), outcome, examples)
            return
        self._memory.record(job.candidate, outcome, examples)
        this = self._rounds.get(job.round)
        if job.kind == "again" or this is None:
            return
        pair = this.pairs[job.pair]
        if job.kind == "parent":
            this.waiting -= 1
            pair.seen += _rollouts(outcome, examples)
            return
        this.children -= 1
        if outcome.count and pair.loss is not None:
            gain = pair.loss - outcome.mean
            self._tally.compared += 1
            self._tally.improved += gain > 0
            self._tally.gain += gain
        if not this.children:
            del self._rounds[job.round]

    # --- state --------------------------------------------------------------------------

    def _state(self) -> dict[str, Any]:
        return {
            "memory": self._memory.to_state(),
            "queue": [job.to_json() for job in self._queue],
            "out": [[number, job.to_json()] for number, job in self._out.items()],
            "rounds": [[number, one.to_json()] for number, one in self._rounds.items()],
            "course": asdict(self._course),
            "tally": asdict(self._tally),
            "usage": self._usage.to_json(),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._memory = Memory.from_state(state["memory"], self.space)
        self._queue = [Job.from_json(job) for job in state["queue"]]
        self._out = {number: Job.from_json(job) for number, job in state["out"]}
        self._rounds = {number: Round.from_json(one) for number, one in state["rounds"]}
        self._course, self._tally = Course(**state["course"]), Tally(**state["tally"])
        self._usage = Usage(**state["usage"])


def affordable(left: Budget, evaluations_ask: bool = False) -> int:
    """How many evaluations of a candidate in a round a budget has room for.

    A proposal costs two minibatches, its parent's and its own: where language-model calls are
    dearer than evaluations, both axes are to run out together. Where evaluations take calls,
    too, large minibatches would leave none for proposals.
    """
    fewest, most = MINIBATCH
    if left.llm_calls is None or evaluations_ask:
        return fewest
    if left.evaluations is None:
        return most
    return int(np.clip(left.evaluations / max(2 * left.llm_calls, 1), fewest, most))


def _rollouts(outcome: Outcome, examples: tuple[int, ...]) -> list[list[Any]]:
    """``[example, loss, feedback]`` of each finite value."""
    feedback = outcome.feedback or ("",) * len(outcome.values)
    ids = (*examples, *(None,) * len(outcome.values))
    return [
        [example, loss, said if isinstance(said, str) else dict(said)]
        for example, loss, said in zip(ids, outcome.values, feedback, strict=False)
        if loss == loss
    ]

"""GEPA by its authors' package ``gepa`` (Agrawal et al. 2025, arXiv:2507.19457).

Reflective mutation: the parent is evaluated on a minibatch, a model that sees the feedback
rewrites one text, the child is evaluated on the same minibatch and, if it is better there, once
on the whole validation set; parents come from the Pareto front of validation scores. What the
package does is left as it is, its prompt included, before which stands the objective. Where
the problem has no examples, every evaluation of it stands for one.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bbopt import seeding
from bbopt.baselines.closed_loop import END, PARENT, ClosedLoop, Complete, Evaluate, Propose
from bbopt.baselines.inverted import Call, Inverted
from bbopt.errors import require
from bbopt.polca.proposer import Seen
from bbopt.registry import register_optimizer
from bbopt.settings import setting
from bbopt.spec import Spec
from bbopt.trial import Best

logger = logging.getLogger("bbopt.baselines.gepa")


@dataclass(frozen=True)
class GepaSettings:
    """The settings of ``gepa``."""

    reflection_minibatch_size: int = setting(
        3, "evaluations of a parent and of its child before it is accepted", low=1, high=1000
    )
    valset_size: int = setting(
        10,
        "how many of the validation examples (training examples where there are none) an "
        "accepted candidate is evaluated on",
        low=1,
        high=1000,
    )
    candidate_selection_strategy: str = setting(
        "pareto",
        "how parents are chosen",
        choices=("pareto", "current_best", "epsilon_greedy", "top_k_pareto"),
    )
    acceptance_criterion: str = setting(
        "strict_improvement",
        "what a child must reach on the minibatch of its parent",
        choices=("strict_improvement", "improvement_or_equal"),
    )


@register_optimizer("gepa")
class Gepa(ClosedLoop):
    """GEPA; ``best`` is the candidate that it returns, with its own score on its validation set.

    That score is measured once: the best of many such scores is too good on average.

    Raises
    ------
    MissingExtra
        If the package ``gepa`` is not installed.
    """

    Settings = GepaSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._gepa = require("gepa", extra="peers", needed_by=f"optimizer {self.name!r}")
        self._watcher = _Watcher()

    def _start(self) -> Inverted:
        train, validation = _datasets(self.spec, self.settings)
        has_model, has_examples = self.llm is not None, self.spec.examples is not None
        gepa, watcher = self._gepa, self._watcher
        arguments = {
            "seed_candidate": dict(self.space.initial or {}),
            "trainset": train,
            "valset": validation,
            "reflection_minibatch_size": min(
                self.settings.reflection_minibatch_size, 1000 if has_examples else len(train)
            ),
            "candidate_selection_strategy": self.settings.candidate_selection_strategy,
            "acceptance_criterion": self.settings.acceptance_criterion,
            "seed": seeding.stream_seed(self.seed, self.name, worker=self.worker),
        }
        template = _template(self.spec) if has_model else None

        def work(call: Call) -> None:
            def complete(prompt: str) -> str:
                text: str = call(Complete([{"role": "user", "content": prompt}]))
                return text

            gepa.optimize(
                adapter=_Adapter(gepa.EvaluationBatch, call, has_examples, has_model),
                reflection_lm=complete if has_model else None,
                reflection_prompt_template=template,
                custom_candidate_proposer=None if has_model else _proposer(call),
                skip_perfect_score=False,
                stop_callbacks=[lambda state: False],
                callbacks=[watcher],
                logger=_Log(),
                **arguments,
            )

        return Inverted(work)

    def _own_best(self) -> Best | None:
        return self._watcher.best


class _Adapter:
    """What GEPA calls to evaluate; one batch of examples is one request."""

    propose_new_texts = None

    def __init__(self, batch: Any, call: Call, has_examples: bool, has_model: bool) -> None:
        self._batch, self._call = batch, call
        self._has_examples, self._has_model = has_examples, has_model

    def evaluate(self, batch: list[int], candidate: dict[str, str], capture_traces: bool) -> Any:
        examples = tuple(batch) if self._has_examples else None
        answer = self._call(Evaluate(dict(candidate), len(batch), examples))
        return self._batch(
            outputs=[None] * len(batch), scores=list(answer.scores), trajectories=list(answer.seen)
        )

    def make_reflective_dataset(
        self, candidate: dict[str, str], evaluated: Any, components: Sequence[str]
    ) -> dict[str, list[dict[str, Any]]]:
        seen = [each for each in evaluated.trajectories if each is not None]
        records = [_record(each) if self._has_model else {"seen": each} for each in seen]
        return dict.fromkeys(components, records)


class _Watcher:
    """Keeps what GEPA would return if it stopped now."""

    best: Best | None = None

    def on_valset_evaluated(self, event: Mapping[str, Any]) -> None:
        if event["is_best_program"]:
            count = event["num_examples_evaluated"]
            self.best = Best(dict(event["candidate"]), -event["average_score"], None, count)


class _Log:
    """What GEPA says, where people who look for it find it."""

    def log(self, message: str) -> None:
        logger.debug("%s", message)


def _datasets(spec: Spec, settings: GepaSettings) -> tuple[list[int], list[int]]:
    """Ids of the training and of the validation set; mere places where there are no examples."""
    if spec.examples is not None:
        train = list(spec.examples.train or spec.examples.validation)
        return train, list(spec.examples.validation or train)[: settings.valset_size]
    once = spec.deterministic is True
    train_size = 1 if once else settings.reflection_minibatch_size
    return list(range(train_size)), list(range(1 if once else settings.valset_size))


def _template(spec: Spec) -> str:
    """GEPA's own prompt with the objective before it and marks round the text to improve."""
    module = require("gepa.strategies.instruction_proposal", extra="peers", needed_by="gepa")
    own: str = module.InstructionProposalSignature.default_prompt_template
    marked = own.replace("<curr_param>", f"{PARENT}<curr_param>{END}")
    return f"Objective: {spec.objective}\n\n{marked}" if spec.objective else marked


def _record(seen: Seen) -> dict[str, str]:
    """What was seen of one evaluation, under the headings that GEPA's prompt speaks of."""
    names = {"input": "Inputs", "output": "Generated Outputs", "feedback": "Feedback"}
    texts = replace(seen, example=None).fields()
    return {names.get(name, name.capitalize()): text for name, text in texts.items() if text}


def _proposer(call: Call) -> Any:
    """What GEPA calls for new texts in place of a model's reflection."""

    def propose(
        candidate: dict[str, str],
        dataset: Mapping[str, Sequence[Mapping[str, Any]]],
        components: Sequence[str],
    ) -> dict[str, str]:
        seen = tuple(record["seen"] for record in dataset[components[0]])
        params: dict[str, str] = call(Propose(dict(candidate), seen))
        return params

    return propose

"""A prompt problem with its own proposer, whose quality is known.

The proposer stands in for a language model in comparisons of search loops: its chance of a
better child, of a mere rewording and of a worse child are knobs. It knows nothing but the text
of the parent and what else is in the prompt. What such comparisons show is how loops behave
under known conditions, not how they fare with a real model.

Source: the assumption of γ-strict improvement in Ren, Nie, Xie and Cheng (2026), *POLCA:
Stochastic Generative Optimization with LLM*, arXiv 2603.14769.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from bbopt import checks
from bbopt.base import Problem
from bbopt.errors import UsageError
from bbopt.space import Params, Space, Text
from bbopt.spec import Examples, Spec
from bbopt.trial import MAX_VALUES, Feedback, Outcome, Trial

from .statements import Language, Latent, sentences

SUMMARY_CAPACITY = 8
"""How many statements a summary holds at most."""
SUMMARY_DROPOUT = 0.2
"""The chance that a summary leaves out a statement that it was shown."""

_TOLD = re.compile(r"\b(?:missing|fact|harmful|wrong):", re.IGNORECASE)


class SimulatedPrompt(Problem):
    """Maximise the chance that a prompt serves its purpose; one text parameter, ``prompt``.

    A reply of the proposer is, with the probability ``duplicates``, the parent in other words;
    with the probability ``improving`` a better child; and else a worse one. A hint, which is a
    statement named anywhere in the proposer's prompt that the parent does not heed, halves the
    probability of a worse child in favour of a better one.

    A subclass says what a prompt is worth (``value_of``, ``score``) and what is better or
    worse than it (``improved``, ``worsened``).

    Parameters
    ----------
    language : Language
        How prompts are read and written.
    initial : set of int
        The statements in force in the text to start from.
    objective : str
        What is optimised, in one sentence.
    improving, duplicates : float
        Probabilities (δ₀ and ρ), in [0, 1], together at most 1.
    """

    description: ClassVar[str] = "The instructions that an assistant follows."
    examples: Examples | None = None
    deterministic: bool = False
    value_range: tuple[float, float] | None = (0.0, 1.0)
    block = MAX_VALUES

    def __init__(
        self,
        language: Language,
        initial: Latent,
        objective: str,
        improving: float,
        duplicates: float,
    ) -> None:
        self.language = language
        self.initial = frozenset(initial)
        self.objective = objective
        self.improving = checks.number("improving", improving, 0, 1)
        self.duplicates = checks.number("duplicates", duplicates, 0, 1)
        if self.improving + self.duplicates > 1 + 1e-12:
            raise UsageError(
                f"improving + duplicates must be at most 1, got {improving!r} + {duplicates!r}"
            )

    # --- what a subclass says ---------------------------------------------------------

    @abstractmethod
    def value_of(self, latent: Latent) -> float:
        """The expected value of one evaluation."""

    @abstractmethod
    def score(
        self, text: str, example: int | None, rng: np.random.Generator
    ) -> tuple[float, Feedback]:
        """The value of one evaluation and what is said about it."""

    @abstractmethod
    def improved(self, latent: Latent, hints: Latent, rng: np.random.Generator) -> Latent:
        """Something better, heeding ``hints`` where there are any; ``latent`` if none is known."""

    @abstractmethod
    def worsened(self, latent: Latent, rng: np.random.Generator) -> Latent:
        """Something worse, or ``latent`` if nothing is."""

    # --- the problem ------------------------------------------------------------------

    @property
    def spec(self) -> Spec:
        """One text, to be maximised."""
        text = Text(self.language.write(self.initial), description=self.description)
        return Spec(
            space=Space({"prompt": text}),
            direction="maximize",
            objective=self.objective,
            deterministic=self.deterministic,
            value_range=self.value_range,
            examples=self.examples,
        )

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Outcome:
        """One value and one feedback a repeat; examples are drawn where the trial names none."""
        ids: Sequence[int | None] = trial.context.get("examples") or [None] * trial.repeats
        if self.examples and ids[0] is None:
            ids = rng.choice(self.examples.train, size=trial.repeats).tolist()
        scored = [self.score(trial.params["prompt"], example, rng) for example in ids]
        return Outcome([value for value, _ in scored], feedback=[said for _, said in scored])

    def truth(self, params: Params) -> float:
        """The expected value of one evaluation."""
        return self.value_of(self.language.read(params["prompt"]))

    # --- the proposer -----------------------------------------------------------------

    def propose(
        self, params: Params, feedback: Sequence[Feedback], rng: np.random.Generator
    ) -> Params:
        """A child of ``params``, made by :meth:`reply` from the texts of ``feedback``."""
        texts = [
            text
            for item in feedback
            for text in (item.values() if isinstance(item, Mapping) else [item])
        ]
        return {"prompt": self.reply(params["prompt"], "\n".join(texts), rng)}

    def reply(self, parent: str, context: str, rng: np.random.Generator) -> str:
        """What the proposer makes of ``parent``, given all else that it is shown."""
        latent = self.language.read(parent)
        hints = self.hints(latent, context)
        improving, worsening = self.improving, 1 - self.improving - self.duplicates
        if hints:
            improving += worsening / 2
        child, luck = latent, rng.random()
        if luck < improving:
            child = self.improved(latent, hints, rng)
        elif luck < 1 - self.duplicates:
            child = self.worsened(latent, rng)
        if child == latent:
            return self.language.reword(parent, rng)
        return self.language.edit(parent, child, rng)

    def hints(self, latent: Latent, context: str) -> Latent:
        """The statements that ``context`` affirms and ``latent`` lacks, or negates and it has."""
        affirmed, negated = self.language.named(context)
        return (affirmed - latent) | (negated & latent)

    def summary(self, context: str, rng: np.random.Generator) -> str:
        """What the feedback in ``context`` says, one statement a line, with losses.

        Of the statements that any feedback or earlier summary in it names, each is left out
        with the probability ``SUMMARY_DROPOUT``, and at most ``SUMMARY_CAPACITY`` stay.
        """
        told = "\n".join(sentence for sentence in sentences(context) if _TOLD.search(sentence))
        affirmed, negated = self.language.named(told)
        lines = [self.said(i, True) for i in sorted(affirmed)]
        lines += [self.said(i, False) for i in sorted(negated)]
        kept = [i for i in rng.permutation(len(lines)) if rng.random() >= SUMMARY_DROPOUT]
        return "\n".join(lines[i] for i in sorted(kept[:SUMMARY_CAPACITY])) or "Nothing is certain."

    def said(self, index: int, is_wanted: bool) -> str:
        """How feedback names a statement that is missing, or that does harm."""
        sentence = self.language.statements[index].sentence
        return f"{'Missing' if is_wanted else 'Harmful'}: {sentence}"

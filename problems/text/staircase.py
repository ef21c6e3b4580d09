"""``text/staircase``: a prompt that gets better step by step."""

from __future__ import annotations

import numpy as np

from bbopt import checks
from bbopt.errors import UsageError
from bbopt.registry import register_problem
from bbopt.space import Params
from bbopt.trial import Feedback

from .simulated import SimulatedPrompt
from .statements import Language, Latent, Statement

LOSSES = ("steps", "reset")
NOISE_KINDS = ("bernoulli", "gaussian")

OPENING = (
    "Describe a second-hand article for an online shop. Give the buyer a clear, helpful text, "
    "begin with a short title, and answer these points when you can:"
)
STATEMENTS = (
    Statement("brand and model", "mention the brand and model as they are printed on the box."),
    Statement("year of purchase", "give the year of purchase and say how many owners it has had."),
    Statement("visible scratches", "list visible scratches with their place and length in mm."),
    Statement("exact dimensions", "check the exact dimensions and the weight, also when packed."),
    Statement(
        "lost accessories", "tell which are lost accessories and whether they can be bought."
    ),
    Statement("original price", "compare with the original price and with what others now ask."),
    Statement("battery health", "explain how the battery health was measured, and how long ago."),
    Statement("warranty card", "mention whether the warranty card is there and who stamped it."),
    Statement("pickup times", "name pickup times on weekdays and at weekends, and who will be in."),
    Statement("return conditions", "give the return conditions and tell who pays for the parcel."),
)


@register_problem("text/staircase")
class Staircase(SimulatedPrompt):
    """A prompt of K instructions, each of which helps only where all before it are given.

    The level L of a prompt is the number of leading instructions in force, its true value
    L / K; the optimum is 1, with all of them. The proposer heeds neither feedback nor history:
    a better child is one level up (γ just under 1 / K), a worse one one or two levels down.
    With ``improving=0.66, duplicates=0.29`` the mean gain of a proposal, 0.058, is that of the
    pairs of parent and child which the authors of POLCA measured on HotpotQA with a real model.

    Source: made for this library, after the theorems of arXiv 2603.14769: from level 0 without
    duplicates and noise, who proposes from the best so far needs K / δ₀ proposals to the top,
    and with ``loss="reset"`` a chain that goes on from its latest proposal Σⱼ δ₀⁻ʲ, j = 1 … K.

    Cost of an evaluation: 0.1 milliseconds.

    Parameters
    ----------
    levels : int
        K, in [1, 10].
    start : int
        The level of the initial prompt, in [0, K].
    noise_kind : {"bernoulli", "gaussian"}
        A value is 1 with the probability L / K, else 0; or it is L / K plus Gaussian noise.
    noise : float
        Standard deviation of the Gaussian noise, >= 0; with 0 values are exact. 0 for
        ``"bernoulli"``.
    improving, duplicates : float
        Probability of a better child (δ₀), and of the parent in other words (ρ).
    loss : {"steps", "reset"}
        Whether a worse child is one or two levels down, or at level 0.

    Raises
    ------
    UsageError
        If an argument is out of its range.
    """

    description = "What a seller is told to write about an article."

    def __init__(
        self,
        levels: int = 10,
        start: int = 1,
        noise_kind: str = "bernoulli",
        noise: float = 0.0,
        improving: float = 0.3,
        duplicates: float = 0.3,
        loss: str = "steps",
    ) -> None:
        self.levels = checks.integer("levels", levels, 1, len(STATEMENTS))
        self.start = checks.integer("start", start, 0, self.levels)
        self.noise_kind = checks.one_of("noise_kind", noise_kind, NOISE_KINDS)
        self.noise = checks.number("noise", noise, 0)
        self.loss = checks.one_of("loss", loss, LOSSES)
        if self.noise and self.noise_kind == "bernoulli":
            raise UsageError(f"noise must be 0 with noise_kind='bernoulli', got {noise!r}")
        self.deterministic = self.noise_kind == "gaussian" and not self.noise
        self.value_range = None if self.noise else (0.0, 1.0)  # Gaussian noise has no bounds
        self.optimum = 1.0
        super().__init__(
            Language(OPENING, STATEMENTS[: self.levels]),
            initial=frozenset(range(self.start)),
            objective="How well a description of an article tells a buyer what matters.",
            improving=improving,
            duplicates=duplicates,
        )

    @property
    def optimal_params(self) -> list[Params]:
        """All instructions."""
        return [{"prompt": self.language.write(set(range(self.levels)))}]

    def level(self, latent: Latent) -> int:
        """How many leading instructions are in force."""
        return next((i for i in range(self.levels) if i not in latent), self.levels)

    def value_of(self, latent: Latent) -> float:
        """L / K."""
        return self.level(latent) / self.levels

    def score(
        self, text: str, example: int | None, rng: np.random.Generator
    ) -> tuple[float, Feedback]:
        """A verdict of 0 or 1, or a mark; there are no examples."""
        mean = self.value_of(self.language.read(text))
        if self.noise_kind == "bernoulli":
            value = float(rng.random() < mean)
            verdict = "knew all that matters" if value else "would have liked more details"
            return value, f"The reader {verdict}."
        value = mean + self.noise * float(rng.standard_normal()) if self.noise else mean
        return value, f"The reader gave a mark of {value:.2f}; 1 is the best."

    def hints(self, latent: Latent, context: str) -> Latent:
        """None: the theory's proposer depends on its parent alone."""
        return frozenset()

    def improved(self, latent: Latent, hints: Latent, rng: np.random.Generator) -> Latent:
        """One level up."""
        level = self.level(latent)
        return frozenset(range(level + 1)) if level < self.levels else latent

    def worsened(self, latent: Latent, rng: np.random.Generator) -> Latent:
        """One or two levels down, or none left."""
        level = self.level(latent)
        if not level:
            return latent
        if self.loss == "reset":
            return frozenset()
        return frozenset(range(max(0, level - int(rng.integers(1, 3)))))

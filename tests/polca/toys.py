"""A staircase of texts, its proposer, and what drives an optimizer without a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import bbopt
from bbopt import seeding
from bbopt.base import Optimizer, Problem
from bbopt.polca import Memory
from bbopt.space import Space, Text
from bbopt.spec import Examples, Spec
from bbopt.trial import Outcome, Trial

OPENING = (
    "You answer letters of customers of a small shop for tea. Read the whole letter before you "
    "answer it, stay polite whatever it says, and never promise what the shop cannot keep. "
)
STEPS = (
    "Greet them by their name.",
    "Thank them for the order.",
    "Quote the order's number.",
    "Explain the long delay.",
    "Offer to pay it all back.",
    "Mention the opening hours.",
    "Add a recipe for iced tea.",
    "Ask for an honest review.",
)

FAR = 0.2  # more than what a tag makes, less than a step


def text_of(level: int, tag: str = "") -> dict[str, str]:
    """The prompt with so many steps; a tag makes other words of it."""
    return {"prompt": " ".join([OPENING.strip(), *STEPS[:level], tag]).strip()}


def level_of(params: dict[str, Any]) -> int:
    """How many of the steps a prompt has, from the first on without a gap."""
    return next((i for i, step in enumerate(STEPS) if step not in params["prompt"]), len(STEPS))


def levels_apart(candidates: Sequence[Any], others: Sequence[Any]) -> np.ndarray:
    """A distance that sees through words: 1 a level."""
    rows, columns = (np.array([level_of(p) for p in group]) for group in (candidates, others))
    return np.abs(rows[:, None] - columns[None, :]).astype(float)


class Stairs(Problem):
    """The share of the steps that a prompt has; everything that is paid for is counted.

    Parameters
    ----------
    top : int
        How many of the steps count.
    noise : str or float
        ``"bernoulli"``, or the sd of Gaussian noise.
    improving, duplicates : float
        Probability that a proposal is one level up, and the same in other words.
    down : int or None
        Levels lost by all other proposals; all of them where None.
    broken : callable, optional
        ``(params, example) -> bool``: whether this evaluation raises.
    """

    name = "toy/stairs"

    def __init__(
        self,
        *,
        top: int = 8,
        start: int = 1,
        noise: str | float = "bernoulli",
        improving: float = 0.3,
        duplicates: float = 0.3,
        down: int | None = 1,
        examples: int = 0,
        validation: int = 0,
        deterministic: bool | None = None,
        broken: Callable[[dict[str, Any], int | None], bool] | None = None,
    ) -> None:
        self.top, self.noise, self.broken = top, noise, broken
        self.improving, self.duplicates, self.down = improving, duplicates, down
        ids = range(examples + validation)
        self._spec = Spec(
            space=Space({"prompt": Text(text_of(start)["prompt"])}),
            direction="maximize",
            objective="Happy customers.",
            value_range=(0, 1) if noise in ("bernoulli", 0.0) else None,
            deterministic=deterministic,
            examples=Examples(tuple(ids[:examples]), tuple(ids[examples:])) if examples else None,
        )
        self.paid: Counter[tuple[str, int | None]] = Counter()
        self.n_proposed = 0
        self.shown: list[tuple[Any, ...]] = []

    @property
    def spec(self) -> Spec:
        return self._spec

    def truth(self, params: dict[str, Any]) -> float:
        return min(level_of(params), self.top) / self.top

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Outcome:
        examples = trial.context.get("examples") or (None,) * trial.repeats
        values, feedback = [], []
        for example in examples:
            self.paid[trial.params["prompt"], example] += 1
            if self.broken is not None and self.broken(trial.params, example):
                raise RuntimeError("the scorer is down")
            values.append(self._draw(self.truth(trial.params), rng))
            feedback.append(f"letter {example}: {level_of(trial.params)} steps")
        return Outcome(values, feedback=feedback)

    def _draw(self, mean: float, rng: np.random.Generator) -> float:
        if self.noise == "bernoulli":
            return float(rng.random() < mean)
        return mean + self.noise * float(rng.standard_normal()) if self.noise else mean

    def propose(
        self, params: dict[str, Any], feedback: Sequence[Any], rng: np.random.Generator
    ) -> dict[str, str]:
        self.n_proposed += 1
        self.shown.append((params, tuple(feedback)))
        level, luck = level_of(params), rng.random()
        if luck < self.improving:
            level = min(level + 1, self.top)
        elif luck >= self.improving + self.duplicates:
            level = 0 if self.down is None else max(level - self.down, 0)
        return text_of(level, "".join(rng.choice(list("abcdefgh"), 3)))


def drive(
    optimizer: Optimizer, problem: Problem, evaluations: int, *, n_open: int = 1, seed: int = 0
) -> list[tuple[Any, ...]]:
    """Ask and tell until so many are told or none comes; ``(params, examples)`` of each trial.

    Keeps ``n_open`` trials open and tells them in the order of their numbers.
    """
    asked: list[tuple[Any, ...]] = []
    told = 0
    while told < evaluations:
        trials = optimizer.ask(n_open - len(optimizer.pending))
        asked += [(t.params["prompt"], t.repeats, t.context.get("examples")) for t in trials]
        if not optimizer.pending:
            break
        trial = optimizer.pending[0]
        tell(optimizer, problem, trial, seed)
        told += trial.repeats
    return asked


def tell(optimizer: Optimizer, problem: Problem, trial: Trial, seed: int = 0) -> Outcome:
    """Tell what the problem says of a trial; what that draws depends on the trial alone."""
    rng = seeding.stream(seed, "evaluate", number=trial.number or 0)
    try:
        outcome = problem.evaluate(trial, rng)
    except RuntimeError as error:
        outcome = Outcome.failure(str(error), trial.repeats)
    optimizer.tell(trial, outcome)
    return outcome


def climbing(request):
    """A model that adds the next step to the prompt that it is shown."""
    if request.role == "summarizer":
        return {"summary": f"summary {request.draw}"}
    parent = request.messages[-1]["content"].partition("@@PARENT@@\n")[2].partition("\n@@END@@")[0]
    child = text_of(level_of({"prompt": parent}) + 1, f"{request.draw:x}")
    return {"params": child}


def memory_of(optimizer: Optimizer) -> Memory:
    """What an optimizer remembers, from its state."""
    return Memory.from_state(optimizer.state_dict()["method"]["memory"], optimizer.space)


def prompt_space(initial: str = "a") -> Space:
    """One text."""
    return Space({"prompt": Text(initial)})


def losses(*values: float, **others: Any) -> Outcome:
    """An outcome as an optimizer sees it inside."""
    return Outcome(list(values), **others)


def polca(problem, *, proposer=None, **kwargs):
    """The optimizer, with the problem's own proposer where no other and no model is given."""
    if proposer is None and "llm" not in kwargs:
        proposer = problem.propose
    return bbopt.optimizer("polca", problem.spec, proposer=proposer, **kwargs)


def job_of(optimizer, trial):
    """What an open trial is for."""
    return dict(optimizer.state_dict()["method"]["out"])[trial.number]


def by_text(trials):
    """Evaluations of each prompt."""
    counts: Counter[str] = Counter()
    for prompt, repeats, _ in trials:
        counts[prompt] += repeats
    return counts

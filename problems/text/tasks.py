"""Prompts that are tried on tasks: each needs some statements, and some do it harm."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from bbopt import checks, seeding
from bbopt.space import Params
from bbopt.spec import Examples
from bbopt.trial import Best, Feedback

from .simulated import SimulatedPrompt
from .statements import Language, Latent

N_TASKS = 60
N_HELD_OUT = 200
SUCCESS = 0.9
"""The chance to solve a task whose needs are met."""
LUCK = 0.15
"""The chance to solve any other task."""


@dataclass(frozen=True)
class Task:
    """What one task asks of a prompt.

    Parameters
    ----------
    needs : set of int
        Statements that must be in force.
    harms : set of int
        Statements that must not be.
    """

    needs: Latent
    harms: Latent

    def is_met(self, latent: Set[int]) -> bool:
        """Whether a prompt in which ``latent`` is in force has what the task needs."""
        return self.needs <= latent and not self.harms & latent


class TaskPrompt(SimulatedPrompt):
    """A prompt whose value is the share of ``N_TASKS`` tasks that are solved with it.

    A task is solved with the probability ``SUCCESS`` where its needs are met, else ``LUCK``.
    The feedback on a failure names, with the probability ``naming``, one statement that the
    task misses or is harmed by. ``test_value`` is the expected share of ``N_HELD_OUT`` other
    tasks drawn in the same way.

    A subclass draws a task and what is said on a failure, and knows what is best
    (``draw_task``, ``remark``, ``find_best``).

    Parameters
    ----------
    language, initial, objective, improving, duplicates
        As for :class:`SimulatedPrompt`.
    guessed : set of int
        The statements that the proposer can think of unprompted; the others it learns from
        hints alone.
    naming : float
        Probability in [0, 1].
    instance : int
        Which tasks are drawn, >= 0.

    Attributes
    ----------
    tasks, held_out : list of Task
        Those of ``truth``, whose numbers are the spec's examples, and those of ``test_value``.
    best : set of int
        The statements in force in the best prompt for ``tasks``.
    """

    description = "The instructions of an assistant who answers the customers of a shop."

    def __init__(
        self,
        language: Language,
        initial: Latent,
        objective: str,
        *,
        guessed: Latent,
        naming: float,
        instance: int,
        improving: float,
        duplicates: float,
    ) -> None:
        super().__init__(language, initial, objective, improving, duplicates)
        self.naming = checks.number("naming", naming, 0, 1)
        self.instance = checks.integer("instance", instance, 0)
        self.guessed = guessed
        rng = seeding.stream(self.instance, "tasks of a prompt")
        drawn = [self.draw_task(rng) for _ in range(N_TASKS + N_HELD_OUT)]
        self.tasks, self.held_out = drawn[:N_TASKS], drawn[N_TASKS:]
        self.examples = Examples(tuple(range(N_TASKS)))
        self.best = self.find_best()
        self.optimum = self.value_of(self.best)

    @abstractmethod
    def draw_task(self, rng: np.random.Generator) -> Task:
        """A task from the law of all tasks."""

    @abstractmethod
    def find_best(self) -> Latent:
        """What is in force in the best prompt for ``self.tasks``."""

    @abstractmethod
    def remark(self, task: Task, latent: Latent, rng: np.random.Generator) -> str:
        """A sentence on why ``latent`` did not meet ``task``, or nothing."""

    @property
    def optimal_params(self) -> list[Params]:
        """The best prompt, at its plainest."""
        return [{"prompt": self.language.write(self.best)}]

    def value_of(self, latent: Latent) -> float:
        """The expected share of solved tasks."""
        return expected_share(self.tasks, latent)

    def test_value(self, best: Best) -> float:
        """The expected share of solved tasks among those held out."""
        return expected_share(self.held_out, self.language.read(best.params["prompt"]))

    def score(
        self, text: str, example: int | None, rng: np.random.Generator
    ) -> tuple[float, Feedback]:
        """Whether task ``example`` was solved, and what the customer had to say.

        Raises
        ------
        UsageError
            If there is no such task.
        """
        number = checks.integer("example", example, 0, N_TASKS - 1)
        task, latent = self.tasks[number], self.language.read(text)
        is_met = task.is_met(latent)
        is_solved = bool(rng.random() < (SUCCESS if is_met else LUCK))
        remark = ""
        if not (is_solved or is_met) and rng.random() < self.naming:
            remark = self.remark(task, latent, rng)
        topics = " and ".join(self.language.statements[i].topic for i in sorted(task.needs))
        said = {
            "input": f"A customer {topics}.",
            "output": f"The case was {'solved' if is_solved else 'not solved'}.",
            "feedback": remark or ("Well done." if is_solved else "The customer was not content."),
        }
        return float(is_solved), said

    def improved(self, latent: Latent, hints: Latent, rng: np.random.Generator) -> Latent:
        """Each hint heeded with probability 1/2, at least one; or one guess nearer the best."""
        if hints:
            chosen = [i for i in sorted(hints) if rng.random() < 0.5]
            return latent ^ frozenset(chosen or [_one_of(hints, rng)])
        wrong = (latent ^ self.best) & self.guessed
        return latent ^ {_one_of(wrong, rng)} if wrong else latent

    def worsened(self, latent: Latent, rng: np.random.Generator) -> Latent:
        """One or two statements further from the best."""
        for _ in range(int(rng.integers(1, 3))):
            right = (latent | self.guessed) - (latent ^ self.best)
            latent = latent ^ {_one_of(right, rng)} if right else latent
        return latent


def expected_share(tasks: Sequence[Task], latent: Set[int]) -> float:
    """The expected share of ``tasks`` that are solved where ``latent`` is in force."""
    met = sum(task.is_met(latent) for task in tasks) / len(tasks)
    return LUCK + (SUCCESS - LUCK) * met


def _one_of(indices: Set[int], rng: np.random.Generator) -> int:
    return int(rng.choice(sorted(indices)))

"""A program that is run in the sandbox and scored outside of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from bbopt.base import Problem
from bbopt.sandbox import ProgramError, Sandbox, choose
from bbopt.trial import MAX_VALUES, Outcome, Trial

Score: TypeAlias = Callable[[Sandbox], tuple[float, str]]
"""The value of the program in a sandbox, and what its author should know of it."""


class ScoredProgram(Problem):
    """A problem whose one parameter, ``program``, is Python that nobody vouches for.

    A subclass describes itself and scores what the program's functions return. The program
    computes in a :class:`~bbopt.sandbox.Sandbox`; the scorer stays outside and believes
    nothing. A program that fails gets ``worst``, and the error as its feedback. All is
    deterministic, so that repeats are one run.

    Parameters
    ----------
    sandbox : {"auto", "bubblewrap", "landlock", "limits"}
        The level of the sandbox. The one obtained is in the info of every outcome.
    seconds : float
        How long the program may run in one evaluation.
    worst : float
        The value of a program that fails.
    output : int
        The largest result that it may return, in bytes.

    Raises
    ------
    UsageError
        If that level does not work here.
    """

    block = MAX_VALUES

    def __init__(self, sandbox: str, seconds: float, worst: float, output: int = 2**20) -> None:
        self.level = choose(sandbox)
        self.seconds = seconds
        self.worst = worst
        self.output = output

    @abstractmethod
    def score(self, box: Sandbox) -> tuple[float, str]:
        """The value of the program in ``box``, and what its author should know.

        Raises
        ------
        ProgramError
            If the program fails or returns what it should not.
        """

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Outcome:
        """One run of the program; nothing is drawn."""
        value, feedback = self.run(trial.params["program"], self.score)
        n = trial.repeats
        info = {f"sandbox_{self.level}": 1.0}
        return Outcome([value] * n, feedback=[feedback] * n, info=info)

    def run(self, program: str, score: Score, scale: float = 1.0) -> tuple[float, str]:
        """The value and the feedback that ``score`` gives to a program, whatever it does.

        ``scale``: how many times the work of an evaluation this is; time and output are as much.
        """
        seconds, output = self.seconds * scale, int(self.output * scale)
        try:
            with Sandbox(program, seconds=seconds, output=output, level=self.level) as box:
                return score(box)
        except ProgramError as error:
            return self.worst, f"The program failed:\n{error}"

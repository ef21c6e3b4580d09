"""How long a run takes, and how much of that its evaluations."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from bbopt.base import Problem
from bbopt.wrappers import Wrapper

P = ParamSpec("P")
T = TypeVar("T")


class Clock:
    """Starts with the run.

    Attributes
    ----------
    waited : float
        Seconds spent in evaluations.
    overhead : list of (int, float)
        Evaluations and the seconds spent outside them, each time their number had doubled.
    """

    def __init__(self) -> None:
        self.waited = 0.0
        self.overhead: list[tuple[int, float]] = []
        self._start = time.monotonic()
        self._next = 1

    @property
    def seconds(self) -> float:
        """Since the run began."""
        return time.monotonic() - self._start

    def waiting(self, evaluate: Callable[P, T]) -> Callable[P, T]:
        """``evaluate``, whose time does not count as overhead."""

        def timed(*args: P.args, **kwargs: P.kwargs) -> T:
            start = time.monotonic()
            try:
                return evaluate(*args, **kwargs)
            finally:
                self.waited += time.monotonic() - start

        return timed

    def note(self, evaluations: int) -> None:
        """Keep the overhead so far each time the evaluations have doubled."""
        if evaluations >= self._next:
            self.overhead.append((evaluations, max(self.seconds - self.waited, 0.0)))
            self._next = 2 * evaluations


class Timed(Wrapper):
    """A problem whose evaluations a clock waits for."""

    def __init__(self, problem: Problem, clock: Clock) -> None:
        super().__init__(problem)
        self.name, self.arguments = problem.name, problem.arguments
        self.evaluate = clock.waiting(problem.evaluate)  # type: ignore[method-assign]

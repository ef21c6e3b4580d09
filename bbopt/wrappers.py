"""Problems that wrap a problem; they compose: ``Noisy(Shifted(problem), sd=0.1)``."""

from __future__ import annotations

import inspect
import os
import time
from dataclasses import replace
from typing import Any

import numpy as np

from bbopt import checks, seeding
from bbopt.base import Problem
from bbopt.errors import UsageError
from bbopt.space import Categorical, Params
from bbopt.spec import Spec
from bbopt.trial import MAX_VALUES, Best, Outcome, Trial


class Wrapper(Problem):
    """Passes everything on to the wrapped problem; a wrapper overrides what it changes.

    Raises
    ------
    UsageError
        If the wrapped problem is no Problem, or its ``evaluate`` is ``async def``.
    """

    def __init__(self, problem: Problem) -> None:
        who = type(self).__name__
        if not isinstance(problem, Problem):
            raise UsageError(f"{who} wraps a Problem, got {problem!r}")
        if inspect.iscoroutinefunction(problem.evaluate):
            raise UsageError(f"{who} cannot wrap {problem.name!r}, whose evaluate is async")
        self.problem = problem
        self.name = f"{who.lower()}({problem.name})"
        self.block = problem.block
        self.needs_llm = problem.needs_llm
        self.optimum = problem.optimum
        self.propose = problem.propose

    @property
    def spec(self) -> Spec:
        """The wrapped problem's."""
        return self.problem.spec

    @property
    def llm(self) -> Any:
        """The wrapped problem's."""
        return self.problem.llm

    @llm.setter
    def llm(self, client: Any) -> None:
        self.problem.llm = client

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
        """The wrapped problem's."""
        return self.problem.evaluate(trial, rng)

    def truth(self, params: Params) -> float | None:
        """The wrapped problem's."""
        return self.problem.truth(params)

    def test_value(self, best: Best) -> float | None:
        """The wrapped problem's."""
        return self.problem.test_value(best)


class Noisy(Wrapper):
    """Adds Gaussian noise of standard deviation ``sd`` to every value."""

    def __init__(self, problem: Problem, sd: float) -> None:
        super().__init__(problem)
        self.sd = checks.number("sd", sd, 0)
        self.block = min(problem.block, MAX_VALUES)  # beyond which there are only statistics
        self._spec = replace(problem.spec, deterministic=False, value_range=None)

    @property
    def spec(self) -> Spec:
        """The wrapped problem's, no longer deterministic and of unbounded range."""
        return self._spec

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Outcome:
        """The wrapped problem's values, each with its own noise.

        Raises
        ------
        UsageError
            If it returns an Outcome without single values.
        """
        result = self.problem.evaluate(trial, rng)
        outcome = Outcome.coerce(result)
        values = np.asarray(outcome.values if isinstance(result, Outcome) else result, dtype=float)
        if values.size < outcome.evaluations:
            raise UsageError(f"{self.name} needs single values, got the statistics of many")
        return Outcome(
            values + self.sd * rng.standard_normal(values.shape),
            feedback=outcome.feedback,
            cost=outcome.cost,
            usage=outcome.usage,
            error=outcome.error,
            constraints=outcome.constraints,
            info=outcome.info,
        )


class Shifted(Wrapper):
    """Moves the optimum: every numeric coordinate is shifted cyclically in the unit cube.

    Parameters
    ----------
    problem : Problem
        A numeric problem; categoricals stay as they are.
    seed : int
        Of the shift, uniform in [0, 1) for each coordinate.

    Raises
    ------
    UsageError
        If the problem has texts, which have no coordinate, or candidates, off which a shift
        would lead.
    """

    def __init__(self, problem: Problem, seed: int = 0) -> None:
        super().__init__(problem)
        if "text" in problem.spec.space.kinds or problem.spec.candidates is not None:
            raise UsageError(f"Shifted cannot wrap {problem.name!r}, which has texts or candidates")
        shift = seeding.stream(seeding.checked_seed(seed), "shift").random(problem.spec.space.width)
        at = 0
        for dimension in problem.spec.space.values():
            if isinstance(dimension, Categorical):
                shift[at : at + dimension.width] = 0.0
            at += dimension.width
        self._shift = shift

    def _moved(self, params: Params) -> Params:
        space = self.problem.spec.space
        x = space.to_unit(params)
        return space.from_unit(np.where(self._shift > 0, (x + self._shift) % 1.0, x))[0]

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
        """The wrapped problem's value at the shifted params."""
        return self.problem.evaluate(replace(trial, params=self._moved(trial.params)), rng)

    def truth(self, params: Params) -> float | None:
        """The wrapped problem's truth at the shifted params."""
        return self.problem.truth(self._moved(params))

    def test_value(self, best: Best) -> float | None:
        """The wrapped problem's at the shifted params."""
        return self.problem.test_value(replace(best, params=self._moved(best.params)))


class Slow(Wrapper):
    """Sleeps ``seconds`` before each evaluation."""

    def __init__(self, problem: Problem, seconds: float) -> None:
        super().__init__(problem)
        self.seconds = checks.number("seconds", seconds, 0)

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
        """The wrapped problem's, later."""
        time.sleep(self.seconds)
        return self.problem.evaluate(trial, rng)


class Flaky(Wrapper):
    """Fails on purpose at chosen trial numbers.

    Parameters
    ----------
    problem : Problem
        What to spoil.
    faults : mapping of int to str
        Trial number -> ``"raise"``, ``"hang"`` (sleeps for an hour), ``"nan"``, ``"inf"``,
        ``"string"``, ``"none"``, ``"exit"`` (``os._exit``) or ``"kill"`` (SIGKILL); the last
        two end the process that evaluates.
    """

    FAULTS = ("raise", "hang", "nan", "inf", "string", "none", "exit", "kill")

    def __init__(self, problem: Problem, faults: dict[int, str]) -> None:
        super().__init__(problem)
        for number, fault in faults.items():
            checks.integer("faults: a trial number", number, 0)
            checks.one_of(f"faults[{number}]", fault, self.FAULTS)
        self.faults = dict(faults)

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
        """The wrapped problem's, or the fault planned for this trial."""
        fault = self.faults.get(-1 if trial.number is None else trial.number)
        if fault is None:
            return self.problem.evaluate(trial, rng)
        if fault == "raise":
            raise UsageError("a planned failure")
        if fault == "hang":
            time.sleep(3600)
        if fault == "exit":
            os._exit(3)
        if fault == "kill":
            os.kill(os.getpid(), 9)
        return {"nan": float("nan"), "inf": float("inf"), "string": "0.3"}.get(fault)

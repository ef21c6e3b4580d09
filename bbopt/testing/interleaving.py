"""The part of the optimizer's contract that holds whatever comes, and in whatever order."""

# ruff: noqa: D102 -- the name of a test is its sentence

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bbopt.base import Optimizer
from bbopt.space import Params
from bbopt.testing.driving import Build, through_files
from bbopt.testing.subject import Subject
from bbopt.trial import Outcome, Trial

_numbers = st.floats() | st.sampled_from([0.0, 1.0, -1.0, 1e300, -1e300])

OUTCOMES = st.builds(
    Outcome,
    st.lists(_numbers, max_size=3),
    feedback=st.just(()),
    cost=st.floats(0.0, 10.0),
    error=st.none() | st.just("it broke"),
    constraints=st.lists(_numbers, max_size=2),
    info=st.dictionaries(st.sampled_from(["latency", "accuracy"]), _numbers, max_size=2),
)
"""Outcomes of every sort, as hypothesis draws them."""

_seeds = st.integers(0, 2**32 - 1)
_steps = st.lists(
    st.tuples(st.just("ask"), st.integers(1, 6))
    | st.tuples(st.sampled_from(["tell", "replace", "foreign"]), _seeds, OUTCOMES),
    max_size=25,
)


class InterleavingContract(Subject):
    """What holds after any interleaving of asks, tells, replaced and foreign trials."""

    def test_any_interleaving_keeps_the_books_and_resumes_exactly(self, build: Build) -> None:
        @settings(
            max_examples=self.n_examples,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        @given(_steps)
        def check(steps: list[tuple[Any, ...]]) -> None:
            books = _Books(build())
            for step in steps:
                books.take(*step)
            restored = build()
            restored.load_state_dict(through_files(books.optimizer.state_dict()))
            assert restored.ask(3) == books.optimizer.ask(3)
            assert restored.pending == books.optimizer.pending
            assert restored.best == books.optimizer.best

        check()


class _Books:
    """An optimizer and a naive account of what it was asked and told."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.n_asked = 0
        self.pending: dict[int, Trial] = {}
        self.observed: dict[Any, Params] = {}
        self.infeasible: set[Any] = set()

    def take(self, action: str, seed: int, outcome: Outcome | None = None) -> None:
        """Do one step, and compare."""
        if outcome is None:
            self._ask(seed)
        else:
            self._tell(action, np.random.default_rng(seed), outcome)
        assert list(self.optimizer.pending) == [self.pending[k] for k in sorted(self.pending)]
        self._check_best()

    def _ask(self, n: int) -> None:
        trials = self.optimizer.ask(n)
        assert len(trials) <= n
        assert trials or self.pending
        for trial in trials:
            assert trial.number == self.n_asked
            assert self.optimizer.space.validate(trial.params) == trial.params
            self.pending[trial.number] = trial
            self.n_asked += 1

    def _tell(self, action: str, rng: np.random.Generator, outcome: Outcome) -> None:
        space = self.optimizer.space
        trial = Trial(None, space.sample(rng)[0])
        if action != "foreign":
            if not self.pending:
                return
            asked = self.pending.pop(int(rng.choice(sorted(self.pending))))
            params = trial.params if action == "replace" else asked.params
            trial = Trial(asked.number, params, asked.repeats, asked.context)
            if outcome.values:
                outcome = Outcome(outcome.values[: asked.repeats], constraints=outcome.constraints)
        self.optimizer.tell(trial, outcome)
        if outcome.count:
            self.observed[space.key(trial.params)] = trial.params
            if not outcome.feasible:
                self.infeasible.add(space.key(trial.params))

    def _check_best(self) -> None:
        best, deployable = self.optimizer.best, self.observed.keys() - self.infeasible
        assert (best is not None) == bool(deployable)
        if best is not None:
            assert self.optimizer.space.key(best.params) in deployable
            assert best.count >= 1
            assert np.isfinite(best.value)

"""The part of the optimizer's contract that is about what it is told and what it makes of it."""

# ruff: noqa: D102 -- the name of a test is its sentence

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import pytest

from bbopt.errors import SpaceError, UsageError
from bbopt.testing.driving import Build, bowl, play, play_late, with_other_texts
from bbopt.testing.subject import Subject
from bbopt.trial import Outcome, Trial

HARD = {
    "constant": [1.0],
    "zero": [0.0, -0.0],
    "ties": [0.0, 0.0, 1.0],
    "huge": [1e300, -1e300, 1e308, -1e308, 1.0],
    "tiny": [5e-324, -5e-324, 0.0],
    "close": [1.0, math.nextafter(1.0, 2.0)],
    "some NaN": [math.nan, 1.0, 2.0, math.nan],
    "some infinite": [math.inf, 0.5, -math.inf, 0.1],
    "one value": [0.7, *[math.nan] * 7],
    "all NaN": [math.nan],
    "all infinite": [-math.inf],
}
"""Name -> values told in turn."""


class TellingContract(Subject):
    """What is asked of ``tell``, ``pending`` and ``best``."""

    def test_results_may_come_late_and_in_any_order(self, build: Build) -> None:
        optimizer = build()
        asked = play_late(optimizer, self.n_trials)
        assert len(asked) >= self.n_trials
        for trial in reversed(optimizer.pending):
            optimizer.tell(trial, bowl(optimizer.space)(trial))
        assert optimizer.pending == ()
        assert optimizer.ask()

    def test_a_second_tell_is_an_error_and_changes_nothing(self, build: Build) -> None:
        optimizer = build()
        (trial,) = optimizer.ask()
        optimizer.tell(trial, 0.5)
        with pytest.raises(UsageError, match="trial 0 was told already"):
            optimizer.tell(trial, 0.1)
        assert optimizer.best is not None
        assert optimizer.best.value == 0.5

    def test_a_number_that_was_never_asked_is_an_error(self, build: Build) -> None:
        optimizer = build()
        (trial,) = optimizer.ask()
        with pytest.raises(UsageError, match="trial 99 was never asked"):
            optimizer.tell(Trial(99, trial.params), 0.1)

    @pytest.mark.parametrize("value", ["0.3", None, [[1.0]], object()])
    def test_what_is_no_number_is_refused_and_the_trial_stays_open(
        self, build: Build, value: Any
    ) -> None:
        optimizer = build()
        (trial,) = optimizer.ask()
        with pytest.raises(UsageError, match="value must be a number"):
            optimizer.tell(trial, value)
        assert optimizer.pending == (trial,)

    def test_fewer_values_than_repeats_close_the_trial(self, build: Build) -> None:
        optimizer = build()
        for trial in optimizer.ask(2):
            optimizer.tell(trial, [])
        assert optimizer.pending == ()
        assert optimizer.best is None
        for trial in optimizer.ask(3):
            optimizer.tell(trial, [0.5] * (trial.repeats - 1))
        assert optimizer.pending == ()
        assert optimizer.ask()

    def test_foreign_trials_are_welcome_at_any_time(self, build: Build) -> None:
        optimizer = build()
        donor = [trial.params for trial in build(seed=5).ask(6)]
        optimizer.tell(Trial(None, donor[0]), 7.0)
        trials = optimizer.ask(2)
        assert [trial.number for trial in trials] == list(range(len(trials)))
        for params in donor[1:]:
            optimizer.tell(Trial(None, params, 3), Outcome([7.0, math.nan, 7.5]))
        assert list(optimizer.pending) == trials
        optimizer.tell(Trial(None, donor[0]), Outcome.failure("no luck"))
        for trial in trials:
            optimizer.tell(trial, 8.0)
        assert optimizer.best is not None
        assert optimizer.best.params in donor
        assert play(optimizer, self.n_trials // 3)

    def test_the_value_of_a_foreign_trial_can_be_the_best(self, build: Build) -> None:
        optimizer = build(spec={"deterministic": True})
        play(optimizer, 3)
        params = with_other_texts(optimizer.space, build(seed=5).ask()[0].params)
        optimizer.tell(Trial(None, params), -50.0)
        assert optimizer.best is not None
        assert (optimizer.best.params, optimizer.best.value) == (params, -50.0)

    def test_foreign_params_outside_the_space_are_refused_by_name(self, build: Build) -> None:
        optimizer = build()
        name, *_ = optimizer.space
        params = {**build(seed=5).ask()[0].params, name: [object()]}
        with pytest.raises(SpaceError, match=f"parameter '{name}'"):
            optimizer.tell(Trial(None, params), 0.1)

    def test_params_evaluated_in_place_of_those_asked_count_as_what_they_are(
        self, build: Build
    ) -> None:
        optimizer = build(spec={"deterministic": True})
        others = play(build(seed=5), 2)
        for _ in range(self.n_trials // 2):
            for trial, params in zip(optimizer.ask(2), others, strict=False):
                value = 1.0 if params == others[0] else 2.0
                optimizer.tell(Trial(trial.number, params, trial.repeats), value)
        assert optimizer.pending == ()
        assert optimizer.best is not None
        assert optimizer.best.params == others[0]

    @pytest.mark.parametrize("direction", ["minimize", "maximize"])
    @pytest.mark.parametrize("values", HARD.values(), ids=HARD)
    def test_whatever_values_are_told_asking_goes_on(
        self, build: Build, values: Sequence[float], direction: str
    ) -> None:
        optimizer = build(spec={"direction": direction, "value_range": (-1.0, 1.0)})
        told = itertools.cycle(values)
        for params in play(optimizer, self.n_trials, lambda trial: next(told)):
            assert optimizer.space.validate(params) == params
        finite = [value for value in values if math.isfinite(value)]
        assert (optimizer.best is None) == (not finite)
        assert optimizer.best is None or math.isfinite(optimizer.best.value)

    def test_best_is_none_before_any_value(self, build: Build) -> None:
        optimizer = build()
        assert optimizer.best is None
        for trial in optimizer.ask(2):
            optimizer.tell(trial, Outcome.failure("it broke"))
        assert optimizer.best is None

    @pytest.mark.parametrize("direction", ["minimize", "maximize"])
    def test_best_of_a_deterministic_problem_is_the_best_value(
        self, build: Build, direction: str
    ) -> None:
        optimizer = build(spec={"direction": direction, "deterministic": True})
        objective = bowl(optimizer.space)
        asked = play(optimizer, self.n_trials, objective)
        values = [objective(Trial(None, params))[0] for params in asked]
        best = min(values) if direction == "minimize" else max(values)
        assert optimizer.best is not None
        assert optimizer.best.value == pytest.approx(best, rel=1e-12)  # may be a mean of equals
        assert optimizer.best.params == asked[values.index(best)]

    def test_best_is_within_what_was_observed(self, build: Build) -> None:
        optimizer = build(spec={"deterministic": False})
        values = itertools.cycle([0.2, 0.9, 0.4, 0.7, 0.1])
        asked = play(optimizer, self.n_trials, lambda trial: next(values))
        assert optimizer.best is not None
        assert optimizer.best.params in asked
        assert 0.1 <= optimizer.best.value <= 0.9
        assert optimizer.best.count >= 1

    @pytest.mark.parametrize("constraints", [(0.1,), (-1.0, 5.0), (math.nan,), (math.inf, -1.0)])
    def test_what_is_infeasible_never_becomes_best(
        self, build: Build, constraints: tuple[float, ...]
    ) -> None:
        optimizer = build()
        infeasible = play(
            optimizer, self.n_trials // 2, lambda trial: Outcome(-1.0, constraints=constraints)
        )
        assert optimizer.best is None
        others = [with_other_texts(optimizer.space, t.params) for t in build(seed=7).ask(9)]
        fine = next(params for params in others if params not in infeasible)
        optimizer.tell(Trial(None, fine), Outcome(5.0, constraints=(0.0, -1.0)))
        play(optimizer, 4, lambda trial: Outcome(-1.0, constraints=constraints))
        assert optimizer.best is not None
        assert optimizer.best.params == fine

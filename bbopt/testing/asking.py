"""The part of the optimizer's contract that is about what it refuses and proposes."""

# ruff: noqa: D102 -- the name of a test is its sentence

from __future__ import annotations

import json
import math
from dataclasses import is_dataclass
from typing import Any

import pytest

from bbopt import settings
from bbopt.base import Optimizer
from bbopt.budget import Budget
from bbopt.errors import UnsupportedSpec, UsageError
from bbopt.space import Space
from bbopt.testing.driving import Build, bowl, equal_states, play
from bbopt.testing.spaces import SPACES, space_with_initial, spec_for, supported_spaces
from bbopt.testing.subject import Make, Subject


class AskingContract(Subject):
    """What is asked of ``__init__`` and ``ask``."""

    # --- what it refuses --------------------------------------------------------------

    def test_a_kind_it_does_not_support_is_refused_with_the_name_of_the_parameter(
        self, make: Make, method: type[Optimizer]
    ) -> None:
        refused = [space for space in SPACES.values() if not space.kinds <= method.kinds]
        if not refused:
            pytest.skip("the method supports every kind of parameter")
        for space in refused:
            name = next(n for n, dim in space.items() if dim.kind not in method.kinds)
            with pytest.raises(UnsupportedSpec, match=f"parameter '{name}' of kind"):
                make(spec_for(method, space))

    def test_a_spec_without_a_required_field_is_refused_with_its_name(
        self, build: Build, method: type[Optimizer]
    ) -> None:
        if not method.requires:
            pytest.skip("the method requires nothing but a space")
        for field in method.requires:
            with pytest.raises(UnsupportedSpec, match=field):
                build(spec={field: None})

    @pytest.mark.parametrize("arguments", [{"seed": -1}, {"seed": 0.5}, {"worker": -1}])
    def test_a_seed_or_worker_below_zero_or_fractional_is_refused(
        self, build: Build, arguments: dict[str, Any]
    ) -> None:
        with pytest.raises(UsageError, match=next(iter(arguments))):
            build(**arguments)

    @pytest.mark.parametrize("n", [0, -1, 1.5, "2", True])
    def test_only_a_positive_number_of_trials_can_be_asked_for(
        self, build: Build, n: object
    ) -> None:
        with pytest.raises(UsageError, match="n must be an integer >= 1"):
            build().ask(n)  # type: ignore[arg-type]

    def test_every_setting_is_frozen_and_says_what_it_means(self, method: type[Optimizer]) -> None:
        assert is_dataclass(method.Settings)
        assert method.Settings.__dataclass_params__.frozen  # type: ignore[attr-defined]
        for setting in settings.describe(method.Settings):
            assert setting["meaning"], setting["name"]
            json.dumps(setting, allow_nan=False)

    # --- what it proposes -------------------------------------------------------------

    def test_params_belong_to_the_space(self, build: Build, space: Space) -> None:
        asked = play(build(space), self.n_trials)
        assert asked
        for params in asked:
            assert list(params) == list(space)
            valid = space.validate(params)
            assert [(type(v), v) for v in params.values()] == [(type(v), v) for v in valid.values()]
            assert json.loads(json.dumps(params, allow_nan=False)) == params

    def test_a_space_of_one_point_is_no_trouble(
        self, build: Build, method: type[Optimizer]
    ) -> None:
        if "one point" not in supported_spaces(method):
            pytest.skip("the method does not support numbers")
        point = {"x": 0.3, "n": 7, "c": "only"}
        assert play(build(SPACES["one point"]), self.n_trials) == [point] * self.n_trials

    @pytest.mark.parametrize("n", [1, 2, 7, 40])
    def test_numbers_are_unique_and_count_from_zero(self, build: Build, n: int) -> None:
        optimizer = build()
        numbers: list[int | None] = []
        while len(numbers) < 2 * n:
            trials = optimizer.ask(n)
            assert 1 <= len(trials) <= n
            numbers += [trial.number for trial in trials]
            for trial in trials:
                optimizer.tell(trial, bowl(optimizer.space)(trial))
            if len(numbers) >= self.n_trials:
                break
        assert numbers == list(range(len(numbers)))

    def test_pending_lists_what_was_asked_and_not_told(self, build: Build) -> None:
        optimizer = build()
        assert optimizer.pending == ()
        trials = [*optimizer.ask(3), *optimizer.ask(2)]
        assert list(optimizer.pending) == trials
        optimizer.tell(trials[0], 1.0)
        assert list(optimizer.pending) == trials[1:]

    def test_what_is_in_use_today_is_asked_first(
        self, build: Build, method: type[Optimizer]
    ) -> None:
        space = space_with_initial(method)
        optimizer = build(space)
        trials = optimizer.ask(2)
        assert trials[0].params == space.initial
        assert trials[0].number == 0
        for trial in trials:
            optimizer.tell(trial, bowl(space)(trial))
        later = play(optimizer, self.n_trials)
        assert any(params != space.initial for params in later) or space.kinds == {"text"}

    def test_an_ask_that_returns_nothing_changes_nothing(self, build: Build) -> None:
        optimizer, twin = build(), build()
        for n in (1, 2, 3, 30, 30):
            twin.ask(n)
            optimizer.ask(n)
        before = optimizer.state_dict()
        for _ in range(3):
            if optimizer.ask(5):
                pytest.skip("the method never waits for pending results")
        assert equal_states(optimizer.state_dict(), before)
        assert optimizer.pending, "with nothing pending, an ask that returns nothing ends the run"
        objective = bowl(optimizer.space)
        for each in (optimizer, twin):
            for trial in each.pending:
                each.tell(trial, objective(trial))
        assert play(optimizer, self.n_trials) == play(twin, self.n_trials)

    @pytest.mark.parametrize(
        "left",
        [
            Budget(evaluations=1),
            Budget(evaluations=0, llm_calls=0, tokens=0, cost=0.0, seconds=0.0, switches=0),
            Budget(evaluations=10**9, seconds=math.inf),
        ],
        ids=["one evaluation", "nothing", "plenty"],
    )
    def test_whatever_is_left_of_the_budget_asking_goes_well(
        self, build: Build, left: Budget
    ) -> None:
        optimizer = build()
        for n in (1, 3):
            for trial in optimizer.ask(n, left):
                assert optimizer.space.validate(trial.params) == trial.params
                optimizer.tell(trial, 1.0)

    def test_only_candidates_are_proposed_where_the_method_uses_them(
        self, build: Build, method: type[Optimizer]
    ) -> None:
        if not method.uses_candidates:
            pytest.skip("the method does not use candidates: the loop looks up the nearest")
        space = next(iter(supported_spaces(method).values()))
        rows = [space.from_unit([u] * space.width)[0] for u in (0.1, 0.35, 0.6, 0.85)]
        for params in play(build(space, spec={"candidates": rows}), self.n_trials):
            assert params in rows

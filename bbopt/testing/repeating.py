"""The part of the optimizer's contract that is about repeating and resuming exactly."""

# ruff: noqa: D102 -- the name of a test is its sentence

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bbopt.base import Optimizer
from bbopt.errors import UsageError
from bbopt.space import Params, Space
from bbopt.testing.driving import Build, bowl, equal_states, play, play_late, through_files
from bbopt.testing.subject import Subject
from bbopt.trial import Outcome, Trial

Play = Callable[..., list[Params]]


class RepeatingContract(Subject):
    """What is asked of seeds, of ``state_dict`` and of ``load_state_dict``."""

    @pytest.mark.parametrize("how", [play, play_late])
    def test_the_same_seed_gives_the_same_trials(self, build: Build, how: Play) -> None:
        assert how(build(seed=3), self.n_trials) == how(build(seed=3), self.n_trials)

    def test_another_seed_or_worker_gives_other_trials(self, build: Build) -> None:
        first = play(build(), self.n_trials)
        assert play(build(seed=1), self.n_trials) != first
        assert play(build(worker=1), self.n_trials) != first

    @pytest.mark.parametrize("how", [play, play_late])
    def test_minimising_and_maximising_the_negative_are_the_same(
        self, build: Build, how: Play
    ) -> None:
        low, high = build(), build(spec={"direction": "maximize"})
        objective = bowl(low.space)
        down = how(low, self.n_trials, objective)
        up = how(high, self.n_trials, lambda trial: [-v for v in objective(trial)])
        assert down == up
        assert low.best is not None
        assert high.best is not None
        assert low.best.params == high.best.params
        assert low.best.value == -high.best.value

    def test_global_random_states_are_neither_read_nor_changed(self, build: Build) -> None:
        histories = []
        for seed in (1, 2):
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002 -- it is the global state that is watched
            before = random.getstate(), np.random.get_state()  # noqa: NPY002
            histories.append(play_late(build(), self.n_trials))
            assert random.getstate() == before[0]
            assert equal_states(list(np.random.get_state()), list(before[1]))  # noqa: NPY002
        assert histories[0] == histories[1]

    def test_the_log_told_to_a_fresh_optimizer_gives_the_same_trials(self, build: Build) -> None:
        log: list[tuple[Any, ...]] = []
        optimizer = build()
        objective = bowl(optimizer.space)
        stranger = build(seed=9).ask()[0].params
        while optimizer.next_number < self.n_trials:
            trials = optimizer.ask(3)
            log.append(("ask", trials))
            told = [(trial, Outcome(objective(trial))) for trial in optimizer.pending[1:]]
            told.append((Trial(None, stranger), Outcome(0.7)))
            if optimizer.pending:
                told.append((optimizer.pending[0], Outcome.failure("a failure")))
            for trial, outcome in told:
                optimizer.tell(trial, outcome)
                log.append(("tell", trial, outcome))
        fresh = build()
        for entry in log:
            if entry[0] == "ask":
                assert fresh.ask(3) == entry[1]
            else:
                fresh.tell(entry[1], entry[2])
        assert fresh.best == optimizer.best
        assert fresh.pending == optimizer.pending

    def test_a_restored_state_continues_exactly(self, build: Build, space: Space) -> None:
        optimizer, restored = build(space), build(space)
        play_late(optimizer, self.n_trials // 2)
        state = optimizer.state_dict()
        assert equal_states(through_files(state), state)
        restored.load_state_dict(through_files(state))
        self._assert_same_future(optimizer, restored)

    def test_the_state_of_a_fresh_optimizer_can_be_restored(self, build: Build) -> None:
        optimizer, restored = build(), build()
        restored.load_state_dict(through_files(optimizer.state_dict()))
        self._assert_same_future(optimizer, restored)

    def test_a_state_stays_as_it_was_while_the_optimizer_goes_on(self, build: Build) -> None:
        optimizer, restored = build(), build()
        play_late(optimizer, self.n_trials // 2)
        state = optimizer.state_dict()
        copy = through_files(state)
        play_late(optimizer, self.n_trials // 2)
        assert equal_states(state, copy)
        restored.load_state_dict(state)
        play_late(restored, self.n_trials // 2)
        assert equal_states(state, copy)

    def test_a_state_is_loaded_only_by_its_equal_and_only_when_fresh(self, build: Build) -> None:
        optimizer = build()
        play(optimizer, 2)
        state = optimizer.state_dict()
        with pytest.raises(UsageError, match="state: seed must be 1, got 0"):
            build(seed=1).load_state_dict(state)
        with pytest.raises(UsageError, match="state: worker must be 1, got 0"):
            build(worker=1).load_state_dict(state)
        with pytest.raises(UsageError, match="state: format must be"):
            build().load_state_dict({**state, "format": 0})
        with pytest.raises(UsageError, match="fresh optimizer"):
            optimizer.load_state_dict(state)

    def _assert_same_future(self, optimizer: Optimizer, restored: Optimizer) -> None:
        assert restored.pending == optimizer.pending
        assert restored.best == optimizer.best
        n = self.n_trials // 2
        assert play_late(restored, n) == play_late(optimizer, n)
        assert restored.best == optimizer.best
        assert equal_states(restored.state_dict(), optimizer.state_dict())

"""What is counted, and against what it is held."""

from __future__ import annotations

import math

import pytest

from bbopt import Budget, Categorical, Float, Outcome, Space, Spec, Trial
from bbopt.running.account import Account
from bbopt.running.options import Options
from bbopt.running.storage import FOREIGN_WORKER
from bbopt.trial import Usage

SPACE = Space({"x": Float(0, 1), "c": Categorical([1, True])})


def account(direction: str = "minimize", **options: object) -> Account:
    spec = Spec(space=SPACE, direction=direction)  # type: ignore[arg-type]
    return Account(spec, Options(budget=Budget(evaluations=99), **options))  # type: ignore[arg-type]


def told(book: Account, x: float, value: float | list[float], worker: int = 0) -> None:
    outcome = Outcome(value)
    trial = Trial(None, {"x": x, "c": 1}, outcome.evaluations)
    book.told(worker, trial, outcome, counts=worker != FOREIGN_WORKER)


def test_a_change_of_params_is_a_switch_and_the_first_is_free() -> None:
    book = account()
    for x, c in ((0.1, 1), (0.1, 1), (0.1, True), (0.2, True), (0.1, 1)):
        book.opened({"x": x, "c": c})
    assert book.meter.switches == 3
    assert book.is_switch({"x": 0.1, "c": True})
    assert not book.is_switch({"x": 0.1, "c": 1})
    assert not account().is_switch({"x": 0.1, "c": 1})


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_running_best_pools_repeats_and_is_in_the_users_direction(direction: str) -> None:
    sign = 1.0 if direction == "minimize" else -1.0
    book = account(direction)
    assert book.best is None
    told(book, 0.1, [sign * 1.0, sign * 1.2])
    told(book, 0.2, sign * 1.05)  # a lucky single value: marked down by the noise of repeats
    assert book.best is not None
    assert book.best.params["x"] == 0.1
    assert book.best.value == pytest.approx(sign * 1.1)
    assert book.best.count == 2


def test_what_nobody_here_paid_for_counts_for_the_best_alone() -> None:
    book = account()
    told(book, 0.1, 5.0, FOREIGN_WORKER)
    told(book, 0.2, math.nan, FOREIGN_WORKER)
    assert (book.meter.evaluations, book.meter.failures, book.evaluations) == (0, 0, [])
    assert book.best is not None
    assert book.best.value == 5.0
    told(book, 0.3, 6.0, worker=1)  # another worker's is paid from the same budget
    assert book.meter.evaluations == 1


@pytest.mark.parametrize(("direction", "target"), [("minimize", 2.0), ("maximize", -2.0)])
def test_the_target_is_reached_by_the_best(direction: str, target: float) -> None:
    book = account(direction, target=target)
    sign = 1.0 if direction == "minimize" else -1.0
    for value, goal in ((3.0, None), (math.nan, None), (2.0, "target"), (4.0, "target")):
        told(book, value / 10 if value == value else 0.9, sign * value)
        assert book.goal() == goal


def test_patience_counts_evaluations_failed_ones_too() -> None:
    book = account(patience=3)
    goals = []
    for i, value in enumerate((5.0, 4.0, 4.0, math.nan, 3.0, 3.5, [3.5, 3.5])):
        told(book, i / 10, value)
        goals.append(book.goal())
    assert goals == [None] * 6 + ["patience"]


def test_failures_are_trials_without_any_value() -> None:
    book = account(max_failures=1)
    told(book, 0.1, [math.nan, 1.0])
    told(book, 0.2, [math.nan, math.nan])
    assert (book.meter.failures, book.meter.evaluations, book.goal()) == (1, 4, None)
    told(book, 0.3, math.nan)
    assert book.goal() == "max_failures"


def test_the_clock_goes_on_from_earlier_sessions(monkeypatch: pytest.MonkeyPatch) -> None:
    from bbopt.running import account as module

    now = [50.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    book = account()
    book.resume_clock(100.0, 7.0)
    now[0] += 30.0
    book.waited = 25.0
    assert book.clock() == (130.0, 12.0)
    spent = book.spent(Usage(llm_calls=2, tokens=5, cost=0.5))
    assert (spent.seconds, spent.overhead_seconds, spent.usage.llm_calls) == (130.0, 12.0, 2)
    assert book.meter.usage.llm_calls == 0

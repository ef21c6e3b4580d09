"""Each argument of a run that is wrong is named, with what was given and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest
from doubles_of_runs import Chained, Noisy

import bbopt
from bbopt import Budget
from bbopt.errors import UnknownName, UsageError
from bbopt.running.options import Options


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"jobs": 0}, "jobs must be an integer >= 1, got 0"),
        ({"jobs": None}, "jobs must be an integer >= 1, got None"),
        ({"jobs": 1.5}, "jobs must be an integer >= 1, got 1.5"),
        ({"in_flight": 0}, "in_flight must be an integer >= 1, got 0"),
        ({"in_flight": True}, "in_flight must be an integer >= 1, got True"),
        ({"retries": -1}, "retries must be an integer >= 0, got -1"),
        ({"max_failures": -1}, "max_failures must be an integer >= 0, got -1"),
        ({"patience": 0}, "patience must be an integer >= 1, got 0"),
        ({"target": "low"}, "target must be a finite number, got 'low'"),
        ({"target": float("nan")}, "target must be a finite number, got nan"),
        ({"confirm": 1.0}, r"confirm must be in \[0, 1\), got 1.0"),
        ({"confirm": -0.1}, r"confirm must be in \[0, 1\), got -0.1"),
        ({"evaluation_timeout": 0}, "evaluation_timeout must be > 0 seconds, got 0"),
        ({"executor": 3}, "executor must be a concurrent.futures.Executor, got 3"),
        ({"callbacks": [3]}, "callbacks must be callable, got 3"),
        ({"worker": -1}, "worker must be an integer >= 0, got -1"),
        ({"seed": -1}, "seed must be that of the optimizer, 0, got -1"),
        ({"budget": 0}, "budget evaluations must be an integer >= 1, got 0"),
        ({"budget": -1}, "budget evaluations must be an integer >= 1, got -1"),
        ({"budget": "seconds=0"}, "budget seconds must be > 0, got 0"),
        ({"budget": {}}, "budget must limit at least one of"),
        ({"budget": "seconds=5", "confirm": 0.1}, "confirm needs a budget of evaluations"),
    ],
)
def test_a_wrong_argument_is_named(given: dict[str, Any], message: str) -> None:
    problem = Noisy()
    arguments = {"budget": 5} | given
    with pytest.raises(UsageError, match=message) as caught:
        bbopt.run(problem, Chained(problem.spec), **arguments)
    assert "\n" not in str(caught.value)


def test_a_wrong_problem_or_optimizer_is_named() -> None:
    problem = Noisy()
    with pytest.raises(UsageError, match="problem must be a Problem or a registered name, got 3"):
        bbopt.run(3, "random", 5)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match=r"unknown problem 'synthetic/brannin'.*branin"):
        bbopt.run("synthetic/brannin", "random", 5)
    with pytest.raises(UnknownName, match=r"unknown optimizer 'randon'.*random"):
        bbopt.run(problem, "randon", 5)
    other = Noisy(bbopt.Space({"x": bbopt.Float(0, 2)}))
    with pytest.raises(UsageError, match="optimizer must be built for the problem's spec"):
        bbopt.run(problem, Chained(other.spec), 5)
    with pytest.raises(UsageError, match="seed must be that of the optimizer, 1, got 2"):
        bbopt.run(problem, Chained(problem.spec, seed=1), 5, seed=2)
    with pytest.raises(UsageError, match="worker must be that of the optimizer, 1, got 0"):
        bbopt.run(problem, Chained(problem.spec, worker=1), 5)


def test_whole_numbers_given_as_floats_are_integers() -> None:
    options = Options(budget=Budget(evaluations=3), jobs=2.0, in_flight=3.0)  # type: ignore[arg-type]
    assert (type(options.jobs), type(options.in_flight)) == (int, int)


def test_what_whole_rounds_refuse_is_said_by_name() -> None:
    def refused(**given: Any) -> str | None:
        return Options(budget=Budget(evaluations=3), **given).refused_by_rounds()

    assert refused() is None
    assert refused(target=1.0, patience=3, max_failures=1) is None
    for name, value in (
        *(("jobs", 2), ("in_flight", 1), ("retries", 1), ("evaluation_timeout", 1.0)),
        *(("confirm", 0.1), ("callbacks", (print,))),
    ):
        assert refused(**{name: value}) == name

"""Budgets, and the meter that says what is left of them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbopt import Budget, Outcome
from bbopt.budget import Meter
from bbopt.errors import UsageError
from bbopt.trial import NO_USAGE, Usage

positive = st.integers(1, 10**9)
budgets = st.builds(
    Budget,
    evaluations=st.none() | positive,
    llm_calls=st.none() | positive,
    tokens=st.none() | positive,
    cost=st.none() | st.floats(1e-3, 1e9),
    seconds=st.none() | st.floats(1e-3, 1e9),
    switches=st.none() | st.integers(0, 10**9),
)


@pytest.mark.parametrize(
    ("given_budget", "expected"),
    [
        (100, Budget(evaluations=100)),
        ("100", Budget(evaluations=100)),
        (" 100 ", Budget(evaluations=100)),
        ("1e3", Budget(evaluations=1000)),
        (1e3, Budget(evaluations=1000)),
        (np.int64(7), Budget(evaluations=7)),
        ("evaluations=100,llm_calls=40,seconds=600", Budget(100, llm_calls=40, seconds=600.0)),
        ("tokens = 2e6, cost = 0.5", Budget(tokens=2_000_000, cost=0.5)),
        ("switches=0", Budget(switches=0)),
        ({"evaluations": 5, "cost": 2}, Budget(evaluations=5, cost=2.0)),
        ({"evaluations": 5, "seconds": None}, Budget(evaluations=5)),
        (Budget(seconds=3), Budget(seconds=3.0)),
    ],
)
def test_a_budget_can_be_given_in_many_ways(given_budget, expected):
    assert Budget.parse(given_budget) == expected


@pytest.mark.parametrize(
    ("given_budget", "message"),
    [
        (0, "budget evaluations must be an integer >= 1, got 0"),
        (-1, "budget evaluations must be an integer >= 1, got -1"),
        ("0", "budget evaluations must be an integer >= 1, got 0"),
        (2.5, "budget evaluations must be an integer >= 1, got 2.5"),
        (math.inf, "budget evaluations must be an integer >= 1, got inf"),
        (True, "budget evaluations must be a number, got 'True'"),
        (None, "budget evaluations must be a number, got 'None'"),
        ("", "budget evaluations must be a number, got ''"),
        ("many", "budget evaluations must be a number, got 'many'"),
        ("--5", "budget evaluations must be a number, got '--5'"),
        ("evaluations=0", "budget evaluations must be an integer >= 1, got 0"),
        ("tokens=1.5", "budget tokens must be an integer >= 1, got 1.5"),
        ("seconds=0", "budget seconds must be > 0, got 0"),
        ("cost=-0.5", "budget cost must be > 0, got -0.5"),
        ("cost=nan", "budget cost must be a finite number, got nan"),
        ("switches=-1", "budget switches must be an integer >= 0, got -1"),
        ("evals=5", "budget: unknown axis 'evals'; allowed are evaluations, llm_calls, tokens"),
        ("seconds=5,seconds=6", "budget: axis 'seconds' is given twice in 'seconds=5,seconds=6'"),
        ("100,seconds=5", "budget must be a number or axis=limit,..., got '100,seconds=5'"),
        ("evaluations=5,", "budget must be a number or axis=limit,..., got 'evaluations=5,'"),
        ("evaluations=", "budget evaluations must be a number, got ''"),
        ({}, "budget must limit at least one of evaluations, .*, got none"),
        (Budget(), "budget must limit at least one of"),
        (Budget(evaluations=-3), "budget evaluations must be an integer >= 1, got -3"),
        ({"evaluations": "5"}, "budget evaluations must be an integer >= 1, got '5'"),
    ],
)
def test_a_bad_budget_is_refused_by_axis(given_budget, message):
    with pytest.raises(UsageError, match=message):
        Budget.parse(given_budget)


@given(budgets)
def test_a_budget_is_read_back_from_its_json_and_from_text(budget):
    if budget == Budget():
        return
    assert Budget.parse(budget) == budget
    assert Budget(**budget.to_json()) == budget
    assert Budget.parse(",".join(f"{k}={v}" for k, v in budget.to_json().items())) == budget


@given(budgets, st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=9))
def test_what_is_left_and_what_is_spent_make_the_budget(budget, spending):
    meter = Meter()
    for n_values, n_calls in spending:
        meter.add(Outcome([0.5] * n_values, cost=0.25, usage=Usage(n_calls, 10 * n_calls, 0.5)))
        meter.seconds += 1.0
        meter.switches += 1
    proposals = Usage(3, 100, 0.125)
    left = meter.left(budget, open_evaluations=2, proposals=proposals)
    n = len(spending)
    calls = sum(n_calls for _, n_calls in spending)
    spent = Budget(
        evaluations=sum(n_values for n_values, _ in spending) + 2,
        llm_calls=calls + 3,
        tokens=10 * calls + 100,
        cost=0.25 * n + 0.5 * n + 0.125,
        seconds=float(n),
        switches=n,
    )
    for axis, limit in vars(budget).items():
        if limit is None:
            assert getattr(left, axis) is None
        else:
            assert getattr(left, axis) == max(limit - getattr(spent, axis), 0)


def test_the_meter_counts_failed_trials_and_pays_for_every_evaluation():
    meter = Meter()
    meter.add(Outcome([0.5, math.nan]))
    meter.add(Outcome.failure("no", repeats=3, cost=2.0))
    meter.add(Outcome(()))
    meter.add(Outcome(0.5, cost=math.nan))
    assert (meter.evaluations, meter.failures, meter.cost) == (6, 1, 2.0)
    assert meter.usage == NO_USAGE

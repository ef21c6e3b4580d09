"""Successive halving, and baselines that evaluate every point several times."""

import numpy as np
import pytest

import bbopt
from bbopt import Budget, Float, Outcome

LINE = {"x": Float(0, 1)}


def rungs_of(optimizer, budget, evaluate):
    """(repeats, params) of every trial until the budget is spent, in groups of equal repeats."""
    left, rungs = budget, []
    while left:
        (trial,) = optimizer.ask(1, Budget(evaluations=left))
        if not rungs or rungs[-1][0] != trial.repeats or trial.repeats == 1 == rungs[-1][0] * 2:
            rungs.append((trial.repeats, []))
        rungs[-1][1].append(trial.params["x"])
        optimizer.tell(trial, evaluate(trial))
        left -= trial.repeats
    return rungs


def test_every_rung_keeps_the_better_half_and_spends_the_same():
    optimizer = bbopt.optimizer("halving", LINE, seed=1)
    rungs = rungs_of(optimizer, 24, lambda trial: [trial.params["x"]] * trial.repeats)
    assert [(repeats, len(points)) for repeats, points in rungs] == [(1, 8), (2, 4), (4, 2)]
    first = sorted(rungs[0][1])
    assert sorted(rungs[1][1]) == first[:4]
    assert sorted(rungs[2][1]) == first[:2]
    assert optimizer.best.params["x"] == first[0]
    assert optimizer.best.count == 7


@pytest.mark.parametrize(("left", "size"), [(1, 2), (7, 2), (8, 4), (24, 8), (2000, 128)])
def test_as_many_points_are_drawn_as_the_budget_pays_for(left, size):
    optimizer = bbopt.optimizer("halving", LINE)
    trials = optimizer.ask(500, Budget(evaluations=left))
    assert len(trials) == size
    assert {trial.repeats for trial in trials} == {1}


def test_points_that_failed_or_are_infeasible_are_dropped_first():
    optimizer = bbopt.optimizer("halving", LINE, points=4)
    a, b, c, d = optimizer.ask(4)
    optimizer.tell(a, Outcome.failure("no"))
    optimizer.tell(b, Outcome(0.0, constraints=[1.0]))
    assert optimizer.ask(1) == []  # the rest of the rung is pending
    optimizer.tell(c, 5.0)
    optimizer.tell(d, 4.0)
    assert {trial.params["x"] for trial in optimizer.ask(4)} == {c.params["x"], d.params["x"]}


def test_halving_finds_the_better_of_two_that_noise_hides():
    """The first of 16 points lies one sd below all others, which are equal.

    It survives a first rung of single values two times in three or so, the later ones nearly
    always: far more often than one time in 16.
    """
    wins = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        optimizer = bbopt.optimizer("halving", LINE, seed=seed, points=16)
        first = optimizer.ask(1)[0]
        trial = first
        for _ in range(16 + 8 + 4 + 2):
            shift = -1.0 * (trial.params == first.params)
            optimizer.tell(trial, (shift + rng.standard_normal(trial.repeats)).tolist())
            (trial,) = optimizer.ask(1)
        wins += optimizer.best.params == first.params
    assert wins > 80  # 12.5 by chance


@pytest.mark.parametrize("name", ["optuna:gp", "botorch:qlognei", "cma"])
def test_peers_can_be_told_means_of_several_evaluations(name):
    package = {"optuna:gp": "torch", "botorch:qlognei": "botorch", "cma": "cma"}[name]
    pytest.importorskip(package)
    optimizer = bbopt.optimizer(name, {"x": Float(0, 1), "y": Float(0, 1)}, repeats=10, seed=1)
    (trial,) = optimizer.ask(1, Budget(evaluations=25))
    assert trial.repeats == 10
    optimizer.tell(trial, [0.0, 2.0] * 5)
    assert (optimizer.best.value, optimizer.best.count) == (1.0, 10)
    assert optimizer.ask(1, Budget(evaluations=5))[0].repeats == 5
    assert optimizer.ask(1)[0].repeats == 10

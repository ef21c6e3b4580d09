"""Overhead an evaluation on Hartmann 6, for ``mini_gp_scaling.py``."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import bbopt
from bbopt import seeding
from parts.bandits import bandit
from parts.scaling_runs import CHUNK, NOISE, Found, batch, drive, over_table

HARTMANN_LEAST = -3.32236801141551


def table_run(name: str, settings: Mapping[str, Any], n: int, evaluations: int, seed: int) -> Found:
    """An optimizer with known hyper-parameters over ``n`` Sobol' points."""
    points = bandit("hartmann6", str(NOISE), seed, n)
    known = dict(points.told) | dict(settings)
    return over_table(name, known, points.x, points.f, NOISE, evaluations, seed)


def continuous_run(name: str, evaluations: int, seed: int) -> Found:
    """An optimizer with its defaults over the whole box."""
    spec, value, sd = hartmann()
    optimizer = bbopt.optimizer(name, spec, seed=seed)
    found = drive(optimizer, value, sd, evaluations, seed)
    del found["params"]
    return found | {"regret": value(optimizer.best.params) - HARTMANN_LEAST}


def one_step(name: str, n: int, mean_of: int, patience: float, seed: int) -> Found:
    """Seconds of an ask and its tell after ``n`` evaluations at random points.

    They are told as ``n / mean_of`` foreign trials, each the mean of ``mean_of`` values. Median
    of three steps, fewer once they took longer than ``patience``; each adds an evaluation.
    """
    spec, value, sd = hartmann()
    warm_up = bbopt.optimizer(name, spec, seed=seed)  # imports, and whatever is compiled once
    optimizer = bbopt.optimizer(name, spec, seed=seed)
    points = seeding.stream(seed, "scaling foreign").random((max(n // mean_of, 24), 6))
    params = spec.space.from_unit(points)
    for i, point in enumerate(params):
        outcome = batch(value(point), sd, mean_of, seed, i)
        if i < 24:
            warm_up.tell(bbopt.Trial(None, point), outcome)
        if i < n // mean_of:
            optimizer.tell(bbopt.Trial(None, point), outcome)
    warm_up.ask(1)
    seconds: list[float] = []
    while len(seconds) < 3 and sum(seconds) < patience:
        start = time.perf_counter()
        (trial,) = optimizer.ask(1)
        asked = time.perf_counter()
        outcome = batch(value(trial.params), sd, mean_of, seed, n + len(seconds))
        resumed = time.perf_counter()
        optimizer.tell(trial, outcome)
        seconds.append(asked - start + time.perf_counter() - resumed)
    return {"seconds": float(np.median(seconds)), "steps": len(seconds)}


def hartmann() -> tuple[bbopt.Spec, Callable[[Mapping[str, float]], float], float]:
    """Spec, true value (a loss) and the sd of one evaluation."""
    problem: Any = bbopt.problem("synthetic/hartmann6", noise=NOISE)  # for its spec alone
    low, high = problem.bounds.T
    x = low + (high - low) * seeding.stream(0, "scaling hartmann").random((CHUNK, 6))
    names = list(problem.spec.space)

    def value(params: Mapping[str, float]) -> float:
        return float(problem.function(np.array([[params[name] for name in names]]))[0])

    return problem.spec, value, NOISE * float(problem.function(x).std())

"""The runs behind ``mini_gp_scaling.py``, each in a process of its own.

Results of a batch are simulated: its mean is drawn, and its sum of squared deviations, not each
of its values; the h-th decision of a seed draws from a stream of its own.
"""

from __future__ import annotations

import math
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
from bandits import bandit, path
from scipy.linalg import solve_triangular
from threadpoolctl import threadpool_limits

import bbopt
from bbopt import seeding
from bbopt.metabo import Matern52
from bbopt.metabo.confidence import finite_beta
from bbopt.space import Array

LENGTHSCALES = {2: 0.2, 6: 0.7}  # by the number of coordinates
NOISE = 0.3  # sd, in sd of f
CHUNK = 4096
HARTMANN_LEAST = -3.32236801141551
Found = dict[str, Any]


def apart(function: Callable[..., Found], *arguments: Any, timeout: float | None = None) -> Found:
    """``function(*arguments)`` in a fresh process, with its peak memory; {} once time is up."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(sender, function, arguments))
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(timeout) else {}
    finally:
        process.kill()
        process.join()


def _send(sender: Any, function: Callable[..., Found], arguments: tuple[Any, ...]) -> None:
    with threadpool_limits(1):
        found = function(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024
    sender.send(found | {"memory": peak * unit / 1e9})


# --- finite sets ----------------------------------------------------------------------


def random_path(d: int, n: int, seed: int) -> tuple[Array, Array]:
    """Candidates ``(n, d)`` and a path of the Matérn 5/2 process at them ``(n,)``."""
    x = seeding.stream(seed, "scaling candidates").random((n, d))
    parts = [  # every one of the same features
        path(x[i : i + CHUNK], LENGTHSCALES[d], seeding.stream(seed, "scaling path"))
        for i in range(0, n, CHUNK)
    ]
    return x, np.concatenate(parts)


def finite_run(d: int, n: int, evaluations: int, is_known: bool, seed: int) -> Found:
    """mini-GP-UCB over ``n`` candidates."""
    x, f = random_path(d, n, seed)
    return over_table("mini-gp-ucb", told(d) if is_known else {}, x, f, NOISE, evaluations, seed)


def told(d: int) -> dict[str, float]:
    """The hyper-parameters of a path."""
    return {"lengthscale": LENGTHSCALES[d], "variance": 1.0, "noise": NOISE**2}


def over_table(
    name: str,
    settings: Mapping[str, Any],
    x: Array,
    f: Array,
    sd: float,
    evaluations: int,
    seed: int,
) -> Found:
    """One run of an optimizer over a table, and what its choices were worth."""
    columns = {f"x{j}": column for j, column in enumerate(x.T)}
    space = bbopt.Space({column: bbopt.Float(0, 1) for column in columns})
    start = time.perf_counter()
    spec = bbopt.Spec(space=space, direction="maximize", candidates=columns)
    optimizer = bbopt.optimizer(name, spec, seed=seed, **settings)
    setup = time.perf_counter() - start

    def row(params: Mapping[str, float]) -> int:
        point = list(params.values())
        near = np.flatnonzero(x[:, 0] == point[0])
        return int(near[np.flatnonzero((x[near] == point).all(axis=1))[0]])

    found = drive(optimizer, lambda params: float(f[row(params)]), sd, evaluations, seed)
    best, rows = row(optimizer.best.params), [row(params) for params in found.pop("params")]
    regret = float(f.max() - f[best])
    return (
        found
        | {"setup": setup, "regret": regret, "is_best": regret == 0.0, "rows": rows}
        | {"candidates": len(x)}
    )


def drive(
    optimizer: Any,
    value: Callable[[Mapping[str, float]], float],
    sd: float,
    evaluations: int,
    seed: int,
) -> Found:
    """Ask and tell until the evaluations are spent; what that cost."""
    spent, asking, telling, largest = 0, 0.0, 0.0, 0.0
    chosen, counts = [], []
    while spent < evaluations:
        left = bbopt.Budget(evaluations=evaluations - spent)
        start = time.perf_counter()
        (trial,) = optimizer.ask(1, left)
        took = time.perf_counter() - start
        asking, largest = asking + took, max(largest, took)
        outcome = batch(value(trial.params), sd, trial.repeats, seed, len(counts))
        start = time.perf_counter()
        optimizer.tell(trial, outcome)
        telling += time.perf_counter() - start
        spent += trial.repeats
        chosen.append(trial.params)
        counts.append(trial.repeats)
    keys = [tuple(params.values()) for params in chosen]
    return {
        "overhead": asking + telling,
        "largest_ask": largest,
        "decisions": len(keys),
        "unique": len(set(keys)),
        "switches": sum(a != b for a, b in pairwise(keys)),
        "params": chosen,
        "counts": counts,
    }


def batch(f: float, sd: float, count: int, seed: int, decision: int) -> bbopt.Outcome:
    """The outcome of ``count`` evaluations."""
    rng = seeding.stream(seed, "scaling noise", number=decision)
    mean = f + sd * rng.standard_normal() / math.sqrt(count)
    if count == 1:
        return bbopt.Outcome(mean)
    return bbopt.Outcome.summary(count, mean, sd**2 * rng.chisquare(count - 1))


def naive_choices(d: int, n: int, evaluations: int, seed: int) -> Found:
    """What mini-GP-UCB should choose: the posterior of all candidates anew at each decision.

    Plain numpy in double precision, on rows of the kernel that are computed once.
    """
    x, f = random_path(d, n, seed)
    kernel, noise = Matern52(LENGTHSCALES[d]), NOISE**2
    candidates: list[int] = []
    cross, totals, often = np.empty((0, n)), np.empty(0), np.empty(0)
    rows: list[int] = []
    counts: list[int] = []
    spent = 0
    while spent < evaluations:
        mean, variance = moments(cross, candidates, totals, often, noise)
        beta = 0.5 * finite_beta(n, len(rows) + 1, 0.1)
        upper = mean + beta * np.sqrt(variance)
        row = int(np.argmax(upper >= upper.max() - 1e-9))
        staleness = 1.1 if len(candidates) < 10 * d else math.sqrt(2.0)
        staleness = min(staleness, math.sqrt(1.0 + 1.0 / noise))
        stay = math.floor((staleness**2 - 1.0) * noise / float(variance[row]))
        count = min(max(stay, 1), evaluations - spent)
        if row not in candidates:
            candidates.append(row)
            cross = np.concatenate([cross, kernel(x[row : row + 1], x)])
            totals, often = np.append(totals, 0.0), np.append(often, 0.0)
        j = candidates.index(row)
        totals[j] += count * batch(float(f[row]), NOISE, count, seed, len(rows)).mean
        often[j] += count
        spent += count
        rows.append(row)
        counts.append(count)
    return {"rows": rows, "counts": counts}


def moments(
    cross: Array, candidates: list[int], totals: Array, often: Array, noise: float
) -> tuple[Array, Array]:
    """Posterior mean and variance ``(n,)`` from ``I + W K W / noise``, ``W² = diag(often)``."""
    n = cross.shape[1]
    mean, variance = np.zeros(n), np.ones(n)
    if not candidates:
        return mean, variance
    scale = np.sqrt(often / noise)
    covariance = cross[:, candidates]
    lower = np.linalg.cholesky(np.eye(len(scale)) + scale[:, None] * covariance * scale)
    z = solve_triangular(lower, scale * totals / often, lower=True)
    for start in range(0, n, CHUNK):
        part = slice(start, start + CHUNK)
        v = solve_triangular(lower, scale[:, None] * cross[:, part], lower=True)
        mean[part], variance[part] = z @ v, 1.0 - np.einsum("ij,ij->j", v, v)
    return mean, np.maximum(variance, 1e-14)


# --- overhead on Hartmann 6 -----------------------------------------------------------


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

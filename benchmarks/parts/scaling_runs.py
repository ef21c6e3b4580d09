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
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from threadpoolctl import threadpool_limits

import bbopt
from bbopt import seeding
from bbopt.metabo import Matern52, Posterior
from bbopt.metabo.criteria import UCB
from bbopt.metabo.repeats import repeats
from bbopt.space import Array
from parts.bandits import path

LENGTHSCALES = {2: 0.2, 6: 0.7}  # by the number of coordinates
NOISE = 0.3  # sd, in sd of f
CHUNK = 4096
FEW_BATCHES = {"staleness": 2.0, "beta": 3.0}  # over a million candidates a decision is dear
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


def finite_run(
    d: int,
    n: int,
    evaluations: int,
    is_known: bool,
    seed: int,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> Found:
    """mini-GP-UCB over ``n`` candidates."""
    x, f = random_path(d, n, seed)
    settings = dict(settings) | (told(d) if is_known else {})
    return over_table("mini-gp-ucb", settings, x, f, NOISE, evaluations, seed)


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


def direct_run(d: int, n: int, evaluations: int, form: str, seed: int) -> Found:
    """The same loop without an optimizer: posterior, upper confidence bound and repeat rule."""
    x, f = random_path(d, n, seed)
    noise = NOISE**2
    start = time.perf_counter()
    posterior = Posterior(Matern52(LENGTHSCALES[d]), noise, candidates=x, form=form)
    setup = time.perf_counter() - start
    overhead, largest, spent = 0.0, 0.0, 0
    rows: list[int] = []
    counts: list[int] = []
    while spent < evaluations:
        start = time.perf_counter()
        score = UCB(FEW_BATCHES["beta"])
        row = posterior.argmax(score, score.bound)
        variance = float(posterior.predict(x[row : row + 1])[1][0]) ** 2
        count = int(repeats(variance, noise, FEW_BATCHES["staleness"], evaluations - spent))
        took = time.perf_counter() - start
        outcome = batch(float(f[row]), NOISE, count, seed, len(rows))
        start = time.perf_counter()
        posterior.update(row, count=count, mean=outcome.mean)
        overhead += took + time.perf_counter() - start
        largest = max(largest, took)
        spent += count
        rows.append(row)
        counts.append(count)
    # the best lower bound among those evaluated
    known = sorted(set(rows))
    mean, sd = posterior.predict(x[known])
    best = known[int(np.argmax(mean - sd))]
    regret = float(f.max() - f[best])
    return {
        "overhead": overhead,
        "largest_ask": largest,
        "decisions": len(rows),
        "unique": len(known),
        "switches": sum(a != b for a, b in pairwise(rows)),
        "setup": setup,
        "regret": regret,
        "is_best": regret == 0.0,
        "rows": rows,
        "counts": counts,
        "candidates": n,
    }


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
        upper = mean + FEW_BATCHES["beta"] * np.sqrt(variance)
        row = int(np.argmax(upper >= upper.max() - 1e-9))
        stay = math.floor((FEW_BATCHES["staleness"] ** 2 - 1.0) * noise / float(variance[row]))
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

"""Finite sets with a known value of every candidate, and runs of optimizers over them.

| set | true value f | what the methods are told |
|---|---|---|
| G2, G6 | a path of a Gaussian process, 2,000 random features of Matérn 5/2 | its kernel |
| branin ... ackley5 | minus the test function, at scrambled Sobol points | a fitted kernel |
| L | a linear function of ten variables | a fitted RBF |
| R | 442 patients (diabetes): the smoothed target | a fitted kernel |
| S | minus the log cost of staffing an M/M/c queue; its noise depends on x | a fitted kernel |

All but the paths are standardised over the candidates. Kernels are fitted once, to noise-free
values of 300 candidates of seed 0, and are the same for every method and seed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from zlib import crc32

import numpy as np
from scipy.special import gammaln, logsumexp
from scipy.stats import qmc

import bbopt
from bbopt import seeding
from bbopt.metabo import RBF, Matern52
from bbopt.metabo.hyperparameters import fit
from bbopt.metabo.posterior.observations import Observations
from bbopt.space import Array

PATHS = {"G2": (2, 0.2), "G6": (6, 0.7)}  # coordinates and lengthscale
FUNCTIONS = {
    "branin": ("synthetic/branin", {}),
    "hartmann3": ("synthetic/hartmann3", {}),
    "hartmann6": ("synthetic/hartmann6", {}),
    "ackley5": ("synthetic/ackley", {"dim": 5}),
}
SETS = (*PATHS, *FUNCTIONS, "L", "R", "S")
NATURAL = "natural"  # the noise of S
FEATURES = 2000
FITTED = 300
EXACT = 1e-6  # told as the variance of one evaluation where there is no noise


@dataclass(frozen=True)
class Bandit:
    """A finite set of candidates.

    Parameters
    ----------
    x : (n, d) array
        In the unit cube.
    f : (n,) array
        True values, larger is better.
    sd : (n,) array
        Standard deviation of one evaluation.
    told : mapping
        Kernel, lengthscale, variance and noise, as settings of the methods.
    """

    x: Array
    f: Array
    sd: Array
    told: Mapping[str, Any]


@cache
def bandit(name: str, noise: str, seed: int, n: int) -> Bandit:
    """The set ``name`` of ``n`` candidates; ``noise`` is in units of the sd of f, or natural."""
    x, f = values(name, seed, n)
    sd = staffing_noise(x) if noise == NATURAL else np.full(len(x), float(noise))
    if name in PATHS:
        told: dict[str, Any] = {"kernel": "matern52", "lengthscale": PATHS[name][1]}
        told["variance"] = 1.0
    else:
        told = dict(fitted(name, n))
    return Bandit(x, f, sd, told | {"noise": max(float(np.mean(sd**2)), EXACT)})


@cache
def values(name: str, seed: int, n: int) -> tuple[Array, Array]:
    """Candidates ``(n, d)`` and their true values ``(n,)``."""
    rng = seeding.stream(seed, f"bandit {name}")
    if name in PATHS:
        d, lengthscale = PATHS[name]
        x = rng.random((n, d))
        return x, path(x, lengthscale, rng)
    if name == "R":
        x, f = patients()
    elif name == "S":
        x, f = staffing(n)
    elif name == "L":
        x = rng.random((n, 10))
        f = x @ rng.standard_normal(10)
    else:
        problem_name, arguments = FUNCTIONS[name]
        problem: Any = bbopt.problem(problem_name, **arguments)
        low, high = problem.bounds.T
        sobol = qmc.Sobol(len(low), rng=rng)
        x = sobol.random(2 ** math.ceil(math.log2(n)))[:n]
        f = -problem.function(low + x * (high - low))
    return x, (f - f.mean()) / f.std()


def path(x: Array, lengthscale: float, rng: np.random.Generator) -> Array:
    """A draw of Matérn 5/2, whose spectral density is Student's t with 5 degrees of freedom."""
    w = rng.standard_normal((FEATURES, x.shape[1])) / lengthscale
    w *= np.sqrt(5.0 / rng.chisquare(5, (FEATURES, 1)))
    phase, weight = 2 * np.pi * rng.random(FEATURES), rng.standard_normal(FEATURES)
    f: Array = math.sqrt(2.0 / FEATURES) * np.cos(x @ w.T + phase) @ weight
    return f


def patients() -> tuple[Array, Array]:
    """The diabetes data, scaled to the unit cube; kernel ridge regression smooths the target."""
    from sklearn.datasets import load_diabetes
    from sklearn.kernel_ridge import KernelRidge

    data = load_diabetes()
    x = (data.data - data.data.min(axis=0)) / np.ptp(data.data, axis=0)
    y = (data.target - data.target.mean()) / data.target.std()
    smooth = KernelRidge(kernel="rbf", gamma=1.0, alpha=0.5).fit(x, y)
    return x, smooth.predict(x)


def staffing(n: int) -> tuple[Array, Array]:
    """Servers (40 numbers) and their speed (a grid) in the unit cube, and minus the log cost.

    Customers arrive at rate 12; a server of speed s costs 0.5 + 0.5 s² and a waiting customer
    0.5 a unit of time. The mean queue is that of Erlang's C formula, at most 30; beyond what
    the servers can do it grows over a day of 50.
    """
    speeds = max(n // 40, 2)
    servers, speed = np.meshgrid(np.arange(1, 41), np.linspace(0.5, 2.0, speeds), indexing="ij")
    c, s = servers.ravel(), speed.ravel()
    load = 12.0 / s  # offered, in servers
    stable = zip(load.tolist(), c.tolist(), strict=True)
    queue = np.array([30.0 if a >= k else waiting(a, k) for a, k in stable])
    queue = np.minimum(queue, 30.0) + np.maximum(12.0 - c * s, 0.0) * 25.0
    cost = c * (0.5 + 0.5 * s**2) + 0.5 * queue
    return np.column_stack([(c - 1) / 39, (s - 0.5) / 1.5]), -np.log(cost)


def waiting(load: float, servers: int) -> float:
    """Mean number of waiting customers of M/M/c (Erlang's C formula)."""
    logs = np.arange(servers + 1) * math.log(load) - gammaln(np.arange(servers + 1) + 1)
    rho = load / servers
    last = logs[-1] - math.log1p(-rho)
    return math.exp(last - logsumexp(np.append(logs[:-1], last))) * rho / (1.0 - rho)


def staffing_noise(x: Array) -> Array:
    """The busier the servers the noisier a day: 0.1 to 0.7 standard deviations of f."""
    servers, speed = 1 + 39 * x[:, 0], 0.5 + 1.5 * x[:, 1]
    noise: Array = 0.1 + 0.6 * np.minimum(12.0 / (servers * speed), 1.0) ** 4
    return noise


@cache
def fitted(name: str, n: int) -> dict[str, Any]:
    """The kernel of a set, from 300 of its values without noise."""
    x, f = values(name, 0, n)
    rng = seeding.stream(0, f"fit {name}")
    data = Observations(x.shape[1])
    for row in rng.choice(len(x), min(FITTED, len(x)), replace=False):
        data.pool(data.add(x[row], 1.0), 1, float(f[row]), 0.0)
    start = RBF(1.0) if name == "L" else Matern52(0.5)
    kernel = fit(start, data, rng=rng, deterministic=True).kernel
    (lengthscale,) = np.ravel(kernel.lengthscales).tolist()
    kind = "rbf" if name == "L" else "matern52"
    return {"kernel": kind, "lengthscale": lengthscale, "variance": kernel.variance}


# --- a run ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What came of a run.

    Parameters
    ----------
    regret : float
        Mean of ``max f - f`` over the evaluations.
    simple : float
        The same of the candidate that ``best`` names at the end.
    batches : int
        How often the method looked at values.
    largest : int
        Most evaluations between two looks.
    unique, switches : int
        Candidates evaluated, and changes from one evaluation to the next.
    overhead : float
        Seconds in ask and tell.
    choices : int
        CRC-32 of the rows evaluated: equal for equal choices.
    """

    regret: float
    simple: float
    batches: int
    largest: int
    unique: int
    switches: int
    overhead: float
    choices: int


class Noise:
    """Values with noise: the k-th evaluation of a candidate is the same for every method."""

    def __init__(self, bandit: Bandit, seed: int) -> None:
        self._bandit, self._seed = bandit, seed
        self._streams: dict[int, np.random.Generator] = {}

    def draw(self, row: int, n: int) -> bbopt.Outcome:
        """The next ``n`` evaluations of a row."""
        stream = self._streams.get(row)
        if stream is None:
            stream = self._streams[row] = seeding.stream(self._seed, "noise", number=row)
        f, sd = float(self._bandit.f[row]), float(self._bandit.sd[row])
        z = stream.standard_normal(n)
        if n == 1:
            return bbopt.Outcome(f + sd * float(z[0]))
        return bbopt.Outcome.summary(n, f + sd * float(z.mean()), sd**2 * n * float(z.var()))


def play(
    bandit: Bandit, name: str, settings: Mapping[str, Any], seed: int, evaluations: int
) -> Run:
    """A run of one optimizer; the first evaluation, drawn by the seed, is told to every one."""
    columns = {f"x{j}": column for j, column in enumerate(bandit.x.T)}
    space = bbopt.Space({column: bbopt.Float(0, 1) for column in columns})
    spec = bbopt.Spec(space=space, direction="maximize", candidates=columns)
    optimizer = bbopt.optimizer(name, spec, seed=seed, **settings)
    row_of = {tuple(x): row for row, x in reversed(list(enumerate(bandit.x.tolist())))}
    noise = Noise(bandit, seed)
    first = int(seeding.stream(seed, "first").integers(len(bandit.f)))
    optimizer.tell(bbopt.Trial(None, spec.candidates[first]), noise.draw(first, 1))
    rows, counts, overhead = [first], [1], 0.0
    spent, looks = 1, [0]  # evaluations before each look
    while spent < evaluations:
        left = bbopt.Budget(evaluations=evaluations - spent)
        start = time.perf_counter()
        (trial,) = optimizer.ask(1, left)
        overhead += time.perf_counter() - start
        n_batches = getattr(optimizer, "n_batches", len(rows))
        if n_batches > len(looks) - 1:
            looks.append(spent)
        if optimizer.uses_candidates:
            row = row_of[tuple(trial.params.values())]
        else:  # as a run does: the nearest is evaluated instead
            gap = bandit.x - list(trial.params.values())
            row = int(np.argmin(np.einsum("ij,ij->i", gap, gap)))
            trial = bbopt.Trial(trial.number, spec.candidates[row], trial.repeats)
        count = min(trial.repeats, evaluations - spent)
        outcome = noise.draw(row, count)
        start = time.perf_counter()
        optimizer.tell(trial, outcome)
        overhead += time.perf_counter() - start
        spent += count
        rows.append(row)
        counts.append(count)
    best = row_of[tuple(optimizer.best.params.values())]
    made, often = np.array(rows), np.array(counts)
    top = bandit.f.max()
    return Run(
        regret=round(float(often @ (top - bandit.f[made]) / spent), 9),
        simple=round(float(top - bandit.f[best]), 9),
        batches=len(looks) - 1,
        largest=int(np.diff([*looks[1:], spent]).max()),
        unique=len(set(rows)),
        switches=int((made[1:] != made[:-1]).sum()),
        overhead=overhead,
        choices=crc32(np.repeat(made, often).astype(np.int32).tobytes()),
    )

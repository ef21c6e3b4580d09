"""Families of related tasks, generated: ``meta/gp-family`` and ``meta/warped``.

A family is one search space and any number of tasks, ``--with task=K``, that resemble each
other as data sets do on which the same kind of model is tuned. Whoever learns from some tasks of
a family has something to gain on the others. :func:`write_tables` writes tasks as the tables that
``hpo/table`` and ``bbopt train nap`` read, so that both can be tried without any data::

    python -m bbopt.problems.meta runs/warped --tasks 20 --rows 500
    bbopt train nap --data runs/warped --out runs/warped.safetensors
    bbopt run meta/warped --with task=20 --optimizer nap --set weights=runs/warped.safetensors \
        --budget 25
"""

from __future__ import annotations

import argparse
from abc import abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from bbopt import checks, registry, seeding
from bbopt.errors import UsageError
from bbopt.registry import register_problem
from bbopt.space import Array

from .noisy_function import NoisyFunction

FEATURES = 256
"""Random Fourier features of a draw from a Gaussian process."""

DENSE = 2**13
"""Sobol' points on which the least value of a task is sought first."""

POLISHED = 32
"""The best of them, from which L-BFGS-B goes on."""


class _Draw:
    """A draw from a Gaussian process of mean 0, variance 1 and Matérn 5/2 kernel.

    Made of random Fourier features (Rahimi and Recht 2007), whose frequencies have Student's t
    distribution with 5 degrees of freedom, scaled by the ``(d,)`` lengthscales.
    """

    def __init__(self, lengthscales: Array, rng: np.random.Generator) -> None:
        d = len(lengthscales)
        heavy = np.sqrt(5.0 / rng.chisquare(5, FEATURES))
        self._frequencies = rng.standard_normal((d, FEATURES)) * heavy / lengthscales[:, None]
        self._phases = rng.uniform(0, 2 * np.pi, FEATURES)
        self._weights = np.sqrt(2 / FEATURES) * rng.standard_normal(FEATURES)

    def __call__(self, x: Array) -> Array:
        """Its values, ``(n,)``, at ``(n, d)`` points of the unit cube."""
        values: Array = np.cos(x @ self._frequencies + self._phases) @ self._weights
        return values


class _Task(NoisyFunction):
    """One task of a family on the unit cube.

    The least value is that of 8,192 Sobol' points, of which the best 32 are polished by
    L-BFGS-B: up to four dimensions or so that is the optimum; beyond, the least value known.
    """

    def __init__(self, family: int, task: int, dim: int, noise: float, noise_kind: str) -> None:
        self._family = checks.integer("family", family, 0)
        self._task = checks.integer("task", task, 0)
        dim = checks.integer("dim", dim, 1, 16)
        self._build(dim)
        super().__init__([[0, 1]] * dim, [self._least_point(dim)], noise, noise_kind)

    @abstractmethod
    def _build(self, dim: int) -> None:
        """Draw what the function is made of."""

    def _stream(self, dim: int, task: int | None = None) -> np.random.Generator:
        """What all tasks share, or one of them has for itself, is drawn from this."""
        name = f"{type(self).__name__} {dim}" + ("" if task is None else " task")
        return seeding.stream(self._family, name, number=task or 0)

    def _least_point(self, dim: int) -> Array:
        from scipy.optimize import minimize
        from scipy.stats import qmc

        dense = qmc.Sobol(dim, rng=self._stream(dim)).random(DENSE)
        starts = dense[np.argsort(self.function(dense), kind="stable")[:POLISHED]]
        steps = 1e-6 * np.eye(dim)

        def total(z: Array) -> tuple[float, Array]:
            x = z.reshape(-1, dim)
            around = np.concatenate([x + step for step in (*steps, *-steps)])
            high, low = self.function(np.clip(around, 0, 1)).reshape(2, dim, len(x))
            width = np.clip(x + 1e-6, 0, 1) - np.clip(x - 1e-6, 0, 1)
            return float(self.function(x).sum()), ((high - low).T / width).ravel()

        found = minimize(
            total,
            starts.ravel(),
            jac=True,
            method="L-BFGS-B",
            bounds=[(0.0, 1.0)] * starts.size,
        ).x.reshape(-1, dim)
        points = np.concatenate([found, starts])
        best: Array = points[int(np.argmin(self.function(points)))]
        return best


@register_problem("meta/gp-family")
class GPFamily(_Task):
    """Tasks that are draws from one Gaussian process and correlate with each other.

    Task K is √s g + √(1 − s) h with a draw g that the family shares and a draw h of its own, both
    of mean 0, variance 1 and a Matérn 5/2 kernel with one lengthscale a coordinate, log-uniform in
    [0.2, 1.5]; to be minimised. The correlation of two tasks is the ``similarity`` s, 0 to 1:
    with 0 there is nothing to learn from one about another but how smooth they are.

    Source: the construction of multi-task Gaussian processes by Bonilla, Chai and Williams
    (2008), *Multi-task Gaussian process prediction*, with equal correlations.
    The optimum is that of a dense evaluation.

    Cost of an evaluation: 30 microseconds.
    """

    def __init__(
        self,
        task: int = 0,
        dim: int = 3,
        similarity: float = 0.8,
        family: int = 0,
        noise: float = 0.0,
        noise_kind: str = "gaussian",
    ) -> None:
        self._similarity = checks.number("similarity", similarity, 0, 1)
        super().__init__(family, task, dim, noise, noise_kind)

    def _build(self, dim: int) -> None:
        shared = self._stream(dim)
        lengthscales = np.exp(shared.uniform(np.log(0.2), np.log(1.5), dim))
        self._common = _Draw(lengthscales, shared)
        self._own = _Draw(lengthscales, self._stream(dim, self._task))

    def function(self, x: Array) -> Array:
        """√s g(x) + √(1 − s) h(x)."""
        s = self._similarity
        values: Array = np.sqrt(s) * self._common(x) + np.sqrt(1 - s) * self._own(x)
        return values


@register_problem("meta/warped")
class Warped(_Task):
    """Tasks that are one function, seen through warps of every coordinate and of the value.

    Task K is offset + scale · (exp(c g(w(x))) − 1) / c; to be minimised. The family shares g, a
    draw from a Gaussian process as in ``meta/gp-family``. A task has its own warp
    w(x) = 1 − (1 − xᵃ)ᵇ of every coordinate, with ln a and ln b normal of standard deviation
    0.25, which moves the minimum; a skewness c, uniform in [0.2, 1.5], by which bad values are
    much worse than good ones are good; a scale, log-uniform in [0.01, 100]; and an offset,
    normal in units of the scale. So tasks agree on *where* it is good, roughly, and on no value.

    Source: the warps are the distribution functions of Kumaraswamy (1980), *A generalized
    probability density function for double-bounded random processes*.
    The optimum is that of a dense evaluation.

    Cost of an evaluation: 30 microseconds.
    """

    def __init__(
        self,
        task: int = 0,
        dim: int = 3,
        family: int = 0,
        noise: float = 0.0,
        noise_kind: str = "gaussian",
    ) -> None:
        super().__init__(family, task, dim, noise, noise_kind)

    def _build(self, dim: int) -> None:
        shared, own = self._stream(dim), self._stream(dim, self._task)
        self._common = _Draw(np.exp(shared.uniform(np.log(0.2), np.log(1.5), dim)), shared)
        self._a, self._b = np.exp(0.25 * own.standard_normal((2, dim)))
        self._skew = own.uniform(0.2, 1.5)
        self._scale = 10 ** own.uniform(-2, 2)
        self._offset = self._scale * own.standard_normal()

    def function(self, x: Array) -> Array:
        """Offset + scale · (exp(c g(w(x))) − 1) / c."""
        warped = 1 - (1 - np.clip(x, 0, 1) ** self._a) ** self._b
        rise = np.expm1(self._skew * self._common(warped)) / self._skew
        values: Array = self._offset + self._scale * rise
        return values


def write_tables(
    folder: str | Path,
    name: str = "meta/warped",
    *,
    tasks: int = 20,
    rows: int = 500,
    **arguments: Any,
) -> list[Path]:
    """Write the tasks 0, 1, ... of a family as tables ``task_00.npz``, ``task_01.npz``, ...

    Parameters
    ----------
    folder : str or Path
        Where; it is made if it is not there.
    name : str
        A problem of this module.
    tasks, rows : int
        How many tables, >= 1, and how many uniformly random rows each, >= 2.
    **arguments
        Other arguments of the problem.

    Returns
    -------
    list of Path
        The files, in the format that ``hpo/table`` describes.

    Raises
    ------
    UsageError
        If there is no such family, or an argument is out of its range.
    """
    checks.one_of("name", name, ("meta/gp-family", "meta/warped"))
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rows = checks.integer("rows", rows, 2)
    files = []
    for task in range(checks.integer("tasks", tasks, 1)):
        problem = registry.problem(name, task=task, **arguments)
        if not isinstance(problem, _Task) or problem.is_bernoulli:
            raise UsageError("noise_kind must be 'gaussian' or 'heteroscedastic' for tables")
        low, high = problem.bounds.T
        rng = seeding.stream(task, f"tables of {name}")
        x = low + (high - low) * rng.random((rows, len(low)))
        file = folder / f"task_{task:02d}.npz"
        np.savez_compressed(
            file,
            X=x,
            y=problem.function(x) + problem.sd(x) * rng.standard_normal(rows),
            names=np.array(list(problem.spec.space)),
            low=low,
            high=high,
            log=np.zeros(len(low), dtype=bool),
            minimise=np.array(True),
        )
        files.append(file)
    return files


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the tasks of a generated family as tables.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", default="meta/warped", help="meta/warped or meta/gp-family")
    parser.add_argument("--tasks", type=int, default=20)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--dim", type=int, default=3)
    options = parser.parse_args()
    written = write_tables(
        options.folder, options.name, tasks=options.tasks, rows=options.rows, dim=options.dim
    )
    print(f"{len(written)} tables in {options.folder}")

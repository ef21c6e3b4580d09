"""The ten functions on which MASOIE and LAC-MAS are compared, by the same recipe.

With y = x - x_opt and z = R y for one rotation R, agent i has

    f_i(x) = e(z) + 100 Σ_j A_ij z̃_j,

e an elementary function and z̃ its transformed coordinates. The columns of A sum to zero: what pulls
the agents apart cancels in the mean as long as all have the same e. In f5 ... f10 the agents with
even numbers have one function, the odd ones another.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from bbopt import checks, seeding
from bbopt.errors import UsageError
from bbopt.registry import register_problem
from bbopt.space import Array, Float, Params, Space

from .elementary import Elementary, elliptic, griewank, rosenbrock, schwefel
from .graphs import agents as with_weights
from .graphs import cubic
from .local import Local

BOUND = 100.0
CONFLICT = 100.0
AT_ONCE = 8_000
"""Numbers transformed at once: so few that every intermediate stays in the cache."""


class Conflicting(Local):
    """Rotated elementary functions with linear terms that pull the agents apart.

    Parameters
    ----------
    agents : int
        Number of agents, >= 1. 20 have the graph of the benchmark, others a 3-regular one drawn
        from the seed, or a ring where that does not exist.
    dimension : int
        Number of coordinates, >= 2.
    seed : int
        Seed of R, A, x_opt and the graph, >= 0.
    noise, rounding : float
        Standard deviation of an evaluation, and the height of the plateaus that values are
        rounded to; >= 0. With plateaus the optimum is not known.
    data : str
        Folder with the published data in place of generated ones: whitespace-separated text,
        ``A_F1`` (agents × d), ``R_F1`` (d × d), ``xopt_F1`` (d) and, if it is there, ``W_F1``,
        whose entries other than 0 are the edges. ``agents`` and ``dimension`` must fit.

    Raises
    ------
    UsageError
        If an argument is out of its range, or the data cannot be read or do not fit.
    """

    parts: ClassVar[tuple[Elementary, ...]]
    """The elementary functions; agent i has the one at i modulo their number."""
    label: ClassVar[str]
    number: ClassVar[int]
    spread: ClassVar[float] = 50.0
    """Largest modulus of a coordinate of x_opt that is generated."""
    z_optimal: ClassVar[float | None] = None
    """Each coordinate of z at the optimum, where that is known."""

    def __init__(
        self,
        agents: int = 20,
        dimension: int = 100,
        seed: int = 0,
        noise: float = 0.0,
        rounding: float = 0.0,
        data: str = "",
    ) -> None:
        n = checks.integer("agents", agents, 1)
        d = checks.integer("dimension", dimension, 2)
        seed = checks.integer("seed", seed, 0)
        known = cubic(n, seed)
        if data:
            self._pull, self._rotation, self.x_opt = self._read(Path(data), n, d)
            edges = _edges(Path(data) / f"W_F{self.number}", n)
            known = known if edges is None else with_weights(n, edges)
        else:
            self._pull, self._rotation, self.x_opt = self._generate(n, d, seed)
        self._turned = np.ascontiguousarray(self._rotation.T)
        super().__init__(
            Space({f"x{j}": Float(-BOUND, BOUND) for j in range(1, d + 1)}),
            known,
            f"The mean over {n} agents of functions of {d} real numbers.",
            noise,
            rounding,
        )
        if self.z_optimal is not None and not self.rounding:
            self.optimum = 0.0

    def local(self, x: Array, agent: int) -> Array:
        """e(z) + 100 Σ_j A_ij z̃_j."""
        part, pull = self.parts[agent % len(self.parts)], self._pull[agent]
        z, values = self._z(x), np.empty(len(x))
        step = max(1, AT_ONCE // z.shape[1])
        for start in range(0, len(z), step):
            rows = slice(start, start + step)
            moved, values[rows] = part(z[rows])
            values[rows] += moved @ pull
        return values

    def mean(self, x: Array) -> Array:
        """The mean over agents, from one evaluation of each elementary function."""
        total, z = np.zeros(len(x)), self._z(x)
        for i, part in enumerate(self.parts):
            own = self._pull[i :: len(self.parts)]
            moved, values = part(z)
            total += len(own) * values + moved @ own.sum(axis=0)
        return total / self.n_agents

    @property
    def optimal_params(self) -> list[Params]:
        """Where the mean is least, where that is known."""
        if self.z_optimal is None or self.rounding:
            return []
        return [self._params(self._x(np.full(len(self.x_opt), self.z_optimal)))]

    def _z(self, x: Array) -> Array:
        z: Array = (x - self.x_opt) @ self._turned
        return z

    def _x(self, z: Array) -> Array:
        x: Array = self.x_opt + self._turned @ z
        return x

    def _generate(self, n: int, d: int, seed: int) -> tuple[Array, Array, Array]:
        rng = seeding.stream(seed, "distributed", number=self.number)
        q, r = np.linalg.qr(rng.standard_normal((d, d)))
        rotation = q * np.sign(np.diag(r))  # uniform over the orthogonal matrices
        rotation[0] *= np.sign(np.linalg.det(rotation))
        pull = np.rint(11.6 * rng.standard_normal((n, d)))
        pull -= np.rint(pull.mean(axis=0))
        pull[-1] -= pull.sum(axis=0)
        return CONFLICT * pull, rotation, rng.uniform(-self.spread, self.spread, d)

    def _read(self, folder: Path, n: int, d: int) -> tuple[Array, Array, Array]:
        shapes = {"A": (n, d), "R": (d, d), "xopt": (1, d)}
        a, r, x_opt = (
            _table(folder / f"{name}_F{self.number}", shape) for name, shape in shapes.items()
        )
        return CONFLICT * a, r, x_opt[0]


def _table(path: Path, shape: tuple[int, int]) -> Array:
    try:
        table = np.loadtxt(path, ndmin=2)
    except (OSError, ValueError) as error:
        raise UsageError(f"data: {path} cannot be read: {error}") from None
    if shape[0] == 1:
        table = table.reshape(1, -1)
    if table.shape != shape:
        raise UsageError(
            f"data: {path} must hold {shape[0]} × {shape[1]} numbers, got {table.shape[0]} × "
            f"{table.shape[1]}"
        )
    return table


def _edges(path: Path, n: int) -> npt.NDArray[np.int64] | None:
    return np.argwhere(np.triu(_table(path, (n, n)), 1)) if path.exists() else None


@register_problem("distributed/f1")
class F1(Conflicting):
    """Rotated elliptic function with conflicts: smooth, of condition 1e6.

    Known optimum: 0 at x_opt. LAC-MAS reports 2.21e4, MASOIE 6.81e4 on the published data.
    Cost of an evaluation: 3 microseconds in an array of 300, 100 microseconds alone.

    Source: function W_F1 of Chen et al. (2025), *MASOIE*, IEEE TEVC 29, 906-920
    (doi 10.1109/TEVC.2024.3380436); the same as F1 of Qin et al. (2026), *Learning to Act and
    Cooperate for Distributed Black-Box Consensus Optimization*, arXiv 2605.00691.
    """

    parts = (elliptic,)
    label, number, spread, z_optimal = "elliptic", 1, 5.0, 0.0


@register_problem("distributed/f2")
class F2(Conflicting):
    """Rotated Schwefel function 1.2 with conflicts: smooth, asymmetric, not separable.

    Known optimum: 0 at x_opt. LAC-MAS reports 7.57e4, MASOIE 7.96e4 on the published data.
    Cost of an evaluation: 5 microseconds in an array of 300.

    Source: F2 of Qin et al. (2026), arXiv 2605.00691; recipe as in ``distributed/f1``.
    """

    parts = (schwefel,)
    label, number, z_optimal = "schwefel", 2, 0.0


@register_problem("distributed/f3")
class F3(Conflicting):
    """Rotated Rosenbrock function with conflicts: one long curved valley.

    Known optimum: 0 at x_opt + Rᵀ1. LAC-MAS reports 9.99e3, MASOIE 1.05e4, CCSA-DES 280 on the
    published data. Cost of an evaluation: 1 microsecond in an array of 300.

    Source: F3 of Qin et al. (2026), arXiv 2605.00691; recipe as in ``distributed/f1``.
    """

    parts = (rosenbrock,)
    label, number, z_optimal = "rosenbrock", 3, 1.0


@register_problem("distributed/f4")
class F4(Conflicting):
    """Rotated Griewank function with conflicts: a bowl with ripples at its bottom.

    Known optimum: 0 at x_opt. LAC-MAS reports 23.6, MASOIE 24.2, GFPDO 15.6 on the published
    data. Cost of an evaluation: 4 microseconds in an array of 300.

    Source: F4 of Qin et al. (2026), arXiv 2605.00691; recipe as in ``distributed/f1``.
    """

    parts = (griewank,)
    label, number, z_optimal = "griewank", 4, 0.0


@register_problem("distributed/f5")
class F5(Conflicting):
    """Elliptic for half of the agents, Schwefel 1.2 for the other half.

    The conflicts do not cancel, as the halves transform z differently: the optimum is not known
    and may be below 0. LAC-MAS reports 1.55e7, CCSA-DES 1.35e6 on the published data, where
    gossip with BFGS has reached -60.7. Cost of an evaluation: 4 microseconds in an array of 300.

    Source: F5 of Qin et al. (2026), arXiv 2605.00691; recipe as in ``distributed/f1``.
    """

    parts = (elliptic, schwefel)
    label, number = "elliptic and schwefel", 5


@register_problem("distributed/f6")
class F6(Conflicting):
    """Elliptic for half of the agents, Rosenbrock for the other half.

    The optimum is not known and may be below 0 (see f5). LAC-MAS reports 6.43e6, CCSA-DES
    2.97e3 on the published data, where gossip with BFGS has reached 76. Cost of an evaluation:
    2 microseconds in an array of 300.

    Source: F6 of Qin et al. (2026), arXiv 2605.00691; recipe as in ``distributed/f1``.
    """

    parts = (elliptic, rosenbrock)
    label, number = "elliptic and rosenbrock", 6


@register_problem("distributed/f7")
class F7(Conflicting):
    """Schwefel 1.2 for half of the agents, Rosenbrock for the other half.

    The optimum is not known and may be below 0 (see f5). LAC-MAS reports 1.06e5, CCSA-DES
    1.49e3 on the published data, where gossip with BFGS has reached 32.8. Cost of an
    evaluation: 3 microseconds in an array of 300.

    Source: F7 of Qin et al. (2026), arXiv 2605.00691; recipe as in ``distributed/f1``.
    """

    parts = (schwefel, rosenbrock)
    label, number = "schwefel and rosenbrock", 7


@register_problem("distributed/f8")
class F8(Conflicting):
    """Elliptic for half of the agents, Griewank for the other half.

    The optimum is not known and may be below 0 (see f5). LAC-MAS reports 3.03e7, CCSA-DES
    8.18e6 on the published data, where gossip with BFGS has reached 978. Cost of an evaluation:
    4 microseconds in an array of 300.

    Source: F8 of Qin et al. (2026), arXiv 2605.00691; recipe as in ``distributed/f1``.
    """

    parts = (elliptic, griewank)
    label, number = "elliptic and griewank", 8


@register_problem("distributed/f9")
class F9(Conflicting):
    """Schwefel 1.2 for half of the agents, Griewank for the other half.

    The optimum is not known and is below 0 (see f5). LAC-MAS reports 1.26e5 on the published
    data, where gossip with BFGS has reached -2.32e5. Cost of an evaluation: 5 microseconds in
    an array of 300.

    Source: F9 of Qin et al. (2026), arXiv 2605.00691; recipe as in ``distributed/f1``.
    """

    parts = (schwefel, griewank)
    label, number = "schwefel and griewank", 9


@register_problem("distributed/f10")
class F10(Conflicting):
    """Rosenbrock for half of the agents, Griewank for the other half.

    Neither transforms z, so that the conflicts cancel. Best known: 0.48107 for 100 coordinates
    and an even number of agents, a minimum near z = 1 that is found numerically. LAC-MAS reports
    5.06e6, CCSA-DES 1.53e3 on the published data. Cost of an evaluation: 3 microseconds in an
    array of 300.

    Source: F10 of Qin et al. (2026), arXiv 2605.00691; recipe as in ``distributed/f1``.
    """

    parts = (rosenbrock, griewank)
    label, number = "rosenbrock and griewank", 10

    @property
    def optimum(self) -> float | None:  # type: ignore[override]
        """The least value near z = 1; it depends on the numbers of coordinates and agents."""
        return None if self.rounding else float(self.mean(self._x(self._z_best)[None])[0])

    @property
    def optimal_params(self) -> list[Params]:
        """Where the best known value is taken."""
        return [] if self.rounding else [self._params(self._x(self._z_best))]

    @cached_property
    def _z_best(self) -> Array:
        from scipy.optimize import minimize

        share = (self.n_agents + 1) // 2 / self.n_agents

        def mean(z: Array) -> tuple[float, Array]:
            (_, first), (_, second) = rosenbrock(z[None]), griewank(z[None])
            curve, slope = np.zeros_like(z), np.zeros_like(z)
            valley = z[:-1] ** 2 - z[1:]
            curve[:-1] = 400 * valley * z[:-1] + 2 * (z[:-1] - 1)
            curve[1:] -= 200 * valley
            roots = np.sqrt(np.arange(1, len(z) + 1))
            slope += z / 2000 + np.cos(z / roots).prod() * np.tan(z / roots) / roots
            value = share * first[0] + (1 - share) * second[0]
            return float(value), share * curve + (1 - share) * slope

        start = np.ones(len(self.x_opt))
        options = {"gtol": 1e-9, "maxiter": 10_000}
        best: Array = minimize(mean, start, jac=True, method="BFGS", options=options).x
        return best

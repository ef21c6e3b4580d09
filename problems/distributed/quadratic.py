"""Quadratics with minima of their own and a common one in closed form."""

from __future__ import annotations

import numpy as np

from bbopt import checks, seeding
from bbopt.errors import UsageError
from bbopt.registry import register_problem
from bbopt.space import Array, Float, Params, Space

from .graphs import cubic
from .local import Local

BOUND = 100.0


@register_problem("distributed/quadratic")
class Quadratic(Local):
    """Rotated ill-conditioned quadratics, whose common minimum has a closed form.

    f_i(x) = ½ (x - b_i)ᵀ Q_i (x - b_i), with b_i uniform in [-5, 5]^d and Q_i of eigenvalues from 1
    to ``condition``, evenly spaced in their logarithms, under a rotation of its own.

    Known optimum: at (Σ Q_i)⁻¹ Σ Q_i b_i. Cost of an evaluation: 0.2 microseconds in an array of
    300 in 10 dimensions. For 10,000 agents it holds 8 MB in 10 dimensions.

    Source: the standard test of distributed optimisation; this family is ours.

    Parameters
    ----------
    agents : int
        Number of agents, >= 1; their graph is as in ``distributed/f1``.
    dimension : int
        Number of coordinates, >= 1.
    condition : float
        Largest eigenvalue, >= 1.
    seed : int
        Seed of all that is generated, >= 0.
    noise : float
        Standard deviation of an evaluation, >= 0.

    Raises
    ------
    UsageError
        If an argument is out of its range, or the minimum lies outside of the box (which takes
        few agents and a huge condition).
    """

    def __init__(
        self,
        agents: int = 20,
        dimension: int = 10,
        condition: float = 100.0,
        seed: int = 0,
        noise: float = 0.0,
    ) -> None:
        n = checks.integer("agents", agents, 1)
        d = checks.integer("dimension", dimension, 1)
        condition = checks.number("condition", condition, 1)
        seed = checks.integer("seed", seed, 0)
        rng = seeding.stream(seed, "distributed/quadratic")
        rotations = np.linalg.qr(rng.standard_normal((n, d, d)))[0]
        self.centres = rng.uniform(-5, 5, (n, d))
        self._roots = rotations * np.sqrt(np.geomspace(1.0, condition, d))  # Q = root rootᵀ
        matrices = self._roots @ self._roots.transpose(0, 2, 1)
        pulls = np.einsum("nij,nj->i", matrices, self.centres)
        self.minimiser: Array = np.linalg.solve(matrices.sum(axis=0), pulls)
        if np.abs(self.minimiser).max() > BOUND:
            raise UsageError(
                "distributed/quadratic: the minimum is outside of the box; take "
                f"a smaller condition than {condition:g} or another seed"
            )
        super().__init__(
            Space({f"x{j}": Float(-BOUND, BOUND) for j in range(1, d + 1)}),
            cubic(n, seed),
            f"The mean over {n} agents of quadratic functions of {d} real numbers.",
            noise,
        )
        self.optimum = float(self.mean(self.minimiser[None])[0])

    def local(self, x: Array, agent: int) -> Array:
        """½ |rootᵀ (x - b)|²."""
        y = (x - self.centres[agent]) @ self._roots[agent]
        values: Array = 0.5 * np.einsum("ij,ij->i", y, y)
        return values

    @property
    def optimal_params(self) -> list[Params]:
        """The common minimum."""
        return [self._params(self.minimiser)]

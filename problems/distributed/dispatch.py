"""Power plants that agree on who produces how much."""

from __future__ import annotations

import numpy as np

from bbopt import checks, seeding
from bbopt.registry import register_problem
from bbopt.space import Array, Float, Params, Space

from .graphs import cubic
from .local import Local

# cost a + b P + c P² + |e sin(f (least - P))|, P in [least, greatest]
THREE = np.array(
    [
        [561, 7.92, 0.001562, 300, 0.0315, 100, 600],
        [310, 7.85, 0.00194, 200, 0.042, 100, 400],
        [78, 7.97, 0.00482, 150, 0.063, 50, 200],
    ]
)
DEMAND = 850.0


@register_problem("distributed/dispatch")
class Dispatch(Local):
    """Economic dispatch with valve points: every unit knows its own cost curve.

    The agents agree on the whole schedule x, one output in MW a unit, at which the sum of costs
    plus a penalty for a balance that is off is least:
    f_i(x) = N C_i(x_i) + penalty (Σ x - demand)²,
    C(P) = a + b P + c P² + |e sin(f (P_min - P))|. The valve points make many local minima.

    Known optimum for three units and 850 MW: 8234.0717 at (300.267, 400, 149.733) with an exact
    balance; with the penalty the least value is lower, by 0.084 for the default. Larger systems are
    generated, and their optimum is not known. Cost of an evaluation: 0.1 microseconds in an array
    of 300.

    Source: the three-unit system of Walters and Sheblé (1993), *Genetic algorithm solution of
    economic dispatch with valve point loading*, IEEE Transactions on Power Systems 8.

    Parameters
    ----------
    agents : int
        Number of units, >= 2; 3 are the system of the literature, linked as a triangle, others are
        drawn, linked as in ``distributed/f1``.
    penalty : float
        Cost of a MW² of imbalance, >= 100; with less, buying an imbalance would pay.
    seed : int
        Seed of units that are drawn, >= 0.
    noise : float
        Standard deviation of an evaluation, >= 0.

    Raises
    ------
    UsageError
        If an argument is out of its range.
    """

    def __init__(
        self, agents: int = 3, penalty: float = 1000.0, seed: int = 0, noise: float = 0.0
    ) -> None:
        n = checks.integer("agents", agents, 2)
        self.penalty = checks.number("penalty", penalty, 100)
        seed = checks.integer("seed", seed, 0)
        self.units = THREE if n == len(THREE) else _drawn(n, seed)
        low, high = self.units[:, 5:].T
        self.demand = DEMAND if n == len(THREE) else float(np.rint(0.7 * high.sum()))
        names = [f"unit{i}" for i in range(1, n + 1)]
        bounds = zip(names, low.tolist(), high.tolist(), strict=True)
        super().__init__(
            Space({name: Float(*each) for name, *each in bounds}),
            cubic(n, seed),
            f"Cost of an hour of {n} power plants that produce {self.demand:g} MW together.",
            noise,
        )
        if n == len(THREE):
            self._best = self._least_of_three()
            self.optimum = float(self.mean(self._best[None])[0])

    def local(self, x: Array, agent: int) -> Array:
        """N C_i(x_i) + penalty (Σ x - demand)²."""
        return len(self.units) * self.cost(x[:, agent], agent) + self._imbalance(x)

    def mean(self, x: Array) -> Array:
        """Σ_i C_i(x_i) + penalty (Σ x - demand)²."""
        costs = [self.cost(x[:, agent], agent) for agent in range(len(self.units))]
        total: Array = np.sum(costs, axis=0) + self._imbalance(x)
        return total

    def cost(self, output: Array, unit: int) -> Array:
        """What one unit's outputs in MW cost an hour, of the shape of ``output``."""
        a, b, c, e, f, low, _ = self.units[unit]
        value: Array = a + (b + c * output) * output + np.abs(e * np.sin(f * (low - output)))
        return value

    @property
    def optimal_params(self) -> list[Params]:
        """The best schedule of the three units."""
        return [self._params(self._best)] if len(self.units) == len(THREE) else []

    def _imbalance(self, x: Array) -> Array:
        value: Array = self.penalty * (x.sum(axis=1) - self.demand) ** 2
        return value

    def _least_of_three(self) -> Array:
        """Unit 2 at its most, unit 3 at its second valve point, unit 1 where the slope is 0."""
        _, b, c, e, f, low, _ = self.units[0]
        valve = low + 2 * np.pi / f
        third = self.units[2, 5] + 2 * np.pi / self.units[2, 4]
        rest = self.demand - self.units[1, 6] - third
        left, right = valve, valve + np.pi / f / 2  # between them the slope grows from below 0
        for _ in range(200):
            p = (left + right) / 2
            slope = b + 2 * c * p + e * f * np.cos(f * (p - low)) + 2 * self.penalty * (p - rest)
            left, right = (p, right) if slope < 0 else (left, p)
        return np.array([p, self.units[1, 6], third])


def _drawn(n: int, seed: int) -> Array:
    """Units with coefficients within the ranges of the literature's."""
    rng = seeding.stream(seed, "distributed/dispatch")
    greatest = rng.uniform(150, 600, n)
    low = [50, 7.5, 0.0015, 100, 0.03]
    high = [600, 8.5, 0.005, 300, 0.065]
    coefficients = rng.uniform(low, high, (n, 5))
    return np.column_stack([coefficients, greatest / 5, greatest])

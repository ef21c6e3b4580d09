"""Test functions with known minima: ``synthetic/branin``, ``synthetic/ackley``, ...

All are minimised over the box that the literature uses, all take ``noise`` and ``noise_kind``
(see :class:`~bbopt.problems.noisy_function.NoisyFunction`), and ``dim`` where the function is
defined in any dimension. Those that grow beyond their box too take ``moved``: a seed (>= 0) with
which the minimiser is put elsewhere, uniformly in the middle half of the box, so that nobody
finds it by starting at the centre. A million repeats of one point are one call of 20
milliseconds, and ``function`` takes whole arrays of points.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np

from bbopt import checks, seeding
from bbopt.registry import register_problem
from bbopt.space import Array

from .gp_draw import GaussianProcessDraw
from .noisy_function import NoisyFunction


@register_problem("synthetic/branin")
class Branin(NoisyFunction):
    """Branin's function of two variables, with three equal minima of 10 / (8 pi) = 0.39789.

    Source: Dixon and Szegő (1978), *The global optimization problem: an introduction*.

    Cost of an evaluation: 10 microseconds.
    """

    def __init__(self, noise: float = 0.0, noise_kind: str = "gaussian") -> None:
        minimisers = [[-np.pi, 12.275], [np.pi, 2.275], [3 * np.pi, 2.475]]
        super().__init__([[-5, 10], [0, 15]], minimisers, noise, noise_kind)

    def function(self, x: Array) -> Array:
        """(x2 − 5.1 x1² / (4π²) + 5 x1 / π − 6)² + 10 (1 − 1 / (8π)) cos x1 + 10."""
        x1, x2 = x[:, 0], x[:, 1]
        valley = x2 - 5.1 / (4 * np.pi**2) * x1**2 + 5 / np.pi * x1 - 6
        return valley**2 + 10 * (1 - 1 / (8 * np.pi)) * np.cos(x1) + 10


class _Hartmann(NoisyFunction):
    """−Σᵢ αᵢ exp(−Σⱼ Aᵢⱼ (xⱼ − Pᵢⱼ)²) on the unit cube."""

    alpha: ClassVar[Array] = np.array([1.0, 1.2, 3.0, 3.2])
    widths: ClassVar[Array]  # A
    centres: ClassVar[Array]  # P
    minimiser: ClassVar[list[float]]

    def __init__(self, noise: float = 0.0, noise_kind: str = "gaussian") -> None:
        bounds = [[0, 1]] * len(self.minimiser)
        super().__init__(bounds, [self.minimiser], noise, noise_kind)

    def function(self, x: Array) -> Array:
        """The negative sum of four Gaussian bumps."""
        distances: Array = (self.widths * (x[:, None, :] - self.centres) ** 2).sum(axis=2)
        return _sum(-self.alpha * np.exp(-distances))


@register_problem("synthetic/hartmann3")
class Hartmann3(_Hartmann):
    """Hartman's function of three variables; least value −3.86278.

    Source: Dixon and Szegő (1978), *The global optimization problem: an introduction*.

    Cost of an evaluation: 10 microseconds.
    """

    widths = np.array([[3, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]])
    centres = 1e-4 * np.array(
        [[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]]
    )
    minimiser: ClassVar = [0.11458887665506896, 0.5556488946169301, 0.8525469846866774]


@register_problem("synthetic/hartmann6")
class Hartmann6(_Hartmann):
    """Hartman's function of six variables; least value −3.32237.

    Source: Dixon and Szegő (1978), *The global optimization problem: an introduction*.

    Cost of an evaluation: 10 microseconds.
    """

    widths = np.array(
        [
            [10, 3, 17, 3.5, 1.7, 8],
            [0.05, 10, 17, 0.1, 8, 14],
            [3, 3.5, 1.7, 10, 17, 8],
            [17, 8, 0.05, 10, 0.1, 14],
        ]
    )
    centres = 1e-4 * np.array(
        [
            [1312, 1696, 5569, 124, 8283, 5886],
            [2329, 4135, 8307, 3736, 1004, 9991],
            [2348, 1451, 3522, 2883, 3047, 6650],
            [4047, 8828, 8732, 5743, 1091, 381],
        ]
    )
    minimiser: ClassVar = [
        0.20168951100670543,
        0.15001069182345797,
        0.47687397422189703,
        0.2753324304940561,
        0.31165161660011326,
        0.6573005340656204,
    ]


class _AnyDimension(NoisyFunction):
    """A function of any number of variables."""

    interval: ClassVar[tuple[float, float]]
    least_dim: ClassVar[int] = 1

    def __init__(self, dim: int = 2, noise: float = 0.0, noise_kind: str = "gaussian") -> None:
        dim = checks.integer("dim", dim, self.least_dim)
        super().__init__([self.interval] * dim, [self.minimiser_in(dim)], noise, noise_kind)

    def minimiser_in(self, dim: int) -> Array:
        """The minimiser, ``(dim,)``."""
        return np.zeros(dim)


class _Movable(_AnyDimension):
    """One that is least at a point of its box wherever this is moved to."""

    def __init__(
        self,
        dim: int = 2,
        noise: float = 0.0,
        noise_kind: str = "gaussian",
        moved: int | None = None,
    ) -> None:
        self._moved = None if moved is None else checks.integer("moved", moved, 0)
        super().__init__(dim, noise, noise_kind)

    def function(self, x: Array) -> Array:
        """``plain``, moved."""
        return self.plain(x - self._offset(x.shape[1]))

    @abstractmethod
    def plain(self, x: Array) -> Array:
        """The values of the function where the literature has it, ``(n,)``, at ``(n, d)``."""

    def plain_minimiser(self, dim: int) -> Array:
        """Where ``plain`` is least, ``(dim,)``."""
        return np.zeros(dim)

    def minimiser_in(self, dim: int) -> Array:
        """The same, moved."""
        minimiser: Array = self.plain_minimiser(dim) + self._offset(dim)
        return minimiser

    def _offset(self, dim: int) -> Array:
        if self._moved is None:
            return np.zeros(dim)
        low, high = self.interval
        share = seeding.stream(self._moved, "moved").uniform(0.25, 0.75, dim)
        offset: Array = low + share * (high - low) - self.plain_minimiser(dim)
        return offset


@register_problem("synthetic/ackley")
class Ackley(_Movable):
    """Ackley's function; least value 0 at 0, in a narrow funnel on a rippled plain.

    Source: Ackley (1987), *A connectionist machine for genetic hillclimbing*; in any dimension
    Bäck (1996), *Evolutionary algorithms in theory and practice*.

    Cost of an evaluation: 10 microseconds.
    """

    interval = (-32.768, 32.768)

    def plain(self, x: Array) -> Array:
        """20 − 20 exp(−0.2 √mean(x²)) + e − exp(mean(cos 2πx)), written without cancellation."""
        d = x.shape[1]
        funnel: Array = -20 * np.expm1(-0.2 * np.sqrt(_sum(x**2) / d))
        ripples: Array = -np.e * np.expm1(_sum(np.cos(2 * np.pi * x)) / d - 1)
        return funnel + ripples


@register_problem("synthetic/rastrigin")
class Rastrigin(_Movable):
    """Rastrigin's function; least value 0 at 0, among 11 local minima in each dimension.

    Source: Rastrigin (1974), *Systems of extremal control*; in any dimension Mühlenbein,
    Schomisch and Born (1991), *The parallel genetic algorithm as function optimizer*.

    Cost of an evaluation: 10 microseconds.
    """

    interval = (-5.12, 5.12)

    def plain(self, x: Array) -> Array:
        """Σ x² + 10 (1 − cos 2πx)."""
        return _sum(x**2 + 20 * np.sin(np.pi * x) ** 2)


@register_problem("synthetic/rosenbrock")
class Rosenbrock(_Movable):
    """Rosenbrock's valley, from two dimensions on; least value 0 at (1, ..., 1).

    Source: Rosenbrock (1960), *An automatic method for finding the greatest or least value of
    a function*, The Computer Journal 3.

    Cost of an evaluation: 10 microseconds.
    """

    interval = (-5.0, 10.0)
    least_dim = 2

    def plain(self, x: Array) -> Array:
        """Σᵢ 100 (xᵢ₊₁ − xᵢ²)² + (1 − xᵢ)²."""
        head, tail = x[:, :-1], x[:, 1:]
        return _sum(100 * (tail - head**2) ** 2 + (1 - head) ** 2)

    def plain_minimiser(self, dim: int) -> Array:
        """See above."""
        return np.ones(dim)


@register_problem("synthetic/levy")
class Levy(_Movable):
    """Levy's function; least value 0 at (1, ..., 1), among many local minima.

    Source: Levy and Montalvo (1985), *The tunneling algorithm for the global minimization of
    functions*, in the form of Laguna and Martí (2005), *Experimental testing of advanced
    scatter search designs for global optimization of multimodal functions*.

    Cost of an evaluation: 20 microseconds.
    """

    interval = (-10.0, 10.0)

    def plain(self, x: Array) -> Array:
        """Waves on a paraboloid in w = 1 + (x − 1) / 4; their first term is sin² πw₁."""
        w = 1 + (x - 1) / 4
        head, last = w[:, :-1], w[:, -1]
        waves = _sum((head - 1) ** 2 * (1 + 10 * np.sin(np.pi * head + 1) ** 2))
        end: Array = (last - 1) ** 2 * (1 + np.sin(2 * np.pi * last) ** 2)
        start: Array = np.sin(np.pi * (w[:, 0] - 1)) ** 2
        return start + waves + end

    def plain_minimiser(self, dim: int) -> Array:
        """See above."""
        return np.ones(dim)


@register_problem("synthetic/griewank")
class Griewank(_Movable):
    """Griewank's function; least value 0 at 0, a paraboloid with thousands of ripples.

    Source: Griewank (1981), *Generalized descent for global optimization*, Journal of
    Optimization Theory and Applications 34.

    Cost of an evaluation: 15 microseconds.
    """

    interval = (-600.0, 600.0)

    def plain(self, x: Array) -> Array:
        """Σᵢ xᵢ² / 4000 + 1 − Πᵢ cos(xᵢ / √i)."""
        roots = np.sqrt(np.arange(1, x.shape[1] + 1))
        ripples: Array = np.cos(x / roots).prod(axis=1)
        return _sum(x**2) / 4000 + 1 - ripples


@register_problem("synthetic/styblinski-tang")
class StyblinskiTang(_Movable):
    """Styblinski and Tang's function; least value −39.16617 times ``dim``, at −2.903534.

    Source: Styblinski and Tang (1990), *Experiments in nonconvex optimization: stochastic
    approximation with function smoothing and simulated annealing*, Neural Networks 3.

    Cost of an evaluation: 10 microseconds.
    """

    interval = (-5.0, 5.0)

    def plain(self, x: Array) -> Array:
        """½ Σ x⁴ − 16 x² + 5 x."""
        return _sum(x**4 - 16 * x**2 + 5 * x) / 2

    def plain_minimiser(self, dim: int) -> Array:
        """See above."""
        return np.full(dim, -2.9035340277711783)


@register_problem("synthetic/step")
class Step(_Movable):
    """A paraboloid of plateaus, flat almost everywhere; least value 0 wherever |x| < ½.

    Source: function f6 of Yao, Liu and Lin (1999), *Evolutionary programming made faster*,
    IEEE Transactions on Evolutionary Computation 3, on the box of De Jong's step function
    (1975), which cuts each dimension into eleven plateaus.

    Cost of an evaluation: 10 microseconds.
    """

    interval = (-5.12, 5.12)

    def plain(self, x: Array) -> Array:
        """Σ ⌊x + ½⌋²."""
        return _sum(np.floor(x + 0.5) ** 2)


@register_problem("synthetic/ellipsoid")
class Ellipsoid(_Movable):
    """An ellipsoid whose axes differ a thousandfold in length; least value 0 at 0.

    Source: Hansen and Ostermeier (2001), *Completely derandomized self-adaptation in evolution
    strategies*, Evolutionary Computation 9: f_elli, of condition 1e6.

    Cost of an evaluation: 10 microseconds.
    """

    interval = (-5.0, 5.0)
    least_dim = 2

    def plain(self, x: Array) -> Array:
        """Σᵢ 10^(6 (i − 1) / (d − 1)) xᵢ²."""
        d = x.shape[1]
        return _sum(10 ** (6 * np.arange(d) / (d - 1)) * x**2)


@register_problem("synthetic/zakharov")
class Zakharov(_Movable):
    """Zakharov's function; least value 0 at 0, at the bottom of one long bent valley.

    Source: Rahnamayan, Tizhoosh and Salama (2007), *A novel population initialization method
    for accelerating evolutionary algorithms*, Computers & Mathematics with Applications 53.

    Cost of an evaluation: 10 microseconds.
    """

    interval = (-5.0, 10.0)

    def plain(self, x: Array) -> Array:
        """Σ x² + s² + s⁴ with s = ½ Σᵢ i xᵢ."""
        s = _sum(np.arange(1, x.shape[1] + 1) * x) / 2
        values: Array = _sum(x**2) + s**2 + s**4
        return values


@register_problem("synthetic/dixon-price")
class DixonPrice(_Movable):
    """Dixon and Price's function; least value 0 at xᵢ = 2^(2^(1 − i) − 1), in a narrow valley.

    Source: Dixon and Price (1989), *The truncated Newton method for sparse unconstrained
    optimisation using automatic differentiation*, Journal of Optimization Theory and
    Applications 60, in the form of Laguna and Martí (2005), see Levy's function.

    Cost of an evaluation: 10 microseconds.
    """

    interval = (-10.0, 10.0)

    def plain(self, x: Array) -> Array:
        """(x₁ − 1)² + Σᵢ₌₂ i (2 xᵢ² − xᵢ₋₁)²."""
        i = np.arange(2, x.shape[1] + 1)
        values: Array = (x[:, 0] - 1) ** 2 + _sum(i * (2 * x[:, 1:] ** 2 - x[:, :-1]) ** 2)
        return values

    def plain_minimiser(self, dim: int) -> Array:
        """See above."""
        return np.exp2(np.exp2(-np.arange(dim)) - 1.0)


@register_problem("synthetic/schwefel")
class Schwefel(_AnyDimension):
    """Schwefel's function 2.26; least value 0 at 420.968746, far from the next best minima.

    Source: Schwefel (1981), *Numerical optimization of computer models*.

    Cost of an evaluation: 10 microseconds.
    """

    interval = (-500.0, 500.0)

    def function(self, x: Array) -> Array:
        """418.98 d − Σ x sin √|x|, the constant to all digits."""
        return _sum(418.98288727243374 - x * np.sin(np.sqrt(np.abs(x))))

    def minimiser_in(self, dim: int) -> Array:
        """See above."""
        return np.full(dim, 420.9687462275036)


@register_problem("synthetic/michalewicz")
class Michalewicz(_AnyDimension):
    """Michalewicz's function of steep valleys between plateaus; least value −1.8013 for dim 2.

    It is −9.66015 for dim 10. The sum's terms are minimised one by one, over a grid of spacing
    less than a hundredth of a valley's width and by golden sections from there.

    Source: Michalewicz (1992), *Genetic algorithms + data structures = evolution programs*.

    Cost of an evaluation: 10 microseconds.
    """

    interval = (0.0, np.pi)

    def function(self, x: Array) -> Array:
        """−Σᵢ sin xᵢ sin²⁰(i xᵢ² / π)."""
        return _sum(self._terms(x, np.arange(1, x.shape[1] + 1)))

    def minimiser_in(self, dim: int) -> Array:
        """Of each term by itself."""
        return np.array([self._least_of_term(i) for i in range(1, dim + 1)])

    @staticmethod
    def _terms(x: Array, i: Any) -> Array:
        terms: Array = -np.sin(x) * np.sin(i * x**2 / np.pi) ** 20
        return terms

    def _least_of_term(self, i: int) -> float:
        from scipy.optimize import minimize_scalar

        grid = np.linspace(0, np.pi, 400 * i + 1)
        best = int(np.argmin(self._terms(grid, i)))
        around = grid[best - 1], grid[best + 1]
        found = minimize_scalar(
            lambda x: float(self._terms(x, i)),
            bounds=around,
            method="bounded",
            options={"xatol": 1e-12},
        )
        return float(found.x)


@register_problem("synthetic/gp1")
class GaussianProcessDraw1(GaussianProcessDraw):
    """A fixed draw from a Gaussian process in one dimension.

    ``seed`` (>= 0) says which draw, ``lengthscale`` (0.05 to 10) how smooth it is; both move the
    minimum, which is −1.86506 at 0.335782 by default.

    Source: Rahimi and Recht (2007), *Random features for large-scale kernel machines*.

    Cost of an evaluation: 10 microseconds.
    """

    dim = 1


@register_problem("synthetic/gp2")
class GaussianProcessDraw2(GaussianProcessDraw):
    """A fixed draw from a Gaussian process in two dimensions.

    ``seed`` (>= 0) says which draw, ``lengthscale`` (0.05 to 10) how smooth it is; both move the
    minimum, which is −1.53179 at (0.995453, 0.565154) by default.

    Source: Rahimi and Recht (2007), *Random features for large-scale kernel machines*.

    Cost of an evaluation: 10 microseconds.
    """

    dim = 2


def _sum(terms: Array) -> Array:
    """``(n, d)`` -> ``(n,)``: the sum over the coordinates."""
    total: Array = terms.sum(axis=1)
    return total

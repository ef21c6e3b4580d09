"""Test functions with known minima: ``synthetic/branin``, ``synthetic/ackley``, ...

All are minimised over the box that the literature uses, all take ``noise`` and ``noise_kind``
(see :class:`~bbopt.problems.noisy_function.NoisyFunction`), and ``dim`` where the function is
defined in any dimension. A million repeats of one point are one call of 20 milliseconds, and
``function`` takes whole arrays of points.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from bbopt import checks, seeding
from bbopt.registry import register_problem
from bbopt.space import Array

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
    """A function of any number of variables that treats them alike."""

    interval: ClassVar[tuple[float, float]]
    minimiser: ClassVar[float] = 0.0  # in each coordinate
    least_dim: ClassVar[int] = 1

    def __init__(self, dim: int = 2, noise: float = 0.0, noise_kind: str = "gaussian") -> None:
        dim = checks.integer("dim", dim, self.least_dim)
        super().__init__([self.interval] * dim, [[self.minimiser] * dim], noise, noise_kind)


@register_problem("synthetic/ackley")
class Ackley(_AnyDimension):
    """Ackley's function; least value 0 at 0, in a narrow funnel on a rippled plain.

    Source: Ackley (1987), *A connectionist machine for genetic hillclimbing*; in any dimension
    Bäck (1996), *Evolutionary algorithms in theory and practice*.

    Cost of an evaluation: 10 microseconds.
    """

    interval = (-32.768, 32.768)

    def function(self, x: Array) -> Array:
        """20 − 20 exp(−0.2 √mean(x²)) + e − exp(mean(cos 2πx)), written without cancellation."""
        d = x.shape[1]
        funnel: Array = -20 * np.expm1(-0.2 * np.sqrt(_sum(x**2) / d))
        ripples: Array = -np.e * np.expm1(_sum(np.cos(2 * np.pi * x)) / d - 1)
        return funnel + ripples


@register_problem("synthetic/rastrigin")
class Rastrigin(_AnyDimension):
    """Rastrigin's function; least value 0 at 0, among 11 local minima in each dimension.

    Source: Rastrigin (1974), *Systems of extremal control*; in any dimension Mühlenbein,
    Schomisch and Born (1991), *The parallel genetic algorithm as function optimizer*.

    Cost of an evaluation: 10 microseconds.
    """

    interval = (-5.12, 5.12)

    def function(self, x: Array) -> Array:
        """Σ x² + 10 (1 − cos 2πx)."""
        return _sum(x**2 + 20 * np.sin(np.pi * x) ** 2)


@register_problem("synthetic/rosenbrock")
class Rosenbrock(_AnyDimension):
    """Rosenbrock's valley, from two dimensions on; least value 0 at (1, ..., 1).

    Source: Rosenbrock (1960), *An automatic method for finding the greatest or least value of
    a function*, The Computer Journal 3.

    Cost of an evaluation: 10 microseconds.
    """

    interval = (-5.0, 10.0)
    minimiser = 1.0
    least_dim = 2

    def function(self, x: Array) -> Array:
        """Σᵢ 100 (xᵢ₊₁ − xᵢ²)² + (1 − xᵢ)²."""
        head, tail = x[:, :-1], x[:, 1:]
        return _sum(100 * (tail - head**2) ** 2 + (1 - head) ** 2)


@register_problem("synthetic/levy")
class Levy(_AnyDimension):
    """Levy's function; least value 0 at (1, ..., 1), among many local minima.

    Source: Levy and Montalvo (1985), *The tunneling algorithm for the global minimization of
    functions*, in the form of Laguna and Martí (2005), *Experimental testing of advanced
    scatter search designs for global optimization of multimodal functions*.

    Cost of an evaluation: 20 microseconds.
    """

    interval = (-10.0, 10.0)
    minimiser = 1.0

    def function(self, x: Array) -> Array:
        """Waves on a paraboloid in w = 1 + (x − 1) / 4; their first term is sin² πw₁."""
        w = 1 + (x - 1) / 4
        head, last = w[:, :-1], w[:, -1]
        waves = _sum((head - 1) ** 2 * (1 + 10 * np.sin(np.pi * head + 1) ** 2))
        end: Array = (last - 1) ** 2 * (1 + np.sin(2 * np.pi * last) ** 2)
        start: Array = np.sin(np.pi * (w[:, 0] - 1)) ** 2
        return start + waves + end


@register_problem("synthetic/griewank")
class Griewank(_AnyDimension):
    """Griewank's function; least value 0 at 0, a paraboloid with thousands of ripples.

    Source: Griewank (1981), *Generalized descent for global optimization*, Journal of
    Optimization Theory and Applications 34.

    Cost of an evaluation: 15 microseconds.
    """

    interval = (-600.0, 600.0)

    def function(self, x: Array) -> Array:
        """Σᵢ xᵢ² / 4000 + 1 − Πᵢ cos(xᵢ / √i)."""
        roots = np.sqrt(np.arange(1, x.shape[1] + 1))
        ripples: Array = np.cos(x / roots).prod(axis=1)
        return _sum(x**2) / 4000 + 1 - ripples


@register_problem("synthetic/styblinski-tang")
class StyblinskiTang(_AnyDimension):
    """Styblinski and Tang's function; least value −39.16617 times ``dim``, at −2.903534.

    Source: Styblinski and Tang (1990), *Experiments in nonconvex optimization: stochastic
    approximation with function smoothing and simulated annealing*, Neural Networks 3.

    Cost of an evaluation: 10 microseconds.
    """

    interval = (-5.0, 5.0)
    minimiser = -2.9035340277711783

    def function(self, x: Array) -> Array:
        """½ Σ x⁴ − 16 x² + 5 x."""
        return _sum(x**4 - 16 * x**2 + 5 * x) / 2


@register_problem("synthetic/step")
class Step(_AnyDimension):
    """A paraboloid of plateaus, flat almost everywhere; least value 0 wherever |x| < ½.

    Source: function f6 of Yao, Liu and Lin (1999), *Evolutionary programming made faster*,
    IEEE Transactions on Evolutionary Computation 3, on the box of De Jong's step function
    (1975), which cuts each dimension into eleven plateaus.

    Cost of an evaluation: 10 microseconds.
    """

    interval = (-5.12, 5.12)

    def function(self, x: Array) -> Array:
        """Σ ⌊x + ½⌋²."""
        return _sum(np.floor(x + 0.5) ** 2)


class _GaussianProcessDraw(NoisyFunction):
    """√(2/m) Σₖ wₖ cos(ωₖ·x + bₖ) on the unit cube, m = 256; subclasses fix the dimension.

    With w and l ω standard normal and b uniform in [0, 2π) this is a draw, made of random
    Fourier features (Rahimi and Recht 2007, *Random features for large-scale kernel machines*),
    from a Gaussian process of mean 0, variance 1 and kernel exp(−|x − x'|² / (2 l²)), where l is
    ``lengthscale``. The minimum is found at construction: the least minima of a grid of spacing
    l / 10 are polished by L-BFGS-B, which leaves an error of about 1e-8 in x and of rounding in
    the value.
    """

    dim: ClassVar[int]
    features: ClassVar[int] = 256

    def __init__(
        self,
        seed: int = 0,
        lengthscale: float = 0.15,
        noise: float = 0.0,
        noise_kind: str = "gaussian",
    ) -> None:
        lengthscale = checks.number("lengthscale", lengthscale, 0.05, 10)
        rng = seeding.stream(seeding.checked_seed(seed), "gp", number=self.dim)
        m = self.features
        self._weights = np.sqrt(2 / m) * rng.standard_normal(m)
        self._frequencies = rng.standard_normal((self.dim, m)) / lengthscale
        self._phases = rng.uniform(0, 2 * np.pi, m)
        minimiser = self._least_point(spacing=min(lengthscale / 10, 0.1))
        super().__init__([[0, 1]] * self.dim, [minimiser], noise, noise_kind)

    def function(self, x: Array) -> Array:
        """The draw at ``(n, d)`` points of the unit cube."""
        return _sum(self._weights * np.cos(x @ self._frequencies + self._phases))

    def gradient(self, x: Array) -> Array:
        """The gradient of the draw, ``(n, d)``, at ``(n, d)`` points."""
        slopes = -self._weights * np.sin(x @ self._frequencies + self._phases)
        gradient: Array = slopes @ self._frequencies.T
        return gradient

    def _least_point(self, spacing: float) -> Array:
        from scipy.ndimage import minimum_filter
        from scipy.optimize import minimize

        axis = np.linspace(0, 1, int(np.ceil(1 / spacing)) + 1)
        grid = np.stack(np.meshgrid(*[axis] * self.dim, indexing="ij"), axis=-1)
        values = self.function(grid.reshape(-1, self.dim)).reshape(grid.shape[:-1])
        # a minimum lies at most 3/2 (l/20)²/l² < 0.004 per dimension below its nearest grid
        # point (a curvature of 3/l² is rare), so that these are the only ones in question
        is_low = (values == minimum_filter(values, size=3)) & (values <= values.min() + 0.02)
        polished = [
            minimize(
                lambda x: (self.function(x[None])[0], self.gradient(x[None])[0]),
                start,
                jac=True,
                method="L-BFGS-B",
                bounds=[(0.0, 1.0)] * self.dim,
                options={"ftol": 0.0, "gtol": 1e-10},
            )
            for start in grid[is_low]
        ]
        best: Array = min(polished, key=lambda result: float(result.fun)).x
        return best


@register_problem("synthetic/gp1")
class GaussianProcessDraw1(_GaussianProcessDraw):
    """A fixed draw from a Gaussian process in one dimension.

    ``seed`` (>= 0) says which draw, ``lengthscale`` (0.05 to 10) how smooth it is; both move the
    minimum, which is −1.86506 at 0.335782 by default.

    Source: Rahimi and Recht (2007), *Random features for large-scale kernel machines*.

    Cost of an evaluation: 10 microseconds.
    """

    dim = 1


@register_problem("synthetic/gp2")
class GaussianProcessDraw2(_GaussianProcessDraw):
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

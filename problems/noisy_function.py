"""A function of real vectors as a problem, observed exactly or through noise."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import numpy.typing as npt

from bbopt import checks, seeding
from bbopt.base import Problem
from bbopt.errors import UsageError
from bbopt.space import Array, Float, Params, Space
from bbopt.spec import Spec
from bbopt.trial import MAX_VALUES, Outcome, Trial

NOISE_KINDS = ("gaussian", "heteroscedastic", "bernoulli")


class NoisyFunction(Problem):
    r"""Minimise ``function`` over a box; its parameters are called x1, x2, ...

    One evaluation of f at x gives, for each ``noise_kind``, with z standard normal:

    ``"gaussian"``
        f(x) + noise · z.
    ``"heteroscedastic"``
        f(x) + noise · (0.1 + 1.8 u) · z, where u in [0, 1] is x1 scaled by its bounds: the
        standard deviation grows from a tenth of ``noise`` to 1.9 times, ``noise`` on average.
    ``"bernoulli"``
        1 with probability p(x), else 0, where p = 0.1 + 0.8 g / (1 + g), a growing function of
        g = (f(x) − min f) / s, and s is the median of f − min f over the box (of 4,096 fixed
        points). The values lie in [0.1, 0.9): even the best point loses one time in ten.

    ``truth`` is the expected value: f, or p. The spec names neither the function nor its range,
    which would tell a method, or its language model, what the best value is.

    Parameters
    ----------
    bounds : array_like
        Shape ``(d, 2)``: least and greatest value of each coordinate.
    minimisers : array_like
        Shape ``(m, d)``, native units: the points where f is least (one of them where the
        minimisers are a continuum).
    noise : float
        Standard deviation, >= 0, in the units of f; 0 for ``"bernoulli"``.
    noise_kind : {"gaussian", "heteroscedastic", "bernoulli"}
        See above.

    Attributes
    ----------
    bounds, minimisers : ndarray
        As given.
    optimum : float
        The expected value at the minimisers.

    Raises
    ------
    UsageError
        If ``noise`` or ``noise_kind`` is not allowed.
    """

    block = 2**20

    def __init__(
        self, bounds: npt.ArrayLike, minimisers: npt.ArrayLike, noise: float, noise_kind: str
    ) -> None:
        self.bounds = np.array(bounds, dtype=float)
        self.minimisers = np.array(minimisers, dtype=float)
        self.noise = checks.number("noise", noise, 0)
        self.noise_kind: str = checks.one_of("noise_kind", noise_kind, NOISE_KINDS)
        if self.is_bernoulli and self.noise:
            raise UsageError(
                f"noise must be 0 with noise_kind='bernoulli', whose values are 0 or 1 by "
                f"themselves, got {noise!r}"
            )
        self._least = float(self.function(self.minimisers).min())
        self._rise = self._median_rise() if self.is_bernoulli else 1.0
        self.optimum = float(self.expected(self.minimisers).min())
        self._spec = self._describe()

    @abstractmethod
    def function(self, x: Array) -> Array:
        """The values of f without noise, ``(n,)``, at points ``(n, d)`` in native units."""

    @property
    def spec(self) -> Spec:
        """A box of floats, to be minimised."""
        return self._spec

    @property
    def is_bernoulli(self) -> bool:
        """Whether a value is 0 or 1."""
        return self.noise_kind == "bernoulli"

    @property
    def optimal_params(self) -> list[Params]:
        """The minimisers as params."""
        return [dict(zip(self._spec.space, row, strict=True)) for row in self.minimisers.tolist()]

    def expected(self, x: Array) -> Array:
        """The expected value of one evaluation, ``(n,)``, at points ``(n, d)`` in native units."""
        f = self.function(x)
        if not self.is_bernoulli:
            return f
        g = np.maximum(f - self._least, 0.0) / self._rise
        p: Array = 0.1 + 0.8 * g / (1.0 + g)
        return p

    def sd(self, x: Array) -> Array:
        """The standard deviation of one evaluation, ``(n,)``, at points ``(n, d)``."""
        if self.is_bernoulli:
            p = self.expected(x)
            sd: Array = np.sqrt(p * (1.0 - p))
            return sd
        if self.noise_kind == "gaussian":
            return np.full(len(x), self.noise)
        low, high = self.bounds[0]
        u: Array = (x[:, 0] - low) / (high - low)
        return self.noise * (0.1 + 1.8 * u)

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Array | Outcome:
        """All repeats at once: their values, or their statistics where they are too many."""
        x, n = self._point(trial.params), trial.repeats
        centre, errors = float(self.expected(x)[0]), np.zeros(n)
        if self.is_bernoulli:
            centre, errors = 0.0, (rng.random(n) < centre).astype(float)
        elif self.noise:
            errors = self.sd(x)[0] * rng.standard_normal(n)
        if n <= MAX_VALUES:
            return centre + errors
        return Outcome.summary(n, centre + errors.mean(), n * errors.var())

    def truth(self, params: Params) -> float:
        """The expected value of one evaluation."""
        return float(self.expected(self._point(params))[0])

    def _point(self, params: Params) -> Array:
        return np.array([[params[name] for name in self._spec.space]], dtype=float)

    def _median_rise(self) -> float:
        low, high = self.bounds.T
        unit = seeding.stream(0, "median rise").random((4096, len(low)))
        return float(np.median(self.function(low + unit * (high - low)) - self._least))

    def _describe(self) -> Spec:
        space = Space({f"x{i}": Float(*b) for i, b in enumerate(self.bounds.tolist(), start=1)})
        n = f"{len(space)} real number" + "s" * (len(space) > 1)
        exact = not (self.is_bernoulli or self.noise)
        if self.is_bernoulli:
            objective = f"The chance of a failure (1, else 0), which depends on {n}."
        else:
            objective = f"A function of {n}, {'without' if exact else 'with random'} noise."
        value_range = (0.0, 1.0) if self.is_bernoulli else None
        return Spec(space=space, objective=objective, deterministic=exact, value_range=value_range)

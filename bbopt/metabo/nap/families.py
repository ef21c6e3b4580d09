"""Random functions over the unit cube: the prior that ``nap_generic`` is trained on.

A batch of functions is drawn and evaluated at once. Each is a sum of a Gaussian process
(random Fourier features of a Matérn or squared exponential kernel with a lengthscale a
coordinate, some additive, some of steps), and, by chance, of a bowl, a trend, waves around the
bowl's centre and a curved valley; over inputs that may be warped, of which some do not matter;
behind a monotone map. Coordinates are continuous, of a few levels, or one-hot groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from bbopt.space import Array

Numbers: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]

FEATURES = 96

PROBES = 64
"""Points at which a function's spread is measured."""
SIZES = np.arange(1, 17)
SHARES = np.array([3, 14, 12, 12, 10, 12, 8, 9, 3, 3, 2, 2, 2, 2, 2, 4]) / 100.0
"""How often a function has 1 to 16 coordinates: mostly 2 to 8."""


@dataclass(frozen=True)
class Columns:
    """What kinds of coordinates b spaces have.

    Parameters
    ----------
    sizes : (b,) array of int
        How many coordinates each has; those beyond are not used.
    levels : (b, columns) array
        Values of a discrete coordinate, 0 where it is continuous.
    groups : tuple of (int, slice)
        One-hot groups: in which space, and which columns.
    """

    sizes: Numbers
    levels: Array
    groups: tuple[tuple[int, slice], ...]

    @property
    def used(self) -> Flags:
        """Whether a coordinate belongs to the space, ``(b, columns)``."""
        used: Flags = np.arange(self.levels.shape[1]) < self.sizes[:, None]
        return used

    def rounded(self, x: Array) -> Array:
        """Points ``(b, n, columns)`` of the spaces next to any points; unused columns are 1/2."""
        levels = self.levels[:, None, :]
        steps = np.maximum(levels, 1.0)
        cells = np.minimum(np.floor(x * steps), steps - 1.0)
        x = np.where(levels > 0, (cells + 0.5) / steps, x)
        for i, columns in self.groups:
            part = x[i, :, columns]
            x[i, :, columns] = part == part.max(axis=1, keepdims=True)
        return np.where(self.used[:, None, :], x, 0.5)


def draw_columns(rng: np.random.Generator, b: int, columns: int) -> Columns:
    """Spaces of at most ``columns`` coordinates; a third has discrete ones."""
    shares = SHARES[:columns] / SHARES[:columns].sum()
    sizes = rng.choice(SIZES[:columns], size=b, p=shares)
    mixed = rng.random(b) < 0.33
    share = rng.random(b) * mixed
    levels = np.where(
        rng.random((b, columns)) < share[:, None], rng.integers(2, 16, (b, columns)), 0
    )
    groups = []
    for i in np.flatnonzero(mixed & (rng.random(b) < 0.5)):
        start = 0
        while start + 2 <= sizes[i]:
            width = int(rng.integers(2, 6))
            if start + width <= sizes[i] and rng.random() < 0.4:
                groups.append((int(i), slice(start, start + width)))
                levels[i, start : start + width] = 0
            start += width
    return Columns(sizes, levels.astype(float), tuple(groups))


class Functions:
    """b random functions over spaces of at most ``columns`` coordinates.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws everything, in the constructor.
    b : int
        How many.
    columns : int
        Of the points that they take.

    Attributes
    ----------
    space : Columns
        Their coordinates.
    noise : (b,) array
        Standard deviation of what an evaluation adds, in units of the function's own.
    """

    def __init__(self, rng: np.random.Generator, b: int, columns: int) -> None:
        self.space = draw_columns(rng, b, columns)
        shape = (b, columns)
        d = self.space.sizes[:, None].astype(float)
        matters = self.space.used & (
            rng.random(shape) >= _sometimes(rng, b, 0.3) * rng.random((b, 1))
        )
        matters[np.arange(b), rng.integers(0, self.space.sizes)] = True  # at least one
        self._is_warped = rng.random(b) < 0.35
        self._warp = np.exp(0.5 * rng.normal(size=(b, 2, columns))).astype(np.float32)
        self._draw_process(rng, matters, d)
        self._draw_shape(rng, matters)
        self._power = np.where(rng.random(b) < 0.3, np.exp(rng.normal(0.0, 0.5, b)), 1.0)
        self._bend = np.where(rng.random(b) < 0.4, rng.normal(0.0, 1.2, b), 0.0)
        self._centre, self._spread = np.zeros(b), np.ones(b)
        probe = self._raw(self.space.rounded(rng.random((b, PROBES, columns))))
        self._centre, self._spread = probe.mean(axis=1), probe.std(axis=1) + 1e-9
        noisy = rng.random(b) < 0.4
        final = self(self.space.rounded(rng.random((b, PROBES, columns)))).std(axis=1)
        self.noise: Array = noisy * np.exp(rng.uniform(np.log(1e-3), np.log(0.5), b)) * final
        self._uneven = _sometimes(rng, b, 0.3) * rng.normal(size=(b, columns))

    def __call__(self, x: Array) -> Array:
        """Noise-free values ``(b, n)``, larger is better, at points ``(b, n, columns)``."""
        f = (self._raw(x) - self._centre[:, None]) / self._spread[:, None]
        f = np.sign(f) * np.abs(f) ** self._power[:, None]
        bend = self._bend[:, None]
        safe = np.where(bend == 0.0, 1.0, bend)
        values: Array = np.where(bend == 0.0, f, np.expm1(safe * np.clip(f, -6.0, 6.0)) / safe)
        return values

    def observed(self, x: Array, rng: np.random.Generator) -> Array:
        """Values with noise, whose size may depend on the point."""
        size = self.noise[:, None] * np.exp(np.einsum("bnc,bc->bn", 2.0 * x - 1.0, self._uneven))
        observed: Array = self(x) + size * rng.normal(size=x.shape[:2])
        return observed

    def _draw_process(self, rng: np.random.Generator, matters: Flags, d: Array) -> None:
        """Frequencies of the Gaussian process: a normal over a chi, as its kernel's spectrum."""
        b, columns = matters.shape
        base = np.exp(rng.uniform(np.log(0.12), np.log(1.2), (b, 1))) * np.sqrt(d / 2.0)
        scales = base * np.exp(rng.normal(0.0, 0.6, (b, columns)))
        freedom = rng.choice([3.0, 5.0, np.inf], size=b, p=[0.2, 0.4, 0.4])  # Matérn 3/2, 5/2, RBF
        finite = np.where(np.isinf(freedom), 5.0, freedom)[:, None, None]
        chi = np.sqrt(rng.chisquare(np.broadcast_to(finite, (b, FEATURES, 1))) / finite)
        chi = np.where(np.isinf(freedom)[:, None, None], 1.0, chi)
        weights = rng.normal(size=(b, FEATURES, columns)) / (chi * scales[:, None, :])
        additive = rng.random(b) < 0.2
        one = np.less(rng.random((b, FEATURES, columns)), 1.5 / d[:, :, None])
        weights *= (one | np.logical_not(additive)[:, None, None]) * matters[:, None, :]
        self._weights = np.ascontiguousarray(weights.transpose(0, 2, 1), np.float32)
        self._phases = rng.uniform(0.0, 2.0 * np.pi, (b, 1, FEATURES)).astype(np.float32)
        amplitudes = rng.normal(size=(b, FEATURES)) * (2.0 / FEATURES) ** 0.5
        amplitudes *= np.where(rng.random((b, 1)) < 0.2, 0.0, 1.0)
        self._amplitudes = amplitudes.astype(np.float32)
        self._steps = rng.random(b) < 0.08
        gate = _sometimes(rng, b, 0.15) * rng.normal(0.0, 6.0, (b, columns)) * matters
        self._gate = gate.astype(np.float32)

    def _draw_shape(self, rng: np.random.Generator, matters: Flags) -> None:
        """Bowl, trend, waves and valley: what test functions and error surfaces look like."""
        b, columns = matters.shape
        d = matters.sum(axis=1, keepdims=True)
        centre = rng.random((b, columns))
        edge = _sometimes(rng, b, 0.3) * (rng.random((b, columns)) < 0.4)
        self._optimum = np.where(edge > 0, np.round(centre), centre).astype(np.float32)
        curvature = matters * np.exp(rng.normal(0.0, 0.7, (b, columns))) * 6.0 / d
        self._curvature = curvature.astype(np.float32)
        self._bowl = np.less(rng.random(b), 0.6) * np.exp(rng.normal(0.5, 1.0, b))
        self._bowl[np.abs(self._amplitudes).max(axis=1) == 0] += 1.0
        self._exponent = rng.choice([0.25, 0.5, 1.0], size=b, p=[0.15, 0.3, 0.55])
        trend = _sometimes(rng, b, 0.2) * rng.normal(size=(b, columns)) * matters
        self._trend = trend.astype(np.float32)
        self._wave = np.less(rng.random(b), 0.2) * np.exp(rng.normal(-0.7, 0.8, b)) / d[:, 0]
        self._cycles = (rng.integers(1, 9, (b, 1)) * matters).astype(np.float32)
        self._valley = np.less(rng.random(b), 0.12) * np.exp(rng.normal(2.4, 1.0, b)) / d[:, 0]
        self._curve = rng.normal(size=(b, 2)).astype(np.float32)
        self._matters = matters

    def _raw(self, x: Array) -> Array:
        """The sum of all parts, which cost only where they are there; single precision."""
        w = x.astype(np.float32)
        i = self._is_warped
        if i.any():  # Kumaraswamy's distribution function
            inner = np.clip(w[i], 1e-6, 1.0 - 1e-6) ** self._warp[i, :1]
            w[i] = 1.0 - (1.0 - inner) ** self._warp[i, 1:]
        waves = np.cos(w @ self._weights + self._phases)
        waves[self._steps] = np.sign(waves[self._steps])
        f = (waves @ self._amplitudes[:, :, None])[:, :, 0]
        f *= 2.0 / (1.0 + np.exp(-((w - 0.5) @ self._gate[:, :, None])[:, :, 0]))
        gap = w - self._optimum[:, None]
        r = (gap**2 @ self._curvature[:, :, None])[:, :, 0]
        f -= self._bowl[:, None] * (r + 1e-12) ** self._exponent[:, None]
        f += (w @ self._trend[:, :, None])[:, :, 0]
        i = self._wave > 0
        ripples = np.cos(2.0 * np.pi * self._cycles[i, None] * gap[i]) * self._matters[i, None]
        f[i] += self._wave[i, None] * ripples.sum(axis=2)
        i = self._valley > 0
        here, there = gap[i, :, :-1], gap[i, :, 1:]
        bent = (
            there - self._curve[i, 0, None, None] * here**2 - self._curve[i, 1, None, None] * here
        )
        both = self._matters[i, None, 1:] & self._matters[i, None, :-1]
        f[i] -= self._valley[i, None] * (bent**2 * both).sum(axis=2)
        values: Array = f.astype(np.float64)
        return values


def _sometimes(rng: np.random.Generator, b: int, share: float) -> Array:
    """One for a share of b functions, zero for the others, ``(b, 1)``."""
    chosen: Array = (rng.random((b, 1)) < share).astype(float)
    return chosen

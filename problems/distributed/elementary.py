"""The elementary functions of ``distributed/f1`` ... ``f10``, over arrays.

Each takes points z, ``(n, d)``, and gives the coordinates after its transforms, z̃, and its values,
``(n,)``. The transforms and functions are those of Hansen, Finck, Ros and Auger (2009),
*Real-parameter black-box optimization benchmarking: noiseless functions definitions*, as Li et al.
(2013), *Benchmark functions for the CEC'2013 special session on large-scale global optimization*,
use them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from bbopt.space import Array

Elementary: TypeAlias = Callable[[Array], tuple[Array, Array]]

TINY = 1e-300
"""Stands for |z| in a logarithm where z is 0."""


def oscillated(z: Array) -> Array:
    """Tosz: sign(z) exp(h + 0.049 (sin c₁h + sin c₂h)), h = ln |z|.

    (c₁, c₂) is (10, 7.9) where z > 0, else (5.5, 3.1); 0 stays 0.
    """
    h = np.abs(z)
    np.maximum(h, TINY, out=h)
    np.log(h, out=h)
    side = np.copysign(1.0, z)
    waves = _half_sine(h * (3.875 + 1.125 * side))  # c₁/2 is 5 or 2.75
    waves += _half_sine(h * (2.75 + 1.2 * side))  # c₂/2 is 3.95 or 1.55
    waves *= 2 * 0.049
    np.exp(waves, out=waves)
    waves *= z
    return waves


def _half_sine(half: Array) -> Array:
    """½ sin(2 x), in place, as tan x/(1 + tan² x): numpy's tangent is many times faster."""
    np.tan(half, out=half)
    below = half * half
    below += 1.0
    half /= below
    return half


def made_asymmetric(z: Array, beta: float = 0.2) -> Array:
    """Tasy^β: z^(1 + β (j-1)/(d-1) √z) of the positive coordinates, counted j = 1 ... d."""
    root = np.maximum(z, TINY)
    exponent = np.log(root)
    np.sqrt(root, out=root)
    root *= beta * _steps(z.shape[1])
    exponent *= root
    np.exp(exponent, out=exponent)  # 1 where z <= 0
    exponent *= z
    return exponent


def elliptic(z: Array) -> tuple[Array, Array]:
    """Σ 10^(6 (j-1)/(d-1)) z̃_j², z̃ = Tosz(z); 0 at 0."""
    z = oscillated(z)
    return z, (z * z) @ 10 ** (6 * _steps(z.shape[1]))


def schwefel(z: Array) -> tuple[Array, Array]:
    """Schwefel 1.2: Σ_j (Σ_(k<=j) z̃_k)², z̃ = Tasy^0.2(Tosz(z)); 0 at 0."""
    z = made_asymmetric(oscillated(z))
    sums = np.cumsum(z, axis=1)
    return z, np.einsum("ij,ij->i", sums, sums)


def rosenbrock(z: Array) -> tuple[Array, Array]:
    """Σ_(j<d) 100 (z_j² - z_(j+1))² + (z_j - 1)²; 0 at 1."""
    head = z[:, :-1]
    curve = head * head
    curve -= z[:, 1:]
    slope = head - 1.0
    return z, 100 * np.einsum("ij,ij->i", curve, curve) + np.einsum("ij,ij->i", slope, slope)


def griewank(z: Array) -> tuple[Array, Array]:
    """Σ z_j²/4000 - Π cos(z_j/√j) + 1; 0 at 0."""
    waves = z * (0.5 / np.sqrt(np.arange(1, z.shape[1] + 1)))
    np.tan(waves, out=waves)
    waves *= waves
    waves = (1.0 - waves) / (1.0 + waves)  # cos 2x, as in _half_sine
    return z, np.einsum("ij,ij->i", z, z) / 4000 - waves.prod(axis=1) + 1.0


def _steps(d: int) -> Array:
    """(j-1)/(d-1) for j = 1 ... d."""
    return np.linspace(0.0, 1.0, d)

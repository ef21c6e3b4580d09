"""The elementary functions of ``distributed/f1`` ... ``f10``, over arrays.

Each takes points z, ``(n, d)``, and gives the coordinates after its transforms, z̃, and its values,
``(n,)``. The transforms and functions are those of Hansen, Finck, Ros and Auger (2009),
*Real-parameter black-box optimization benchmarking: noiseless functions definitions*, as Li et al.
(2013), *Benchmark functions for the CEC'2013 special session on large-scale global optimization*,
use them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

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
    waves = sine(h * ((7.75 + 2.25 * side) / TURN))
    waves += sine(h * ((5.5 + 2.4 * side) / TURN))
    waves *= 0.049
    np.exp(waves, out=waves)
    waves *= z
    return waves


def sine(turns: Array) -> Array:
    """sin(2π t), in place and within 4e-15; numpy's is slow where it has no vector instructions.

    On [-½, ½] it is t (¼ - t²) times a polynomial in t².
    """
    turns -= np.rint(turns)
    square = turns * turns
    value = square * _SINE[0]
    for coefficient in _SINE[1:-1]:
        value += coefficient
        value *= square
    value += _SINE[-1]
    turns *= value
    np.subtract(0.25, square, out=square)
    turns *= square
    return turns


def _sine_polynomial(terms: int = 9) -> list[float]:
    """The coefficients, highest first: interpolation at Chebyshev's nodes."""
    square = 0.125 + 0.125 * np.cos(np.pi * (np.arange(terms) + 0.5) / terms)
    t = np.sqrt(square)
    left = 0.25 - square
    value = np.sin(TURN * np.where(t < 0.25, t, left / (0.5 + t))) / (t * left)
    found = Chebyshev.fit(square, value, terms - 1, domain=[0, 0.25])
    return [float(c) for c in found.convert(kind=Polynomial, domain=[-1, 1]).coef[::-1]]


TURN = 2 * np.pi
_SINE = _sine_polynomial()


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
    waves = sine(z * (0.5 / TURN / np.sqrt(np.arange(1, z.shape[1] + 1))))
    waves *= waves
    waves = 1.0 - 2.0 * waves  # the cosine of twice the angle
    return z, np.einsum("ij,ij->i", z, z) / 4000 - waves.prod(axis=1) + 1.0


@cache
def _steps(d: int) -> Array:
    """(j-1)/(d-1) for j = 1 ... d; not to be written to."""
    return np.linspace(0.0, 1.0, d)

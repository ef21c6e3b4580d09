"""Derivatives from values: central differences inside a box, and how long their step should be.

The step is chosen from values alone, without a model of the noise: along a few directions the
slope is measured over steps from 1e-9 to 0.3 of the box, and the one that agrees best with its
neighbours wins. Shorter ones are spoilt by noise or rounding, longer ones by curvature, so the
agreement is also an estimate of the error (cf. Shi, Xie, Xuan and Nocedal 2022). All lengths are in
units of the box's edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

SCALES = 1e-9 * 4.0 ** np.arange(15)
"""The steps that a probe tries."""
DIRECTIONS = 3
"""The directions that a probe tries them along, or as many as there are coordinates."""
STEP = 5e-7
"""The step before anything is known, or where values are missing."""


@dataclass(frozen=True)
class Probe:
    """What a probe found, for each agent.

    Attributes
    ----------
    step : (a,) array
        The step to difference with.
    noise : (a,) array
        Standard deviation of a value, rounding included; NaN where nothing was observed.
    slope_error : (a,) array
        Error of the slope along one direction, with that step; NaN likewise.
    """

    step: Array
    noise: Array
    slope_error: Array


def points(x: Array, step: Array) -> Array:
    """Two points a coordinate, ``(a, 2d, d)``, in the unit cube.

    Parameters
    ----------
    x : (d,) or (a, d) array
        Where, in the unit cube.
    step : (a,) array
        Each agent's step, below 1/4. Where a bound is nearer than that, both points lie on the
        other side, half a step and a step away.
    """
    first, second = _moves(x, step)
    d = x.shape[-1]
    out = np.array(np.broadcast_to(x[..., None, :], (len(step), 2 * d, d)))
    j = np.arange(d)
    out[:, j, j] += first
    out[:, d + j, j] += second
    return np.asarray(np.clip(out, 0.0, 1.0))


def slopes(x: Array, step: Array, here: Array, values: Array) -> Array:
    """Gradients ``(a, d)`` from losses at ``x``, ``(a,)``, and at :func:`points`, ``(a, 2d)``.

    Exact for quadratic functions. Where one of the two values is missing the other is taken
    alone; where both are, or the value at ``x`` is, the slope is zero.
    """
    first, second = _moves(x, step)
    d = x.shape[-1]
    f1, f2 = values[:, :d] - here[:, None], values[:, d:] - here[:, None]
    quotient = (second**2 * f1 - first**2 * f2) / (first * second * (second - first))
    out = np.where(
        np.isfinite(quotient), quotient, np.where(np.isfinite(f1), f1 / first, f2 / second)
    )
    return np.asarray(np.where(np.isfinite(out), out, 0.0))


def probe_points(x: Array, normals: Array) -> Array:
    """The points of a probe at ``x``, from standard normals ``(a, directions, d)``.

    ``x`` itself, and two for each direction and scale: ``(a, 1 + 2·directions·scales, d)``.
    """
    rays = normals / np.linalg.norm(normals, axis=2, keepdims=True)
    room = np.minimum(np.abs(rays) * SCALES[-1], 0.5)
    centre = np.clip(x, room, 1 - room)[:, :, None, None]  # around which the longest step fits
    moves = SCALES[:, None, None] * np.array([1.0, -1.0])[:, None] * rays[:, :, None, None, :]
    n_around = rays.shape[1] * len(SCALES) * 2  # not -1: a rank may own no agents
    around = (centre + moves).reshape(len(rays), n_around, len(x))
    here = np.broadcast_to(x, (len(rays), 1, len(x)))
    return np.asarray(np.clip(np.concatenate([here, around], axis=1), 0.0, 1.0))


def probe(values: Array) -> Probe:
    """What the losses at :func:`probe_points` say."""
    n_directions = (values.shape[1] - 1) // (2 * len(SCALES))  # not -1: there may be no agents
    f = values[:, 1:].reshape(len(values), n_directions, len(SCALES), 2)
    rise = f[..., 0] - f[..., 1]
    slope = rise / (2 * SCALES)
    change = np.abs(np.diff(slope, axis=2))
    worst = np.maximum(change[..., :-1], change[..., 1:])
    worst[rise[..., 1:-1] == 0] = np.inf  # steps too short to be seen agree on nothing
    error = np.sqrt(np.mean(worst**2, axis=1))
    error[~np.isfinite(error)] = np.inf
    chosen = 1 + np.argmin(error, axis=1)
    best = np.take_along_axis(slope, chosen[:, None, None], axis=2)
    apart = np.sqrt(np.mean((rise - best * 2 * SCALES) ** 2, axis=1) / 2)
    shorter = np.arange(len(SCALES)) <= chosen[:, None]
    least = error.min(axis=1)
    found = np.isfinite(least)
    # on plateaus no step may be long enough to agree with others: the longest, all being noise
    known = np.isfinite(f).all(axis=(1, 2, 3))
    jumps = np.sqrt(np.mean(rise**2, axis=(1, 2)) / 2)
    return Probe(
        step=np.where(found, SCALES[chosen], np.where(known, SCALES[-2], STEP)),
        noise=np.where(found, np.max(np.where(shorter, apart, 0.0), axis=1), jumps),
        slope_error=np.where(found, least, jumps / SCALES[-2]),
    )


def _moves(x: Array, step: Array) -> tuple[Array, Array]:
    """How far the first and the second point are away, ``(a, d)`` each."""
    h = step[:, None]
    first, second = np.broadcast_arrays(h, -h)
    up, down = x + h > 1, x - h < 0
    first = np.where(up, -h, first)
    second = np.where(up, -h / 2, np.where(down, h / 2, second))
    return first, second

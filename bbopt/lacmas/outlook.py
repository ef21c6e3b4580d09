"""A look around from where a descent has got stuck: grids along the coordinates, and leaps.

A descent ends in the nearest valley. Where coordinates belong to parts of the problem that have
little to do with each other (each sensor's target, each generator), most parts are in their best
valley and a few are not: moving those alone, by as much as the box allows, frees them. All lengths
are in units of the box's edges.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

POINTS = 32
"""Points along a coordinate."""


def grids(x: Array, u: Array) -> Array:
    """Points along every coordinate across the box, ``(d · POINTS, d)``.

    Parameters
    ----------
    x : (d,) array
        Through which the lines go.
    u : (d, POINTS) array
        Uniform draws: where in its cell each point is.
    """
    d = len(x)
    out = np.tile(x, (d, POINTS, 1))
    j = np.arange(d)
    out[j, :, j] = (np.arange(POINTS) + u) / POINTS
    return out.reshape(-1, d)


def leaps(x: Array, on_grids: Array, gains: Array, least: float) -> Array:
    """The best coordinate moved to its best place, the best two, four, eight, ...

    Parameters
    ----------
    x : (d,) array
        From where.
    on_grids : (d · POINTS, d) array
        What :func:`grids` returned.
    gains : (d · POINTS,) array
        By how much lower it is there.
    least : float
        A gain that is smaller is none.

    Returns
    -------
    (l, d) array
        Empty where no coordinate gains.
    """
    d = len(x)
    of_lines = gains.reshape(d, POINTS)
    best, most = of_lines.argmax(axis=1), of_lines.max(axis=1)
    n = int((most > least).sum())
    counts = sorted({min(2**k, n) for k in range(n.bit_length() + 1)} - {0})
    out = np.tile(x, (len(counts), 1))
    moved = np.argsort(-most, kind="stable")[:n]
    for leap, count in zip(out, counts, strict=True):
        j = moved[:count]
        leap[j] = on_grids[j * POINTS + best[j], j]
    return out

"""Utilities in units of what was observed, and of nothing else.

The network sees ``z``: utilities of a history, warped and standardised by that history. What
is worse than the median is compressed logarithmically, so that one disaster does not hide
the differences between good points; what is better stays linear. No table, range or optimum
enters, and ``z`` is the same for ``a u + b``, a > 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bbopt.space import Array

FLOOR = 1e-8
"""Utilities that differ by less, relative to their size, are equal."""


@dataclass(frozen=True)
class Scale:
    """The map from utilities to ``z``, and back.

    ``w(u) = (u - median) / spread`` above the median, ``-log(1 + (median - u) / spread)``
    below it; ``z = (w - mean) / sd``.

    Parameters
    ----------
    median, spread : float
        Of the utilities: the median, and how far the best is above it.
    mean, sd : float
        Of the warped utilities.
    """

    median: float = 0.0
    spread: float = 1.0
    mean: float = 0.0
    sd: float = 1.0

    def normalised(self, utility: Array) -> Array:
        """Utilities as ``z``, in the same shape."""
        z: Array = (self._warped(utility) - self.mean) / self.sd
        return z

    def utility(self, z: Array) -> Array:
        """``z`` as utilities: the inverse of :meth:`normalised`."""
        w = np.asarray(z, dtype=np.float64) * self.sd + self.mean
        bend = np.where(w >= 0.0, w, -np.expm1(-np.minimum(w, 0.0)))
        utility: Array = self.median + self.spread * bend
        return utility

    def _warped(self, utility: Array) -> Array:
        r = (np.asarray(utility, dtype=np.float64) - self.median) / self.spread
        warped: Array = np.where(r >= 0.0, r, -np.log1p(-np.minimum(r, 0.0)))
        return warped


def scale_of(utility: Array) -> Scale:
    """The scale of a history of utilities ``(n,)``, larger is better.

    Without differences (none or one value, or all equal) it has the utilities' own unit, and
    all of them at zero.
    """
    u = np.asarray(utility, dtype=np.float64)
    if not len(u):
        return Scale()
    median, best = float(np.median(u)), float(u.max())
    floor = FLOOR * max(abs(best), abs(median), 1e-300)
    sd = float(u.std())
    if not sd > floor:
        return Scale(median=median)
    # where most values tie with the best, a tenth of their spread stands for the gap above
    gap = best - median
    scale = Scale(median, gap if gap > floor else 0.1 * sd)
    w = scale._warped(u)
    return Scale(scale.median, scale.spread, float(w.mean()), float(w.std()))

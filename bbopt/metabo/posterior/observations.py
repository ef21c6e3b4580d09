"""What was observed at every unique point: count, mean, sum of squared deviations, noise."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bbopt.space import Array
from bbopt.trial import pool_moments


class Observations:
    """Sufficient statistics of a Gaussian process with repeated evaluations.

    Points are the same when their coordinates are equal: integers are rounded and categories
    encoded before they get here.

    Parameters
    ----------
    d : int
        Number of coordinates, >= 1.
    """

    def __init__(self, d: int) -> None:
        self.d = d
        self._index: dict[bytes, int] = {}
        self._points = np.empty((8, d))
        self._count = np.zeros(8, dtype=np.int64)
        self._mean = np.zeros(8)
        self._m2 = np.zeros(8)
        self._noise = np.zeros(8)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def points(self) -> Array:
        """Unique points in order of their first visit, ``(u, d)``."""
        return self._points[: len(self)]

    @property
    def count(self) -> npt.NDArray[np.int64]:
        """Number of evaluations of each point, ``(u,)``."""
        return self._count[: len(self)]

    @property
    def mean(self) -> Array:
        """Mean value of each point, ``(u,)``."""
        return self._mean[: len(self)]

    @property
    def m2(self) -> Array:
        """Sum of squared deviations from the mean within each point, ``(u,)``."""
        return self._m2[: len(self)]

    @property
    def noise(self) -> Array:
        """Variance of one evaluation at each point, ``(u,)``; writable."""
        return self._noise[: len(self)]

    def find(self, x: Array) -> int | None:
        """The index of the point ``x`` ``(d,)``, or None if it was never visited."""
        return self._index.get(_key(x))

    def add(self, x: Array, noise: float) -> int:
        """Make room for the new point ``x`` ``(d,)``, without evaluations; return its index."""
        u = len(self)
        if u == len(self._count):
            for name in ("_points", "_count", "_mean", "_m2", "_noise"):
                array = getattr(self, name)
                setattr(self, name, np.concatenate([array, np.zeros_like(array)]))
        self._points[u], self._noise[u] = x, noise
        self._index[_key(x)] = u
        return u

    def pool(self, j: int, count: int, mean: float, m2: float) -> None:
        """Pool ``count`` more evaluations into point ``j`` (Chan et al. 1983, eq. 2.1)."""
        old = int(self._count[j]), float(self._mean[j]), float(self._m2[j])
        self._count[j], self._mean[j], self._m2[j] = pool_moments(*old, count, mean, m2)

    def scaled(self, shift: float, scale: float) -> Observations:
        """The same with values ``(value - shift) / scale`` and noise ``noise / scale²``."""
        other = Observations(self.d)
        other._index = dict(self._index)
        other._points, other._count = self._points.copy(), self._count.copy()
        other._mean = (self._mean - shift) / scale
        other._m2, other._noise = self._m2 / scale / scale, self._noise / scale / scale
        return other


def moments(values: Array) -> tuple[int, float, float]:
    """Count, mean and sum of squared deviations of ``values`` ``(n,)``, n >= 1.

    Two passes with the correction of Chan et al. (1983, eq. 1.7): exact to rounding however
    large the mean is beside the spread.
    """
    gap = values - np.mean(values)
    shift = float(np.mean(gap))
    m2 = float(np.sum(gap * gap)) - len(values) * shift * shift
    return len(values), float(np.mean(values)) + shift, max(m2, 0.0)


def _key(x: Array) -> bytes:
    key: bytes = (x + 0.0).tobytes()  # -0.0 and 0.0 are one point
    return key

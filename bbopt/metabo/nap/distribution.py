"""A density that is constant within buckets, and what an acquisition function asks of it."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from bbopt.space import Array


def uniform_edges(buckets: int, bound: float) -> Array:
    """The edges of ``buckets`` equal buckets over ``[-bound, bound]``, ``(buckets + 1,)``."""
    edges: Array = np.linspace(-bound, bound, buckets + 1)
    return edges


class BucketDensity:
    """m densities over the same buckets, each constant within a bucket.

    Parameters
    ----------
    logits : (m, K) array
        Unnormalised logarithms of the probabilities of the buckets.
    edges : (K + 1,) array
        Increasing borders of the buckets.
    """

    def __init__(self, logits: Array, edges: Array) -> None:
        self.edges = np.asarray(edges, dtype=np.float64)
        shifted = logits - logits.max(axis=1, keepdims=True)
        weights = np.exp(shifted).astype(np.float64)  # exponentials of the logits' own precision
        self.p: Array = weights / weights.sum(axis=1, keepdims=True)
        """Probability of each bucket, ``(m, K)``."""

    @property
    def mean(self) -> Array:
        """``(m,)``."""
        return self._moments[0]

    @property
    def variance(self) -> Array:
        """``(m,)``, the spread within the buckets included."""
        return self._moments[1]

    @cached_property
    def _moments(self) -> tuple[Array, Array]:
        low, high = self.edges[:-1], self.edges[1:]
        centre = 0.5 * (self.edges[0] + self.edges[-1])  # squares of small numbers cancel less
        middle = 0.5 * (low + high) - centre
        within = (high - low) ** 2 / 12.0
        first, second = (self.p @ np.column_stack([middle, middle**2 + within])).T
        return first + centre, np.maximum(second - first**2, within.min())

    def ei(self, best: float) -> Array:
        """The expected improvement ``E (y - best)^+``, ``(m,)``.

        Exact, in the bucket that holds ``best`` too: ``(b - best)² / (2 w)`` times its
        probability, with ``w`` its width and ``b`` its upper edge.
        """
        ei: Array = self.p @ self._gain_over(best)
        return ei

    def pi(self, best: float) -> Array:
        """The probability of improvement ``P(y > best)``, ``(m,)``."""
        pi: Array = self.p @ self._share_above(best)
        return pi

    def _gain_over(self, best: float) -> Array:
        """What each bucket adds to the expected improvement where it is certain, ``(K,)``."""
        low, high = self.edges[:-1], self.edges[1:]
        gain: Array = 0.5 * (high + np.maximum(low, best)) - best
        return gain * self._share_above(best)

    def _share_above(self, best: float) -> Array:
        """The share of each bucket above ``best``, ``(K,)``."""
        low, high = self.edges[:-1], self.edges[1:]
        share: Array = np.clip((high - best) / (high - low), 0.0, 1.0)
        return share

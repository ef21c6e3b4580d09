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
        logits = np.asarray(logits, dtype=np.float64)
        shifted = logits - logits.max(axis=1, keepdims=True)
        self.log_p: Array = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))

    @cached_property
    def p(self) -> Array:
        """Probability of each bucket, ``(m, K)``."""
        p: Array = np.exp(self.log_p)
        return p

    def mapped(self, edges: Array) -> BucketDensity:
        """The densities with the same probabilities over other buckets: a monotone map's image."""
        image = BucketDensity.__new__(BucketDensity)
        image.edges, image.log_p = edges, self.log_p
        image.__dict__["p"] = self.p
        return image

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

    def log_pdf(self, y: Array) -> Array:
        """Logarithm of each density at ``y`` ``(m,)``; -inf outside the buckets."""
        k = np.searchsorted(self.edges, y, side="right") - 1
        k = np.where(y == self.edges[-1], len(self.edges) - 2, k)  # the last bucket is closed
        inside = (k >= 0) & (k < len(self.edges) - 1)
        k = np.where(inside, k, 0)
        values = self.log_p[np.arange(len(k)), k] - np.log(np.diff(self.edges))[k]
        return np.where(inside, values, -np.inf)

    def log_ei(self, best: float) -> Array:
        """Logarithm of the expected improvement ``E (y - best)^+``, ``(m,)``.

        Exact, in the bucket that holds ``best`` too: ``(b - best)² / (2 w)`` times its
        probability, with ``w`` its width and ``b`` its upper edge. -inf where no bucket is
        above ``best``.
        """
        low, high = self.edges[:-1], self.edges[1:]
        gain = 0.5 * (high + np.maximum(low, best)) - best
        return self._log_expectation(gain * self._share_above(best))

    def ei(self, best: float) -> Array:
        """The expected improvement ``E (y - best)^+``, ``(m,)``."""
        ei: Array = np.exp(self.log_ei(best))
        return ei

    def log_pi(self, best: float) -> Array:
        """Logarithm of the probability of improvement ``P(y > best)``, ``(m,)``."""
        return self._log_expectation(self._share_above(best))

    def pi(self, best: float) -> Array:
        """The probability of improvement ``P(y > best)``, ``(m,)``."""
        pi: Array = np.exp(self.log_pi(best))
        return pi

    def quantile(self, level: float) -> Array:
        """Where each distribution function reaches ``level`` in [0, 1], ``(m,)``."""
        after = np.cumsum(self.p, axis=1)
        k = np.minimum((after < level).sum(axis=1), self.p.shape[1] - 1)
        rows = np.arange(len(k))
        inside = (level - (after[rows, k] - self.p[rows, k])) / np.maximum(self.p[rows, k], 1e-300)
        low, high = self.edges[k], self.edges[k + 1]
        quantile: Array = low + np.clip(inside, 0.0, 1.0) * (high - low)
        return quantile

    def _share_above(self, best: float) -> Array:
        """The share of each bucket above ``best``, ``(K,)``."""
        low, high = self.edges[:-1], self.edges[1:]
        share: Array = np.clip((high - best) / (high - low), 0.0, 1.0)
        return share

    def _log_expectation(self, g: Array) -> Array:
        """``log Σ_k p_k g_k``, ``(m,)``, precise where all that counts is improbable."""
        used = g > 0.0
        if not used.any():
            return np.full(len(self.log_p), -np.inf)
        terms = self.log_p[:, used] + np.log(g[used])
        largest = terms.max(axis=1)
        total: Array = largest + np.log(np.exp(terms - largest[:, None]).sum(axis=1))
        return total

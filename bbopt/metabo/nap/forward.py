"""The network in use: a forward pass in numpy, with what a history costs paid once.

Every token attends to the history alone: candidates do not see each other, and the keys and
values of a history serve any number of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from bbopt.errors import UsageError
from bbopt.metabo.nap.distribution import BucketDensity, uniform_edges
from bbopt.metabo.nap.normalise import Scale, scale_of
from bbopt.metabo.nap.weights import Metadata, load
from bbopt.space import Array

Tensor: TypeAlias = npt.NDArray[Any]
"""In the network: single precision."""

CHUNK = 256
"""Candidates scored at a time: their attention weights fit into a cache."""

LARGEST_LOGIT = 60.0
"""Attention logits are clipped to this: their exponentials are finite without a maximum."""

LEAST_LOG = -30.0
"""Logarithms of improvements are no smaller where they are features."""


@dataclass(frozen=True)
class Layer:
    """What candidates need of a history in one layer; H heads, n rows, e numbers a head."""

    keys: Tensor
    """``(H, e + d + 2, n + 1)``: of the rows, and of what is known without any."""
    values: Tensor
    """``(H, n + 1, e)``."""
    relevance: Tensor
    """The weight of each coordinate in a distance, ``(H, d)``."""


@dataclass(frozen=True)
class History:
    """Evaluations as the network has read them."""

    x: Array
    """Points in the unit cube, ``(n, d)``."""
    z: Array
    """Normalised utilities, ``(n,)``."""
    scale: Scale
    """What ``z`` means."""
    layers: tuple[Layer, ...]
    """One a block."""

    @property
    def best(self) -> float:
        """The largest ``z``; zero where there is none."""
        return float(self.z.max()) if len(self.z) else 0.0


@dataclass(frozen=True)
class Prediction:
    """What the network says of m candidates; larger is better."""

    edges: Array
    """Of the buckets of the density, as utilities, ``(K + 1,)``."""
    acquisition: Array
    """``(m,)``: the candidate to evaluate next has the largest."""
    logits: Array
    """Of the buckets, ``(m, K)``."""
    log_ei: Array
    """Logarithm of the expected improvement of ``z`` over the best of the history, ``(m,)``."""
    z: Array
    """Predicted ``z``, ``(m,)``: what a pending point counts as in :meth:`Network.extend`."""

    @cached_property
    def utility(self) -> BucketDensity:
        """The density of the utility, whose ``mean`` and ``variance`` are ``(m,)``."""
        # the warp keeps the order of the buckets, so that they are buckets of the utility, too
        return BucketDensity(self.logits, self.edges)


class Network:
    """A trained neural acquisition process.

    Parameters
    ----------
    tensors : mapping of str to array
        As :meth:`Architecture.shapes` names them.
    metadata : Metadata
        What they are.
    """

    def __init__(self, tensors: Mapping[str, Array], metadata: Metadata) -> None:
        self.metadata = metadata
        self._architecture = metadata.architecture
        # transposed once: points are rows
        self._tensors = {
            name: np.ascontiguousarray(np.asarray(array, np.float32).T)
            for name, array in tensors.items()
        }
        self._edges = uniform_edges(self._architecture.buckets, self._architecture.bound)

    @classmethod
    def load(cls, path: str | Path) -> Network:
        """The network in a weight file.

        Raises
        ------
        UsageError
            If there is no such file, or it is damaged, of another kind, or of a later version.
        """
        return cls(*load(path))

    def read(self, x: Array, utility: Array) -> History:
        """Read a history.

        Parameters
        ----------
        x : (n, d) array
            Points in the unit cube; n may be 0.
        utility : (n,) array
            What was observed there, larger is better, in any unit. NaN: the evaluation
            failed, which counts as worse than everything observed.

        Raises
        ------
        UsageError
            If the network is for another number of coordinates, or a utility is infinite.
        """
        x = np.asarray(x, dtype=np.float64)
        utility = np.asarray(utility, dtype=np.float64)
        if np.isinf(utility).any() or utility.shape != x.shape[:1]:
            raise UsageError(
                f"utility must be finite or NaN, one for each of {len(x)} points, got {utility!r}"
            )
        failed = np.isnan(utility)
        scale = scale_of(utility[~failed])
        z = scale.normalised(utility)
        z[failed] = (z[~failed].min() if not failed.all() else 0.0) - 1.0
        return self._read(x, z, scale)

    def extend(self, history: History, x: Array, z: Array) -> History:
        """The history with k points ``(k, d)`` more, whose normalised utilities are ``z`` ``(k,)``.

        For points that are pending: the scale of the history is kept.
        """
        rows = np.concatenate([history.x, np.asarray(x, dtype=np.float64)])
        return self._read(rows, np.concatenate([history.z, z]), history.scale)

    def score(self, history: History, candidates: Array, left: int) -> Prediction:
        """Score candidates ``(m, d)`` of the unit cube.

        Parameters
        ----------
        history : History
            From :meth:`read`.
        candidates : (m, d) array
            In any order and number: none sees another.
        left : int
            Evaluations that remain, this one included.
        """
        points = self._points(np.asarray(candidates, dtype=np.float64))
        parts = [
            self._score_chunk(history, points[i : i + CHUNK], left)
            for i in range(0, max(len(points), 1), CHUNK)
        ]
        edges = history.scale.utility(self._edges)
        return Prediction(edges, *(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _score_chunk(self, history: History, points: Tensor, left: int) -> tuple[Tensor, ...]:
        h = self._point_tokens(points) + self._tensors["candidate"]
        for i, layer in enumerate(history.layers):
            h = self._block(i, h, points, layer)
        logits = self._linear("density", normed(h))
        density = BucketDensity(logits, self._edges)
        n, best = len(history.z), min(history.best, float(self._edges[-2]))
        least = np.exp(LEAST_LOG)
        log_ei = np.log(np.maximum(density.ei(best), least))
        log_pi = np.log(np.maximum(density.pi(best), least))
        state = np.array([history.best, n / 50.0, left / 50.0, n == 0])
        features = np.column_stack(
            [density.mean, density.variance**0.5, log_ei, log_pi, np.tile(state, (len(h), 1))]
        ).astype(np.float32)
        hidden = silu(self._linear("acquisition.first", features))
        hidden = silu(self._linear("acquisition.second", hidden))
        bonus = self._linear("acquisition.third", hidden)[:, 0]
        acquisition = self._tensors["acquisition.slope"] * log_ei + bonus
        return acquisition, logits, log_ei, density.mean

    def _read(self, x: Array, z: Array, scale: Scale) -> History:
        points = self._points(x)
        layers: list[Layer] = []
        h = self._point_tokens(points) + self._value_tokens(z)
        for i in range(self._architecture.layers):
            layer = self._layer(i, h, points)
            layers.append(layer)
            h = self._block(i, h, points, layer)
        return History(x, z, scale, tuple(layers))

    def _points(self, x: Array) -> Tensor:
        columns, d = self._architecture.columns, x.shape[1]
        if d > columns or (self.metadata.space is not None and d != columns):
            kind = "at most" if self.metadata.space is None else "exactly"
            raise UsageError(f"this network takes points of {kind} {columns} coordinates, got {d}")
        return padded(x, np.array(d), columns)

    def _point_tokens(self, points: Tensor) -> Tensor:
        return self._linear("point.second", silu(self._linear("point.first", points)))

    def _value_tokens(self, z: Array) -> Array:
        column = np.asarray(z, dtype=np.float32)[:, None]
        return self._linear("value.second", silu(self._linear("value.first", column)))

    def _layer(self, i: int, h: Tensor, points: Tensor) -> Layer:
        """Keys and values of a history whose tokens are ``h`` ``(n, width)`` before block i."""
        n, heads = len(h), self._architecture.heads
        h = normed(h)
        store = np.vstack([self._linear(f"block{i}.store", h), self._tensors[f"block{i}.prior"]])
        keys, values = store.reshape(n + 1, 2, heads, -1).transpose(1, 2, 0, 3)
        pooled = h.mean(axis=0) if n else np.zeros(h.shape[1], np.float32)
        relevance = softplus(self._linear(f"block{i}.relevance", pooled)).reshape(heads, -1)
        # q·k - Σ w (x - x')²/2 in one product: the squares are columns of their own
        distance = np.zeros((heads, n + 1, points.shape[1] + 2), np.float32)  # 0 without a row
        distance[:, :n, :-2] = points
        distance[:, :n, -2] = -0.5 * (relevance @ (points**2).T)
        distance[:, :n, -1] = 1.0
        joined = np.concatenate([keys, distance], axis=2).transpose(0, 2, 1)
        return Layer(np.ascontiguousarray(joined), np.ascontiguousarray(values), relevance)

    def _block(self, i: int, h: Tensor, points: Tensor, layer: Layer) -> Tensor:
        """Tokens ``h`` ``(m, width)`` at ``points`` after block i."""
        m, heads, columns = len(h), self._architecture.heads, self._architecture.columns
        e = h.shape[1] // heads
        joined = np.empty((heads, m, e + columns + 2), np.float32)
        queries = self._linear(f"block{i}.query", normed(h)) / np.float32(e**0.5)
        joined[:, :, :e] = queries.reshape(m, heads, e).transpose(1, 0, 2)
        joined[:, :, e:-2] = points * layer.relevance[:, None, :]
        joined[:, :, -2] = 1.0
        joined[:, :, -1] = -0.5 * (layer.relevance @ (points**2).T)
        weights = joined @ layer.keys
        np.minimum(weights, LARGEST_LOGIT, out=weights)
        np.exp(weights, out=weights)
        mixed = weights @ layer.values
        mixed /= weights.sum(axis=2, keepdims=True)
        h = h + self._linear(f"block{i}.merge", mixed.transpose(1, 0, 2).reshape(h.shape))
        hidden = silu(self._linear(f"block{i}.expand", normed(h)))
        return h + self._linear(f"block{i}.contract", hidden)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        y: Tensor = x @ self._tensors[f"{name}.weight"]
        y += self._tensors[f"{name}.bias"]
        return y


def padded(x: Array, sizes: npt.NDArray[np.integer], columns: int) -> Tensor:
    """Points as the network sees them: centred, padded with zeros, of the same total size.

    Parameters
    ----------
    x : (..., n, d) array
        Points of the unit cube.
    sizes : (...) array of int
        How many of the d coordinates are in use.
    columns : int
        Of the network.
    """
    factors = np.sqrt(columns / np.maximum(sizes, 1))[..., None, None]
    points = np.zeros((*x.shape[:-1], columns), dtype=np.float32)
    points[..., : x.shape[-1]] = (2.0 * x - 1.0) * factors
    return points


def normed(h: Tensor) -> Tensor:
    """Rows divided by their root mean square (the scale that follows is the next layer's)."""
    square = np.einsum("ij,ij->i", h, h) / np.float32(h.shape[1])
    normed: Tensor = h / np.sqrt(square + np.float32(1e-6))[:, None]
    return normed


def silu(x: Tensor) -> Tensor:
    """``x / (1 + exp(-x))``: of the smooth activations the cheapest in numpy."""
    y: Tensor = np.negative(x)
    with np.errstate(over="ignore"):  # x / inf is the limit
        np.exp(y, out=y)
    y += np.float32(1.0)
    np.divide(x, y, out=y)
    return y


def softplus(x: Tensor) -> Tensor:
    """``log(1 + exp(x))``."""
    y: Tensor = np.logaddexp(x, np.float32(0.0))
    return y

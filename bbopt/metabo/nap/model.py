"""The network in training: the same map as :mod:`.forward`, in torch and over batches.

Tokens: a history row is ``E_x(x) + E_z(z)``, a candidate ``E_x(x) + c``. In each of the blocks
every token attends to the history and to one learned key, which stands for what is known
without any. The attention logit of a row is ``q·k/√e - ½ Σ_c w_c (x_c - x'_c)²``, with weights
``w ≥ 0`` that each head reads off the mean token of the history: what is near in the
coordinates that matter counts more. No positions, so the order of the history does not matter.

The acquisition head sees of a candidate what the density says (mean, deviation, logarithms of EI
and PI) and of the history the best value, its length and what is left. Tokens were of no use to
it: what it learned from them of some tasks misled it on others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from bbopt.errors import require
from bbopt.metabo.nap.architecture import Architecture
from bbopt.metabo.nap.distribution import uniform_edges
from bbopt.metabo.nap.forward import LEAST_LOG
from bbopt.space import Array

if TYPE_CHECKING:  # torch is optional: mypy need not find it
    torch: Any
    functional: Any
    Module: TypeAlias = Any
    Tensor: TypeAlias = Any
else:
    try:
        import torch
        from torch.nn import Module, functional
    except ModuleNotFoundError:  # the constructor says what to install
        Module = object


SLOPE = 3.0
"""Of log EI in the acquisition, before it is learned."""


class Model(Module):  # type: ignore[misc]
    """The network, with random weights.

    The last layer of the acquisition head is zero: it starts out as the expected improvement.

    Parameters
    ----------
    architecture : Architecture
        The sizes.
    rng : numpy.random.Generator
        Draws the weights.

    Raises
    ------
    MissingExtra
        If torch is not installed.
    """

    def __init__(self, architecture: Architecture, rng: np.random.Generator) -> None:
        require("torch", extra="metabo", needed_by="training a network")
        super().__init__()
        self.architecture = architecture
        self.tensors = torch.nn.ParameterDict()
        for name, values in initial_tensors(architecture, rng).items():
            self.tensors[_key(name)] = torch.nn.Parameter(torch.from_numpy(np.asarray(values)))
        edges = torch.from_numpy(uniform_edges(architecture.buckets, architecture.bound)).float()
        self.register_buffer("edges", edges, persistent=False)

    def arrays(self) -> dict[str, Array]:
        """The weights as arrays, under the names of the architecture."""
        return {
            name: self.tensors[_key(name)].detach().numpy().copy()
            for name in self.architecture.shapes()
        }

    def take(self, arrays: dict[str, Array]) -> None:
        """Set the weights."""
        with torch.no_grad():
            for name, values in arrays.items():
                self.tensors[_key(name)].copy_(torch.from_numpy(np.asarray(values)))

    def log_density(self, x: Tensor, z: Tensor, candidates: Tensor) -> Tensor:
        """Log-probabilities of the buckets of ``z`` at candidates, ``(b, m, K)``.

        Parameters
        ----------
        x : (b, n, columns) tensor
            Points of the histories, as the network sees them (:func:`.forward.padded`).
        z : (b, n) tensor
            Their normalised utilities.
        candidates : (b, m, columns) tensor
            Points likewise.
        """
        n = z.shape[1]
        points = torch.cat([x, candidates], dim=1)
        values = self._linear(
            "value.second", functional.silu(self._linear("value.first", z[..., None]))
        )
        kinds = torch.cat([values, self.tensors["candidate"].expand(*candidates.shape[:2], -1)], 1)
        h = (
            self._linear("point.second", functional.silu(self._linear("point.first", points)))
            + kinds
        )
        for i in range(self.architecture.layers):
            h = self._block(i, h, points, n)
        return self._linear("density", normed(h[:, n:])).log_softmax(dim=-1)

    def acquisition(self, log_p: Tensor, best: Tensor, n: Tensor, left: Tensor) -> Tensor:
        """Acquisition values ``(b, m)``.

        Parameters
        ----------
        log_p : (b, m, K) tensor
            From :meth:`log_density`.
        best, n, left : (b,) tensors
            The largest ``z`` of each history (0 where it is empty), its length, and the
            evaluations that remain.
        """
        log_ei, inputs = self.head_inputs(log_p, best, n, left)
        return self.head(log_ei, inputs)

    def head_inputs(
        self, log_p: Tensor, best: Tensor, n: Tensor, left: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Log EI ``(b, m)``, and all that the acquisition head sees ``(b, m, 8)``."""
        low, high = self.edges[:-1], self.edges[1:]
        middle = 0.5 * (low + high)
        p = log_p.exp()
        mean = p @ middle
        variance = p @ (middle**2 + (high - low) ** 2 / 12.0) - mean**2
        log_ei, log_pi = log_improvements(log_p, best, self.edges)
        state = torch.stack([best, n / 50.0, left / 50.0, (n == 0).float()], dim=-1)
        own = torch.stack([mean, variance.clamp_min(1e-6).sqrt(), log_ei, log_pi], dim=-1)
        shared = state[:, None, :].expand(*log_ei.shape, 4)
        return log_ei, torch.cat([own, shared], dim=-1)

    def head(self, log_ei: Tensor, inputs: Tensor) -> Tensor:
        """Acquisition values from :meth:`head_inputs`."""
        hidden = functional.silu(self._linear("acquisition.first", inputs))
        hidden = functional.silu(self._linear("acquisition.second", hidden))
        bonus = self._linear("acquisition.third", hidden)[..., 0]
        return self.tensors["acquisition_slope"] * log_ei + bonus

    def _block(self, i: int, h: Tensor, points: Tensor, n: int) -> Tensor:
        b, total, width = h.shape
        heads, columns = self.architecture.heads, self.architecture.columns
        e = width // heads
        h_normed = normed(h)
        queries = self._linear(f"block{i}.query", h_normed) / e**0.5
        queries = queries.view(b, total, heads, e).transpose(1, 2)
        store = self._linear(f"block{i}.store", h_normed[:, :n])
        prior = self.tensors[f"block{i}_prior"].expand(b, 1, -1)
        keys, values = (
            torch.cat([store, prior], 1).view(b, n + 1, 2, heads, e).permute(2, 0, 3, 1, 4)
        )
        logits = queries @ keys.transpose(-1, -2)
        if n:
            pooled = h_normed[:, :n].mean(dim=1)
            relevance = functional.softplus(self._linear(f"block{i}.relevance", pooled))
            distances = squared_distances(points, n, relevance.view(b, heads, 1, columns))
            logits = logits - 0.5 * functional.pad(distances, (0, 1))
        mixed = logits.softmax(dim=-1) @ values
        h = h + self._linear(f"block{i}.merge", mixed.transpose(1, 2).reshape(b, total, width))
        hidden = functional.silu(self._linear(f"block{i}.expand", normed(h)))
        return h + self._linear(f"block{i}.contract", hidden)

    def _linear(self, name: str, x: Tensor) -> Tensor:
        key = _key(name)
        return functional.linear(x, self.tensors[f"{key}_weight"], self.tensors[f"{key}_bias"])


def log_improvements(log_p: Tensor, best: Tensor, edges: Tensor) -> tuple[Tensor, Tensor]:
    """Logarithms of EI and PI, ``(b, m)`` each, over ``best`` ``(b,)``: see ``BucketDensity``."""
    best = torch.minimum(best, edges[-2])[:, None]
    low, high = edges[:-1], edges[1:]
    share = ((high - best) / (high - low)).clamp(0.0, 1.0)
    gain = (0.5 * (high + torch.maximum(low, best)) - best) * share
    return tuple(
        (log_p + g.log()[:, None, :]).logsumexp(dim=-1).clamp_min(LEAST_LOG) for g in (gain, share)
    )


def squared_distances(points: Tensor, n: int, weights: Tensor) -> Tensor:
    """Weighted, from points ``(b, t, d)`` to the first n; ``(b, h, t, n)`` for h weightings."""
    weighted = points[:, None] * weights
    squares = (weighted * points[:, None]).sum(-1)
    products = weighted @ points[:, None, :n].transpose(-1, -2)
    return squares[..., None] - 2.0 * products + squares[:, :, None, :n]


def normed(h: Tensor) -> Tensor:
    """Rows divided by their root mean square."""
    return h * (h.square().mean(dim=-1, keepdim=True) + 1e-6).rsqrt()


def initial_tensors(architecture: Architecture, rng: np.random.Generator) -> dict[str, Array]:
    """Random weights, by name: variance one over the inputs, biases zero, the head as EI."""
    tensors: dict[str, Array] = {}
    for name, shape in architecture.shapes().items():
        if not name.endswith("weight") or name == "acquisition.third.weight":
            values = np.zeros(shape)
        else:
            values = rng.normal(size=shape) / shape[-1] ** 0.5
        if ".merge" in name or ".contract" in name:
            values = values / (2.0 * architecture.layers) ** 0.5  # residual branches add up
        if "relevance.bias" in name:
            values = values - 1.0
        if "prior" in name:
            values = rng.normal(size=shape)
        tensors[name] = np.asarray(values, np.float32)
    tensors["acquisition.slope"] = np.array(SLOPE, np.float32)
    return tensors


def _key(name: str) -> str:
    return name.replace(".", "_")  # dots are attributes to torch

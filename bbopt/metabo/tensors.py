"""What the bridge to BoTorch computes on tensors: our kernels, and sets of evaluations."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from bbopt.errors import UsageError, require
from bbopt.metabo.kernels import RBF, Kernel, Matern52
from bbopt.space import Array

Tensor: TypeAlias = Any
"""Stands for ``torch.Tensor``: torch is optional."""


def covariance(kernel: Kernel, X: Tensor, Y: Tensor) -> Tensor:  # noqa: N803
    """``kernel`` at ``X`` ``(batch..., n, d)`` and ``Y`` ``(batch..., m, d)``, differentiable.

    Raises
    ------
    UsageError
        If the kernel is neither :class:`RBF` nor :class:`Matern52`, or ``d`` is not its own.
    """
    scales = X.new_tensor(lengthscales(kernel))
    if X.shape[-1] != Y.shape[-1] or len(scales) not in (1, X.shape[-1]):
        raise UsageError(
            f"X and Y must have one column a lengthscale ({len(scales)}), "
            f"got shapes {tuple(X.shape)} and {tuple(Y.shape)}"
        )
    # a matrix product would leave a distance of 1e-8 between equal points
    r = _torch().cdist(X / scales, Y / scales, compute_mode="donot_use_mm_for_euclid_dist")
    if isinstance(kernel, RBF):
        return kernel.variance * (-0.5 * r.square()).exp()
    if isinstance(kernel, Matern52):
        a = 5.0**0.5 * r
        return kernel.variance * ((a / 3.0 + 1.0) * a + 1.0) * (-a).exp()
    raise UsageError(f"kernel must be RBF or Matern52, got {kernel!r}")


def lengthscales(kernel: Kernel) -> Array:
    """One for all coordinates, ``(1,)``, or one a coordinate, ``(d,)``."""
    scales: Array = np.asarray(kernel.lengthscales, dtype=np.float64)
    groups = kernel.groups
    return scales if groups is None else scales[list(groups)]


def joined(old: Tensor, new: Tensor, dim: int) -> Tensor:
    """Concatenate along ``dim``, the batch dimensions before it broadcast."""
    batch = _torch().broadcast_shapes(old.shape[:dim], new.shape[:dim])
    both = (part.expand(*batch, *part.shape[dim:]) for part in (old, new))
    return _torch().cat(list(both), dim)


def pooled(points: Tensor, values: Tensor, precision: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The same data with equal rows of ``points`` ``(u, d)`` pooled; ``values`` may be batched."""
    unique, index = _torch().unique(points + 0.0, dim=0, return_inverse=True)
    total = precision.new_zeros(len(unique)).index_add(0, index, precision)
    empty = values.new_zeros(*values.shape[:-1], len(unique))
    return unique, empty.index_add(-1, index, precision * values) / total, total


def _torch() -> Any:
    return require("torch", extra="metabo", needed_by="bbopt.metabo.botorch")

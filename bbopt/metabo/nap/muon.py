"""Muon: steps of weight matrices whose directions count alike.

K. Jordan et al. 2024, with steps as large as Adam's (Liu et al. 2025, arXiv:2502.16982). The same
as ``torch.optim.Muon``, but in single precision, where that one has bfloat16: without a processor
for it, that takes longer than all the rest of a training step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:  # torch is optional: mypy need not find it
    torch: Any
    Optimizer: TypeAlias = Any
    Tensor: TypeAlias = Any
else:
    try:
        import torch
        from torch.optim import Optimizer
    except ModuleNotFoundError:  # the model's constructor says what to install
        torch, Optimizer = None, object

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the polynomial of a Newton-Schulz step, which takes singular values near to one."""

STEPS = 5
EPS = 1e-7


class Muon(Optimizer):  # type: ignore[misc]
    """Descends along ``U V^T`` of the averaged gradient ``U S V^T`` of each matrix.

    Parameters
    ----------
    parameters : iterable of tensor
        Matrices.
    lr : float
        Of Adam, for about as large a step.
    momentum : float
        Of the average, in [0, 1).
    weight_decay : float
        Share of the weights that goes with a step, times ``lr``.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, momentum: float, weight_decay: float
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(parameters, defaults)

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step; matrices of one shape together."""
        loss = None if closure is None else closure()
        with torch.no_grad():
            for group in self.param_groups:
                alike: dict[Any, list[Tensor]] = defaultdict(list)
                for p in group["params"]:
                    if p.grad is not None:
                        alike[p.shape].append(p)
                for same in alike.values():
                    self._step(same, group)
        return loss

    def _step(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        directions = []
        for p in parameters:
            average = self.state[p].setdefault("average", torch.zeros_like(p))
            average.lerp_(p.grad, 1.0 - group["momentum"])
            directions.append(p.grad.lerp(average, group["momentum"]))  # Nesterov's
        rate = group["lr"] * 0.2 * max(parameters[0].shape) ** 0.5  # the rms of Adam's steps
        for p, direction in zip(parameters, orthogonal(torch.stack(directions)), strict=True):
            p.mul_(1.0 - group["lr"] * group["weight_decay"])
            p.sub_(direction, alpha=rate)


def orthogonal(matrices: Tensor) -> Tensor:
    """Nearly ``U V^T`` of matrices ``U S V^T``, ``(k, m, n)``.

    Its singular values are .7 to 1.2 where those of S are not much smaller than the largest.
    """
    is_tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if is_tall else matrices
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=EPS)
    a, b, c = COEFFICIENTS
    for _ in range(STEPS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if is_tall else x

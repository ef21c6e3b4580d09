"""Two cores for a network too small for threads within its sums: each has half of a batch.

What comes out depends on the halves alone and not on when each is ready. Two threads of torch's
own are as fast where two cores are idle, and twenty times slower where another process runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:  # torch is optional: mypy need not find it
    torch: Any
    Tensor: TypeAlias = Any
else:
    try:
        import torch
    except ModuleNotFoundError:  # the model's constructor says what to install
        torch = None

HALVES = 2


class Halves:
    """Two threads, on each of which torch uses one."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(HALVES, initializer=torch.set_num_threads, initargs=(1,))

    def descend(
        self, loss_of: Callable[[Any], Tensor], parts: Sequence[Any], parameters: Sequence[Tensor]
    ) -> float:
        """Set the gradients of the mean loss over equal parts; returns that mean."""

        def gradients(part: Any) -> tuple[float, Sequence[Tensor | None]]:
            loss = loss_of(part)
            found = torch.autograd.grad(loss, parameters, allow_unused=True)
            return float(loss.detach()), found

        losses, found = zip(*self._pool.map(gradients, parts), strict=True)
        for parameter, each in zip(parameters, zip(*found, strict=True), strict=True):
            known = [g for g in each if g is not None]
            parameter.grad = sum(known) / len(parts) if known else None
        return float(sum(losses)) / len(parts)

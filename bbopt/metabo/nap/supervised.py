"""Stage 1: the densities are learned, by the likelihood of candidates given histories."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np

from bbopt.metabo.nap.batches import Batch, Source
from bbopt.metabo.nap.model import Model
from bbopt.metabo.nap.muon import Muon

if TYPE_CHECKING:  # torch is optional: mypy need not find it
    torch: Any
    Tensor: TypeAlias = Any
else:
    try:
        import torch
    except ModuleNotFoundError:  # the model's constructor says what to install
        torch = None

Result = TypeVar("Result")

BATCH = 24
CANDIDATES = 56
LONGEST = 50
"""Rows of the longest history."""

RATE, MATRIX_RATE = 5e-3, 1e-2
"""Of Adam, and of Muon for the matrices of the blocks."""

MOMENTUM = 0.95
DECAY = 0.01
WARM_UP = 200
CLIP = 1.0


class Supervised:
    """Stage 1 of the training.

    Every step draws its tasks from a stream of its own, so that a training goes on from any
    step as if it had not been interrupted.

    Parameters
    ----------
    model : Model
        Is trained.
    source : Source
        Of the tasks.
    steps : int
        After which the learning rate has come down.
    seed : int
        Of every draw.
    """

    def __init__(self, model: Model, source: Source, steps: int, seed: int) -> None:
        self.model, self.source, self.steps, self.seed = model, source, steps, seed
        matrices = [p for name, p in model.tensors.items() if is_matrix_of_block(name)]
        others = [p for name, p in model.tensors.items() if not is_matrix_of_block(name)]
        self.optimizers = (
            Muon(matrices, MATRIX_RATE, MOMENTUM, DECAY),
            torch.optim.AdamW(others, lr=RATE, weight_decay=DECAY),
        )
        self._rates = (MATRIX_RATE, RATE)
        self._parameters = list(model.parameters())
        self._halves = Halves()

    def step(self, i: int) -> float:
        """Take step i; the loss in nats a candidate."""
        rng = np.random.default_rng([self.seed, 1, i])
        n = 0 if rng.random() < 0.04 else int(rng.integers(1, LONGEST + 1))
        bound = self.model.architecture.bound
        batch = self.source.batch(rng, BATCH, n, CANDIDATES, bound)
        loss = self._halves.descend(
            lambda half: negative_log_likelihood(self.model, half), halved(batch), self._parameters
        )
        torch.nn.utils.clip_grad_norm_(self._parameters, CLIP)
        for optimizer, rate in zip(self.optimizers, self._rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * _schedule(i, self.steps)
            optimizer.step()
        return loss


class Halves:
    """Two cores for a network too small for threads within its sums: each has half of a batch.

    What comes out depends on the halves alone and not on when each is ready. Two threads of
    torch's own are as fast where two cores are idle, and twenty times slower where another
    process runs.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,))

    def map(self, function: Callable[[Any], Result], parts: Sequence[Any]) -> list[Result]:
        """What a function makes of each part."""
        return list(self._pool.map(function, parts))

    def descend(
        self, loss_of: Callable[[Any], Tensor], parts: Sequence[Any], parameters: Sequence[Tensor]
    ) -> float:
        """Set the gradients of the mean loss over equal parts; returns that mean."""

        def gradients(part: Any) -> tuple[float, Sequence[Tensor | None]]:
            loss = loss_of(part)
            found = torch.autograd.grad(loss, parameters, allow_unused=True)
            return float(loss.detach()), found

        losses, found = zip(*self.map(gradients, parts), strict=True)
        for parameter, each in zip(parameters, zip(*found, strict=True), strict=True):
            known = [g for g in each if g is not None]
            parameter.grad = sum(known) / len(parts) if known else None
        return float(sum(losses)) / len(parts)


def is_matrix_of_block(name: str) -> bool:
    """Whether Muon trains a tensor: what multiplies tokens within the blocks."""
    kinds = ("query_weight", "store_weight", "merge_weight", "expand_weight", "contract_weight")
    return name.startswith("block") and name.endswith(kinds)


def halved(batch: Batch) -> tuple[Batch, Batch]:
    """The first half of the tasks of a batch, and the second."""
    middle = len(batch.z) // 2
    return Batch(*(part[:middle] for part in batch)), Batch(*(part[middle:] for part in batch))


def negative_log_likelihood(model: Model, batch: Batch) -> Tensor:
    """Mean over the candidates of minus the logarithm of the density at their targets."""
    x, z, candidates, targets = map(torch.from_numpy, batch)
    log_p = model.log_density(x, z, candidates)
    edges = model.edges
    width = float(edges[1] - edges[0])
    # the targets are clipped to the buckets; the last one is closed
    bucket = torch.bucketize(targets, edges, right=True).sub_(1).clamp_(0, len(edges) - 2)
    return -log_p.gather(-1, bucket[..., None]).mean() + math.log(width)


def validation_losses(
    model: Model, source: Source, lengths: tuple[int, ...] = (0, 5, 10, 25, 50), repeats: int = 4
) -> dict[str, float]:
    """The likelihood loss of the same tasks every time, by length of the history."""
    losses = {}
    with torch.no_grad():
        for n in lengths:
            rng = np.random.default_rng([n, 20_003])  # of its own: no training step has it
            total = 0.0
            for _ in range(repeats):
                batch = source.batch(rng, BATCH, n, CANDIDATES, model.architecture.bound)
                total += float(negative_log_likelihood(model, batch))
            losses[f"nll {n}"] = total / repeats
    return losses


def _schedule(i: int, steps: int) -> float:
    """Linear warm-up, then a cosine down to 2 %."""
    warm_up = min(WARM_UP, steps // 4 + 1)
    if i < warm_up:
        return (i + 1) / warm_up
    share = (i - warm_up) / max(steps - warm_up, 1)
    return 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(share, 1.0)))

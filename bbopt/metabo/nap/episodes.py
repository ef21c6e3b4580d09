"""Optimisation played by the network over finite sets of candidates, many problems at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from bbopt.metabo.nap.batches import Instances
from bbopt.metabo.nap.model import Model
from bbopt.metabo.nap.normalise import scale_of
from bbopt.space import Array

if TYPE_CHECKING:  # torch is optional: mypy need not find it
    torch: Any
    Tensor: TypeAlias = Any
else:
    try:
        import torch
    except ModuleNotFoundError:  # the model's constructor says what to install
        torch = None

Rows: TypeAlias = npt.NDArray[np.intp]


class State(NamedTuple):
    """What b problems with m candidates look like before the next evaluation."""

    x: Tensor
    """Points evaluated, as the network sees them, ``(b, n, columns)``."""
    z: Tensor
    """Their normalised utilities, ``(b, n)``."""
    candidates: Tensor
    """``(b, m, columns)``."""
    free: Tensor
    """Whether a candidate has not been evaluated, ``(b, m)``."""
    best: Tensor
    """The largest ``z``, or 0, ``(b,)``."""
    left: int
    """Evaluations that remain."""

    def head_inputs(self, model: Model) -> tuple[Tensor, Tensor]:
        """Log EI, and all that the acquisition head sees."""
        log_p = model.log_density(self.x, self.z, self.candidates)
        n = torch.full_like(self.best, float(self.z.shape[1]))
        left = torch.full_like(self.best, float(self.left))
        return model.head_inputs(log_p, self.best, n, left)

    def log_policy(self, values: Tensor) -> Tensor:
        """Logarithm of the probability of each candidate ``(b, m)``, given acquisition values."""
        return values.masked_fill(~self.free, -torch.inf).log_softmax(dim=-1)


class Moment(NamedTuple):
    """A decision that was taken."""

    state: State
    log_ei: Tensor
    inputs: Tensor
    chosen: Tensor
    """``(b,)``."""
    log_prob: Tensor
    """Of the choice, ``(b,)``."""


def state_of(instances: Instances, rows: Rows, left: int) -> State:
    """The state of b problems of which the rows ``(b, n)`` have been evaluated."""
    b = len(rows)
    picked = np.arange(b)[:, None]
    u = instances.utility[picked, rows]
    z = np.array([scale_of(values).normalised(values) for values in u]).reshape(rows.shape)
    free = np.ones(instances.utility.shape, dtype=bool)
    free[picked, rows] = False
    best = z.max(axis=1) if rows.shape[1] else np.zeros(b)
    arrays = (instances.points[picked, rows], z.astype(np.float32), instances.points, free)
    x, z, candidates, free, best = map(torch.from_numpy, (*arrays, best.astype(np.float32)))
    return State(x, z, candidates, free, best, left)


def play(
    model: Model,
    instances: Instances,
    rows: Rows,
    horizon: int,
    rng: np.random.Generator | None = None,
    by: str = "acquisition",
    budget: int | None = None,
) -> tuple[Rows, list[Moment]]:
    """Play until ``horizon`` evaluations.

    Parameters
    ----------
    model : Model
        Decides; no gradients are kept.
    instances : Instances
        b problems with m candidates.
    rows : (b, n) array of int
        What has been evaluated.
    horizon : int
        Evaluations at the end, those of ``rows`` included.
    rng : numpy.random.Generator, optional
        Draws from the policy; None: the largest value is taken, the moments are not kept.
    by : {"acquisition", "ei"}
        What is largest.
    budget : int, optional
        The evaluations that the network believes to have; by default ``horizon``.

    Returns
    -------
    rows : (b, horizon) array of int
        In the order of evaluation.
    moments : list of Moment
        One a decision.
    """
    moments = []
    with torch.no_grad():
        for n in range(rows.shape[1], horizon):
            state = state_of(instances, rows, (budget or horizon) - n)
            log_ei, inputs = state.head_inputs(model)
            values = log_ei if by == "ei" else model.head(log_ei, inputs)
            log_p = state.log_policy(values)
            if rng is None:
                chosen = log_p.argmax(dim=-1)
            else:
                noise = torch.from_numpy(rng.gumbel(size=log_p.shape))
                chosen = (log_p + noise).argmax(dim=-1)  # a draw from the policy
                taken = log_p.gather(1, chosen[:, None])[:, 0]
                moments.append(Moment(state, log_ei, inputs, chosen, taken))
            rows = np.concatenate([rows, chosen.numpy()[:, None]], axis=1)
    return rows, moments


def regrets(utility: Array, rows: Rows) -> Array:
    """Simple regret after each evaluation, as a share of each problem's range, ``(b, n)``."""
    found = np.maximum.accumulate(np.take_along_axis(utility, rows, axis=1), axis=1)
    best, worst = utility.max(axis=1, keepdims=True), utility.min(axis=1, keepdims=True)
    regrets: Array = (best - found) / np.maximum(best - worst, 1e-12)
    return regrets


def first_rows(rng: np.random.Generator, b: int, m: int, n: int) -> Rows:
    """N different random rows of m, b times, ``(b, n)``."""
    return np.argsort(rng.random((b, m)), axis=1)[:, :n]

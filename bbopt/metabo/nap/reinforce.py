"""Stages 2 and 3: the acquisition is learned, by the regret of whole optimisations.

Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347). What a decision was
worth is seen from several plays of the same problem, which need no critic: the return minus
the mean of the group at the same step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from bbopt.metabo.nap.batches import Batch, Instances, Source
from bbopt.metabo.nap.episodes import Moment, Rows, first_rows, play
from bbopt.metabo.nap.model import Model
from bbopt.metabo.nap.supervised import (
    BATCH,
    CANDIDATES,
    LONGEST,
    Halves,
    halved,
    negative_log_likelihood,
)
from bbopt.space import Array

if TYPE_CHECKING:  # torch is optional: mypy need not find it
    torch: Any
    Tensor: TypeAlias = Any
else:
    try:
        import torch
    except ModuleNotFoundError:  # the model's constructor says what to install
        torch = None

PROBLEMS = 4
PLAYS = 6
"""Plays of each problem: a group."""

POOL = 192
"""Candidates of a problem."""

HORIZONS = (10, 30)
DISCOUNT = 0.98
CLIP = 0.2
EPOCHS = 3
ENTROPY = 0.002
RATE, JOINT_RATE = 1e-3, 1e-4


class Plays(NamedTuple):
    """Half of the plays of a step."""

    moments: list[Moment]
    worth: Tensor
    """The advantage of each decision, ``(plays, n)``."""
    regret: float
    """At the end, the mean by the median's."""


class Reinforcement:
    """Stage 2, of the acquisition head alone, or stage 3, of all with the likelihood beside.

    Parameters
    ----------
    model : Model
        Is trained.
    source : Source
        Of the problems.
    seed : int
        Of every draw.
    joint : bool
        Whether the trunk is trained, too.
    """

    def __init__(self, model: Model, source: Source, seed: int, *, joint: bool = False) -> None:
        self.model, self.source, self.seed, self.joint = model, source, seed, joint
        parameters = dict(model.tensors.items())
        if not joint:
            parameters = {k: v for k, v in parameters.items() if k.startswith("acquisition")}
        self.parameters = list(parameters.values())
        adam = torch.optim.Adam(self.parameters, lr=JOINT_RATE if joint else RATE)
        self.optimizers = (adam,)
        self._halves = Halves()

    def step(self, i: int) -> float:
        """Play and learn once; the mean regret at the end of the plays, by the median's."""
        key = [self.seed, 3 if self.joint else 2, i]
        rng = np.random.default_rng(key)
        problems = self.source.instances(rng, PROBLEMS, POOL)
        horizon = int(rng.integers(HORIZONS[0], HORIZONS[1] + 1))
        budget = int(rng.integers(horizon, LONGEST + 1))  # plays may be broken off before it
        start = first_rows(rng, PROBLEMS, POOL, int(rng.choice([0, 0, 5])))

        def played(half: int) -> Plays:
            own = slice(half, None, 2)
            group = Instances(*(np.repeat(part[own], PLAYS, axis=0) for part in problems))
            first = np.repeat(start[own], PLAYS, axis=0)
            draws = np.random.default_rng([*key, half])
            rows, moments = play(self.model, group, first, horizon, draws, budget=budget)
            rho = relative_regret(group.utility, rows)[:, first.shape[1] :]
            worth = torch.from_numpy(advantages(rewards(rho)).astype(np.float32))
            return Plays(moments, worth, float(rho[:, -1].mean()))

        halves = self._halves.map(played, (0, 1))
        n = horizon - start.shape[1]
        for _ in range(1 if self.joint else EPOCHS):
            for part in np.array_split(rng.permutation(n), n if self.joint else min(4, n)):
                self._descend(halves, part, rng)
        return sum(plays.regret for plays in halves) / len(halves)

    def _descend(self, halves: Sequence[Plays], part: Rows, rng: np.random.Generator) -> None:
        """Take a step on the decisions number ``part`` of both halves of the plays."""
        batches: Sequence[Batch | None] = (None, None)
        if self.joint:
            n, bound = int(rng.integers(0, LONGEST + 1)), self.model.architecture.bound
            batches = halved(self.source.batch(rng, BATCH, n, CANDIDATES, bound))

        def loss_of(half: tuple[Plays, Batch | None]) -> Tensor:
            (moments, worth, _), batch = half
            loss = sum(self._loss(moments[t], worth[:, t]) for t in part) / len(part)
            return loss if batch is None else loss + negative_log_likelihood(self.model, batch)

        self._halves.descend(loss_of, list(zip(halves, batches, strict=True)), self.parameters)
        torch.nn.utils.clip_grad_norm_(self.parameters, 0.5)
        (adam,) = self.optimizers
        adam.step()

    def _loss(self, moment: Moment, worth: Tensor) -> Tensor:
        log_ei, inputs = moment.log_ei, moment.inputs
        if self.joint:
            log_ei, inputs = moment.state.head_inputs(self.model)
        log_p = moment.state.log_policy(self.model.head(log_ei, inputs))
        ratio = (log_p.gather(1, moment.chosen[:, None])[:, 0] - moment.log_prob).exp()
        gain = torch.minimum(ratio * worth, ratio.clamp(1.0 - CLIP, 1.0 + CLIP) * worth)
        entropy = -(log_p.exp() * log_p.masked_fill(~moment.state.free, 0.0)).sum(dim=-1)
        return -gain.mean() - ENTROPY * entropy.mean()


def relative_regret(utility: Array, rows: Rows) -> Array:
    """Regret in units of the gap from the median to the best candidate, in [0, 2], ``(b, n)``."""
    found = np.maximum.accumulate(np.take_along_axis(utility, rows, axis=1), axis=1)
    best, median = utility.max(axis=1), np.median(utility, axis=1)
    gap = np.maximum(best - median, 1e-12)[:, None]
    relative: Array = np.clip((best[:, None] - found) / gap, 0.0, 2.0)
    return relative


def rewards(rho: Array) -> Array:
    """Rewards of regrets: one part linear, one bounded logarithmic, ``(b, n)``."""
    rewards: Array = -rho + 0.15 * np.log10(1.0 / np.maximum(rho, 1e-3))
    return rewards


def advantages(rewards: Array) -> Array:
    """Discounted returns against the group's mean at the same step, by the group's spread.

    Parameters
    ----------
    rewards : (problems * PLAYS, n) array
        Plays of one problem stand together.
    """
    returns = np.zeros_like(rewards)
    total = np.zeros(len(rewards))
    for t in range(rewards.shape[1] - 1, -1, -1):
        total = rewards[:, t] + DISCOUNT * total
        returns[:, t] = total
    groups = returns.reshape(-1, PLAYS, returns.shape[1])
    centred = groups - groups.mean(axis=1, keepdims=True)
    spread = centred.std(axis=(1, 2), keepdims=True)
    advantages: Array = (centred / (spread + 1e-3)).reshape(returns.shape)
    return advantages

"""A bandit for each agent: a few values of d, played by what they gained lately.

Discounted UCB (Garivier and Moulines, 2011): rewards fade, as what is right changes while a swarm
contracts.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from bbopt.lacmas.guides.base import Advice, Context, Guide

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

EVERY = 20
"""Rounds for which an arm is played."""
ARMS = (0.85, 1.0, 1.15, 1.3)
DISCOUNT = 0.9
"""What a play still counts at the next."""
WIDTH = 0.2
"""Of the confidence bound, in units of the gain, which lies in [-2, 2]."""


class Bandit(Guide):
    """d is one of four arms, cut to its range; every 20 rounds it may change.

    The reward is an agent's relative gain over the last 19 rounds. No neighbour is asked.
    """

    per_agent: ClassVar[tuple[str, ...]] = ("arm", "plays", "rewards")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        a = len(self.network.agents)
        self.arm: Ints = (self.draws.uniform("guide", 0, 0) * len(ARMS)).astype(np.int64)
        self.plays: Array = np.zeros((a, len(ARMS)))
        self.rewards: Array = np.zeros((a, len(ARMS)))

    def start(self) -> tuple[Array, Array]:
        """An arm drawn for each agent, and c = 1."""
        return self._coefficients(), np.ones(len(self.arm))

    def _advise(self, context: Context) -> Advice:
        if not self._is_due(context, EVERY):
            return Advice(context.d, context.c)
        self.plays *= DISCOUNT
        self.rewards *= DISCOUNT
        each = np.arange(len(self.arm))
        self.plays[each, self.arm] += 1
        self.rewards[each, self.arm] += context.history.gain()
        self.arm = choose(self.plays, self.rewards)
        return Advice(np.where(context.alive, self._coefficients(), context.d), context.c)

    def _coefficients(self) -> Array:
        d: Array = np.clip(np.array(ARMS)[self.arm], *self.settings.d_range)
        return d


def choose(plays: Array, rewards: Array) -> Ints:
    """The arm with the greatest upper confidence bound, ``(a,)``; one never played comes first.

    Parameters
    ----------
    plays, rewards : (a, arms) arrays
        Discounted number of plays and sum of rewards of each arm.
    """
    total = plays.sum(axis=1, keepdims=True)
    n = np.where(plays > 0, plays, 1.0)
    bound = rewards / n + WIDTH * np.sqrt(np.log(np.maximum(total, 1.0)) / n)
    return np.asarray(np.argmax(np.where(plays > 0, bound, np.inf), axis=1))

"""What requests to a model are made of: gathered from all agents, the same on every rank."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from bbopt.lacmas.guides.base import Context, GuideSettings
from bbopt.lacmas.guides.groups import grouped, typical
from bbopt.lacmas.guides.prompts import Neighbour, act_prompt, cooperate_prompt
from bbopt.lacmas.memory import WINDOW
from bbopt.lacmas.network import Network

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

Ask: TypeAlias = tuple[str, tuple[str, ...]]
"""A prompt, and the labels of the neighbours that it asks about."""


@dataclass(frozen=True)
class Facts:
    """What requests are made of; ``n`` agents in ``g`` groups.

    Attributes
    ----------
    groups : (n,) int array
        The group of each agent, -1 for those that have left.
    shown, sizes : (g,) int arrays
        The agent that is shown for each group, and how many it has.
    meets : (g, g) bool array
        Whether members of a group have neighbours in another, or in their own.
    gain, d, c : (n,) arrays
        Of all agents.
    mean, divergence : (n, w) arrays
        Their histories, the oldest first.
    """

    groups: Ints
    shown: Ints
    sizes: Ints
    meets: npt.NDArray[np.bool_]
    gain: Array
    d: Array
    c: Array
    mean: Array
    divergence: Array

    @classmethod
    def of(cls, network: Network, context: Context, most: int) -> Facts:
        """Gather them; collective."""
        h = context.history
        table = np.column_stack(
            [context.alive, h.gain(), context.d, context.c, h.mean, h.divergence]
        )
        alive, gain, d, c, *rings = np.asarray(network.gather(table), dtype=float).T
        mean, divergence = np.array(rings[:WINDOW]).T, np.array(rings[WINDOW:]).T
        groups = grouped(gain, divergence[:, -1], (alive > 0) & network.living, most)
        n = groups.max(initial=-1) + 1
        hears = np.zeros((len(network.agents), n + 1), dtype=bool)  # the last: no group
        hears[network.rows, groups[network.neighbours]] = True
        heard = np.asarray(network.gather(hears), dtype=bool)[:, :n]
        meets = np.array([heard[groups == i].any(axis=0) for i in range(n)]).reshape(n, n)
        sizes = np.bincount(groups[groups >= 0], minlength=n)
        shown = typical(groups, gain)
        return cls(groups, shown, sizes, meets, gain, d, c, mean, divergence)

    def act_prompts(self, round_: int, horizon: int, settings: GuideSettings) -> list[Ask | None]:
        """The request of each group, with no labels."""
        return [
            (
                act_prompt(
                    round_=round_,
                    horizon=horizon,
                    size=int(size),
                    coefficients=(self.d[i], self.c[i]),
                    history=(self.mean[i], self.divergence[i]),
                    limits=settings.limits,
                    ranges=(settings.d_range, settings.c_range),
                ),
                (),
            )
            for i, size in zip(self.shown, self.sizes, strict=True)
        ]

    def cooperate_prompts(self, round_: int) -> list[Ask | None]:
        """The request of each group with the groups that it is about; None where no choice is."""
        prompts: list[Ask | None] = []
        for group, (i, size) in enumerate(zip(self.shown, self.sizes, strict=True)):
            others = np.flatnonzero(self.meets[group])
            if len(others) < 2:
                prompts.append(None)
                continue
            neighbours = [
                Neighbour(str(k), self.gain[self.shown[k]], self.divergence[self.shown[k], -1])
                for k in others
            ]
            own = (self.gain[i], self.divergence[i, -1])
            prompt = cooperate_prompt(round_=round_, size=int(size), own=own, neighbours=neighbours)
            prompts.append((prompt, tuple(k.label for k in neighbours)))
        return prompts

"""The sentences of the prompt as code: what a model would do that only follows its rules.

Figures as in the prompt (LAC-MAS, appendices D.2 and D.3), where it has some.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bbopt.lacmas.guides import contract
from bbopt.lacmas.guides.base import Advice, Context, Guide
from bbopt.lacmas.memory import Memory
from bbopt.lacmas.network import HEADER

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

EVERY = 25
"""Rounds between two looks."""
STEP = 0.1
SLOW, STAGNANT = 0.05, 1e-3
"""Relative improvements over the window below which a fall is slow, and none."""
BEST, MIDDLE, WORST = 0.4, 0.25, 0.15
"""Shares of the best third of the neighbours, of the worst third, and of those between."""
GAIN, DIVERGENCE = HEADER.index("gain"), HEADER.index("divergence")


class Rules(Guide):
    """Every 25 rounds: raise d of a wide swarm that improves slowly, lower it where losses rise;
    raise c of a collapsed swarm that stagnates; prefer neighbours that improve.
    """  # noqa: D205

    def _advise(self, context: Context) -> Advice:
        if not self._is_due(context, EVERY):
            return Advice(context.d, context.c)
        d, c = wanted_coefficients(context.history, context.d, context.c, self.settings.limits)
        d = contract.limited(d, context.d, self.settings.d_range, contract.STEP_D)
        c = contract.limited(c, context.c, self.settings.c_range, contract.STEP_C)
        return Advice(d, c, self._wishes(wanted_weights(context.headers, self.network.rows)))


def wanted_coefficients(
    history: Memory, d: Array, c: Array, limits: tuple[float, float]
) -> tuple[Array, Array]:
    """The coefficients that the rules lead to, ``(a,)`` each, before any bound."""
    gain, divergence = history.gain(), history.divergence[:, -1]
    is_wide, has_collapsed = divergence > limits[1], divergence < limits[0]
    is_slow, is_worse = np.abs(gain) < SLOW, gain < -SLOW
    d = d + STEP * (is_wide & is_slow) - STEP * (is_wide & is_worse)
    return d, c + STEP * (has_collapsed & (np.abs(gain) < STAGNANT))


def wanted_weights(headers: Array, rows: Ints) -> Array:
    """What the rules give to each neighbour, ``(e,)``: by gain, and by divergence among equals.

    NaN for a neighbour that was not heard; of two neighbours one is the best third, one the
    worst.
    """
    heard = np.flatnonzero(~np.isnan(headers[:, GAIN]))
    whose = rows[heard]
    order = np.lexsort((headers[heard, DIVERGENCE], -headers[heard, GAIN], whose))
    n = np.bincount(whose)[whose] if len(whose) else whose
    first = np.searchsorted(whose, whose)  # where the agent's neighbours begin
    rank = np.arange(len(heard)) - first
    third = np.maximum(n // 3, 1)
    is_best, is_worst = (rank < third) & (n > 1), (rank >= n - third) & (n > 1)
    wanted = np.full(len(rows), np.nan)
    wanted[heard[order]] = np.where(is_best, BEST, np.where(is_worst, WORST, MIDDLE))
    return wanted

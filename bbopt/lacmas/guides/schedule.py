"""When a language model is asked: phased guidance (LAC-MAS, section 4.3).

Around a horizon of T rounds, coefficients are asked for at ⌈T/3⌉ and ⌈2T/3⌉, weights at every
⌈m T/e⌉ for as long as the run lasts: a run that ends before T/3 asks nothing. The public code has
T = 2000 whatever the function, which six of its ten never reach. Where none is given we measure
it: until its first request the guide changes nothing, and what is seen meanwhile is the pilot.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from bbopt.lacmas.memory import WINDOW, Memory

Array = npt.NDArray[np.float64]

EVERY = 20
"""Rounds between two estimates of the horizon; at the first, all of the memory is filled."""


def acts(horizon: int, last: int, now: int) -> bool:
    """Whether coefficients are to be asked for in one of the rounds ``last + 1, ..., now``."""
    points = (math.ceil(horizon / 3), math.ceil(2 * horizon / 3))
    return any(last < point <= now for point in points if point < horizon)


def cooperates(horizon: int, last: int, now: int) -> bool:
    """Whether weights are to be asked for in one of the rounds ``last + 1, ..., now``."""
    return math.floor(now * math.e / horizon) > math.floor(last * math.e / horizon)


def expected_end(history: Memory, now: int, collapsed: float) -> Array:
    """The round at which each swarm will have collapsed if it goes on as lately, ``(a,)``.

    Divergence falls by about a constant factor a round; infinite where it does not fall, or is
    not known over the whole window.

    Parameters
    ----------
    history : Memory
        Of the rounds before ``now``.
    now : int
        The current round.
    collapsed : float
        The divergence at which it counts as collapsed.
    """
    known = np.where(history.divergence > 0, history.divergence, np.nan)
    first, last = np.log(known[:, 0]), np.log(known[:, -1])
    slope = (last - first) / (WINDOW - 1)
    is_falling = slope < 0  # NaN is not
    ahead = (math.log(collapsed) - last) / np.where(is_falling, slope, -1.0)
    return np.where(is_falling, now - 1 + np.maximum(ahead, 0.0), np.inf)


def settled(estimate: float, now: int) -> int | None:
    """The horizon, once a later estimate would come too late for its first request; else None."""
    if now + EVERY <= estimate / 3:
        return None
    return max(math.ceil(estimate), 3 * now)  # at the earliest the first request is now

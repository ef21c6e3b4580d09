"""The contract of advice: whoever gives it, it cannot leave these bounds.

Coefficients stay in their ranges, move a little at a time, and keep to the region in which
momentum and mixing are stable together; weights are bounded on both sides, and an agent always
gives its neighbours as much in all as at the start.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bbopt.lacmas.spectrum import MARGIN

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

STEP_D, STEP_C = 0.2, 0.3
"""How far a coefficient may move at once."""
LEAST_WEIGHT, MOST_WEIGHT = 0.05, 0.6
"""What a neighbour may be given: a positive least weight is what consensus needs."""
STILL_STABLE = 1.7
"""No coefficient of a guarded guide is above: E (s u)² < 1, u uniform in [0, 1], needs s < √3."""


def limited(wanted: Array, now: Array, range_: tuple[float, float], step: float) -> Array:
    """Coefficients ``wanted``, at most ``step`` from ``now`` and inside ``range_``.

    NaN where nothing usable is wanted, which leaves what is there.
    """
    moved = np.clip(np.where(np.isnan(wanted), now, wanted), now - step, now + step)
    return np.where(np.isnan(wanted), now, np.clip(moved, *range_))


def least_coefficient(interval: Ints, least: float) -> Array:
    """The coefficient below which mixing is unstable, ``(a,)``, with a margin of 3 %.

    Before its neighbours pull, internal learning has moved a particle by κ = 1 − 2^−K times its
    velocity; the mean dynamics is stable where (1 + κ)(1 − λ) < 2 (1 + s/2) for every
    eigenvalue λ of the weights (:mod:`bbopt.lacmas.spectrum`).

    Parameters
    ----------
    interval : (a,) int array
        K: steps of internal learning in a round.
    least : float
        The least eigenvalue of the mixing weights.
    """
    kappa = 1 - 2.0 ** -interval.astype(float)
    return (1 + kappa) * (1 - least) / MARGIN - 2


def guarded(values: Array, floor: Array, range_: tuple[float, float]) -> Array:
    """Coefficients raised to ``floor``, not beyond 1, which is MASOIE, nor out of their range."""
    high = min(range_[1], STILL_STABLE)
    return np.minimum(np.maximum(values, np.minimum(floor, min(1.0, high))), high)


def wishes(wanted: Array, now: Array, rows: Ints, mass: Array) -> Array:
    """Weights half-way from those in force to those wanted, within the contract, ``(e,)``.

    Parameters
    ----------
    wanted : (e,) array
        >= 0, and not all 0 for an agent; in any proportion to those in force. NaN where nothing
        is wanted, which leaves a neighbour its share.
    now : (e,) array
        The weights in force.
    rows, mass
        See :func:`to_mass`.
    """
    known = ~np.isnan(wanted)
    target = now.copy()
    share = np.bincount(rows[known], now[known], minlength=len(mass))
    total = np.bincount(rows[known], wanted[known], minlength=len(mass))
    target[known] = wanted[known] * (share / np.where(total > 0, total, 1.0))[rows[known]]
    return to_mass((now + target) / 2, rows, mass)


def to_mass(wanted: Array, rows: Ints, mass: Array) -> Array:
    """Weights in the proportions wanted, in bounds, summing to ``mass`` for each agent.

    An agent's weights are t·w cut to its bounds, with the t that gives the sum. The bounds are
    :data:`LEAST_WEIGHT` and :data:`MOST_WEIGHT`, or half and the whole of an equal share where
    an agent has so many neighbours, or so few, that these cannot be met.

    Parameters
    ----------
    wanted : (e,) array
        Positive weights of the edges.
    rows : (e,) int array
        Whose edges they are, ascending.
    mass : (a,) array
        What each agent's weights sum to, >= 0.
    """
    low, high = (bound[rows] for bound in bounds(rows, mass))
    wanted = np.clip(wanted, 1e-9, 1e9)
    below = np.zeros(len(mass))  # t lies between these, agent by agent
    above = np.full(len(mass), 1e10)  # the least weight wanted is 1e-9, and no bound above 1
    for _ in range(120):  # bisection of [0, 1e10] down to the spacing of doubles
        t = (below + above) / 2
        total = np.bincount(rows, np.clip(t[rows] * wanted, low, high), minlength=len(mass))
        below, above = np.where(total < mass, t, below), np.where(total < mass, above, t)
    return np.clip(above[rows] * wanted, low, high)


def bounds(rows: Ints, mass: Array) -> tuple[Array, Array]:
    """The least and the most that each agent may give to a neighbour, ``(a,)`` each."""
    share = mass / np.maximum(np.bincount(rows, minlength=len(mass)), 1)
    return np.minimum(LEAST_WEIGHT, share / 2), np.maximum(MOST_WEIGHT, share)

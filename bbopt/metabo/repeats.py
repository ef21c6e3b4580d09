"""The repeat rule: how long to stay on a candidate before anything is decided anew.

After n repeats at x no posterior standard deviation anywhere has shrunk by more than
``sqrt(1 + n variance(x)/noise)``, with equality at x. So ``(C² - 1) noise/variance`` is the
largest number of repeats during which all of them stay within a factor C: the stale posterior
is good enough to keep on (Calandriello et al. 2022, arXiv:2201.12909).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import lambertw

from bbopt import checks

ROUNDINGS = ("floor", "plus1")


def repeats(
    variance: npt.ArrayLike,
    noise: npt.ArrayLike,
    staleness: float,
    limit: int,
    rounding: str = "floor",
) -> npt.NDArray[np.int64]:
    """Repeats of a candidate with posterior ``variance``.

    Parameters
    ----------
    variance : array
        Posterior variance of the latent function at the candidate, on the scale of the values,
        >= 0 (not divided by the noise).
    noise : array
        Variance of one evaluation there, > 0.
    staleness : float
        C, >= 1: the most that a posterior sd may shrink unseen. 1 repeats nothing.
    limit : int
        Most repeats, >= 1: what the budget, a cap or the caller leaves.
    rounding : str
        ``"floor"``: ``max(1, floor(z))``, ``z = (C² - 1) noise/variance``; the sd shrink by at
        most C by the end of the batch wherever z >= 1. ``"plus1"``: ``1 + floor(z)``; by at
        most C before its last evaluation.

    Returns
    -------
    array of int64
        In ``[1, limit]``.
    """
    checks.number("staleness", staleness, 1)
    checks.integer("limit", limit, 1)
    checks.one_of("rounding", rounding, ROUNDINGS)
    variance, noise = np.asarray(variance, np.float64), np.asarray(noise, np.float64)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        z = np.floor((staleness - 1.0) * (staleness + 1.0) * (noise / variance))
    if rounding == "plus1":
        z += 1.0
    # Compared before the cast: z is inf at variance 0. fmax, for C = 1 makes it 0 × inf there.
    count: npt.NDArray[np.int64] = np.minimum(np.fmax(z, 1.0), limit).astype(np.int64)
    return count


def joint_repeats(variance: float, noise: float, staleness: float, gain: float) -> int:
    """Repeats of one more candidate while others are pending, under one staleness C.

    All pending evaluations together shrink no posterior sd by more than
    ``sqrt(det(I + Σ/noise))`` (Desautels et al. 2014, proposition 1): what is left of C²
    after them is for the new candidate.

    Parameters
    ----------
    variance : float
        Its posterior variance once the pending results are in.
    noise : float
        Variance of one evaluation.
    staleness : float
        C, >= 1.
    gain : float
        ``ln det(I + Σ/noise)`` of the pending evaluations, >= 0.

    Returns
    -------
    int
        0 where not even one evaluation keeps within C.
    """
    room = math.expm1(max(2.0 * math.log(staleness) - gain, 0.0))
    return int(min(room * noise / max(variance, 1e-300), 2.0**53))


def most_batches(info: float, staleness: float, rounding: str = "floor") -> float:
    """Bound on the number of complete batches that gained ``info`` nats; for any choice of x.

    With ``"plus1"`` each gains more than ln C; with ``"floor"`` at least ½ ln((1 + C²)/2).
    """
    if rounding == "plus1":
        return 1.0 + info / math.log(staleness)
    return 1.0 + 2.0 * info / math.log((1.0 + staleness**2) / 2.0)


def free_staleness(prior_variance: float, noise: float) -> float:
    """``sqrt(1 + prior variance/noise)``: the largest C that leaves GP-UCB's regret bound as is.

    Beyond it a candidate never visited would be repeated.
    """
    return math.sqrt(1.0 + prior_variance / noise)


def default_staleness(prior_variance: float, noise: float) -> float:
    """``min(√2, free_staleness)``: each revisit of a contested candidate doubles its repeats."""
    return min(math.sqrt(2.0), free_staleness(prior_variance, noise))


def staleness_for_cost(
    switch_cost: float,
    *,
    beta: float,
    info: float,
    evaluations: int,
    prior_variance: float,
    noise: float,
    highest: float = 4.0,
) -> float:
    """C that balances the bounds on regret and on the cost of switching.

    Minimises ``2 C β sqrt(2 T g γ) + cost γ / ln C``, that is
    ``C ln² C = cost γ / (2 β sqrt(2 T g γ))`` with ``g = κ²/ln(1 + κ²/noise)``. Both bounds
    overstate: a first guess.

    Parameters
    ----------
    switch_cost : float
        Cost of a change of candidate, in units of regret, >= 0.
    beta : float
        Width of the confidence intervals, > 0.
    info : float
        Information that the run will gain (γ), > 0.
    evaluations : int
        Evaluations of the run (T), >= 1.
    prior_variance, noise : float
        κ² and the variance of one evaluation.
    highest : float
        Upper end of the answer; the lower is 1.
    """
    g = prior_variance / math.log1p(prior_variance / noise)
    target = switch_cost * info / (2.0 * beta * math.sqrt(2.0 * evaluations * g * info))

    def excess(c: float) -> float:
        return c * math.log(c) ** 2 - target

    if excess(highest) <= 0.0:
        return highest
    return float(brentq(excess, 1.0, highest, xtol=1e-12))


def repeats_for_cost(variance: float, noise: float, switch_cost: float) -> int:
    """Repeats that gain the most information a unit of cost, once at a new candidate.

    Maximises ``ln(1 + n variance/noise) / (switch_cost + n)``: with
    ``z = 1 + n variance/noise`` that is ``z ln z - z + 1 = switch_cost variance/noise``.

    Parameters
    ----------
    variance : float
        Posterior variance of the candidate, >= 0.
    noise : float
        Variance of one evaluation, > 0.
    switch_cost : float
        What coming to it has cost, in evaluations, >= 0.
    """
    ratio = max(variance / noise, 1e-300)
    x = switch_cost * ratio
    if x < 1e-10:  # the series of what follows, which cancels here
        n = math.sqrt(2.0 * x) / ratio
    else:
        n = math.expm1(1.0 + float(lambertw((x - 1.0) / math.e).real)) / ratio
    return int(min(n, 2.0**53))


def scheduled_staleness(
    unique: int, d: int, *, early: float, late: float, per_dimension: int = 10
) -> float:
    """``early`` until there are ``per_dimension`` unique points a dimension, ``late`` from then."""
    return early if unique < per_dimension * d else late


def learning_cap(evaluations: int) -> int:
    """Most repeats in one batch while hyper-parameters are learned: a tenth of the data, plus 16.

    A misfit with a collapsed variance would otherwise spend the budget on one bad point.
    """
    return evaluations // 10 + 16

"""Schedules of beta: how many posterior standard deviations a confidence interval is wide."""

from __future__ import annotations

import math


def finite_beta(n_candidates: int, decision: int, delta: float) -> float:
    """For a finite set and a function drawn from the prior (Srinivas et al. 2010, theorem 1).

    ``sqrt(2 ln(n_candidates π² decision² / (6 delta)))``: the intervals at all candidates and
    all decisions hold together with probability 1 - ``delta``.

    Parameters
    ----------
    n_candidates : int
        Size of the set, >= 1.
    decision : int
        Number of the decision, from 1. The posterior is used at the start of a batch only, so
        that it counts batches; with the number of evaluations instead it is that of GP-UCB.
    delta : float
        Probability of failure, in (0, 1).
    """
    return math.sqrt(2.0 * math.log(n_candidates * math.pi**2 * decision**2 / (6.0 * delta)))


def growing_beta(evaluations: int) -> float:
    """``sqrt(ln N)``, at least 1: the rate of exploration of UCB1 (Auer et al. 2002).

    For models whose hyper-parameters are learned, of which no interval is known to hold.
    """
    return math.sqrt(math.log(max(evaluations, 3)))


def continuous_beta(
    d: int, decision: int, delta: float, *, a: float = 1.0, b: float = 1.0
) -> float:
    """For the unit cube and a function drawn from the prior (Srinivas et al. 2010, theorem 2).

    Parameters
    ----------
    d : int
        Number of coordinates, >= 1.
    decision, delta : int, float
        As in :func:`finite_beta`.
    a, b : float
        Each partial derivative of the function exceeds L with probability at most
        ``a exp(-(L/b)²)``.
    """
    union = 2.0 * math.log(2.0 * decision**2 * math.pi**2 / (3.0 * delta))
    grid = decision**2 * d * b * math.sqrt(math.log(4.0 * d * a / delta))
    return math.sqrt(union + 2.0 * d * math.log(grid))


def norm_beta(norm: float, noise_sd: float, regulariser: float, info: float, delta: float) -> float:
    """For a fixed function of bounded norm (self-normalised bound, Abbasi-Yadkori et al. 2011).

    ``norm + noise_sd / sqrt(regulariser) sqrt(2 ln(1/delta) + ln det(I + K_N/regulariser))``:
    the information gained so far takes the place of its worst case.

    Parameters
    ----------
    norm : float
        Bound on the norm of the function in the kernel's space (F).
    noise_sd : float
        The noise is sub-Gaussian with this parameter (ξ).
    regulariser : float
        The ``noise`` that the posterior was computed with (λ), > 0.
    info : float
        Its information gain, :attr:`Posterior.info`.
    delta : float
        Probability of failure, in (0, 1).
    """
    width = math.sqrt(2.0 * math.log(1.0 / delta) + 2.0 * info)
    return norm + noise_sd / math.sqrt(regulariser) * width

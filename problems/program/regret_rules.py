"""Rules of regret minimisation, and self-play under a rule: how exploitable it leaves one.

A *rule* is a function of arrays ``(n, n_actions)``, one row an information set::

    regrets, policy, weight = rule(regrets, instant, t)

It gets the cumulative regrets so far (zero at first), the regrets of iteration t = 1, 2, ...
alone, and t. It returns the new cumulative regrets, the weights of the actions in the next
policy (>= 0; a row of zeros is played uniformly), and the weight (>= 0) that the policy of
iteration t has in the average that comes out at the end. Players take turns: in an iteration
the first learns against the second's current policy, then the second against the first's new
one.

``BASELINES`` holds the published rules.

Sources: Zinkevich et al. (2007), *Regret minimization in games with incomplete information*
(cfr); Tammelin (2014), *Solving large imperfect information games using CFR+* (cfr+); Brown
and Sandholm (2019), *Solving imperfect-information games via discounted regret minimization*
(lcfr, dcfr); Farina, Kroer and Sandholm (2021), *Faster game solving via predictive Blackwell
approachability* (pcfr+); on turns, Burch, Moravčík and Schmid (2019), *Revisiting CFR+ and
alternating updates*.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from .poker import Array, Game

Rule: TypeAlias = Callable[[Array, Array, int], tuple[Array, Array, float]]


def exploitabilities(game: Game, rule: Rule, iterations: Sequence[int]) -> list[float]:
    """How exploitable the average policies are after each of these numbers of iterations.

    Parameters
    ----------
    game : Game
        What is played.
    rule : Rule
        What both players learn by; its results are not checked.
    iterations : sequence of int
        Ascending, >= 1.

    Returns
    -------
    list of float
        Each in ``[0, game.stakes]``. While all its weights are zero, a player's average is
        the uniform policy.
    """
    policies = [player.uniform() for player in game.players]
    plans = [p.plan(policy) for p, policy in zip(game.players, policies, strict=True)]
    averages, totals = list(plans), [0.0, 0.0]
    regrets = [np.zeros_like(policy) for policy in policies]
    found: list[float] = []
    for t in range(1, iterations[-1] + 1):
        for p, player in enumerate(game.players):
            instant = player.regrets(policies[p], game.gains(p, plans[1 - p]))
            regrets[p], shares, weight = rule(regrets[p], instant, t)
            if weight > 0:
                totals[p] += weight
                averages[p] = averages[p] + (weight / totals[p]) * (plans[p] - averages[p])
            policies[p] = player.policy(shares)
            plans[p] = player.plan(policies[p])
        if t in iterations:
            found.append(game.exploitability(averages))
    return found


def cfr(regrets: Array, instant: Array, t: int) -> tuple[Array, Array, float]:
    """Counterfactual regret minimisation: regrets are summed, what was regretted is played."""
    regrets = regrets + instant
    return regrets, np.maximum(regrets, 0.0), 1.0


def cfr_plus(regrets: Array, instant: Array, t: int) -> tuple[Array, Array, float]:
    """CFR+: no sum falls below zero, and later policies weigh more."""
    regrets = np.maximum(regrets + instant, 0.0)
    return regrets, regrets, t


def linear_cfr(regrets: Array, instant: Array, t: int) -> tuple[Array, Array, float]:
    """Linear CFR: iteration t counts t times, in the sums as in the average."""
    regrets = regrets + t * instant
    return regrets, np.maximum(regrets, 0.0), t


def discounted_cfr(regrets: Array, instant: Array, t: int) -> tuple[Array, Array, float]:
    """Discounted CFR with (α, β, γ) = (1.5, 0, 2): sums fade, those below zero much faster."""
    regrets = regrets + instant
    regrets = regrets * np.where(regrets > 0, t**1.5 / (t**1.5 + 1), 0.5)
    return regrets, np.maximum(regrets, 0.0), t**2


def predictive_cfr_plus(regrets: Array, instant: Array, t: int) -> tuple[Array, Array, float]:
    """Predictive CFR+: plays as if the regrets of this iteration were to come once more."""
    regrets = np.maximum(regrets + instant, 0.0)
    return regrets, np.maximum(regrets + instant, 0.0), t**2


BASELINES = MappingProxyType(
    {
        "cfr": cfr,
        "cfr+": cfr_plus,
        "lcfr": linear_cfr,
        "dcfr": discounted_cfr,
        "pcfr+": predictive_cfr_plus,
    }
)
"""Name -> rule."""

"""The settings of ``lacmas``, and what they are where they are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bbopt.settings import setting

VARIANTS: dict[str, dict[str, Any]] = {
    "hybrid": {"method": "hybrid", "guide": "imitation", "d_range": (0.7, 1.3)},
    "swarm": {"method": "swarm", "guide": "imitation", "d_range": (0.7, 1.3)},
    "paper": {"method": "swarm", "guide": "llm", "d_range": (0.5, 1.0)},
    "masoie": {"method": "swarm", "guide": "none", "d_range": (0.5, 1.0)},
    "ccsa-des": {"method": "ccsa-des", "guide": "none", "d_range": (0.5, 1.0)},
}
"""What the settings that are None stand for."""


@dataclass(frozen=True)
class LacMasSettings:
    """Settings of ``lacmas``; None is what the variant has."""

    variant: str = setting(
        "hybrid",
        "'hybrid': swarms, then gossip quasi-Newton or CCSA-DES; 'swarm': guided swarms alone; "
        "'paper': LAC-MAS; 'masoie': swarms without a guide; 'ccsa-des': evolution strategies",
        choices=tuple(VARIANTS),
    )
    guide: str | None = setting(
        None,
        "what sets the swarms' coefficients: 'imitation', 'rules', 'bandit', 'fixed', 'llm' "
        "('rules' without a model) or 'none'",
        choices=("imitation", "rules", "bandit", "fixed", "llm", "none"),
    )
    particles: int | None = setting(
        None, "P: particles of each swarm; by default from dimension and budget", low=4
    )
    interval: int = setting(4, "K: steps of internal learning in a round at the start", low=2)
    weights: str = setting(
        "metropolis",
        "rule of the mixing weights; 'given': those of the problem",
        choices=("metropolis", "max_degree", "uniform", "best_constant", "lazy", "given"),
    )
    mix: str = setting(
        "particles",
        "what is sent: whole swarms, or 'centroid' (their centres: 1/P of the bytes)",
        choices=("particles", "centroid"),
    )
    exchange: str = setting(
        "always",
        "when: every round, or on an 'event' (some agent's centre has moved more than usual)",
        choices=("always", "event"),
    )
    reference: str = setting(
        "ever",
        "what internal learning improves on: the best 'ever' (the source), or of the 'round'",
        choices=("ever", "round"),
    )
    thresholds: str = setting(
        "absolute",
        "what a divergence is compared with: the source's numbers, or shares of the 'box'",
        choices=("absolute", "box"),
    )
    projection: str = setting(
        "symmetric",
        "how wished weights become a matrix: 'symmetric' (doubly stochastic) or 'row'",
        choices=("symmetric", "row"),
    )
    horizon: int | None = setting(
        None, "T: rounds over which a model is asked; by default what the budget is good for", low=1
    )
    requests: int = setting(
        8,
        "most requests to a model at once: with more agents, those in like circumstances share one",
        low=1,
    )
    d: float = setting(0.7, "coefficient of a wide swarm under the guide 'fixed'", low=0.0)
    c: float = setting(1.3, "coefficient of a collapsed swarm under the guide 'fixed'", low=0.0)
    faults: str = setting(
        "", "faults of the simulated network, such as 'drop=0.3,late=0.1,kill=3@10'"
    )

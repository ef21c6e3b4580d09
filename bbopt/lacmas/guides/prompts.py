"""What a language model is shown, and the form of its reply.

The contents follow LAC-MAS, appendices D.2 and D.3, with neighbours compared by their relative
gains, as losses of different objectives cannot be compared. Numbers are written in one format and
nothing depends on the clock, so that equal histories give equal prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

ROLE = (
    "Several agents minimise the mean of their black-box objectives and must agree on one point. "
    "Each moves a swarm of particles by its own objective and pulls it towards the swarms of its "
    "neighbours."
)


@dataclass(frozen=True)
class Neighbour:
    """A neighbour, or a group of them, as a prompt has it.

    Parameters
    ----------
    label : str
        Its number.
    gain : float
        Relative improvement of its mean loss over the window.
    divergence : float
        Of its swarm.
    """

    label: str
    gain: float
    divergence: float


def act_prompt(
    *,
    round_: int,
    horizon: int,
    size: int,
    coefficients: tuple[float, float],
    history: tuple[Array, Array],
    limits: tuple[float, float],
    ranges: tuple[tuple[float, float], tuple[float, float]],
) -> str:
    """Ask for the two coefficients of one swarm, or of ``size`` swarms like it.

    Parameters
    ----------
    round_, horizon : int
        Where the run stands, and about how long it takes.
    size : int
        How many swarms the reply is for.
    coefficients : (float, float)
        d and c in force.
    history : ((w,) array, (w,) array)
        Mean loss and divergence of the last rounds, the oldest first.
    limits, ranges
        See :class:`~bbopt.lacmas.guides.GuideSettings`; the ranges of d and of c.
    """
    rows = [
        f"{round_ - len(history[0]) + i}: {_number(mean)}, {_number(divergence)}"
        for i, (mean, divergence) in enumerate(zip(*history, strict=True))
        if not np.isnan(mean)
    ]
    return "\n".join(
        [
            f"{ROLE} You set two coefficients of {_whose(size)}.",
            "",
            f"The velocity of the previous round is multiplied by d while divergence (the mean "
            f"squared distance of the particles from their centre) is above "
            f"{_number(limits[1])}, by c once it is below {_number(limits[0])}, by 1 between.",
            f"Round {round_} of about {horizon}. "
            f"Now d = {_number(coefficients[0])}, c = {_number(coefficients[1])}.",
            "",
            "The last rounds as round: mean loss of the particles (lower is better), divergence",
            *rows,
            "",
            "- If the loss stagnates and divergence is low, raise c.",
            "- If the loss falls slowly and divergence is high, raise d.",
            "",
            f"d must be in {_range(ranges[0])}, c in {_range(ranges[1])}. "
            'Reply with JSON only: {"d": <number>, "c": <number>}',
        ]
    )


ACT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "d": {"type": "number", "minimum": 0},
        "c": {"type": "number", "minimum": 0},
    },
    "required": ["d", "c"],
    "additionalProperties": False,
}


def cooperate_prompt(
    *, round_: int, size: int, own: tuple[float, float], neighbours: Sequence[Neighbour]
) -> str:
    """Ask for the weights of the neighbours of one swarm, or of ``size`` swarms like it.

    Parameters
    ----------
    round_ : int
        Where the run stands.
    size : int
        How many swarms the reply is for.
    own : (float, float)
        Gain and divergence of the swarm.
    neighbours : sequence of Neighbour
        In the order in which they are shown.
    """
    rows = [f"{k.label}: {_number(k.gain)}, {_number(k.divergence)}" for k in neighbours]
    form = ", ".join(f'"{k.label}": <number>' for k in neighbours)
    kinds = "neighbours" if size == 1 else "groups of its neighbours"
    return "\n".join(
        [
            f"{ROLE} You set how much {_whose(size)} follows each of its neighbours.",
            "",
            f"Round {round_}. Gain is the relative fall of a swarm's mean loss over its last "
            "rounds (higher is better), divergence the mean squared distance of its particles "
            "from their centre.",
            f"Its own gain and divergence: {_number(own[0])}, {_number(own[1])}",
            f"The {kinds} as number: gain, divergence",
            *rows,
            "",
            "- A high gain and a low divergence deserve a weight of 0.3 to 0.5.",
            "- A low gain and a high divergence deserve 0.1 to 0.2.",
            "- Gain counts more than divergence.",
            "",
            f"The weights must be at least 0 and sum to 1. "
            f'Reply with JSON only: {{"weights": {{{form}}}}}',
        ]
    )


def cooperate_schema(labels: Sequence[str]) -> dict[str, Any]:
    """JSON schema of the reply to :func:`cooperate_prompt`."""
    weights: Mapping[str, Any] = {
        "type": "object",
        "properties": {label: {"type": "number", "minimum": 0} for label in labels},
        "required": list(labels),
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"weights": weights},
        "required": ["weights"],
        "additionalProperties": False,
    }


def _whose(size: int) -> str:
    if size == 1:
        return "one swarm"
    return f"each of {size} swarms in like circumstances, of which one is shown"


def _number(value: float) -> str:
    return f"{value:.6e}" if np.isfinite(value) else "unknown"


def _range(range_: tuple[float, float]) -> str:
    return f"[{range_[0]:g}, {range_[1]:g}]"

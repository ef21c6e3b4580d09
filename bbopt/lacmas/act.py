"""Acting: the coefficient of the old velocity, chosen by how far a swarm has spread.

LAC-MAS, eq. 7 and its public code: ``d`` while the swarm is wide, ``c`` once it has collapsed, 1
between. The paper multiplies a velocity that nothing attracts; as in the code, the coefficient
multiplies the random number of the external learning, ``v ← s u v + Σ_j w_ij (x_j − x_i)``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

THRESHOLDS = (1e-2, 1e-1)
"""d₁ and d₂ of the code: divergences, absolute."""
RELATIVE_THRESHOLDS = (3e-8, 3e-7)
"""The same as shares of a uniform swarm's divergence in the box of the published functions."""


def thresholds(scale: str, low: Array, high: Array) -> tuple[float, float]:
    """Below the first divergence a swarm has collapsed, above the second it is wide.

    Parameters
    ----------
    scale : {"absolute", "box"}
        Whether they are the code's own numbers, or shares of a uniform swarm's divergence.
    low, high : (d,) arrays
        The box.
    """
    if scale == "absolute":
        return THRESHOLDS
    uniform = float(np.sum((high - low) ** 2) / 12)
    return RELATIVE_THRESHOLDS[0] * uniform, RELATIVE_THRESHOLDS[1] * uniform


def coefficient(divergence: Array, d: Array, c: Array, limits: tuple[float, float]) -> Array:
    """``s``: d where the divergence is above both limits, c below both, else 1; ``(a,)``."""
    low, high = limits
    return np.where(divergence > high, d, np.where(divergence < low, c, 1.0))

"""The steps of MASOIE on plain arrays: level-based internal learning, external learning.

Internal learning is the level-based swarm of Yang et al. (IEEE TEVC 22(4), 2018); external
learning pulls row p of an agent's swarm towards row p of its neighbours' (Chen et al., IEEE TEVC
29(4), 2025: the authors' code, as the article's own pseudo-code was not at hand). Losses are
minimised; +inf stands for what could not be evaluated.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

PHI = 0.5
"""φ: weight of the second exemplar."""
GREED = 7.0
"""How strongly the choice of a number of levels follows its past success."""


def level_pool(n_particles: int) -> tuple[int, ...]:
    """Numbers of levels to choose from, such that each level has two particles at least."""
    large = (4, 6, 8, 10, 20, 50) if n_particles >= 300 else (4, 6, 8, 10)
    pool = large if n_particles >= 20 else (2, 3)
    return tuple(n for n in pool if n_particles // n >= 2)


def choose_levels(success: Array, u: Array) -> Ints:
    """Index into the pool for each agent: probability ∝ exp(7 success).

    Parameters
    ----------
    success : (a, l) array
        Past success of each number of levels, in [0, 1].
    u : (a,) array
        Uniform draws.
    """
    weight = np.exp(GREED * success)
    below = np.cumsum(weight, axis=1)
    return np.asarray((u[:, None] * below[:, -1:] >= below[:, :-1]).sum(axis=1), dtype=np.int64)


def exemplars(order: Ints, n_levels: int, u: Array) -> tuple[Ints, Ints, Ints]:
    """Who moves in a level step, and towards whom.

    Parameters
    ----------
    order : (a, p) int array
        Particles from the best to the worst.
    n_levels : int
        Into how many levels they are divided; the last takes the remainder.
    u : (a, p, 4) array
        Uniform draws: the first levels, the others, places in both.

    Returns
    -------
    movers, first, second : (a, m) int arrays
        All particles but the best level's, and their two exemplars, the better one first: of two
        better levels, or two of the best level.
    """
    a, p = order.shape
    size = p // n_levels
    level = np.minimum(np.arange(size, p) // size, n_levels - 1)  # of each mover
    u = u[:, size:]
    at_first = np.minimum((u[..., 0] * level).astype(np.int64), level - 1)
    shift = np.minimum((u[..., 1] * (level - 1)).astype(np.int64), np.maximum(level - 2, 0))
    at_other = shift + (shift >= at_first)  # another level below, each as likely
    place = np.minimum((u[..., 2] * size).astype(np.int64), size - 1)
    other = np.minimum((u[..., 3] * size).astype(np.int64), size - 1)
    low, high = np.minimum(at_first, at_other) * size, np.maximum(at_first, at_other) * size
    # the first level above the best has only that: two different members of it
    within = np.minimum((u[..., 3] * (size - 1)).astype(np.int64), size - 2)
    within = within + (within >= place)
    lowest = level == 1
    first = np.where(lowest, np.minimum(place, within), low + place)
    second = np.where(lowest, np.maximum(place, within), high + other)
    agents = np.arange(a)[:, None]
    return order[:, size:], order[agents, first], order[agents, second]


def level_step(x: Array, v: Array, loss: Array, n_levels: int, u: Array, r: Array) -> Ints:
    """Move all particles but the best level's, in place; return who moved, ``(a, m)``.

    ``v ← r1 v + r2 (e1 − x) + φ r3 (e2 − x)``, ``x ← x + v``, from the old positions of all.

    Parameters
    ----------
    x, v : (a, p, d) arrays
        Positions and velocities of the internal learning.
    loss : (a, p) array
        Values at ``x``.
    n_levels : int
        Number of levels.
    u : (a, p, 4) array
        Uniform draws that choose exemplars.
    r : (a, p, 3, d) array
        Uniform draws r1, r2, r3; row p belongs to rank p.
    """
    order = np.argsort(loss, axis=1, kind="stable")
    movers, first, second = exemplars(order, n_levels, u)
    r = r[:, x.shape[1] - movers.shape[1] :]
    rows = np.arange(len(x))[:, None]
    old = x[rows, movers]
    step = r[:, :, 0] * v[rows, movers]
    towards = x[rows, first]
    towards -= old
    towards *= r[:, :, 1]
    step += towards
    towards = x[rows, second]
    towards -= old
    towards *= r[:, :, 2]
    towards *= PHI
    step += towards
    v[rows, movers] = step
    old += step
    x[rows, movers] = old
    return movers


def external_step(x: Array, v: Array, mixed: Array, momentum: Array) -> None:
    """``v ← (s u 1ᵀ) v + Σ_j w_ij (x_j − x_i)``, ``x ← x + v``, in place; not clipped.

    Parameters
    ----------
    x, v : (a, p, d) arrays
        Positions, and velocities of the external learning.
    mixed : (a, p, d) array
        ``Σ_j w_ij x_j``, the agent itself included.
    momentum : (a, p) array
        ``s u``: the coefficient of the agent times one uniform draw for each particle.
    """
    v *= momentum[:, :, None]
    v += mixed
    v -= x
    x += v


def update_success(
    success: Array, chosen: Ints, least: Array, best: Array, greatest: Array
) -> None:
    """Credit the chosen number of levels with its improvement over the best, in place.

    Parameters
    ----------
    success : (a, l) array
        In [0, 1]: the improvement relative to the greatest so far, 0 without one.
    chosen : (a,) int array
        Which of the pool was used.
    least : (a,) array
        The least loss after the step.
    best, greatest : (a,) arrays
        The best loss so far and the greatest improvement so far; updated.
    """
    with np.errstate(invalid="ignore"):  # inf - inf: no improvement
        gain = best - least
    better = gain > 0
    share = np.ones_like(gain)
    known = better & (greatest > 0) & np.isfinite(gain)
    share[known] = np.minimum(gain[known] / greatest[known], 1.0)
    success[np.arange(len(chosen)), chosen] = np.where(better, share, 0.0)
    finite = better & np.isfinite(gain)
    greatest[finite] = np.maximum(greatest[finite], gain[finite])
    best[better] = least[better]


def divergence(x: Array) -> Array:
    """``D = mean_p ‖x_p − μ‖²`` of each swarm, ``(a,)``."""
    centred = x - x.mean(axis=1, keepdims=True)
    return np.asarray(np.einsum("apd,apd->a", centred, centred) / x.shape[1])

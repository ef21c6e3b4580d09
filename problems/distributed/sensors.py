"""Sensors that locate targets together from the strength of their signals."""

from __future__ import annotations

import numpy as np

from bbopt import checks, seeding
from bbopt.registry import register_problem
from bbopt.space import Array, Float, Params, Space

from .graphs import cubic, grid
from .local import Local

BOUND = 100.0
SIDE = 4
POWER = 100.0
SD = 0.1
LEAST = 1e-12
"""Least squared distance that a signal is computed at."""


@register_problem("distributed/sensors")
class Sensors(Local):
    """Sensors locate targets in space from signal strengths, each knowing its own readings.

    Sensor i at y_i reads φ_it = 100 - 20 log10 |p_t - y_i| + noise of standard deviation 0.1 of
    target t, once, when the problem is built; f_i = Σ_t (φ_it - 100 + 20 log10 |p_t - y_i|)². The
    params are the coordinates of the targets, looked for in [-100, 100]; sensors and targets lie
    in [0, 100]³. An error in the position of one target does not touch the others.

    Best known value: the least squares near the true positions, found numerically; about 0.0081
    times the number of targets with 16 sensors. LAC-MAS reports 0.07, 0.24, 3.61, 17.92 and 60.49
    for 10 to 50 targets of its own, CCSA-DES 0.11, 0.17, 0.25, 0.32 and 0.41. Cost of an
    evaluation: 1 microsecond for 10 targets in an array of 300.

    Source: Chen et al. (2025), *CCSA-DES*, IEEE TEVC (doi 10.1109/TEVC.2025.3525713), as used by
    Qin et al. (2026), arXiv 2605.00691; positions are generated.

    Parameters
    ----------
    targets : int
        Number of targets, >= 1; there are three params for each.
    agents : int
        Number of sensors, >= 4. 16 are linked as a 4 × 4 grid, others as in ``distributed/f1``.
    seed : int
        Seed of positions and readings, >= 0.
    noise : float
        Standard deviation of an evaluation, >= 0.

    Raises
    ------
    UsageError
        If an argument is out of its range.
    """

    def __init__(
        self, targets: int = 10, agents: int = 16, seed: int = 0, noise: float = 0.0
    ) -> None:
        n_targets = checks.integer("targets", targets, 1)
        n = checks.integer("agents", agents, 4)
        seed = checks.integer("seed", seed, 0)
        rng = seeding.stream(seed, "distributed/sensors")
        self.sensors = rng.uniform(0, BOUND, (n, 3))
        self.targets = rng.uniform(0, BOUND, (n_targets, 3))
        squares = ((self.targets - self.sensors[:, None]) ** 2).sum(axis=2)
        readings = POWER - 10 * np.log10(squares) + SD * rng.standard_normal((n, n_targets))
        self._loss = readings - POWER  # -20 log10 of the distance that was read
        super().__init__(
            Space(
                {
                    f"{axis}{t}": Float(-BOUND, BOUND)
                    for t in range(1, n_targets + 1)
                    for axis in "xyz"
                }
            ),
            grid(SIDE) if n == SIDE * SIDE else cubic(n, seed),
            f"Mean squared error with which positions of {n_targets} targets explain what {n} "
            "sensors have read.",
            noise,
        )
        self._estimate = self._least_squares()
        self.optimum = float(self.mean(self._estimate.reshape(1, -1))[0])

    def local(self, x: Array, agent: int) -> Array:
        """Σ_t of the squared error of what the sensor has read."""
        away = x.reshape(len(x), -1, 3) - self.sensors[agent]
        squares = np.einsum("ntk,ntk->nt", away, away)
        np.maximum(squares, LEAST, out=squares)
        np.log10(squares, out=squares)
        squares *= 10
        squares += self._loss[agent]
        total: Array = np.einsum("nt,nt->n", squares, squares)
        return total

    @property
    def optimal_params(self) -> list[Params]:
        """The least-squares estimate near the true positions."""
        return [self._params(self._estimate.ravel())]

    def position_error(self, params: Params) -> float:
        """Root of the mean squared distance of the targets from where ``params`` puts them."""
        away = self._point(params).reshape(-1, 3) - self.targets
        return float(np.sqrt((away**2).sum(axis=1).mean()))

    def _least_squares(self) -> Array:
        """Gauss-Newton for each target from its true position, ``(targets, 3)``.

        Errors are thousandths of the distances, so that a dozen steps leave nothing but rounding;
        a step that would not improve a target is halved.
        """

        def residuals(p: Array) -> tuple[Array, Array]:
            away = p[:, None] - self.sensors  # (t, n, 3)
            squares = (away**2).sum(axis=2)
            slopes = 20 / np.log(10) * away / squares[:, :, None]
            return 10 * np.log10(squares) + self._loss.T, slopes

        p = self.targets.copy()
        for _ in range(20):
            r, slopes = residuals(p)
            gradient = np.einsum("tnk,tn->tk", slopes, r)
            curvature = np.einsum("tnk,tnl->tkl", slopes, slopes)
            step = np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
            worse = np.ones(len(p), dtype=bool)
            for _ in range(10):
                trial = np.clip(p - step, -BOUND, BOUND)
                worse = (residuals(trial)[0] ** 2).sum(axis=1) > (r**2).sum(axis=1)
                step[worse] /= 2
            p = np.where(worse[:, None], p, trial)
        return p

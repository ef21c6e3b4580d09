"""The 24 functions of BBOB: ``bbob/f1`` to ``bbob/f24``, computed by the package ``ioh``.

All are minimised over [−5, 5]^d, in any dimension from 2 on; ``instance`` (>= 1) says where the
minimum lies, how the coordinates are turned and what the least value is. They take ``noise`` and
``noise_kind`` as the functions of ``synthetic/...`` do. What a bench finds on them,
``bbopt report --coco`` writes for cocopp and IOHanalyzer.

Sources: Hansen, Finck, Ros and Auger (2009), *Real-parameter black-box optimization benchmarking
2009: noiseless functions definitions*; de Nobel et al. (2024), *IOHexperimenter*, Evolutionary
Computation 32.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from bbopt import checks
from bbopt.errors import require
from bbopt.registry import register_problem
from bbopt.space import Array

from .noisy_function import NoisyFunction

TITLES = (
    "Sphere",
    "Separable ellipsoid, of condition 1e6",
    "Separable Rastrigin function",
    "Büche and Rastrigin's function, whose ripples are not symmetric",
    "Linear slope, least at a corner",
    "Attractive sector: half of the space is a hundred times steeper",
    "Step ellipsoid, flat but for its steps",
    "Rosenbrock's valley",
    "Rosenbrock's valley, rotated",
    "Ellipsoid, rotated",
    "Discus: one direction is a thousand times more sensitive",
    "Bent cigar: one direction is a thousand times less sensitive",
    "Sharp ridge",
    "Sum of different powers",
    "Rastrigin's function, rotated",
    "Weierstrass's function, rugged and repetitive",
    "Schaffer's function F7",
    "Schaffer's function F7, of condition 1000",
    "Griewank and Rosenbrock's function F8F2",
    "Schwefel's function, whose best minima lie near corners",
    "Gallagher's 101 Gaussian peaks",
    "Gallagher's 21 Gaussian peaks",
    "Katsuura's function, rugged everywhere",
    "Lunacek's two funnels of Rastrigin's function",
)


class Bbob(NoisyFunction):
    """A function of BBOB.

    Parameters
    ----------
    number : int
        1 to 24.
    dim : int
        Number of coordinates, >= 2.
    instance : int
        Which of the function's instances, >= 1.
    noise, noise_kind
        See :class:`~bbopt.problems.noisy_function.NoisyFunction`.

    Raises
    ------
    MissingExtra
        If the package ``ioh`` is not installed.
    """

    def __init__(self, number: int, dim: int, instance: int, noise: float, noise_kind: str) -> None:
        dim = checks.integer("dim", dim, 2)
        instance = checks.integer("instance", instance, 1)
        require("ioh", extra="bbob", needed_by=f"problem 'bbob/f{number}'")
        self._what = number, instance, dim  # ioh's own object cannot be sent to other processes
        minimiser = np.array(_function(*self._what).optimum.x, dtype=float)
        super().__init__([[-5, 5]] * dim, [minimiser], noise, noise_kind)

    def function(self, x: Array) -> Array:
        """What ioh computes."""
        function = _function(*self._what)
        return np.array([function(row) for row in np.asarray(x, dtype=float)])


@lru_cache(maxsize=256)
def _function(number: int, instance: int, dim: int) -> Any:
    import ioh

    return ioh.get_problem(number, instance, dim, ioh.ProblemClass.BBOB)


def _register(number: int, title: str) -> None:
    def build(
        dim: int = 2, instance: int = 1, noise: float = 0.0, noise_kind: str = "gaussian"
    ) -> Bbob:
        return Bbob(number, dim, instance, noise, noise_kind)

    build.__doc__ = f"""{title} (f{number} of BBOB).

    See :mod:`bbopt.problems.bbob`. Source: Hansen, Finck, Ros and Auger (2009), *Real-parameter
    black-box optimization benchmarking 2009: noiseless functions definitions*.

    Cost of an evaluation: 20 microseconds.
    """
    register_problem(f"bbob/f{number}")(build)


for _number, _title in enumerate(TITLES, start=1):
    _register(_number, _title)

"""Scrambled Sobol' sequence: space-filling search without learning (Owen 1998)."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import qmc

from bbopt import seeding
from bbopt.base import Optimizer
from bbopt.budget import Budget
from bbopt.errors import UnsupportedSpec
from bbopt.registry import register_optimizer
from bbopt.space import Array, Categorical
from bbopt.trial import Outcome, Trial

CHUNK = 256


@register_optimizer("sobol")
class Sobol(Optimizer):
    """Proposes the points of a scrambled Sobol' sequence, one coordinate a parameter.

    A categorical's coordinate is cut into equal intervals. Trial ``i`` is always point ``i``
    of the sequence (``i - 1`` where the space's ``initial`` came first), whatever was told.

    Raises
    ------
    UnsupportedSpec
        If there are more parameters than direction numbers (21,201).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if len(self.space) > qmc.Sobol.MAXDIM:
            raise UnsupportedSpec(
                f"optimizer 'sobol' supports at most {qmc.Sobol.MAXDIM} parameters, "
                f"got {len(self.space)}"
            )
        self._chunk: tuple[int, Array] | None = None

    def _ask(self, n: int, left: Budget) -> list[Trial]:
        trials = []
        for _ in range(n):
            unit = iter(self._point(self.next_number - (self.space.initial is not None)))
            params = {name: _from_coordinate(dim, next(unit)) for name, dim in self.space.items()}
            trials.append(self._new_trial(params))
        return trials

    def _point(self, index: int) -> Array:
        start = index - index % CHUNK
        if self._chunk is None or self._chunk[0] != start:
            seed = seeding.stream_seed(self.seed, self.name, worker=self.worker)
            engine = qmc.Sobol(len(self.space), rng=seed)
            if start:
                engine.fast_forward(start)
            self._chunk = (start, engine.random(CHUNK))
        point: Array = self._chunk[1][index - start]
        return point

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        pass  # the sequence does not learn

    def _state(self) -> dict[str, Any]:
        return {}

    def _restore(self, state: dict[str, Any]) -> None:
        pass


def _from_coordinate(dimension: Any, u: float) -> Any:
    if isinstance(dimension, Categorical):
        return dimension.choices[min(int(u * dimension.width), dimension.width - 1)]
    return dimension.decode(np.array([[u]]))[0]

"""BoTorch's log expected improvement over the free rows of a table."""

from __future__ import annotations

import warnings

import numpy as np

import bbopt
from bbopt.base import Optimizer


class TableLogEI(Optimizer):
    """A ``SingleTaskGP`` with its default priors, fitted at each ask; the row of the largest logEI.

    That is BoTorch as one would use it on a table, without the detour of a continuous maximiser
    and the row nearest to it. It needs at least two values; before, rows are drawn at random.
    """

    uses_candidates = True

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self._told: list[tuple[int, float]] = []
        rows = range(len(self.spec.candidates))
        self._row = {self.space.key(self.spec.candidates[i]): i for i in rows}

    def _ask(self, n: int, left: bbopt.Budget) -> list[bbopt.Trial]:
        x = self.spec.candidates.x
        known = [row for row, _ in self._told]
        free = np.setdiff1d(np.arange(len(x)), known)
        rng = self._stream(self.next_number)
        row = int(rng.choice(free)) if len(known) < 2 else self._largest(x, free)
        return [self._new_trial(self.spec.candidates[row])]

    def _largest(self, x: np.ndarray, free: np.ndarray) -> int:
        import torch
        from botorch.acquisition.analytic import LogExpectedImprovement
        from botorch.fit import fit_gpytorch_mll
        from botorch.models import SingleTaskGP
        from gpytorch.mlls import ExactMarginalLogLikelihood

        torch.set_num_threads(1)
        rows, losses = zip(*self._told, strict=True)
        y = -torch.tensor(losses, dtype=torch.double)[:, None]
        y = (y - y.mean()) / y.std().clamp_min(1e-9)
        points = torch.from_numpy(x)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = SingleTaskGP(points[list(rows)], y)
            fit_gpytorch_mll(ExactMarginalLogLikelihood(model.likelihood, model))
            with torch.no_grad():
                scores = LogExpectedImprovement(model, y.max())(points[free][:, None])
        return int(free[int(scores.argmax())])

    def _tell(self, trial: bbopt.Trial, outcome: bbopt.Outcome) -> None:
        if outcome.count:
            self._told.append((self._row[self.space.key(trial.params)], outcome.mean))

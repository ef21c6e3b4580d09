"""What can be predicted of a table at all: a mark beside the methods, and none itself."""

from __future__ import annotations

from functools import cache

import numpy as np
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import KFold, cross_val_predict

import bbopt
from bbopt.base import Optimizer


class TableFit(Optimizer):
    """Takes the rows in the order of what trees predict, best first.

    Every row is predicted from the losses of nine tenths of the table, itself not among them,
    which no method knows. What is beyond this is luck, or learned on the way.
    """

    uses_candidates = True

    def __init__(self, problem: bbopt.Problem, **kwargs) -> None:
        super().__init__(problem.spec, **kwargs)
        self._order = predicted_order(problem)
        self._told: set[tuple] = set()

    def _ask(self, n: int, left: bbopt.Budget) -> list[bbopt.Trial]:
        rows = (self.spec.candidates[row] for row in self._order)
        return [self._new_trial(next(p for p in rows if self.space.key(p) not in self._told))]

    def _tell(self, trial: bbopt.Trial, outcome: bbopt.Outcome) -> None:
        self._told.add(self.space.key(trial.params))


@cache
def predicted_order(problem: bbopt.Problem) -> list[int]:
    """Rows of a table, the best prediction first."""
    rows = problem.spec.candidates
    losses = np.array([problem.truth(params) for params in rows]) * problem.spec.sign
    trees = ExtraTreesRegressor(200, min_samples_leaf=2, random_state=0)
    folds = KFold(10, shuffle=True, random_state=0)
    return np.argsort(cross_val_predict(trees, rows.x, losses, cv=folds), kind="stable").tolist()

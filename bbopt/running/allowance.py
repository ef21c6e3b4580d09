"""What a run may still spend: on its search, and once that is over on confirming."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from bbopt.base import Optimizer, Problem
from bbopt.budget import Budget, Meter
from bbopt.errors import UsageError
from bbopt.running.account import Account
from bbopt.running.language import MODEL_AXES, Books
from bbopt.running.options import Options
from bbopt.trial import NO_USAGE

FRUITLESS = 10
"""Trials after which a budget must have begun to shrink, where no model is asked that could."""


class Allowance:
    """The budget of a run, less what was spent, what is open and what is held back to confirm.

    Parameters
    ----------
    problem, optimizer : Problem, Optimizer
        Who evaluates and who proposes: whether they ask language models.
    options : Options
        Holds the budget, and the share that confirms.
    account : Account
        What was spent.
    books : Books
        What language models took.
    """

    def __init__(
        self,
        problem: Problem,
        optimizer: Optimizer,
        options: Options,
        account: Account,
        books: Books,
    ) -> None:
        self.n_confirm = options.n_confirm(problem.spec, optimizer)
        """Evaluations held back."""
        self.search = options.search_budget(self.n_confirm)
        """The budget without them."""
        self.is_confirming = False
        self.open_evaluations = 0
        """Of trials asked and not told."""
        self._problem, self._optimizer, self._options = problem, optimizer, options
        self._account, self._books = account, books

    def goals(self) -> dict[str, Any]:
        """What decides when the search is over, as JSON values."""
        o = self._options
        return {
            "budget": o.budget.to_json(),
            "confirm": self.n_confirm,
            "target": o.target,
            "patience": o.patience,
            "max_failures": o.max_failures,
        }

    def left(self, meter: Meter | None = None) -> Budget:
        """What remains for the search, trials asked and not told counted as spent.

        Once it confirms: also what was held back for that. ``meter`` says what was spent, if
        that is more than what is accounted for by now.
        """
        if meter is None:
            self._account.clock()
            meter = self._account.meter
        own = self._optimizer.usage
        if self._books.client is None or (self._problem.needs_llm and meter.usage == NO_USAGE):
            own = own.at_least(self._books.usage)  # of what nobody here says
        budget = self._options.budget if self.is_confirming else self.search
        left = meter.left(budget, open_evaluations=self.open_evaluations, proposals=own)
        if self.is_confirming or not self.n_confirm:
            return left
        each = self._account.each()
        kept = {axis: math.ceil(self.n_confirm * each[axis]) for axis in each}
        rest = {axis: getattr(left, axis) for axis in each}
        held = {axis: max(n - kept[axis], 0) for axis, n in rest.items() if n is not None}
        return replace(left, **held)

    def spent_axis(self, left: Budget) -> str | None:
        """The axis of the budget that is used up, among those that evaluations spend."""
        axes = ["evaluations", "cost", "seconds"]
        if self._optimizer.evaluations_ask:
            axes += ["llm_calls", "tokens"]
        for axis in axes:
            limit = getattr(left, axis)
            if limit is not None and limit <= 0:
                return axis
        return None

    def check_that_it_ends(self, left: Budget) -> None:
        """Refuse a budget of which nothing is spent, where no model is there to spend it."""
        o = self._options
        limits = o.budget.to_json()
        can_ask = self._optimizer.llm is not None or self._problem.needs_llm
        if can_ask or not set(limits) <= {*MODEL_AXES} or o.patience is not None:
            return
        is_untouched = all(getattr(left, axis) == limit for axis, limit in limits.items())
        if is_untouched and len(self._account.evaluations) >= FRUITLESS:
            raise UsageError(
                f"budget {' and '.join(limits)}: {FRUITLESS} trials spent nothing of it, and no "
                "language model is there to spend it: the run would never end; give a model "
                "(llm, --llm), or limit evaluations or seconds, too"
            )

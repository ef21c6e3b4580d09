"""Random search: every trial an independent uniform draw (Bergstra and Bengio 2012)."""

from __future__ import annotations

from typing import Any

from bbopt.base import Optimizer
from bbopt.budget import Budget
from bbopt.registry import register_optimizer
from bbopt.trial import Outcome, Trial


@register_optimizer("random")
class Random(Optimizer):
    """Draws every trial independently and uniformly (log-uniformly where ``log``).

    Each trial has its own stream, so that the draws do not depend on how many are asked for
    at a time or on what came of the others.
    """

    def _ask(self, n: int, left: Budget) -> list[Trial]:
        return [
            self._new_trial(self.space.sample(self._stream(self.next_number))[0]) for _ in range(n)
        ]

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        pass  # the archive of the base class is all that random search needs

    def _state(self) -> dict[str, Any]:
        return {}

    def _restore(self, state: dict[str, Any]) -> None:
        pass

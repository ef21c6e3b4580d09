"""A method of one's own: two short functions, and the whole loop, command and tests come with it.

    python examples/own_optimizer.py

The base class numbers trials, turns maximisation round, keeps what was observed and replays.
The contract that every method here keeps is a test class to inherit (it needs pytest and
hypothesis):

    class TestHillClimb(bbopt.testing.OptimizerContract):
        @pytest.fixture
        def make(self):
            return functools.partial(bbopt.optimizer, "hill-climb")
"""

from dataclasses import dataclass

import bbopt
from bbopt.budget import Budget
from bbopt.registry import register_optimizer
from bbopt.settings import setting


@dataclass(frozen=True)
class HillClimbSettings:
    """Settings of the hill climber."""

    step: float = setting(0.1, "Standard deviation of a step, in the unit cube.", low=0, high=1)


@register_optimizer("hill-climb")
class HillClimb(bbopt.Optimizer):
    """Perturbs the best params known."""

    Settings = HillClimbSettings

    def _ask(self, n: int, left: Budget) -> list[bbopt.Trial]:
        return [self._new_trial(self._propose(self.next_number)) for _ in range(n)]

    def _propose(self, number: int) -> dict:
        rng, best = self._stream(number), self._best()
        if best is None:
            return self.space.sample(rng)[0]
        x = self.space.to_unit(best.params)
        return self.space.from_unit(x + self.settings.step * rng.standard_normal(x.shape))[0]

    def _tell(self, trial: bbopt.Trial, outcome: bbopt.Outcome) -> None:
        pass  # the archive of the base class is all that it needs


result = bbopt.run("synthetic/branin", "hill-climb", 200, seed=0)
print(f"found {result.true_value:.4f}, the optimum is 0.3979")

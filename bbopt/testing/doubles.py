"""Problems that misbehave on purpose, to try optimizers, loops and your own code on.

They wrap a problem and compose: ``FlakyProblem(NoisyProblem(problem, sd=0.1), {3: "raise"})``.
"""

from bbopt.wrappers import Flaky as FlakyProblem
from bbopt.wrappers import Noisy as NoisyProblem
from bbopt.wrappers import Shifted as ShiftedProblem
from bbopt.wrappers import Slow as SlowProblem

__all__ = ["FlakyProblem", "NoisyProblem", "ShiftedProblem", "SlowProblem"]

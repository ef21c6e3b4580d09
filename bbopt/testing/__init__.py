"""For tests of optimizers and problems, ours and yours (needs pytest and hypothesis)."""

import pytest

_MODULES = ("asking", "driving", "interleaving", "problems", "repeating", "telling")
pytest.register_assert_rewrite(*(f"bbopt.testing.{name}" for name in _MODULES))

from bbopt.testing.doubles import (  # noqa: E402
    FlakyProblem,
    NoisyProblem,
    ShiftedProblem,
    SlowProblem,
)
from bbopt.testing.llm import HostileServer, ScriptedLLM  # noqa: E402
from bbopt.testing.optimizers import OptimizerContract  # noqa: E402
from bbopt.testing.problems import ProblemContract  # noqa: E402
from bbopt.testing.spaces import SPACES  # noqa: E402

__all__ = [
    "SPACES",
    "FlakyProblem",
    "HostileServer",
    "NoisyProblem",
    "OptimizerContract",
    "ProblemContract",
    "ScriptedLLM",
    "ShiftedProblem",
    "SlowProblem",
]

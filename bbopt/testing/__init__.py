"""For tests of optimizers and problems, ours and yours (needs pytest)."""

import pytest

pytest.register_assert_rewrite("bbopt.testing.problems")

from bbopt.testing.problems import ProblemContract  # noqa: E402

__all__ = ["ProblemContract"]

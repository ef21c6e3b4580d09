"""The contract that every optimizer keeps, as a test class to inherit."""

from __future__ import annotations

from bbopt.testing.asking import AskingContract
from bbopt.testing.interleaving import InterleavingContract
from bbopt.testing.repeating import RepeatingContract
from bbopt.testing.telling import TellingContract


class OptimizerContract(AskingContract, TellingContract, RepeatingContract, InterleavingContract):
    """What every optimizer must do, checked for the one that the fixture ``make`` builds.

    Subclass it in a test module::

        class TestMyOptimizer(OptimizerContract):
            @pytest.fixture
            def make(self):
                return lambda spec, **kwargs: bbopt.optimizer("mine", spec, **kwargs)

    The class attributes of what is built (``kinds``, ``requires``, ``uses_candidates``) decide
    which spaces and specs it gets. A test asks for about ``n_trials`` trials: let ``make`` set
    what makes the method learn within so many, and lower ``n_trials`` and ``n_examples`` where
    a proposal takes seconds. Everything is drawn from fixed seeds, so that a test that passes
    once passes always.
    """

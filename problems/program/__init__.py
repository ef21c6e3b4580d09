"""Programs as candidates, run in the sandbox: ``program/bin-packing``, ...

Nobody vouches for a candidate. Its functions compute in :class:`bbopt.sandbox.Sandbox`, and what
they return is checked and scored outside of it (:mod:`bbopt.problems.program.scored`). Each
problem starts from a plain program that can be beaten, and edits it at random where there is no
language model.
"""

from .bin_packing import BinPacking
from .cfr import RegretRule
from .circle_packing import CirclePacking

__all__ = ["BinPacking", "CirclePacking", "RegretRule"]

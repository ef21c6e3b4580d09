"""Prompts whose quality is known, with a simulated proposer: ``text/staircase``, ...

What a prompt is worth is read from its text alone, and a simulated proposer stands in for a
language model (:mod:`bbopt.problems.text.simulated`), so that search loops can be compared at
known conditions; :mod:`bbopt.bench.loopback` serves both over HTTP. A real model may write the
prompts as well.
"""

from .hints import Hints
from .rulebook import Paraphrase, Rulebook
from .staircase import Staircase

__all__ = ["Hints", "Paraphrase", "Rulebook", "Staircase"]

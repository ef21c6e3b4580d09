"""The examples in the problems' docstrings.

pytest collects doctests by path, and the problems refuse to be imported under any name but the
installed one, so they are run from here.
"""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import bbopt.problems

MODULES = [m.name for m in pkgutil.walk_packages(bbopt.problems.__path__, "bbopt.problems.")]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_the_docstrings_hold(name: str) -> None:
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0

"""Checks of arguments, and the words in which they refuse."""

import math
from fractions import Fraction

import numpy as np
import pytest

from bbopt import checks
from bbopt.errors import UsageError


@pytest.mark.parametrize("value", [3, 3.0, np.int8(3), np.uint64(3), np.float64(3)])
def test_whole_numbers_become_plain_integers(value):
    assert checks.integer("n", value, 0, 5) == 3
    assert type(checks.integer("n", value, 0, 5)) is int


@pytest.mark.parametrize(
    "value", [2.5, "3", None, True, np.bool_(True), math.nan, math.inf, [3], 3 + 0j]
)
def test_what_is_no_whole_number_is_refused(value):
    with pytest.raises(UsageError, match=r"^n must be an integer, got "):
        checks.integer("n", value)


@pytest.mark.parametrize("value", [3, 3.0, np.int8(3), np.float32(3), Fraction(3)])
def test_numbers_become_plain_floats(value):
    assert checks.number("r", value, 0, 5) == 3.0
    assert type(checks.number("r", value, 0, 5)) is float


@pytest.mark.parametrize(
    "value", ["3", None, True, np.bool_(True), math.nan, -math.inf, [3], 1j, 10**400]
)
def test_what_is_no_finite_number_is_refused(value):
    with pytest.raises(UsageError, match=r"^r must be a finite number, got "):
        checks.number("r", value)


@pytest.mark.parametrize(
    ("low", "high", "allowed"),
    [(0, 1, r" in \[0, 1\]"), (7, None, " >= 7"), (None, 1, " <= 1")],
)
def test_the_message_says_what_is_allowed(low, high, allowed):
    with pytest.raises(UsageError, match=f"^n must be an integer{allowed}, got 5$"):
        checks.integer("n", 5, low, high)
    with pytest.raises(UsageError, match=f"^n must be a finite number{allowed}, got 5$"):
        checks.number("n", 5, low, high)


def test_the_ends_of_a_range_are_allowed():
    assert checks.integer("n", 0, 0, 0) == 0
    assert checks.number("r", 1, 0, 1) == 1.0


def test_the_allowed_item_is_returned():
    assert checks.one_of("a", "x", ("x", "y")) == "x"
    assert checks.one_of("a", np.str_("x"), ("x", "y")) == "x"
    assert type(checks.one_of("a", 1.0, (1, 2))) is int
    assert checks.one_of("a", np.bool_(True), (True, False)) is True
    assert checks.one_of("a", None, (None, 1)) is None


@pytest.mark.parametrize(
    ("value", "allowed"),
    [(1, (True, False)), (0.0, (True, False)), (True, (0, 1)), ("z", ("x", "y")), ([], ("x",))],
)
def test_what_is_not_among_the_allowed_is_refused(value, allowed):
    with pytest.raises(UsageError, match=r"^a must be one of .*, got "):
        checks.one_of("a", value, allowed)

from __future__ import annotations

import ast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbopt.problems.program.cfr import SEED_PROGRAM
from bbopt.problems.program.poker import poker
from bbopt.problems.program.regret_rules import BASELINES, exploitabilities
from bbopt.problems.program.rule_edits import MAX_NODES, edited

KUHN, LEDUC = poker(), poker(3, 2, (2.0, 4.0), 2)
CFR_PLUS = """
import numpy as np

def rule(regrets, instant, t):
    regrets = np.maximum(regrets + instant, 0.0)
    return regrets, regrets, t
"""


def played(program, game, iterations):
    """Exploitability of a program run right here, infinite where it fails."""
    names = {}
    exec(program, names)
    with np.errstate(all="ignore"):
        try:
            (found,) = exploitabilities(game, checked(names["rule"]), [iterations])
        except (ValueError, TypeError, OverflowError, ZeroDivisionError):
            return np.inf
    return found


def checked(rule):
    def same_or_error(regrets, instant, t):
        new, policy, weight = rule(regrets, instant, t)
        if not (np.isfinite(new).all() and (policy >= 0).all() and np.isfinite(policy).all()):
            raise ValueError
        return new + 0 * regrets, policy + 0 * regrets, float(weight)

    return same_or_error


@given(st.integers(0, 2**32 - 1), st.sampled_from([SEED_PROGRAM, CFR_PLUS]))
def test_however_often_a_program_is_edited_it_stays_a_program_of_limited_size(seed, program):
    rng = np.random.default_rng(seed)
    for _ in range(10):
        program, before = edited(program, rng), program
        assert program != before
    rule = ast.parse(program).body[-1]
    assert rule.name == "rule"
    largest = max(sum(1 for _ in ast.walk(statement)) for statement in rule.body)
    # a word adds at most 3 * 40 nodes to a formula that may still grow
    assert largest < 5 * MAX_NODES
    compile(program, "<program>", "exec")


def test_the_same_draws_give_the_same_edit():
    one, other = (edited(SEED_PROGRAM, np.random.default_rng(3)) for _ in range(2))
    assert one == other


def test_what_is_returned_without_a_name_is_edited_too():
    rng = np.random.default_rng(0)
    returned = {edited(CFR_PLUS, rng).splitlines()[-1] for _ in range(200)}
    assert any("t **" in line for line in returned)
    assert all(line.startswith("    return (regrets, ") for line in returned)


@pytest.mark.parametrize(
    "program",
    [
        "",
        "def rule(",
        "rule = 3",
        "def rule(regrets, instant, t): pass",
        "def other(regrets, instant, t):\n    regrets = regrets + instant",
        "x = '\0'",
        "def rule(r, i, t):\n    r = " + "-" * 5000 + "r",
    ],
    ids=["empty", "broken", "no function", "no formula", "another function", "zero", "deep"],
)
def test_a_program_without_formulas_is_not_edited(program):
    assert edited(program, np.random.default_rng(0)) is None


def test_no_single_edit_of_plain_cfr_is_as_good_as_cfr_plus():
    rng = np.random.default_rng(0)
    programs = {edited(SEED_PROGRAM, rng) for _ in range(150)}
    best = min(played(program, LEDUC, 100) for program in programs)
    (plain,), (plus,) = (exploitabilities(LEDUC, BASELINES[r], [100]) for r in ("cfr", "cfr+"))
    assert plus < best < plain


def test_edits_climb_from_plain_cfr_beyond_cfr_plus():
    rng, program = np.random.default_rng(1), SEED_PROGRAM
    value = played(program, KUHN, 100)
    for _ in range(200):
        child = edited(program, rng)
        reached = played(child, KUHN, 100)
        if reached <= value:
            program, value = child, reached
    assert value < exploitabilities(KUHN, BASELINES["cfr+"], [100])[0]

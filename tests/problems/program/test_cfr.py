from __future__ import annotations

import math
import re

import numpy as np
import pytest

import bbopt
from bbopt.errors import UsageError
from bbopt.problems.program.cfr import SEED_PROGRAM, RegretRule
from bbopt.problems.program.poker import poker
from bbopt.problems.program.regret_rules import BASELINES, exploitabilities
from bbopt.testing import ProblemContract

KUHN, LEDUC = poker(), poker(3, 2, (2.0, 4.0), 2)
WORST = (math.log10(KUHN.stakes) + math.log10(LEDUC.stakes)) / 2

PREDICTIVE = """
import numpy as np

def rule(regrets, instant, t):
    regrets = np.maximum(regrets + instant, 0.0)
    return regrets, np.maximum(regrets + instant, 0.0), t ** 2
"""


def built(**arguments):
    # whatever the host can confine: the levels have tests of their own
    return RegretRule(sandbox="limits", **arguments)


def evaluated(problem, program, repeats=1):
    trial = bbopt.Trial(0, {"program": program}, repeats)
    return problem.evaluate(trial, np.random.default_rng(0))


class TestRegretRule(ProblemContract):
    n_points = 2

    @pytest.fixture
    def problem(self):
        return built(iterations=10)


def test_it_is_registered():
    assert isinstance(bbopt.problem("program/cfr", iterations=20, sandbox="limits"), RegretRule)


@pytest.mark.parametrize(("program", "name"), [(SEED_PROGRAM, "cfr"), (PREDICTIVE, "pcfr+")])
def test_programs_reach_what_the_same_rule_reaches_outside_of_the_sandbox(program, name):
    outcome = evaluated(built(iterations=60), program)
    reached = [exploitabilities(game, BASELINES[name], [60])[0] for game in (KUHN, LEDUC)]
    expected = np.log10(np.maximum(reached, 60**-2)).mean()
    assert outcome.mean == pytest.approx(expected, rel=1e-12)
    assert "leduc: exploitability" in outcome.feedback[0]
    assert f"{reached[1]:.3g} after 60" in outcome.feedback[0]


def test_a_game_solved_beyond_one_over_the_iterations_squared_counts_no_more():
    problem = built(games=["kuhn"])
    assert exploitabilities(KUHN, BASELINES["pcfr+"], [100])[0] < 1e-4
    assert evaluated(problem, PREDICTIVE).mean == problem.spec.value_range[0] == -4


def test_a_better_rule_is_better_on_the_games_that_are_never_shown():
    problem = built(iterations=50)
    plain, predictive = (
        problem.test_value(bbopt.Best({"program": program}, 0.0, None, 1))
        for program in (SEED_PROGRAM, PREDICTIVE)
    )
    assert predictive < plain - 0.5
    assert plain != evaluated(problem, SEED_PROGRAM).mean


def test_a_policy_known_by_heart_is_lost_on_the_games_that_are_never_shown():
    """It plays one policy where the shape is that of the first player's shown game."""
    by_heart = "def rule(regrets, instant, t):\n    return regrets, policies[len(regrets)], 1.0\n"
    policies = {6: [[0, 1, 1]] * 6, 468: [[0, 1, 1]] * 468}
    problem, program = built(iterations=10), f"policies = {policies}\n{by_heart}"
    assert evaluated(problem, program).mean < problem.worst
    assert problem.test_value(bbopt.Best({"program": program}, 0, None, 1)) == problem.worst


FAULTS = {
    "def rule(": "SyntaxError",
    "x = 1": "must define a function 'rule'",
    "def rule(regrets, instant, t): return 1 / 0": "ZeroDivisionError",
    "def rule(regrets, instant, t): return regrets": r"must return three things .* got an array",
    "def rule(regrets, instant, t): return regrets, regrets": "must return three things",
    "def rule(regrets, instant, t): return regrets[:2], regrets, 1": r"regrets at t=1 must be an "
    r"array of numbers of shape \(6, 3\), got an array of shape \(2, 3\)",
    "def rule(regrets, instant, t): return regrets * float('nan'), regrets, 1": "got nan",
    "def rule(regrets, instant, t): return regrets - 1e200, regrets, 1": r"got -1e\+200",
    "def rule(regrets, instant, t): return regrets, regrets - 1, 1": r"policy at t=1 must be in "
    r"\[0, 1e\+100\], got -1",
    "def rule(regrets, instant, t): return regrets, [['a']], 1": "policy at t=1 must be an array",
    "def rule(regrets, instant, t): return regrets, abs(regrets), -1": "weight at t=1 must be in",
    "def rule(regrets, instant, t): return regrets, abs(regrets), 10 ** 400": "must be a number",
    "def rule(regrets, instant, t): return regrets, abs(regrets), [1, 2]": r"a number, got \[1, 2",
    "import os\ndef rule(regrets, instant, t): os._exit(0)": "",
}


@pytest.mark.parametrize("program", FAULTS)
def test_a_program_that_fails_gets_the_worst_value_and_the_reason(program):
    problem = built()
    outcome = evaluated(problem, program, repeats=2)
    assert outcome.values == (problem.spec.value_range[1],) * 2
    assert outcome.mean == pytest.approx(WORST)
    assert not outcome.failed
    for feedback in outcome.feedback:
        assert re.search(FAULTS[program], feedback)


def test_the_worst_value_is_worse_than_any_policy():
    always_fold = (
        "def rule(regrets, instant, t):\n"
        "    policy = 0 * regrets\n"
        "    policy[:, 0] = 1\n"
        "    return regrets, policy, 1.0\n"
    )
    assert evaluated(built(iterations=10), always_fold).mean < WORST


def test_proposals_are_edits_and_broken_programs_give_way_to_edits_of_the_first_one():
    problem = built()
    for program in (SEED_PROGRAM, "def rule("):
        proposed = problem.propose({"program": program}, ["whatever"], np.random.default_rng(1))
        assert "np.maximum" in proposed["program"]
        assert proposed["program"] not in (program, SEED_PROGRAM)
        again = problem.propose({"program": program}, [], np.random.default_rng(1))
        assert again == proposed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"games": "kuhn"}, "games must be a list of different games"),
        ({"games": []}, "games must be a list of different games"),
        ({"games": ["kuhn", "kuhn"]}, "games must be a list of different games"),
        ({"games": ["chess"]}, "games: a game must be one of 'kuhn', 'leduc', got 'chess'"),
        ({"iterations": 9}, "iterations must be an integer >= 10, got 9"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        built(**arguments)

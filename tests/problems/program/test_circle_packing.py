"""``program/circle-packing``."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import bbopt
from bbopt.errors import UsageError
from bbopt.problems.program.circle_packing import GRID, CirclePacking, sum_of_radii
from bbopt.sandbox import ProgramError
from bbopt.testing import ProblemContract


def built(**arguments):
    # whatever the host can confine: the levels have tests of their own
    return CirclePacking(**{"sandbox": "limits", **arguments})


def evaluated(problem, program):
    return problem.evaluate(bbopt.Trial(0, {"program": program}), np.random.default_rng(0))


def grid(radius=0.1):
    """Circles around the points of a grid of 6 x 5, 1/6 and 1/5 apart."""
    i = np.arange(26)
    centres = [(i % 6 + 0.5) / 6, (i // 6 + 0.5) / 5]
    return np.column_stack([*centres, np.full(26, radius)])


def changed(row, column, value, radius=0.08):
    circles = grid(radius)
    circles[row, column] = value
    return circles


class TestCirclePacking(ProblemContract):
    n_points = 2

    @pytest.fixture
    def problem(self):
        return built()


# --- the checker ---------------------------------------------------------------------------


def test_the_value_is_the_sum_of_the_radii():
    circles = grid(0.05)
    circles[:, 2] += np.linspace(0, 0.03, 26)
    assert sum_of_radii(circles) == pytest.approx(26 * 0.065, rel=1e-12)


def test_circles_that_touch_count_in_full():
    assert sum_of_radii(grid(1 / 12)) == pytest.approx(26 / 12, rel=1e-12)


def test_a_small_violation_is_taken_from_every_radius():
    """With radii of 1/12 + 1e-10 neighbours overlap by 2e-10 and the outer ones stick out."""
    value = sum_of_radii(grid(1 / 12 + 1e-10))
    assert value <= 26 / 12
    assert value == pytest.approx(26 * (1 / 12 - 1e-10), abs=1e-12)


def test_many_circles_in_one_place_gain_nothing_from_the_tolerance():
    circles = np.full((26, 3), [0.5, 0.5, 4e-10])
    assert sum_of_radii(circles) == 0.0


def test_points_are_circles_of_radius_nought():
    assert sum_of_radii(grid(0.0)) == 0.0


def test_whole_numbers_are_numbers():
    circles = np.zeros((26, 3), dtype=np.int64)
    circles[0] = 1, 1, 0
    assert sum_of_radii(circles) == 0.0


HUGE = np.full((26, 3), 1e308)
NO_PACKINGS = {
    "an overlap": (changed(7, 2, 0.1), r"circles 6 and 7 overlap by 0.0133, and \d+ more"),
    "a smaller overlap": (grid(1 / 12 + 1e-9), "overlap by 2e-09"),
    "one that sticks out": (changed(0, 0, 0.07), "circle 0 sticks out by 0.01"),
    "one inside another": (np.vstack([grid(0.01)[:-1], [1 / 12, 0.1, 0.001]]), "overlap"),
    "a duplicate": (np.vstack([grid(0.08)[:-1], grid(0.08)[:1]]), "circles 0 and 25 overlap"),
    "all in one place": (np.full((26, 3), [0.5, 0.5, 0.5]), "overlap by 1, and 324 more"),
    "a negative radius": (changed(3, 2, -0.01), "got -0.01"),
    "a negative radius that makes room": (changed(3, 2, -1.0), "got -1"),
    "a centre outside": (changed(3, 0, 1.5, 0.01), "got 1.5"),
    "NaN": (changed(3, 2, math.nan), "got nan"),
    "a NaN place": (changed(3, 0, math.nan), "got nan"),
    "infinity": (changed(3, 2, math.inf), "got inf"),
    "numbers whose differences are NaN": (HUGE, r"got 1e\+308"),
    "one too few": (grid(0.01)[:25], r"shape \(25, 3\)"),
    "one too many": (np.vstack([grid(0.01), [0.5, 0.99, 0.001]]), r"shape \(27, 3\)"),
    "radii alone": (np.full(26, 0.1), r"shape \(26,\)"),
    "a stack of packings": (grid(0.01)[None], r"shape \(1, 26, 3\)"),
    "a list": (grid(0.01).tolist(), "no array"),
    "nothing": (None, "no array"),
    "a sum": (2.7, "no array"),
    "an object": ({"sum": 2.7}, "no array"),
}


@pytest.mark.parametrize("case", NO_PACKINGS)
def test_what_is_no_packing_is_refused_with_the_reason(case):
    circles, reason = NO_PACKINGS[case]
    with pytest.raises(ProgramError, match=reason):
        sum_of_radii(circles)


def test_the_value_is_that_of_circles_that_do_not_overlap_at_all():
    """Distances and sides one by one, for packings that violate by about the tolerance."""
    rng, refused = np.random.default_rng(0), 0
    for _ in range(40):
        circles = grid(1 / 12 - 2e-10)
        circles[:, :2] += rng.uniform(-8e-10, 8e-10, (26, 2))
        out = max(max(r - x, r - y, x + r - 1, y + r - 1) for x, y, r in circles)
        pairs = [(a, b) for i, a in enumerate(circles) for b in circles[:i]]
        overlap = max(a[2] + b[2] - math.dist(a[:2], b[:2]) for a, b in pairs)
        if max(out, overlap) <= 1e-9:
            shrunk = circles[:, 2] - max(out, overlap, 0.0)
            assert sum_of_radii(circles) == pytest.approx(shrunk.sum(), abs=1e-13)
        else:
            refused += 1
            with pytest.raises(ProgramError):
                sum_of_radii(circles)
    assert 0 < refused < 40


# --- programs ------------------------------------------------------------------------------

PROGRAMS = {
    "def pack(": "SyntaxError",
    "x = 1": "must define a function 'pack'",
    "def pack(): raise ValueError('too hard')": "ValueError: too hard",
    "def pack(n): return n": "TypeError",
    "def pack(): return 2.7": "no array",
    "import os\ndef pack(): os._exit(0)": "ended the interpreter",
    "import numpy as np\ndef pack(): return np.full((26, 3), np.nan)": "got nan",
    "import numpy as np\ndef pack(): return np.zeros((26, 3), dtype=complex)": "TypeError",
    "import numpy as np\ndef pack(): return np.zeros((26, 3), dtype=object)": "TypeError",
    "import numpy as np\ndef pack(): return np.zeros((10**6, 3))": "bytes",
    # an array that says of itself what one likes to hear
    "import numpy as np\n"
    "class Liar(np.ndarray):\n"
    "    def __le__(self, other): return np.ones(self.shape, bool)\n"
    "    __ge__ = __lt__ = __gt__ = __eq__ = __ne__ = __le__\n"
    "    def sum(self, *a, **k): return 2.7\n"
    "def pack(): return np.full((26, 3), 0.5).view(Liar)\n": "overlap by 1",
    # a number that is smaller than itself
    "class Liar(float):\n"
    "    def __le__(self, other): return True\n"
    "    __ge__ = __lt__ = __gt__ = __le__\n"
    "def pack(): return [[Liar(0.5)] * 3] * 26\n": "no array",
    # the scorer is elsewhere
    "import numpy as np, sys\n"
    "np.hypot = lambda x, y: 10.0 + 0 * x\n"
    "sys.modules['bbopt'] = None\n"
    "def pack(): return np.full((26, 3), 0.5)\n": "overlap by 1",
}


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_that_fails_or_lies_gets_nought_and_the_reason(program):
    outcome = evaluated(built(), program)
    assert outcome.values == (0.0,)
    assert not outcome.failed
    assert "The program failed" in outcome.feedback[0]
    assert re.search(PROGRAMS[program], outcome.feedback[0])


def test_a_program_that_takes_too_long_gets_nought():
    outcome = evaluated(built(seconds=0.5), "def pack():\n    while True: pass\n")
    assert outcome.values == (0.0,)
    assert "ran longer than 0.5 s" in outcome.feedback[0]


def test_the_first_program_is_a_grid_of_equal_circles_and_feedback_tells_of_it():
    outcome = evaluated(built(), GRID)
    assert outcome.mean == pytest.approx(26 / 12, rel=1e-9)
    assert "2.166667; radii from 0.0833 to 0.0833" in outcome.feedback[0]
    printing = GRID.replace("def pack():", "def pack():\n    print('2.7' * 10**6)")
    assert evaluated(built(), printing).values == outcome.values


def test_the_seconds_are_told_to_whoever_writes_the_program():
    text = built(seconds=3).spec.space["program"]
    assert "3 s" in text.description
    assert "(26, 3)" in text.description


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"seconds": 0}, "seconds must be"), ({"sandbox": "none"}, "level must be one of")],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        built(**arguments)


# --- search --------------------------------------------------------------------------------


def test_most_edits_run_and_some_improve():
    problem, values = built(), []
    for i in range(20):
        params = problem.spec.space.initial
        for step in range(1 + i % 3):
            params = problem.propose(params, [], bbopt.seeding.stream(i, "test", number=step))
        values.append(evaluated(problem, params["program"]).mean)
    assert np.mean(np.array(values) > 0) >= 0.7
    assert max(values) > 26 / 12 + 0.01


def test_a_program_beyond_repair_gives_way_to_an_edit_of_the_grid():
    proposed = built().propose({"program": "def"}, [], np.random.default_rng(1))["program"]
    assert proposed != GRID
    assert "def largest_radii" in proposed


def test_a_run_ends_where_its_target_is_reached():
    result = bbopt.run(built(), "polca", 200, seed=0, target=2.18)
    assert result.stop_reason == "target"
    assert result.best.value >= 2.18
    assert 1 < result.spent.evaluations < 200

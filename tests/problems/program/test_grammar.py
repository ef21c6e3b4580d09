"""Random edits of programs."""

from __future__ import annotations

import ast

import numpy as np
import pytest

from bbopt.problems.program.grammar import Grammar, edited

PROGRAM = '''\
import numpy as np


def other(x):
    return 7.0 * x


def f(x):
    """What it is worth: 1.0 + 2.0."""
    y = x + 3.0
    return np.abs(y) - 4
'''
SUMS = Grammar(atoms=("x",), forms=("np.sin(2.0 * _)", "(_ <= 5.0)"))
LINES = Grammar(statements=("y = y * 0.5\n", "for i in range(3):\n    y = y + i\n"))


def edits(grammar, n=200, program=PROGRAM, function="f"):
    return [edited(program, function, grammar, np.random.default_rng(i)) for i in range(n)]


def parts(program):
    """The functions of a program, by name."""
    return {n.name: n for n in ast.parse(program).body if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize("grammar", [SUMS, LINES, Grammar()])
def test_edits_change_one_function_and_neither_its_docstring_nor_its_name(grammar):
    before = parts(PROGRAM)
    for program in edits(grammar):
        after = parts(program)
        assert ast.dump(after["other"]) == ast.dump(before["other"])
        assert ast.get_docstring(after["f"]) == ast.get_docstring(before["f"])


def test_edits_of_formulas_run_and_differ():
    programs = edits(SUMS)
    assert len(set(programs)) > 150
    for program in programs:
        names: dict[str, object] = {}
        exec(program, names)
        with np.errstate(all="ignore"):
            assert np.ndim(names["f"](2.0)) == 0


def test_the_same_stream_gives_the_same_edit():
    assert edits(SUMS, 20) == edits(SUMS, 20)


def test_all_kinds_of_edits_are_made():
    programs = edits(SUMS) + edits(LINES)
    assert any("np.sin" in program for program in programs)
    assert any("x <= " in program for program in programs)
    assert any("for i in range" in program for program in programs)
    assert any("y = x\n" in program for program in programs), "a formula is cut"
    tuned = [p for p in edits(Grammar()) if "np.abs(y) - 4" not in p and "x + 3.0" in p]
    assert tuned
    assert all(isinstance(_subtracted(program), int) for program in tuned), "integers stay so"


def _subtracted(program):
    formula = parts(program)["f"].body[-1].value
    return ast.literal_eval(formula.right)


def test_statements_are_taken_away_but_not_the_first_and_the_last_one():
    long = "def f(x):\n    y = x\n    y = y + 1\n    y = y + 2\n    return y\n"
    for program in edits(LINES, program=long):
        body = parts(program)["f"].body
        assert ast.unparse(body[0]).startswith("y = x")
        assert isinstance(body[-1], ast.Return)
    assert any("y + 1" not in p and "0.5" not in p for p in edits(LINES, program=long))


def test_formulas_do_not_grow_without_end():
    program, rng = PROGRAM, np.random.default_rng(0)
    for _ in range(300):
        program = edited(program, "f", SUMS, rng)
    nodes = sum(isinstance(node, ast.expr) for node in ast.walk(parts(program)["f"]))
    assert nodes < 600


@pytest.mark.parametrize(
    ("program", "grammar"),
    [
        ("def f(x:", SUMS),
        ("f = abs", SUMS),
        ("def g(x): return 1.0", SUMS),
        ("def f(x): pass", SUMS),
        ("def f(x): return x", Grammar()),
        ("x = '\0'", SUMS),
        ("def f(x): return " + "-" * 100_000 + "x", SUMS),
        ("", LINES),
    ],
)
def test_what_cannot_be_edited_gives_none(program, grammar):
    assert edited(program, "f", grammar, np.random.default_rng(0)) is None

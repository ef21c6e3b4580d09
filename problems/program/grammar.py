"""Random edits of programs: what proposes where there is no language model.

A program is edited where it computes: in the expressions that a function assigns and returns,
and, where the grammar has statements, in the list of its statements. All else stays as it is,
so that what comes out is a program again, if not always a good one.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

Slot: TypeAlias = tuple[ast.AST, str, int | None]
"""Where an expression or a statement stands: its parent, the field, the place in a list."""

Edit: TypeAlias = Callable[[], None]

OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div)
LARGEST = 60
"""Expressions of more nodes than this are only cut or tuned."""


@dataclass(frozen=True)
class Grammar:
    """What edits may put into a function.

    Parameters
    ----------
    atoms : tuple of str
        Expressions to build from: ``"item"``.
    forms : tuple of str
        Expressions around another one, which stands where ``_`` is, with numbers to tune:
        ``"np.exp(-_)"``, ``"(_ <= 2.0)"``.
    statements : tuple of str
        Statements to insert, anywhere between the first one and the last one.
    """

    atoms: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()
    statements: tuple[str, ...] = ()


def edited(source: str, function: str, grammar: Grammar, rng: np.random.Generator) -> str | None:
    """The program after one or more random edits of one function.

    Parameters
    ----------
    source : str
        The program.
    function : str
        The function to edit.
    grammar : Grammar
        What may be put in.
    rng : numpy.random.Generator
        Where all choices are drawn from.

    Returns
    -------
    str or None
        None where the program cannot be edited: no Python, no such function, or nothing in it
        that could be changed.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == function]
    if not found:
        return None
    body = found[-1]
    for _ in range(rng.geometric(0.6)):
        if not _edit(body, grammar, rng):
            return None
    try:
        return ast.unparse(ast.fix_missing_locations(tree)) + "\n"
    except RecursionError:
        return None


def _edit(body: ast.FunctionDef, grammar: Grammar, rng: np.random.Generator) -> bool:
    """One random edit in place; whether there was anything to edit."""
    slots = list(_expressions(body))
    numbers = [slot for slot in slots if _number(_get(slot)) is not None]
    is_large = len(slots) > LARGEST
    branches = [slot for slot in slots if isinstance(_get(slot), ast.BinOp | ast.Call)]
    whole = [slot for slot in slots if isinstance(slot[0], ast.stmt)]
    edits: list[Edit] = []
    if numbers:
        edits += [lambda: _tune(_pick(numbers, rng), rng)] * 3
    if whole and grammar.atoms and not is_large:
        edits += [lambda: _add(_pick(whole, rng), grammar, rng)] * 3
        edits += [lambda: _grow(_pick(slots, rng), grammar, rng)]
        edits += [lambda: _replace(_pick(slots, rng), grammar, rng)]
    if branches and grammar.atoms:
        edits += [lambda: _cut(_pick(branches, rng), rng)]
    if grammar.statements:
        edits += [lambda: _insert(body, grammar, rng), lambda: _remove(body, rng)]
    if edits:
        edits[rng.integers(len(edits))]()
    return bool(edits)


# --- the edits -----------------------------------------------------------------------------


def _tune(slot: Slot, rng: np.random.Generator) -> None:
    """Move a number: a little, a lot, or to the other sign; an integer stays one."""
    value = _number(_get(slot))
    assert value is not None
    if isinstance(value, int):
        step = int(rng.geometric(1 / (1 + abs(value) / 4)))
        _set(slot, _constant(value + step * int(rng.choice([-1, 1]))))
        return
    factor = float(np.exp(rng.normal(0, rng.choice([0.2, 1.0]))))
    sign = -1 if rng.random() < 0.1 else 1
    _set(slot, _constant(float(f"{sign * factor * (value or 1.0):.4g}")))


def _add(slot: Slot, grammar: Grammar, rng: np.random.Generator) -> None:
    """Add a new expression to a whole one, or subtract it."""
    operator = (ast.Add, ast.Sub)[rng.integers(2)]()
    _set(slot, ast.BinOp(_get(slot), operator, _term(grammar, rng)))


def _grow(slot: Slot, grammar: Grammar, rng: np.random.Generator) -> None:
    """Combine an expression with a new one."""
    operator = OPERATORS[rng.integers(len(OPERATORS))]()
    _set(slot, ast.BinOp(_get(slot), operator, _term(grammar, rng)))


def _replace(slot: Slot, grammar: Grammar, rng: np.random.Generator) -> None:
    """Put a new expression in the place of another, or around it."""
    inner = _get(slot) if rng.random() < 0.5 else None
    _set(slot, _term(grammar, rng, inner))


def _cut(slot: Slot, rng: np.random.Generator) -> None:
    """Leave one part of an expression only."""
    node = _get(slot)
    parts = [node.left, node.right] if isinstance(node, ast.BinOp) else _arguments(node)
    if parts:
        _set(slot, parts[rng.integers(len(parts))])


def _insert(body: ast.FunctionDef, grammar: Grammar, rng: np.random.Generator) -> None:
    text = grammar.statements[rng.integers(len(grammar.statements))]
    place = int(rng.integers(1, len(body.body))) if len(body.body) > 1 else 0
    body.body[place:place] = ast.parse(text).body


def _remove(body: ast.FunctionDef, rng: np.random.Generator) -> None:
    if len(body.body) > 2:
        del body.body[int(rng.integers(1, len(body.body) - 1))]


# --- expressions ---------------------------------------------------------------------------


def _term(grammar: Grammar, rng: np.random.Generator, inner: ast.expr | None = None) -> ast.expr:
    """A small new expression: an atom or ``inner``, in a form or not, scaled or not."""
    if inner is None:
        inner = _parsed(grammar.atoms[rng.integers(len(grammar.atoms))])
    if grammar.forms and rng.random() < 0.85:
        form = _parsed(grammar.forms[rng.integers(len(grammar.forms))])
        for slot in _below((ast.Expression(form), "body", None)):
            if _number(_get(slot)) is not None:
                _tune(slot, rng)
        inner = _filled(form, inner)
    if rng.random() < 0.5:
        scale = float(f"{10 ** rng.uniform(-1, 1):.2g}")
        inner = ast.BinOp(_constant(scale), ast.Mult(), inner)
    return inner


def _filled(form: ast.expr, inner: ast.expr) -> ast.expr:
    """The form with ``inner`` wherever ``_`` stands, and its numbers as they are."""

    class Fill(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return _parsed(ast.unparse(inner)) if node.id == "_" else node

    filled: ast.expr = Fill().visit(form)
    return filled


def _expressions(body: ast.FunctionDef) -> Iterator[Slot]:
    """Every place in a function where a value is computed that could be another one.

    A statement that is but an expression, as a docstring, throws it away, and is left out.
    """
    for statement in body.body:
        for node in ast.walk(statement):
            if not isinstance(node, ast.stmt) or isinstance(node, ast.Expr):
                continue
            for field in ("value", "test", "iter"):
                if isinstance(getattr(node, field, None), ast.expr):
                    yield from _below((node, field, None))


def _below(slot: Slot) -> Iterator[Slot]:
    """The place of an expression, and those of the operands in it."""
    node = _get(slot)
    yield slot
    inner: list[tuple[str, int | None]] = []
    if isinstance(node, ast.BinOp):
        inner = [("left", None), ("right", None)]
    elif isinstance(node, ast.UnaryOp):
        inner = [("operand", None)]
    elif isinstance(node, ast.IfExp):
        inner = [("test", None), ("body", None), ("orelse", None)]
    elif isinstance(node, ast.Compare):
        inner = [("left", None), *(("comparators", i) for i in range(len(node.comparators)))]
    elif isinstance(node, ast.Call):
        inner = [("args", i) for i in range(len(node.args))]
    elif isinstance(node, ast.List | ast.Tuple):
        inner = [("elts", i) for i in range(len(node.elts))]
    for field, place in inner:
        yield from _below((node, field, place))


def _get(slot: Slot) -> ast.expr:
    parent, field, place = slot
    node = getattr(parent, field)
    found: ast.expr = node if place is None else node[place]
    return found


def _set(slot: Slot, node: ast.expr) -> None:
    parent, field, place = slot
    if place is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[place] = node


def _number(node: ast.expr) -> float | int | None:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        value: float | int = node.value  # type: ignore[assignment]
        return value
    return None


def _constant(value: float) -> ast.expr:
    if value < 0:
        return ast.UnaryOp(ast.USub(), ast.Constant(-value))
    return ast.Constant(value)


def _arguments(node: ast.expr) -> list[ast.expr]:
    arguments = node.args if isinstance(node, ast.Call) else []
    return [argument for argument in arguments if not isinstance(argument, ast.Starred)]


def _parsed(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _pick(slots: list[Slot], rng: np.random.Generator) -> Slot:
    return slots[rng.integers(len(slots))]

"""Random edits of a rule's formulas: what mutation can do without a language model.

A formula is what the function ``rule`` assigns or returns. An edit picks a formula, a place in
it and a change, all uniformly, and keeps the kind of the place: arrays stay arrays, numbers
numbers. The changes are the words of a small grammar: cut off at zero, discount, discount one
sign, add, another constant, a power of t, leave away. Each published rule is several of them
from plain CFR.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TypeAlias

import numpy as np

ARRAYS = ("regrets", "instant", "policy")
"""The names that stand for arrays; a place that holds none of them is a number."""
CONSTANTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
MAX_NODES = 40
"""A formula of more nodes does not grow."""

Formula: TypeAlias = ast.expr


def edited(program: str, rng: np.random.Generator) -> str | None:
    """The program with one formula of its function ``rule`` changed; None where it has none.

    Comments are lost. A program too deep to be read counts as one without formulas.

    Examples
    --------
    >>> edited("def rule(regrets, instant, t): ...", np.random.default_rng(0)) is None
    True
    """
    try:
        tree = ast.parse(program)
        formulas = list(_formulas(tree))
        for _ in range(20 if formulas else 0):  # some changes change nothing
            formula = formulas[rng.integers(len(formulas))]
            places = list(_places(formula))
            place = places[rng.integers(len(places))]
            words = _changes(place, _size(formula) < MAX_NODES, rng)
            new = ast.parse(words[rng.integers(len(words))], mode="eval").body
            if ast.unparse(new) != ast.unparse(place):
                return ast.unparse(ast.fix_missing_locations(_Replace(place, new).visit(tree)))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # what parse may raise
        pass
    return None


def _formulas(tree: ast.Module) -> Iterator[Formula]:
    """What the program's ``rule`` assigns, and what it returns without a name."""
    rules = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "rule"]
    assigned: set[str] = set()
    for node in ast.walk(rules[-1]) if rules else ():
        if isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            assigned.update(target.id for target in targets if isinstance(target, ast.Name))
            if _is_formula(node.value):
                yield node.value
        elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
            for item in node.value.elts:
                named = isinstance(item, ast.Name) and item.id in assigned
                if _is_formula(item) and not named:
                    yield item


def _is_formula(node: ast.expr) -> bool:
    if isinstance(node, ast.Constant):
        return type(node.value) in (int, float)
    return isinstance(node, ast.Name | ast.BinOp | ast.UnaryOp | ast.Call)


def _operands(place: Formula) -> list[Formula]:
    parts: list[Formula] = []
    if isinstance(place, ast.BinOp):
        parts = [place.left, place.right]
    elif isinstance(place, ast.UnaryOp):
        parts = [place.operand]
    elif isinstance(place, ast.Call):
        parts = place.args
    return [part for part in parts if _is_formula(part)]


def _places(formula: Formula) -> Iterator[Formula]:
    """The formula and all formulas in it."""
    yield formula
    for part in _operands(formula):
        yield from _places(part)


def _is_array(place: Formula) -> bool:
    return any(isinstance(n, ast.Name) and n.id in ARRAYS for n in ast.walk(place))


def _size(formula: Formula) -> int:
    return sum(1 for _ in ast.walk(formula))


def _changes(place: Formula, may_grow: bool, rng: np.random.Generator) -> list[str]:
    """What may stand at a place instead, at least one text."""
    old, is_array = f"({ast.unparse(place)})", _is_array(place)
    constant, number = rng.choice(CONSTANTS), _number(rng)
    changes = [ast.unparse(part) for part in _operands(place) if _is_array(part) == is_array]
    if not is_array:
        changes += [number, f"{constant}"]
        if isinstance(place, ast.Constant):
            changes += [f"{place.value * np.exp(rng.normal(0, 0.3)):.3g}"]
    if not may_grow:
        return changes or [old]
    if not is_array:
        return [*changes, f"{old} * {number}"]
    changes += [
        f"np.maximum{old[:-1]}, 0.0)",
        f"{old} * ({number})",
        f"{old} + {constant} * {rng.choice(ARRAYS[:2])}",
    ]
    if isinstance(place, ast.Name):  # which is written three times
        changes += [
            f"np.where({old} > 0, {old} * ({number}), {old})",
            f"np.where({old} > 0, {old}, {old} * ({number}))",
        ]
    return changes


def _number(rng: np.random.Generator) -> str:
    """A constant, a power of t, or a power that saturates at 1."""
    constant = rng.choice(CONSTANTS)
    kinds = [f"{constant}", f"t ** {constant}", f"t ** {constant} / (t ** {constant} + 1)"]
    return kinds[rng.integers(len(kinds))]


class _Replace(ast.NodeTransformer):
    """Puts one node where another one (that very object) stands."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        replaced: ast.AST = self.new if node is self.old else self.generic_visit(node)
        return replaced

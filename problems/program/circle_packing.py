"""``program/circle-packing``: 26 circles in the unit square."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from bbopt import checks
from bbopt.registry import register_problem
from bbopt.sandbox import ProgramError, Sandbox
from bbopt.space import Array, Params, Space, Text
from bbopt.spec import Spec

from .grammar import Grammar, edited
from .scored import ScoredProgram

N = 26
TOLERANCE = 1e-9
"""Up to this much circles may overlap or stick out; they are shrunk by as much."""

GRID = """\
import numpy as np


def pack():
    centres = np.array([(i % 6 / 6 + 1 / 12, i // 6 / 5 + 1 / 10) for i in range(26)])
    return np.column_stack([centres, largest_radii(centres)])


def largest_radii(centres):
    radii = np.minimum(to_sides(centres), to_others(centres) / 2)
    return radii


def inside(centres):
    return np.clip(centres, 0, 1)


def to_sides(centres):
    return np.minimum(centres, 1 - centres).min(axis=1)


def to_others(centres):
    apart = np.linalg.norm(centres[:, None] - centres, axis=2)
    return (apart + 2 * np.eye(len(centres))).min(axis=1)
"""
"""Where the search starts: equal circles on a grid. No docstrings: they would be in all
candidates, which are told apart by their text."""

MOVES = Grammar(
    statements=(
        """
centres = inside(centres + 0.02 * np.random.default_rng(0).standard_normal(centres.shape))
""",
        """
for seed in range(300):
    rng = np.random.default_rng(seed)
    moved = centres.copy()
    moved[rng.integers(len(moved))] += 0.1 * rng.standard_normal(moved[0].shape)
    moved = inside(moved)
    if largest_radii(moved).sum() >= largest_radii(centres).sum():
        centres = moved
""",
        """
for step in range(20):
    apart = centres[:, None] - centres
    squares = 0.01 + np.square(apart).sum(axis=2, keepdims=True)
    centres = inside(centres + 0.0005 * np.sum(apart / squares ** 2.0, axis=1))
""",
    )
)
"""Statements for ``pack``: shake, improve step by step, push apart."""

GROWTH = Grammar(
    statements=(
        """
for i in range(len(radii)):
    reach = np.linalg.norm(centres - centres[i], axis=1) - radii
    reach[i] = to_sides(centres)[i]
    radii[i] = reach.min()
""",
    )
)
"""A statement for ``largest_radii``: let each circle grow until it touches another."""


@register_problem("program/circle-packing")
class CirclePacking(ScoredProgram):
    """Pack 26 circles into the unit square so that the sum of their radii is large.

    The program defines ``pack()``, which returns the circles; the search starts from
    :data:`GRID`, whose sum is 2.1667. A checker outside of the sandbox takes the sum of the
    radii, to be maximised: 26 rows of numbers in [0, 1], and, up to 1e-9, inside the square and
    without overlap. What they violate of that is taken from every radius first, so that the
    value is that of a packing without any violation. A program that fails, or whose packing is
    none, gets 0 and the reason as feedback.

    Source: the packing of n circles of unequal radii that AlphaEvolve made popular (Novikov et
    al. 2025, *AlphaEvolve: a coding agent for scientific and algorithmic discovery*, B.12; its
    2.635 was found again by many). Best published: 2.635983; nobody has proved that there is no
    better one. Count evaluations and tokens to 2.6359, which is a run's ``target``.

    Cost of an evaluation: 0.1 s and what the program takes.

    Parameters
    ----------
    seconds : float
        How long the program may run, > 0.
    sandbox : {"auto", "bubblewrap", "landlock", "limits"}
        How the program is confined, as :class:`bbopt.sandbox.Sandbox` has it.

    Raises
    ------
    UsageError
        If an argument has a value that is not allowed, or the sandbox does not work here.
    """

    def __init__(self, seconds: float = 10.0, sandbox: str = "auto") -> None:
        super().__init__(sandbox, checks.number("seconds", seconds, 1e-3, 1e6), worst=0.0)
        program = Text(
            GRID,
            description=(
                "Python that may import numpy and defines pack(), without arguments, which "
                f"returns an array ({N}, 3): x, y and radius of each circle. It may run for "
                f"{self.seconds:g} s."
            ),
            language="python",
        )
        self._spec = Spec(
            space=Space({"program": program}),
            direction="maximize",
            objective=(
                f"Pack {N} circles into the unit square, without overlap, so that the sum of "
                "their radii is as large as possible."
            ),
            deterministic=True,
            # circles of area 1 at most: Cauchy and Schwarz
            value_range=(0.0, math.sqrt(N / math.pi)),
        )

    @property
    def spec(self) -> Spec:
        """One text, the program; maximised."""
        return self._spec

    def score(self, box: Sandbox) -> tuple[float, str]:
        """The sum of the radii, and what the packing looks like."""
        circles = box.call("pack")
        value = sum_of_radii(circles)
        radii = circles[:, 2]
        touching = int((_violations(circles) > -1e-6).sum())
        return value, (
            f"The sum of the radii is {value:.6f}; radii from {radii.min():.4f} to "
            f"{radii.max():.4f}; {touching} contacts between circles or with a side."
        )

    def propose(self, params: Params, feedback: Sequence[Any], rng: np.random.Generator) -> Params:
        """The program with statements or numbers edited; the grid edited, where it cannot be."""
        function, grammar = ("pack", MOVES) if rng.random() < 0.8 else ("largest_radii", GROWTH)
        program = edited(params["program"], function, grammar, rng)
        return {"program": program or edited(GRID, function, grammar, rng) or GRID}


def sum_of_radii(circles: Any) -> float:
    """The sum of the radii of a packing, each shrunk by the largest violation.

    Parameters
    ----------
    circles : (26, 3) array
        x, y and radius.

    Raises
    ------
    ProgramError
        If this is no packing.
    """
    if not isinstance(circles, np.ndarray) or circles.shape != (N, 3):
        what = f"shape {circles.shape}" if isinstance(circles, np.ndarray) else "no array"
        raise ProgramError(f"pack must return an array of shape ({N}, 3), got {what}")
    circles = circles.astype(float)
    wrong = circles[~((circles >= 0) & (circles <= 1))]  # NaN is neither
    if wrong.size:
        raise ProgramError(f"pack must return numbers in [0, 1], got {wrong[0]:.6g}")
    violations = _violations(circles)
    worst = float(violations.max())
    if worst > TOLERANCE:
        k = int(violations.argmax())
        pairs = list(zip(*np.triu_indices(N, 1), strict=True))
        who = (
            f"circle {k // 4} sticks out"
            if k < 4 * N
            else "circles {} and {} overlap".format(*pairs[k - 4 * N])
        )
        raise ProgramError(
            f"{who} by {worst:.3g}, and {int((violations > TOLERANCE).sum()) - 1} more such"
        )
    return float(np.maximum(circles[:, 2] - max(worst, 0.0), 0.0).sum())


def _violations(circles: Array) -> Array:
    """By how much circles ``(n, 3)`` stick out at four sides, then by how much pairs overlap."""
    x, y, r = circles.T
    out = np.column_stack([r - x, r - y, x + r - 1, y + r - 1]).ravel()
    i, j = np.triu_indices(len(circles), 1)
    overlap = r[i] + r[j] - np.hypot(x[i] - x[j], y[i] - y[j])
    both: Array = np.concatenate([out, overlap])
    return both

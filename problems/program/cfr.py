"""``program/cfr``: discover a rule of regret minimisation, by playing poker with it."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from bbopt import checks
from bbopt.errors import UsageError
from bbopt.registry import register_problem
from bbopt.sandbox import ProgramError, Sandbox
from bbopt.space import Params, Space, Text
from bbopt.spec import Spec
from bbopt.trial import Best

from .poker import Array, poker
from .regret_rules import Rule, exploitabilities
from .rule_edits import edited
from .scored import ScoredProgram

SEED_PROGRAM = """\
import numpy as np


def rule(regrets, instant, t):
    regrets = regrets + instant
    policy = np.maximum(regrets, 0.0)
    weight = 1.0
    return regrets, policy, weight
"""
"""Plain CFR. No docstring: candidates are told apart by their text, and it would be in all."""

DESCRIPTION = """\
Python that may import numpy and defines rule(regrets, instant, t): one step of regret
minimisation, for all information sets of one player at once. regrets: the cumulative regrets so
far, array (n, actions), zero before the first step. instant: the counterfactual regrets of
iteration t alone, array (n, actions), 0 for illegal actions. t: number of the iteration, 1, 2,
... It returns the new cumulative regrets (n, actions); the weights of the actions in the next
policy (n, actions), >= 0; the weight of this iteration's policy in the average, >= 0. Weights
need not sum to one, those of illegal actions do not count, a row of zeros is played uniformly."""

Games: TypeAlias = Mapping[str, tuple[int, int, tuple[float, ...], int]]
"""Game -> arguments of ``poker``."""

_SHOWN: Games = MappingProxyType({"kuhn": (3, 1, (1.0,), 1), "leduc": (3, 2, (2.0, 4.0), 2)})
_HELD_OUT: Games = MappingProxyType({"kuhn": (5, 1, (1.0,), 1), "leduc": (4, 2, (1.0, 3.0), 2)})
"""The relatives of the games, which only ``test_value`` plays."""

LARGEST = 1e100
"""The largest magnitude allowed in what a program returns."""


@register_problem("program/cfr")
class RegretRule(ScoredProgram):
    """A rule of regret minimisation that makes self-play at poker hard to exploit.

    The program defines ``rule(regrets, instant, t)`` as in :data:`DESCRIPTION`; games are played
    and judged outside of the sandbox. It starts from plain CFR. The value, to be minimised, is
    the mean over the games of log10 of the exploitability (NashConv / 2, in antes) of the
    average policies. A game counts as solved at 1 / iterations² (10⁻⁴ after 100): some rules
    converge geometrically in Kuhn poker, and ever more digits there would hide what they do in
    the larger game.

    A program that fails, or returns anything but finite numbers of the right shapes, the last
    two >= 0, gets what policies would get that lose all they can. A rule has to be a function
    of its arguments alone, without chance.

    ``test_value`` plays, for as many iterations, Kuhn poker with five cards and Leduc poker
    with four ranks and raises of 1 and 3; there a rule that knows its games by heart is lost.

    What the published rules reach (:mod:`~bbopt.problems.program.regret_rules`), value and test
    value:

    ==========  ==============  ==============  ==============
    iterations       100            1,000           10,000
    ==========  ==============  ==============  ==============
    cfr         -1.552  -1.692  -2.478  -2.605  -3.348  -3.477
    lcfr        -2.213  -2.424  -3.154  -3.384  -3.989  -4.137
    cfr+        -2.398  -2.580  -3.832  -3.974  -5.124  -5.348
    dcfr        -2.444  -2.797  -3.785  -4.167  -4.912  -5.230
    pcfr+       -2.852  -2.981  -4.573  -4.693  -6.393  -6.529
    ==========  ==============  ==============  ==============

    Cost of an evaluation: 0.15 s at 100 iterations, 0.7 s at 1,000.

    Parameters
    ----------
    games : sequence of {"kuhn", "leduc"}
        What is played, each game once.
    iterations : int
        Iterations of self-play in each game, >= 10.
    sandbox : {"auto", "bubblewrap", "landlock", "limits"}
        How the program is confined, as :class:`bbopt.sandbox.Sandbox` has it.

    Raises
    ------
    UsageError
        If an argument has a value that is not allowed, or the sandbox does not work here.
    """

    def __init__(
        self,
        games: Sequence[str] = ("kuhn", "leduc"),
        iterations: int = 100,
        sandbox: str = "auto",
    ) -> None:
        if isinstance(games, str) or not games or len(set(games)) < len(games):
            raise UsageError(
                f"games must be a list of different games, at least one, got {games!r}"
            )
        self._games = [checks.one_of("games: a game", game, _SHOWN.keys()) for game in games]
        self._iterations = checks.integer("iterations", iterations, 10)
        worst = self._value([poker(*_SHOWN[name]).stakes for name in self._games])
        super().__init__(sandbox, seconds=10.0 + 0.01 * self._iterations, worst=worst)
        program = Text(SEED_PROGRAM, description=DESCRIPTION, language="python")
        self._spec = Spec(
            space=Space({"program": program}),
            objective=(
                "Find a rule of regret minimisation that solves poker games fast: after "
                f"{self._iterations} iterations of self-play the average policies should be as "
                "little exploitable as possible (mean over the games of log10 exploitability)."
            ),
            deterministic=True,
            value_range=(-2 * math.log10(self._iterations), worst),
        )

    @property
    def spec(self) -> Spec:
        """One text, the program."""
        return self._spec

    def score(self, box: Sandbox) -> tuple[float, str]:
        """Mean log10 exploitability, and how it fell in each game."""
        return self._score(box, _SHOWN)

    def test_value(self, best: Best) -> float:
        """The value on the relatives of the games, which are never shown."""
        return self.run(best.params["program"], lambda box: self._score(box, _HELD_OUT))[0]

    def propose(self, params: Params, feedback: Sequence[Any], rng: np.random.Generator) -> Params:
        """One formula of the program changed at random, whatever the feedback says.

        A program without formulas that can be changed gives way to a change of the first one.
        """
        program = edited(params["program"], rng) or edited(SEED_PROGRAM, rng)
        return {"program": program or SEED_PROGRAM}

    def _score(self, box: Sandbox, games: Games) -> tuple[float, str]:
        moments = [-(-self._iterations // 10), self._iterations]
        rule, last, told = _in_sandbox(box), [], []
        for name in self._games:
            early, late = exploitabilities(poker(*games[name]), rule, moments)
            last.append(late)
            told.append(
                f"{name}: exploitability {early:.3g} after {moments[0]} iterations, "
                f"{late:.3g} after {moments[1]}"
            )
        return self._value(last), "\n".join(told)

    def _value(self, last: Sequence[float]) -> float:
        """Mean log10 of what was left in each game."""
        return float(np.mean(np.log10(np.maximum(last, self._iterations**-2.0))))


def _in_sandbox(box: Sandbox) -> Rule:
    """The program's rule, its results checked; it raises ProgramError."""

    def rule(regrets: Array, instant: Array, t: int) -> tuple[Array, Array, float]:
        result = box.call("rule", regrets, instant, t)
        if not isinstance(result, list | tuple) or len(result) != 3:
            raise ProgramError(
                f"rule must return three things (regrets, policy, weight), got {_shown(result)}"
            )
        new, policy, weight = result
        at = f"at t={t}"
        return (
            _array(f"regrets {at}", new, regrets.shape, -LARGEST),
            _array(f"policy {at}", policy, regrets.shape, 0.0),
            float(_array(f"weight {at}", weight, (), 0.0)),
        )

    return rule


def _array(name: str, given: Any, shape: tuple[int, ...], low: float) -> Array:
    """``given`` as floats of that shape in ``[low, LARGEST]``, or ProgramError."""
    try:
        array = np.asarray(given, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        array = np.empty(0)
    if array.shape != shape:
        kind = f"an array of numbers of shape {shape}" if shape else "a number"
        raise ProgramError(f"{name} must be {kind}, got {_shown(given)}")
    # NaN is outside of every interval
    wrong = array[~((array >= low) & (array <= LARGEST))]
    if wrong.size:
        raise ProgramError(f"{name} must be in [{low:g}, {LARGEST:g}], got {wrong.flat[0]}")
    return array


def _shown(given: Any) -> str:
    if isinstance(given, np.ndarray):
        return f"an array of shape {given.shape}"
    return reprlib.repr(given)

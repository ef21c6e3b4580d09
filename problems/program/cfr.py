"""``program/cfr``: discover a rule of regret minimisation, by playing poker with it."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from bbopt import checks
from bbopt.base import Problem
from bbopt.errors import UsageError
from bbopt.registry import register_problem
from bbopt.sandbox import LEVELS, ProgramError, Sandbox
from bbopt.space import Params, Space, Text
from bbopt.spec import Spec
from bbopt.trial import Best, Outcome, Trial

from .poker import Array, poker
from .regret_rules import Rule, exploitabilities
from .rule_edits import edited

SEED_PROGRAM = '''\
import numpy as np


def rule(regrets, instant, t):
    """One step of regret minimisation, for all information sets of a player at once.

    regrets: cumulative regrets so far, array (n, actions); zero before the first step
    instant: regrets of iteration t alone, array (n, actions)
    t: number of the iteration, 1, 2, ...

    Returns the new cumulative regrets (n, actions); the weights of the actions in the next
    policy (n, actions), >= 0; the weight of this iteration's policy in the average, >= 0.
    """
    regrets = regrets + instant
    policy = np.maximum(regrets, 0.0)
    weight = 1.0
    return regrets, policy, weight
'''
"""Plain CFR."""

Games: TypeAlias = Mapping[str, tuple[int, int, tuple[float, ...], int]]
"""Game -> arguments of ``poker``."""
Curve: TypeAlias = dict[int, float]
"""Exploitability after each of some numbers of iterations, ascending."""

_SHOWN: Games = MappingProxyType({"kuhn": (3, 1, (1.0,), 1), "leduc": (3, 2, (2.0, 4.0), 2)})
_HELD_OUT: Games = MappingProxyType({"kuhn": (5, 1, (1.0,), 1), "leduc": (4, 2, (1.0, 3.0), 2)})
"""The relatives of the games, which only ``test_value`` plays."""

LARGEST = 1e100
"""The largest magnitude allowed in what a program returns."""


@register_problem("program/cfr")
class RegretRule(Problem):
    """A rule of regret minimisation that makes self-play at poker hard to exploit.

    The program defines ``rule(regrets, instant, t)`` (see :data:`SEED_PROGRAM`, which is plain
    CFR) and runs in the sandbox; the games and their exploitability are computed outside. The
    value, to be minimised, is the mean over the games of log10 of the exploitability
    (NashConv / 2, in antes) of the average policies. A game counts as solved below
    1 / iterations² (10⁻⁴ after 100): some rules converge geometrically in Kuhn poker, and ever
    more digits there would hide what they do in the larger game.

    A program that fails, or returns anything but finite numbers of the right shape with weights
    >= 0, gets what the most exploitable policies could get, and the reason as feedback. It must
    be a function of its arguments alone, without chance.

    ``test_value`` plays, for as many iterations, Kuhn poker with five cards and Leduc poker
    with four ranks and raises of 1 and 3: a rule that knows its games by heart is worth
    nothing there.

    What the published rules reach (see :mod:`~bbopt.problems.program.regret_rules`):

    ======  ==============================  ==============================  =============
    rule    value, 100 / 1,000 iterations   test value, 100 / 1,000         10,000
    ======  ==============================  ==============================  =============
    ======  ==============================  ==============================  =============

    Cost of an evaluation: 0.3 s at 100 iterations of both games.

    Parameters
    ----------
    games : sequence of {"kuhn", "leduc"}
        What is played, each game once.
    iterations : int
        Iterations of self-play in each game, >= 10.
    seconds : float
        The longest that the program may run in one evaluation, in seconds, > 0.
    sandbox : str
        The level of the sandbox, as :class:`bbopt.sandbox.Sandbox` has it.

    Raises
    ------
    UsageError
        If an argument has a value that is not allowed.
    """

    def __init__(
        self,
        games: Sequence[str] = ("kuhn", "leduc"),
        iterations: int = 100,
        seconds: float = 30.0,
        sandbox: str = "auto",
    ) -> None:
        if isinstance(games, str) or not games or len(set(games)) < len(games):
            raise UsageError(
                f"games must be a list of different games, at least one, got {games!r}"
            )
        self._games = tuple(checks.one_of("games: a game", game, _SHOWN.keys()) for game in games)
        self._iterations = checks.integer("iterations", iterations, 10)
        self._seconds = checks.number("seconds", seconds, 1e-3)
        self._level = checks.one_of("sandbox", sandbox, ("auto", *LEVELS))
        description = "Python that defines rule(regrets, instant, t), with numpy to import"
        program = Text(SEED_PROGRAM, description=description, language="python")
        self._spec = Spec(
            space=Space({"program": program}),
            objective=(
                "Find a rule of regret minimisation that solves poker games fast: after "
                f"{self._iterations} iterations of self-play the average policies should be as "
                "little exploitable as possible (mean over the games of log10 exploitability)."
            ),
            deterministic=True,
            value_range=(-2 * math.log10(self._iterations), self._worst(_SHOWN)),
        )

    @property
    def spec(self) -> Spec:
        """One text, the program."""
        return self._spec

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Outcome:
        """The value, and as feedback how exploitable it came to be or what went wrong."""
        try:
            curves = self._learn(trial.params["program"], _SHOWN)
        except ProgramError as error:
            value, feedback, info = self._worst(_SHOWN), str(error), {}
        else:
            value, feedback = self._value(curves), "\n".join(map(_told, curves, curves.values()))
            info = {f"exploitability {name}": _last(curve) for name, curve in curves.items()}
        n = trial.repeats
        return Outcome([value] * n, feedback=[feedback] * n, info=info)

    def test_value(self, best: Best) -> float:
        """The value on the relatives of the games, which are never shown."""
        try:
            return self._value(self._learn(best.params["program"], _HELD_OUT))
        except ProgramError:
            return self._worst(_HELD_OUT)

    def propose(self, params: Params, feedback: Sequence[Any], rng: np.random.Generator) -> Params:
        """One formula of the program changed at random, whatever the feedback says.

        A program without formulas that can be changed gives way to a change of the first one.
        """
        program = edited(params["program"], rng) or edited(SEED_PROGRAM, rng)
        return {**params, "program": program or SEED_PROGRAM}

    def _learn(self, program: str, games: Games) -> dict[str, Curve]:
        """How exploitable the program is on its way in each game; raises ProgramError."""
        moments = [-(-self._iterations // 10), self._iterations]
        with Sandbox(program, seconds=self._seconds, level=self._level) as box:
            rule = _in_sandbox(box)
            found = {g: exploitabilities(poker(*games[g]), rule, moments) for g in self._games}
        return {name: dict(zip(moments, curve, strict=True)) for name, curve in found.items()}

    def _value(self, curves: Mapping[str, Curve]) -> float:
        """Mean log10 of the last exploitability."""
        last = [_last(curve) for curve in curves.values()]
        return float(np.mean(np.log10(np.maximum(last, self._iterations**-2.0))))

    def _worst(self, games: Games) -> float:
        """The value of policies that lose all they can."""
        return self._value({name: {0: poker(*games[name]).stakes} for name in self._games})


def _last(curve: Curve) -> float:
    return list(curve.values())[-1]


def _told(name: str, curve: Curve) -> str:
    steps = ", ".join(f"{e:.3g} after {t} iterations" for t, e in curve.items())
    return f"{name}: exploitability {steps}"


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

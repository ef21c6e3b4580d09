from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from bbopt.problems.program.poker import poker
from bbopt.problems.program.regret_rules import BASELINES, cfr, exploitabilities

GAMES = {"kuhn": (3, 1, (1.0,), 1), "leduc": (3, 2, (2.0, 4.0), 2)}
MOMENTS = (10, 100, 1000)


@lru_cache
def curve(game, name):
    return exploitabilities(poker(*GAMES[game]), BASELINES[name], MOMENTS)


# Exploitability of the average policies by OpenSpiel 2.0.2's CFRSolver, CFRPlusSolver,
# LCFRSolver and DCFRSolver after 1, 2, 10 (and in Kuhn poker 100) iterations.
OPENSPIEL = [
    ("kuhn", "cfr", (11 / 24, 0.27083333333333337, 0.06869879381715754, 0.008225977315915206)),
    ("kuhn", "cfr+", (11 / 24, 0.26388888888888884, 0.032687090668344826, 0.0011944041011116846)),
    ("kuhn", "lcfr", (11 / 24, 0.26388888888888884, 0.021250730612165758, 0.001089027365053341)),
    ("kuhn", "dcfr", (11 / 24, 0.2583333333333333, 0.0227787839257636, 0.0016663419703252247)),
    ("leduc", "cfr", (2.373611111111111, 2.0613194444444445, 0.888578983168769)),
    ("leduc", "cfr+", (2.373611111111111, 2.057916666666667, 0.6104389015904066)),
    ("leduc", "lcfr", (2.373611111111111, 2.057916666666667, 0.7210651557072468)),
    ("leduc", "dcfr", (2.373611111111111, 2.055194444444444, 0.7788020469962023)),
]


@pytest.mark.parametrize(("game", "name", "expected"), OPENSPIEL)
def test_the_published_rules_do_what_openspiel_does(game, name, expected):
    moments = (1, 2, 10, 100)[: len(expected)]
    found = exploitabilities(poker(*GAMES[game]), BASELINES[name], moments)
    # ties at zero regret are broken by rounding, which costs some digits after 100 iterations
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("name", BASELINES)
def test_exploitability_falls(game, name):
    first, second, third = curve(game, name)
    assert first > 3 * second > 9 * third > 0


@pytest.mark.parametrize("name", ["cfr+", "lcfr", "dcfr", "pcfr+"])
@pytest.mark.parametrize("game", GAMES)
def test_the_later_rules_beat_plain_cfr_after_a_thousand_iterations(game, name):
    assert curve(game, name)[-1] < curve(game, "cfr")[-1] / 2


@pytest.mark.parametrize("game", GAMES)
def test_plain_cfr_keeps_its_bound(game):
    """The sum of average regrets is at most Δ Σ √|A(I)| / √T: Zinkevich et al. (2007), Theorem 4.

    It bounds NashConv, twice the exploitability, whether players learn in turns or together
    (in turns up to terms that are never positive: Burch et al. (2019)).
    """
    played = poker(*GAMES[game])
    infosets = sum(np.sqrt(player.legal.sum(axis=1)).sum() for player in played.players)
    for t, exploitability in zip(MOMENTS, curve(game, "cfr"), strict=True):
        assert 2 * exploitability <= 2 * played.stakes * infosets / np.sqrt(t)
    # and so does the rate: √10 a factor of ten, at least
    assert curve(game, "cfr")[1] / curve(game, "cfr")[2] >= np.sqrt(10)


def test_players_learn_in_turns_and_iterations_count_from_one():
    kuhn, seen = poker(*GAMES["kuhn"]), []

    def rule(regrets, instant, t):
        seen.append((t, regrets.shape, bool(regrets.any())))
        return cfr(regrets, instant, t)

    exploitabilities(kuhn, rule, [3])
    assert [t for t, _, _ in seen] == [1, 1, 2, 2, 3, 3]
    assert {shape for _, shape, _ in seen} == {(6, 3)}
    assert [is_set for _, _, is_set in seen] == [False] * 2 + [True] * 4


def test_averages_do_not_depend_on_the_scale_of_the_weights():
    def scaled(factor):
        return lambda regrets, instant, t: (*cfr(regrets, instant, t)[:2], factor * t)

    kuhn = poker(*GAMES["kuhn"])
    expected = exploitabilities(kuhn, scaled(1.0), [50])
    for factor in (1e-300, 1e100):
        assert exploitabilities(kuhn, scaled(factor), [50]) == pytest.approx(expected, rel=1e-9)


def test_without_any_weight_the_average_is_the_uniform_policy():
    rule = lambda regrets, instant, t: (*cfr(regrets, instant, t)[:2], 0.0)  # noqa: E731
    assert exploitabilities(poker(*GAMES["kuhn"]), rule, [5]) == pytest.approx([11 / 24])


def test_an_average_ignores_what_has_no_weight():
    """Weight on the last iteration alone leaves the last policy."""
    last = {}

    def rule(regrets, instant, t):
        regrets, policy, _ = BASELINES["cfr+"](regrets, instant, t)
        last.setdefault(t, []).append(policy)
        return regrets, policy, float(t == 8)

    kuhn = poker(*GAMES["kuhn"])
    found = exploitabilities(kuhn, rule, [8])
    # the policies of iteration 8 are what iteration 7 returned
    plans = [p.plan(p.policy(w)) for p, w in zip(kuhn.players, last[7], strict=True)]
    assert found == pytest.approx([kuhn.exploitability(plans)])

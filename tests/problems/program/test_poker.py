from __future__ import annotations

from collections import defaultdict
from functools import lru_cache
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbopt.errors import UsageError
from bbopt.problems.program.poker import poker

KUHN = (3, 1, (1.0,), 1)
LEDUC = (3, 2, (2.0, 4.0), 2)
OTHER = (4, 2, (1.0, 3.0), 1)
ROUNDING = 1e-12


def random_policies(game, seed):
    rng = np.random.default_rng(seed)
    return [player.policy(rng.random(player.legal.shape) ** 3) for player in game.players]


def plans_of(game, policies):
    return [player.plan(policy) for player, policy in zip(game.players, policies, strict=True)]


def uniform(game):
    return plans_of(game, [player.uniform() for player in game.players])


# --- the rules, written down a second time: a walk through one deal after the other ---------


class Table:
    """The game as people play it: ``walk`` returns what the first player wins on average."""

    def __init__(self, ranks, suits, raises, max_raises):
        self.suits, self.raises, self.max_raises = suits, raises, max_raises
        self.deals = list(permutations(range(ranks * suits), 1 + len(raises)))
        self.regrets = [defaultdict(lambda: np.zeros(3)) for _ in range(2)]

    def value(self, policies):
        """``policies``: for both players, a mapping from the name of an information set."""
        return sum(self.walk(deal, [""], [1, 1], policies, [1, 1]) for deal in self.deals) / len(
            self.deals
        )

    def walk(self, deal, rounds, chips, policies, reach):
        me = len(rounds[-1]) % 2
        other = 1 - me
        card = str(deal[me]) if len(rounds) == 1 else f"{deal[me]}/{deal[2]}"
        name = card + " " + "/".join(rounds)
        policy, wins = policies[me][name], np.zeros(3)
        moves = ["c"]
        if chips[me] < chips[other]:
            moves.append("f")
        if rounds[-1].count("r") < self.max_raises:
            moves.append("r")
        for move in moves:
            action = "fcr".index(move)
            paid, then = list(chips), [*rounds[:-1], rounds[-1] + move]
            further = [r * (policy[action] if p == me else 1) for p, r in enumerate(reach)]
            if move == "f":
                wins[action] = paid[me] if me == 1 else -paid[me]
                continue
            paid[me] = chips[other]
            if move == "r":
                paid[me] += self.raises[len(rounds) - 1]
            elif rounds[-1]:  # a check that answers a check, or a call
                if len(rounds) == len(self.raises):
                    wins[action] = self.showdown(deal) * paid[0]
                    continue
                then.append("")
            wins[action] = self.walk(deal, then, paid, policies, further)
        mean = policy @ wins
        legal = np.array([move in moves for move in "fcr"])
        sign = 1 if me == 0 else -1
        regret = sign * (wins - mean) * legal * reach[other] / len(self.deals)
        self.regrets[me][name] += regret
        return mean

    def showdown(self, deal):
        first, second, *public = (card // self.suits for card in deal)
        if first == second:
            return 0
        if public and public[0] in (first, second):
            return 1 if first == public[0] else -1
        return 1 if first > second else -1


@lru_cache
def walked(arguments, seed):
    """The array game, its policies, and a table at which they were played."""
    game, table = poker(*arguments), Table(*arguments)
    policies = random_policies(game, seed)
    named = [
        dict(zip(player.names, policy, strict=True))
        for player, policy in zip(game.players, policies, strict=True)
    ]
    return game, policies, table, table.value(named)


@pytest.mark.parametrize("arguments", [KUHN, LEDUC, OTHER])
def test_the_expected_payoff_is_that_of_a_walk_through_all_deals(arguments):
    game, policies, _, expected = walked(arguments, 0)
    plans = plans_of(game, policies)
    assert game.value(plans) == pytest.approx(expected, abs=ROUNDING)
    assert plans[1] @ game.gains(1, plans[0]) == pytest.approx(-expected, abs=ROUNDING)


@pytest.mark.parametrize("arguments", [KUHN, LEDUC, OTHER])
@pytest.mark.parametrize("player", [0, 1])
def test_regrets_are_those_of_a_walk_through_all_deals(arguments, player):
    game, policies, table, _ = walked(arguments, 0)
    gains = game.gains(player, plans_of(game, policies)[1 - player])
    regrets = game.players[player].regrets(policies[player], gains)
    expected = np.array([table.regrets[player][name] for name in game.players[player].names])
    np.testing.assert_allclose(regrets, expected, atol=ROUNDING)
    assert len(table.regrets[player]) == len(game.players[player])


@pytest.mark.parametrize("player", [0, 1])
def test_the_best_response_in_kuhn_poker_is_the_best_of_all_pure_policies(player):
    game = poker(*KUHN)
    gains = game.gains(player, plans_of(game, random_policies(game, 1))[1 - player])
    me = game.players[player]
    choices = [np.eye(3)[legal] for legal in me.legal]
    values = [gains @ me.plan(np.array(policy)) for policy in product(*choices)]
    assert len(values) == 64
    assert me.best_response(gains)[0] == pytest.approx(max(values), abs=ROUNDING)


@pytest.mark.parametrize("player", [0, 1])
def test_no_deviation_improves_the_best_response_in_leduc_poker(player):
    game = poker(*LEDUC)
    gains = game.gains(player, plans_of(game, random_policies(game, 2))[1 - player])
    me = game.players[player]
    value, plan = me.best_response(gains)
    assert plan @ gains == pytest.approx(value, abs=ROUNDING)
    pure = plan[1:].reshape(me.legal.shape)
    reached = pure.sum(axis=1) > 0
    # where the plan does not come, any policy follows it: regrets there are of no account
    regrets = me.regrets(me.policy(pure), gains)
    assert regrets[reached].max() <= ROUNDING


# --- what is known ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "infosets"), [(KUHN, 12), (LEDUC, 936), ((5, 1, (1.0,), 1), 20)]
)
def test_the_games_have_as_many_information_sets_as_the_literature_counts(arguments, infosets):
    assert sum(len(player) for player in poker(*arguments).players) == infosets


@pytest.mark.parametrize(("arguments", "expected"), [(KUHN, 11 / 24), (LEDUC, 2.373611111111111)])
def test_uniform_play_is_as_exploitable_as_openspiel_says(arguments, expected):
    game = poker(*arguments)
    assert game.exploitability(uniform(game)) == pytest.approx(expected, abs=ROUNDING)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 1 / 3])
def test_kuhns_equilibria_are_not_exploitable_and_worth_minus_one_eighteenth(alpha):
    """The first player's family of equilibria, and the second's only one: Kuhn (1950)."""
    game = poker(*KUHN)
    raises = [
        {"0 ": alpha, "1 ": 0, "2 ": 3 * alpha},
        {"0 c": 1 / 3, "1 c": 0, "2 c": 1},
    ]
    calls = [
        {"0 cr": 0, "1 cr": alpha + 1 / 3, "2 cr": 1},
        {"0 r": 0, "1 r": 1 / 3, "2 r": 1},
    ]
    policies = []
    for p, player in enumerate(game.players):
        probabilities = {name: (0, 1 - r, r) for name, r in raises[p].items()}
        probabilities |= {name: (1 - c, c, 0) for name, c in calls[p].items()}
        policies.append(np.array([probabilities[name] for name in player.names]))
    plans = plans_of(game, policies)
    assert game.exploitability(plans) == pytest.approx(0, abs=ROUNDING)
    assert game.value(plans) == pytest.approx(-1 / 18, abs=ROUNDING)


def test_openspiel_agrees_on_uniform_play():
    pyspiel = pytest.importorskip("pyspiel", reason="OpenSpiel is not installed")
    from open_spiel.python import policy
    from open_spiel.python.algorithms import expected_game_score, exploitability

    for name, arguments in (("kuhn_poker", KUHN), ("leduc_poker", LEDUC)):
        theirs, ours = pyspiel.load_game(name), poker(*arguments)
        alike = policy.UniformRandomPolicy(theirs)
        found = ours.exploitability(uniform(ours))
        assert found == pytest.approx(exploitability.exploitability(theirs, alike), abs=ROUNDING)
        values = expected_game_score.policy_value(theirs.new_initial_state(), [alike, alike])
        assert ours.value(uniform(ours)) == pytest.approx(values[0], abs=ROUNDING)
        assert ours.stakes == theirs.max_utility()


# --- properties ------------------------------------------------------------------------------


@given(st.sampled_from([KUHN, LEDUC, OTHER]), st.integers(0, 2**32 - 1))
def test_exploitability_is_between_zero_and_the_stakes(arguments, seed):
    game = poker(*arguments)
    assert 0 <= game.exploitability(plans_of(game, random_policies(game, seed))) <= game.stakes


def test_folding_to_every_raise_of_one_who_always_raises_loses_the_ante():
    game = poker(*LEDUC)
    always = [player.policy(np.tile([0.0, 0.0, 1.0], (len(player), 1))) for player in game.players]
    first, second = game.players
    bold = plans_of(game, always)[0]
    timid = second.plan(second.policy(np.where(second.legal[:, :1], [1.0, 0, 0], [0, 1.0, 0])))
    assert game.value([bold, timid]) == pytest.approx(1, abs=ROUNDING)
    assert len(first) == 468


@pytest.mark.parametrize("scale", [5e-324, 1.0, 1.7e308])
def test_policies_are_proportional_to_the_weights_whatever_their_scale(scale):
    player = poker(*LEDUC).players[0]
    weights = np.tile([scale, scale, 0.0], (len(player), 1))
    policy = player.policy(weights)
    np.testing.assert_allclose(policy.sum(axis=1), 1, rtol=1e-15)
    assert (policy[~player.legal] == 0).all()
    both = player.legal[:, 0] & player.legal[:, 1]
    np.testing.assert_array_equal(policy[both][:, :2], 0.5)


def test_a_policy_without_weights_plays_all_legal_actions_alike():
    player = poker(*LEDUC).players[1]
    only_illegal = np.where(player.legal, 0.0, 1.0)
    expected = player.legal / player.legal.sum(axis=1, keepdims=True)
    np.testing.assert_array_equal(player.policy(only_illegal), expected)


def test_earlier_information_sets_come_first_and_levels_hold_each_once():
    for player in poker(*LEDUC).players:
        covered = [i for level in player.levels for i in range(level.start, level.stop)]
        assert covered == list(range(len(player)))
        assert ((player.parent - 1) // 3 < np.arange(len(player))).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 2, (1.0, 2.0), 1), r"ranks \* suits must be an integer >= 3, got 2"),
        ((3, 1, (), 1), r"number of raises must be an integer in \[1, 2\], got 0"),
        ((3, 1, (1.0,), 0), "max_raises must be an integer >= 1, got 0"),
        ((3, 0, (1.0,), 1), "suits must be an integer >= 1, got 0"),
    ],
)
def test_games_that_cannot_be_dealt_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        poker(*arguments)

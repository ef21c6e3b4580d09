"""Small poker games as arrays in sequence form: values, regrets, best responses.

Two players, one private card each. In *Kuhn* poker (three cards, one round, one raise of 1)
the higher card wins; in *Leduc* poker (two suits of three ranks, two rounds, at most two
raises of 2 and then of 4) a public card is dealt before the second round and pairing it wins.
:func:`poker` builds these and their relatives.

A *sequence* of a player is one of its own actions at one of its information sets, or (number
0) none yet; the sequences of information set i are ``1 + i * n_actions + action``. A *plan*
``(n_sequences,)`` gives the probability with which the player itself plays each of them, so
that the expected payoff is bilinear in the two plans, and all that learning needs is a walk up
the levels of one player's own decisions with one array operation a level.

Sources: Kuhn (1950), *A simplified two-person poker*; Southey et al. (2005), *Bayes' bluff*
(Leduc); Koller, Megiddo and von Stengel (1996), *Efficient computation of equilibria for
extensive two-person games* (sequence form); Zinkevich et al. (2007), *Regret minimization in
games with incomplete information* (counterfactual regret).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise, permutations
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from bbopt import checks

Array: TypeAlias = npt.NDArray[np.float64]
Integers: TypeAlias = npt.NDArray[np.int64]

FOLD, CALL, RAISE = range(3)
"""The columns of every array of actions; to call where nothing was raised is to check."""
N_ACTIONS = 3


@dataclass(frozen=True, eq=False)
class Player:
    """The decisions of one player: its information sets, earlier ones first.

    Attributes
    ----------
    names : tuple of str
        Each information set: the own card, the public one if dealt, and the bets so far
        (``"1 cr"``, ``"4/2 crc/"``: card 4, public card 2).
    legal : (n, 3) bool array
        Which actions there are.
    parent : (n,) int array
        The own sequence before each information set.
    levels : tuple of slice
        The information sets with 0, 1, ... own actions before them.
    """

    names: tuple[str, ...]
    legal: npt.NDArray[np.bool_]
    parent: Integers
    levels: tuple[slice, ...]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def n_sequences(self) -> int:
        """Number of sequences, the empty one included."""
        return 1 + self.legal.size

    def policy(self, weights: Array) -> Array:
        """Probabilities ``(n, 3)`` proportional to the weights of the legal actions.

        ``weights`` are finite and >= 0; where those of all legal actions are zero they count
        as equal.
        """
        legal = np.where(self.legal, weights, 0.0)
        largest = legal.max(axis=1, keepdims=True)
        # divided by the largest first, so that no sum overflows
        shares = np.where(largest > 0, legal / np.where(largest > 0, largest, 1.0), self.legal)
        probabilities: Array = shares / shares.sum(axis=1, keepdims=True)
        return probabilities

    def uniform(self) -> Array:
        """The policy ``(n, 3)`` that plays all legal actions alike."""
        return self.policy(np.zeros(self.legal.shape))

    def plan(self, policy: Array) -> Array:
        """The plan ``(n_sequences,)`` of a policy ``(n, 3)``."""
        plan = np.ones(self.n_sequences)
        played = plan[1:].reshape(policy.shape)
        for level in self.levels:
            played[level] = policy[level] * plan[self.parent[level], None]
        return plan

    def regrets(self, policy: Array, gains: Array) -> Array:
        """Counterfactual regrets ``(n, 3)`` of a policy ``(n, 3)``; 0 for illegal actions.

        ``gains`` ``(n_sequences,)`` are the payoffs of :meth:`Game.gains`. The regret of an
        action is what always taking it there, and following the policy later, would have
        brought above following the policy at once.
        """
        values, grid = self._grid(gains)
        regrets = np.empty(policy.shape)
        for level in reversed(self.levels):
            mean = np.einsum("ia,ia->i", policy[level], grid[level])
            regrets[level] = grid[level] - mean[:, None]
            values += _totals(self.parent[level], mean, len(values))
        regrets[~self.legal] = 0.0
        return regrets

    def best_response(self, gains: Array) -> tuple[float, Array]:
        """The greatest payoff against ``gains`` ``(n_sequences,)``, and a plan that gets it."""
        values, grid = self._grid(gains)
        policy = np.zeros(self.legal.shape)
        for level in reversed(self.levels):
            candidates = np.where(self.legal[level], grid[level], -np.inf)
            best = candidates.argmax(axis=1)
            policy[level][np.arange(len(best)), best] = 1.0
            values += _totals(self.parent[level], candidates.max(axis=1), len(values))
        return float(values[0]), self.plan(policy)

    def _grid(self, gains: Array) -> tuple[Array, Array]:
        """A copy of ``gains`` to add up in, and its view ``(n, 3)`` by information sets."""
        values = gains.copy()
        return values, values[1:].reshape(self.legal.shape)


def _totals(where: Integers, amounts: Array, size: int) -> Array:
    """``(size,)`` sums of the amounts that belong to each place."""
    return np.asarray(np.bincount(where, amounts, minlength=size), dtype=np.float64)


@dataclass(frozen=True, eq=False)
class Game:
    """A two-player zero-sum game in sequence form.

    Attributes
    ----------
    players : (Player, Player)
        Who decides what.
    ends : (2, n_ends) int array
        The last sequences of both players, for each pair of them that ends the game.
    payoffs : (n_ends,) array
        What the first player then gains, times the probability of the cards.
    stakes : float
        The most that a player can lose in one game, in units of the ante.
    """

    players: tuple[Player, Player]
    ends: Integers
    payoffs: Array
    stakes: float

    def gains(self, player: int, plan: Array) -> Array:
        """Payoffs of each sequence ``(n_sequences,)`` of a player against the other's plan."""
        own, other = self.ends[player], self.ends[1 - player]
        signed = self.payoffs if player == 0 else -self.payoffs
        return _totals(own, signed * plan[other], self.players[player].n_sequences)

    def value(self, plans: Sequence[Array]) -> float:
        """What the first player gains on average when both play these plans."""
        return float(plans[0] @ self.gains(0, plans[1]))

    def exploitability(self, plans: Sequence[Array]) -> float:
        """How far the two plans are from equilibrium, in units of the ante a game.

        The mean over both players of the payoff of a best response to the other: NashConv / 2,
        in ``[0, stakes]``, and 0 exactly in equilibrium (rounding leaves some 1e-16).
        """
        best = (self.players[p].best_response(self.gains(p, plans[1 - p]))[0] for p in (0, 1))
        return sum(best) / 2


@lru_cache
def poker(
    ranks: int = 3, suits: int = 1, raises: tuple[float, ...] = (1.0,), max_raises: int = 1
) -> Game:
    """The game with these cards and bets.

    Parameters
    ----------
    ranks, suits : int
        The deck has every rank in every suit; suits count for nothing.
    raises : tuple of float
        By how much one raises in each of the one or two rounds, in units of the ante.
    max_raises : int
        Raises allowed in a round, >= 1.

    Raises
    ------
    UsageError
        If there are no two or three cards to deal, or not one or two rounds.

    Examples
    --------
    >>> kuhn = poker()
    >>> [player.names[0] for player in kuhn.players], sum(len(p) for p in kuhn.players)
    (['0 ', '0 c'], 12)
    >>> round(kuhn.exploitability([p.plan(p.uniform()) for p in kuhn.players]), 6)
    0.458333
    """
    n_rounds = checks.integer("number of raises", len(raises), 1, 2)
    checks.integer("max_raises", max_raises, 1)
    checks.integer("suits", suits, 1)
    n_dealt = 1 + n_rounds  # a public card precedes the second round
    checks.integer("ranks * suits", ranks * suits, n_dealt)

    deals = np.array(list(permutations(range(ranks * suits), n_dealt)))
    histories = list(_histories(_Rules(tuple(raises), max_raises)))
    players, sequences = zip(*(_build(p, histories, deals) for p in (0, 1)), strict=True)
    over = [bets for bets in histories if bets.is_over]
    ends = np.hstack([[sequences[p][bets.last[p]] for p in (0, 1)] for bets in over])
    gains = np.hstack([bets.stake * bets.winner(deals // suits) for bets in over])
    pairs, which = np.unique(ends, axis=1, return_inverse=True)
    payoffs = _totals(which.ravel(), gains / len(deals), pairs.shape[1])
    return Game(players, pairs, payoffs, 1.0 + max_raises * sum(raises))


class _Rules(NamedTuple):
    raises: tuple[float, ...]
    max_raises: int


Step: TypeAlias = tuple[str, int] | None
"""A player's latest action: after which bets, and which; None before its first."""


@dataclass(frozen=True)
class _Bets:
    """A history of bets: f, c and r for fold, call and raise, with / between the rounds."""

    rules: _Rules
    moves: str = ""
    paid: tuple[float, float] = (1.0, 1.0)
    last: tuple[Step, Step] = (None, None)
    depth: tuple[int, int] = (0, 0)  # own actions of each player so far
    is_over: bool = False

    @property
    def in_round(self) -> str:
        return self.moves.rpartition("/")[2]

    @property
    def player(self) -> int:
        """Whose turn it is: the first player opens every round."""
        return len(self.in_round) % 2

    @property
    def stake(self) -> float:
        """What the loser pays."""
        return min(self.paid)

    @property
    def legal(self) -> tuple[bool, bool, bool]:
        is_raised = self.paid[self.player] < self.paid[1 - self.player]
        return is_raised, True, self.in_round.count("r") < self.rules.max_raises

    def after(self, action: int) -> _Bets:
        """The history when whose turn it is takes a legal action."""
        me, moves = self.player, self.moves + "fcr"[action]
        paid = self.paid[me] if action == FOLD else self.paid[1 - me]
        if action == RAISE:
            paid += self.rules.raises[self.moves.count("/")]
        ends_round = action == CALL and self.in_round != ""
        is_last = self.moves.count("/") == len(self.rules.raises) - 1
        return replace(
            self,
            moves=moves + "/" if ends_round and not is_last else moves,
            paid=_with(self.paid, me, paid),
            last=_with(self.last, me, (self.moves, action)),
            depth=_with(self.depth, me, self.depth[me] + 1),
            is_over=action == FOLD or (ends_round and is_last),
        )

    def winner(self, ranks: Integers) -> Integers:
        """+1 where the first player wins with dealt ``ranks`` ``(n_deals, 2 or 3)``, -1, or 0."""
        if self.moves.endswith("f"):
            return np.full(len(ranks), 1 if self.player == 0 else -1)  # the other one folded
        strength = ranks[:, :2].copy()
        if ranks.shape[1] == 3:
            strength[ranks[:, :2] == ranks[:, 2:]] += 1 + ranks.max()  # a pair beats all else
        signs: Integers = np.sign(strength[:, 0] - strength[:, 1])
        return signs


def _with(pair: tuple[Any, Any], index: int, item: Any) -> tuple[Any, Any]:
    return (item, pair[1]) if index == 0 else (pair[0], item)


def _histories(rules: _Rules) -> Iterator[_Bets]:
    """Every history of bets, shorter ones first."""
    histories = [_Bets(rules)]
    for bets in histories:  # which grows meanwhile
        yield bets
        if not bets.is_over:
            histories += [bets.after(action) for action in range(N_ACTIONS) if bets.legal[action]]


def _build(
    me: int, histories: Sequence[_Bets], deals: Integers
) -> tuple[Player, dict[Step, Integers]]:
    """A player, and its sequence ``(n_deals,)`` after each of its steps in every deal."""
    own = [bets for bets in histories if not bets.is_over and bets.player == me]
    own.sort(key=lambda bets: bets.depth[me])
    sequences: dict[Step, Integers] = {None: np.zeros(len(deals), dtype=np.int64)}
    names: list[str] = []
    legal, parent, depths = [], [], []
    for bets in own:
        seen = deals[:, [me, 2]] if "/" in bets.moves else deals[:, [me]]
        cards, first, infoset = np.unique(seen, axis=0, return_index=True, return_inverse=True)
        for action in range(N_ACTIONS):
            start = 1 + N_ACTIONS * len(names) + action
            sequences[bets.moves, action] = start + N_ACTIONS * infoset.ravel()
        names += ["/".join(map(str, row)) + " " + bets.moves for row in cards]
        legal += [bets.legal] * len(cards)
        parent.append(sequences[bets.last[me]][first])
        depths += [bets.depth[me]] * len(cards)
    edges = [int(edge) for edge in np.searchsorted(depths, range(depths[-1] + 2))]
    levels = tuple(slice(low, high) for low, high in pairwise(edges))
    return Player(tuple(names), np.array(legal), np.concatenate(parent), levels), sequences

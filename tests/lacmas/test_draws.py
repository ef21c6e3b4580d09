"""Draws by key: of seed, agent, round, step and purpose, and of nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from bbopt.lacmas.draws import ALONE, BLOCK, Draws, unit_size


def test_an_agent_draws_the_same_whoever_else_is_owned():
    whole = Draws(7, np.arange(10), 10)
    part = Draws(7, np.array([2, 5, 9]), 10)
    for kind in ("uniform", "normal"):
        everyone = getattr(whole, kind)("step", 3, 1, 4, 2)
        np.testing.assert_array_equal(getattr(part, kind)("step", 3, 1, 4, 2), everyone[[2, 5, 9]])
    assert Draws(7, np.arange(0), 10).normal("step", 3, 1, 4).shape == (0, 4)


def test_beyond_a_thousand_agents_blocks_share_a_key():
    n = ALONE + 70
    assert (unit_size(ALONE), unit_size(n)) == (1, BLOCK)
    whole = Draws(7, np.arange(n), n).uniform("step", 0, 0, 3)
    last = np.arange(n // BLOCK * BLOCK, n)
    np.testing.assert_array_equal(Draws(7, last, n).uniform("step", 0, 0, 3), whole[last])
    assert len(np.unique(whole)) == whole.size


def test_any_part_of_the_key_changes_every_draw():
    base = Draws(7, np.arange(4), 4).uniform("step", 3, 1, 5)
    others = [
        Draws(8, np.arange(4), 4).uniform("step", 3, 1, 5),
        Draws(7, np.arange(4), 4).uniform("other", 3, 1, 5),
        Draws(7, np.arange(4), 4).uniform("step", 4, 1, 5),
        Draws(7, np.arange(4), 4).uniform("step", 3, 2, 5),
    ]
    drawn = np.concatenate([base.ravel(), *(other.ravel() for other in others)])
    assert len(np.unique(drawn)) == drawn.size
    np.testing.assert_array_equal(Draws(7, np.arange(4), 4).uniform("step", 3, 1, 5), base)


@pytest.mark.parametrize("agents", [np.arange(6), np.array([1, 4])])
def test_key_by_key_the_draws_are_the_same(agents):
    draws = Draws(7, agents, 6)
    whole = draws.normal("step", 2, 0, 3)
    rows = list(draws.units())
    assert [part.start for part, _ in rows] == list(range(len(agents)))
    for part, one in rows:
        np.testing.assert_array_equal(one.normal("step", 2, 0, 3), whole[part])

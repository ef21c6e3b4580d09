"""Groups of agents that share one request."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bbopt.lacmas.guides.groups import grouped, typical

GAINS = st.lists(st.floats(-2, 2), min_size=1, max_size=60)


@given(GAINS, st.integers(1, 12), st.randoms(use_true_random=False))
def test_the_living_fall_into_at_most_so_many_groups_and_none_is_empty(gains, most, random):
    n = len(gains)
    alive = np.array([random.random() < 0.8 for _ in range(n)])
    divergence = np.array([random.random() for _ in range(n)])
    groups = grouped(np.array(gains), divergence, alive, most)
    assert (groups[~alive] == -1).all()
    found = np.unique(groups[alive])
    assert len(found) <= most
    np.testing.assert_array_equal(found, np.arange(len(found)))
    for i, agent in enumerate(typical(groups, np.array(gains))):
        assert groups[agent] == i


def test_few_agents_are_each_a_group():
    groups = grouped(np.zeros(4), np.ones(4), np.array([True, False, True, True]), 3)
    assert groups.tolist() == [0, -1, 1, 2]


def test_groups_are_quarters_by_gain_halved_by_divergence():
    rng = np.random.default_rng(0)
    gain, divergence = rng.normal(size=10_000), rng.lognormal(size=10_000)
    groups = grouped(gain, divergence, np.ones(10_000, dtype=bool), 8)
    assert np.bincount(groups).tolist() == [1250] * 8
    for i in range(7):
        lower, upper = groups == i, groups == i + 1
        if i % 2:  # the next quarter
            assert gain[lower].max() <= gain[upper].min()
        else:
            assert divergence[lower].max() <= divergence[upper].min()


def test_the_typical_agent_has_the_middle_gain_of_its_group():
    gain = np.array([5.0, 1.0, 3.0, 2.0, 9.0])
    assert typical(np.array([0, 0, 0, 1, 1]), gain).tolist() == [2, 4]


def test_when_all_have_left_there_is_no_group():
    groups = grouped(np.zeros(2), np.ones(2), np.zeros(2, dtype=bool), 8)
    assert groups.tolist() == [-1, -1]
    assert len(typical(groups, np.zeros(2))) == 0

"""The ε-net against its definition, proposal by proposal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbopt.polca.epsnet import colliding, farthest_first

# A grid of points: equal points and exact ties of distance are common.
points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=8)
radius = st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 4.0, 100.0])


def distances(a, b):
    """Euclidean distances ``(n, m)``."""
    a, b = np.reshape(a, (-1, 1, 2)), np.reshape(b, (1, -1, 2))
    return np.sqrt(((a - b) ** 2).sum(axis=2)).astype(float)


def naive(proposals, memory, epsilon):
    """What the paper says: drop what is too near, keep the farthest, begin again."""
    kept = []
    left = list(range(len(proposals)))
    while True:
        known = [*memory, *(proposals[i] for i in kept)]

        def gap(i, known=known):
            return min((np.hypot(*np.subtract(proposals[i], p)) for p in known), default=np.inf)

        left = [i for i in left if gap(i) > epsilon]
        if not left:
            return kept
        kept.append(max(left, key=lambda i: (gap(i), -i)))
        left.remove(kept[-1])


def net(proposals, memory, epsilon):
    return farthest_first(distances(proposals, memory), distances(proposals, proposals), epsilon)


@given(points, points, radius)
def test_it_keeps_what_the_naive_loop_keeps_and_in_its_order(proposals, memory, epsilon):
    assert net(proposals, memory, epsilon) == naive(proposals, memory, epsilon)


@given(points, points, radius)
def test_all_that_is_kept_is_farther_than_epsilon_from_everything_and_the_rest_is_not(
    proposals, memory, epsilon
):
    kept = net(proposals, memory, epsilon)
    known = [*memory, *(proposals[i] for i in kept)]
    for i in kept:
        others = list(known)
        others.remove(proposals[i])
        assert (distances([proposals[i]], others) > epsilon).all()
    for i in set(range(len(proposals))) - set(kept):
        assert (distances([proposals[i]], known) <= epsilon).any()


@given(points, points, radius, st.randoms(use_true_random=False))
def test_the_order_of_the_memory_does_not_matter(proposals, memory, epsilon, random):
    shuffled = random.sample(memory, len(memory))
    assert net(proposals, shuffled, epsilon) == net(proposals, memory, epsilon)


@given(points, radius)
def test_how_far_a_kept_one_is_from_those_before_it_falls_from_one_to_the_next(points, epsilon):
    kept = net(points, [], epsilon)
    gaps = [
        distances([points[i]], [points[j] for j in kept[:n]]).min() for n, i in enumerate(kept) if n
    ]
    assert gaps == sorted(gaps, reverse=True)


def test_with_radius_zero_only_repetitions_are_refused():
    proposals = [(0, 0), (1, 0), (0, 0), (3, 0)]
    assert sorted(net(proposals, [(3, 0)], 0.0)) == [0, 1]


def test_the_lower_index_wins_a_tie():
    assert net([(0, 2), (2, 0), (0, -2), (3, 0)], [(0, 0)], 1.0) == [3, 0, 2]


def test_no_proposals_and_no_memory_are_no_trouble():
    assert net([], [(0, 0)], 1.0) == []
    assert net([(5, 5)], [], 1.0) == [0]


@given(points, points.filter(len), radius)
def test_those_collided_with_are_the_nearest_within_reach_and_named_once(
    proposals, memory, epsilon
):
    d = distances(proposals, memory)
    kept = net(proposals, memory, epsilon)
    rejected = [i for i in range(len(proposals)) if i not in kept]
    found = colliding(d, rejected, epsilon)
    assert len(found) == len(set(found))
    assert set(found) == {int(d[i].argmin()) for i in rejected if d[i].min() <= epsilon}


def test_a_proposal_refused_for_another_proposal_collided_with_nobody():
    proposals, memory = [(3, 0), (3, 1)], [(0, 0)]
    assert net(proposals, memory, 2.0) == [1]
    assert colliding(distances(proposals, memory), [0], 2.0) == []


@pytest.mark.parametrize("epsilon", [0.0, 0.9])
def test_a_proposal_at_distance_zero_collides_whatever_the_radius(epsilon):
    assert colliding(np.array([[0.0, 1.0]]), [0], epsilon) == [0]

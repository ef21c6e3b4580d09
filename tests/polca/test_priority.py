"""Priorities against their formulas, the Pareto front against its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbopt.polca.memory import Memory
from bbopt.polca.priority import mean_priority, pareto_front, top, ucb_priority
from tests.polca.toys import losses, prompt_space

evaluations = st.lists(
    st.tuples(st.sampled_from([0.0, 0.5, 1.0, 0.3]), st.integers(0, 3)), max_size=5
)
histories = st.lists(evaluations, min_size=1, max_size=7)


def remembering(history):
    """A memory with these ``(loss, example)`` of each candidate."""
    memory = Memory(prompt_space())
    for i, told in enumerate(history):
        memory.record(
            memory.admit({"prompt": str(i)}), losses(*(v for v, _ in told)), [e for _, e in told]
        )
    return memory


@given(histories, st.floats(0, 2))
def test_upper_confidence_bounds_are_those_worked_out_one_by_one(history, scale):
    total = sum(len(told) for told in history)
    got = ucb_priority(remembering(history), scale)
    for told, priority in zip(history, got, strict=True):
        if told:
            mean = sum(v for v, _ in told) / len(told)
            bonus = scale * math.sqrt(math.log(total + 2) / len(told))
            assert priority == pytest.approx(bonus - mean)
        else:
            assert priority == -math.inf


@given(histories)
def test_without_width_a_bound_is_the_mean(history):
    memory = remembering(history)
    assert ucb_priority(memory, 0.0) == pytest.approx(mean_priority(memory))


def test_a_bound_forgives_bad_luck_that_the_mean_does_not():
    memory = remembering([[(0.4, 0)] * 50, [(0.5, 0)]])
    assert top(mean_priority(memory), 1, np.ones(2, bool)) == [0]
    assert top(ucb_priority(memory, 0.5), 1, np.ones(2, bool)) == [1]


@given(
    st.lists(st.tuples(st.sampled_from([-math.inf, -1.0, 0.0, 2.0]), st.booleans()), min_size=1),
    st.integers(1, 5),
)
def test_the_top_is_the_free_ones_sorted_by_priority_then_newest_first(rows, k):
    priorities, free = (np.array(column) for column in zip(*rows, strict=True))
    allowed = [i for i, is_free in enumerate(free) if is_free]
    expected = sorted(allowed, key=lambda i: (-priorities[i], -i))[:k]
    assert top(priorities, k, free) == expected


@given(histories, st.integers(0, 2**32 - 1))
def test_the_front_is_who_no_other_beats_at_some_example(history, seed):
    memory = remembering(history)
    means = [{e: np.mean([v for v, at in told if at == e]) for _, e in told} for told in history]
    front = {
        i
        for i, mine in enumerate(means)
        if any(all(mine[e] <= other.get(e, math.inf) + 1e-12 for other in means) for e in mine)
    }
    everyone = np.ones(len(history), dtype=bool)
    drawn = pareto_front(memory, len(history), everyone, np.random.default_rng(seed))
    if front:
        assert sorted(drawn) == sorted(front)
    else:
        assert len(drawn) == len(history)


def test_the_front_is_drawn_from_in_proportion_to_the_examples_won():
    memory = remembering([[(0.0, 0), (0.0, 1), (0.0, 2), (1.0, 3)], [(1.0, 0), (0.0, 3)]])
    rng = np.random.default_rng(0)
    draws = [pareto_front(memory, 1, np.ones(2, bool), rng)[0] for _ in range(4000)]
    # 3 of 4 examples: 0.75, with a standard error of 0.007
    assert np.mean(np.array(draws) == 0) == pytest.approx(0.75, abs=0.03)


def test_the_front_leaves_out_who_is_not_free_and_does_not_promote_others():
    memory = remembering([[(0.0, 0)], [(0.5, 0)], [(0.0, 1)]])
    free = np.array([False, True, True])
    assert pareto_front(memory, 3, free, np.random.default_rng(0)) == [2]


def test_the_front_of_evaluations_without_examples_is_the_top_of_the_means():
    memory = Memory(prompt_space())
    for i, loss in enumerate((0.5, 0.1, 0.3)):
        memory.record(memory.admit({"prompt": str(i)}), losses(loss))
    assert pareto_front(memory, 2, np.ones(3, bool), np.random.default_rng(0)) == [1, 2]

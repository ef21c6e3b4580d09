"""The memory against lists of everything that it was told."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbopt.polca.memory import KEPT, Memory, Rollout
from bbopt.space import Categorical, Space
from bbopt.testing.driving import equal_states, through_files
from bbopt.trial import Outcome
from tests.polca.toys import losses, prompt_space

SPACE = prompt_space()
value = st.sampled_from([0.0, 0.25, 1.0, 0.3, -7.5, math.nan])
record = st.tuples(
    st.integers(0, 3), st.lists(st.tuples(value, st.integers(0, 2)), min_size=0, max_size=5)
)


def filled(records):
    """A memory of four candidates that was told these ``(candidate, [(loss, example)])``."""
    memory = Memory(SPACE)
    for i in range(4):
        memory.admit({"prompt": f"candidate {i}"}, parent=i - 1)
    for candidate, evaluations in records:
        said = [f"{loss} on {example}" for loss, example in evaluations]
        outcome = Outcome([loss for loss, _ in evaluations], feedback=said)
        memory.record(candidate, outcome, [example for _, example in evaluations])
    return memory


@given(st.lists(record, max_size=12))
def test_its_statistics_are_those_of_all_evaluations(records):
    memory = filled(records)
    everything = [[e for c, es in records if c == i for e in es] for i in range(4)]
    finite = [[loss for loss, _ in es if math.isfinite(loss)] for es in everything]
    assert memory.count.tolist() == [len(f) for f in finite]
    assert memory.failed.tolist() == [
        len(es) - len(f) for es, f in zip(everything, finite, strict=True)
    ]
    assert memory.total == sum(map(len, finite))
    assert memory.parent.tolist() == [-1, 0, 1, 2]
    # sums of at most 60 numbers below 8: rounding is below 1e-13
    for i, f in enumerate(finite):
        assert memory.mean[i] == pytest.approx(np.mean(f) if f else math.nan, nan_ok=True)
        assert memory.m2[i] == pytest.approx(np.var(f) * len(f) if f else 0.0, abs=1e-12)
        for example in range(3):
            here = [loss for loss, e in everything[i] if e == example and math.isfinite(loss)]
            known = memory.by_example[i].get(example)
            assert known == (None if not here else (len(here), pytest.approx(np.mean(here))))
    degrees = sum(max(len(f) - 1, 0) for f in finite)
    within = sum(np.var(f) * len(f) for f in finite if f)
    expected = math.sqrt(within / degrees) if degrees else 0.0
    assert memory.sd == pytest.approx(expected, abs=1e-6)  # the root of a rounded zero


@given(st.lists(record, max_size=30))
def test_it_keeps_the_best_the_worst_and_the_newest_rollouts_with_what_they_said(records):
    memory = filled(records)
    for i in range(4):
        all_of_it = [
            Rollout(example, loss, f"{loss} on {example}")
            for c, es in records
            if c == i
            for loss, example in es
            if math.isfinite(loss)
        ]
        kept = memory.rollouts[i]
        assert len(kept) == min(len(all_of_it), KEPT + 2)
        assert kept[-KEPT:] == all_of_it[-KEPT:]
        if all_of_it:
            all_losses = [rollout.loss for rollout in all_of_it]
            assert {min(all_losses), max(all_losses)} <= {rollout.loss for rollout in kept}


@given(st.lists(record, max_size=12))
def test_it_comes_back_from_files_as_it_was(records):
    memory = filled(records)
    loaded = Memory.from_state(through_files(memory.to_state()), SPACE)
    assert equal_states(loaded.to_state(), memory.to_state())
    assert loaded.find({"prompt": "candidate 2"}) == 2
    for each in (memory, loaded):  # and goes on alike
        assert each.admit({"prompt": "new"}, 1) == 4
        each.record(4, losses(0.5, 0.7), [0, 1])
    assert equal_states(loaded.to_state(), memory.to_state())


def test_equal_params_are_one_candidate_and_true_is_not_one():
    memory = Memory(Space({"c": Categorical([1, True, "1"])}))
    assert [memory.admit({"c": c}) for c in (1, True, "1", True, 1)] == [0, 1, 2, 1, 0]
    assert memory.find({"c": True}) == 1


def test_a_candidate_that_is_admitted_again_keeps_its_parent_and_its_evaluations():
    memory = filled([(2, [(0.5, 0)])])
    assert memory.admit({"prompt": "candidate 2"}, parent=0) == 2
    assert memory.parent[2] == 1
    assert memory.count[2] == 1


def test_hundreds_of_candidates_do_not_disturb_each_other():
    memory = Memory(SPACE)
    for i in range(300):
        assert memory.admit({"prompt": str(i)}) == i
        memory.record(i, losses(float(i)))
    assert memory.mean.tolist() == list(range(300))
    assert memory.count.tolist() == [1] * 300


def test_a_summary_of_a_million_evaluations_counts_without_rollouts():
    memory = filled([])
    memory.record(0, Outcome.summary(10**6, 0.25, 100.0, failed=3))
    assert (memory.count[0], memory.failed[0], memory.mean[0]) == (10**6, 3, 0.25)
    assert memory.rollouts[0] == []
    assert memory.sd == pytest.approx(math.sqrt(100.0 / (10**6 - 1)))


def test_values_near_the_largest_double_leave_everything_finite():
    memory = filled([])
    for _ in range(3):
        memory.record(0, losses(1.7e308, -1.7e308), [0, 0])
    assert np.isfinite(memory.mean[0])
    assert np.isfinite(memory.m2[0])
    assert math.isfinite(memory.sd)

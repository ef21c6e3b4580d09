"""Rounds, pairs and jobs: their JSON, and when a round is ready."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbopt.polca.rounds import Job, Pair, Round

small = st.integers(0, 99)
ids = st.lists(small, max_size=4).map(tuple)
feedback = st.text(max_size=5) | st.dictionaries(st.text(max_size=5), st.text(max_size=5))
seen = st.tuples(st.none() | small, st.floats(-1, 1), feedback).map(list)
jobs = st.builds(
    Job,
    candidate=small,
    examples=ids,
    repeats=st.integers(1, 5),
    kind=st.sampled_from(["parent", "child", "again"]),
    round=small,
    pair=st.integers(-1, 9),
)
pairs = st.builds(Pair, candidate=small, examples=ids, seen=st.lists(seen, max_size=3))
rounds = st.builds(
    Round,
    pairs=st.lists(pairs, max_size=3),
    waiting=small,
    children=small,
    has_proposed=st.booleans(),
)


@given(jobs | pairs | rounds)
def test_each_comes_back_from_json_text_as_it_was(thing):
    text = json.dumps(thing.to_json(), allow_nan=False)
    assert type(thing).from_json(json.loads(text)) == thing


def test_a_round_is_ready_once_its_parents_are_known_and_until_it_has_proposed():
    this = Round([Pair(0, (), 1)], waiting=1)
    assert not this.is_ready
    this.waiting = 0
    assert this.is_ready
    this.has_proposed = True
    assert not this.is_ready


def test_the_loss_of_a_pair_is_the_mean_of_what_was_seen():
    assert Pair(0, (), 1).loss is None
    assert Pair(0, (1, 2), 2, [[1, 0.25, ""], [2, 0.75, "late"]]).loss == pytest.approx(0.5)

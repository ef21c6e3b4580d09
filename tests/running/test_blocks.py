"""Blocks: how a trial is cut, and what each part may draw."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bbopt import Trial
from bbopt.running.blocks import Block, count_blocks, cut

PARAMS = {"x": 0.5}


@given(
    repeats=st.integers(1, 50),
    size=st.integers(1, 60),
    with_examples=st.booleans(),
)
def test_blocks_are_a_partition_of_the_repeats(
    repeats: int, size: int, with_examples: bool
) -> None:
    context = {"examples": tuple(range(100, 100 + repeats))} if with_examples else {"agent": 1}
    trial = Trial(7, PARAMS, repeats, context)
    parts = [cut(trial, size, index) for index in range(count_blocks(trial, size))]
    assert [part.repeats for part in parts[:-1]] == [size] * (len(parts) - 1)
    assert 1 <= parts[-1].repeats <= size
    assert sum(part.repeats for part in parts) == repeats
    assert {part.number for part in parts} == {7}
    assert all(part.params is PARAMS for part in parts)
    if with_examples:
        ids = [i for part in parts for i in part.context["examples"]]
        assert tuple(ids) == context["examples"]
    else:
        assert all(part.context == {"agent": 1} for part in parts)


def test_every_seed_worker_number_and_block_has_its_own_draws() -> None:
    drawn = {
        Block(Trial(number, PARAMS), index, seed, worker).rng().random()
        for number in range(3)
        for index in range(3)
        for seed in range(3)
        for worker in range(3)
    }
    assert len(drawn) == 81
    block = Block(Trial(1, PARAMS), 0, 0, 0)
    assert block.rng().random() == Block(Trial(1, {"x": 0.9}), 0, 0, 0).rng().random()

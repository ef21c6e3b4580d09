"""Which examples a baseline evaluates a candidate on."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bbopt import Float, Space, Spec
from bbopt.baselines.minibatch import draw_minibatch
from bbopt.spec import Examples

SPACE = Space({"x": Float(0.0, 1.0)})


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 99))
def test_no_example_comes_twice_more_often_than_another(size: int, n: int, seed: int) -> None:
    spec = Spec(space=SPACE, examples=Examples(train=tuple(range(100, 100 + n)), validation=(1,)))
    repeats, context = draw_minibatch(spec, size, np.random.default_rng(seed))
    assert repeats == len(context["examples"]) == size
    counts = Counter(context["examples"])
    assert counts.keys() <= set(range(100, 100 + n))
    assert max(counts.values()) - min(counts[i] for i in range(100, 100 + n)) <= 1
    assert {type(i) for i in context["examples"]} == {int}


def test_without_examples_there_are_repeats_unless_one_says_all() -> None:
    rng = np.random.default_rng(0)
    assert draw_minibatch(Spec(space=SPACE), 4, rng) == (4, {})
    assert draw_minibatch(Spec(space=SPACE, deterministic=True), 4, rng) == (1, {})

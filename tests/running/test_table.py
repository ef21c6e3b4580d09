"""The nearest free row of a table, compared with the naive search."""

from __future__ import annotations

import numpy as np
from doubles_of_runs import MIXED
from hypothesis import given, settings
from hypothesis import strategies as st

from bbopt import Float, Space
from bbopt.running.table import FreeRows
from bbopt.spec import Table


@settings(max_examples=50)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 15))
def test_the_nearest_free_row_is_taken_and_the_lower_index_among_equals(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    rows = MIXED.sample(rng, n)
    rows += [rows[i] for i in rng.integers(n, size=n)]  # some twice
    table = Table(MIXED, rows)
    free_rows, free = FreeRows(table, MIXED), list(range(len(rows)))
    x = MIXED.to_unit(rows)
    for _ in range(len(rows)):
        asked = MIXED.sample(rng)[0] if rng.random() < 0.7 else rows[rng.integers(len(rows))]
        nearest = min(free, key=lambda i: (float(np.sum((x[i] - MIXED.to_unit(asked)) ** 2)), i))
        taken = free_rows.take_nearest(asked)
        assert taken is not None
        assert MIXED.key(taken) == MIXED.key(rows[nearest])
        free.remove(nearest)
    assert free_rows.take_nearest(rows[0]) is None


def test_a_row_that_is_taken_is_not_offered_and_the_others_with_its_params_are() -> None:
    space = Space({"x": Float(0, 1)})
    free_rows = FreeRows(Table(space, [{"x": x} for x in (0.1, 0.5, 0.5, 0.9)]), space)
    free_rows.take({"x": 0.5})
    free_rows.take({"x": 0.3})  # not in the table
    assert free_rows.take_nearest({"x": 0.5}) == {"x": 0.5}
    free_rows.take({"x": 0.5})  # none is left
    assert free_rows.take_nearest({"x": 0.6}) == {"x": 0.9}
    assert free_rows.take_nearest({"x": 0.6}) == {"x": 0.1}
    assert free_rows.take_nearest({"x": 0.6}) is None

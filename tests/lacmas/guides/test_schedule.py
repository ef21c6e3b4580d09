"""When a model is asked, and how long the run is thought to be."""

import math

import numpy as np
import pytest

from bbopt.lacmas.guides import schedule
from bbopt.lacmas.guides.schedule import EVERY, acts, cooperates, expected_end, settled
from bbopt.lacmas.memory import WINDOW
from tests.lacmas.guides.toys import memory


def rounds(is_due, horizon, end):
    return [t for t in range(1, end + 1) if is_due(horizon, t - 1, t)]


def test_the_published_horizon_gives_the_published_rounds_but_for_the_accidental_third():
    assert rounds(acts, 2000, 4000) == [667, 1334]
    assert rounds(cooperates, 2000, 4000) == [736, 1472, 2208, 2944, 3679]


@pytest.mark.parametrize("horizon", [1, 2, 3, 4, 10, 57, 100, 1999])
def test_due_rounds_are_the_formula_for_every_horizon(horizon):
    points = {math.ceil(horizon / 3), math.ceil(2 * horizon / 3)}
    assert rounds(acts, horizon, 3 * horizon) == sorted(p for p in points if p < horizon)
    multiples = {math.ceil(m * horizon / math.e) for m in range(1, 3 * horizon * 3)}
    assert rounds(cooperates, horizon, 3 * horizon) == sorted(
        p for p in multiples if p <= 3 * horizon
    )


def test_rounds_without_an_exchange_delay_and_lose_nothing():
    assert acts(30, last=8, now=15)
    assert not acts(30, last=10, now=19)
    assert cooperates(30, last=8, now=15)
    assert not cooperates(30, last=12, now=22)


def test_a_swarm_that_contracts_evenly_collapses_when_its_line_says():
    now = 40
    divergence = 1e4 * 0.8 ** np.arange(now - WINDOW, now)  # the last at round 39
    [end] = expected_end(memory(np.ones(WINDOW), divergence), now, 1e-2)
    assert 1e4 * 0.8**end == pytest.approx(1e-2)


def test_a_swarm_that_has_collapsed_ends_now_and_one_that_grows_never():
    flat = np.ones((3, WINDOW))
    divergence = np.geomspace([1e-1, 1, 1], [1e-4, 2, 1], WINDOW, axis=1)
    ends = expected_end(memory(flat, divergence), 20, 1e-2)
    np.testing.assert_array_equal(ends, [19, np.inf, np.inf])


def test_without_a_full_memory_nothing_is_expected():
    short = memory(np.ones(WINDOW - 1), 0.5 ** np.arange(WINDOW - 1))
    assert expected_end(short, WINDOW, 1e-2) == [np.inf]
    zero = memory(np.ones(WINDOW), np.zeros(WINDOW))
    assert expected_end(zero, WINDOW + 1, 1e-2) == [np.inf]


def test_the_horizon_is_settled_when_the_next_look_would_be_too_late():
    assert settled(300.0, 20) is None  # first request at 100
    assert settled(300.0, 80) is None  # the next look is at 100, not too late
    assert settled(299.0, 80) == 299
    assert settled(130.2, 40) == 131
    late = settled(30.0, 20)  # a third has passed
    assert acts(late, last=19, now=20)


@pytest.mark.parametrize("length", [60, 130, 500, 2000])
def test_a_run_that_goes_as_estimated_is_asked_at_a_third_of_it(length):
    for now in range(EVERY, length, EVERY):
        horizon = settled(float(length), now)
        if horizon is not None:
            break
    first = math.ceil(horizon / 3)
    assert first >= now
    assert first == pytest.approx(length / 3, abs=1)
    assert schedule.acts(horizon, now - 1, now) == (first == now)

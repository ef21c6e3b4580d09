"""The last rounds of each agent, and what they have gained."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bbopt.lacmas.memory import WINDOW, Memory, relative_gain
from tests.lacmas.swarms import network

LOSSES = st.floats(allow_nan=True, allow_infinity=True)


def naive_gain(losses):
    known = [x for x in losses if np.isfinite(x)]
    if len(known) < 2:
        return 0.0
    quarter = max(len(known) // 4, 1)
    first, last = np.mean(known[:quarter]), np.mean(known[-quarter:])
    scale = (abs(first) + abs(last)) / 2
    return 0.0 if scale == 0 else (first - last) / scale


def test_it_holds_the_last_nineteen_rounds_the_oldest_first():
    memory = Memory(2)
    for t in range(WINDOW + 4):
        memory.push(np.array([t, -t]), np.array([10 * t, 0]))
    np.testing.assert_array_equal(memory.mean[0], np.arange(4, WINDOW + 4))
    np.testing.assert_array_equal(memory.mean[1], -memory.mean[0])
    np.testing.assert_array_equal(memory.divergence[0], 10 * memory.mean[0])


def test_rounds_that_are_yet_to_come_are_unknown():
    memory = Memory(1)
    memory.push(np.array([5.0]), np.array([1.0]))
    assert np.isnan(memory.mean[0, :-1]).all()
    assert memory.mean[0, -1] == 5.0
    assert memory.gain() == [0.0]  # of one round nothing can be said


@given(
    st.lists(st.floats(-1e6, 1e6), max_size=WINDOW),
    st.lists(st.integers(0, WINDOW), max_size=5),
)
def test_the_gain_is_that_of_the_known_quarters(losses, unknown):
    history = np.full(WINDOW, np.nan)
    history[WINDOW - len(losses) :] = losses
    history[[i for i in unknown if i < WINDOW]] = np.inf
    # two sums of up to 4 numbers in another order, each wrong by a few units of its last place,
    # beside a scale that cancellation can make as small as one of them
    np.testing.assert_allclose(
        relative_gain(history[None])[0], naive_gain(history), rtol=1e-9, atol=1e-9
    )


@given(st.lists(st.lists(LOSSES, min_size=4, max_size=4), min_size=1, max_size=5))
def test_whatever_was_observed_the_gain_is_a_number_in_its_range(rows):
    gain = relative_gain(np.array(rows))
    assert (np.abs(gain) <= 2 + 1e-12).all()


def test_gain_has_no_unit():
    history = np.random.default_rng(0).normal(size=(3, WINDOW))
    np.testing.assert_allclose(relative_gain(1e200 * history), relative_gain(history), rtol=1e-12)


def test_it_is_taken_up_again_agent_by_agent():
    net, memory, again = network(), Memory(6), Memory(6)
    for t in range(30):
        memory.push(t + np.arange(6.0), np.ones(6))
    again.restore(memory.state(net), net)
    np.testing.assert_array_equal(again.mean, memory.mean)
    again.push(np.zeros(6), np.zeros(6))
    assert (memory.mean[:, -1] > 0).all()  # the state was a copy

"""The bandit: every arm is tried, what gains is kept, what has changed is noticed."""

import numpy as np
import pytest

from bbopt.lacmas.guides.bandit import ARMS, EVERY, Bandit, choose
from tests.lacmas.guides.toys import context, falling, made
from tests.lacmas.swarms import network


def played(gain_of, rounds, guide=None):
    """The arms that six agents play when an arm gains what ``gain_of(arm, time)`` says."""
    net = network()
    guide = made(Bandit, net) if guide is None else guide
    arms = []
    for t in range(EVERY, EVERY * (rounds + 1), EVERY):
        arms.append(guide.arm.copy())
        gains = [gain_of(arm, t // EVERY) for arm in guide.arm]
        advice = guide.advise(context(net, t, falling(gains)))
        np.testing.assert_array_equal(advice.d, np.array(ARMS)[guide.arm])
    return np.array(arms)


def test_every_arm_is_tried_once_before_any_is_tried_again():
    arms = played(lambda arm, t: 0.1, len(ARMS))
    assert (np.sort(arms, axis=0) == np.arange(len(ARMS))[:, None]).all()


@pytest.mark.parametrize("best", range(len(ARMS)))
def test_the_arm_that_gains_most_is_played_most(best):
    arms = played(lambda arm, t: 1.0 if arm == best else 0.2, 30)
    assert ((arms[10:] == best).mean(axis=0) > 0.7).all()


def test_it_notices_that_another_arm_has_become_better():
    arms = played(lambda arm, t: 1.0 if arm == (0 if t < 20 else 3) else 0.2, 60)
    assert ((arms[45:] == 3).mean(axis=0) > 0.6).all()


def test_the_bound_is_mean_and_width():
    plays, rewards = np.array([[2.0, 1.0, 4.0, 1.0]]), np.array([[1.0, 0.5, 2.0, 0.52]])
    # means 0.5, 0.5, 0.5, 0.52; the width 0.2 √(ln 8 / n) is greatest where n is least
    assert choose(plays, rewards) == [3]
    assert choose(plays, np.array([[1.0, 0.5, 2.0, 0.4]])) == [1]


def test_arms_outside_the_range_are_cut():
    guide = made(Bandit, d_range=(0.5, 1.0))
    assert guide.start()[0].max() <= 1.0


def test_it_goes_on_from_its_state():
    net = network()
    unbroken, first, second = (made(Bandit, net) for _ in range(3))

    def gain(arm, t):
        return 0.1 * arm + 0.05 * t % 0.3

    arms = played(gain, 20, unbroken)
    played(gain, 9, first)
    second.restore(first.state(net), net)
    for t in range(9, 20):
        np.testing.assert_array_equal(second.arm, arms[t])
        gains = [gain(arm, t + 1) for arm in second.arm]
        second.advise(context(net, EVERY * (t + 1), falling(gains)))

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bbopt.bench import statistics
from bbopt.errors import UsageError

NAN, INF = np.nan, np.inf


def rng():
    return np.random.default_rng(0)


# few different numbers, so that ties are common
LOSSES = arrays(float, (6, 4), elements=st.sampled_from([0.0, 1.0, 2.0, 3.5, INF]))
RISING = st.lists(st.integers(1, 20), min_size=1, max_size=8, unique=True).map(sorted)


# --- bootstrap ----------------------------------------------------------------------------


def test_the_interval_of_two_values_reaches_from_one_to_the_other():
    # resampled means are 0, 1/2 and 1 with chances 1/4, 1/2, 1/4: both tails exceed 2.5 %
    mean, low, high = statistics.mean_band(np.array([0.0, 1.0]), rng())
    assert (mean, low, high) == (0.5, 0.0, 1.0)


def test_the_interval_has_the_quantiles_of_all_resamples():
    # of 27 equally likely resamples of 0, 0, 3, eight have mean 0, one has mean 3 (3.7 %)
    mean, low, high = statistics.mean_band(np.array([0.0, 0.0, 3.0]), rng())
    assert (mean, low, high) == (1.0, 0.0, 3.0)


def test_equal_values_have_an_interval_of_no_width():
    mean, low, high = statistics.mean_band(np.full((5, 2), 7.0), rng())
    assert mean.tolist() == low.tolist() == high.tolist() == [7.0, 7.0]


def test_columns_share_their_resamples():
    x = rng().standard_normal(12)
    mean, low, high = statistics.mean_band(np.stack([x, 2 * x, -x], axis=1), rng())
    for line in (mean, low, high):
        assert line[1] == pytest.approx(2 * line[0])
    assert low[2] == pytest.approx(-high[0])


def test_the_interval_of_many_normal_values_is_that_of_the_normal_distribution():
    x = rng().standard_normal(400)
    found = statistics.estimate(x, rng())
    half = 1.96 * x.std() / np.sqrt(len(x))
    # a 2.5 % quantile of 2,000 resamples is off by about 3 % of the interval's half width
    assert found.low == pytest.approx(x.mean() - half, abs=0.12 * half)
    assert found.high == pytest.approx(x.mean() + half, abs=0.12 * half)
    assert found.n == 400


def test_a_single_run_has_a_mean_and_no_interval():
    found = statistics.estimate(np.array([3.0]), rng())
    assert (found.mean, found.n) == (3.0, 1)
    assert np.isnan(found.low)
    assert np.isnan(found.high)


def test_no_run_is_an_error():
    with pytest.raises(UsageError, match="at least one run"):
        statistics.estimate(np.empty(0), rng())


def test_equal_generators_give_equal_intervals():
    x = rng().standard_normal(9)
    assert statistics.estimate(x, rng()) == statistics.estimate(x, rng())


# --- paired differences -------------------------------------------------------------------


def test_pairs_see_a_small_difference_through_large_common_noise():
    common = 100 * rng().standard_normal(10)
    better = common + 0.01 * np.arange(10)
    worse = better + 1.0
    behind = statistics.paired_difference(worse, better, rng())
    assert behind.low == pytest.approx(1.0)
    assert behind.high == pytest.approx(1.0)
    assert not behind.reaches_zero


def test_no_worse_is_an_interval_that_reaches_zero():
    a, b = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.1, 1.9, 3.1, 3.9])
    assert statistics.paired_difference(a, b, rng()).reaches_zero
    assert statistics.paired_difference(a - 5, b, rng()).reaches_zero, "much better is no worse"
    assert not statistics.paired_difference(a + 5, b, rng()).reaches_zero
    assert statistics.paired_difference(a, a, rng()).reaches_zero, "equal is no worse"


def test_only_pairs_of_two_finite_values_count():
    a, b = np.array([1.0, NAN, 3.0, INF]), np.array([0.5, 1.0, INF, 1.0])
    found = statistics.paired_difference(a, b, rng())
    assert (found.mean, found.n) == (0.5, 1)
    assert statistics.paired_difference(a[1:2], b[1:2], rng()) is None


# --- ranks and wins -----------------------------------------------------------------------


@given(LOSSES)
def test_a_rank_is_one_more_than_the_better_ones_and_half_the_others_that_tie(losses):
    for row, ranked in zip(losses, statistics.ranks(losses), strict=True):
        for i in range(len(row)):
            better = sum(other < row[i] for other in row)
            equal = sum(other == row[i] for other in row)
            assert ranked[i] == 1 + better + (equal - 1) / 2


def test_who_was_not_run_has_no_rank_and_takes_none_from_the_others():
    ranked = statistics.ranks(np.array([[NAN, 5.0, 4.0], [1.0, NAN, NAN]]))
    np.testing.assert_array_equal(ranked, [[NAN, 2.0, 1.0], [1.0, NAN, NAN]])


def test_a_mean_over_instances_leaves_out_those_without_a_value():
    values = np.array([[1.0, NAN, NAN], [3.0, 4.0, NAN]])
    np.testing.assert_array_equal(statistics.mean_over_instances(values), [2.0, 4.0, NAN])


@given(LOSSES, st.sampled_from([0.0, 1.0, 1.5]))
def test_wins_ties_and_losses_are_counted_pair_by_pair(losses, tolerance):
    counts = statistics.win_tie_loss(losses, np.full(len(losses), tolerance))
    for i in range(losses.shape[1]):
        for j in range(losses.shape[1]):
            expected = [0, 0, 0]
            for a, b in losses[:, [i, j]] if i != j else ():
                gap = 0.0 if a == b else a - b
                expected[0 if gap < -tolerance else 2 if gap > tolerance else 1] += 1
            assert counts[i, j].tolist() == expected


def test_an_instance_on_which_one_was_not_run_is_no_win_and_no_loss():
    counts = statistics.win_tie_loss(np.array([[1.0, NAN], [1.0, 2.0]]), np.zeros(2))
    assert counts[0, 1].tolist() == [1, 0, 0]
    assert counts[1, 0].tolist() == [0, 0, 1]


# --- profiles and targets -----------------------------------------------------------------


def test_a_performance_profile_by_hand():
    costs = np.array(
        [
            [1.0, 2.0, INF],  # ratios 1, 2, never
            [6.0, 2.0, 4.0],  # 3, 1, 2
            [INF, INF, INF],  # nobody solves it: it counts for all
            [5.0, 5.0, NAN],  # 1, 1, not run
        ]
    )
    profile = statistics.performance_profile(costs, np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(
        profile, [[2 / 4, 2 / 4, 3 / 4], [2 / 4, 3 / 4, 3 / 4], [0, 1 / 3, 1 / 3]]
    )


@given(RISING, st.data())
def test_held_and_first_hits_agree_with_going_through_the_steps(times, data):
    numbers = st.sampled_from([0.0, 1.0, 2.0, 3.0])
    losses = data.draw(st.lists(numbers, min_size=len(times), max_size=len(times)))
    steps = list(zip(times, losses, strict=True))
    grid, targets = np.arange(1.0, 22.0), np.array([-1.0, 0.0, 1.5, 3.0])
    held = statistics.held(np.array(times, dtype=float), np.array(losses), grid)
    for moment, loss in zip(grid, held, strict=True):
        before = [value for time, value in steps if time <= moment]
        assert loss == (before[-1] if before else INF)
    hits = statistics.first_hits(np.array(times, dtype=float), np.array(losses), targets)
    for target, hit in zip(targets, hits, strict=True):
        assert hit == min((time for time, value in steps if value <= target), default=INF)


def test_a_run_without_any_value_holds_and_hits_nothing():
    nothing = np.empty(0)
    assert statistics.held(nothing, nothing, np.array([1.0, 9.0])).tolist() == [INF, INF]
    assert statistics.first_hits(nothing, nothing, np.array([1.0, 9.0])).tolist() == [INF, INF]


def test_the_share_of_targets_reached_by_hand():
    hits = np.array([[1.0, 3.0], [3.0, INF], [NAN, 0.5]])
    share = statistics.share_reached(hits, np.array([0.4, 0.5, 1.0, 2.9, 3.0, 100.0]))
    np.testing.assert_allclose(share, [0, 1 / 5, 2 / 5, 2 / 5, 4 / 5, 4 / 5])


def test_targets_follow_the_best_median_and_never_rise():
    medians = np.array([[INF, 5.0, 4.0, 4.5], [9.0, NAN, 6.0, 1.0]])
    assert statistics.run_based_targets(medians).tolist() == [9.0, 5.0, 4.0, 1.0]


def test_critical_differences_are_those_of_the_table():
    # Demšar (2006), table 5: q at 5 % for 2, 5 and 10 methods; his example has 4, 14 data sets
    for k, q in ((2, 1.960), (5, 2.728), (10, 3.164)):
        assert statistics.critical_difference(k, 6) == pytest.approx(
            q * (k * (k + 1) / 36) ** 0.5, rel=1e-3
        )
    assert statistics.critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    with pytest.raises(UsageError, match="need two methods and a task, got 1 and 3"):
        statistics.critical_difference(1, 3)


def test_growth_is_the_exponent_of_the_later_half():
    n = 2.0 ** np.arange(11)
    seconds = np.where(n < 32, 1.0, 1.0 * (n / 32) ** 1.5)
    assert statistics.growth(n, seconds) == pytest.approx(1.5)
    assert statistics.growth(n, np.full(11, 0.2)) == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(statistics.growth(n[:2], seconds[:2]))
    assert np.isnan(statistics.growth(n[:0], seconds[:0]))

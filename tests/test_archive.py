"""Which candidate to deploy, by pooled observations."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbopt import Categorical, Int, Outcome, Space
from bbopt.archive import CONFIDENCE, Archive

SPACE = Space({"x": Int(0, 99)})

losses = st.integers(-8, 8).map(float)
tells = st.lists(
    st.tuples(
        st.integers(0, 5),  # the candidate
        st.lists(st.one_of(losses, st.just(math.nan)), max_size=3),
        st.sampled_from([True, True, True, False]),  # feasible
    ),
    max_size=30,
)


def archive_of(*told, deterministic=False):
    archive = Archive(SPACE, deterministic=deterministic)
    for x, values in told:
        archive.add({"x": x}, Outcome(values))
    return archive


def best_x(archive):
    return archive.top(1)[0].params["x"]


def tell(archive, told):
    for x, values, feasible in told:
        archive.add({"x": x}, Outcome(values, constraints=[-1.0 if feasible else 1.0]))


def naive_scores(told, deterministic):
    """Candidate -> (score, mean, stderr, count), from the list of all values."""
    values, infeasible = {}, set()
    for x, observed, feasible in told:
        finite = [v for v in observed if math.isfinite(v)]
        if finite:
            values.setdefault(x, []).extend(finite)
            if not feasible:
                infeasible.add(x)
    degrees = sum(len(v) - 1 for v in values.values())
    within = sum(((np.array(v) - np.mean(v)) ** 2).sum() for v in values.values())
    sd = math.sqrt(within / degrees) if degrees and not deterministic else 0.0
    return {
        x: (
            np.mean(v) + CONFIDENCE * sd / math.sqrt(len(v)),
            np.mean(v),
            np.std(v, ddof=1) / math.sqrt(len(v)) if len(v) > 1 else None,
            len(v),
        )
        for x, v in values.items()
        if x not in infeasible
    }


def test_two_good_repeats_beat_one_lucky_value():
    noise = [(x, [0.5, 0.3]) for x in range(10, 20)]
    archive = archive_of(*noise, (1, [0.10, 0.12]), (2, [0.05]))
    assert best_x(archive) == 1
    assert best_x(archive_of((1, [0.10]), (2, [0.05]))) == 2  # nothing is known of the noise


def test_a_deterministic_problem_takes_the_least_value_whatever_the_repeats_say():
    told = [*((x, [0.5, 0.3]) for x in range(10, 20)), (1, [0.10, 0.12]), (2, [0.05])]
    assert best_x(archive_of(*told, deterministic=True)) == 2


def test_repeats_that_agree_show_no_noise():
    assert best_x(archive_of((1, [0.2, 0.2, 0.2]), (2, [0.19]))) == 2


def test_the_earliest_wins_a_tie():
    assert best_x(archive_of((7, [0.2]), (3, [0.2]), (9, [0.2]))) == 7
    xs = [(37 * i) % 100 for i in range(100)]
    archive = archive_of(*((x, [x % 2]) for x in xs))
    expected = [x for x in xs if x % 2 == 0] + [x for x in xs if x % 2 == 1]
    assert [best.params["x"] for best in archive.top(100)] == expected


def test_repeats_told_one_by_one_are_pooled_with_those_told_at_once():
    one_by_one = archive_of((1, [0.1]), (2, [0.5]), (1, [0.3]), (1, [math.nan, 0.2]))
    at_once = archive_of((1, [0.1, 0.3, 0.2]), (2, [0.5]))
    (one,), (other,) = one_by_one.top(1), at_once.top(1)
    assert (one.count, other.count) == (3, 3)
    assert one.value == pytest.approx(0.2)
    assert one.stderr == pytest.approx(0.1 / math.sqrt(3))
    assert other.stderr == pytest.approx(one.stderr)


def test_the_noise_is_not_underestimated_where_repeats_come_one_by_one():
    # sd = sqrt(10 / 9): 1 + 2 sd / sqrt(10) = 1.67 for the repeated one, 0 + 2 sd = 2.11 for
    # the single one
    archive = archive_of(*((1, [value]) for value in [0.0, 2.0] * 5), (2, [0.0]))
    assert best_x(archive) == 1
    # and 1.67 against -0.5 + 2.11
    archive.add({"x": 3}, Outcome(-0.5))
    assert best_x(archive) == 3


def test_a_single_observation_has_no_standard_error():
    (best,) = archive_of((1, [0.1])).top(1)
    assert (best.stderr, best.count) == (None, 1)


def test_the_mean_of_a_candidate_is_that_of_all_its_values():
    archive = archive_of((1, [0.1, 0.3]), (2, [math.nan]), (1, [0.5]))
    assert archive.mean({"x": 1}) == pytest.approx(0.3)
    assert archive.mean({"x": 2}) is None


def test_what_gave_no_value_is_no_candidate():
    archive = archive_of((1, [math.nan]), (2, []))
    assert len(archive) == 0
    assert archive.top(1) == []
    assert archive.top(3) == []


def test_params_that_were_once_infeasible_are_never_best():
    archive = Archive(SPACE)
    archive.add({"x": 1}, Outcome(0.1, constraints=[0.5]))
    assert archive.top(1) == archive.top(5) == []
    archive.add({"x": 2}, Outcome(0.9, constraints=[0.0]))
    archive.add({"x": 1}, Outcome(0.1, constraints=[-0.5]))
    assert [best.params["x"] for best in archive.top(5)] == [2]
    archive.add({"x": 3}, Outcome(0.8, constraints=[math.nan]))
    assert best_x(archive) == 2


def test_choices_that_are_equal_but_of_other_type_are_other_candidates():
    archive = Archive(Space({"c": Categorical([1, True, 1.0])}))
    for choice, value in ((1, 0.3), (True, 0.2), (1.0, 0.1)):
        archive.add({"c": choice}, Outcome(value))
    assert [(type(b.params["c"]), b.value) for b in archive.top(9)] == [
        (float, 0.1),
        (bool, 0.2),
        (int, 0.3),
    ]


def test_many_candidates_are_ranked():
    space = Space({"x": Int(0, 10**6)})
    archive = Archive(space)
    values = np.random.default_rng(0).permutation(5000)
    for x, value in enumerate(values.tolist()):
        archive.add({"x": x}, Outcome(value))
    assert len(archive) == 5000
    assert [b.value for b in archive.top(5000)] == list(range(5000))
    assert archive.top(1)[0].params == {"x": int(np.argmin(values))}


def test_a_summary_is_pooled_like_its_values():
    values = [0.1, 0.4, 0.1, 0.2]
    outcome = Outcome(values)
    archive = Archive(SPACE)
    archive.add({"x": 1}, Outcome.summary(4, outcome.mean, outcome.m2))
    assert archive.top(1) == archive_of((1, values)).top(1)


def test_the_largest_doubles_leave_a_finite_estimate():
    archive = archive_of((1, [1e300]), (1, [-1.7e308]), (1, [1.7e308]), (2, [-1e308]), (2, [3.0]))
    for best in archive.top(2):
        assert math.isfinite(best.value)
        assert math.isfinite(best.stderr)
        assert best.count > 1


@given(tells, st.booleans())
def test_the_ranking_is_that_of_a_naive_reference(told, deterministic):
    archive = Archive(SPACE, deterministic=deterministic)
    tell(archive, told)
    expected = naive_scores(told, deterministic)
    ranked = archive.top(100)
    assert {best.params["x"] for best in ranked} == set(expected)
    scores = [expected[best.params["x"]][0] for best in ranked]
    assert scores == pytest.approx(sorted(scores), abs=1e-9)  # ties may differ by rounding
    for best in ranked:
        _, mean, stderr, count = expected[best.params["x"]]
        assert best.value == pytest.approx(mean, abs=1e-9)
        assert best.count == count
        assert best.stderr == (None if stderr is None else pytest.approx(stderr, abs=1e-6))
    assert archive.top(1) == ranked[:1]
    assert archive.top(2) == ranked[:2]


@given(tells, tells, st.booleans(), st.booleans())
def test_an_archive_restored_from_its_state_goes_on_identically(
    before, after, deterministic, as_lists
):
    archive = Archive(SPACE, deterministic=deterministic)
    tell(archive, before)
    state, ranked = archive.to_state(), archive.top(100)
    tell(archive, after)  # the state is not a view of what goes on
    if as_lists:
        state = {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in state.items()}
    again = Archive.from_state(state, SPACE, deterministic=deterministic)
    assert len(again) == len(state["count"])
    assert again.top(100) == ranked
    tell(again, after)
    assert again.top(100) == archive.top(100)
    one, other = again.to_state(), archive.to_state()
    assert all(np.array_equal(one[key], other[key]) for key in other)

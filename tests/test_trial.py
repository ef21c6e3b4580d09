"""Trials, outcomes, their pooling and their JSON."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbopt import Best, Outcome, Trial
from bbopt.errors import UsageError
from bbopt.trial import NO_USAGE, NOTHING, Usage, merge, pool_moments

numbers = st.floats(-1e6, 1e6)
observations = st.one_of(numbers, st.sampled_from([math.nan, math.inf, -math.inf]))
texts = st.one_of(st.text(), st.dictionaries(st.text(), st.text()))


@st.composite
def outcomes(draw):
    values = draw(st.lists(st.floats(), max_size=5))
    return Outcome(
        values,
        feedback=draw(st.sampled_from([(), [draw(texts) for _ in values]])),
        cost=draw(st.floats(0, 1e9)),
        usage=Usage(draw(st.integers(0, 9)), draw(st.integers(0, 9)), draw(st.floats(0, 9))),
        error=draw(st.none() | st.text()),
        constraints=draw(st.lists(st.floats(), max_size=3)),
        info=draw(st.dictionaries(st.text(), st.floats(), max_size=3)),
    )


def through_json(thing):
    data = json.loads(json.dumps(thing.to_json(), allow_nan=False))
    return type(thing).from_json(data)


def moments(values):
    """Count, mean and sum of squared deviations, by definition, in extended precision."""
    finite = np.array([v for v in values if math.isfinite(v)], dtype=np.longdouble)
    if not finite.size:
        return 0, math.nan, 0.0
    mean = finite.mean()
    return finite.size, float(mean), float(((finite - mean) ** 2).sum())


# --- Trial ----------------------------------------------------------------------------


@given(
    st.none() | st.integers(0, 2**70),
    st.dictionaries(st.text(), st.one_of(st.integers(), numbers, st.text(), st.none())),
    st.integers(1, 5),
    st.booleans(),
)
def test_a_trial_survives_json(number, params, repeats, has_examples):
    context = {"examples": tuple(range(repeats))} if has_examples else {"agent": 3}
    trial = Trial(number, params, repeats, context)
    assert through_json(trial) == trial


def test_a_slice_has_its_own_repeats_and_examples():
    trial = Trial(7, {"x": 1}, 4, {"examples": (5, 5, 8, 9), "agent": 2})
    assert trial.slice(1, 3) == Trial(7, {"x": 1}, 2, {"examples": (5, 8), "agent": 2})
    assert trial.slice(1, 3).params is trial.params
    assert Trial(7, {"x": 1}, 4).slice(0, 3).repeats == 3


def test_numbers_repeats_and_examples_become_plain_integers():
    trial = Trial(np.int64(3), {}, 2.0, {"examples": np.array([4, 4])})
    assert trial == Trial(3, {}, 2, {"examples": (4, 4)})
    assert {type(v) for v in (trial.number, trial.repeats, *trial.context["examples"])} == {int}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, {}), "trial number must be an integer >= 0, got -1"),
        (("3", {}), "trial number must be an integer >= 0, got '3'"),
        ((True, {}), "trial number must be an integer >= 0, got True"),
        ((0, {}, 0), "repeats must be an integer >= 1, got 0"),
        ((0, {}, 1.5), "repeats must be an integer >= 1, got 1.5"),
        ((0, {}, 2, {"examples": (1,)}), r"must have one id a repeat \(2\), got 1"),
        ((0, {}, 1, {"examples": ("a",)}), "an id must be an integer, got 'a'"),
    ],
)
def test_a_bad_trial_is_refused_in_words(arguments, message):
    with pytest.raises(UsageError, match=message):
        Trial(*arguments)


# --- Outcome: values ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_value", "values"),
    [
        (0.3, (0.3,)),
        (3, (3.0,)),
        (True, (1.0,)),
        (10**30, (1e30,)),
        (Fraction(1, 4), (0.25,)),
        (np.float32(0.5), (0.5,)),
        (np.int64(2), (2.0,)),
        (np.bool_(False), (0.0,)),
        (np.array(0.5), (0.5,)),
        (np.array([1, 2]), (1.0, 2.0)),
        ([0.1, 2, True], (0.1, 2.0, 1.0)),
        ((), ()),
        (range(2), (0.0, 1.0)),
    ],
)
def test_numbers_and_sequences_of_numbers_become_an_outcome(given_value, values):
    outcome = Outcome.coerce(given_value)
    assert outcome.values == values
    assert all(type(v) is float for v in (*outcome.values, outcome.mean, outcome.m2))
    assert outcome.count == len(values)
    assert outcome.failed == 0


def test_an_outcome_is_not_coerced():
    outcome = Outcome(0.3)
    assert Outcome.coerce(outcome) is outcome


@pytest.mark.parametrize(
    "value",
    [
        "0.3",
        b"0.3",
        ["0.3", 0.2],
        None,
        [None, 0.3],
        {"value": 0.3},
        {0.3},
        [[0.3], [0.2]],
        [[0.1], [0.2, 0.3]],
        1j,
        np.complex128(1),
        10**400,
        object(),
        (v for v in [0.3]),
    ],
)
def test_anything_else_is_refused(value):
    with pytest.raises(UsageError, match="a value must be a number or a sequence of numbers, got"):
        Outcome.coerce(value)


@given(st.lists(observations, max_size=20))
def test_the_statistics_are_those_of_the_finite_values(values):
    outcome = Outcome(values)
    count, mean, m2 = moments(values)
    assert (outcome.count, outcome.failed) == (count, len(values) - count)
    assert outcome.evaluations == len(values)
    assert outcome.is_failure == (count == 0 and len(values) > 0)
    assert outcome.mean == pytest.approx(mean, rel=1e-12, abs=1e-9, nan_ok=True)
    assert outcome.m2 == pytest.approx(m2, rel=1e-9, abs=1e-9)
    for kept, value in zip(outcome.values, values, strict=True):
        assert kept == value if math.isfinite(value) else math.isnan(kept)


@given(st.lists(st.floats(), max_size=8))
def test_any_float_gives_finite_statistics_within_the_values(values):
    outcome = Outcome(values)
    finite = [v for v in values if math.isfinite(v)]
    assert 0 <= outcome.m2 < math.inf
    if finite:
        slack = 1e-15 * max(map(abs, finite))
        assert min(finite) - slack <= outcome.mean <= max(finite) + slack
    else:
        assert math.isnan(outcome.mean)


def test_many_values_leave_their_statistics_only():
    values = np.random.default_rng(0).normal(1e6, 1e-3, 1001)
    outcome = Outcome(values, feedback=["fine"] * 1001)
    assert (outcome.values, outcome.feedback) == ((), ())
    assert outcome.count == 1001
    _, mean, m2 = moments(values)
    assert outcome.mean == pytest.approx(mean, rel=1e-15)
    assert outcome.m2 == pytest.approx(m2, rel=1e-9)
    assert Outcome(values[:1000]).values == tuple(values[:1000])


def test_a_failure_says_why_and_has_no_value():
    failure = Outcome.failure("ValueError: no", repeats=3, cost=2.0)
    assert failure.is_failure
    assert (failure.count, failure.failed, failure.error) == (0, 3, "ValueError: no")
    assert failure.cost == 2.0
    assert NOTHING.evaluations == 0
    assert not NOTHING.is_failure


def test_a_summary_has_the_statistics_it_was_given():
    summary = Outcome.summary(np.int64(5), 0.25, 2, failed=1, cost=3)
    assert (summary.count, summary.failed, summary.evaluations) == (5, 1, 6)
    assert (summary.mean, summary.m2, summary.values, summary.cost) == (0.25, 2.0, (), 3.0)
    assert math.isnan(Outcome.summary(0, 0.25, 2.0).mean)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 0.0, 0.0), "count must be an integer >= 0, got -1"),
        ((2, math.nan, 0.0), "mean must be a finite number, got nan"),
        ((2, 0.0, -1.0), "m2 must be a finite number >= 0, got -1.0"),
        ((2, 0.0, math.inf), "m2 must be a finite number >= 0, got inf"),
    ],
)
def test_a_bad_summary_is_refused_in_words(arguments, message):
    with pytest.raises(UsageError, match=message):
        Outcome.summary(*arguments)


def test_negation_changes_the_sign_of_values_alone():
    outcome = Outcome([0.3, math.nan, -1.0], feedback=["a", "b", "c"], cost=1, constraints=[1.0])
    other = outcome.negated()
    assert other.values[::2] == (-0.3, 1.0)
    assert math.isnan(other.values[1])
    assert (other.mean, other.m2) == (-outcome.mean, outcome.m2)
    assert (other.feedback, other.constraints) == (outcome.feedback, outcome.constraints)
    assert other.negated().to_json() == outcome.to_json()


# --- Outcome: what else it carries ----------------------------------------------------


def test_a_lone_text_is_the_feedback_of_a_lone_value():
    assert Outcome(0.3, feedback="too long").feedback == ("too long",)
    assert Outcome(0.3, feedback={"output": "no"}).feedback == ({"output": "no"},)
    assert Outcome([0.3, 0.2], feedback=["a", {"input": "b"}]).feedback == ("a", {"input": "b"})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"feedback": ["a", "b"]}, r"feedback must have one item a value \(1\), got 2"),
        ({"feedback": [3]}, "feedback must be texts or mappings of texts, got 3"),
        ({"cost": "much"}, "cost must be a number, got 'much'"),
        ({"cost": -1}, "cost must be >= 0, got -1"),
        ({"constraints": [None]}, "a constraint must be a number, got None"),
        ({"info": {"latency": "12 ms"}}, r"info\['latency'\] must be a number, got '12 ms'"),
    ],
)
def test_a_bad_field_is_refused_in_words(fields, message):
    with pytest.raises(UsageError, match=message):
        Outcome(0.3, **fields)


@pytest.mark.parametrize(
    ("constraints", "feasible"),
    [((), True), ((0.0, -1.0), True), ((-1.0, 0.1), False), ((math.nan,), False)],
)
def test_feasible_is_where_every_constraint_is_at_most_zero(constraints, feasible):
    assert Outcome(0.3, constraints=constraints).feasible is feasible


def test_numpy_scalars_become_plain_so_that_json_takes_them():
    outcome = Outcome(
        np.float64(0.5),
        cost=np.float32(1),
        constraints=np.array([-1], dtype=np.float32),
        info={"accuracy": np.float32(0.5), "n": np.int64(3)},
    )
    assert {type(v) for v in (outcome.mean, outcome.cost, *outcome.info.values())} == {float}
    assert through_json(outcome) == outcome


@given(outcomes())
def test_an_outcome_survives_json_to_the_last_bit(outcome):
    again = through_json(outcome)
    assert again.to_json() == outcome.to_json()
    for field in ("count", "failed", "m2", "feedback", "usage", "error", "cost"):
        assert getattr(again, field) == getattr(outcome, field)
    assert again.feasible == outcome.feasible
    for name in ("mean", "values", "constraints"):
        one, other = (np.atleast_1d(getattr(o, name)) for o in (again, outcome))
        assert np.array_equal(one, other, equal_nan=True)


@given(st.lists(st.lists(observations, max_size=3).map(Outcome), min_size=1, max_size=6))
def test_pooled_statistics_survive_json_to_the_last_bit(blocks):
    outcome = merge(blocks)
    again = through_json(outcome)
    assert (again.count, again.failed, again.m2) == (outcome.count, outcome.failed, outcome.m2)
    assert again.mean == outcome.mean or math.isnan(outcome.mean)


def test_the_json_of_a_plain_value_is_short():
    assert Outcome(0.3).to_json() == {"mean": 0.3}
    assert Outcome(math.nan).to_json() == {"mean": None}
    assert through_json(Outcome.summary(3, 0.5, 0.1)).count == 3


# --- merging --------------------------------------------------------------------------


@given(st.lists(st.lists(observations, max_size=6), max_size=8))
def test_merged_blocks_are_the_outcome_of_the_concatenation(blocks):
    merged = merge(map(Outcome, blocks))
    values = [v for block in blocks for v in block]
    count, mean, m2 = moments(values)
    assert (merged.count, merged.failed) == (count, len(values) - count)
    assert merged.mean == pytest.approx(mean, rel=1e-12, abs=1e-9, nan_ok=True)
    assert merged.m2 == pytest.approx(m2, rel=1e-9, abs=1e-9)
    assert np.array_equal(merged.values, Outcome(values).values, equal_nan=True)


@pytest.mark.parametrize("size", [10, 1000, 30_000])
def test_pooling_a_million_values_far_from_zero_keeps_their_spread(size):
    values = 1e6 + 1e-3 * np.random.default_rng(0).standard_normal(10**6)
    merged = merge(Outcome(values[i : i + size]) for i in range(0, len(values), size))
    gaps = values - 1e6  # exact: the values lie within a factor of two of 1e6
    assert merged.count == 10**6
    assert merged.m2 == pytest.approx(((gaps - gaps.mean()) ** 2).sum(), rel=1e-9)
    # each of the log2(10**6) levels rounds the mean by half a unit in the last place
    assert merged.mean - 1e6 == pytest.approx(gaps.mean(), abs=20 * math.ulp(1e6) / 2)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
def test_pooling_the_largest_doubles_stays_finite(values):
    count, mean, m2 = 0, math.nan, 0.0
    for value in values:
        count, mean, m2 = pool_moments(count, mean, m2, 1, value, 0.0)
    slack = 1e-15 * max(map(abs, values))
    assert min(values) - slack <= mean <= max(values) + slack
    assert 0 <= m2 < math.inf


def test_merging_keeps_what_the_blocks_carry():
    merged = merge(
        [
            Outcome(
                [0.1, 0.2],
                feedback=["a", "b"],
                cost=1,
                usage=Usage(1, 10, 0.5),
                constraints=[-1.0, 2.0],
                info={"ms": 10, "accuracy": 1},
            ),
            Outcome(math.nan, cost=2, usage=Usage(2, 5, 0.25), error="first"),
            Outcome(0.3, feedback="c", constraints=[-0.5, -3.0], info={"ms": 20}),
            Outcome(math.nan, error="second"),
        ]
    )
    assert merged.feedback == ("a", "b", "", "c", "")
    assert merged.cost == 3.0
    assert merged.usage == Usage(3, 15, 0.75)
    assert merged.error == "first"
    assert merged.constraints == (-0.5, 2.0)
    assert merged.info == {"ms": 15.0, "accuracy": 1.0}
    assert (merged.count, merged.failed) == (3, 2)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_a_block_that_is_not_feasible_makes_the_trial_so(order):
    constraints = [(-1.0,), (math.nan, -1.0), (-2.0, -2.0)]
    assert not merge(Outcome(0.3, constraints=constraints[i]) for i in order).feasible


def test_blocks_need_not_have_equally_many_constraints():
    merged = merge(Outcome(0.3, constraints=c) for c in [(-1.0,), (), (-2.0, -2.0)])
    assert merged.constraints == (-1.0, -2.0)
    assert merged.feasible


def test_merging_infinite_infos_and_huge_costs_does_not_raise():
    blocks = [Outcome(0.3, cost=1.7e308, info={"x": x}) for x in (math.inf, -math.inf)]
    merged = merge(blocks)
    assert math.isnan(merged.info["x"])
    assert json.dumps(merged.to_json(), allow_nan=False)


def test_merging_one_or_no_block_changes_nothing():
    outcome = Outcome(0.3)
    assert merge([outcome]) is outcome
    assert merge([]).evaluations == 0


def test_merging_more_than_a_thousand_values_keeps_no_list():
    blocks = [Outcome(np.arange(600.0), feedback=["x"] * 600)] * 2
    merged = merge(blocks)
    assert (merged.values, merged.feedback) == ((), ())
    assert merged.count == 1200
    assert merge([Outcome.summary(2, 0.5, 0.1), Outcome(0.5)]).values == ()


# --- Usage and Best -------------------------------------------------------------------


def test_usages_add_up():
    total = sum([Usage(1, 2, 0.5), Usage(3, 4, 0.25)], NO_USAGE)
    assert total == Usage(4, 6, 0.75)
    assert Usage(**total.to_json()) == total


def test_a_best_without_a_value_is_null_in_json():
    best = Best({"x": 1}, math.nan, None, 0)
    data = json.loads(json.dumps(best.to_json(), allow_nan=False))
    assert data == {"params": {"x": 1}, "value": None, "stderr": None, "count": 0}


@pytest.mark.parametrize(
    "given", [{"llm_calls": -1}, {"tokens": math.nan}, {"cost": -0.5}, {"cost": "1"}]
)
def test_usage_is_never_negative_nor_unknown(given) -> None:
    [(axis, value)] = given.items()
    with pytest.raises(UsageError, match=rf"usage: {axis} must be a number >= 0, got {value!r}"):
        Usage(**given)

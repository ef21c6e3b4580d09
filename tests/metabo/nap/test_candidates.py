from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbopt import Categorical, Float, Int, Space
from bbopt.metabo.encoding import Encoding
from bbopt.metabo.nap.candidates import distinct, perturbed, proposed, recombined, reflected
from bbopt.testing.spaces import SPACES

MIXED = Encoding(
    Space(
        {
            "x": Float(-5.0, 5.0),
            "rate": Float(1e-5, 1.0, log=True),
            "depth": Int(1, 12),
            "share": Float(0.0, 1.0, step=0.25),
            "kernel": Categorical(["linear", "rbf", "poly"]),
            "on": Categorical([False, True]),
        }
    )
)


def points(encoding, n, seed=0):
    rng = np.random.default_rng(seed)
    return encoding.encode(encoding.space.sample(rng, n))


def naively_reflected(x):
    while not 0 <= x <= 1:
        x = -x if x < 0 else 2 - x
    return x


@given(st.floats(-20, 20))
def test_what_leaves_the_interval_is_folded_back_as_often_as_it_takes(x):
    assert reflected(np.array([x]))[0] == pytest.approx(naively_reflected(x), abs=1e-12)


@pytest.mark.parametrize("name", [n for n, s in SPACES.items() if "text" not in s.kinds])
def test_every_candidate_can_be_evaluated(name):
    encoding = Encoding(SPACES[name])
    best = points(encoding, 5)
    made = proposed(encoding, best, 32, np.random.default_rng(1))
    assert made.shape == (32 + 32 + 8, encoding.d)
    assert made.min(initial=0) >= 0
    assert made.max(initial=1) <= 1
    decoded = [encoding.decode(x) for x in made]
    np.testing.assert_allclose(encoding.encode(decoded), made, atol=1e-12)


def test_without_points_to_start_from_they_fill_the_space():
    made = proposed(MIXED, np.empty((0, MIXED.d)), 64, np.random.default_rng(0))
    assert len(made) == 64
    # of a scrambled Sobol' sequence each of 16 intervals has a sixteenth of 64 points
    counts = np.histogram(made[:, 0], bins=16, range=(0, 1))[0]
    assert counts.tolist() == [4] * 16


def test_only_the_chosen_parameters_vary():
    best = points(MIXED, 5)
    chosen = [MIXED.fields[0], MIXED.fields[4]]
    made = proposed(MIXED, best, 64, np.random.default_rng(0), chosen)
    fixed = [i for i in range(MIXED.d) if i not in (0, 4, 5, 6)]
    assert {row.tobytes() for row in made[:, fixed]} <= {row.tobytes() for row in best[:, fixed]}
    np.testing.assert_array_equal(made[:64, fixed], np.tile(best[0, fixed], (64, 1)))
    assert len(np.unique(made[:, 0])) > 64
    assert len(np.unique(made[:, 4:7], axis=0)) == 3


def test_a_step_changes_three_parameters_on_average_and_one_at_least():
    encoding = Encoding(Space({f"x{i}": Float(0, 1) for i in range(12)}))
    centre = np.full((1, 12), 0.5)
    n = 4000
    moved = (perturbed(encoding, centre, n, np.random.default_rng(0)) != centre).sum(axis=1)
    assert moved.min() >= 1
    # one for certain, the eleven others with chance 1/4: mean 3.75, variance 11 * 3/16
    assert abs(moved.mean() - 3.75) < 4 * np.sqrt(11 * 3 / 16 / n)


def test_steps_of_a_number_have_the_four_radii_in_equal_parts():
    encoding = Encoding(Space({"x": Float(0, 1)}))
    n = 20_000
    steps = perturbed(encoding, np.array([[0.5]]), n, np.random.default_rng(0))[:, 0] - 0.5
    # the mixture's share within r of the centre, of which reflection at 1/2 changes nothing
    from scipy.stats import norm

    for r in (0.01, 0.05, 0.2):
        expected = np.mean([2 * norm.cdf(r / s) - 1 for s in (0.01, 0.03, 0.1, 0.3)])
        share = (np.abs(steps) < r).mean()
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / n)


def test_a_step_of_an_integer_reaches_its_neighbours():
    encoding = Encoding(Space({"depth": Int(1, 9)}))
    (centre,) = encoding.encode({"depth": 5})
    made = perturbed(encoding, centre[None], 300, np.random.default_rng(0))
    reached = [encoding.decode(x)["depth"] for x in made]
    # the step has sd >= one value: 62 % round to another (|z| > 1/2), far more than 1 in 3
    assert sum(depth != 5 for depth in reached) > 100
    assert {4, 6} <= set(reached)


def test_a_child_has_each_parameter_of_one_of_its_parents():
    parents = points(MIXED, 4, seed=3)
    children = recombined(parents, 200, np.random.default_rng(0), MIXED.fields)
    for child in children:
        pairs = (
            all(
                any(np.array_equal(child[f.columns], p[f.columns]) for p in (a, b))
                for f in MIXED.fields
            )
            for a in parents
            for b in parents
        )
        assert any(pairs)
    assert any(not (child == parents).all(axis=1).any() for child in children)


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=12), st.sets(st.integers(0, 3)))
def test_distinct_keeps_the_first_of_equals_that_is_not_taken(values, taken):
    made = np.array(values).reshape(-1, 1)
    keys = {np.array([[0.0, 0.25, 0.5, 1.0][i]]).tobytes() for i in taken}
    expected = []
    for x in values:
        if x not in expected and np.array([x]).tobytes() not in keys:
            expected.append(x)
    assert distinct(made, keys)[:, 0].tolist() == expected


def test_equal_generators_give_equal_candidates():
    best = points(MIXED, 3)
    first, second, other = (
        proposed(MIXED, best, 16, np.random.default_rng(seed)) for seed in (5, 5, 6)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)

from __future__ import annotations

import math

import numpy as np
import pytest

import bbopt
from bbopt.errors import UsageError


@pytest.mark.parametrize(
    ("latent", "level"), [(set(), 0), ({0}, 1), ({0, 1, 2}, 3), ({1, 2}, 0), ({0, 1, 4}, 2)]
)
def test_only_instructions_that_lead_count(latent, level):
    problem = bbopt.problem("text/staircase", levels=8)
    assert problem.truth({"prompt": problem.language.write(latent)}) == level / 8


@pytest.mark.parametrize("levels", [1, 3, 10])
def test_the_truth_runs_from_zero_to_one(levels):
    problem = bbopt.problem("text/staircase", levels=levels, start=0)
    assert problem.truth(problem.spec.space.initial) == 0
    assert problem.truth(problem.optimal_params[0]) == problem.optimum == 1
    assert (
        bbopt.problem("text/staircase").truth(bbopt.problem("text/staircase").spec.space.initial)
        == 0.1
    )


def level_after(problem, level, n=2000):
    rng, parent = np.random.default_rng(0), problem.language.write(set(range(level)))
    return [problem.level(problem.language.read(problem.reply(parent, "", rng))) for _ in range(n)]


def test_a_loss_is_one_or_two_levels_or_all():
    steps = level_after(bbopt.problem("text/staircase"), 5)
    assert set(steps) == {3, 4, 5, 6}
    # 40 % are worse, half of them by one: within five standard deviations
    assert abs(steps.count(4) - 400) < 5 * math.sqrt(2000 * 0.2 * 0.8)
    assert set(level_after(bbopt.problem("text/staircase", loss="reset"), 5)) == {0, 5, 6}
    assert set(level_after(bbopt.problem("text/staircase"), 10)) == {8, 9, 10}
    assert set(level_after(bbopt.problem("text/staircase"), 0)) == {0, 1}


def test_the_realistic_profile_has_the_measured_mean_gain():
    problem = bbopt.problem("text/staircase", improving=0.66, duplicates=0.29)
    gains = np.array(level_after(problem, 5)) / 10 - 0.5
    assert gains.mean() == pytest.approx(0.058, abs=5 * gains.std() / math.sqrt(len(gains)))


def test_proposals_to_the_top_are_as_many_as_the_theorem_says():
    # δ₀ = 0.5, K = 3: best so far K / δ₀ = 6; chain with reset Σ δ₀^-j = 2 + 4 + 8 = 14
    problem = bbopt.problem(
        "text/staircase", levels=3, start=0, improving=0.5, duplicates=0.0, loss="reset"
    )
    rng = np.random.default_rng(0)

    def proposals(keeps_best):
        text, n = problem.language.write(set()), 0
        while problem.level(problem.language.read(text)) < 3:
            child, n = problem.reply(text, "", rng), n + 1
            levels = [problem.level(problem.language.read(t)) for t in (text, child)]
            text = child if levels[1] > levels[0] or not keeps_best else text
        return n

    for keeps_best, expected in ((True, 6), (False, 14)):
        counts = [proposals(keeps_best) for _ in range(400)]
        standard_error = np.std(counts) / math.sqrt(len(counts))
        assert np.mean(counts) == pytest.approx(expected, abs=5 * standard_error)


def test_the_proposer_heeds_no_context():
    problem = bbopt.problem("text/staircase")
    told = problem.language.write(set(range(10)))
    parent = problem.spec.space.initial["prompt"]
    one, other = (
        problem.reply(parent, context, np.random.default_rng(3)) for context in ("", told)
    )
    assert one == other


def test_what_the_spec_says_of_noise_is_so():
    exact = bbopt.problem("text/staircase", noise_kind="gaussian").spec
    assert exact.deterministic
    assert exact.value_range == (0, 1)
    gaussian = bbopt.problem("text/staircase", noise_kind="gaussian", noise=0.3).spec
    assert gaussian.deterministic is False
    assert gaussian.value_range is None
    with pytest.raises(UsageError, match="noise must be 0 with noise_kind='bernoulli'"):
        bbopt.problem("text/staircase", noise=0.1)


@pytest.mark.parametrize("arguments", [{"levels": 11}, {"start": 11}, {"loss": "all"}])
def test_a_wrong_argument_is_named(arguments):
    with pytest.raises(UsageError, match=next(iter(arguments))):
        bbopt.problem("text/staircase", **arguments)

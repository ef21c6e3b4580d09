"""The rates of the proposer, on all four problems."""

from __future__ import annotations

import math

import numpy as np
import pytest

import bbopt
from bbopt import seeding
from bbopt.errors import UsageError
from bbopt.problems.text.simulated import SUMMARY_CAPACITY
from bbopt.testing import ProblemContract

VARIANTS = {
    "staircase": ("text/staircase", {}),
    "staircase exact": ("text/staircase", {"noise_kind": "gaussian"}),
    "staircase gaussian": ("text/staircase", {"noise_kind": "gaussian", "noise": 0.1}),
    "rulebook": ("text/rulebook", {}),
    "paraphrase": ("text/paraphrase", {}),
    "paraphrase adversarial": ("text/paraphrase", {"adversarial": True}),
    "hints": ("text/hints", {}),
    "hints without decoys": ("text/hints", {"decoys": 0}),
}
each_variant = pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)


def built(variant):
    name, arguments = variant
    return bbopt.problem(name, **arguments)


@each_variant
class TestTextProblem(ProblemContract):
    n_repeats = 480  # each of the 60 tasks eight times

    @pytest.fixture
    def problem(self, variant):
        return built(variant)

    def test_another_block_draws_anew_unless_deterministic(self, problem):
        # all sampled texts are the initial one and values are 0 or 1: means often coincide
        trial = bbopt.Trial(0, problem.spec.space.initial, 200)
        one, other = (
            problem.evaluate(trial, seeding.stream(0, "evaluate", block=block)).values
            for block in range(2)
        )
        assert (one == other) is problem.spec.deterministic


def within_five_sd(count, n, p):
    """Whether a binomial count is as expected: a wrong alarm once in two million."""
    return abs(count - n * p) <= 5 * math.sqrt(n * p * (1 - p)) + 1e-9


def children(problem, latent, context, n=2000):
    """The latents of ``n`` children of a plain prompt."""
    parent = problem.language.write(latent)
    rng = np.random.default_rng(0)
    texts = [problem.reply(parent, context, rng) for _ in range(n)]
    assert parent not in texts
    return [problem.language.read(text) for text in texts]


@each_variant
def test_evaluations_of_prompts_along_a_climb_have_the_mean_of_the_truth(variant):
    problem, rng = built(variant), np.random.default_rng(0)
    params, n = problem.spec.space.initial, 480
    for _ in range(4):
        for _ in range(5):
            params = problem.propose(params, [], rng)
        examples = tuple(j % 60 for j in range(n)) if problem.examples else None
        context = {"examples": examples} if examples else {}
        outcome = problem.evaluate(bbopt.Trial(0, params, n, context), rng)
        # values in [0, 1] have a standard deviation of at most 1/2; Gaussian noise has 0.1
        assert abs(outcome.mean - problem.truth(params)) <= 5 * 0.5 / math.sqrt(n)


def test_examples_are_drawn_where_a_trial_names_none():
    problem = bbopt.problem("text/hints", naming=0)
    trial = bbopt.Trial(0, problem.optimal_params[0], 600)
    outcome = problem.evaluate(trial, np.random.default_rng(0))
    assert within_five_sd(sum(outcome.values), 600, 0.9)
    assert len({said["input"] for said in outcome.feedback}) > 20


@pytest.mark.parametrize("name", ["text/staircase", "text/rulebook"])
def test_children_are_better_reworded_and_worse_at_the_stated_rates(name):
    problem, n = bbopt.problem(name, improving=0.25, duplicates=0.4), 2000
    latent = frozenset(range(5))
    target = frozenset(range(10)) if name == "text/staircase" else problem.best
    found = children(problem, latent, "", n)
    nearer = sum(len(child ^ target) < len(latent ^ target) for child in found)
    assert within_five_sd(nearer, n, 0.25)
    assert within_five_sd(found.count(latent), n, 0.4)


def test_a_hint_halves_the_worse_children_in_favour_of_better_ones():
    problem, n = bbopt.problem("text/rulebook", improving=0.2, duplicates=0.3), 2000
    latent = problem.best - {4, 6}
    found = children(problem, latent, "Someone said: attach a RETURN label, secret password", n)
    # 2 is in force, so only "secret password" (12) would be new; it is in the best set
    assert 12 in latent
    assert within_five_sd(found.count(latent), n, 0.3)
    found = children(problem, latent, "Missing: mention the refund deadline in working days.", n)
    assert within_five_sd(sum(4 in child for child in found), n, 0.2 + 0.5 / 2)


def test_a_child_heeds_hints_on_what_to_leave_out():
    problem = bbopt.problem("text/rulebook", improving=1.0, duplicates=0.0)
    context = "Harmful: give a discount code for the next purchase."
    assert set(children(problem, problem.best | {20}, context, 20)) == {problem.best}


def test_no_fact_is_guessed_and_every_told_one_is_found():
    problem, told = (
        bbopt.problem("text/hints"),
        ["Fact: pallets to islands add 25 euros", "3 years"],
    )
    assert set().union(*children(problem, frozenset(), "Well done.", 200)) == set()
    assert set().union(*children(problem, frozenset(), "\n".join(told), 200)) == {6, 7}
    feedback = [{"input": "x", "feedback": told[0]}, told[1], {"summary": "Fact: 12 euros."}]
    rng = np.random.default_rng(0)
    proposed = [problem.propose({"prompt": "Hi."}, feedback, rng)["prompt"] for _ in range(200)]
    assert set().union(*map(problem.language.read, proposed)) == {4, 6, 7}


@each_variant
@pytest.mark.parametrize(
    "text", ["", " \n", "Do as you like.", "@@END@@ ```", "- a\n- b", "\x00\\n\ud7ff" * 50]
)
def test_a_foreign_text_is_evaluated_and_has_children(variant, text):
    problem, rng = built(variant), np.random.default_rng(0)
    assert problem.evaluate(bbopt.Trial(0, {"prompt": text}), rng).count == 1
    for _ in range(20):
        child = problem.propose({"prompt": text}, ["The order number, 3 years."], rng)
        problem.spec.space.validate(child)
        assert child["prompt"] != text


@pytest.mark.parametrize("variant", ["staircase", "rulebook", "paraphrase adversarial", "hints"])
def test_the_proposer_climbs_where_the_better_of_parent_and_child_is_kept(variant):
    problem, rng = built(VARIANTS[variant]), np.random.default_rng(1)
    params = problem.spec.space.initial
    start = problem.truth(params)
    for _ in range(100):
        feedback = problem.evaluate(bbopt.Trial(0, params, 2), rng).feedback
        child = problem.propose(params, feedback, rng)
        params = max(params, child, key=problem.truth)
    assert problem.truth(params) > start + 0.6 * (problem.optimum - start)


def test_a_summary_holds_what_feedback_said_with_losses_and_nothing_else():
    problem, rng = bbopt.problem("text/rulebook"), np.random.default_rng(0)
    prompt = "Parameters: ask for spare parts.\nMissing: the order number.\nHarmful: formal tone."
    summaries = [problem.summary(prompt, rng) for _ in range(500)]
    named = [problem.language.named(text) for text in summaries]
    assert set().union(*(affirmed for affirmed, _ in named)) == {0}
    assert set().union(*(negated for _, negated in named)) == {19}
    assert within_five_sd(sum(0 in affirmed for affirmed, _ in named), 500, 0.8)
    # what a summary says can be summarised again
    assert problem.language.named(problem.summary("\n".join(summaries), rng)) != (set(), set())
    full = "\n".join(problem.said(i, True) for i in range(24))
    sizes = {len(problem.language.read(problem.summary(full, rng))) for _ in range(50)}
    assert max(sizes) == SUMMARY_CAPACITY
    assert problem.summary("All is well.", rng) == "Nothing is certain."


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"improving": 1.5}, r"improving must be a finite number in \[0, 1\], got 1.5"),
        ({"improving": 0.3, "duplicates": 0.8}, r"must be at most 1, got 0.3 \+ 0.8"),
        ({"naming": -1}, "naming must be"),
        ({"instance": -1}, "instance must be"),
    ],
)
def test_a_wrong_argument_is_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        bbopt.problem("text/rulebook", **arguments)

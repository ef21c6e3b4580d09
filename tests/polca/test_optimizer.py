"""POLCA as ask and tell: its rounds, what it pays for, and what becomes of proposals."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pytest

import bbopt
from bbopt.errors import UsageError
from bbopt.polca import Embedding
from bbopt.polca.embed import hashed_ngrams
from bbopt.polca.settings import VARIANTS
from bbopt.space import Categorical, Float, Int, Space, Text
from bbopt.trial import NOTHING, Outcome, Trial
from tests.polca.toys import (
    FAR,
    Stairs,
    drive,
    job_of,
    level_of,
    levels_apart,
    memory_of,
    polca,
    tell,
    text_of,
)

EXACT = {"noise": 0.0, "deterministic": True}


# --- a round -------------------------------------------------------------------------


def test_the_first_round_proposes_k_times_from_what_is_in_use_today():
    problem = Stairs(examples=20)
    optimizer = polca(problem, n_parents=4, minibatch=3)
    asked = optimizer.ask(100)
    assert [t.params for t in asked] == [problem.spec.space.initial] * 4
    seen = [t.context["examples"] for t in asked]
    assert all(len(batch) == 3 for batch in seen)
    assert len({e for batch in seen for e in batch}) == 12
    assert optimizer.ask() == []  # it waits
    for trial in asked:
        tell(optimizer, problem, trial)
    optimizer.ask()
    assert problem.n_proposed == 4


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_children_are_evaluated_on_the_minibatch_of_their_parent(variant):
    problem = Stairs(examples=9)
    parent_of = {}

    def propose(params, feedback, rng):
        child = problem.propose(params, [], rng)
        parent_of.setdefault(child["prompt"], params["prompt"])
        return child

    optimizer = polca(problem, proposer=propose, variant=variant, epsilon=0.0, summary=False)
    batches = defaultdict(set)
    first = {}
    for prompt, _, examples in drive(optimizer, problem, 400):
        first.setdefault(prompt, examples)
        batches[prompt].add(examples)
    children = [prompt for prompt in first if prompt in parent_of]
    assert len(children) > 50
    for child in children:
        assert first[child] in batches[parent_of[child]]


def test_the_proposer_sees_what_the_minibatch_said_of_the_parent_and_no_more():
    problem = Stairs(examples=9)
    optimizer = polca(problem, minibatch=3, summary=False, epsilon=0.0)
    trials = drive(optimizer, problem, 300)
    batches = {(prompt, examples) for prompt, _, examples in trials}
    assert problem.n_proposed > 30
    for params, feedback in problem.shown:
        examples = tuple(int(said.split()[1].rstrip(":")) for said in feedback)
        assert (params["prompt"], examples) in batches
        assert all(f"{level_of(params)} steps" in said for said in feedback)


def test_with_a_summary_the_last_feedback_is_the_summary():
    problem = Stairs(examples=9)
    drive(polca(problem, minibatch=2), problem, 200)
    late = problem.shown[-1][1]
    assert [type(said) for said in late] == [str, str, dict]
    lines = late[-1]["summary"].splitlines()
    assert len(lines) == len(set(lines)) > 5  # distinct


@pytest.mark.parametrize("n_open", [1, 4])
def test_epochs_of_examples_are_permutations(n_open):
    problem = Stairs(examples=7)
    optimizer = polca(problem, n_parents=1, minibatch=2, reserve=False, evaluate_again=False)
    kept = []
    while len(kept) < 14 * 5:
        for trial in optimizer.ask(n_open):
            if job_of(optimizer, trial)["kind"] == "parent":
                kept += trial.context["examples"]
            tell(optimizer, problem, trial)
    epochs = [tuple(kept[i : i + 7]) for i in range(0, len(kept) - 6, 7)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len(set(epochs)) > 5


def test_only_training_examples_are_asked_for():
    problem = Stairs(examples=5, validation=6)
    asked = {e for _, _, examples in drive(polca(problem), problem, 300) for e in examples}
    assert asked == set(range(5))


def test_without_examples_a_minibatch_is_a_number_of_repeats():
    problem = Stairs()
    assert {repeats for _, repeats, _ in drive(polca(problem, minibatch=3), problem, 200)} == {3}


# --- the ε-net -----------------------------------------------------------------------


@pytest.mark.parametrize("n_open", [1, 8])
def test_what_is_refused_is_never_evaluated_and_what_is_kept_is_far_from_all(n_open):
    problem = Stairs(duplicates=0.5)
    proposed = []

    def propose(params, feedback, rng):
        proposed.append(problem.propose(params, feedback, rng))
        return proposed[-1]

    optimizer = polca(problem, proposer=propose, epsilon=FAR)
    asked = {prompt for prompt, _, _ in drive(optimizer, problem, 600, n_open=n_open)}
    memory = memory_of(optimizer)
    gaps = Embedding(hashed_ngrams)(memory.params, memory.params)
    np.fill_diagonal(gaps, np.inf)
    assert gaps.min() > FAR
    assert asked == {params["prompt"] for params in memory.params}
    assert len(memory) <= 9  # a level each
    assert len({p["prompt"] for p in proposed}) > 10 * len(memory)
    rate = optimizer.diagnostics()["duplicate_rate"]
    assert rate == pytest.approx(1 - (len(memory) - 1) / len(proposed))


def test_a_radius_of_zero_lets_everything_new_through():
    problem = Stairs()
    optimizer = polca(problem, epsilon=0.0)
    drive(optimizer, problem, 300)
    assert len(memory_of(optimizer)) > problem.n_proposed - 5  # of 512 tags few come twice


def test_a_distance_of_ones_own_decides():
    problem = Stairs(duplicates=0.5)
    optimizer = polca(problem, distance=levels_apart, epsilon=0.5)
    drive(optimizer, problem, 600)
    levels = [level_of(params) for params in memory_of(optimizer).params]
    assert len(levels) == len(set(levels)) > 4


@pytest.mark.parametrize(
    "bad",
    [
        lambda a, b: np.zeros((len(a), len(b) + 1)),
        lambda a, b: np.full((len(a), len(b)), np.nan),
        lambda a, b: -np.ones((len(a), len(b))),
        lambda a, b: 1.0,
    ],
    ids=["shape", "nan", "negative", "number"],
)
def test_a_distance_that_is_none_is_refused(bad):
    problem = Stairs()
    with pytest.raises(UsageError, match="distance must return an array"):
        drive(polca(problem, distance=bad), problem, 100)


@pytest.mark.parametrize("again", [False, True])
def test_a_refused_proposal_has_the_candidate_that_it_came_too_near_evaluated_again(again):
    problem = Stairs()

    def propose(params, feedback, rng):
        return text_of(2, "".join(rng.choice(list("abc"), 3)))

    optimizer = polca(
        problem, proposer=propose, evaluate_again=again, reserve=False, epsilon=FAR, n_parents=1,
        ucb_scale=0.0,
    )  # fmt: skip
    optimizer.tell(Trial(None, text_of(2)), 0.0)  # bad luck
    for _ in range(40):
        [trial] = optimizer.ask()
        optimizer.tell(trial, [1.0 if level_of(trial.params) == 2 else 0.5] * trial.repeats)
    memory = memory_of(optimizer)
    unlucky = memory.find(text_of(2))
    assert len(memory) == 2
    assert (memory.count[unlucky] > 1) == again  # else its bad luck is for ever
    assert (-memory.mean[unlucky] > 0.5) == again


# --- deterministic problems ----------------------------------------------------------


@pytest.mark.parametrize("n_open", [1, 3, 8])
@pytest.mark.parametrize("examples", [0, 3, 5, 30])
def test_nothing_is_paid_twice_where_one_evaluation_says_all(examples, n_open):
    problem = Stairs(examples=examples, duplicates=0.1, **EXACT)
    optimizer = polca(problem)
    drive(optimizer, problem, 300, n_open=n_open)
    assert set(problem.paid.values()) == {1}
    assert optimizer.diagnostics()["rounds"] > 3


def test_what_is_known_already_is_shown_to_the_proposer_all_the_same():
    problem = Stairs(examples=4, **EXACT)
    optimizer = polca(problem, minibatch=2, summary=False)
    drive(optimizer, problem, 200)
    assert {len(feedback) for _, feedback in problem.shown} == {2}
    for params, feedback in problem.shown:
        assert all(f"{level_of(params)} steps" in said for said in feedback)


def test_children_are_compared_with_parents_that_are_known_already():
    problem = Stairs(duplicates=0.0, improving=0.5, down=1, **EXACT)
    optimizer = polca(problem, n_parents=1, epsilon=0.0)
    drive(optimizer, problem, 100)
    found = optimizer.diagnostics()
    # all gains are +-1/8 (0 at the bottom and the top): the mean follows from the rate
    assert found["improvement_rate"] > 0
    assert abs(found["mean_gain"]) <= 1 / 8
    assert found["mean_gain"] != 0


def test_a_proposer_that_only_repeats_its_parent_exhausts_a_deterministic_problem():
    problem = Stairs(**EXACT)
    result = bbopt.run(
        problem, polca(problem, proposer=lambda params, feedback, rng: dict(params)), 100
    )
    assert result.stop_reason == "exhausted"
    assert sum(problem.paid.values()) == 1
    assert result.best.value == 1 / 8


def test_a_proposer_that_only_repeats_its_parent_goes_on_measuring_a_noisy_problem():
    problem = Stairs()
    result = bbopt.run(
        problem, polca(problem, proposer=lambda params, feedback, rng: dict(params)), 100
    )
    assert result.stop_reason == "evaluations"
    assert sum(problem.paid.values()) == 100


# --- proposers that fail -------------------------------------------------------------


@pytest.mark.parametrize("fault", [None, "nonsense", {}, 3, ValueError("no"), KeyError()], ids=str)
def test_a_proposer_that_fails_half_of_the_time_slows_the_search_and_no_more(fault):
    problem = Stairs(noise=0.05, duplicates=0.0, improving=0.5)

    def propose(params, feedback, rng):
        if rng.random() < 0.5:
            if isinstance(fault, Exception):
                raise fault
            return fault
        return problem.propose(params, feedback, rng)

    optimizer = polca(problem, proposer=propose, epsilon=FAR)
    drive(optimizer, problem, 600)
    found = optimizer.diagnostics()
    # half of some 100 proposals: a standard error of 0.05
    assert found["unusable_proposals"] / found["proposals"] == pytest.approx(0.5, abs=0.2)
    assert problem.truth(optimizer.best.params) > 0.6


def test_a_proposer_that_changes_its_arguments_changes_nothing_else():
    problem = Stairs(examples=5)

    def propose(params, feedback, rng):
        child = problem.propose(params, (), rng)
        params["prompt"] = "spoilt"
        feedback.clear()
        return child

    optimizer = polca(problem, proposer=propose)
    trials = drive(optimizer, problem, 100)
    assert all("spoilt" not in prompt for prompt, _, _ in trials)
    assert all("spoilt" not in params["prompt"] for params in memory_of(optimizer).params)


# --- evaluations that fail -----------------------------------------------------------


@pytest.mark.parametrize("deterministic", [None, True])
@pytest.mark.parametrize("examples", [0, 4])
def test_a_seed_that_gives_nothing_for_ever_does_not_stop_the_search(examples, deterministic):
    seed = text_of(1)["prompt"]
    problem = Stairs(
        noise=0.0,
        examples=examples,
        deterministic=deterministic,
        broken=lambda params, example: params["prompt"] == seed,
    )
    optimizer = polca(problem, epsilon=FAR)
    drive(optimizer, problem, 300)
    assert problem.truth(optimizer.best.params) > 0.6
    memory = memory_of(optimizer)
    assert math.isnan(memory.mean[0])
    assert memory.failed[0] > 0


def test_what_only_failed_does_not_refuse_its_neighbours():
    """A program that crashes is often repaired by a change of one character."""
    broken, repaired = text_of(1)["prompt"], text_of(1, "again")["prompt"]

    def propose(params, feedback, rng):
        return {"prompt": repaired if params["prompt"] == broken else text_of(3)["prompt"]}

    problem = Stairs(noise=0.0, broken=lambda params, example: params["prompt"] == broken)
    drive(polca(problem, proposer=propose, epsilon=FAR), problem, 40)
    assert problem.paid[repaired, None]


def test_when_all_evaluations_fail_it_goes_on_asking():
    problem = Stairs(broken=lambda params, example: True)
    optimizer = polca(problem)
    drive(optimizer, problem, 200)
    assert optimizer.best is None
    assert len(memory_of(optimizer)) > 3
    assert optimizer.ask()


def test_a_failure_counts_as_an_evaluation_and_not_as_a_value():
    problem = Stairs(broken=lambda params, example: level_of(params) == 2)
    optimizer = polca(problem, epsilon=FAR)
    told = sum(repeats for _, repeats, _ in drive(optimizer, problem, 300))
    memory = memory_of(optimizer)
    assert memory.count.sum() + memory.failed.sum() == told - sum(
        trial.repeats for trial in optimizer.pending
    )
    for params, count, failed in zip(memory.params, memory.count, memory.failed, strict=True):
        assert (count == 0) == (level_of(params) == 2)
        assert (failed > 0) == (level_of(params) == 2)


def test_a_trial_that_was_not_evaluated_at_all_is_no_trouble():
    problem = Stairs()
    optimizer = polca(problem)
    for i in range(100):
        for trial in optimizer.ask(3):
            optimizer.tell(trial, NOTHING if i % 2 else [0.5])
    assert optimizer.diagnostics()["rounds"] > 3


# --- foreign trials ------------------------------------------------------------------


def test_foreign_trials_are_used_at_once():
    problem = Stairs()
    optimizer = polca(problem, n_parents=1, reserve=False)
    drive(optimizer, problem, 20)
    optimizer.tell(Trial(None, text_of(8), 50), [1.0] * 50)
    later = drive(optimizer, problem, 40)
    assert any(prompt == text_of(8)["prompt"] for prompt, _, _ in later)
    assert optimizer.best.params == text_of(8)


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_what_is_in_use_today_comes_first_beside_earlier_results_too(variant):
    problem = Stairs()
    optimizer = polca(problem, n_parents=3, variant=variant)
    for level in (5, 6, 7):
        optimizer.tell(Trial(None, text_of(level), 2), [1.0, 0.5])
    first, *others = optimizer.ask(3)
    assert first.params == text_of(1)
    assert all(level_of(trial.params) > 4 for trial in others)


def test_an_earlier_result_of_a_deterministic_problem_is_not_paid_again():
    problem = Stairs(**EXACT)
    optimizer = polca(problem)
    for level in (1, 4):
        optimizer.tell(Trial(None, text_of(level)), Outcome(level / 8, feedback=["known"]))
    drive(optimizer, problem, 30)
    assert problem.paid[text_of(1)["prompt"], None] == 0
    assert problem.paid[text_of(4)["prompt"], None] == 0
    assert ({"prompt": text_of(4)["prompt"]}, ("known",)) in [
        (params, feedback[:1]) for params, feedback in problem.shown
    ]


# --- spaces --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "space",
    [
        Space({"system": Text("be kind"), "user": Text("answer")}),
        Space({"prompt": Text("x"), "k": Int(1, 9, initial=2), "heat": Float(0, 1, initial=0.5)}),
        Space({"k": Int(1, 9), "model": Categorical(["small", "large", None, True])}),
        Space({"x": Float(0, 1)}),
    ],
    ids=["texts", "text and numbers", "no text", "number"],
)
def test_every_kind_of_parameter_can_be_searched_without_a_proposer(space):
    optimizer = bbopt.optimizer("polca", space, direction="minimize", epsilon=0.0)
    asked = []
    while len(asked) < 60:
        for trial in optimizer.ask(4):
            assert space.validate(trial.params) == trial.params
            asked.append(trial.params)
            optimizer.tell(trial, [float(len(str(trial.params)))] * trial.repeats)
    changed = {name for name in space if any(p[name] != asked[0][name] for p in asked)}
    assert changed == set(space)


def test_n_proposals_are_made_from_each_pair():
    problem = Stairs()
    optimizer = polca(problem, n_parents=2, n_proposals=3)
    for trial in optimizer.ask(2):
        tell(optimizer, problem, trial)
    optimizer.ask()
    assert problem.n_proposed == 2 * 3


def test_the_best_is_never_lost_however_large_the_memory_grows():
    problem = Stairs(noise=0.0, improving=0.05, duplicates=0.0)
    optimizer = polca(problem, epsilon=0.0)
    best = 0.0
    for _ in range(200):
        [trial] = optimizer.ask()
        tell(optimizer, problem, trial)
        best = max(best, problem.truth(trial.params))
        assert problem.truth(optimizer.best.params) == best
        memory = memory_of(optimizer)
        assert -np.nanmin(memory.mean) == best
    assert len(memory) > 30

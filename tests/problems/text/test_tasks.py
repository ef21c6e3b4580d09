from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

import bbopt
from bbopt.errors import UsageError
from bbopt.problems.text.tasks import N_TASKS, Task

NAMES = ["text/rulebook", "text/hints"]


@pytest.mark.parametrize(
    ("latent", "is_met"), [({1, 2}, True), ({1, 2, 5}, True), ({1}, False), ({1, 2, 3}, False)]
)
def test_a_task_is_met_by_all_needs_and_no_harm(latent, is_met):
    assert Task(frozenset({1, 2}), frozenset({3, 4})).is_met(latent) is is_met


@pytest.mark.parametrize("name", NAMES)
def test_the_truth_is_the_expected_share_of_solved_tasks(name):
    problem = bbopt.problem(name, naming=0)
    rng, language = np.random.default_rng(0), problem.language
    for size in range(0, len(language.statements), 5):
        latent = set(rng.choice(len(language.statements), size, replace=False).tolist())
        chances = [
            0.9 if t.needs <= latent and t.harms.isdisjoint(latent) else 0.15 for t in problem.tasks
        ]
        assert problem.truth({"prompt": language.write(latent)}) == pytest.approx(np.mean(chances))


@pytest.mark.parametrize("instance", range(3))
@pytest.mark.parametrize("name", NAMES)
def test_no_one_or_two_changes_make_the_optimum_better(name, instance):
    problem = bbopt.problem(name, instance=instance)
    everything = range(len(problem.language.statements))
    for size in (1, 2):
        for change in combinations(everything, size):
            assert problem.value_of(problem.best ^ set(change)) <= problem.optimum + 1e-12


def test_the_rule_book_is_a_trade_off():
    for instance in range(5):
        problem = bbopt.problem("text/rulebook", instance=instance)
        everything = frozenset(range(24))
        helpful = frozenset(range(14))
        assert problem.value_of(problem.initial) < 0.3
        assert problem.value_of(everything) < 0.5
        assert helpful < problem.best
        assert 0.6 < problem.value_of(helpful) < problem.optimum < 0.9
        assert all(2 <= len(t.needs) <= 4 for t in problem.tasks)


def test_the_optimum_of_the_hints_is_all_facts():
    problem = bbopt.problem("text/hints")
    assert problem.optimum == pytest.approx(0.9)
    assert problem.best == set(range(8))
    assert problem.value_of(frozenset(range(12))) < 0.5  # decoys do harm


def test_the_number_of_decoys_does_not_change_what_tasks_need():
    plain, full = (bbopt.problem("text/hints", decoys=n) for n in (0, 6))
    assert [t.needs for t in plain.tasks] == [t.needs for t in full.tasks]


def test_instances_differ_and_repeat():
    one, same, other = (bbopt.problem("text/rulebook", instance=i) for i in (0, 0, 1))
    assert one.tasks == same.tasks
    assert one.held_out == same.held_out
    assert one.tasks != other.tasks


def test_the_test_value_is_of_tasks_held_out():
    problem = bbopt.problem("text/rulebook")
    best = bbopt.Best(problem.optimal_params[0], 0.0, None, 1)
    met = np.mean([t.is_met(problem.best) for t in problem.held_out])
    assert problem.test_value(best) == pytest.approx(0.15 + 0.75 * met)
    assert len(problem.held_out) == 200
    assert problem.spec.examples.train == tuple(range(N_TASKS))


def feedback(problem, latent, n=3000):
    rng, text = np.random.default_rng(0), problem.language.write(latent)
    scored = [problem.score(text, int(rng.integers(N_TASKS)), rng) for _ in range(n)]
    return [(value, said["feedback"]) for value, said in scored]


@pytest.mark.parametrize("naming", [0.0, 0.4, 1.0])
def test_failures_name_a_statement_with_the_given_probability(naming):
    problem = bbopt.problem("text/rulebook", naming=naming)
    failures = [
        text for value, text in feedback(problem, frozenset()) if not value
    ]  # the empty prompt meets no task
    named = [text for text in failures if problem.language.named(text) != (set(), set())]
    sd = (len(failures) * naming * (1 - naming)) ** 0.5
    assert abs(len(named) - naming * len(failures)) <= 5 * sd


def test_feedback_names_what_is_missing_or_harmful_and_success_names_nothing():
    problem = bbopt.problem("text/rulebook", naming=1)
    latent = frozenset({0, 1, 2, 3, 14, 20, 22})
    for value, text in feedback(problem, latent):
        missing, harmful = problem.language.named(text)
        assert len(missing) + len(harmful) <= 1 - value
        assert not missing & latent
        assert harmful <= latent


def test_facts_and_decoys_are_told_alike_and_decoys_are_found_wrong():
    problem = bbopt.problem("text/hints", naming=1)
    told = {text for _, text in feedback(problem, frozenset({8}))}
    facts, wrong = (set().union(*x) for x in zip(*map(problem.language.named, told), strict=True))
    assert facts == set(range(12)) - {8}
    assert wrong == {8}
    assert all(text.startswith("Fact: ") for text in told if problem.language.read(text))


@pytest.mark.parametrize("example", [-1, 60, None])
def test_an_example_that_is_none_is_refused(example):
    problem = bbopt.problem("text/hints")
    with pytest.raises(UsageError, match=r"example must be an integer in \[0, 59\]"):
        problem.score("", example, np.random.default_rng(0))

from dataclasses import replace

import pytest

import bbopt
from bbopt.bench.loopback import Loopback
from bbopt.bench.play import play
from bbopt.bench.served import Served, served, spent
from bbopt.budget import Budget
from bbopt.errors import UsageError
from bbopt.trial import Trial

METHODS = [
    "polca",
    "best-of-n",
    "random-restarts",
    pytest.param("gepa", marks=pytest.mark.peer),
    pytest.param("openevolve", marks=pytest.mark.peer),
]


@pytest.fixture
def cell(make_cell):
    def make(**given):
        given = {"problem": "text/rulebook", "optimizer": "polca", "llm": "loopback", **given}
        return make_cell(**{"budget": Budget(evaluations=40), **given})

    return make


def run_served(problem, method, budget):
    with served(bbopt.problem(problem), seed=3) as (behind, client):
        optimizer = bbopt.optimizer(method, behind.spec, seed=3, llm=client)
        result = bbopt.run(behind, optimizer, budget)
        assert client.ledger.total.calls == result.spent.usage.llm_calls
    return behind, result


@pytest.mark.parametrize("method", METHODS)
def test_the_services_ledger_agrees_with_what_the_run_counted(method):
    behind, result = run_served("text/hints", method, Budget(evaluations=60))
    ledger = behind.service.ledger
    assert ledger.metric_calls == result.spent.evaluations > 0
    assert sum(ledger.chat_calls.values()) == result.spent.usage.llm_calls > 0
    assert ledger.tokens == result.spent.usage.tokens


@pytest.mark.parametrize("method", METHODS)
def test_no_method_makes_more_calls_than_its_budget_has(method):
    budget = Budget(evaluations=2000, llm_calls=11)
    behind, result = run_served("text/staircase", method, budget)
    assert sum(behind.service.ledger.chat_calls.values()) == 11
    assert result.stop_reason == "llm_calls"
    assert result.spent.evaluations < 2000, "the calls ended the run"


def test_a_trial_without_examples_gets_training_examples_drawn_from_its_own_stream():
    problem = bbopt.problem("text/rulebook")
    with Loopback(problem, seed=1) as service:
        behind = Served(problem, service)
        trial = Trial(0, problem.spec.space.initial, repeats=30)
        outcomes = [behind.evaluate(trial, bbopt.seeding.stream(k, "test")) for k in (0, 1)]
        named = replace(trial, repeats=2, context={"examples": (5, 5)})
        topics = [said["input"] for said in behind.evaluate(named, None).feedback]
    drawn = [[said["input"] for said in outcome.feedback] for outcome in outcomes]
    assert drawn[0] != drawn[1]
    assert len({*drawn[0]}) > 10
    assert topics[0] == topics[1], "examples that are named are taken"
    assert behind.propose is None, "proposals come from the service"


def test_a_record_has_the_ledgers_counts_and_the_best_that_was_seen(cell):
    record = play(cell(optimizer="best-of-n", settings={"minibatch": 5}))
    summary = record.summary
    assert summary["evaluations"] == 40
    assert summary["llm_calls"] == summary["proposer_calls"] == 7, "one a child, eight candidates"
    assert summary["best_seen"] >= record.incumbents[-1].true_value
    assert record.incumbents[-1].value == summary["best_value"]


def test_summaries_are_calls_but_no_proposals(cell):
    with_summary, without = (
        play(cell(settings={"summary": summary}, budget=Budget(evaluations=500, llm_calls=20)))
        for summary in (True, False)
    )
    assert with_summary.summary["llm_calls"] == without.summary["llm_calls"] == 20
    assert with_summary.summary["proposer_calls"] < 20
    assert without.summary["proposer_calls"] == 20


def test_the_best_that_was_seen_is_the_least_where_smaller_is_better():
    ledger = Loopback(bbopt.problem("text/hints"), seed=0)
    ledger.close()
    counts = ledger.ledger
    counts.history = [(1, 0, 0.5), (2, 0, 0.2), (3, 0, None), (4, 0, 0.9)]
    assert spent(counts, 1.0)["best_seen"] == 0.2
    assert spent(counts, -1.0)["best_seen"] == 0.9


@pytest.mark.parametrize("method", METHODS)
def test_equal_cells_give_equal_records(cell, method):
    first, second = (play(cell(optimizer=method)) for _ in range(2))
    timeless = [
        ([i[:3] for i in r.incumbents], {k: v for k, v in r.summary.items() if "seconds" not in k})
        for r in (first, second)
    ]
    assert timeless[0] == timeless[1]


def test_the_first_evaluation_of_a_seed_is_the_same_for_all_methods(cell):
    given = {"problem": "text/staircase", "budget": Budget(evaluations=10), "confirm": 0.0}
    settings = {"polca": {"minibatch": 2, "n_parents": 1}, "best-of-n": {"minibatch": 2}}
    firsts = [
        play(cell(optimizer=name, settings=chosen, **given)).incumbents[0][:2]
        for name, chosen in settings.items()
    ]
    assert firsts[0] == firsts[1]


def test_a_problem_that_cannot_propose_is_refused(cell):
    with pytest.raises(UsageError, match=r"text/"):
        play(cell(problem="synthetic/branin", optimizer="random"))

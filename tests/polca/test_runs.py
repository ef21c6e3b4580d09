"""Whole runs of POLCA: storage and resume, parallel evaluations, budgets, models."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

import bbopt
from bbopt.testing import ScriptedLLM
from tests.polca.toys import Stairs, climbing, level_of, tell, text_of

FAR = 0.2


class Killed(BaseException):
    """A kill, as far as one process can play its own."""


class Mortal(Stairs):
    """Stairs whose process dies after so many evaluations."""

    name = "toy/stairs"
    after = 10**9

    def evaluate(self, trial, rng):
        if self.paid.total() >= self.after:
            raise Killed
        return super().evaluate(trial, rng)


def run(problem, budget=120, *, settings=None, **kwargs):
    settings = {"epsilon": FAR, **(settings or {})}
    return bbopt.run(problem, "polca", budget, settings=settings, seed=3, **kwargs)


def log(result):
    """Everything that was told, in its order, and what it came to."""
    told = [(e.trial.to_json(), e.outcome.to_json(), e.best) for e in result.trials]
    return told, result.best, result.stop_reason


# --- reproducibility -----------------------------------------------------------------


@pytest.mark.parametrize("in_flight", [1, 3, 8])
@pytest.mark.parametrize("examples", [0, 7])
def test_a_run_is_the_same_however_many_evaluate(in_flight, examples):
    alone = run(Stairs(examples=examples), in_flight=in_flight)
    assert log(run(Stairs(examples=examples), in_flight=in_flight)) == log(alone)
    with ThreadPoolExecutor(4) as threads:
        together = run(Stairs(examples=examples), in_flight=in_flight, executor=threads)
    assert log(together) == log(alone)


@pytest.mark.slow
def test_a_run_is_the_same_in_processes():
    assert log(run(Stairs(), in_flight=3, jobs=2)) == log(run(Stairs(), in_flight=3))


def test_with_more_in_flight_rounds_overlap_and_no_candidate_is_a_parent_in_two_of_them():
    problem = Stairs()
    optimizer = bbopt.optimizer("polca", problem.spec, proposer=problem.propose, n_parents=2)
    most = 0
    for _ in range(150):
        trials = optimizer.ask(8 - len(optimizer.pending)) if len(optimizer.pending) < 8 else []
        rounds = [r for _, r in optimizer.state_dict()["method"]["rounds"]]
        parents = [
            {pair["candidate"] for pair in r["pairs"]} for r in rounds if not r["has_proposed"]
        ]
        assert len(set().union(*parents)) == sum(map(len, parents))
        most = max(most, len(rounds))
        assert trials or optimizer.pending
        tell(optimizer, problem, optimizer.pending[0])
    assert most > 1


@pytest.mark.parametrize("in_flight", [1, 4])
@pytest.mark.parametrize("after", [0, 11, 37, 57])
def test_a_run_killed_after_any_evaluation_and_resumed_is_an_unbroken_one(
    tmp_path, after, in_flight
):
    options = {"in_flight": in_flight, "budget": 60}
    unbroken = run(Mortal(examples=7), **options)
    problem = Mortal(examples=7)
    problem.after = after
    with pytest.raises(Killed):
        run(problem, storage=tmp_path / "runs.journal", **options)
    resumed = run(Mortal(examples=7), storage=tmp_path / "runs.journal", resume=True, **options)
    assert log(resumed) == log(unbroken)
    assert resumed.spent.evaluations == 60


@pytest.mark.parametrize("shards", [(30, 90), (50, 60, 70)])
def test_a_run_goes_on_with_a_larger_budget(tmp_path, shards):
    # in_flight and confirm are part of what happens: only the search itself is compared
    options = {"in_flight": 1, "confirm": 0.0}
    for budget in shards:
        result = run(
            Stairs(examples=7), budget, storage=tmp_path / "runs.journal", resume=True, **options
        )
    assert result.spent.evaluations == shards[-1]
    assert memory_is_sound(result)


def memory_is_sound(result):
    """Whether no candidate that was proposed is a step from another."""
    levels = [level_of(e.trial.params) for e in result.trials]
    prompts = {e.trial.params["prompt"] for e in result.trials}
    return len(prompts) == len(set(levels))


# --- budgets and failures ------------------------------------------------------------


@pytest.mark.parametrize("budget", [1, 2, 5, 17, 64])
@pytest.mark.parametrize("examples", [0, 5])
def test_a_budget_of_evaluations_is_spent_to_the_last_and_never_exceeded(budget, examples):
    problem = Stairs(examples=examples, validation=2 if examples else 0)
    result = run(problem, budget, settings={"minibatch": 3}, in_flight=4)
    assert result.stop_reason == "evaluations"
    assert problem.paid.total() == result.spent.evaluations == budget


def test_evaluations_that_raise_cost_their_budget_and_no_more():
    def broken(params, example):
        return level_of(params) in (2, 3) and example == 4

    problem = Stairs(examples=6, broken=broken)
    result = run(problem, 300, in_flight=3)
    assert result.spent.evaluations == 300
    assert any(e.outcome.failed > 0 for e in result.trials)
    assert problem.truth(result.best.params) > 0.6


def test_the_paper_variant_holds_nothing_back():
    result = run(Stairs(), 100, settings={"variant": "paper"})
    assert not any(e.trial.context.get("confirm") for e in result.trials)


# --- with a model --------------------------------------------------------------------


def test_a_run_with_a_model_ends_with_its_calls_and_books_them_all():
    llm = ScriptedLLM(climbing)
    result = run(Stairs(), {"llm_calls": 23, "evaluations": 10_000}, llm=llm)
    assert result.stop_reason == "llm_calls"
    assert len(llm.requests) == result.spent.usage.llm_calls == 23


def test_a_budget_of_tokens_is_not_exceeded_and_ends_the_run():
    llm = ScriptedLLM(climbing)
    result = run(Stairs(), {"tokens": 30_000, "evaluations": 10_000}, llm=llm)
    assert result.stop_reason in ("llm", "tokens")
    assert 10_000 < result.spent.usage.tokens <= 30_000
    assert result.spent.evaluations < 10_000


@pytest.mark.parametrize("after", [0, 9, 30])
def test_no_reply_is_paid_twice_when_a_run_is_killed_and_resumed(tmp_path, after):
    options = {"budget": 60, "in_flight": 2}
    unbroken_llm = ScriptedLLM(climbing)
    unbroken = run(Mortal(examples=7), llm=unbroken_llm, **options)
    problem = Mortal(examples=7)
    problem.after = after
    sent = []
    for resume, each in ((False, problem), (True, Mortal(examples=7))):
        with ScriptedLLM(climbing) as llm:
            where = {"storage": tmp_path / "runs.journal", "resume": resume}
            if resume:
                resumed = run(each, llm=llm, **where, **options)
            else:
                with pytest.raises(Killed):
                    run(each, llm=llm, **where, **options)
            sent += [(request.role, request.draw) for request in llm.requests]
    assert log(resumed) == log(unbroken)
    assert Counter(sent) == Counter((r.role, r.draw) for r in unbroken_llm.requests)
    assert max(Counter(sent).values()) == 1
    assert resumed.spent.usage == unbroken.spent.usage


def test_a_model_that_dies_ends_the_run_with_everything_saved():
    llm = ScriptedLLM(
        lambda request: climbing(request) if len(llm.requests) < 15 else OSError("down"), failures=2
    )
    result = run(Stairs(), 10_000, llm=llm, confirm=0.0)
    assert result.stop_reason == "llm"
    assert result.spent.evaluations == sum(e.trial.repeats for e in result.trials) < 200
    assert result.best is not None


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize(
    "optimizer", ["polca", "best-of-n", "random-restarts", "gepa", "openevolve"]
)
def test_a_proposer_that_never_gives_anything_usable_ends_the_run(optimizer, deterministic, caplog):
    def broken(params, feedback, rng):
        raise ZeroDivisionError("a bug of its own")

    if optimizer in ("gepa", "openevolve"):
        pytest.importorskip(optimizer)
    problem = Stairs(deterministic=deterministic, noise=0.0 if deterministic else "bernoulli")
    problem.propose = broken
    result = bbopt.run(problem, optimizer, 1000)
    assert result.stop_reason == "proposer"
    assert result.spent.evaluations < 200
    assert result.best.params == problem.spec.space.initial
    said = [r.getMessage() for r in caplog.records if "ZeroDivisionError: a bug of" in r.message]
    assert len(said) == 1


def test_one_good_proposal_is_enough_to_go_on(caplog):
    calls = []

    def moody(params, feedback, rng):
        calls.append(params)
        if len(calls) != 3:
            raise RuntimeError("not today")
        return text_of(5)

    problem = Stairs()
    problem.propose = moody
    result = bbopt.run(problem, "polca", 150, confirm=0.1)
    assert result.stop_reason == "evaluations"
    assert len(calls) > 30
    assert result.diagnostics["unusable_proposals"] == result.diagnostics["proposals"] - 1
    assert result.best.params == text_of(5)


def test_a_run_that_ended_for_its_proposer_goes_on_with_a_better_one(tmp_path):
    def broken(params, feedback, rng):
        raise RuntimeError("not today")

    def run(propose):
        problem = Stairs()
        problem.propose = propose
        return bbopt.run(problem, "polca", 300, storage=tmp_path / "log", resume=True)

    assert run(broken).stop_reason == "proposer"
    assert run(broken).stop_reason == "proposer"
    result = run(Stairs().propose)
    assert result.stop_reason == "evaluations"
    assert result.best.params != text_of(1)

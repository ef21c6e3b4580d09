"""Language models in a run: who spends the budget, what is refused, what earlier sessions paid."""

from __future__ import annotations

import math
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles_of_runs import Crash, Noisy

import bbopt
from bbopt import Outcome, Problem, Spec, Trial
from bbopt.errors import UsageError
from bbopt.running.blocks import merge_blocks
from bbopt.spec import Examples
from bbopt.testing import ScriptedLLM
from bbopt.trial import Usage, merge

BUDGETS = ["llm_calls=50", "tokens=1000", "cost=3", "llm_calls=9,cost=1"]


class Asking(Problem):
    """Each evaluation asks the model once how good a text is."""

    name, needs_llm = "asking", True

    def __init__(self, *, block: int = 1, says: bool = True) -> None:
        self.block, self.says = block, says
        self.n_values = 0

    spec = Spec(
        space=bbopt.Space({"prompt": bbopt.Text("Be kind.")}),
        direction="maximize",
        deterministic=False,
        examples=Examples(range(40), range(40, 60)),
    )

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Outcome:
        return merge(self.judged(trial.params, e, rng) for e in trial.context["examples"])

    def judged(self, params: dict[str, Any], example: int, rng: np.random.Generator) -> Outcome:
        ask = [{"role": "user", "content": f"{example}: {params['prompt']}"}]
        reply = self.llm.complete(ask, role="judge", draw=int(rng.integers(2**31)))
        self.n_values += reply.error is None
        value = math.nan if reply.error else float(reply.text)
        return Outcome(value, usage=reply.usage if self.says else Usage(), error=reply.error)


def judging(request: Any) -> Any:
    """A model that proposes something new each time, and judges by a hash."""
    if request.role == "judge":
        return f"0.{sum(request.messages[0]['content'].encode()) % 10}"
    if request.role == "summarizer":
        return {"summary": f"summary {request.draw}"}
    return {"params": {"prompt": f"Be kind and {request.key}."}}


class Paying(Noisy):
    """Asks a service of its own, and says what that took."""

    usage = Usage(2, 30, 0.5)

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Outcome:
        outcome = super().evaluate(trial, rng)
        return Outcome(outcome.values, usage=self.usage)


# --- budgets that only models spend ------------------------------------------------------


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_budget_that_nothing_spends_is_refused(budget: str) -> None:
    names = budget.partition("=")[0]
    with pytest.raises(UsageError, match=rf"budget {names}.*would never end; give a model"):
        bbopt.run(Noisy(), "random", budget)
    with pytest.raises(UsageError, match="would never end"):
        bbopt.run("text/rulebook", "polca", budget)


@pytest.mark.parametrize("budget", BUDGETS)
def test_what_evaluations_say_they_took_is_limited(budget: str) -> None:
    result = bbopt.run(Paying(), "random", budget)
    axis = result.stop_reason
    limit = bbopt.Budget.parse(budget).to_json()[axis]
    spent, each = getattr(result.spent.usage, axis), getattr(Paying.usage, axis)
    assert limit <= spent < limit + each
    assert result.spent.evaluations == math.ceil(limit / each)


@pytest.mark.parametrize("budget", ["evaluations=30,llm_calls=9", "evaluations=30,tokens=200"])
@pytest.mark.parametrize("jobs", [{}, {"in_flight": 3}, {"in_flight": 3, "jobs": 2}])
def test_it_is_limited_beside_other_axes_and_with_several_open(
    budget: str, jobs: dict[str, int]
) -> None:
    result = bbopt.run(Paying(), "random", budget, **jobs)
    axis = result.stop_reason
    limit = bbopt.Budget.parse(budget).to_json()[axis]
    spent, each = getattr(result.spent.usage, axis), getattr(Paying.usage, axis)
    assert limit <= spent < limit + 3 * each


# --- evaluations that ask the model of the run -------------------------------------------


@pytest.mark.parametrize("block", [1, 4, 8])
@pytest.mark.parametrize("optimizer", ["polca", "best-of-n"])
def test_calls_are_kept_for_confirming_and_what_is_refused_is_no_evaluation(
    optimizer: str, block: int
) -> None:
    with ScriptedLLM(judging) as llm:
        problem = Asking(block=block)
        result = bbopt.run(problem, optimizer, "evaluations=200,llm_calls=83", llm=llm, confirm=0.1)
        asked = Counter(request.role for request in llm.requests)
    assert result.stop_reason == "llm_calls"
    assert len(llm.requests) == result.spent.usage.llm_calls <= 83
    assert result.spent.evaluations == problem.n_values == asked["judge"]
    assert result.spent.failures == 0
    confirming = [e for e in result.trials if "confirm" in e.trial.context]
    n = sum(e.outcome.count for e in confirming)
    assert 20 - 2 * block < n <= 20
    assert result.best is not None
    assert result.best.count == confirming[-1].outcome.count >= (n // 2 if n >= 8 else n)


def test_minibatches_stay_small_where_evaluations_take_calls() -> None:
    with ScriptedLLM(judging) as llm:
        result = bbopt.run(Asking(), "polca", "evaluations=400,llm_calls=40", llm=llm)
    searched = [e.trial.repeats for e in result.trials if "confirm" not in e.trial.context]
    assert searched[0] == 2 == max(searched)
    assert result.spent.usage.llm_calls <= 40


def test_evaluations_that_say_nothing_of_their_calls_end_with_the_budget() -> None:
    with ScriptedLLM(judging) as llm:
        problem = Asking(says=False)
        result = bbopt.run(problem, "best-of-n", "llm_calls=30", llm=llm)
    assert result.stop_reason == "llm_calls"
    assert len(llm.requests) == result.spent.usage.llm_calls == 30
    assert result.spent.evaluations == problem.n_values


def test_what_was_refused_is_evaluated_when_there_is_budget_for_it(tmp_path: Path) -> None:
    options: dict[str, Any] = {"storage": tmp_path / "x.journal", "confirm": 0, "seed": 2}
    with ScriptedLLM(judging) as llm:
        whole = bbopt.run(Asking(block=4), "polca", "evaluations=60", llm=llm, confirm=0, seed=2)
    for calls in (11, 24, 1000):
        with ScriptedLLM(judging) as llm:
            budget = {"evaluations": 60, "llm_calls": calls}
            last = bbopt.run(Asking(block=4), "polca", budget, llm=llm, resume=True, **options)
            assert last.spent.usage.llm_calls <= calls
    assert last.spent.evaluations == whole.spent.evaluations == 60
    assert last.spent.failures == 0
    assert sum(e.outcome.count for e in last.trials) == 60


def test_values_keep_their_examples_where_a_block_before_them_is_cut_short() -> None:
    trial = Trial(0, {}, 6, {"examples": (5, 6, 7, 8, 9, 10)})
    blocks = {0: Outcome([1.0]), 2: Outcome([5.0], feedback=["e"])}
    merged = merge_blocks(trial, 2, blocks)
    assert merged.values[4:] == (5.0,)
    assert merged.feedback[4:] == ("e",)
    assert (merged.count, merged.failed, merged.values[0]) == (2, 3, 1.0)
    whole = {i: Outcome([2.0 * i, 2.0 * i + 1]) for i in range(3)}
    assert merge_blocks(trial, 2, whole).values == (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)


# --- other sessions, other studies -------------------------------------------------------


@pytest.mark.parametrize("known", [False, True])
def test_what_a_killed_run_paid_is_counted_without_its_model(tmp_path: Path, known: bool) -> None:
    def kill(trial: Trial, outcome: Outcome, best: Any) -> None:
        if trial.number == 6:
            raise Crash

    options: dict[str, Any] = {"storage": tmp_path / "x.journal", "seed": 1}
    with ScriptedLLM(judging) as llm, pytest.raises(Crash):
        bbopt.run("text/rulebook", "polca", 40, llm=llm, callbacks=[kill], **options)
    paid = llm.ledger.total.usage
    assert paid.llm_calls > 2
    if known:  # a run that ends without asking anything
        with ScriptedLLM([]) as silent:
            again = bbopt.run("text/rulebook", "polca", 6, llm=silent, resume=True, **options)
    else:
        again = bbopt.run("text/rulebook", "polca", 40, resume=True, **options)
    assert again.spent.usage == paid
    other = bbopt.run("text/rulebook", "polca", 5, storage=options["storage"], name="other")
    assert other.spent.usage == Usage()


def test_studies_of_one_storage_have_budgets_of_their_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with ScriptedLLM(judging) as llm:
            result = bbopt.run(
                "text/rulebook",
                "polca",
                "evaluations=400,llm_calls=6",
                llm=llm,
                storage=tmp_path / "x.journal",
                name=name,
                seed=len(name) + ord(name),
            )
            assert result.spent.usage.llm_calls == len(llm.requests) == 6


# --- Ctrl-C ------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["summarizer", "proposer"])
@pytest.mark.parametrize("variant", ["bbopt", "paper"])
def test_an_interrupted_run_asks_nothing_more_and_goes_on_as_if_it_had_not_been(
    tmp_path: Path, role: str, variant: str
) -> None:
    def interrupting(request: Any) -> Any:
        if request.role == role and request.draw >= 1 and not interrupted:
            interrupted.append(len(llm.requests))
            os.kill(os.getpid(), signal.SIGINT)
        return judging(request)

    interrupted: list[int] = []
    options: dict[str, Any] = {"settings": {"variant": variant}, "seed": 3, "confirm": 0}
    with ScriptedLLM(judging) as calm:
        whole = bbopt.run("text/rulebook", "polca", 60, llm=calm, **options)
    options |= {"storage": tmp_path / "x.journal"}
    with ScriptedLLM(interrupting, max_concurrent=1) as llm:
        first = bbopt.run("text/rulebook", "polca", 60, llm=llm, **options)
        assert first.stop_reason == "interrupted"
        assert [len(llm.requests)] == interrupted
    with ScriptedLLM(judging) as llm:
        last = bbopt.run("text/rulebook", "polca", 60, llm=llm, resume=True, **options)
    assert [(e.trial, e.outcome.values) for e in last.trials] == [
        (e.trial, e.outcome.values) for e in whole.trials
    ]
    assert len(llm.requests) + interrupted[0] == len(calm.requests)

"""POLCA with a language model: what it is shown, what it costs, and when it is down."""

from __future__ import annotations

from collections import Counter

import pytest

from bbopt.budget import Budget
from bbopt.testing import ScriptedLLM
from bbopt.testing.driving import through_files
from tests.polca.toys import FAR, Stairs, climbing, drive, memory_of, polca, tell


def test_a_model_improves_the_prompt_and_every_call_is_counted():
    problem = Stairs(noise=0.0)
    llm = ScriptedLLM(climbing)
    optimizer = polca(problem, llm=llm, epsilon=FAR)
    drive(optimizer, problem, 400)
    assert problem.truth(optimizer.best.params) == 1.0
    assert optimizer.usage.llm_calls == len(llm.requests)
    roles = Counter(request.role for request in llm.requests)
    assert roles["proposer"] == optimizer.diagnostics()["proposals"]
    assert 0 < roles["summarizer"] <= optimizer.diagnostics()["rounds"]
    for role in roles:  # numbered on, each once: concurrent requests can be told apart
        draws = sorted(request.draw for request in llm.requests if request.role == role)
        assert draws == list(range(len(draws)))


def test_every_proposal_of_a_round_is_shown_the_same_summary():
    problem = Stairs(noise=0.0)
    llm = ScriptedLLM(climbing)
    drive(polca(problem, llm=llm, n_parents=3, epsilon=0.0), problem, 100)
    shown = [r.messages[-1]["content"] for r in llm.requests if r.role == "proposer"]
    numbers = [int(text.rpartition("summary ")[2].split()[0]) for text in shown]
    assert numbers == sorted(numbers)
    assert all(count % 3 == 0 for count in Counter(numbers[:-3]).values())


def test_without_the_summary_nothing_is_summarised():
    problem = Stairs(noise=0.0)
    llm = ScriptedLLM(climbing)
    drive(polca(problem, llm=llm, summary=False), problem, 100)
    assert {request.role for request in llm.requests} == {"proposer"}
    assert all("Lessons" not in r.messages[-1]["content"] for r in llm.requests)


@pytest.mark.parametrize("calls", range(1, 14))
def test_no_more_calls_are_made_than_are_left(calls):
    problem = Stairs()
    llm = ScriptedLLM(climbing)
    optimizer = polca(problem, llm=llm)
    while True:
        left = Budget(llm_calls=calls - optimizer.usage.llm_calls)
        trials = optimizer.ask(7, left)
        if not trials:
            break
        for trial in trials:
            tell(optimizer, problem, trial)
    assert len(llm.requests) == optimizer.usage.llm_calls == calls


def test_a_summary_that_takes_the_last_calls_leaves_none_for_proposals():
    problem = Stairs()
    llm = ScriptedLLM(lambda request: "no JSON" if request.role == "summarizer" else {"params": {}})
    optimizer = polca(problem, llm=llm)
    while trials := optimizer.ask(9, Budget(llm_calls=2 - optimizer.usage.llm_calls)):
        for trial in trials:
            tell(optimizer, problem, trial)
    assert [request.role for request in llm.requests] == ["summarizer"] * 2


def test_a_server_that_dies_ends_the_search_with_its_reason_and_nothing_is_lost():
    problem = Stairs()
    llm = ScriptedLLM(
        lambda request: climbing(request) if len(llm.requests) < 20 else OSError("down"), failures=3
    )
    optimizer = polca(problem, llm=llm)
    told = sum(repeats for _, repeats, _ in drive(optimizer, problem, 10_000))
    assert optimizer.gave_up == "llm"
    assert len(llm.requests) < 20 + 10
    memory = memory_of(optimizer)
    assert memory.total == told < 200
    revived = polca(problem, llm=ScriptedLLM(climbing))
    revived.load_state_dict(through_files(optimizer.state_dict()))
    assert revived.best == optimizer.best
    drive(revived, problem, 60)
    assert memory_of(revived).total > told
    assert revived.gave_up is None

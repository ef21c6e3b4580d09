"""Whole runs against servers that misbehave: nothing is lost, and the books agree."""

from __future__ import annotations

import json
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bbopt
from bbopt.llm import Client, Price
from bbopt.llm.server import Server
from bbopt.polca.proposer import MAX_UNUSABLE
from bbopt.testing import HostileServer, ScriptedLLM
from bbopt.testing.llm import BEHAVIOURS, Script
from tests.polca.toys import Stairs, climbing, level_of, text_of

FAR = 0.2
LOST = {"hang", "close", "truncated", "malformed", "no-usage"}
"""After these nobody knows how many tokens were spent."""
PARENT = "parent"
"""A reply that repeats the parent; beside the behaviours that a server has of itself."""
FAULTS = sorted({*BEHAVIOURS, PARENT} - {"good"})


class Asked:
    """A request as the server sees it, for those who answer requests."""

    def __init__(self, n, body):
        self.messages, self.draw = body["messages"], body.get("seed", n)
        is_summary = "You are a summarizer" in self.messages[0]["content"]
        self.role = "summarizer" if is_summary else "proposer"


def acting(behave):
    """A script of a server: ``behave(n, asked)`` names a behaviour; good replies climb."""

    def script(n, body):
        asked = Asked(n, body)
        behaviour = behave(n, asked)
        if behaviour == PARENT and asked.role == "proposer":
            return json.dumps({"params": {"prompt": parent_of(asked)}})
        return json.dumps(climbing(asked)) if behaviour in ("good", PARENT) else behaviour

    return script


def parent_of(asked):
    return asked.messages[-1]["content"].partition("@@PARENT@@\n")[2].partition("\n@@END@@")[0]


def backend(server, *, max_retries=0, timeout=30.0, max_concurrent=8):
    return Server(
        "m",
        base_url=server.url,
        api_key="sk-a-secret-key",
        price=Price(1.0, 3.0),
        timeout=timeout,
        max_retries=max_retries,
        max_concurrent=max_concurrent,
    )


def connect(server, *, failures=1000, cool_down=0.02, wait=0.0, **options):
    """A client of the server that by default never counts it as down."""
    return Client(backend(server, **options), failures=failures, cool_down=cool_down, wait=wait)


def patience(fault):
    """Seconds for a reply: few where it does not come, many where a slow machine may need them."""
    return 0.2 if fault == "hang" else 30.0


def run(problem, budget, llm, *, settings=None, optimizer="polca", **options):
    settings = {"epsilon": FAR, **(settings or {})} if optimizer == "polca" else settings
    return bbopt.run(problem, optimizer, budget, settings=settings, llm=llm, seed=3, **options)


def check_spent(result, llm):
    """What the result says was spent on models is what the ledger says."""
    spent, total = result.spent.usage, llm.ledger.total
    assert (spent.llm_calls, spent.tokens) == (total.calls, total.tokens)
    assert spent.cost == pytest.approx(total.cost)  # summed in another order


def check_books(result, problem, llm, server):
    """Everything that was sent is booked, and everything that was evaluated was told."""
    total = llm.ledger.total
    assert total.attempts == server.requests
    check_spent(result, llm)
    assert total.tokens >= server.tokens
    if not LOST & set(server.served):
        assert total.tokens == server.tokens
    assert sum(e.outcome.count for e in result.trials) == problem.paid.total()
    assert result.spent.evaluations == problem.paid.total()


# --- faults between good replies -----------------------------------------------------


@pytest.mark.parametrize("fault", FAULTS)
def test_a_run_climbs_past_each_fault(fault):
    behave = acting(lambda n, asked: fault if n % 3 == 1 else "good")
    problem = Stairs(examples=7, noise=0.0)
    with HostileServer(behave) as server, connect(server, timeout=patience(fault)) as llm:
        result = run(problem, 60, llm)
        check_books(result, problem, llm, server)
    assert result.stop_reason == "evaluations"
    assert result.spent.evaluations == 60
    assert problem.truth(result.best.params) > problem.truth(text_of(1))


@pytest.mark.parametrize("fault", [*FAULTS, "{}", '{"params": 7}', '{"params": {"prompt": 1e999}}'])
def test_a_model_that_never_says_anything_usable_leaves_the_start(fault):
    problem = Stairs(examples=7)
    script = acting(lambda n, asked: fault)
    with HostileServer(script) as server, connect(server, timeout=patience(fault)) as llm:
        result = run(problem, {"evaluations": 10, "llm_calls": 12}, llm)
        check_books(result, problem, llm, server)
        assert llm.ledger.total.calls <= 12
    if fault == "no-usage":  # the text of its reply is that of a good one: "fine"
        assert "fine" not in {e.trial.params["prompt"] for e in result.trials}
    assert {e.trial.params["prompt"] for e in result.trials} == {text_of(1)["prompt"]}
    assert result.best.params == text_of(1)
    assert result.stop_reason in ("evaluations", "llm_calls")


@pytest.mark.parametrize("status", ["429", "500"])
def test_a_storm_that_passes_within_the_retries_goes_unnoticed(status):
    storm = acting(lambda n, asked: status if 4 <= n < 8 else "good")
    told = []
    for script in (storm, acting(lambda n, asked: "good")):
        problem = Stairs(examples=7)
        # one at a time, so that what is repeated does not depend on who came first
        patient = {"max_retries": 4, "max_concurrent": 1}
        with HostileServer(script) as server, connect(server, **patient) as llm:
            result = run(problem, {"evaluations": 60}, llm)
            check_books(result, problem, llm, server)
            extra = llm.ledger.total.attempts - llm.ledger.total.calls
        told.append([level_of(e.trial.params) for e in result.trials])
        assert extra == server.served[status]
    assert told[0] == told[1]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    faults=st.lists(st.sampled_from(sorted({*FAULTS, "good"} - {"hang"})), min_size=1, max_size=7),
    calls=st.integers(1, 25),
    tokens=st.integers(1, 40_000),
    in_flight=st.sampled_from([None, 1, 4]),
    failures=st.sampled_from([2, 1000]),
)
def test_no_sequence_of_faults_breaks_the_books_or_a_budget(
    faults, calls, tokens, in_flight, failures
):
    problem = Stairs(examples=5)
    script = acting(lambda n, asked: faults[n % len(faults)])
    options = {"failures": failures, "cool_down": 60.0}
    with HostileServer(script) as server, connect(server, **options) as llm:
        budget = {"evaluations": 50, "llm_calls": calls, "tokens": tokens}
        result = run(problem, budget, llm, in_flight=in_flight)
        check_books(result, problem, llm, server)
        assert llm.ledger.total.calls <= calls
        assert llm.ledger.total.tokens <= tokens
        is_down = not llm.is_available
    assert result.best is not None
    assert result.stop_reason in ("evaluations", "llm_calls", "tokens", "llm", "proposer")
    assert (result.stop_reason == "llm") <= is_down
    if result.stop_reason == "proposer":  # twenty, and not one was usable
        assert result.diagnostics["unusable_proposals"] == result.diagnostics["proposals"]
        assert llm.ledger.total.calls >= MAX_UNUSABLE


# --- a server that dies --------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["polca", "gepa", "openevolve", "best-of-n"])
@pytest.mark.parametrize("end", ["500", "close", "dead"])
def test_a_server_that_dies_ends_the_run_with_everything_kept(optimizer, end, caplog):
    if optimizer in ("gepa", "openevolve"):
        pytest.importorskip(optimizer)

    def reply(n, asked):
        text = text_of(1 + n % 8, f"{n:x}")["prompt"]
        if asked.role == "summarizer" or optimizer == "polca":
            return json.dumps(climbing(asked))
        return (
            f"```text\n{text}\n```"
            if optimizer != "best-of-n"
            else json.dumps({"params": {"prompt": text}})
        )

    problem = Mortal(examples=7)
    with HostileServer() as server:
        server.script = lambda n, body: reply(n, Asked(n, body)) if n < 9 else end
        if end == "dead":  # while something is evaluated, so that no request is cut in two
            problem.before = lambda: server.die() if server.requests >= 9 else None
        with connect(server, failures=3, cool_down=60.0, max_concurrent=1) as llm:
            result = run(problem, 5000, llm, optimizer=optimizer)
            check_books(result, problem, llm, server)
            assert not llm.is_available or end == "dead"
    assert result.stop_reason == "llm"
    assert 0 < result.spent.evaluations < 5000
    assert result.best is not None
    if end != "dead":
        assert server.requests == 9 + 3


class Mortal(Stairs):
    """Stairs that call ``before`` ahead of every evaluation."""

    name = "toy/stairs"

    def before(self):
        """Nothing."""

    def evaluate(self, trial, rng):
        self.before()
        return super().evaluate(trial, rng)


@pytest.mark.parametrize("in_flight", [None, 3])
@pytest.mark.parametrize("end", ["500", "dead"])
def test_the_run_goes_on_when_the_server_is_back_and_pays_nothing_twice(tmp_path, end, in_flight):
    budget = {"evaluations": 80, "llm_calls": 60}
    options = {"storage": tmp_path / "runs.journal", "in_flight": in_flight}
    first, second = Mortal(examples=7), Mortal(examples=7)
    with HostileServer() as server:
        server.script = acting(lambda n, asked: "good" if n < 11 else "500")
        if end == "dead":
            first.before = lambda: server.die() if server.requests >= 11 else None
        with connect(server, failures=2, cool_down=60.0) as llm:
            stopped = run(first, budget, llm, **options)
            check_books(stopped, first, llm, server)
        assert stopped.stop_reason == "llm"
        if end == "dead":
            server.revive()
        n_before = server.requests
        server.script = acting(lambda n, asked: "good")
        with connect(server) as llm:
            resumed = run(second, budget, llm, resume=True, **options)
            assert llm.ledger.total.attempts == server.requests
            check_spent(resumed, llm)
            assert llm.ledger.total.tokens == server.tokens
            assert llm.ledger.total.calls <= 60
    assert resumed.stop_reason in ("evaluations", "llm_calls")
    assert server.requests > n_before
    assert resumed.spent.evaluations == (first.paid + second.paid).total()
    kept = [e.trial for e in stopped.trials if not e.trial.context.get("confirm")]
    assert [e.trial for e in resumed.trials][: len(kept)] == kept
    answered = [json.dumps(b["messages"]) + str(b["seed"]) for b in server.bodies[:11]]
    again = [json.dumps(b["messages"]) + str(b["seed"]) for b in server.bodies[n_before:]]
    assert not {*answered} & {*again}


def test_calls_of_an_ask_that_came_to_nothing_are_in_the_result_of_the_resumed_run(tmp_path):
    problem, storage = Stairs(examples=7), tmp_path / "runs.journal"

    def dead(n, asked):  # the summary is paid for, and the server down when proposals are due
        return "500" if asked.role == "summarizer" and n > 5 else "good"

    with HostileServer(acting(dead)) as server:
        options = {"failures": 1, "cool_down": 60.0, "max_concurrent": 1}
        for session in range(3):
            with connect(server, **options) as llm:
                result = run(problem, 200, llm, storage=storage, resume=True)
                check_books(result, problem, llm, server)
            assert result.stop_reason == "llm"
            assert server.served["500"] == session + 1
        server.script = acting(lambda n, asked: "good")
        limit = {"evaluations": 200, "llm_calls": server.requests + 9}
        with connect(server) as llm:
            result = run(problem, limit, llm, storage=storage, resume=True)
            check_books(result, problem, llm, server)
        assert result.stop_reason == "llm_calls"
        assert server.requests == limit["llm_calls"]


@pytest.mark.parametrize("n_parents", [1, 5])
def test_a_run_that_waits_goes_on_by_itself(n_parents):
    problem = Mortal(examples=7, noise=0.0)
    with HostileServer(acting(lambda n, asked: "good")) as server:
        revived = threading.Timer(0.3, server.revive)

        def die_once():
            if server.requests >= 6 and not revived.is_alive() and not revived.finished.is_set():
                server.die()
                revived.start()

        problem.before = die_once
        with connect(server, failures=5, cool_down=0.02, wait=60.0) as llm:
            result = run(problem, 60, llm, settings={"n_parents": n_parents})
            check_books(result, problem, llm, server)
        revived.join()
    assert revived.finished.is_set()
    assert result.stop_reason == "evaluations"
    assert problem.truth(result.best.params) > problem.truth(text_of(1))


# --- one role that fails -------------------------------------------------------------


@pytest.mark.parametrize("fault", ["500", "empty", "wrong", "cut", "close"])
def test_without_a_summarizer_the_run_goes_on(fault):
    problem = Stairs(examples=7, noise=0.0)
    proposer = Script(climbing, Price(0, 0), 8)
    with HostileServer(acting(lambda n, asked: fault)) as server:
        roles = {"proposer": proposer, "summarizer": backend(server)}
        with Client(None, roles=roles, failures=3, cool_down=60.0) as llm:
            result = run(problem, 60, llm)
            spent = llm.ledger.roles
            assert spent["summarizer"].attempts == server.requests > 0
            check_spent(result, llm)
            if fault in ("500", "close"):
                assert server.requests == 3
    assert result.stop_reason == "evaluations"
    assert problem.truth(result.best.params) > problem.truth(text_of(1))
    assert not any("Lessons" in r.messages[-1]["content"] for r in proposer.requests)


def test_without_a_proposer_the_run_ends_and_the_summarizer_is_not_asked_for_ever():
    problem = Stairs(examples=7)
    summarizer = Script(climbing, Price(0, 0), 8)
    with HostileServer(acting(lambda n, asked: "500")) as server:
        roles = {"proposer": backend(server, max_concurrent=1), "summarizer": summarizer}
        with Client(None, roles=roles, failures=4, cool_down=60.0) as llm:
            result = run(problem, 5000, llm)
            check_spent(result, llm)
    assert result.stop_reason == "llm"
    assert server.requests == 4
    assert len(summarizer.requests) < 8
    assert result.best.params == text_of(1)


def test_a_summarizer_alone_serves_a_proposer_that_is_no_model():
    problem = Stairs(examples=7)
    summarizer = Script(climbing, Price(0, 0), 8)
    with Client(None, roles={"summarizer": summarizer}) as llm:
        result = run(problem, 60, llm)
    assert result.stop_reason == "evaluations"
    assert result.spent.usage.llm_calls == len(summarizer.requests) > 0
    assert problem.n_proposed > 0
    told = [feedback[-1] for _, feedback in problem.shown]
    assert {"summary": "summary 0"} in told


# --- one client for several runs ---------------------------------------------------------


def test_a_client_has_the_whole_budget_in_each_of_its_runs():
    with ScriptedLLM(climbing) as llm:
        results = [run(Stairs(), {"evaluations": 999, "llm_calls": 10}, llm) for _ in range(3)]
        assert llm.ledger.total.calls == len(llm.requests) == 30
    assert [result.spent.usage.llm_calls for result in results] == [10, 10, 10]
    assert {result.stop_reason for result in results} == {"llm_calls"}


# --- budgets end runs ----------------------------------------------------------------


@pytest.mark.parametrize("axis", ["tokens", "cost"])
@pytest.mark.parametrize("optimizer", ["polca", "gepa", "best-of-n"])
def test_a_budget_without_room_for_a_request_is_what_ends_the_run(axis, optimizer):
    if optimizer == "gepa":
        pytest.importorskip(optimizer)
    limit = {"tokens": 30_000, "cost": 0.03}[axis]
    with ScriptedLLM(climbing, price=Price(1.0, 1.0)) as llm:
        budget = {"evaluations": 100_000, axis: limit}
        result = run(Stairs(), budget, llm, optimizer=optimizer, confirm=0.0)
        assert getattr(llm.ledger.total, axis) <= limit
    assert result.stop_reason == axis

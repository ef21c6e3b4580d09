"""Recorded replies: the identical run again, and the identical continuation of a killed one."""

from __future__ import annotations

import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import bbopt
from bbopt.llm import Answer, Client, Recording
from bbopt.testing import ScriptedLLM
from tests.polca.toys import Stairs, climbing

FAR = 0.2


class Killed(BaseException):
    """A kill, as far as one process can play its own."""


class Mortal(Stairs):
    """Stairs whose process dies ahead of the evaluation number ``after`` of a session."""

    name = "toy/stairs"
    after = 10**9

    def evaluate(self, trial, rng):
        if self.paid.total() >= self.after:
            raise Killed
        return super().evaluate(trial, rng)


def moody(request):
    """A model with a fault now and then; the same one for the same request."""
    mood = (request.draw * 7 + len(request.messages[-1]["content"])) % 9
    if request.draw == 0 or mood > 3:
        return climbing(request)
    return [
        Answer(error="Error code: 500", tokens=(0, 0)),
        Answer("{", error="the reply was cut off at max_tokens", tokens=(9, 9), is_cut=True),
        '{"params": {"prompt": 1e999}}',
        Answer(error="Connection error.", tokens=None),
    ][mood]


def run(problem, llm, budget=60, *, settings=None, **options):
    settings = {"epsilon": FAR, **(settings or {})}
    return bbopt.run(problem, "polca", budget, settings=settings, seed=3, llm=llm, **options)


def log(result):
    """Everything that was told, in its order, what it came to and what it cost."""
    told = [(e.trial.to_json(), e.outcome.to_json(), e.best) for e in result.trials]
    return told, result.best, result.stop_reason, result.spent.usage, dict(result.diagnostics)


def replaying(path):
    return Client(Recording(path))


# --- the run again -------------------------------------------------------------------


@pytest.mark.parametrize("in_flight", [None, 1, 4])
@pytest.mark.parametrize("examples", [0, 7])
def test_recorded_replies_give_the_identical_run(tmp_path, in_flight, examples):
    with ScriptedLLM(moody, failures=10**6) as llm:
        llm.record(tmp_path / "llm.sqlite")
        first = run(Stairs(examples=examples), llm, in_flight=in_flight)
        assert len(llm.requests) == first.spent.usage.llm_calls > 10
    with replaying(tmp_path / "llm.sqlite") as llm:
        again = run(Stairs(examples=examples), llm, in_flight=in_flight)
    assert log(again) == log(first)


@pytest.mark.parametrize("budget", ["llm_calls=17", "tokens=30000", "evaluations=41"])
def test_a_replayed_run_ends_where_the_recorded_one_did(tmp_path, budget):
    budget = f"{budget},evaluations=500" if "evaluations" not in budget else budget
    with ScriptedLLM(moody, failures=10**6, max_concurrent=1) as llm:
        first = run(Stairs(), llm, budget, storage=tmp_path / "runs.journal")
    with replaying(tmp_path / "runs.journal.bbopt" / "llm.sqlite") as llm:
        again = run(Stairs(), llm, budget)
    assert log(again) == log(first)
    assert first.stop_reason in budget


def test_a_run_is_the_same_however_many_evaluate(tmp_path):
    with ScriptedLLM(moody, failures=10**6) as llm:
        llm.record(tmp_path / "llm.sqlite")
        alone = run(Stairs(examples=7), llm, in_flight=3)
    with replaying(tmp_path / "llm.sqlite") as llm, ThreadPoolExecutor(4) as threads:
        assert log(run(Stairs(examples=7), llm, in_flight=3, executor=threads)) == log(alone)


@pytest.mark.slow
def test_a_run_is_the_same_in_processes(tmp_path):
    with ScriptedLLM(moody, failures=10**6) as llm:
        llm.record(tmp_path / "llm.sqlite")
        alone = run(Stairs(examples=7), llm, in_flight=3)
    with replaying(tmp_path / "llm.sqlite") as llm:
        assert log(run(Stairs(examples=7), llm, in_flight=3, jobs=2)) == log(alone)


def test_another_seed_is_not_in_the_recording(tmp_path):
    with ScriptedLLM(climbing) as llm:
        llm.record(tmp_path / "llm.sqlite")
        run(Stairs(), llm)
    with replaying(tmp_path / "llm.sqlite") as llm:
        problem = Stairs()
        result = bbopt.run(problem, "polca", 60, settings={"epsilon": FAR}, seed=4, llm=llm)
    assert result.stop_reason == "llm"
    assert result.spent.usage.llm_calls == 0


# --- killed and resumed --------------------------------------------------------------


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kills=st.lists(st.integers(0, 25), min_size=1, max_size=4),
    in_flight=st.integers(1, 5),
    examples=st.sampled_from([0, 7]),
)
@example(kills=[0], in_flight=1, examples=7)
@example(kills=[1] * 6, in_flight=4, examples=7)
def test_a_run_killed_after_any_evaluations_goes_on_as_if_it_had_not_been(
    kills, in_flight, examples
):
    options = {"budget": 50, "in_flight": in_flight}
    with ScriptedLLM(moody, failures=10**6) as llm:
        unbroken = run(Stairs(examples=examples), llm, **options)
        asked = Counter((r.role, r.draw, len(r.messages)) for r in llm.requests)
    sent: Counter = Counter()
    evaluated: Counter = Counter()
    with tempfile.TemporaryDirectory() as folder:
        options |= {"storage": Path(folder) / "runs.journal", "resume": True}
        for after in [*kills, None]:
            problem = Mortal(examples=examples)
            problem.after = 10**9 if after is None else after
            with ScriptedLLM(moody, failures=10**6) as llm:
                try:
                    resumed = run(problem, llm, **options)
                except Killed:
                    assert after is not None
                total = llm.ledger.total
                sent.update((r.role, r.draw, len(r.messages)) for r in llm.requests)
            evaluated += problem.paid
    assert log(resumed) == log(unbroken)
    assert sent == asked
    assert total.usage == unbroken.spent.usage
    # of the trial that a session dies in, what was evaluated is lost
    largest = max(e.trial.repeats for e in unbroken.trials)
    assert evaluated.total() <= 50 + (largest - 1) * len(kills)


@pytest.mark.parametrize("at", [1, 2, 5, 9, 14])
@pytest.mark.parametrize("in_flight", [1, 3])
def test_a_run_killed_within_a_request_pays_for_that_one_again_and_for_no_other(
    tmp_path, at, in_flight
):
    def deadly(request):
        if len(llm.requests) > at:
            raise Killed
        return moody(request)

    options = {"storage": tmp_path / "runs.journal", "in_flight": in_flight}
    with ScriptedLLM(moody, failures=10**6, max_concurrent=1) as llm:
        unbroken = run(Mortal(examples=7), llm, in_flight=in_flight)
        asked = Counter((r.role, r.draw, len(r.messages)) for r in llm.requests)
    with ScriptedLLM(deadly, failures=10**6, max_concurrent=1) as llm:
        with pytest.raises(Killed):
            run(Mortal(examples=7), llm, **options)
        n_before = len(llm.requests)
    with ScriptedLLM(moody, failures=10**6, max_concurrent=1) as llm:
        resumed = run(Mortal(examples=7), llm, resume=True, **options)
        sent = n_before + len(llm.requests)
        assert llm.ledger.total.calls == resumed.spent.usage.llm_calls == sent
    assert log(resumed)[:3] == log(unbroken)[:3]
    # the one that was cut, and failures of the same ask, which nobody had seen
    assert 1 <= sent - asked.total() <= 1 + 5


@pytest.mark.parametrize("in_flight", [1, 4])
def test_a_run_whose_model_comes_and_goes_ends_as_one_without_a_break(tmp_path, in_flight):
    options = {"budget": {"evaluations": 50, "llm_calls": 1000}, "in_flight": in_flight}
    options["settings"] = {"n_parents": 5, "summarize_after": 1}
    with ScriptedLLM(climbing) as llm:
        unbroken = run(Stairs(examples=7), llm, **options)
    n_sessions, result = 0, None
    while result is None or result.stop_reason == "llm":
        # each session gets some replies, and then the server cannot be reached any more
        def passing(request):
            is_back = len(llm.requests) <= 2 or request.role == "proposer"
            return climbing(request) if is_back else Answer(error="refused", attempts=0)

        with ScriptedLLM(passing, failures=1, max_concurrent=1, cool_down=60.0) as llm:
            storage = tmp_path / "runs.journal"
            result = run(Stairs(examples=7), llm, storage=storage, resume=True, **options)
        n_sessions += 1
        assert n_sessions < 20
    assert n_sessions > 1
    assert log(result) == log(unbroken)

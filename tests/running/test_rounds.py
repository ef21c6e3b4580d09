"""Whole rounds: in process and under mpirun, stopped, continued, and with faults."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import optuna
import pytest
import toy_swarm
from doubles_of_runs import Crash, trace

import bbopt
from bbopt import Budget, Optimizer, seeding
from bbopt.errors import BBOptError, UsageError
from bbopt.running import rounds
from bbopt.running.backends import open_storage
from bbopt.running.snapshot import Snapshots
from bbopt.running.studies import read_study

MPIRUN = Path(sys.executable).parent / "mpirun"
SCRIPT = Path(toy_swarm.__file__)


def under_mpirun(n_ranks, **arguments):
    pytest.importorskip("mpi4py", reason="the extra 'swarm' is not installed")
    if not MPIRUN.exists():
        pytest.skip("no mpirun beside the interpreter (extra 'swarm')")
    command = [MPIRUN, "-n", str(n_ranks), sys.executable, SCRIPT, json.dumps(arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_rounds_find_the_compromise_and_count_every_query():
    result = toy_swarm.run()
    assert abs(result.best.params["x"] - 1.5) < 1.0  # they stop within a step of agreement
    assert result.spent.evaluations == 600
    assert result.stop_reason == "evaluations"
    assert [row["round"] for row in result.rounds] == list(range(1, 51))
    assert result.to_json()["disagreement"] == result.rounds[-1]["disagreement"]


@pytest.mark.mpi
@pytest.mark.parametrize("n_ranks", [1, 2, 3])
def test_any_number_of_ranks_gives_the_same_numbers(n_ranks):
    here = toy_swarm.run(240)
    there = under_mpirun(n_ranks, budget=240)
    assert there.returncode == 0, there.stderr
    expected = [here.stop_reason, here.best.params, list(here.rounds)]
    assert json.loads(there.stdout) == json.loads(json.dumps(expected))


def test_a_snapshot_continues_to_the_same_end(tmp_path, monkeypatch):
    monkeypatch.setattr("bbopt.running.snapshot.SHARE", 1e9)  # after every round
    whole = toy_swarm.run(600)
    storage = tmp_path / "runs.journal"
    toy_swarm.run(240, storage=storage, name="s")
    rest = toy_swarm.run(600, storage=storage, name="s", resume=True)
    assert rest.rounds == whole.rounds
    assert rest.best == whole.best
    study = optuna.load_study(study_name="s", storage=open_storage(str(storage)))
    assert [t.value for t in study.trials] == [row["value"] for row in whole.rounds]


def test_the_target_ends_the_run_at_its_round():
    whole = toy_swarm.run()
    target = whole.rounds[9]["value"]
    first = next(i for i, row in enumerate(whole.rounds) if row["value"] <= target)
    stopped = toy_swarm.run(target=target)
    assert stopped.stop_reason == "target"
    assert stopped.rounds == whole.rounds[: first + 1]


def test_values_that_are_missing_are_counted_and_survived():
    nan = toy_swarm.run(fault="nan")
    assert nan.spent.failures == 150  # agent 1 of four
    assert np.isfinite(nan.best.value)


def test_an_agent_that_always_raises_is_said_once(caplog):
    result = toy_swarm.run(fault="raise")
    assert result.spent.failures == 150
    assert [r.getMessage() for r in caplog.records] == [
        "evaluate_array failed: ValueError: a broken sensor"
    ]


@pytest.mark.mpi
def test_an_error_on_one_rank_ends_all_with_one_message():
    run = under_mpirun(3, budget=240, error_on=[1, 2])
    if run.returncode == 0:  # JSON has no tuples
        pytest.fail(run.stdout)
    assert run.stderr.count("a planned failure") >= 1
    assert run.stdout == ""


def test_more_queries_than_the_budget_are_refused():
    class Greedy(toy_swarm.Swarm):
        def solve(self, evaluate, *, budget, report, comm=None):
            evaluate(np.zeros((budget.evaluations + 1, 1)), 0)

    problem = toy_swarm.Costs()
    with pytest.raises(BBOptError, match="more than the budget of 10"):
        bbopt.run(problem, Greedy(problem.spec), 10)


def test_options_that_rounds_cannot_honour_go_by_ask_and_tell_with_a_warning(caplog):
    result = toy_swarm.run(12, in_flight=1)
    assert len(result.trials) == 12
    assert "in_flight is set" in caplog.text


@pytest.mark.mpi
def test_options_that_rounds_cannot_honour_are_refused_under_mpirun():
    run = under_mpirun(2, budget=12, in_flight=1)
    assert run.returncode != 0
    assert "in_flight must be left out under mpirun" in run.stderr
    assert issubclass(UsageError, BBOptError)


# --- what an evaluation draws, and what it may not ----------------------------------------

A_ROUND = 3 * toy_swarm.N


class Flawed(toy_swarm.Costs):
    """Some calls raise, by their draws; somebody can watch each call."""

    def __init__(self, share=0.0, watch=lambda agent, call: None):
        super().__init__()
        self.share, self.watch, self.calls = share, watch, {}

    def evaluate_array(self, x, agent, rng):
        call = self.calls.setdefault(agent, 0)
        self.calls[agent] += 1
        self.watch(agent, call)
        if rng.random() < self.share:
            raise RuntimeError("a planned failure")
        return super().evaluate_array(x, agent, rng)


class Forgetful(toy_swarm.Swarm):
    """Without a compact state: it starts again where it is resumed."""

    name = "forgetful-swarm"
    _state = Optimizer._state
    _restore = Optimizer._restore


def run(budget, problem=None, cls=toy_swarm.Swarm, seed=5, **options):
    problem = problem or Flawed()
    return bbopt.run(problem, cls(problem.spec, seed=seed), budget, **options)


@pytest.fixture
def after_every_round(monkeypatch, fast_disk):
    monkeypatch.setattr(Snapshots, "is_due", property(lambda self: True))


def test_each_call_of_an_agent_has_its_own_draws():
    drawn = []

    class Drawing(toy_swarm.Costs):
        def evaluate_array(self, x, agent, rng):
            drawn.append((agent, rng.random()))
            return np.zeros(len(x))

    run(6 * A_ROUND, Drawing())
    assert len(set(drawn)) == 6 * toy_swarm.N
    for agent in range(toy_swarm.N):
        own = [value for who, value in drawn if who == agent]
        calls = range(6)
        assert own == [
            seeding.stream(5, "array", number=agent, block=call).random() for call in calls
        ]


def test_each_cause_of_missing_values_is_said_once(caplog):
    problem = Flawed(share=0.2)
    original, n_missing = problem.evaluate_array, 0

    def odd(x, agent, rng):
        nonlocal n_missing
        n_missing += 3  # unless the end is reached
        if problem.calls.get(agent, 0) == 4:
            problem.calls[agent] += 1
            return np.zeros(len(x) - 1)
        values = original(x, agent, rng)
        n_missing -= 3
        return values

    problem.evaluate_array = odd
    result = run(12 * A_ROUND, problem)
    assert result.spent.failures == n_missing > 12
    assert len(result.rounds) == 12
    assert sorted(record.getMessage() for record in caplog.records) == [
        "evaluate_array failed: RuntimeError: a planned failure",
        "evaluate_array failed: ValueError: (2,) values for 3 points",
    ]


def test_seconds_and_failures_stop_after_a_round(monkeypatch):
    failed = run(9 * A_ROUND, Flawed(share=1.0), max_failures=A_ROUND)
    assert (failed.stop_reason, len(failed.rounds)) == ("max_failures", 2)
    now = [0.0]
    monkeypatch.setattr(rounds.time, "monotonic", lambda: now[0])
    slow = Flawed(watch=lambda agent, call: now.__setitem__(0, now[0] + 1.0))
    timed = run(Budget(evaluations=99 * A_ROUND, seconds=10), slow)
    assert (timed.stop_reason, len(timed.rounds), timed.spent.seconds) == ("seconds", 3, 12.0)
    assert timed.spent.overhead_seconds == 0.0


def test_patience_counts_evaluations_since_the_best_round_and_a_nan_is_none():
    class Stuck(toy_swarm.Swarm):
        def _moved(self, agent, evaluate):
            return 0.0, (math.nan if self.round < 2 else 3.0 if self.round == 2 else 4.0)

    result = run(20 * A_ROUND, cls=Stuck, patience=5 * A_ROUND)
    assert (result.stop_reason, len(result.rounds)) == ("patience", 8)  # the third was the best


def test_ctrl_c_ends_after_the_round():
    def interrupt(agent, call):
        if (agent, call) == (2, 3):
            os.kill(os.getpid(), signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    result = run(9 * A_ROUND, Flawed(watch=interrupt))
    assert (result.stop_reason, len(result.rounds)) == ("interrupted", 4)
    assert signal.getsignal(signal.SIGINT) is handler


def test_rounds_run_in_any_thread():
    results = []
    thread = threading.Thread(target=lambda: results.append(run(3 * A_ROUND)))
    thread.start()
    thread.join()
    assert results[0].best == run(3 * A_ROUND).best


def test_a_warm_start_is_told_before_the_first_round(tmp_path):
    told = []

    class Told(toy_swarm.Swarm):
        def _tell(self, trial, outcome):
            told.append((trial.number, outcome.mean, self.round))

    (tmp_path / "known.csv").write_text("x,value\n0.5,2.5\n0.25,1.5\n")
    run(A_ROUND, cls=Told, warm_start=tmp_path / "known.csv")
    assert told == [(None, 2.5, 0), (None, 1.5, 0)]


# --- kills ----------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [toy_swarm.Swarm, Forgetful])
def test_a_kill_between_any_two_writes_changes_nothing(cls, writes, snapshots_at_random, tmp_path):
    def attempt(storage):
        return run(6 * A_ROUND, Flawed(0.1), cls, storage=storage, resume=True)

    unbroken = attempt(tmp_path / "whole.journal")
    expected = trace(unbroken, tmp_path)
    for n in range(writes.n):
        snapshots_at_random(n)
        storage = tmp_path / f"{n}.journal"
        writes.crash_after(n)
        with pytest.raises(Crash):
            attempt(storage)
        writes.crash_after(None)
        result = attempt(storage)
        assert trace(result, tmp_path) == expected
        assert result.best == unbroken.best
        assert result.spent.evaluations == unbroken.spent.evaluations
        assert result.spent.failures == unbroken.spent.failures > 0
        study = read_study(storage, "costs")
        assert study.n_trials == 6
        assert [dict(row) for row in study.rounds] == list(unbroken.rounds)
        assert study.best == unbroken.best


@pytest.mark.usefixtures("after_every_round")
def test_the_snapshot_of_a_deleted_study_is_not_taken_for_the_new_ones(
    monkeypatch, tmp_path, caplog
):
    storage = tmp_path / "x.journal"
    expected = trace(run(6 * A_ROUND, storage=storage), tmp_path)
    storage.unlink()
    assert trace(run(6 * A_ROUND, storage=storage), tmp_path) == expected
    assert not caplog.records
    storage.unlink()

    def crash(agent, call):
        if call == 1:
            raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(Snapshots, "write", lambda self, state: None)
        with pytest.raises(Crash):
            run(6 * A_ROUND, Flawed(watch=crash), storage=storage)
    assert trace(run(6 * A_ROUND, storage=storage, resume=True), tmp_path) == expected
    assert "is not of this log: starting again" in caplog.records[0].getMessage()


def test_another_seed_cannot_go_on(fast_disk, tmp_path):
    run(2 * A_ROUND, storage=tmp_path / "x.journal")
    with pytest.raises(UsageError, match="started with seed 5, got 6"):
        run(3 * A_ROUND, storage=tmp_path / "x.journal", resume=True, seed=6)

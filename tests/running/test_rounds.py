"""Whole rounds: in process and under mpirun, stopped, continued, and with faults."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import optuna
import pytest

import bbopt
from bbopt.errors import BBOptError, UsageError
from bbopt.running.backends import open_storage

from . import toy_swarm

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

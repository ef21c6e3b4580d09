"""Under mpirun: rounds by all ranks, other methods on rank 0, one result everywhere."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import mpi_runs
import pytest
import toy_swarm
from doubles_of_runs import trace

from bbopt.running import mpirun
from bbopt.running.studies import read_study

A_ROUND = 3 * toy_swarm.N
LAUNCHER = Path(sys.executable).with_name("mpirun")
HAS_MPI = LAUNCHER.exists() and importlib.util.find_spec("mpi4py") is not None


@pytest.mark.parametrize(
    ("environment", "rank", "n"),
    [
        ({}, 0, 1),
        ({"PMI_SIZE": "3", "PMI_RANK": "2"}, 2, 3),
        ({"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "1"}, 1, 4),
        ({"PMI_SIZE": "1", "PMI_RANK": "0"}, 0, 1),
        ({"PMI_RANK": "3"}, 0, 1),
        ({"PMI_SIZE": "many"}, 0, 1),
    ],
)
def test_the_launcher_says_who_we_are(
    environment: dict[str, str], rank: int, n: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*mpirun._SIZES, *mpirun._RANKS):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (mpirun.rank(), mpirun.n_ranks()) == (rank, n)


def mpi(test: Any) -> Any:
    """Mark a test that starts mpirun."""
    reason = "no mpirun beside Python, or no mpi4py (extra swarm)"
    return pytest.mark.mpi(pytest.mark.skipif(not HAS_MPI, reason=reason)(test))


def launch(n: int, folder: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run on n ranks."""
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [
            *(str(LAUNCHER), "-n", str(n), sys.executable, "-W", "error"),
            *(mpi_runs.__file__, str(folder), json.dumps(options)),
        ],
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            # what Open MPI wants from root, and on fewer cores than ranks
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        },
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def on_all_ranks(n: int, folder: Path) -> tuple[str, dict[str, Any]]:
    """Trace and summary, which are the same on every rank."""
    traces = {(folder / f"trace-{rank}.csv").read_text() for rank in range(n)}
    summaries = {(folder / f"summary-{rank}.json").read_text() for rank in range(n)}
    assert (len(traces), len(summaries)) == (1, 1)
    return traces.pop(), json.loads(summaries.pop())


def messages(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("bbopt:")]


@mpi
@pytest.mark.parametrize("n", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_rounds_are_stored_once_and_every_rank_has_the_result(n: int, tmp_path: Path) -> None:
    alone = mpi_runs.run("swarm", 6 * A_ROUND)
    storage = str(tmp_path / "x.journal")
    done = launch(n, tmp_path / "mpi", what="swarm", budget=6 * A_ROUND, storage=storage)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text, summary = on_all_ranks(n, tmp_path / "mpi")
    assert text == trace(alone, tmp_path)
    assert alone.best is not None
    assert summary["best_params"] == alone.best.params
    assert summary["failures"] == alone.spent.failures > 0
    assert (summary["evaluations"], summary["storage"]) == (6 * A_ROUND, storage)
    study = read_study(storage, "costs")
    assert [dict(row) for row in study.rounds] == list(alone.rounds)  # rank 0 alone writes
    assert study.n_trials == 6


@mpi
def test_a_killed_job_goes_on_with_other_ranks_and_the_stored_seed(tmp_path: Path) -> None:
    alone = mpi_runs.run("swarm", 8 * A_ROUND, seed=5)
    storage = str(tmp_path / "x.journal")
    given = {"budget": 8 * A_ROUND, "storage": storage}
    killed = launch(3, tmp_path / "mpi", what="killed", seed=5, **given)
    assert killed.returncode != 0
    assert len(read_study(storage, "costs").rounds) == 3
    done = launch(2, tmp_path / "mpi", what="swarm", resume=True, **given)
    assert done.returncode == 0, done.stderr
    text, summary = on_all_ranks(2, tmp_path / "mpi")
    assert text == trace(alone, tmp_path)
    assert summary["failures"] == alone.spent.failures
    assert len(read_study(storage, "costs").rounds) == 8


@mpi
def test_goals_stop_every_rank(tmp_path: Path) -> None:
    whole = mpi_runs.run("swarm", 6 * A_ROUND)
    target = whole.rounds[2]["value"]
    done = launch(2, tmp_path / "mpi", what="swarm", budget=60 * A_ROUND, target=target)
    assert done.returncode == 0
    text, summary = on_all_ranks(2, tmp_path / "mpi")
    assert summary["stop_reason"] == "target"
    assert text == trace(mpi_runs.run("swarm", 60 * A_ROUND, target=target), tmp_path)


@mpi
def test_a_study_that_exists_ends_all_with_one_message(tmp_path: Path) -> None:
    storage = str(tmp_path / "x.journal")
    mpi_runs.run("swarm", A_ROUND, storage=storage)
    refused = launch(2, tmp_path / "mpi", what="swarm", budget=A_ROUND, storage=storage)
    # ours, or that of the kill with which the launcher ends the other ranks
    assert refused.returncode in (2, 9)
    (message,) = messages(refused)
    assert message.startswith("bbopt: error on rank 0: study 'costs' exists already")


@mpi
@pytest.mark.parametrize(
    "what", ["chained", pytest.param("chained-compact", marks=pytest.mark.slow)]
)
def test_other_methods_run_on_rank_0_and_the_others_evaluate(what: str, tmp_path: Path) -> None:
    alone = mpi_runs.run(what, 30, in_flight=3)
    storage = str(tmp_path / "x.journal")
    given = {"what": what, "in_flight": 3, "budget": 30}
    done = launch(3, tmp_path / "mpi", storage=storage, **given)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    text, summary = on_all_ranks(3, tmp_path / "mpi")
    assert text == trace(alone, tmp_path)
    assert summary["evaluations"] == 30
    assert min(summary["ranks"]) >= 1  # rank 0 evaluates nothing
    rows = read_study(storage, "noisy").rows
    assert len(rows) == len({row.key for row in rows}) == len(alone.trials)
    again = launch(2, tmp_path / "again", storage=storage, resume=True, **given)
    assert again.returncode == 0, again.stderr
    assert on_all_ranks(2, tmp_path / "again")[0] == text


@mpi
def test_jobs_make_no_sense_under_mpirun(tmp_path: Path) -> None:
    jobs = launch(2, tmp_path / "mpi", what="chained", budget=5, jobs=2)
    assert jobs.returncode != 0
    assert "jobs and executor must be left out under mpirun" in jobs.stderr


@mpi
def test_an_error_of_another_method_is_raised_on_rank_0_alone(tmp_path: Path) -> None:
    storage = str(tmp_path / "x.journal")
    mpi_runs.run("chained", 4, storage=storage)
    refused = launch(3, tmp_path / "mpi", what="chained", budget=4, storage=storage)
    assert refused.returncode != 0
    assert refused.stderr.count("bbopt.errors.StudyExists:") == 1

"""Processes that share a study, one of them killed: every trial is accounted for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from bbopt.integrations.optuna import BATCH, best_mean
from bbopt.running.backends import close_storage, open_storage, opened_storage

SCRIPT = Path(__file__).parent / "sampler_runs.py"


def killed_half_way(
    storage: str, folder: Path, name: str, *, workers: int, n_trials: int, **settings: Any
) -> list[optuna.trial.FrozenTrial]:
    """The trials of a study whose worker 0 was killed in the midst of a trial."""
    backend = open_storage(storage)
    optuna.create_study(study_name="shared", storage=backend)
    close_storage(backend)
    half_way = folder / "half way"
    shared = {"storage": storage, "name": name, "settings": settings, "n_trials": n_trials}
    shared["half_way"] = [n_trials // (2 * workers), str(half_way)]
    started = [
        subprocess.Popen(
            [sys.executable, "-W", "error", SCRIPT, json.dumps(shared | {"worker": worker})],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        for worker in range(workers)
    ]
    try:
        while not half_way.exists():
            assert started[0].poll() is None
            time.sleep(0.01)
        started[0].kill()
        assert [process.wait() for process in started] == [-9, *[0] * (workers - 1)]
    finally:
        for process in started:
            process.kill()
            process.wait()
    with opened_storage(storage) as backend:
        trials: list[optuna.trial.FrozenTrial]
        trials = optuna.load_study(study_name="shared", storage=backend).trials
    return trials


def check(trials: list[optuna.trial.FrozenTrial], workers: int, n_trials: int) -> None:
    """Every number is there once, and all that is not finished is the killed one's last."""
    assert [t.number for t in trials] == list(range(len(trials)))
    assert n_trials <= len(trials) <= n_trials + workers
    states = Counter(t.state for t in trials)
    assert states.keys() == {TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING}
    assert states[TrialState.FAIL] == sum(
        t.number % 7 == 3 for t in trials if t.state != TrialState.RUNNING
    )
    killed = [t for t in trials if t.user_attrs["worker"] == 0]
    assert [t for t in trials if t.state == TrialState.RUNNING] == [killed[-1]]
    assert {t.user_attrs["worker"] for t in trials} == set(range(workers))
    for trial in trials:
        assert ("depth" in trial.params) == (trial.params["kind"] == "tree")


def test_a_study_survives_the_death_of_a_worker(tmp_path: Path) -> None:
    storage = str(tmp_path / "study.journal")
    trials = killed_half_way(storage, tmp_path, "sobol", workers=2, n_trials=20)
    check(trials, workers=2, n_trials=20)
    # one sequence, whoever draws from it
    proposed = [t for t in trials if BATCH in t.system_attrs]
    assert len(proposed) > 10
    assert len({t.params["x"] for t in proposed}) == len(proposed)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mini-gp-ucb", "nap"])
@pytest.mark.parametrize("kind", ["journal", "postgresql"])
def test_four_workers_share_a_study_and_one_is_killed(
    name: str, kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "postgresql":
        storage = request.getfixturevalue("empty_postgresql")
    else:
        storage = str(tmp_path / "study.journal")
    trials = killed_half_way(storage, tmp_path, name, workers=4, n_trials=100)
    check(trials, workers=4, n_trials=100)
    with opened_storage(storage) as backend:
        best = best_mean(optuna.load_study(study_name="shared", storage=backend))
    assert best is not None
    assert best.params.keys() >= {"x", "n", "lr", "kind"}

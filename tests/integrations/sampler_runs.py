"""A worker of a study, as a process of its own that can be killed.

Run as a script with the JSON of its arguments. The objective is conditional and mixed; every
seventh trial of the study fails.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import optuna

from bbopt.integrations.optuna import BBOptSampler
from bbopt.running.backends import open_storage

STUDY = "shared"


def work(
    storage: str,
    name: str,
    settings: dict[str, Any],
    worker: int,
    n_trials: int,
    half_way: tuple[int, str],
) -> None:
    """Work until the study has ``n_trials`` trials.

    ``half_way``: after so many trials of its own, worker 0 makes the file and hangs in the next;
    the others wait for the file.
    """
    n_before, file = half_way[0], Path(half_way[1])
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    n_own = 0

    def objective(trial: optuna.Trial) -> float:
        nonlocal n_own
        trial.set_user_attr("worker", worker)
        value = trial.suggest_float("x", -1, 1) ** 2 + abs(trial.suggest_int("n", 0, 50) - 20) / 50
        lr = trial.suggest_float("lr", 1e-5, 1.0, log=True)
        if trial.suggest_categorical("kind", ["svm", "tree"]) == "tree":
            value += 0.1 * trial.suggest_int("depth", 1, 9)
        if n_own == n_before and worker == 0:
            file.touch()
            time.sleep(10**6)
        while n_own >= n_before and not file.exists():
            time.sleep(0.005)
        n_own += 1
        if trial.number % 7 == 3:
            raise ValueError("a planned failure")
        return value + lr

    def enough(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        if len(study.get_trials(deepcopy=False)) >= n_trials:
            study.stop()

    sampler = BBOptSampler(name, seed=0, **settings)
    study = optuna.load_study(study_name=STUDY, storage=open_storage(storage), sampler=sampler)
    study.optimize(objective, n_trials=n_trials, catch=(ValueError,), callbacks=[enough])


if __name__ == "__main__":
    work(**json.loads(sys.argv[1]))

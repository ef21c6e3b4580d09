"""The weights that come with bbopt, on tasks that they were not trained on."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest

import bbopt

FIRST, BUDGET, SEEDS = 5, 25, 2


@pytest.fixture(scope="module")
def tasks():
    folder = os.environ.get("BBOPT_DATA")
    files = [] if folder is None else sorted(Path(folder).glob("hpobench_xgb/task_2?.npz"))
    if len(files) < 10:
        pytest.skip(f"no hpobench_xgb/task_20..29.npz in the folder of BBOPT_DATA ({folder})")
    return files


def expected_of_random(regret, draws):
    """The mean of the least of so many of the regrets, drawn without repetition."""
    n = len(regret)
    total = math.comb(n, draws)
    # the i-th smallest is the least drawn: the others are of the n - i - 1 above it
    odds = [math.comb(n - i - 1, draws - 1) / total for i in range(n)]
    return float(np.sort(regret) @ odds)


def test_the_shipped_weights_have_half_the_regret_of_random_rows(tasks):
    found, by_chance = [], []
    for file in tasks:
        problem = bbopt.problem("hpo/table", path=str(file))
        rows = list(problem.spec.candidates)
        loss = np.array([problem.truth(row) for row in rows]) * problem.spec.sign
        regret = (loss - loss.min()) / np.ptp(loss)
        by_chance.append(expected_of_random(regret, BUDGET))
        for seed in range(SEEDS):
            optimizer = bbopt.optimizer("nap", problem.spec, weights="nap_xgb6", seed=seed)
            first = np.random.default_rng(seed).choice(len(rows), FIRST, replace=False)
            seen = [loss[row] for row in first]
            for row in first:
                optimizer.tell(bbopt.Trial(None, rows[row]), problem.truth(rows[row]))
            for n in range(FIRST, BUDGET):
                (trial,) = optimizer.ask(1, bbopt.Budget(evaluations=BUDGET - n))
                value = problem.truth(trial.params)
                optimizer.tell(trial, value)
                seen.append(value * problem.spec.sign)
            found.append((min(seen) - loss.min()) / np.ptp(loss))
    assert np.mean(found) < 0.5 * np.mean(by_chance)

"""best_mean: the candidate that a study would deploy."""

from __future__ import annotations

import math

import optuna
import pytest
from optuna.trial import TrialState

from bbopt.integrations.optuna import best_mean
from tests.integrations.studies import add, new_study

pytestmark = pytest.mark.usefixtures("quiet")


def test_an_infeasible_candidate_is_never_best() -> None:
    study = new_study("random")
    for n, value, c in [(1, 0.0, 0.1), (1, 0.0, -1.0), (2, 0.5, 0.0), (3, 0.9, -1.0)]:
        add(study, params={"n": n}, value=value, constraints={"c": c})
    best = best_mean(study)
    assert best is not None
    assert (best.params["n"], best.value) == (2, 0.5)


def test_the_best_mean_is_not_the_luckiest_trial() -> None:
    study = new_study("random", direction="maximize")
    for n, values in {1: [0.0, 4.0], 2: [3.0, 3.2, 2.8], 5: [3.4, -1.0]}.items():
        for value in values:
            add(study, params={"n": n}, value=value)
    add(study, params={"n": 9}, state=TrialState.FAIL)
    best = best_mean(study)
    assert best is not None
    assert (best.params, best.count) == ({"n": 2, "x": 0.5}, 3)
    assert best.value == pytest.approx(3.0)
    assert best.stderr == pytest.approx(0.2 / math.sqrt(3))


def test_conditional_candidates_are_told_apart() -> None:
    study = new_study("random")
    kinds = {"k": optuna.distributions.CategoricalDistribution([1, "1"])}
    for choice, value in [(1, 5.0), ("1", 3.0), (1, 5.0), ("1", 3.0)]:
        study.add_trial(optuna.create_trial(params={"k": choice}, distributions=kinds, value=value))
    best = best_mean(study)
    assert best is not None
    assert (best.params, best.value, best.count) == ({"k": "1"}, 3.0, 2)


def test_there_is_no_best_before_a_trial_has_completed() -> None:
    study = new_study("random")
    assert best_mean(study) is None
    add(study, value=1.0, constraints={"c": 1.0})
    assert best_mean(study) is None

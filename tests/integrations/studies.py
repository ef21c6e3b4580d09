"""Studies, objectives and a method that records, for the tests of BBOptSampler."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.distributions import FloatDistribution, IntDistribution

import bbopt
from bbopt import Optimizer
from bbopt.integrations.optuna import BATCH, BBOptSampler
from bbopt.seeding import stream

QUICK = {
    "mini-gp-ucb": {"n_startup_trials": 4, "kernel": "matern52"},
    "mini-gp-ei": {"n_startup_trials": 4, "kernel": "matern52"},
    "nap": {"n_candidates": 32},
    "random": {},
    "sobol": {},
}
SPACE = {"n": IntDistribution(0, 50), "x": FloatDistribution(-1, 1)}


def new_study(name: str, seed: int = 0, direction: str = "minimize", **given: Any) -> optuna.Study:
    sampler = BBOptSampler(name, seed=seed, **QUICK.get(name, {}) | given)
    return optuna.create_study(sampler=sampler, direction=direction)


def noisy(trial: optuna.Trial) -> float:
    """Conditional and mixed; its noise depends on the trial's number alone."""
    value = (trial.suggest_float("x", -1, 1) - 0.3) ** 2 + trial.suggest_int("n", 0, 50) / 50
    if trial.suggest_categorical("kind", ["a", "b", None]) == "a":
        value -= 0.2 * trial.suggest_float("y", 0, 1)
    return value + 0.3 * float(stream(0, "noise", number=trial.number).standard_normal())


def batches(study: optuna.Study) -> dict[int, list[optuna.trial.FrozenTrial]]:
    found: dict[int, list[optuna.trial.FrozenTrial]] = {}
    for trial in study.trials:
        if BATCH in trial.system_attrs:
            found.setdefault(trial.system_attrs[BATCH]["batch"], []).append(trial)
    return found


def planned(trial: optuna.trial.FrozenTrial) -> int:
    repeats: int = trial.system_attrs[BATCH]["repeats"]
    return repeats


class Recording(Optimizer):
    """Proposes random points, each ``repeats`` times; says what it was told and expects."""

    name = "recording"
    repeats = 1

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.told: list[tuple[int | None, dict[str, Any], bbopt.Outcome]] = []
        self.seen_awaited: list[Any] = []
        Recording.latest = self  # type: ignore[attr-defined]

    def _ask(self, n: int, left: bbopt.Budget) -> list[bbopt.Trial]:
        self.seen_awaited = [(t.params, t.repeats) for t in self.awaited]
        params = self.space.sample(self._stream(self.next_number))[0]
        return [self._new_trial(params, self.repeats)]

    def _tell(self, trial: bbopt.Trial, outcome: bbopt.Outcome) -> None:
        self.told.append((trial.number, trial.params, outcome))


def latest() -> Recording:
    found: Recording = Recording.latest  # type: ignore[attr-defined]
    return found


def add(study: optuna.Study, **given: Any) -> None:
    params = {"n": 3, "x": 0.5} | given.pop("params", {})
    study.add_trial(optuna.create_trial(params=params, distributions=SPACE, **given))

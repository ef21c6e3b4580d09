"""Optuna's own conformance suites, for each method that is meant to be a sampler."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    RelativeSamplerTestCase,
    SingleOnlySamplerTestCase,
)

from bbopt.integrations.optuna import BBOptSampler

# So early, and so cheaply, that the models decide within the few trials of a test.
SETTINGS = {
    "mini-gp-ucb": {"n_startup_trials": 3, "kernel": "matern52"},
    "mini-gp-ei": {"n_startup_trials": 3, "kernel": "matern52"},
    "nap": {"n_startup_trials": 2, "n_candidates": 32},
    "random": {},
    "sobol": {},
}


class Suites(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    name: str

    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return lambda: BBOptSampler(self.name, seed=0, **SETTINGS[self.name])


class TestMiniGPUCB(Suites):
    name = "mini-gp-ucb"


class TestMiniGPEI(Suites):
    name = "mini-gp-ei"


class TestNAP(Suites):
    name = "nap"


class TestRandom(Suites):
    name = "random"


class TestSobol(Suites):
    name = "sobol"

"""Every registered optimizer keeps the contract; none is excused."""

from dataclasses import fields

import pytest

import bbopt
from bbopt.errors import MissingExtra
from bbopt.registry import optimizer_class, optimizer_names
from bbopt.testing import OptimizerContract

# So that a method learns within the dozen trials that a test of the contract asks for.
EARLY = {"n_startup_trials": 4, "population_size": 4, "popsize": 4, "n_candidates": 16}
BOTORCH = {"n_startup_trials": 9, "refit_every": 2}
BOTORCH |= {"num_restarts": 1, "raw_samples": 4, "mc_samples": 8}
# Those of which a proposal takes a good part of a second, and how late they learn instead.
COSTLY = {
    "optuna:gp": {"n_startup_trials": 11},
    "botorch:logei": BOTORCH,
    "botorch:qlognei": BOTORCH,
}


def factory(name):
    """What builds the optimizer, or a skip with the message of the extra that is missing."""
    known = {field.name for field in fields(optimizer_class(name).Settings)}
    settings = {key: value for key, value in EARLY.items() if key in known}
    settings |= COSTLY.get(name, {})

    def make(spec, **kwargs):
        try:
            return bbopt.optimizer(name, spec, **settings, **kwargs)
        except MissingExtra as error:
            pytest.skip(str(error))

    return make


class TestRegisteredOptimizer(OptimizerContract):
    @pytest.fixture(params=[name for name in optimizer_names() if name not in COSTLY])
    def make(self, request):
        return factory(request.param)


class TestCostlyOptimizer(OptimizerContract):
    n_examples = 4

    @pytest.fixture(params=sorted(COSTLY))
    def make(self, request):
        return factory(request.param)

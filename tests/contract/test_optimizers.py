"""Every registered optimizer keeps the contract; none is excused."""

import csv
from dataclasses import fields
from functools import lru_cache

import numpy as np
import pytest

import bbopt
from bbopt.errors import MissingExtra
from bbopt.registry import optimizer_class, optimizer_names
from bbopt.testing import OptimizerContract

# So that a method learns within the dozen trials that a test of the contract asks for.
EARLY = {"n_startup_trials": 4, "population_size": 4, "popsize": 4, "n_candidates": 16, "trees": 2}
BOTORCH = {"n_startup_trials": 9, "refit_every": 2}
BOTORCH |= {"num_restarts": 1, "raw_samples": 4, "mc_samples": 8}
# Those of which a proposal takes a good part of a second, and how late they learn instead; and
# those that share all but the acquisition with mini-gp-ucb.
COSTLY = {
    "optuna:gp": {"n_startup_trials": 11},
    "botorch:logei": BOTORCH,
    "botorch:qlognei": BOTORCH,
    "mini-gp-ei": {},
    "mini-gp-ts": {},
    "mini-gp-explore": {},
}


@pytest.fixture(scope="session")
def earlier_tasks(tmp_path_factory):
    """Space -> a folder with the table of one task in it, for methods that learn from such."""

    @lru_cache
    def folder_of(space):
        folder = tmp_path_factory.mktemp("earlier")
        rng = np.random.default_rng(0)
        with (folder / "task.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*space, "loss"])
            rows = space.sample(rng, 30)
            writer.writerows([*map(str, row.values()), rng.random()] for row in rows)
        return str(folder)

    return folder_of


def factory(name, earlier_tasks):
    """What builds the optimizer, or a skip with the message of the extra that is missing."""
    known = {field.name for field in fields(optimizer_class(name).Settings)}
    settings = {key: value for key, value in EARLY.items() if key in known}
    settings |= COSTLY.get(name, {})

    def make(spec, **kwargs):
        if "tables" in known and spec.space.kinds <= optimizer_class(name).kinds:
            settings["tables"] = earlier_tasks(spec.space)
        try:
            return bbopt.optimizer(name, spec, **settings, **kwargs)
        except MissingExtra as error:
            pytest.skip(str(error))

    return make


class TestRegisteredOptimizer(OptimizerContract):
    @pytest.fixture(params=[name for name in optimizer_names() if name not in COSTLY])
    def make(self, request, earlier_tasks):
        return factory(request.param, earlier_tasks)


@pytest.mark.slow
class TestCostlyOptimizer(OptimizerContract):
    n_examples = 4

    @pytest.fixture(params=sorted(COSTLY))
    def make(self, request, earlier_tasks):
        return factory(request.param, earlier_tasks)

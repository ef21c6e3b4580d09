from __future__ import annotations

import pickle

import numpy as np
import pytest

import bbopt
from bbopt import registry
from bbopt.errors import MissingExtra, UsageError
from bbopt.testing import ProblemContract

ioh = pytest.importorskip("ioh", reason="the extra 'bbob' is not installed")
NAMES = [f"bbob/f{number}" for number in range(1, 25)]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        *[(name, {}) for name in NAMES],
        ("bbob/f8", {"dim": 5, "instance": 3, "noise": 0.1}),
        ("bbob/f3", {"noise_kind": "bernoulli"}),
    ],
)
class TestBbob(ProblemContract):
    @pytest.fixture
    def problem(self, name, arguments):
        return bbopt.problem(name, **arguments)


def test_the_family_has_every_function():
    assert {n for n in registry.problem_names() if n.startswith("bbob/")} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("instance", [1, 7])
def test_the_least_value_is_that_of_the_source_and_nothing_is_below_it(name, instance):
    problem = bbopt.problem(name, dim=3, instance=instance)
    number = int(name.removeprefix("bbob/f"))
    source = ioh.get_problem(number, instance, 3, ioh.ProblemClass.BBOB)
    assert problem.optimum == pytest.approx(source.optimum.y, abs=1e-9)
    x = np.random.default_rng(0).uniform(-5, 5, (500, 3))
    assert problem.function(x).min() > problem.optimum
    assert problem.function(x).tolist() == [source(row) for row in x]


def test_instances_and_dimensions_are_different_functions():
    optima = {
        (instance, dim): tuple(bbopt.problem("bbob/f1", dim=dim, instance=instance).minimisers[0])
        for instance in (1, 2)
        for dim in (2, 3)
    }
    assert len(set(optima.values())) == 4


def test_a_problem_goes_to_other_processes():
    problem = bbopt.problem("bbob/f21", dim=4)
    x = np.random.default_rng(0).uniform(-5, 5, (5, 4))
    assert pickle.loads(pickle.dumps(problem)).function(x).tolist() == problem.function(x).tolist()


@pytest.mark.parametrize("arguments", [{"dim": 1}, {"instance": 0}, {"dim": 2.5}])
def test_arguments_out_of_range_are_refused(arguments):
    with pytest.raises(UsageError, match=next(iter(arguments))):
        bbopt.problem("bbob/f1", **arguments)


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ioh", None)
    with pytest.raises(MissingExtra, match=r"bbopt\[bbob\]|'.\[bbob\]'"):
        bbopt.problem("bbob/f1")

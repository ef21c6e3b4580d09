"""Spaces of ConfigSpace, in and out: the same params on both sides, the rest refused by name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bbopt
from bbopt import Categorical, Float, Int, Space, Text
from bbopt.errors import UnsupportedSpec

ConfigSpace = pytest.importorskip("ConfigSpace", reason="ConfigSpace is not installed")
from bbopt.integrations.configspace import from_configspace, to_configspace  # noqa: E402

MIXED = Space(
    {
        "lr": Float(1e-5, 0.1, log=True, initial=1e-3),
        "momentum": Float(0.0, 1.0),
        "tenths": Float(0.0, 1.1, step=0.1),
        "whole": Float(0.0, 4.0, step=1.0, initial=3.0),
        "layers": Int(1, 8, initial=2),
        "width": Int(16, 1024, log=True),
        "fives": Int(-10, 10, step=5),
        "fixed": Int(3, 3),
        "kind": Categorical([None, "relu", 2, 0.5], initial="relu"),
        "flag": Categorical([False, True]),
        "only": Categorical(["adam"]),
    }
)


def test_what_either_side_draws_is_valid_on_the_other() -> None:
    theirs = to_configspace(MIXED, seed=0)
    back = from_configspace(theirs)
    for configuration in theirs.sample_configuration(200):
        params = dict(configuration)
        assert MIXED.validate(params) == back.validate(params)
    for params in MIXED.sample(np.random.default_rng(0), 200):
        seen = MIXED.validate(dict(ConfigSpace.Configuration(theirs, values=params)))
        for name in ("lr", "momentum"):  # rounded to 13 places there
            assert seen.pop(name) == pytest.approx(params.pop(name), rel=0, abs=1e-13)
        assert seen == params


def test_initial_values_are_the_defaults() -> None:
    theirs = to_configspace(MIXED)
    default = dict(theirs.get_default_configuration())
    for name, dimension in MIXED.items():
        if dimension.has_initial:
            assert default[name] == pytest.approx(dimension.initial)
    assert from_configspace(theirs).initial == MIXED.validate(default)


numbers = st.floats(-1e6, 1e6).map(lambda v: round(v, 3))


@given(low=numbers, span=st.floats(1e-2, 1e6), log=st.booleans())
def test_a_range_comes_back_as_it_was(low: float, span: float, log: bool) -> None:
    low = abs(low) + 1e-3 if log else low
    n = int(abs(low)) + 1
    space = Space({"x": Float(low, low + span, log=log), "n": Int(n, n + 7, log=log)})
    back = from_configspace(to_configspace(space))
    for name, dimension in space.items():
        again = back[name]
        # theirs are rounded to 13 places, by way of a product with 1e13
        bounds = pytest.approx((dimension.low, dimension.high), rel=1e-14, abs=1e-13)
        assert (again.low, again.high) == bounds
        assert (again.kind, again.log) == (dimension.kind, log)


def conditional():
    space = ConfigSpace.ConfigurationSpace({"kind": ["svm", "tree"], "depth": (1, 9)})
    space.add(ConfigSpace.EqualsCondition(space["depth"], space["kind"], "tree"))
    return space


def forbidding():
    space = ConfigSpace.ConfigurationSpace({"kind": ["svm", "tree"]})
    space.add(ConfigSpace.ForbiddenEqualsClause(space["kind"], "tree"))
    return space


def normal():
    x = ConfigSpace.Float("x", (0.0, 1.0), distribution=ConfigSpace.Normal(0.5, 0.1))
    return ConfigSpace.ConfigurationSpace({"x": x})


def weighted():
    return ConfigSpace.ConfigurationSpace(
        {"kind": ConfigSpace.Categorical("kind", ["a", "b"], weights=[0.9, 0.1])}
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (conditional, "'depth' is conditional"),
        (forbidding, "forbidden clause"),
        (normal, "'x' must be uniform"),
        (weighted, "'kind': choices must have equal weights"),
    ],
)
def test_what_a_space_cannot_say_is_refused(make, message) -> None:
    with pytest.raises(UnsupportedSpec, match=message):
        from_configspace(make())


@pytest.mark.parametrize(
    ("dimension", "message"),
    [
        (Text("hello"), "'x' is a text, which ConfigSpace has not"),
        (Categorical([1, True]), "'x': ConfigSpace refuses it"),
        (Float(0.0, 1.0, step=1e-6), "'x': at most 10000 steps become a list, got 1000001"),
    ],
)
def test_what_configspace_cannot_say_is_refused(dimension, message) -> None:
    with pytest.raises(UnsupportedSpec, match=message):
        to_configspace(Space({"x": dimension}))


def test_a_space_that_came_in_can_be_searched() -> None:
    space = from_configspace(
        ConfigSpace.ConfigurationSpace({"x": (0.0, 1.0), "k": ["a", "b"], "o": (1, 5)})
    )
    optimizer = bbopt.optimizer("mini-gp-ucb", space, seed=0)
    (trial,) = optimizer.ask()
    assert trial.params == {"k": "a", "o": 3, "x": 0.5}  # the defaults first

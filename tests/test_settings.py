"""Settings of a method: types, ranges, names, and what is listed of them."""

import json
from dataclasses import dataclass

import numpy as np
import pytest

from bbopt.errors import UsageError
from bbopt.settings import NoSettings, build, describe, setting


@dataclass(frozen=True)
class Settings:
    population: int | None = setting(None, "Size of a generation.", low=2)
    sigma: float = setting(0.3, "Initial step size σ.", low=0, high=1)
    restart: bool = setting(True, "Whether to start again.")
    kernel: str = setting("rbf", "The covariance.", choices=("rbf", "matern"))
    label: str = setting("", "Free text.")
    beta: float | str = setting("auto", "Width of the interval β, or a rule.")
    weights: tuple[float, ...] = setting((), "One a generation.")


def test_without_settings_the_defaults_hold():
    assert build(Settings, {}, "optimizer 'x'") == Settings()


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("population", 5, 5),
        ("population", 5.0, 5),
        ("population", np.int64(5), 5),
        ("population", None, None),
        ("sigma", 1, 1.0),
        ("sigma", np.float32(0.5), 0.5),
        ("restart", False, False),
        ("restart", np.bool_(False), False),
        ("kernel", "matern", "matern"),
        ("label", "", ""),
        ("beta", "auto", "auto"),
        ("beta", 2, 2.0),
        ("weights", (1.0, 2.0), (1.0, 2.0)),
    ],
)
def test_a_setting_becomes_a_plain_value_of_its_type(name, given, expected):
    value = getattr(build(Settings, {name: given}, "optimizer 'x'"), name)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("population", 1, "population must be an integer >= 2, got 1"),
        ("population", 2.5, "population must be an integer >= 2, got 2.5"),
        ("population", True, "population must be an integer >= 2, got True"),
        ("population", "5", "population must be an integer >= 2, got '5'"),
        ("sigma", 1.1, r"sigma must be a finite number in \[0, 1\], got 1.1"),
        ("sigma", None, "sigma must be a finite number"),
        ("sigma", float("nan"), "sigma must be a finite number .* got nan"),
        ("restart", 1, "restart must be one of True, False, got 1"),
        ("restart", "no", "restart must be one of True, False, got 'no'"),
        ("kernel", "linear", "kernel must be one of 'rbf', 'matern', got 'linear'"),
        ("label", 3, "label must be str, got 3"),
        ("weights", [1.0], r"weights must be tuple, got \[1.0\]"),
        ("sgima", 0.1, "optimizer 'x' has no setting 'sgima'; allowed are population, sigma, "),
    ],
)
def test_a_bad_setting_is_refused_by_name(name, given, message):
    with pytest.raises(UsageError, match=message):
        build(Settings, {name: given}, "optimizer 'x'")


def test_a_method_without_settings_says_so():
    with pytest.raises(UsageError, match="optimizer 'x' has no setting 'a'; allowed are none"):
        build(NoSettings, {"a": 1}, "optimizer 'x'")
    assert describe(NoSettings) == []


def test_the_description_lists_every_setting_with_type_default_range_and_meaning():
    rows = describe(Settings)
    assert [row["name"] for row in rows] == [
        "population",
        "sigma",
        "restart",
        "kernel",
        "label",
        "beta",
        "weights",
    ]
    assert rows[0] == {
        "name": "population",
        "type": "int | None",
        "default": None,
        "stands_for": "",
        "allowed": "[2, inf]",
        "meaning": "Size of a generation.",
    }
    assert rows[1]["allowed"] == "[0, 1]"
    assert rows[2]["allowed"] == ""
    assert rows[3]["allowed"] == "rbf, matern"
    assert rows[5]["type"] == "float | str"
    assert json.dumps(rows, allow_nan=False)


def test_settings_are_frozen():
    with pytest.raises(AttributeError):
        Settings().sigma = 0.5

"""The exceptions, what they say, and how they travel."""

import pickle
import re

import pytest

import bbopt.errors
from bbopt.errors import BBOptError, MissingExtra, UnknownName, UsageError, require

CLASSES = [
    thing
    for thing in vars(bbopt.errors).values()
    if isinstance(thing, type) and issubclass(thing, BBOptError)
]


def test_the_drawing_shows_every_exception_under_its_parent():
    drawn, parents = {}, []
    for indent, name in re.findall(
        r"^    ([│├└─ ]*)([A-Z]\w+)", bbopt.errors.__doc__, re.MULTILINE
    ):
        depth = len(indent) // 4
        parents[depth:] = [name]
        drawn[name] = parents[depth - 1] if depth else "Exception"
    assert drawn == {cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES}


def test_a_wrong_argument_is_also_a_value_error():
    assert issubclass(UsageError, ValueError)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ranom", "did you mean random?"),
        ("tpe", "did you mean optuna:tpe?"),
        ("optuna:tpee", "did you mean optuna:tpe"),
        ("zzz", "known: optuna:tpe, random, sobol"),
    ],
)
def test_an_unknown_name_comes_with_the_nearest_ones(name, hint):
    error = UnknownName("optimizer", name, {"sobol", "random", "optuna:tpe"})
    assert str(error).startswith(f"unknown optimizer {name!r}: {hint}")


@pytest.mark.parametrize(
    "error",
    [
        UsageError("n must be an integer"),
        UnknownName("optimizer", "ranom", ["random"]),
        MissingExtra("torch", "metabo", "optimizer 'nap'"),
    ],
)
def test_an_error_travels_between_processes(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)


def test_a_missing_package_is_reported_with_its_extra():
    message = (
        r"optimizer 'x' needs the package 'no_such_package', which is not installed: "
        r"pip install '\.\[metabo\]'"
    )
    with pytest.raises(MissingExtra, match=message):
        require("no_such_package", extra="metabo", needed_by="optimizer 'x'")
    with pytest.raises(MissingExtra, match=r"no_such_package\.part"):
        require("no_such_package.part", extra="metabo", needed_by="optimizer 'x'")
    assert require("json", extra="metabo", needed_by="x").dumps([]) == "[]"


def test_a_package_that_misses_another_one_says_so_itself(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package") as raised:
        require("half_installed", extra="metabo", needed_by="x")
    assert not isinstance(raised.value, BBOptError)

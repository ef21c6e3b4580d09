import sys

import pytest

from bbopt.errors import UnknownName, UsageError
from bbopt.sources import load_problem


def test_a_registered_name_is_built_with_its_arguments():
    problem = load_problem("synthetic/branin", {"noise": 0.5})
    assert problem.name == "synthetic/branin"
    assert problem.arguments == {"noise": 0.5}


@pytest.mark.parametrize("name", ["Oven", "make", "Frozen"])
def test_a_class_or_a_factory_in_a_file_gets_the_arguments(oven, name):
    problem = load_problem(f"{oven}:{name}", {"fail": True})
    assert problem.fail is True
    assert problem.name == f"oven.py:{name}"
    assert problem.arguments == {"fail": True}


def test_a_problem_in_a_file_is_taken_as_it_is(oven):
    assert load_problem(f"{oven}:ready", {}).name == "oven.py:ready"


def test_a_module_in_the_current_folder_is_found(oven, monkeypatch):
    monkeypatch.chdir(oven.parent)
    assert load_problem("oven:Oven", {}).name == "oven:Oven"


def test_a_name_that_the_problem_has_is_kept(oven):
    oven.write_text(oven.read_text() + "\nready.name = 'my oven'\n")
    assert load_problem(f"{oven}:ready", {}).name == "my oven"


def test_a_file_does_not_hide_a_module_of_its_name(oven):
    other = oven.with_name("json.py")
    other.write_text(oven.read_text())
    import json

    load_problem(f"{other}:Oven", {})
    assert sys.modules["json"] is json


def test_a_file_that_fails_leaves_no_half_made_module(oven):
    oven.with_name("broken.py").write_text("import bbopt\n1 / 0\n")
    with pytest.raises(UsageError, match=r"ZeroDivisionError: .* \(broken.py, line 2\)"):
        load_problem(f"{oven.with_name('broken.py')}:Oven", {})
    assert "broken" not in sys.modules


@pytest.mark.parametrize(
    ("source", "arguments", "said"),
    [
        ("FILE", {}, "must name the problem in the file: FILE:NAME"),
        ("FILE:", {}, "must be MODULE:NAME or "),
        (":Oven", {}, "must be MODULE:NAME or "),
        ("FILE:Ofen", {}, "has no 'Ofen'; problems in it may be: Oven, make, nothing, raises"),
        ("FILE:number", {}, "must be a Problem or build one, got 7"),
        ("FILE:nothing", {}, "must give a bbopt.Problem, got float; a plain function is made"),
        ("FILE:objective", {}, "missing a required argument: 'params'; a plain function is made"),
        ("FILE:raises", {}, "KeyError: 'flour' (oven.py, line 38)"),
        ("FILE:Oven", {"heat": 3}, "unexpected keyword argument 'heat'"),
        ("FILE:ready", {"fail": True}, "is built already and takes no --with"),
        ("no_such_module:Oven", {}, "No module named 'no_such_module'"),
        ("no/such/file.py:Oven", {}, "no such file: no/such/file.py"),
    ],
)
def test_what_gives_no_problem_is_said_in_one_line(oven, source, arguments, said):
    with pytest.raises(UsageError) as caught:
        load_problem(source.replace("FILE", str(oven)), arguments)
    assert said.replace("FILE", str(oven)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_gets_the_nearest_ones():
    with pytest.raises(UnknownName, match=r"'synthetic/brannin': did you mean synthetic/branin"):
        load_problem("synthetic/brannin", {})

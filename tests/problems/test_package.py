from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import bbopt.problems
from bbopt import registry

HERE = Path(bbopt.problems.__file__)


def test_the_package_refuses_another_name():
    spec = importlib.util.spec_from_file_location("problems", HERE)
    module = importlib.util.module_from_spec(spec)
    with pytest.raises(ImportError, match=r"import this package as bbopt\.problems, not as 'prob"):
        spec.loader.exec_module(module)


def test_import_problems_fails_where_the_folder_is_on_the_path():
    if HERE.parent.name != "problems":
        pytest.skip("the folder of the installed package has another name")
    script = f"import sys; sys.path.insert(0, {str(HERE.parent.parent)!r}); import problems"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert "import this package as bbopt.problems" in done.stderr


def test_listing_and_describing_problems_loads_no_heavy_package():
    script = (
        "import sys; from bbopt import registry; registry.problem_names(); "
        "registry.problem('hpo/digits-svm').spec; registry.problem('synthetic/branin').spec; "
        "print([m for m in ('sklearn', 'scipy', 'optuna', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.parametrize("name", registry.problem_names())
def test_every_argument_is_explicit_and_has_a_type(name):
    for parameter in registry.problem_arguments(name).values():
        assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        assert parameter.annotation is not parameter.empty


@pytest.mark.parametrize("name", registry.problem_names())
def test_every_problem_says_what_it_is_in_one_line(name):
    first, *_ = registry.problem_factory(name).__doc__.splitlines()
    assert first.endswith(".")
    assert len(first) < 100

"""Without an extra the core works, and what needs the extra says which one to install."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import bbopt
from bbopt.errors import MissingExtra
from bbopt.registry import optimizer_names

CONFIG = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
EXTRAS = CONFIG["project"]["optional-dependencies"]
# What each extra brings, under the names that are imported.
PACKAGES = (
    *("openai", "xllamacpp", "landlock", "pyseccomp", "networkx", "mpi4py"),
    *("torch", "botorch", "gpytorch", "matplotlib", "cma", "cmaes", "gepa", "openevolve"),
    "ConfigSpace",
)
IMPORT_EVERYTHING = """
import importlib, pkgutil
import bbopt, bbopt.problems
for package in (bbopt, bbopt.problems):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
"""


def hide(package: str, folder: Path) -> None:
    """Put a module into ``folder`` that fails as if ``package`` were not installed."""
    message = f"No module named {package!r}"
    text = f"raise ModuleNotFoundError({message!r}, name={package!r})\n"
    (folder / f"{package}.py").write_text(text)


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The parameter: a package that cannot be imported during the test."""
    package: str = request.param
    hide(package, tmp_path)
    monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    return package


def test_every_module_is_imported_without_any_extra(tmp_path: Path) -> None:
    for package in PACKAGES:
        hide(package, tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", IMPORT_EVERYTHING], env=environment, check=True)


@pytest.mark.parametrize(
    ("name", "absent", "extra"),
    [
        ("cma", "cma", "bench"),
        ("optuna:cmaes", "cmaes", "bench"),
        ("optuna:gp", "torch", "metabo"),
    ],
    indirect=["absent"],
)
def test_an_optimizer_names_the_extra_that_it_needs_when_it_is_built(
    name: str, absent: str, extra: str
) -> None:
    with pytest.raises(MissingExtra) as raised:
        bbopt.optimizer(name, {"x": bbopt.Float(0, 1), "y": bbopt.Float(0, 1)})
    assert str(raised.value) == (
        f"optimizer {name!r} needs the package {absent!r}, which is not installed: "
        f"pip install '.[{extra}]' in the folder of bbopt"
    )
    assert absent in {requirement.split(">")[0] for requirement in EXTRAS[extra]}


@pytest.mark.parametrize("absent", ["cma"], indirect=True)
def test_an_optimizer_whose_extra_is_absent_is_listed_all_the_same(absent: str) -> None:
    assert absent in optimizer_names()

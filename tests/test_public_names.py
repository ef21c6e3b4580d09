"""What the package offers, and what importing it costs."""

import importlib
import subprocess
import sys

import pytest

import bbopt

# What site packages of an environment load at start-up, and numpy itself, come first.
PRELUDE = """
import sys, numpy, numpy.random
before = set(sys.modules)
import bbopt
"""
EPILOGUE = """
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
expected = {"bbopt", "numpy", "__mp_main__"}  # the last is multiprocessing's name for this script
print(sorted(loaded - sys.stdlib_module_names - expected))
"""


def foreign_modules(code=""):
    """The packages, other than numpy and the standard library, that ``code`` loads."""
    return subprocess.run(
        [sys.executable, "-c", PRELUDE + code + EPILOGUE],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_importing_the_package_loads_numpy_and_the_standard_library_only():
    assert foreign_modules() == "[]"


def test_using_every_public_name_loads_no_more():
    assert foreign_modules("for name in bbopt.__all__: getattr(bbopt, name)") == "[]"


def test_optimising_without_a_storage_loads_no_more():
    code = """
optimizer = bbopt.optimizer("random", {"x": bbopt.Float(0, 1)})
optimizer.tell(optimizer.ask()[0], 0.3)
bbopt.minimize(lambda p: p["x"], {"x": bbopt.Float(0, 1)}, budget=3, optimizer="random")
"""
    assert foreign_modules(code) == "[]"


def test_every_public_name_is_there_and_comes_from_one_module():
    assert bbopt.__all__ == sorted(bbopt.__all__)
    homes = [name for names in bbopt._HOMES.values() for name in names]
    assert sorted(homes) == bbopt.__all__
    for name in bbopt.__all__:
        thing = getattr(bbopt, name)
        assert thing.__name__ == name
        assert thing.__doc__


def test_nothing_else_is_public():
    defined = {
        name
        for name, thing in vars(bbopt).items()
        if not name.startswith("_") and getattr(thing, "__module__", "").startswith("bbopt")
    }
    assert defined <= set(bbopt.__all__)


def test_dir_lists_every_public_name_once():
    listed = dir(bbopt)
    assert set(bbopt.__all__) <= set(listed)
    assert len(listed) == len(set(listed))


def test_a_star_import_brings_the_public_names():
    namespace = {}
    exec("from bbopt import *", namespace)
    assert set(namespace) - {"__builtins__"} == set(bbopt.__all__)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'bbopt' has no attribute 'minimise'"):
        _ = bbopt.minimise


@pytest.mark.parametrize("package", ["bbopt.testing", "bbopt.space"])
def test_a_module_that_lists_its_names_has_them(package):
    module = importlib.import_module(package)
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(hasattr(module, name) for name in module.__all__)


def test_no_module_shadows_a_public_function():
    for name in bbopt.__all__:
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(f"bbopt.{name}")

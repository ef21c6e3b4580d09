"""pyproject.toml, constraints.txt and the tree agree."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = CONFIG["project"]["optional-dependencies"]


def package_name(requirement: str) -> str:
    return re.split(r"[\[<>=; ]", requirement, maxsplit=1)[0].lower().replace("_", "-")


def test_the_wheel_has_every_package_of_the_tree() -> None:
    tree = {
        ".".join(folder.parent.relative_to(ROOT).parts)
        for top in ("bbopt", "problems")
        for folder in (ROOT / top).rglob("__init__.py")
    }
    installed = {re.sub(r"^problems", "bbopt.problems", name) for name in tree}
    assert set(CONFIG["tool"]["setuptools"]["packages"]) == installed


def test_the_extra_all_is_everything_but_peers_and_dev() -> None:
    [everything] = EXTRAS["all"]
    assert set(re.findall(r"[a-z]+", everything)) == {"bbopt", *EXTRAS} - {"all", "peers", "dev"}


@pytest.mark.parametrize("extra", ["core", *EXTRAS])
def test_each_direct_dependency_is_pinned(extra: str) -> None:
    wanted = CONFIG["project"]["dependencies"] if extra == "core" else EXTRAS[extra]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {package_name(line) for line in lines if "==" in line}
    assert {package_name(requirement) for requirement in wanted} - {"bbopt"} <= pinned


def test_torch_is_pinned_to_the_release_with_a_cpu_build() -> None:
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text().splitlines()


@pytest.mark.parametrize("group", ["bbopt.optimizers", "bbopt.problems"])
def test_what_is_installed_offers_the_families_that_pyproject_lists(group: str) -> None:
    listed = CONFIG["project"]["entry-points"][group]
    ours = {e.name: e.value for e in entry_points(group=group) if e.value.startswith("bbopt.")}
    assert ours == listed


@pytest.mark.parametrize(
    "folder",
    ["bbopt", "bbopt/running", "bbopt/polca", "bbopt/llm", "bbopt/sandbox", "bbopt/integrations"],
)
def test_the_map_of_the_house_shows_the_rooms_that_there_are(folder: str) -> None:
    depth = len(Path(folder).parts)
    guide = (ROOT / "CONTRIBUTING.md").read_text()
    # its own lines: those up to the next room of the same depth
    guide = re.split(rf"^{'  ' * (depth - 1)}{Path(folder).name}/\s", guide, flags=re.M)[1]
    guide = re.split(rf"^{'  ' * (depth - 1)}\w", guide, flags=re.M)[0]
    shown = set(re.findall(rf"^{'  ' * depth}(\w+(?:\.py|/)) ", guide, re.MULTILINE))
    modules = {path.name for path in (ROOT / folder).glob("*.py")}
    rooms = {f"{path.parent.name}/" for path in (ROOT / folder).glob("*/__init__.py")}
    assert shown == (modules | rooms) - {"__main__.py"} - ({"__init__.py"} if depth > 1 else set())

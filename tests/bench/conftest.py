"""Tiny suites, records made by hand, and problems that misbehave."""

import sys
import textwrap

import pytest

from bbopt import registry
from bbopt.bench.cell import Cell
from bbopt.bench.record import Incumbent, Record
from bbopt.budget import Budget

BAD_PROBLEMS = """
import os, signal, time
import bbopt
from bbopt.registry import register_problem


class Bad(bbopt.Problem):
    deterministic = True

    @property
    def spec(self):
        return bbopt.Spec(space=bbopt.Space({"x": bbopt.Float(0, 1)}))


@register_problem("bad/hangs")
class Hangs(Bad):
    def evaluate(self, trial, rng):
        time.sleep(600)


@register_problem("bad/dies")
class Dies(Bad):
    def evaluate(self, trial, rng):
        os.kill(os.getpid(), signal.SIGKILL)


@register_problem("bad/slow")
class Slow(Bad):
    def evaluate(self, trial, rng):
        time.sleep(0.02)
        return trial.params["x"] + 0.1 * rng.standard_normal()


@register_problem("bad/cannot-be-built")
def build():
    raise RuntimeError("no such instrument\\nin this laboratory")


@register_problem("bad/text")
class Words(Bad):
    @property
    def spec(self):
        return bbopt.Spec(space=bbopt.Space({"prompt": bbopt.Text("go on")}))

    def evaluate(self, trial, rng):
        return 1.0
"""


@pytest.fixture
def bad_problems(tmp_path_factory, monkeypatch):
    """Problems ``bad/...`` of an installed package, which other processes find too.

    Returns the folder that a new process needs in its path.
    """
    folder = tmp_path_factory.mktemp("installed")
    (folder / "bad_problems.py").write_text(BAD_PROBLEMS)
    about = folder / "bad_problems-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-problems\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[bbopt.problems]\nbad = bad_problems\n")
    monkeypatch.syspath_prepend(folder)
    registry._families.cache_clear()
    yield folder
    for name in [name for name in registry._problems if name.startswith("bad/")]:
        del registry._problems[name]
    sys.modules.pop("bad_problems", None)
    registry._families.cache_clear()


@pytest.fixture
def write_suite(tmp_path):
    """Write a suite's text into a file; returns its path."""

    def write(text, name="tiny.toml"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return path

    return write


@pytest.fixture(scope="session")
def make_cell():
    """Build a cell: ten evaluations of random search on Branin's function, or as given."""
    return build_cell


@pytest.fixture(scope="session")
def make_record():
    """Build the record of a run; see ``build_record``."""
    return build_record


def build_cell(**given):
    return Cell(
        **{
            "problem": "synthetic/branin",
            "arguments": {},
            "problem_label": "branin",
            "optimizer": "random",
            "settings": {},
            "optimizer_label": "random",
            "budget": Budget(evaluations=10),
            "seed": 0,
            "confirm": None,
            "rescore": 0,
            "time_limit": 60.0,
            **given,
        }
    )


def build_record(method, seed, incumbents, *, problem="p", evaluations=10, **given):
    """A run of ``method``: incumbents are (evaluations, value) or (evaluations, value, true)."""
    cell = build_cell(problem_label=problem, optimizer_label=method, seed=seed)
    rows = [Incumbent(n, value, *(true or [value]), 0.1 * n) for n, value, *true in incumbents]
    numbers = {"evaluations": evaluations, "unique": evaluations, "switches": evaluations - 1}
    summary = {
        "failures": 0,
        "seconds": 1.0,
        "overhead_seconds": 0.01,
        **numbers,
        **given.pop("summary", {}),
    }
    overhead = [(n, 0.001 * n**1.5) for n in (1, 2, 4, 8) if incumbents]
    given = {"status": "done", "overhead": overhead, **given}
    return Record(cell, incumbents=rows, summary=summary, **given)

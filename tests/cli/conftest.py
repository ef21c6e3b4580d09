"""The command in this process, and a problem of the user's own."""

import json
import logging
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from bbopt.cli.__main__ import commands

OVEN = '''
import time
from dataclasses import dataclass
from pathlib import Path

import beside  # a file in the same folder
import bbopt

class Oven(bbopt.Problem):
    """Bakes bread: noisy and, where asked, slow, silent or broken."""

    def __init__(self, seconds: float = 0.0, fail: bool = False, log: str = "") -> None:
        self.seconds, self.fail, self.log = seconds, fail, log

    @property
    def spec(self):
        heat = bbopt.Float(100, 300, initial=120.0)
        space = {"heat": heat, "minutes": bbopt.Int(10, 90, initial=60)}
        return bbopt.Spec(space=bbopt.Space(space), direction="maximize", deterministic=False)

    def evaluate(self, trial, rng):
        print("baking", trial.number)
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(f"{trial.number}\\n")
        time.sleep(self.seconds)
        if self.fail:
            raise ValueError("burnt")
        return -abs(trial.params["heat"] - beside.BEST) + rng.standard_normal()

def make(fail=False):
    return Oven(fail=fail)

def nothing():
    return 3.0

def raises():
    return {}["flour"]

def objective(params):
    return params["heat"]

class Prompt(Oven):
    @property
    def spec(self):
        return bbopt.Spec(space=bbopt.Space({"prompt": bbopt.Text("Bake.")}))

@dataclass(frozen=True)
class Frozen(Oven):
    seconds: float = 0.0
    fail: bool = False
    log: str = ""

ready = Oven()
number = 7
'''


@pytest.fixture(autouse=True)
def _unchanged_process():
    """What a user's module adds to this process goes with the test."""
    path, modules = list(sys.path), set(sys.modules)
    logger = logging.getLogger("bbopt")
    state = list(logger.handlers), logger.level
    yield
    assert (list(logger.handlers), logger.level) == state
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if name in ("oven", "beside", "broken") or name.startswith("bbopt_user_"):
            del sys.modules[name]


@pytest.fixture
def bbopt(tmp_path, monkeypatch):
    """Run a command line in an empty folder; the result has exit_code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def invoke(*words: object):
        return CliRunner().invoke(commands, [str(word) for word in words], catch_exceptions=False)

    return invoke


@pytest.fixture
def bbopt_json(bbopt):
    """Run a command line that must succeed; what it printed, parsed strictly."""

    def invoke(*words: object):
        result = bbopt(*words)
        assert (result.exit_code, result.stderr) == (0, "")
        return json.loads(result.stdout, parse_constant=pytest.fail)

    return invoke


@pytest.fixture
def oven(tmp_path) -> Path:
    """A user's file with problems in it, and one beside it that it imports."""
    folder = tmp_path / "kitchen"
    folder.mkdir()
    (folder / "beside.py").write_text("BEST = 220.0\n")
    (folder / "oven.py").write_text(OVEN)
    return folder / "oven.py"

import json
import logging
import subprocess
import sys

import pytest

from bbopt import __version__
from bbopt.cli.__main__ import COMMANDS, commands

HEAVY = ("numpy", "scipy", "sklearn", "optuna", "sqlalchemy", "rich", "torch", "matplotlib")


def loaded_by(*words: str) -> list[str]:
    """The heavy packages that a command line loads before it ends."""
    code = (
        "import json, sys\n"
        "from bbopt.cli.__main__ import main\n"
        f"sys.argv = ['bbopt', *{list(words)!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    code = end.code\n"
        f"print(json.dumps([code, [name for name in {HEAVY!r} if name in sys.modules]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    code, loaded = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    return loaded


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["run", "--help"], ["ask", "-h"]])
def test_help_and_version_load_nothing_heavy(words):
    assert loaded_by(*words) == []


def test_without_arguments_the_help_is_printed(bbopt):
    result = bbopt()
    assert result.exit_code == 0
    assert result.stdout == bbopt("--help").stdout
    assert "Exit codes: 0 done; 1 the run failed" in result.stdout


def test_the_version_is_that_of_the_package(bbopt):
    assert bbopt("--version").stdout == f"bbopt {__version__}\n"


def test_python_m_bbopt_is_the_same_command():
    done = subprocess.run(
        [sys.executable, "-m", "bbopt", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"bbopt {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_says_of_each_command_what_it_says_of_itself(name):
    command = commands.get_command(None, name)
    assert command.name == name
    assert COMMANDS[name][1] == command.help.split("\n")[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rum"], "unknown command 'rum': did you mean run"),
        (["--loud"], "No such option '--loud'"),
        (["run", "synthetic/branin"], "Missing option '--budget'"),
        (["run"], "Missing argument 'PROBLEM'"),
        (["run", "synthetic/branin", "--budget", "5", "--sed", "1"], "'--seed'"),
        (["run", "synthetic/branin", "--budget", "5", "--seed", "one"], "'one' is not a valid int"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_exit_code_2(bbopt, words, said):
    result = bbopt(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("bbopt: error: ")
    assert said in result.stderr


def test_debug_shows_the_traceback_before_the_line(bbopt):
    result = bbopt("--debug", "run", "synthetic/branin", "--budget", "0")
    assert result.exit_code == 2
    assert result.stderr.startswith("Traceback (most recent call last):")
    assert result.stderr.splitlines()[-1].startswith("bbopt: error: budget evaluations must be")


def speaker(monkeypatch):
    """Make ``bbopt cite`` log instead."""

    def say(name):
        logger = logging.getLogger("bbopt.somewhere")
        for _ in range(3):
            logger.warning("the %s is\n   low", "tank")
            logger.info("driving")
            logger.debug("turning")

    monkeypatch.setattr("bbopt.citation.cite", lambda name: say(name) or "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "bbopt: warning: the tank is low\n"),
        (["-v"], "bbopt: warning: the tank is low\nbbopt: info: driving\n"),
        (["-q"], ""),
    ],
)
def test_a_warning_is_one_line_said_once(bbopt, monkeypatch, words, said):
    speaker(monkeypatch)
    assert bbopt(*words, "cite").stderr == said


def test_twice_verbose_says_everything(bbopt, monkeypatch):
    speaker(monkeypatch)
    assert bbopt("-vv", "cite").stderr.splitlines()[-1] == "bbopt: debug: turning"


def test_ranks_other_than_0_say_nothing(bbopt, monkeypatch):
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setenv("PMI_RANK", "1")
    result = bbopt("run", "synthetic/branin", "--budget", "0")
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", "")

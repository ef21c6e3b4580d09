"""Who a study and its workers are: written when they start, compared when they go on."""

from __future__ import annotations

import json
import platform
import re
import shlex
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bbopt.base import Optimizer, Problem
from bbopt.errors import UsageError
from bbopt.running.storage import FORMAT, StudyLog
from bbopt.settings import to_json

_PACKAGES = ("bbopt", "numpy", "scipy", "scikit-learn", "optuna", "cma", "cmaes", "torch")


def name_of(thing: Problem | Optimizer) -> str:
    """Its name; ``FILE.py:CLASS`` for one of the user's own that has none."""
    if thing.name:
        return thing.name
    cls = type(thing)
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)  # a notebook has none
    return f"{Path(file).name if file else cls.__module__}:{cls.__qualname__}"


def metadata(problem: Problem, optimizer: Optimizer) -> dict[str, Any]:
    """What a figure needs to be traced to its run: JSON values."""
    return {
        "problem": name_of(problem),
        "arguments": dict(problem.arguments),
        "optimizer": name_of(optimizer),
        "settings": to_json(optimizer.settings),
        "seed": optimizer.seed,
        "worker": optimizer.worker,
        "command": command_line(),
        "versions": {"python": platform.python_version()} | _versions(),
    }


def stored_seed(log: StudyLog) -> int | None:
    """The seed that this worker of the study started with, if it did."""
    seed: int | None = log.attributes().get(f"bbopt:worker:{log.worker}", {}).get("seed")
    return seed


def identify(log: StudyLog, problem: Problem, about: dict[str, Any]) -> None:
    """Write who the study and this worker are, or check that they are who they were.

    Raises
    ------
    UsageError
        If the study is of another problem or a newer format, or this worker was another
        optimizer, or had other settings or another seed; the difference is named.
    """
    study = {
        "format": FORMAT,
        "problem": name_of(problem),
        "arguments": dict(problem.arguments),
        "objective": problem.spec.objective,
        "space": problem.spec.space.to_json(),
    }
    stored = log.attributes()
    _compare(f"study {log.name!r}", stored.get("bbopt:study"), study, tuple(study))
    key = f"bbopt:worker:{log.worker}"
    who = f"worker {log.worker} of study {log.name!r}"
    _compare(who, stored.get(key), about, ("optimizer", "settings", "seed"))
    if "bbopt:study" not in stored:
        log.set_attribute("bbopt:study", study)
    if key not in stored:
        log.set_attribute(key, about)


def _compare(
    who: str, stored: dict[str, Any] | None, now: dict[str, Any], fields: tuple[str, ...]
) -> None:
    for name in fields if stored is not None else ():
        assert stored is not None
        here = json.loads(json.dumps(now[name]))
        then = stored.get(name, here)  # what an older version did not write down
        if then != here:
            raise UsageError(f"{who} was started with {name} {then!r}, got {here!r}")


def command_line() -> str:
    """The command line that started this process, without passwords in URLs."""
    program, *arguments = sys.argv or [""]
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None:
        words = ["python", "-m", spec.name.removesuffix(".__main__")]
    elif program.endswith(".py"):
        words = ["python", program]
    else:
        words = [program.rsplit("/", 1)[-1]]
    masked = (re.sub(r"://([^:/@\s]+):\S+@", r"://\1:***@", word) for word in arguments)
    return shlex.join([*words, *masked])


@cache
def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found

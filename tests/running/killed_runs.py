"""Runs in processes of their own, so that they can be killed.

Run as a script, this starts them. Each line that it reads is the JSON of one run; it answers
with the child's process id, and with its exit status once it ended. Forked from here, a run
need not import everything again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import optuna  # noqa: F401 - what the runs need is imported once
from doubles_of_runs import Chained, Noisy

import bbopt
from bbopt.running import warm_start  # noqa: F401

SPACE = bbopt.Space({"x": bbopt.Float(0, 1), "y": bbopt.Float(1e-3, 1, log=True)})


class Meeting(Noisy):
    """From its second evaluation on, waits until a file is there."""

    def __init__(self, folder: Path, meet: str | None) -> None:
        pauses = dict.fromkeys(range(1000), 0.003)
        super().__init__(SPACE, notes=folder / "notes", pauses=pauses)
        self.meet = meet

    def evaluate(self, trial: bbopt.Trial, rng: np.random.Generator) -> Any:
        while trial.number and self.meet and not Path(self.meet).exists():
            time.sleep(0.002)
        return super().evaluate(trial, rng)


def run(
    folder: str, optimizer: str, budget: int, meet: str | None = None, **options: Any
) -> bbopt.Result:
    """One run, from its JSON."""
    noisy = Meeting(Path(folder), meet)
    options.setdefault("seed", 7)
    if optimizer == "chained":
        worker = options.get("worker", 0)
        chained = Chained(noisy.spec, seed=options.pop("seed"), worker=worker)
        return bbopt.run(noisy, chained, budget, **options)
    return bbopt.run(noisy, optimizer, budget, **options)


class Runs:
    """Starts runs in processes that can be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            text=True,
        )

    def start(self, **options: Any) -> int:
        """Start a run; its process id."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"folder": str(self.folder), **options}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def wait(self) -> int:
        """The exit status of the run that was started."""
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


def notes(folder: Path) -> list[str]:
    path = folder / "notes"
    return path.read_text().splitlines() if path.exists() else []


def is_running(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def main() -> None:
    """Read, fork, answer."""
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            run(**json.loads(line))
            os._exit(0)
        print(pid, flush=True)
        print(os.waitpid(pid, 0)[1], flush=True)


if __name__ == "__main__":
    main()

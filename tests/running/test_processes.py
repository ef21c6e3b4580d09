"""Worker processes seen from outside: scripts that start them, runs that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def start(folder: Path, script: str, *arguments: object) -> subprocess.Popen[str]:
    """Run a script in a folder, in a process group of its own."""
    path = folder / "script.py"
    path.write_text(script)
    others = filter(None, [os.environ.get("PYTHONPATH")])
    return subprocess.Popen(
        [sys.executable, "-W", "error", str(path), *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), *others])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_until(condition: Callable[[], object]) -> None:
    """Wait for something that will happen; far longer than it can take."""
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen")


WITHOUT_GUARD = """
import bbopt

class Scale:  # defined in the main module, as the lambda below
    factor = 2.0

def f(params, rng):
    return Scale.factor * params["x"] ** 2 + (lambda: 0.0)()

print("loaded")
result = bbopt.minimize(f, {"x": bbopt.Float(-1, 1)}, budget=8, jobs=2, optimizer="random")
print(result.spent.evaluations, result.spent.failures, "whole" if __file__ else "torn")
"""


def test_a_script_without_a_guard_is_not_run_again_by_its_workers(tmp_path: Path) -> None:
    process = start(tmp_path, WITHOUT_GUARD)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert out.split() == ["loaded", "8", "0", "whole"]


def test_a_function_typed_at_a_prompt_is_minimised_in_processes(tmp_path: Path) -> None:
    lines = [
        "import bbopt",
        "f = lambda p: p['x'] ** 2",
        "r = bbopt.minimize(f, {'x': bbopt.Float(-1, 1)}, budget=4, jobs=2, optimizer='random')",
        "print(r.spent.failures)",
    ]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-"],
        input="\n".join(lines),
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


HANGING = """
import os, sys, time
from pathlib import Path
import bbopt

def f(params):
    Path(f"pid-{os.getpid()}").touch()
    time.sleep(3600)

bbopt.minimize(f, {"x": bbopt.Float(-1, 1)}, budget=8, jobs=2, optimizer="random")
"""


def test_a_killed_run_leaves_no_evaluations_behind(tmp_path: Path) -> None:
    process = start(tmp_path, HANGING)
    wait_until(lambda: len(list(tmp_path.glob("pid-*"))) == 2)
    pids = [int(path.name.removeprefix("pid-")) for path in tmp_path.glob("pid-*")]
    process.kill()
    process.communicate()
    wait_until(lambda: not any(is_alive(pid) for pid in pids))


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


INTERRUPTED = """
import sys, time
from pathlib import Path
import bbopt
from doubles_of_runs import Noisy

class Gated(Noisy):
    def evaluate(self, trial, rng):
        if trial.number >= 2:
            Path(f"started-{trial.number}").touch()
            while not Path("go").exists():
                time.sleep(0.01)
        return super().evaluate(trial, rng)

problem = Gated()
try:
    result = bbopt.run(
        problem, "random", 50, jobs=int(sys.argv[1]), storage="x.journal", name="s"
    )
except KeyboardInterrupt:
    print("dropped")
else:
    print(result.stop_reason, result.spent.evaluations, result.spent.failures)
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_finishes_what_runs_and_starts_nothing_more(jobs: int, tmp_path: Path) -> None:
    process = start(tmp_path, INTERRUPTED, jobs)
    wait_until(lambda: len(list(tmp_path.glob("started-*"))) == jobs)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to workers too
    assert process.stderr is not None
    assert "finishing" in process.stderr.readline()
    (tmp_path / "go").touch()
    out, err = process.communicate(timeout=120)
    assert (out.split(), err) == (["interrupted", str(2 + jobs), "0"], "")
    assert finished(tmp_path) == list(range(2 + jobs))


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_second_ctrl_c_drops_what_runs_as_if_it_had_been_killed(
    jobs: int, tmp_path: Path
) -> None:
    process = start(tmp_path, INTERRUPTED, jobs)
    wait_until(lambda: len(list(tmp_path.glob("started-*"))) == jobs)
    assert process.stderr is not None
    os.killpg(process.pid, signal.SIGINT)
    assert "once more drops them" in process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=120)
    assert out.split() == ["dropped"]
    assert finished(tmp_path) == [0, 1]  # and those dropped are no failures
    (tmp_path / "go").touch()
    script = (tmp_path / "script.py").read_text().replace('name="s"', 'name="s", resume=True')
    process = start(tmp_path, script, 1)
    out, err = process.communicate(timeout=120)
    assert (out.split(), err) == (["evaluations", "50", "0"], "")


def finished(folder: Path) -> list[int]:
    from bbopt.running.studies import read_study

    rows = read_study(folder / "x.journal", "s").rows
    return sorted(row.key[1] for row in rows if row.outcome is not None)


FORKING = """
import multiprocessing
import bbopt

def square(x):
    return x * x

def f(params):
    with multiprocessing.get_context("fork").Pool(2) as pool:  # ends its processes by SIGTERM
        return sum(pool.map(square, [params["x"]] * 4))

result = bbopt.minimize(f, {"x": bbopt.Float(-1, 1)}, budget=3, optimizer="random")
print(result.spent.failures)
"""


def test_an_evaluation_may_have_children_and_end_them(tmp_path: Path) -> None:
    process = start(tmp_path, FORKING)
    out, err = process.communicate(timeout=120)
    assert (out, err) == ("0\n", "")

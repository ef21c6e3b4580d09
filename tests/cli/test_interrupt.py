import json
import os
import shlex
import signal
import subprocess
import sys
import time

import pytest

BBOPT = [sys.executable, "-m", "bbopt"]


def start(words: list[str], folder, **environment: str) -> subprocess.Popen[str]:
    """A run in a process group of its own, as a shell starts it."""
    return subprocess.Popen(
        [*BBOPT, *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | environment,
    )


def wait_for_lines(path, n: int, process: subprocess.Popen[str]) -> None:
    """Until the file has n lines; fails if the process ends before."""
    while not (path.exists() and path.read_text().count("\n") >= n):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.parametrize("how", ["--jobs 1", "--jobs 2 --in-flight 2"])
def test_ctrl_c_finishes_cleanly_and_the_line_that_it_prints_goes_on(oven, tmp_path, how):
    words = f"run {oven}:Oven --optimizer random --budget 14 --seed 3 {how}".split()
    slow = ["--with", "seconds=0.05", "--with", "log=baked.txt"]
    stored = [*words, *slow, "--storage", "runs.journal", "--trace", "trace.csv", "--json"]
    run = start(stored, tmp_path)
    wait_for_lines(tmp_path / "baked.txt", 5, run)
    os.killpg(run.pid, signal.SIGINT)  # a terminal sends it to every process of the group
    stdout, stderr = run.communicate()
    assert run.returncode == 1
    interrupted = json.loads(stdout)
    assert interrupted["stop_reason"] == "interrupted"
    baked = len((tmp_path / "baked.txt").read_text().split())
    assert 5 <= interrupted["evaluations"] == baked < 14  # what ran was finished and told
    assert interrupted["failures"] == 0

    said = stderr.splitlines()[-1]
    before, _, line = said.partition("go on with: ")
    assert before == "bbopt: interrupted: "
    line = shlex.split(line)
    assert line[:3] == ["python", "-m", "bbopt"]
    resumed = start(line[3:], tmp_path)
    assert json.loads(resumed.communicate()[0])["evaluations"] == 14

    whole = start([*words, "--with", "log=", "--trace", "whole.csv"], tmp_path)
    whole.communicate()
    assert (tmp_path / "trace.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert len((tmp_path / "baked.txt").read_text().split()) == 14  # none was evaluated twice


def test_ctrl_c_without_a_storage_says_that_nothing_can_go_on(oven, tmp_path):
    words = f"run {oven}:Oven --optimizer random --budget 999 --with log=baked.txt".split()
    run = start([*words, "--with", "seconds=0.02"], tmp_path)
    wait_for_lines(tmp_path / "baked.txt", 2, run)
    run.send_signal(signal.SIGINT)
    stdout, stderr = run.communicate()
    assert run.returncode == 1
    assert "best value" in stdout
    assert stderr.splitlines()[-1] == (
        "bbopt: interrupted: nothing is stored; with --storage, the run could go on"
    )


def test_a_second_ctrl_c_drops_what_runs_and_keeps_what_is_stored(oven, tmp_path):
    words = f"run {oven}:Oven --optimizer random --budget 3 --storage runs.journal".split()
    run = start([*words, "--with", "seconds=60", "--with", "log=baked.txt"], tmp_path)
    wait_for_lines(tmp_path / "baked.txt", 1, run)
    run.send_signal(signal.SIGINT)
    for line in run.stderr:
        if "once more drops them" in line:
            break
    run.send_signal(signal.SIGINT)
    stdout, stderr = run.communicate()
    assert (run.returncode, stdout) == (1, "")
    assert stderr.splitlines()[-1].startswith("bbopt: aborted: go on with: python -m bbopt run ")
    assert stderr.splitlines()[-1].endswith(" --resume")


def test_a_password_is_not_printed(monkeypatch):
    from bbopt.running.identity import command_line

    monkeypatch.setattr(
        sys, "argv", ["/usr/bin/bbopt", "run", "--storage", "postgresql://me:secret@host/db", "a b"]
    )
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    line = command_line()
    assert line == "bbopt run --storage 'postgresql://me:***@host/db' 'a b'"


def test_the_command_line_of_a_script_is_python_and_its_path(monkeypatch):
    from bbopt.running.identity import command_line

    monkeypatch.setattr(sys, "argv", ["examples/tune.py", "--fast"])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    assert command_line() == "python examples/tune.py --fast"

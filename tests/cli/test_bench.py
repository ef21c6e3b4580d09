import csv
import os
import signal
import subprocess
import sys
import time

import pytest

SUITE = """
title = "Tiny"
[sizes.quick]
seeds = 1
budget = 5
[sizes.default]
seeds = 4
budget = 60
[[problems]]
name = "synthetic/branin"
label = "branin"
with = { noise = 1.0 }
[[optimizers]]
name = "random"
[[optimizers]]
name = "optuna:tpe"
label = "TPE"
"""
TIMES = ("seconds", "overhead_seconds")


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(SUITE)
    return path


def without_times(path):
    with path.open(newline="") as file:
        return [
            {name: value for name, value in row.items() if name not in TIMES}
            for row in csv.DictReader(file)
        ]


def test_bench_and_report_end_with_the_path_of_a_page(bbopt, suite, tmp_path):
    done = bbopt("bench", suite, "--quick")
    assert done.exit_code == 0
    assert done.stdout == "2 done: runs/tiny-quick\n"
    assert "[1/2] branin, 5 evaluations, random, seed 0: " in done.stderr
    found = bbopt("report")
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout.splitlines()[-1] == "runs/tiny-quick/report.html"
    assert (tmp_path / "runs/tiny-quick/report.html").read_text().startswith("<!DOCTYPE html>")
    assert len(without_times(tmp_path / "runs/tiny-quick/cells.csv")) == 2


def test_a_label_with_a_comma_can_be_chosen(bbopt, tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(SUITE.replace('label = "TPE"', 'label = "TPE, as it comes"'))
    done = bbopt("bench", path, "--quick", "--optimizers", "sobol,TPE, as it comes,random")
    assert done.stdout == "3 done: runs/tiny-quick\n"
    rows = without_times(tmp_path / "runs/tiny-quick/cells.csv")
    assert [row["optimizer"] for row in rows] == ["sobol", "TPE, as it comes", "random"]


def test_the_same_command_runs_nothing_twice_and_a_wider_one_adds(bbopt, suite):
    words = ("bench", suite, "--quick", "--out", "there", "--jobs", 2)
    assert bbopt(*words, "--optimizers", "TPE").stdout == "1 done: there\n"
    again = bbopt(*words, "--optimizers", "TPE, sobol")
    assert again.stdout == "2 done: there\n"
    assert "1 of 2 runs are there already" in again.stderr
    assert "TPE" not in again.stderr
    assert bbopt("-q", *words, "--seeds", 2).stderr == ""


def with_table(path):
    """The suite with a table in place of Branin's function."""
    return SUITE.replace("synthetic/branin", "hpo/table").replace(
        "with = { noise = 1.0 }", f'with = {{ path = "{path}" }}'
    )


def test_data_that_is_not_there_is_a_reason_to_skip(bbopt, suite):
    suite.write_text(with_table("missing.csv"))
    done = bbopt("bench", suite, "--quick", "--out", "there")
    assert done.exit_code == 0
    assert done.stdout == "2 skipped: there\n"
    assert "bbopt: skipped: TPE on branin: path: no such file: missing.csv" in done.stderr


def test_a_failed_run_is_told_and_makes_the_command_fail(bbopt, suite):
    table = suite.with_name("broken.csv")
    table.write_text("x,value\n1,much\n")
    suite.write_text(with_table(table))
    done = bbopt("bench", suite, "--quick", "--out", "there")
    assert done.exit_code == 1
    assert done.stdout == "2 failed: there\n"
    assert "bbopt: failed: TPE on branin: UsageError: " in done.stderr
    nothing = subprocess.run(
        [sys.executable, "-m", "bbopt.cli", "report", "there"], capture_output=True, text=True
    )
    assert nothing.returncode == 2
    assert "bbopt: error: nothing to report in 'there': no run gave a value" in nothing.stderr
    assert len(nothing.stderr.splitlines()) == 1


@pytest.mark.parametrize("jobs", [1, 2])
def test_problems_of_the_users_own_are_compared_on(bbopt, oven, suite, jobs):
    baking = SUITE.replace("synthetic/branin", f"{oven}:Oven").replace("noise = 1.0", "seconds = 0")
    suite.write_text(baking)
    done = bbopt("bench", suite, "--quick", "--out", "there", "--jobs", jobs)
    assert (done.exit_code, done.stdout) == (0, "2 done: there\n")


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        ("FILE:Ofen", "oven.py has no 'Ofen'; problems in it may be: Oven, "),
        ("FILE:number", "oven.py:number' must be a Problem or build one, got 7"),
        ("FILE:Oven", "unexpected keyword argument 'noise'"),
        ("nowhere.py:Oven", "problem: no such file: nowhere.py"),
    ],
)
def test_what_is_wrong_with_the_users_own_is_said_before_anything_is_run(
    bbopt, oven, suite, problem, message
):
    suite.write_text(SUITE.replace("synthetic/branin", problem.replace("FILE", str(oven))))
    done = bbopt("bench", suite, "--quick", "--out", "there")
    assert done.exit_code == 2
    assert "suite '" in done.stderr
    assert message in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["bench", "dem"], "unknown suite 'dem': did you mean demo?"),
        (["bench", "demo", "--optimizers", "sobbol"], "unknown optimizer 'sobbol'"),
        (["bench", "demo", "--optimizers", "a,,b"], "--optimizers must be names"),
        (["bench", "demo", "--seeds", "0"], "0 is not in the range x>=1"),
        (["bench", "demo", "--jobs", "0"], "0 is not in the range x>=1"),
        (["bench", "demo", "--quick", "--full"], "--quick and --full are two sizes: give one"),
        (["report", "nowhere"], "no bench in 'nowhere': it has no file bench.json"),
        (["report"], "no bench in 'runs': name the folder of one"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(tmp_path, words, message):
    done = subprocess.run(
        [sys.executable, "-m", "bbopt.cli", *words], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def start(suite, out):
    command = [sys.executable, "-m", "bbopt.cli", "bench", str(suite), "--jobs", "2"]
    return subprocess.Popen([*command, "--out", str(out)], stderr=subprocess.PIPE, text=True)


def n_finished(out):
    return len(list((out / "cells").glob("*.json")))


def test_a_bench_killed_and_started_again_writes_the_same_files_but_for_times(suite, tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    unbroken = start(suite, whole)
    unbroken.communicate()
    assert unbroken.returncode == 0
    process = start(suite, broken)
    while n_finished(broken) < 3:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    n_before = n_finished(broken)
    assert n_before < 8, "the kill came too late to mean anything"
    assert not (broken / "cells.csv").exists()
    again = start(suite, broken)
    _, said = again.communicate()
    assert again.returncode == 0
    assert f"{n_before} of 8 runs are there already" in said
    for name in ("cells.csv", "incumbents.csv"):
        assert without_times(broken / name) == without_times(whole / name)
    assert len(without_times(whole / "cells.csv")) == 8


def test_ctrl_c_keeps_what_is_finished_and_says_how_to_go_on(suite, tmp_path):
    out = tmp_path / "out"
    suite.write_text(SUITE.replace("budget = 60", "budget = 100000"))
    process = start(suite, out)
    while not (out / "bench.json").exists():
        time.sleep(0.01)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 1
    assert "bbopt: interrupted: what is finished is kept; go on with: " in said
    assert "Traceback" not in said

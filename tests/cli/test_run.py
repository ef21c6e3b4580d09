import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import bbopt as package
from bbopt.cli.messages import complain
from bbopt.errors import StorageError
from bbopt.running.auto import NUMERIC
from bbopt.running.storage import StudyLog
from bbopt.running.studies import read_study

FIELDS = """problem optimizer seed best_value best_stderr best_count best_params true_value
evaluations unique switches failures llm_calls tokens cost seconds overhead_seconds stop_reason"""
BRANIN = ("run", "synthetic/branin", "--optimizer", "random")


def test_json_is_one_object_with_what_the_run_found_and_spent(bbopt_json):
    got = bbopt_json(*BRANIN, "--with", "noise=0.3", "--budget", 12, "--seed", 5, "--json")
    assert set(FIELDS.split()) <= got.keys()
    assert (got["problem"], got["optimizer"], got["seed"]) == ("synthetic/branin", "random", 5)
    assert (got["evaluations"], got["unique"], got["switches"]) == (12, 12, 11)
    assert (got["failures"], got["llm_calls"], got["cost"]) == (0, 0, 0)
    assert got["stop_reason"] == "evaluations"
    assert got["best_params"].keys() == {"x1", "x2"}
    assert abs(got["best_value"] - got["true_value"]) < 0.3 * 6  # six standard deviations


def test_the_numbers_are_those_of_the_library(bbopt_json):
    got = bbopt_json(*BRANIN, "--budget", 9, "--confirm", 0.3, "--with", "noise=1", "--json")
    problem = package.problem("synthetic/branin", noise=1)
    expected = package.run(problem, "random", 9, confirm=0.3).to_json()
    for field in ("seconds", "overhead_seconds"):
        got.pop(field)
        expected.pop(field)
    assert got == expected


def test_auto_takes_the_method_that_fits_the_space(bbopt_json):
    got = bbopt_json("run", "synthetic/branin", "--budget", 3, "--json")
    assert got["optimizer"] == NUMERIC


def test_settings_reach_the_optimizer(bbopt, tmp_path):
    words = ["run", "synthetic/branin", "--optimizer", "optuna:tpe", "--budget", 3]
    bbopt(*words, "--set", "n_startup_trials=2", "--storage", "runs.journal", "--name", "a")
    worker = read_study(tmp_path / "runs.journal", "a").workers[0]
    assert worker["settings"]["n_startup_trials"] == 2


def test_the_trace_has_a_line_a_trial(bbopt, tmp_path):
    bbopt(*BRANIN, "--budget", 7, "--trace", "trace.csv")
    rows = list(csv.DictReader((tmp_path / "trace.csv").read_text().splitlines()))
    assert [int(row["number"]) for row in rows] == list(range(7))
    best = [float(row["best_value"]) for row in rows]
    assert best == sorted(best, reverse=True)


@pytest.mark.parametrize("optimizer", ["random", "optuna:tpe"])
def test_with_in_flight_the_trace_is_the_same_for_any_number_of_jobs(
    bbopt, oven, tmp_path, optimizer
):
    words = ["run", f"{oven}:Oven", "--optimizer", optimizer, "--budget", 14, "--in-flight", 2]
    for jobs in (1, 2):
        result = bbopt(*words, "--jobs", jobs, "--trace", f"{jobs}.csv")
        assert result.exit_code == 0
    assert (tmp_path / "1.csv").read_bytes() == (tmp_path / "2.csv").read_bytes()


def test_the_summary_says_what_was_found_and_how_to_go_on(bbopt, oven):
    result = bbopt(
        "run", f"{oven}:Oven", "--optimizer", "sobol", "--budget", 20, "--storage", "runs.journal"
    )
    assert result.exit_code == 0
    said = {line[2:17].strip(): line[17:] for line in result.stdout.splitlines()[1:]}
    assert result.stdout.splitlines()[0] == "oven.py:Oven, maximized by sobol"
    assert float(said["best value"]) > -30
    assert "improved by" in said["initial value"]
    assert said["best params"].startswith("heat = 2")
    assert said["evaluations"] == "20 (20 different)"
    assert said["stored"] == "study 'oven.py:Oven' in runs.journal"
    assert said["go on"] == "with a larger --budget and --resume"


def test_what_evaluations_print_is_not_in_the_result(bbopt, oven):
    result = bbopt("run", f"{oven}:Oven", "--optimizer", "random", "--budget", 3, "--json")
    assert json.loads(result.stdout)["evaluations"] == 3
    assert result.stderr == "baking 0\nbaking 1\nbaking 2\n"


def test_not_even_what_other_processes_print(oven):
    words = f"run {oven}:Oven --optimizer random --budget 3 --jobs 2 --json".split()
    done = subprocess.run(
        [sys.executable, "-m", "bbopt", *words], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["evaluations"] == 3
    assert done.stderr.count("baking") == 3


def test_a_run_without_any_value_fails_and_says_why(bbopt, oven):
    words = ["run", f"{oven}:Oven", "--with", "fail=true", "--optimizer", "random", "--budget", 4]
    result = bbopt("-q", *words, "--json")
    assert result.exit_code == 1
    got = json.loads(result.stdout)
    assert (got["best_value"], got["best_params"], got["failures"]) == (None, None, 4)
    assert result.stderr.splitlines()[-1] == (
        "bbopt: error: no evaluation gave a candidate that can be used; "
        "the last error: ValueError: burnt"
    )


def test_too_many_failures_fail_the_run(bbopt, oven):
    words = ["run", f"{oven}:Oven", "--with", "fail=true", "--optimizer", "random", "--budget", 9]
    result = bbopt(*words, "--max-failures", 1)
    assert result.exit_code == 1
    assert "bbopt: error: stopped after 2 failed trials" in result.stderr


def test_goals_and_limits_end_the_run(bbopt_json):
    got = bbopt_json(*BRANIN, "--budget", 500, "--target", 5, "--json")
    assert got["stop_reason"] == "target"
    assert got["best_value"] <= 5
    got = bbopt_json(*BRANIN, "--budget", 500, "--patience", 3, "--json")
    assert got["stop_reason"] == "patience"
    got = bbopt_json(*BRANIN, "--budget", "evaluations=500,switches=4", "--json")
    assert (got["stop_reason"], got["switches"]) == ("switches", 4)


# --- bad input -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run synthetic/brannin --budget 5", "unknown problem 'synthetic/brannin': did you mean"),
        ("run synthetic/branin --optimizer optuna:tpa --budget 5", "did you mean optuna:tpe"),
        ("run synthetic/branin --budget 0", "budget evaluations must be an integer >= 1, got 0"),
        ("run synthetic/branin --budget -1", "budget evaluations must be an integer >= 1, got -1"),
        ("run synthetic/branin --budget ten", "budget evaluations must be a number, got 'ten'"),
        ("run synthetic/branin --budget time=3", "budget: unknown axis 'time'"),
        ("run synthetic/branin --budget 5 --jobs 0", "jobs must be an integer >= 1, got 0"),
        ("run synthetic/branin --budget 5 --in-flight 0", "in_flight must be an integer >= 1"),
        ("run synthetic/branin --budget 5 --seed -1", "seed must be an integer >= 0, got -1"),
        ("run synthetic/branin --budget 5 --worker -1", "worker must be an integer >= 0, got -1"),
        ("run synthetic/branin --budget 5 --confirm 1.5", "confirm must be in [0, 1), got 1.5"),
        ("run synthetic/branin --budget 5 --target nan", "target must be a finite number, got nan"),
        ("run synthetic/branin --budget 5 --timeout 0", "evaluation_timeout must be > 0 seconds"),
        ("run synthetic/branin --budget 5 --with loud=1", "has no argument 'loud'"),
        ("run synthetic/branin --budget 5 --with noise=nan", "got 'nan'"),
        ("run synthetic/branin --budget 5 --with noise", "--with must be KEY=VALUE, got 'noise'"),
        ("run synthetic/branin --budget 5 --set n_startup_trials=-1", "must be an integer >= 0"),
        ("run synthetic/branin --budget 5 --set speed=9", "has no setting 'speed'; allowed are"),
        ("run synthetic/branin --budget 5 --name a", "--name needs --storage"),
        ("run synthetic/branin --budget 5 --resume", "--resume needs --storage"),
        ("run synthetic/branin --budget 5 --warm-start no.csv", "warm start no.csv: "),
        ("run synthetic/branin --budget 5 --trace no/t.csv", "--trace no/t.csv: no such folder"),
        ("run synthetic/branin --budget 5 --trace .", "--trace .: this is a folder"),
        ("run synthetic/branin --budget 5 --llm gpt", "--llm"),
        ("run synthetic/branin --budget 5 --price 1/2", "--price"),
        ("run OVEN:Prompt --optimizer random --budget 5", "cannot handle parameter 'prompt' of"),
        ("run OVEN:Prompt --optimizer cma --budget 5", "kind 'text': it supports categorical"),
    ],
)
def test_bad_input_is_one_line_exit_code_2_and_leaves_nothing(bbopt, oven, tmp_path, words, said):
    before = sorted(tmp_path.iterdir())
    words = words.replace("OVEN", str(oven)).split()
    if not {"--name", "--resume"} & {*words}:
        words += ["--storage", "new.journal"]
    result = bbopt(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("bbopt: error: ")
    assert said in result.stderr
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("llm", ["none", "proposer=none"])
def test_no_language_model_may_be_asked_for(bbopt_json, llm):
    assert bbopt_json(*BRANIN, "--budget", 2, "--llm", llm, "--json")["llm_calls"] == 0


def test_nothing_is_evaluated_when_the_trace_could_not_be_written(bbopt, oven, tmp_path):
    words = ["run", f"{oven}:Oven", "--with", "log=baked.txt", "--optimizer", "random"]
    assert bbopt(*words, "--budget", 3, "--trace", "no/trace.csv").exit_code == 2
    assert not (tmp_path / "baked.txt").exists()


def test_a_trace_that_cannot_be_written_after_all_loses_no_result(bbopt, monkeypatch):
    def full(self, path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bbopt.running.result.Result.to_csv", full)
    result = bbopt(*BRANIN, "--budget", 3, "--trace", "trace.csv", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["evaluations"] == 3
    assert result.stderr == "bbopt: error: --trace trace.csv: No space left on device\n"


# --- storage ---------------------------------------------------------------------------


def test_an_existing_study_is_continued_only_with_resume(bbopt, bbopt_json):
    words = [*BRANIN, "--storage", "runs.journal", "--name", "a"]
    bbopt_json(*words, "--budget", 4, "--json")
    stored = read_study("runs.journal", "a").rows
    refused = bbopt(*words, "--budget", 6)
    assert refused.exit_code == 2
    assert "study 'a' exists already in runs.journal" in refused.stderr
    assert "--resume" in refused.stderr
    assert read_study("runs.journal", "a").rows == stored
    assert bbopt_json(*words, "--budget", 6, "--resume", "--json")["evaluations"] == 6


@pytest.mark.parametrize("storage", ["runs.journal", "sqlite:///runs.db"])
def test_a_resumed_run_has_the_seed_that_it_started_with(bbopt, bbopt_json, tmp_path, storage):
    words = ["run", "synthetic/branin", "--optimizer", "optuna:tpe", "--set", "n_startup_trials=2"]
    stored = ["--storage", storage, "--resume", "--json"]
    bbopt_json(*words, *stored, "--budget", 5, "--seed", 3)
    got = bbopt_json(*words, *stored, "--budget", 9, "--trace", "broken.csv")
    assert got["seed"] == 3
    bbopt(*words, "--budget", 9, "--seed", 3, "--trace", "whole.csv")
    assert (tmp_path / "broken.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (["--seed", 8], "was started with seed 7, got 8"),
        (["--optimizer", "sobol"], "was started with optimizer 'random', got 'sobol'"),
        (["--with", "noise=2"], "was started with arguments {}, got {'noise': 2}"),
    ],
)
def test_a_study_is_not_continued_as_another_one(bbopt, change, said):
    words = [*BRANIN, "--storage", "runs.journal", "--resume"]
    bbopt(*words, "--budget", 4, "--seed", 7)
    result = bbopt(*words, "--budget", 6, *change)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize("content", [b"number,value\n1,2\n", b"\x00\xff" * 50, b"{}\n"])
def test_a_file_that_is_no_storage_fails_the_run_and_is_left_alone(bbopt, tmp_path, content):
    (tmp_path / "results").write_bytes(content)
    result = bbopt(*BRANIN, "--budget", 4, "--storage", "results", "--resume")
    assert result.exit_code == 1
    assert result.stderr == "bbopt: error: results is not a journal file, and is left alone\n"
    assert (tmp_path / "results").read_bytes() == content


@pytest.mark.parametrize("storage", ["sqlite:////proc/no/runs.db", "nosuchdb://host/db"])
def test_a_storage_that_cannot_be_opened_is_named(bbopt, storage):
    result = bbopt(*BRANIN, "--budget", 4, "--storage", storage)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"bbopt: error: storage {storage}: ")


def test_a_storage_that_fails_on_the_way_keeps_what_was_evaluated(bbopt, bbopt_json, monkeypatch):
    words = [*BRANIN, "--storage", "runs.journal", "--resume", "--budget", 8]
    create = StudyLog.create

    def fail_later(self, trial, **place):
        if trial.number == 5:
            raise StorageError("the disk is full")
        return create(self, trial, **place)

    with monkeypatch.context() as patch:
        patch.setattr("bbopt.running.storage.StudyLog.create", fail_later)
        result = bbopt(*words)
    assert (result.exit_code, result.stderr) == (1, "bbopt: error: the disk is full\n")
    assert read_study("runs.journal", "synthetic/branin").spent.evaluations == 5
    resumed, whole = bbopt_json(*words, "--json"), bbopt_json(*BRANIN, "--budget", 8, "--json")
    assert resumed["best_params"] == whole["best_params"]
    assert resumed["evaluations"] == 8


def test_a_damaged_snapshot_is_said_and_replayed(bbopt, tmp_path):
    words = ["run", "synthetic/branin", "--optimizer", "optuna:tpe", "--set", "n_startup_trials=2"]
    stored = [*words, "--storage", "runs.journal", "--resume", "--trace", "broken.csv"]
    bbopt(*stored, "--budget", 6)
    (snapshot,) = tmp_path.glob("runs.journal.bbopt/*.snapshot")
    snapshot.write_bytes(snapshot.read_bytes()[:-1])
    result = bbopt(*stored, "--budget", 9)
    assert result.exit_code == 0
    assert result.stderr == (
        f"bbopt: warning: snapshot runs.journal.bbopt/{snapshot.name} is damaged: "
        "replaying the log instead\n"
    )
    bbopt(*words, "--budget", 9, "--trace", "whole.csv")
    assert (tmp_path / "broken.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_earlier_results_start_a_run(bbopt, bbopt_json):
    bbopt(*BRANIN, "--budget", 6, "--trace", "earlier.csv")
    lost = bbopt_json(*BRANIN, "--budget", 1, "--seed", 9, "--json")
    kept = bbopt_json(*BRANIN, "--budget", 1, "--seed", 9, "--warm-start", "earlier.csv", "--json")
    assert kept["evaluations"] == 1
    assert kept["best_value"] < lost["best_value"]


def test_a_message_keeps_its_spaces_and_loses_its_lines(capsys):
    complain("error", "go on with: bbopt run 'a  b'\n   and more")
    assert capsys.readouterr().err == "bbopt: error: go on with: bbopt run 'a  b' and more\n"


# --- other processes -------------------------------------------------------------------

MPIRUN = Path(sys.executable).with_name("mpirun")


@pytest.mark.mpi
@pytest.mark.skipif(not MPIRUN.exists(), reason="no mpirun beside the interpreter")
def test_under_mpirun_one_run_is_carried_out_and_one_result_printed(oven):
    words = f"run {oven}:Oven --optimizer random --budget 6 --json".split()
    alone = subprocess.run(
        [sys.executable, "-m", "bbopt", *words], capture_output=True, text=True, check=True
    )
    ranks = subprocess.run(
        [MPIRUN, "-n", "2", sys.executable, "-m", "bbopt", *words],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    ours, theirs = json.loads(ranks.stdout), json.loads(alone.stdout)
    assert ours["best_value"] == theirs["best_value"]
    assert ours["evaluations"] == 6


@pytest.mark.mpi
@pytest.mark.skipif(not MPIRUN.exists(), reason="no mpirun beside the interpreter")
def test_under_mpirun_an_error_is_said_once():
    words = [sys.executable, "-m", "bbopt", "run", "synthetic/branin", "--budget", "0"]
    done = subprocess.run([MPIRUN, "-n", "2", *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("bbopt: error:") == 1


def test_a_broken_proposer_is_an_error_that_says_what_is_wrong(bbopt, oven):
    oven.write_text(
        oven.read_text()
        + """
class Writing(Prompt):
    propose = None
    def evaluate(self, trial, rng):
        return rng.random(trial.repeats)

def stubborn():
    problem = Writing()
    problem.propose = lambda params, feedback, rng: params["bread"]
    return problem

def mute():
    problem = Writing()
    problem.propose = "as you like"
    return problem
"""
    )
    result = bbopt("run", f"{oven}:stubborn", "--budget", 500, "--optimizer", "best-of-n")
    assert result.exit_code == 1
    assert result.stderr.count("KeyError: 'bread'") == 1
    assert "bbopt: error: of all that was proposed nothing could be used" in result.stderr
    result = bbopt("run", f"{oven}:mute", "--budget", 500, "--storage", "new.journal")
    assert result.exit_code == 2
    assert "must be callable" in result.stderr
    assert not (oven.parent.parent / "new.journal").exists()


AGREEING = """
import bbopt

class Agreeing(bbopt.Problem):
    spec = bbopt.Spec(
        space=bbopt.Space({"p": bbopt.Int(0, 3, initial=0)}), direction="maximize",
        deterministic=False,
    )
    def __init__(self, slope: float = 0.0) -> None:
        self.slope = slope
    def evaluate(self, trial, rng):
        return -self.slope * trial.params["p"]

class Odd(bbopt.Problem):
    spec = bbopt.Spec(space=bbopt.Space({"p": bbopt.Text("a\\nb")}), direction="maximize")
    def evaluate(self, trial, rng):
        return float("\\udc80" in trial.params["p"])
    def propose(self, params, feedback, rng):
        return {"p": params["p"] + "\\udc80"}
"""


@pytest.fixture
def agreeing(tmp_path):
    path = tmp_path / "agreeing.py"
    path.write_text(AGREEING)
    return path


def test_values_that_agree_by_chance_are_not_called_exact_and_no_zero_is_negative(
    bbopt, agreeing
) -> None:
    result = bbopt("run", f"{agreeing}:Agreeing", "--budget", 12, "--confirm", 0.4, "--json")
    found = json.loads(result.stdout)
    assert str(found["best_value"]) == str(found["initial_value"]) == "0.0"
    result = bbopt("run", f"{agreeing}:Agreeing", "--budget", 12, "--confirm", 0.4)
    said = {line[2:17].strip(): line[17:] for line in result.stdout.splitlines()[1:]}
    assert said["best value"] == "0 (evaluated 5 times)"
    assert said["initial value"].split()[0] == "0"


def test_where_nothing_beats_the_initial_params_the_summary_says_so(bbopt, agreeing) -> None:
    words = ("run", f"{agreeing}:Agreeing", "--with", "slope=1", "--budget", 12)
    assert "initial value  0 (the initial params are the best)\n" in bbopt(*words).stdout


def test_texts_that_no_file_takes_are_escaped_in_summary_and_trace(bbopt, agreeing) -> None:
    result = bbopt(
        "run", f"{agreeing}:Odd", "--optimizer", "polca", "--budget", 12, "--trace", "t.csv"
    )
    assert (result.exit_code, result.stderr) == (0, "")
    assert "b\\udc80" in result.stdout
    assert "b\\udc80" in (agreeing.parent / "t.csv").read_text(encoding="utf-8")


def test_an_unknown_sandbox_is_named_as_such(bbopt) -> None:
    result = bbopt("run", "program/bin-packing", "--with", "sandbox=foo", "--budget", 3)
    assert result.exit_code == 2
    assert result.stderr.startswith("bbopt: error: sandbox level must be one of 'auto', ")


@pytest.mark.parametrize("words", ["synthetic/branin --optimizer random", "text/rulebook"])
def test_a_budget_that_only_a_model_spends_needs_one(bbopt, words):
    result = bbopt("run", *words.split(), "--budget", "llm_calls=3")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "budget llm_calls: 10 trials spent nothing of it" in result.stderr
    assert "the run would never end; give a model (llm, --llm)" in result.stderr

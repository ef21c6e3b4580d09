import json
import os
import signal
import subprocess
import sys
import time

import optuna
import pytest

TEA = """
direction = "maximize"
objective = "Taste."
[minutes]
kind = "float"
low = 1
high = 8
[leaf]
kind = "categorical"
choices = ["green", "black"]
"""
STUDY = ("--storage", "lab.journal", "--name", "tea")


@pytest.fixture
def tea(tmp_path):
    (tmp_path / "tea.toml").write_text(TEA)
    return ("--space", "tea.toml")


@pytest.fixture
def ask(bbopt_json):
    return lambda *words: bbopt_json("ask", *STUDY, *words)


@pytest.fixture
def tell(bbopt_json):
    return lambda *words: bbopt_json("tell", *STUDY, *words)["best"]


def taste(params) -> float:
    return -((params["minutes"] - 3) ** 2) - (params["leaf"] == "black")


def test_asked_trials_are_json_with_number_params_repeats_and_context(ask, tea):
    trials = ask(*tea, "-n", 2)
    assert [trial["number"] for trial in trials] == [0, 1]
    assert all(trial.keys() == {"number", "params", "repeats", "context"} for trial in trials)
    assert all(trial["params"].keys() == {"minutes", "leaf"} for trial in trials)


def test_results_may_come_in_any_order_and_the_best_is_told_back(ask, tell, tea):
    trials = ask(*tea, "-n", 3)
    assert tell(2, 5.5)["params"] == trials[2]["params"]
    assert tell(0, -7)["value"] == 5.5
    assert tell(1, "8e0") == {
        "params": trials[1]["params"],
        "value": 8.0,
        "stderr": None,
        "count": 1,
    }


def test_what_is_open_can_be_printed_again(ask, tell, tea):
    trials = ask(*tea, "-n", 3)
    tell(1, 0.5)
    assert ask("--open") == [trials[0], trials[2]]


def test_the_study_remembers_space_direction_optimizer_settings_and_seed(
    bbopt_json, ask, tell, tea
):
    words = ["--optimizer", "optuna:tpe", "--set", "n_startup_trials=3", "--seed", 11]
    (first,) = ask(*tea, *words)
    tell(first["number"], 1)
    ask()
    shown = bbopt_json("show", "lab.journal", "--name", "tea", "--json")
    assert shown["direction"] == "maximize"
    worker = shown["workers"]["0"]
    assert (worker["optimizer"], worker["seed"]) == ("optuna:tpe", 11)
    assert worker["settings"]["n_startup_trials"] == 3


def test_by_hand_the_trials_are_those_of_the_loop(bbopt, ask, tell, tea, tmp_path):
    """One ask and one tell at a time, each a command: what ``bbopt run`` does in one go."""
    words = ["--optimizer", "optuna:tpe", "--set", "n_startup_trials=3"]
    asked = []
    for _ in range(8):
        (trial,) = ask(*tea, *words)
        asked.append(trial["params"])
        tell(trial["number"], taste(trial["params"]))
    (tmp_path / "tea.py").write_text(
        "from bbopt.function import FunctionProblem\n"
        "from bbopt import Categorical, Float\n"
        "space = {'minutes': Float(1, 8), 'leaf': Categorical(['green', 'black'])}\n"
        "def taste(p): return -((p['minutes'] - 3) ** 2) - (p['leaf'] == 'black')\n"
        "problem = FunctionProblem(taste, space, direction='maximize')\n"
    )
    run = ["run", "tea.py:problem", *words, "--budget", 8, "--storage", "loop.journal"]
    assert bbopt(*run, "--name", "loop").exit_code == 0
    journal = optuna.storages.journal.JournalFileBackend(str(tmp_path / "loop.journal"))
    loop = optuna.load_study(study_name="loop", storage=optuna.storages.JournalStorage(journal))
    assert asked == [trial.params for trial in loop.trials]


def test_a_registered_problem_stands_in_for_a_space(bbopt, bbopt_json, ask, tell):
    (trial,) = ask("--problem", "synthetic/branin", "--with", "noise=0.5")
    assert trial["params"].keys() == {"x1", "x2"}
    tell(0, 3.5)
    assert ask()[0]["number"] == 1
    # the loop can take over: the same problem, the same optimizer; trial 1 is open
    run = ["run", "synthetic/branin", "--with", "noise=0.5", "--budget", 5, "--json"]
    assert bbopt_json(*run, *STUDY, "--resume")["evaluations"] == 5
    assert ask("--open") == []


def test_a_failure_is_told_with_its_reason(bbopt, ask, tell, tea):
    ask(*tea)
    assert tell(0, "--failed", "the kettle broke") is None
    assert "1 times the kettle broke" in bbopt("show", "lab.journal").stdout


def test_nothing_to_do_is_an_empty_list_and_a_note(bbopt, tmp_path):
    (tmp_path / "one.csv").write_text("x,value\n1,2.0\n3,4.0\n")
    words = ["ask", *STUDY, "--problem", "hpo/table", "--with", "path=one.csv"]
    words += ["--optimizer", "random", "-n", 3]
    assert len(json.loads(bbopt(*words).stdout)) == 2  # the rows of the table
    result = bbopt(*words)
    assert (result.exit_code, result.stdout) == (0, "[]\n")
    assert result.stderr == "bbopt: note: no trial: waiting for 0, 1\n"
    for number in (0, 1):
        bbopt("tell", *STUDY, number, 1.0)
    assert bbopt(*words).stderr == "bbopt: note: no trial: nothing is left to try\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["tell", 0, "abc"], "VALUE must be a finite number, got 'abc'"),
        (["tell", 0, "nan"], "VALUE must be a finite number, got nan"),
        (["tell", 0, "-inf"], "VALUE must be a finite number, got -inf"),
        (["tell", 0, 1, 2], "trial 0 has 1 repeats, got 2 values"),
        (["tell", 0], "give the trial's VALUE, or --failed REASON"),
        (["tell", 0, 1, "--failed", "x"], "give VALUE or --failed"),
        (["tell", 1, 3.0], "trial 1 of study 'tea' was told already"),
        (["tell", 7, 3.0], "trial 7 was never asked in study 'tea'; open: 0"),
        (["tell", "-1", 3.0], "NUMBER must be that of a trial, got '-1'"),
        (["tell", "first", 3.0], "NUMBER must be that of a trial, got 'first'"),
        (["ask", "-n", 0], "n must be an integer >= 1, got 0"),
        (["ask", "--optimizer", "sobol"], "was started with optimizer 'random', got 'sobol'"),
        (["ask", "--seed", 5], "was started with seed 0, got 5"),
        (["ask", "--space", "other.toml"], "was started with space"),
        (["ask", "--space", "turned.toml"], "has direction maximize, the problem minimize"),
        (["ask", "--space", "no.toml"], "space file no.toml: No such file"),
        (["ask", "--space", "tea.toml", "--problem", "synthetic/branin"], "exclude each other"),
        (["ask", "--with", "noise=1"], "--problem, which is missing"),
        (["ask", "--set", "speed=1"], "has no setting 'speed'"),
    ],
)
def test_a_wrong_ask_or_tell_is_one_line_and_changes_nothing(
    bbopt, ask, tell, tea, tmp_path, words, said
):
    (tmp_path / "other.toml").write_text(TEA.replace("8", "9"))
    (tmp_path / "turned.toml").write_text(TEA.replace("maximize", "minimize"))
    ask(*tea, "-n", 2, "--optimizer", "random")
    tell(1, 0.5)
    before = bbopt("show", "lab.journal", "--json").stdout
    result = bbopt(words[0], *STUDY, *words[1:])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert said in result.stderr
    assert bbopt("show", "lab.journal", "--json").stdout == before


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["ask"], 2, "study 'tea' is not in lab.journal yet: start it with a space or a problem"),
        (["tell", 0, 1], 1, "storage lab.journal: no such file"),
        (["ask", "--open"], 1, "storage lab.journal: no such file"),
    ],
)
def test_a_study_that_is_not_there_is_named_and_not_made(bbopt, tmp_path, words, code, said):
    result = bbopt(words[0], *STUDY, *words[1:])
    assert result.exit_code == code
    assert said in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_storage_is_left_alone(bbopt, tea, tmp_path):
    (tmp_path / "lab.journal").write_text("my notes")
    for words in (["ask", *STUDY, *tea], ["tell", *STUDY, 0, 1]):
        result = bbopt(*words)
        assert result.exit_code == 1
        assert "lab.journal is not a journal file" in result.stderr
    assert (tmp_path / "lab.journal").read_text() == "my notes"


def start(folder, *words) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bbopt", *map(str, words)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def test_results_told_at_the_same_moment_wait_for_each_other(ask, tea, tmp_path):
    ask(*tea, "-n", 3, "--optimizer", "random")
    tellers = [start(tmp_path, "tell", *STUDY, number, number) for number in range(3)]
    for teller in tellers:
        _, said = teller.communicate()
        assert (teller.returncode, said) == (0, "")
    assert ask("--open") == []


def test_a_killed_ask_or_tell_loses_nothing(ask, tell, tea, tmp_path):
    asked = ask(*tea, "--optimizer", "random")
    for delay in (0.3, 0.5, 0.7):
        killed = start(tmp_path, "ask", *STUDY)
        time.sleep(delay)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
    asked = ask("--open")
    asked += ask("-n", 2)
    assert [trial["number"] for trial in asked] == list(range(len(asked)))
    for trial in asked:
        best = tell(trial["number"], taste(trial["params"]))
    assert best["value"] == max(taste(trial["params"]) for trial in asked)

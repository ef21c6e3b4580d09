import sys

import optuna
import pytest

from bbopt.running.storage import StudyLog
from bbopt.running.studies import read_study
from bbopt.space import Space
from bbopt.spec import Spec

RUN = ("run", "synthetic/branin", "--with", "noise=0.5", "--storage", "runs.journal")


@pytest.fixture
def storage(bbopt, oven, monkeypatch):
    """A storage with three studies, one of them with failures."""
    lines = {
        "a": [*RUN, "--name", "a", "--optimizer", "random", "--budget", 10, "--confirm", 0.4],
        "b": [*RUN, "--name", "b", "--optimizer", "sobol", "--budget", 6, "--seed", 2],
        "c": ["run", f"{oven}:Oven", *RUN[4:], "--name", "c", "--optimizer", "random"],
    }
    lines["c"] += ["--budget", 3, "--with", "fail=true"]
    for line in lines.values():
        monkeypatch.setattr(sys, "argv", ["/usr/bin/bbopt", *map(str, line)])
        monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
        bbopt(*line)
    return "runs.journal"


def test_all_studies_are_listed_in_brief(bbopt, storage):
    lines = [line.split() for line in bbopt("show", storage).stdout.splitlines()]
    assert lines[0] == ["NAME", "PROBLEM", "OPTIMIZER", "TRIALS", "FAILED", "BEST"]
    assert lines[1][:5] == ["a", "synthetic/branin", "random", "7", "0"]
    assert lines[2][:5] == ["b", "synthetic/branin", "sobol", "6", "0"]
    assert lines[3] == ["c", "oven.py:Oven", "random", "3", "3"]


def test_one_study_is_shown_with_best_failures_and_spend(bbopt, storage):
    said = bbopt("show", storage, "--name", "c").stdout
    assert "problem        oven.py:Oven, fail=True" in said
    assert "trials         3: 0 open, 3 failed" in said
    assert "error          3 times ValueError: burnt" in said
    said = bbopt("show", storage, "--name", "a").stdout
    assert "worker 0       random, seed 0" in said
    assert "(evaluated 4 times)" in said


def test_json_agrees_with_what_the_run_said(bbopt, bbopt_json):
    ran = bbopt_json(*RUN, "--optimizer", "random", "--budget", 8, "--json")
    shown = bbopt_json("show", "runs.journal", "--name", "synthetic/branin", "--json")
    assert shown["best"]["value"] == ran["best_value"]
    assert shown["best"]["params"] == ran["best_params"]
    assert shown["best"] == shown["best_observed"]
    assert (shown["evaluations"], shown["trials"], shown["open"]) == (8, 8, 0)
    assert shown["workers"]["0"]["optimizer"] == "random"
    assert shown["arguments"] == {"noise": 0.5}


def test_json_of_a_storage_is_a_list_of_its_studies(bbopt_json, storage):
    assert [study["name"] for study in bbopt_json("show", storage, "--json")] == ["a", "b", "c"]


def test_command_prints_the_line_that_repeats_a_run(bbopt, storage):
    line = bbopt("show", storage, "--name", "b", "--command").stdout
    assert line == f"bbopt {' '.join(RUN)} --name b --optimizer sobol --budget 6 --seed 2\n"
    assert bbopt("show", storage, "--command").stdout.count("\n") == 3


def test_what_a_later_session_found_is_not_hidden_by_the_best_of_an_earlier_one(
    bbopt, bbopt_json, monkeypatch
):
    words = ["run", "synthetic/branin", "--optimizer", "random", "--storage", "runs.journal"]
    first = bbopt_json(*words, "--budget", 2, "--json")
    monkeypatch.setattr(StudyLog, "set_best", lambda log, best: None)  # killed before its end
    later = bbopt_json(*words, "--budget", 40, "--resume", "--json")
    shown = bbopt_json("show", "runs.journal", "--name", "synthetic/branin", "--json")
    assert shown["best"]["value"] == first["best_value"]
    assert shown["best_observed"]["value"] == later["best_value"] < first["best_value"]
    assert "best observed" in bbopt("show", "runs.journal").stdout


def test_earlier_results_are_known_and_not_counted_as_spent(bbopt, bbopt_json, tmp_path):
    (tmp_path / "earlier.csv").write_text("x1,x2,value\n1,2,-50\n3,4,7\n")
    bbopt(*RUN, "--optimizer", "random", "--budget", 3, "--warm-start", "earlier.csv")
    (shown,) = bbopt_json("show", "runs.journal", "--json")
    assert (shown["trials"], shown["evaluations"]) == (5, 3)
    assert shown["best"]["value"] == -50


def test_each_worker_of_a_shared_study_is_shown(bbopt, bbopt_json):
    words = [*RUN, "--optimizer", "random", "--resume"]
    bbopt(*words, "--budget", 3, "--worker", 0)
    bbopt(*words, "--budget", 6, "--worker", 1)  # of the whole study
    (shown,) = bbopt_json("show", "runs.journal", "--json")
    assert list(shown["workers"]) == ["0", "1"]
    assert shown["evaluations"] == shown["trials"] == 6
    assert shown["seconds"] > 0


def test_a_study_of_another_tool_is_counted(bbopt, tmp_path):
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/runs.db", study_name="theirs")
    study.add_trial(optuna.create_trial(value=1.0))
    said = bbopt("show", "sqlite:///runs.db").stdout
    assert said.startswith("theirs\n")
    assert "trials         1\n" in said
    assert bbopt("show", "sqlite:///runs.db", "--command").exit_code == 2


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["no.journal"], 1, "storage no.journal: no such file"),
        (["sqlite:///no.db"], 1, "storage sqlite:///no.db: no such file"),
        (["kitchen/oven.py"], 1, "oven.py is not a journal file, and is left alone"),
        (["runs.journal", "--name", "aa"], 2, "unknown study in runs.journal 'aa': did you mean a"),
    ],
)
def test_what_cannot_be_shown_is_named_and_nothing_is_made(
    bbopt, storage, tmp_path, words, code, said
):
    before = sorted(tmp_path.iterdir())
    result = bbopt("show", *words)
    assert result.exit_code == code
    assert result.stdout == ""
    assert said in result.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_showing_takes_no_worker_number(bbopt, storage, tmp_path):
    """While a run holds the lock of its worker, its study can be shown."""
    spec = Spec(space=Space.from_json(read_study(tmp_path / storage, "a").about["space"]))
    log = StudyLog(tmp_path / storage, "a", spec, worker=0, resume=True)
    try:
        assert bbopt("show", storage, "--name", "a").exit_code == 0
    finally:
        log.close()

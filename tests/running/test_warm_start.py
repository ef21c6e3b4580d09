"""Earlier results are told first, exactly once a study, and cost nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import optuna
import pytest
from conftest import Writes
from doubles_of_runs import MIXED, Chained, ChainedSettings, Crash, Noisy, trace

import bbopt
from bbopt import Problem, Space, Spec
from bbopt.errors import StorageError, UsageError
from bbopt.running.backends import open_storage
from bbopt.running.studies import read_study
from bbopt.running.warm_start import read_warm_start
from bbopt.wrappers import Flaky

SPACE = Space(
    {
        "x": bbopt.Float(0, 1),
        "k": bbopt.Int(1, 9),
        "c": bbopt.Categorical([1, True, "a,b", None, 0.5]),
        "t": bbopt.Text(""),
    }
)


def chained(problem: Problem, seed: int = 3, **given: Any) -> Chained:
    return Chained(problem.spec, seed=seed, settings=ChainedSettings(**given))


def values_told_as_foreign(optimizer: Chained) -> list[float]:
    return [value for number, value in optimizer.told if number is None]


def test_a_traces_results_are_told_before_the_first_ask(tmp_path: Path) -> None:
    problem = Flaky(Noisy(), {2: "raise"})
    first = bbopt.run(problem, chained(problem, max_repeats=3), 12, confirm=0.3)
    first.to_csv(tmp_path / "trace.csv")
    optimizer = chained(problem, 5)
    second = bbopt.run(problem, optimizer, 4, warm_start=tmp_path / "trace.csv")
    assert second.spent.evaluations == 4
    told = values_told_as_foreign(optimizer)
    assert repr(told) == repr([e.outcome.mean for e in first.trials])
    assert [number for number, _ in optimizer.told[: len(told)]] == [None] * len(told)
    assert second.spent.failures == 1  # its own
    assert len(second.trials) == 4


def test_a_handwritten_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "known.CSV"
    path.write_text(
        '\ufeffnote,c,k,x,t,value\nfirst,"a,b",3,0.25,"two\nlines",1.5\n,None,1,1,,\n,True,2,0,x,nan\n',
        encoding="utf-8",
    )
    found = read_warm_start(path, Spec(space=SPACE))
    assert [trial.params for trial, _ in found] == [
        {"x": 0.25, "k": 3, "c": "a,b", "t": "two\nlines"},
        {"x": 1.0, "k": 1, "c": None, "t": ""},
        {"x": 0.0, "k": 2, "c": True, "t": "x"},
    ]
    assert [repr(outcome.mean) for _, outcome in found] == ["1.5", "nan", "nan"]
    assert found[1][1].is_failure


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column 'x'"),
        ("x,k\n1,2\n", "no column 'c'"),
        ("x,k,c,t\n1,2,1,t\n", "no column 'value'"),
        ("x,k,c,t,value\n0.5,2,1,t,1\n2.0,2,1,t,1\n", r"line 3: parameter 'x' must be in \[0.0, 1"),
        ("x,k,c,t,value\nhigh,2,1,t,1\n", "line 2: parameter 'x' must be a number, got 'high'"),
        ("x,k,c,t,value\n0.5,2.5,1,t,1\n", "line 2: parameter 'k' must be a number, got '2.5'"),
        ("x,k,c,t,value\n0.5,2,z,t,1\n", "line 2: parameter 'c' must be one of"),
        ("x,k,c,t,value\n0.5,2,1,t,good\n", "line 2: could not convert string to float"),
        ("x,k,c,t,value\n0.5\n", "line 2: parameter 'k' must be a number, got ''"),
        ("x,k,c,t,value,context\n0.5,2,1,t,1,3\n", "line 2: 'int' object is not iterable"),
    ],
)
def test_a_bad_file_is_refused_by_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        read_warm_start(path, Spec(space=SPACE))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["none.csv", "none.journal", "sqlite"])
def test_a_missing_source_is_one_error_and_starts_no_study(name: str, tmp_path: Path) -> None:
    source = f"sqlite:///{tmp_path}/none.db" if name == "sqlite" else str(tmp_path / name)
    problem = Noisy()
    with pytest.raises((UsageError, StorageError), match="none"):
        bbopt.run(problem, chained(problem), 3, warm_start=source, storage=tmp_path / "x.journal")
    assert list(tmp_path.iterdir()) == []


def test_a_header_alone_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("x,k,c,t,value\n")
    assert read_warm_start(tmp_path / "empty.csv", Spec(space=SPACE)) == []


def test_a_storages_results_are_told_exactly(storage: str, tmp_path: Path) -> None:
    problem = Flaky(Noisy(), {1: "nan"})
    first = bbopt.run(problem, chained(problem, max_repeats=3), 9, storage=storage, name="one")
    optimizer = chained(problem, 5)
    new = tmp_path / "new.journal"
    bbopt.run(problem, optimizer, 2, warm_start=storage, storage=new, name="noisy")
    rows = [row for row in read_study(tmp_path / "new.journal", "noisy").rows if row.key[0] == -1]
    assert [row.outcome for row in rows] == [e.outcome for e in first.trials]
    assert [row.trial.params for row in rows] == [e.trial.params for e in first.trials]
    assert [row.trial.number for row in rows] == [None] * len(rows)


def test_studies_of_another_space_or_direction_are_left_out(tmp_path: Path) -> None:
    storage = str(tmp_path / "all.journal")
    backend = open_storage(storage)
    for name, direction in (("up", "maximize"), ("down", "minimize")):
        study = optuna.create_study(study_name=name, storage=backend, direction=direction)
        study.enqueue_trial({"x": 0.5})
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
    both = optuna.create_study(study_name="two", storage=backend, directions=["minimize"] * 2)
    both.optimize(lambda trial: (trial.suggest_float("x", 0, 1), 0.0), n_trials=1)
    other = optuna.create_study(study_name="other", storage=backend)
    other.optimize(lambda trial: trial.suggest_float("y", 0, 1), n_trials=1)
    spec = Spec(space=Space({"x": bbopt.Float(0, 1)}))
    assert [trial.params for trial, _ in read_warm_start(storage, spec)] == [{"x": 0.5}]


def test_a_study_is_warmed_once_wherever_it_was_killed(writes: Writes, tmp_path: Path) -> None:
    source = tmp_path / "known.csv"
    source.write_text("x,k,c,value\n" + "".join(f"0.{n},{n},a,{n}.5\n" for n in range(1, 6)))
    problem = Noisy(MIXED)

    def run(storage: Path, **options: Any) -> bbopt.Result:
        optimizers.append(chained(problem))
        return bbopt.run(
            problem, optimizers[-1], 4, warm_start=source, storage=storage, resume=True, **options
        )

    optimizers: list[Chained] = []
    whole = trace(run(tmp_path / "whole.journal"), tmp_path)
    n_writes = writes.n
    for n in range(n_writes):
        writes.crash_after(n)
        with pytest.raises(Crash):
            run(tmp_path / f"{n}.journal")
        writes.crash_after(None)
        assert trace(run(tmp_path / f"{n}.journal"), tmp_path) == whole
        assert values_told_as_foreign(optimizers[-1]) == [1.5, 2.5, 3.5, 4.5, 5.5]
        assert read_study(tmp_path / f"{n}.journal", "noisy").n_trials == 5 + 4


def test_a_good_warm_start_reaches_the_target_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "known.csv").write_text("x,k,c,value\n0.5,1,a,-9\n")
    problem = Noisy()
    optimizer = chained(problem)
    result = bbopt.run(problem, optimizer, 9, warm_start=tmp_path / "known.csv", target=-8.0)
    assert (result.stop_reason, result.spent.evaluations) == ("target", 0)
    assert result.best is not None
    assert result.best.value == -9.0
    assert math.isclose(result.best.params["x"], 0.5)

"""The log as Optuna and bbopt read it: exact values, identity, errors in one line."""

from __future__ import annotations

import json
import math
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from conftest import storage_in
from doubles_of_runs import Chained, ChainedSettings, CompactChained, Noisy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import bbopt
from bbopt import Best, Outcome, Problem, Space, Spec, Trial
from bbopt.errors import StorageError, StudyExists, UsageError
from bbopt.running.backends import open_storage
from bbopt.running.storage import StudyLog
from bbopt.running.studies import read_studies, read_study
from bbopt.trial import Usage
from bbopt.wrappers import Flaky

RICH = Space(
    {
        "lr": bbopt.Float(1e-6, 1.0, log=True),
        "grid": bbopt.Float(0.0, 1.1, step=0.1),
        "depth": bbopt.Int(1, 9),
        "wide": bbopt.Int(2, 1024, log=True),
        "huge": bbopt.Int(-(2**62), 2**61),
        "mixed": bbopt.Categorical([1, True, 1.0, "1", None]),
        "plain": bbopt.Categorical(["a", "ü", "", 2, 0.1, None, False]),
        "prompt": bbopt.Text("say ünï©ode\n", max_chars=10_000),
    }
)


def load(storage: str, name: str = "noisy") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=open_storage(storage))


def chained(problem: Problem, seed: int = 3, **given: Any) -> Chained:
    return Chained(problem.spec, seed=seed, settings=ChainedSettings(**given))


def scalars() -> st.SearchStrategy[float]:
    return st.floats(allow_nan=False, allow_infinity=False)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(["journal"] * 5 + ["sqlite"]))
def test_rows_come_back_exactly_as_they_were_written(
    data: st.DataObject, kind: str, fast_disk: None
) -> None:
    from tempfile import TemporaryDirectory

    draw = data.draw
    with TemporaryDirectory() as folder:
        storage = storage_in(Path(folder), kind)
        log = StudyLog(storage, "rich", Spec(space=RICH), worker=2, resume=False)
        written = []
        for number in range(4):
            (params,) = RICH.sample(np.random.default_rng(draw(st.integers(0, 2**32))))
            # PostgreSQL and JSON know no NUL and no lone surrogates
            characters = st.characters(exclude_characters="\0", exclude_categories=["Cs"])
            params["prompt"] = draw(st.text(characters, max_size=50))
            repeats = draw(st.integers(1, 4))
            context = draw(st.sampled_from([{}, {"agent": 3}, {"examples": tuple(range(repeats))}]))
            trial = Trial(number, params, repeats, context)
            values = draw(st.lists(scalars() | st.just(math.nan), min_size=1, max_size=4))
            outcome = Outcome(
                values,
                feedback=draw(
                    st.sampled_from([(), [{"output": "ü", "feedback": "\n"}] * len(values)])
                ),
                cost=draw(st.floats(0, 1e9)),
                usage=Usage(1, 2, 0.5),
                error=draw(st.none() | st.text(characters, max_size=9)),
                constraints=draw(st.sampled_from([(), (0.5, -1.0), (-1e300, 0.0)])),
                info={"latency": draw(scalars())},
            )
            asked = draw(st.none() | st.just(RICH.sample(np.random.default_rng(0))[0]))
            row = log.create(trial, place={"ask": number, "n": 1}, asked=asked)
            log.finish(row, outcome, seconds=1.5, overhead=0.25)
            written.append((trial, outcome, asked))
        log.close()
        again = StudyLog(storage, "rich", Spec(space=RICH), worker=2, resume=True)
        rows = again.rows()
        again.close()
    assert [row.key for row in rows] == [(2, n) for n in range(4)]
    for row, (trial, outcome, asked) in zip(rows, written, strict=True):
        assert row.trial == trial
        assert exact(row.trial.params) == exact(trial.params)
        assert row.asked == asked
        assert row.outcome is not None
        assert repr(row.outcome.values) == repr(outcome.values)
        assert repr((row.outcome.mean, row.outcome.m2)) == repr((outcome.mean, outcome.m2))
        for field in ("count", "failed", "feedback", "cost", "usage", "error", "constraints"):
            assert getattr(row.outcome, field) == getattr(outcome, field)
        assert (row.seconds, row.overhead) == (1.5, 0.25)


def exact(params: dict[str, Any]) -> list[tuple[str, type, Any]]:
    return [(name, type(value), value) for name, value in params.items()]


def test_optuna_reads_parameters_values_and_failures(storage: str) -> None:
    problem = Flaky(Noisy(), {2: "raise", 4: "nan"})
    result = bbopt.run(problem, chained(problem), 8, storage=storage, name="ours")
    study = load(storage, "ours")
    states = [trial.state.name for trial in study.trials]
    assert states == ["FAIL" if n in (2, 4) else "COMPLETE" for n in range(8)]
    for evaluation, trial in zip(result.trials, study.trials, strict=True):
        assert trial.params == {"x": evaluation.trial.params["x"]}  # the rest is in the attribute
        assert trial.user_attrs["bbopt:trial"]["params"].keys() == {"k", "c"}
        if evaluation.outcome.count:
            assert trial.value == evaluation.outcome.mean
        assert trial.datetime_complete is not None
    assert study.best_trial.value == min(e.outcome.mean for e in result.trials if e.outcome.count)
    assert study.trials[2].user_attrs["bbopt:outcome"]["error"] == "UsageError: a planned failure"
    best = study.user_attrs["bbopt:best"]
    assert result.best is not None
    assert best == result.best.to_json()


def test_the_direction_is_optunas(storage: str) -> None:
    problem = Noisy(direction="maximize")
    bbopt.run(problem, chained(problem), 6, storage=storage)
    study = load(storage)
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    assert study.best_value == max(t.value for t in study.trials if t.value is not None)


def test_constraints_are_optunas_too(storage: str) -> None:
    values = [(-1.0,), (2.0, -1.0), (math.nan,), (math.inf,), ()]
    problem = Noisy()
    problem.evaluate = lambda trial, rng: Outcome(  # type: ignore[method-assign]
        float(trial.number), constraints=values[trial.number]
    )
    result = bbopt.run(problem, chained(problem), 5, storage=storage)
    trials = load(storage).trials
    assert trials[0].constraints == {"0": -1.0}
    assert trials[1].constraints == {"0": 2.0, "1": -1.0}
    assert trials[2].constraints["0"] > 0  # NaN is not feasible
    assert trials[3].constraints["0"] > 0
    assert trials[4].constraints == {}
    assert result.best is not None
    assert result.best.value == 0.0


def test_study_attributes_say_how_the_figure_came_about(storage: str) -> None:
    problem = Noisy()
    bbopt.run(problem, chained(problem, 7, batch=2), 3, storage=storage, name="s")
    attributes = load(storage, "s").user_attrs
    assert attributes["bbopt:study"]["problem"] == "noisy"
    assert Space.from_json(attributes["bbopt:study"]["space"]) == problem.spec.space
    worker = attributes["bbopt:worker:0"]
    assert (worker["optimizer"], worker["seed"], worker["settings"]["batch"]) == ("chained", 7, 2)
    assert worker["versions"].keys() >= {"python", "numpy", "optuna"}
    assert worker["command"]


# --- who may go on --------------------------------------------------------------------


def test_an_existing_study_needs_resume(storage: str) -> None:
    problem = Noisy()
    bbopt.run(problem, chained(problem), 3, storage=storage)
    with pytest.raises(StudyExists, match=r"'noisy' exists already in .*resume=True"):
        bbopt.run(problem, chained(problem), 3, storage=storage)
    bbopt.run(problem, chained(problem), 3, storage=storage, name="another")
    assert [study.name for study in read_studies(storage)] == ["another", "noisy"]
    assert read_study(storage, "noisy").n_trials == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 4}, "started with seed 3, got 4"),
        ({"batch": 5}, "started with settings .*'batch': 99.*got .*'batch': 5"),
        ({"optimizer": "random"}, "started with optimizer 'chained', got 'random'"),
        ({"space": Space({"x": bbopt.Float(0, 2)})}, "started with space"),
        ({"problem": "other"}, "started with problem 'noisy', got 'other'"),
        ({"direction": "maximize"}, "direction minimize, the problem maximize"),
    ],
)
def test_somebody_else_cannot_go_on_with_a_study(
    change: dict[str, Any], message: str, fast_disk: None, tmp_path: Path
) -> None:
    storage = tmp_path / "x.journal"
    problem = Noisy()
    bbopt.run(problem, chained(problem), 3, storage=storage, name="s")
    before = storage.read_bytes()
    given = dict(change)
    fields = {name: given.pop(name) for name in ("space", "direction") if name in given}
    other = Noisy(**fields)
    other.name = given.pop("problem", "noisy")
    name = given.pop("optimizer", None)
    optimizer: Any = bbopt.optimizer(name, other.spec, seed=3) if name else None
    optimizer = optimizer or chained(other, given.pop("seed", 3), **given)
    with pytest.raises(UsageError, match=message) as caught:
        bbopt.run(other, optimizer, 5, storage=storage, name="s", resume=True)
    assert "\n" not in str(caught.value)
    assert storage.read_bytes() == before


def test_a_resumed_run_takes_the_stored_seed(fast_disk: None, tmp_path: Path) -> None:
    storage = tmp_path / "x.journal"
    space = {"x": bbopt.Float(0, 1)}
    whole = bbopt.minimize(abs_x, space, budget=8, optimizer="random", seed=5)
    bbopt.minimize(abs_x, space, budget=4, optimizer="random", seed=5, storage=storage)
    resumed = bbopt.minimize(
        abs_x, space, budget=8, optimizer="random", storage=storage, resume=True
    )
    assert [e.outcome.mean for e in resumed.trials] == [e.outcome.mean for e in whole.trials]


def abs_x(params: dict[str, float]) -> float:
    return abs(params["x"])


def test_a_bad_optimizer_leaves_no_study_behind(fast_disk: None, tmp_path: Path) -> None:
    problem = Noisy(RICH)
    with pytest.raises(UsageError, match="cannot handle parameter 'prompt'"):
        bbopt.run(problem, "random", 3, storage=tmp_path / "x.journal")
    assert not (tmp_path / "x.journal").exists()


def test_an_optimizer_that_was_used_before_is_refused(fast_disk: None, tmp_path: Path) -> None:
    problem = Noisy()
    optimizer = chained(problem)
    optimizer.ask()
    with pytest.raises(UsageError, match="optimizer must be fresh"):
        bbopt.run(problem, optimizer, 3, storage=tmp_path / "x.journal")


# --- storages that cannot be used -----------------------------------------------------


@pytest.mark.parametrize(
    "location", ["folder", "below", "text", "database", "sqlite-text", "url", "driver"]
)
def test_what_is_no_storage_is_said_in_one_line_and_left_alone(
    location: str, tmp_path: Path
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("dear diary\n{}\n")
    sqlite3.connect(tmp_path / "x.db").close()
    with sqlite3.connect(tmp_path / "x.db") as database:
        database.execute("create table t (a)")
    database.close()
    (tmp_path / "folder").mkdir()
    storage = {
        "folder": str(tmp_path / "folder"),
        "below": str(text / "x.journal"),
        "text": str(text),
        "database": str(tmp_path / "x.db"),
        "sqlite-text": f"sqlite:///{text}",
        "url": "nonsense://here",
        "driver": "postgresql+nosuchdriver://localhost/x",
    }[location]
    before = {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()}
    problem = Noisy()
    with pytest.raises(StorageError) as caught:
        bbopt.run(problem, chained(problem), 3, storage=storage)
    assert "\n" not in str(caught.value)
    assert location == "driver" or storage.removeprefix("sqlite:///") in str(caught.value)
    assert {p: p.read_bytes() for p in tmp_path.iterdir() if p.is_file()} == before


def test_mysql_is_refused_for_texts() -> None:
    problem = Noisy(RICH)
    with pytest.raises(UsageError, match="MySQL columns hold 64 KB"):
        StudyLog("mysql://localhost/x", "s", problem.spec, worker=0, resume=False)


def test_reading_makes_no_storage(tmp_path: Path) -> None:
    for missing in (tmp_path / "x.journal", f"sqlite:///{tmp_path}/x.db"):
        with pytest.raises(StorageError, match="no such file"):
            read_studies(missing)
    assert list(tmp_path.iterdir()) == []


# --- other tools ----------------------------------------------------------------------


def test_a_run_goes_on_from_what_optuna_has_found(storage: str) -> None:
    space = Space({"x": bbopt.Float(0, 1), "c": bbopt.Categorical(["a", "b"])})
    study = optuna.create_study(
        study_name="noisy",
        storage=open_storage(storage),
        sampler=optuna.samplers.RandomSampler(seed=1),
    )

    def objective(trial: optuna.Trial) -> float:
        trial.suggest_categorical("c", ["a", "b"])
        if trial.number == 1:
            raise optuna.TrialPruned
        return trial.suggest_float("x", 0, 1) - 10.0

    study.optimize(objective, n_trials=4)
    elsewhere = study.ask({"y": optuna.distributions.FloatDistribution(0, 1)})
    study.tell(elsewhere, -100.0)
    study.enqueue_trial({"x": 0.5, "c": "a"})
    problem = Noisy(space)
    optimizer = chained(problem)
    result = bbopt.run(problem, optimizer, 5, storage=storage, resume=True)
    assert result.spent.evaluations == 5  # theirs are off our budget
    foreign = [value for number, value in optimizer.told if number is None]
    assert foreign == [study.trials[n].value for n in (0, 2, 3)]
    assert result.best is not None
    assert result.best.value < -9.0


def test_the_dashboard_shows_our_runs(storage: str) -> None:
    dashboard = pytest.importorskip("optuna_dashboard")
    problem = Flaky(Noisy(), {1: "raise"})
    bbopt.run(problem, chained(problem), 4, storage=storage, name="shown")
    app = dashboard.wsgi(open_storage(storage))

    def get(path: str) -> Any:
        from wsgiref.util import setup_testing_defaults

        environ: dict[str, Any] = {"PATH_INFO": path, "REQUEST_METHOD": "GET"}
        setup_testing_defaults(environ)
        status = []
        body = app(environ, lambda code, headers, *_: status.append(code))
        data = b"".join(body)
        assert status == ["200 OK"], (path, status, data[:300])
        return json.loads(data)

    (summary,) = get("/api/studies")["study_summaries"]
    assert summary["study_name"] == "shown"
    trials = get(f"/api/studies/{summary['study_id']}")["trials"]
    assert [trial["state"] for trial in trials] == ["Complete", "Fail", "Complete", "Complete"]
    assert all("x" in {p["name"] for p in trial["params"]} for trial in trials)
    values = [trial["values"][0] for trial in trials if trial["state"] == "Complete"]
    assert values == [t.value for t in load(storage, "shown").trials if t.value is not None]


def test_a_stored_best_is_built_again(fast_disk: None, tmp_path: Path) -> None:
    storage = tmp_path / "x.journal"
    problem = Noisy()
    optimizer = CompactChained(problem.spec, seed=3)
    result = bbopt.run(problem, optimizer, 6, storage=storage, confirm=0.5)
    best = read_study(storage, "noisy").best
    assert isinstance(best, Best)
    assert best == result.best

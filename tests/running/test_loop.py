"""``run``, ``minimize`` and ``maximize``: the doors of the running layer."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from conftest import storage_in
from doubles_of_runs import Chained, Noisy, trace
from hypothesis import given, settings
from hypothesis import strategies as st

import bbopt
from bbopt.errors import UsageError
from bbopt.running.auto import FEW, FEW_NOISY, MANY, NUMERIC, auto
from bbopt.spec import Agents, Spec

SPACE = bbopt.Space({"x": bbopt.Float(-2, 2), "k": bbopt.Int(1, 5)})


def bowl(params: dict[str, Any]) -> float:
    return float((params["x"] - 0.5) ** 2 + params["k"])


def test_a_problem_and_an_optimizer_are_found_by_name() -> None:
    result = bbopt.run("synthetic/branin", "sobol", 16, seed=4)
    assert (result.metadata["problem"], result.metadata["optimizer"]) == (
        *("synthetic/branin", "sobol"),
    )
    assert result.metadata["seed"] == 4
    assert result.best is not None
    assert result.true_value == result.best.value  # branin has no noise


def test_a_function_of_params_and_one_of_params_and_draws() -> None:
    seen = []

    def noisy(params: dict[str, Any], rng: Any) -> float:
        seen.append(rng.random())
        return bowl(params)

    plain = bbopt.minimize(bowl, SPACE, budget=9, optimizer="random", seed=1)
    drawn = bbopt.minimize(noisy, SPACE, budget=9, optimizer="random", seed=1)
    assert plain.best == drawn.best
    assert len(set(seen)) == 9


@settings(max_examples=10)
@given(seed=st.integers(0, 10**6), name=st.sampled_from(["random", "sobol", "optuna:tpe"]))
def test_maximising_is_minimising_the_negative(seed: int, name: str) -> None:
    least = bbopt.minimize(bowl, SPACE, budget=14, optimizer=name, seed=seed)
    most = bbopt.maximize(lambda p: -bowl(p), SPACE, budget=14, optimizer=name, seed=seed)
    assert [e.trial.params for e in least.trials] == [e.trial.params for e in most.trials]
    assert least.best is not None
    assert most.best is not None
    assert (most.best.params, most.best.value) == (least.best.params, -least.best.value)


def test_auto_takes_what_the_space_and_the_budget_ask_for() -> None:
    for few, is_deterministic in [(FEW, None), (FEW, True), (FEW_NOISY, False)]:
        spec = Spec(space=SPACE, deterministic=is_deterministic)
        numeric = [auto(spec, n) for n in (1, few, few + 1, None)]
        assert numeric == [NUMERIC, NUMERIC, MANY, MANY]
    text = Spec(space=bbopt.Space({"prompt": bbopt.Text("hi")}))
    assert [auto(spec, 10) for spec in (text, Spec(space=SPACE, agents=Agents(3)))] == [
        "polca",
        "lacmas",
    ]
    for budget, name in [(5, NUMERIC), (f"evaluations={FEW + 1},seconds=0.1", MANY)]:
        assert bbopt.minimize(bowl, SPACE, budget=budget).metadata["optimizer"] == name


@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_auto_goes_on_with_what_a_study_began_with(tmp_path: Path, kind: str) -> None:
    def go_on(budget: str, worker: int = 0) -> bbopt.Result:
        storage = storage_in(tmp_path, kind)
        return bbopt.run(Noisy(), "auto", budget, storage=storage, resume=True, worker=worker)

    first = go_on("evaluations=4")
    more = go_on(f"evaluations={FEW + 1},seconds=0.1")
    assert first.metadata["optimizer"] == more.metadata["optimizer"] == NUMERIC
    assert [e.trial for e in more.trials[:4]] == [e.trial for e in first.trials]
    assert go_on("seconds=0.1", worker=1).metadata["optimizer"] == NUMERIC


def test_a_fresh_and_a_used_optimizer_without_a_storage() -> None:
    problem = Noisy()
    optimizer = Chained(problem.spec, seed=3)
    bbopt.run(problem, optimizer, 5)
    going_on = bbopt.run(problem, optimizer, 5)
    assert [e.trial.number for e in going_on.trials] == [5, 6, 7, 8, 9]


def test_a_study_has_the_problems_name_unless_it_is_given(fast_disk: None, tmp_path: Path) -> None:
    from bbopt.running.studies import read_studies

    storage = tmp_path / "x.journal"
    for name in (None, "mine"):
        result = bbopt.minimize(bowl, SPACE, budget=3, storage=storage, name=name)
        assert result.study == (name or "bowl")
        assert result.storage == str(storage)
    assert [study.name for study in read_studies(storage)] == ["bowl", "mine"]
    with pytest.raises(UsageError, match="name must be given"):
        bbopt.minimize(lambda p: 0.0, SPACE, budget=3, storage=storage)
    with pytest.raises(UsageError, match="resume needs a storage"):
        bbopt.minimize(bowl, SPACE, budget=3, resume=True)
    assert bbopt.minimize(bowl, SPACE, budget=3).storage is None


class Unnamed(Noisy):
    name = ""


class Other(Unnamed):
    pass


def test_problems_without_a_name_are_told_apart(fast_disk: None, tmp_path: Path) -> None:
    options = {"storage": tmp_path / "x.journal", "resume": True}
    one, two = (bbopt.run(problem, "random", 4, **options) for problem in (Unnamed(), Other()))
    assert [one.study, two.study] == ["test_loop.py:Unnamed", "test_loop.py:Other"]
    assert two.spent.evaluations == 4
    assert two.metadata["problem"] == two.study
    with pytest.raises(UsageError, match=r"with problem 'test_loop\.py:Other', got .*Unnamed'"):
        bbopt.run(Unnamed(), "random", 9, name=two.study, **options)
    other = bbopt.Space({"x": bbopt.Float(0, 2)})
    with pytest.raises(UsageError, match="was started with space"):
        bbopt.run(Other(other), "random", 9, **options)
    with pytest.raises(UsageError, match="was started with objective '', got 'Less'"):
        bbopt.run(Other(objective="Less"), "random", 9, **options)


def test_optimizers_without_a_name_are_told_apart(fast_disk: None, tmp_path: Path) -> None:
    class Mine(Chained):
        name = ""

    class Yours(Mine):
        pass

    problem, options = Noisy(), {"storage": tmp_path / "x.journal", "resume": True}
    bbopt.run(problem, Mine(problem.spec), 3, **options)
    with pytest.raises(UsageError, match=r"with optimizer '.*Mine', got '.*Yours'"):
        bbopt.run(problem, Yours(problem.spec), 6, **options)


def test_a_run_in_another_thread_leaves_signals_alone(tmp_path: Path) -> None:
    import threading

    problem = Noisy()
    results = []
    thread = threading.Thread(
        target=lambda: results.append(bbopt.run(problem, Chained(problem.spec), 5))
    )
    thread.start()
    thread.join()
    assert trace(results[0], tmp_path) == trace(
        bbopt.run(problem, Chained(problem.spec), 5), tmp_path
    )


def test_a_run_says_nothing_and_starts_no_threads_that_stay(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    import threading

    before = set(threading.enumerate())
    with caplog.at_level(logging.INFO):
        bbopt.run(
            "synthetic/branin", "optuna:tpe", 12, storage=f"sqlite:///{tmp_path}/x.db", jobs=2
        )
        bbopt.run("synthetic/branin", "random", 5, storage=tmp_path / "x.journal")
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert set(threading.enumerate()) == before


def test_what_is_no_client_is_no_language_model() -> None:
    with pytest.raises(UsageError, match=r"llm must be a bbopt\.llm\.Client, got 'gpt'"):
        bbopt.run("text/rulebook", "polca", 3, llm="gpt")


@pytest.mark.parametrize("name", ["proposer", "seed", "llm"])
def test_what_an_optimizer_is_built_with_is_no_setting(name: str) -> None:
    with pytest.raises(UsageError, match=rf"settings: '{name}' is none; .* {name}="):
        bbopt.run("text/rulebook", "polca", 3, settings={name: None})

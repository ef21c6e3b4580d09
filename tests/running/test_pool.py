"""Evaluations that raise, hang, lie or die cost themselves alone, whoever carries them out."""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles_of_runs import AsyncNoisy, Chained, ChainedSettings, Noisy, Shuffled, trace

import bbopt
from bbopt import Outcome, Problem, Trial
from bbopt.errors import UsageError
from bbopt.running.blocks import Block, Portable
from bbopt.running.pool import ExecutorPool, make_pool
from bbopt.testing import ScriptedLLM
from bbopt.wrappers import Flaky

FAULTS = {1: "kill", 3: "raise", 4: "nan", 6: "exit", 7: "inf", 9: "string", 12: "none", 15: "kill"}


def chained(problem: Problem, **given: Any) -> Chained:
    return Chained(problem.spec, seed=3, settings=ChainedSettings(**given))


def failures(result: bbopt.Result) -> dict[int | None, str | None]:
    return {e.trial.number: e.outcome.error for e in result.trials if e.outcome.is_failure}


# --- processes ------------------------------------------------------------------------


@pytest.mark.parametrize("in_flight", [None, 3])
def test_bad_evaluations_cost_themselves_alone_in_processes(in_flight: int | None) -> None:
    problem = Flaky(Noisy(), FAULTS | {10: "hang"})
    result = bbopt.run(
        problem, chained(problem), 20, jobs=2, in_flight=in_flight, evaluation_timeout=2.0
    )
    assert result.stop_reason == "evaluations"
    assert result.spent.evaluations == 20
    errors = failures(result)
    assert sorted(errors) == sorted([*FAULTS, 10])  # type: ignore[type-var]
    assert errors[1] == errors[15] == "the process died: exit code -9"
    assert errors[6] == "the process died: exit code 3"
    assert errors[10] == "timed out after 2 s"
    assert errors[3] == "UsageError: a planned failure"
    assert errors[4] is None
    for number in (9, 12):
        assert errors[number] is not None


@pytest.mark.parametrize("optimizer", ["random", "sobol", "cma", "optuna:tpe", "optuna:cmaes"])
def test_every_optimizer_survives_bad_evaluations(optimizer: str) -> None:
    if optimizer in ("cma", "optuna:cmaes"):
        pytest.importorskip("cma" if optimizer == "cma" else "cmaes")
    space = bbopt.Space({"x": bbopt.Float(0, 1), "y": bbopt.Float(0, 1)})
    result = bbopt.run(Flaky(Noisy(space), FAULTS), optimizer, 20, jobs=2)
    assert sorted(failures(result)) == sorted(FAULTS)  # type: ignore[type-var]
    assert result.spent.evaluations == 20


def test_processes_give_the_trace_of_one_thread(tmp_path: Path) -> None:
    def run(jobs: int) -> str:
        problem = Flaky(Noisy(block=2), {2: "raise", 5: "nan"})
        optimizer = chained(problem, max_repeats=4, generation=5)
        result = bbopt.run(problem, optimizer, 30, in_flight=3, jobs=jobs, retries=1)
        return trace(result, tmp_path)

    assert run(1) == run(2)


class Dying(Noisy):
    """Ends its process as soon as it is asked, at every other trial."""

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
        if (trial.number or 0) % 2:
            os._exit(3)
        return super().evaluate(trial, rng)


def test_deaths_while_results_are_being_stored_lose_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from bbopt.running.storage import StudyLog

    original = StudyLog.finish

    def slowly(*args: Any, **kwargs: Any) -> None:
        time.sleep(0.15)  # longer than it takes to notice a death
        original(*args, **kwargs)

    monkeypatch.setattr(StudyLog, "finish", slowly)
    problem = Dying()
    result = bbopt.run(problem, chained(problem), 12, jobs=2, storage=tmp_path / "x.journal")
    assert sorted(failures(result)) == [1, 3, 5, 7, 9, 11]


class LeavingAChild(Noisy):
    """Dies while a child that it forked holds everything open."""

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
        if trial.number == 1:
            assert self.notes is not None
            if os.fork() == 0:
                while not self.notes.exists():
                    time.sleep(0.05)
            os._exit(4)
        return super().evaluate(trial, rng)


def test_a_death_is_noticed_though_a_grandchild_holds_the_pipe(tmp_path: Path) -> None:
    problem = LeavingAChild(notes=tmp_path / "end")
    problem.note = lambda trial, values: None  # type: ignore[method-assign]
    result = bbopt.run(problem, chained(problem), 4, jobs=2, evaluation_timeout=60)
    problem.notes.touch()  # type: ignore[union-attr]
    assert failures(result) == {1: "the process died: exit code 4"}


class Unpicklable(Noisy):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


def test_a_problem_that_cannot_be_sent_is_a_usage_error() -> None:
    problem = Unpicklable()
    with pytest.raises(UsageError, match=r"'noisy' cannot be sent.*jobs=1.*executor=Thread"):
        bbopt.run(problem, chained(problem), 4, jobs=2)
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes,
        pytest.raises(UsageError, match=r"'noisy' cannot be sent"),
    ):
        bbopt.run(problem, chained(problem), 4, executor=processes)
    with ThreadPoolExecutor(2) as threads:
        assert bbopt.run(problem, chained(problem), 4, executor=threads).spent.failures == 0


class Rooted(Noisy):
    """Cannot be rebuilt in another process."""

    def __init__(self) -> None:
        super().__init__()
        self.home = os.getpid()

    def __setstate__(self, state: dict[str, Any]) -> None:
        if os.getpid() != state["home"]:
            raise ModuleNotFoundError("no module named 'elsewhere'")
        self.__dict__.update(state)


@pytest.mark.parametrize("by", ["jobs", "executor"])
def test_a_problem_that_cannot_be_rebuilt_is_a_usage_error(by: str) -> None:
    problem = Rooted()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        options: dict[str, Any] = {"jobs": 2} if by == "jobs" else {"executor": processes}
        with pytest.raises(UsageError, match=r"rebuilt in another process \(ModuleNotFound"):
            bbopt.run(problem, chained(problem), 4, **options)


class OddFeedback(Noisy):
    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
        class Local(str):
            __slots__ = ()

        return Outcome(0.5, feedback=[Local("cannot travel")])


def test_an_outcome_that_cannot_travel_is_a_failure() -> None:
    problem = OddFeedback()
    errors = failures(bbopt.run(problem, chained(problem), 3, jobs=2))
    assert sorted(errors) == [0, 1, 2]  # type: ignore[type-var]
    assert all(error is not None and "Local" in error for error in errors.values())


class Where(Noisy):
    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
        return Outcome(0.5, info={"pid": os.getpid(), "thread": threading.get_ident()})


def test_jobs_are_processes_and_problems_with_a_language_model_stay_here() -> None:
    def run(problem: Problem, **options: Any) -> set[float]:
        result = bbopt.run(problem, chained(problem), 6, **options)
        return {e.outcome.info["pid"] for e in result.trials}

    assert run(Where()) == {os.getpid()}
    assert os.getpid() not in run(Where(), jobs=2)
    assert os.getpid() not in run(Where(), evaluation_timeout=60)
    calling = Where()
    calling.needs_llm, calling.llm = True, ScriptedLLM([])
    assert run(calling, jobs=2) == {os.getpid()}
    assert run(calling, evaluation_timeout=60) == {os.getpid()}


# --- this thread ----------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_evaluation_that_exits_is_a_failure(jobs: int) -> None:
    class Exiting(Noisy):
        def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
            if trial.number == 1:
                raise SystemExit(2)
            return super().evaluate(trial, rng)

    problem = Exiting()
    result = bbopt.run(problem, chained(problem), 4, jobs=jobs)
    assert failures(result) == {1: "SystemExit: 2"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("0.3", "a value must be a number"),
        (None, "returned None"),
        ([0.1], "returned 1 values for 2 repeats"),
        ([0.1, 0.2, 0.3], "returned 3 values for 2 repeats"),
        ([[0.1, 0.2]], "a value must be a number"),
        ({"x": 1}, "a value must be a number"),
        ([], "returned 0 values for 2 repeats"),
        (0.5, "returned 1 values for 2 repeats"),
    ],
)
def test_what_is_no_value_a_repeat_is_a_failure(value: Any, message: str) -> None:
    problem = Noisy(block=2)
    problem.evaluate = lambda trial, rng: value  # type: ignore[method-assign]
    block = Block(Trial(0, {"x": 0.5, "k": 1, "c": "a"}, 2), 0, 0, 0)
    answers: list[Any] = []
    make_pool(problem, jobs=1, executor=None, timeout=None).submit(block, answers.append)
    (outcome,) = answers
    assert outcome.is_failure
    assert outcome.failed == 2
    assert message in outcome.error


@pytest.mark.parametrize("values", [[math.nan, 0.5], [math.inf, 0.5]])
def test_a_block_with_some_finite_values_is_no_failure(values: list[float]) -> None:
    problem = Noisy(block=2)
    problem.evaluate = lambda trial, rng: values[: trial.repeats]  # type: ignore[method-assign]
    optimizer = chained(problem)
    optimizer._propose = lambda left: optimizer._new_trial(  # type: ignore[method-assign]
        {"x": 0.5, "k": 1, "c": "a"}, 2
    )
    result = bbopt.run(problem, optimizer, 4)
    assert [(e.outcome.count, e.outcome.failed) for e in result.trials] == [(1, 1), (1, 1)]
    assert result.spent.failures == 0


# --- retries --------------------------------------------------------------------------


class Reluctant(Noisy):
    """Fails at its first tries, and shows what it would have drawn."""

    def __init__(self, n_tries: int) -> None:
        super().__init__()
        self.n_tries = n_tries
        self.drawn: dict[int, list[float]] = {}

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
        drawn = self.drawn.setdefault(trial.number or 0, [])
        drawn.append(float(rng.random()))
        if len(drawn) < self.n_tries:
            raise RuntimeError("not yet")
        return drawn[-1]


@pytest.mark.parametrize("retries", [0, 1, 2, 3])
def test_a_retry_has_the_same_draws_and_there_are_only_so_many(retries: int) -> None:
    problem = Reluctant(3)
    result = bbopt.run(problem, chained(problem), 5, retries=retries)
    assert result.spent.evaluations == 5
    for evaluation in result.trials:
        drawn = problem.drawn[evaluation.trial.number or 0]
        assert len(drawn) == min(1 + retries, 3)
        assert len(set(drawn)) == 1
        assert evaluation.outcome.is_failure == (retries < 2)


def test_a_value_that_is_not_finite_is_not_tried_again() -> None:
    calls = []
    problem = Noisy()
    problem.evaluate = lambda trial, rng: calls.append(trial) or math.nan  # type: ignore[func-returns-value,method-assign]
    bbopt.run(problem, chained(problem), 3, retries=5)
    assert len(calls) == 3


class KilledOnce(Noisy):
    """Kills its process at the first try of every trial."""

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
        assert self.notes is not None
        tried = self.notes / str(trial.number)
        if not tried.exists():
            tried.touch()
            os.kill(os.getpid(), 9)
        return float(rng.random())


def test_a_killed_evaluation_is_retried_with_the_same_draws(tmp_path: Path) -> None:
    result = bbopt.run(*_of(KilledOnce(notes=tmp_path)), 4, jobs=2, retries=1)
    assert result.spent.failures == 0
    from bbopt import seeding

    for evaluation in result.trials:
        number = evaluation.trial.number
        assert number is not None
        assert evaluation.outcome.mean == seeding.stream(3, "evaluate", number=number).random()


def _of(problem: Problem) -> tuple[Problem, Chained]:
    return problem, chained(problem)


# --- foreign executors ----------------------------------------------------------------


class Waiting(Noisy):
    """Trial 1 takes until somebody sets ``release``."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()
        self.finished: list[int | None] = []

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
        if trial.number == 1:
            self.release.wait(60)
        self.finished.append(trial.number)
        return super().evaluate(trial, rng)


@pytest.mark.parametrize("in_flight", [None, 2])
def test_a_late_result_of_a_foreign_executor_is_dropped(
    in_flight: int | None, tmp_path: Path
) -> None:
    problem = Waiting()

    def callback(trial: Trial, outcome: Outcome, best: Any) -> None:
        if trial.number == 1:
            problem.release.set()

    with ThreadPoolExecutor(2) as threads:
        result = bbopt.run(
            problem,
            chained(problem),
            8,
            executor=threads,
            in_flight=in_flight,
            evaluation_timeout=0.5,
            callbacks=[callback],
            storage=tmp_path / "x.journal",
        )
    assert 1 in problem.finished
    assert failures(result) == {1: "timed out after 0.5 s"}
    assert len(result.trials) == 8
    from bbopt.running.studies import read_study

    row = next(r for r in read_study(tmp_path / "x.journal", "noisy").rows if r.key == (0, 1))
    assert row.outcome is not None
    assert row.outcome.error == "timed out after 0.5 s"


def test_what_timed_out_in_the_queue_is_never_started() -> None:
    problem = Waiting()
    block = Block(Trial(0, {"x": 0.5, "k": 1, "c": "a"}), 0, 0, 0)
    with ThreadPoolExecutor(1) as threads:
        blocker = threads.submit(problem.release.wait, 60)
        pool = ExecutorPool(problem, threads, 1, timeout=0.05)
        answered = threading.Event()
        answers: list[Any] = []
        pool.submit(block, lambda answer: (answers.append(answer), answered.set()))
        assert answered.wait(60)
        problem.release.set()
        assert blocker.result()
    assert problem.finished == []
    assert answers[0].error == "timed out after 0.05 s"


class Losing(Executor):
    """Loses some of what it is given."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        number = args[1].trial.number
        if number == 1:
            future.cancel()
            future.set_running_or_notify_cancel()
        elif number == 2:
            future.set_exception(TimeoutError("somebody's own"))
        elif number == 3:
            future.set_exception(RuntimeError("a broken cluster"))
        else:
            future.set_result(fn(*args, **kwargs))
        return future


def test_what_an_executor_loses_is_a_failure() -> None:
    problem = Noisy()
    result = bbopt.run(problem, chained(problem), 6, executor=Losing())
    assert failures(result) == {
        1: "cancelled",
        2: "TimeoutError: somebody's own",
        3: "RuntimeError: a broken cluster",
    }


def test_as_many_are_open_as_the_executor_says_it_has_workers() -> None:
    most = 0

    class Watching(Noisy):
        def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
            nonlocal most
            most = max(most, len(optimizer.pending))
            return super().evaluate(trial, rng)

    problem = Watching()
    for n in (1, 3):
        optimizer = chained(problem)
        most = 0
        with Shuffled(n) as executor:
            bbopt.run(problem, optimizer, 20, executor=executor)
        assert most == n


def test_a_process_that_gets_a_problem_often_rebuilds_it_once() -> None:
    import pickle

    problem = Noisy()
    twice = [pickle.loads(pickle.dumps(Portable(problem))) for _ in range(2)]
    assert twice[0].problem is twice[1].problem
    assert twice[0].problem is not problem


# --- coroutines -----------------------------------------------------------------------


class AsyncFlaky(AsyncNoisy):
    async def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:  # type: ignore[override]
        self.running = getattr(self, "running", 0) + 1
        self.most = max(getattr(self, "most", 0), self.running)
        try:
            if trial.number == 1:
                raise RuntimeError("planned")
            if trial.number == 2:
                return "0.3"
            if trial.number == 3:
                await asyncio.sleep(3600)
            if trial.number == 4:
                raise TimeoutError("its own")
            await asyncio.sleep(0.001)
            return await super().evaluate(trial, rng)
        finally:
            self.running -= 1


@pytest.mark.parametrize("jobs", [1, 3])
def test_bad_coroutines_cost_themselves_alone(jobs: int) -> None:
    problem = AsyncFlaky()
    result = bbopt.run(problem, chained(problem), 12, jobs=jobs, evaluation_timeout=0.5)
    errors = failures(result)
    assert sorted(errors) == [1, 2, 3, 4]  # type: ignore[type-var]
    assert errors[1] == "RuntimeError: planned"
    assert errors[3] == "timed out after 0.5 s"
    assert errors[4] == "TimeoutError: its own"
    assert problem.most <= jobs
    assert problem.running == 0
    assert "bbopt-evaluate" not in {thread.name for thread in threading.enumerate()}


def test_an_async_function_is_minimised() -> None:
    async def f(params: dict[str, float], rng: np.random.Generator) -> float:
        await asyncio.sleep(0)
        return params["x"] ** 2 + 0.1 * float(rng.standard_normal())

    space = {"x": bbopt.Float(-1, 1)}
    runs = [
        bbopt.minimize(f, space, budget=9, optimizer="random", jobs=j, in_flight=2) for j in (1, 3)
    ]
    assert runs[0].best == runs[1].best

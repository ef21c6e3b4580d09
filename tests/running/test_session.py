"""Between ask and tell: exact budgets, order, what is told and what is left."""

from __future__ import annotations

import math
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles_of_runs import MIXED, AsyncNoisy, Chained, ChainedSettings, Noisy, Shuffled, trace
from hypothesis import given, settings
from hypothesis import strategies as st

import bbopt
from bbopt import Budget, Outcome, Problem, Result, Trial
from bbopt.running.options import Options
from bbopt.running.session import Session


def chained(problem: Problem, seed: int = 3, **given: Any) -> Chained:
    return Chained(problem.spec, seed=seed, settings=ChainedSettings(**given))


class Counted(Noisy):
    """Counts the evaluations that were started."""

    n_started = 0
    rounds: list[tuple[int, int]]

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
        self.n_started += trial.repeats
        return super().evaluate(trial, rng)


# --- budgets --------------------------------------------------------------------------


@settings(max_examples=150)
@given(
    budget=st.integers(1, 40),
    in_flight=st.sampled_from([None, 1, 2, 4, 7]),
    workers=st.sampled_from([0, 1, 3]),
    max_repeats=st.integers(1, 6),
    batch=st.integers(1, 5),
    generation=st.sampled_from([0, 0, 4]),
    block=st.integers(1, 3),
    confirm=st.sampled_from([0.0, 0.2, 0.9]),
)
def test_exactly_the_budget_is_evaluated(
    budget: int,
    in_flight: int | None,
    workers: int,
    max_repeats: int,
    batch: int,
    generation: int,
    block: int,
    confirm: float,
) -> None:
    problem = Counted(block=block)
    optimizer = chained(problem, max_repeats=max_repeats, batch=batch, generation=generation)
    options: dict[str, Any] = {"in_flight": in_flight, "confirm": confirm}
    if workers:
        with Shuffled(workers) as executor:
            result = bbopt.run(problem, optimizer, budget, executor=executor, **options)
    else:
        result = bbopt.run(problem, optimizer, budget, **options)
    assert problem.n_started == result.spent.evaluations == budget
    assert sum(e.outcome.evaluations for e in result.trials) == budget
    assert result.stop_reason == "evaluations"
    assert all(left.evaluations > 0 for left in optimizer.lefts)


@settings(max_examples=100)
@given(
    switches=st.integers(0, 6),
    in_flight=st.sampled_from([None, 2, 5]),
    confirm=st.sampled_from([0.0, 0.5]),
    levels=st.integers(1, 3),
    seed=st.integers(0, 9),
)
def test_switches_are_exact_confirmation_included(
    switches: int, in_flight: int | None, confirm: float, levels: int, seed: int
) -> None:
    problem = Noisy(bbopt.Space({"k": bbopt.Int(1, levels)}))
    result = bbopt.run(
        problem,
        chained(problem, seed),
        Budget(evaluations=24, switches=switches),
        in_flight=in_flight,
        confirm=confirm,
    )
    by_number = sorted(result.trials, key=lambda e: e.trial.number or 0)
    params = [e.trial.params["k"] for e in by_number]
    counted = sum(a != b for a, b in pairwise(params))
    assert result.spent.switches == counted <= switches
    assert result.stop_reason in ("switches", "evaluations")
    if result.stop_reason == "evaluations":
        assert result.spent.evaluations == 24


def test_a_confirmed_value_is_found_within_a_budget_of_switches() -> None:
    problem = Noisy()
    budget = Budget(evaluations=40, switches=10)
    result = bbopt.run(problem, chained(problem), budget, confirm=0.5)
    assert result.spent.switches == 10
    confirming = [e for e in result.trials if "confirm" in e.trial.context]
    assert result.best is not None
    assert sum(e.outcome.count for e in confirming) == 20 == result.best.count


def test_cost_stops_the_next_block() -> None:
    problem = Counted(cost=2.0)
    budget = Budget(evaluations=1000, cost=31.0)
    result = bbopt.run(problem, chained(problem, max_repeats=500), budget)
    assert problem.n_started == result.spent.evaluations == 16  # the sixteenth starts at 30
    assert result.spent.cost == 32.0
    assert result.stop_reason == "cost"


def test_a_stop_in_the_middle_of_a_trial_keeps_what_was_evaluated() -> None:
    problem = Counted(cost=1.0)
    optimizer = chained(problem, max_repeats=1000)
    result = bbopt.run(problem, optimizer, Budget(cost=3.0), confirm=None)
    (evaluation,) = result.trials
    assert evaluation.trial.repeats > 3
    assert evaluation.outcome.count == 3
    assert result.best is not None
    assert result.best.count == 3


def test_seconds_stop_the_next_start(monkeypatch: pytest.MonkeyPatch) -> None:
    from bbopt.running import account

    now = [100.0]
    monkeypatch.setattr(account.time, "monotonic", lambda: now[0])

    class Slow(Counted):
        def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
            now[0] += 10.0
            return super().evaluate(trial, rng)

    problem = Slow()
    result = bbopt.run(problem, chained(problem), Budget(seconds=35.0))
    assert problem.n_started == 4
    assert result.stop_reason == "seconds"
    assert result.spent.seconds == 40.0


def test_seconds_count_over_all_sessions(
    monkeypatch: pytest.MonkeyPatch, fast_disk: None, tmp_path: Path
) -> None:
    from bbopt.running import account

    now = [0.0]
    monkeypatch.setattr(account.time, "monotonic", lambda: now[0])

    class Slow(Counted):
        def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
            now[0] += 10.0
            return super().evaluate(trial, rng)

    storage = tmp_path / "x.journal"
    problem = Slow()
    bbopt.run(problem, chained(problem), 3, storage=storage)
    now[0] += 1e6  # nobody was running
    result = bbopt.run(problem, chained(problem), Budget(seconds=55), storage=storage, resume=True)
    assert result.spent.evaluations == 6
    assert 55 <= result.spent.seconds <= 70


@pytest.mark.parametrize("axis", ["llm_calls", "tokens"])
def test_a_method_that_cannot_pay_for_proposals_ends_the_run_with_that_reason(axis: str) -> None:
    class Asking(Chained):
        @property
        def usage(self) -> bbopt.trial.Usage:
            return bbopt.trial.Usage(llm_calls=self.next_number, tokens=self.next_number)

        def _ask(self, n: int, left: Budget) -> list[Trial]:
            return super()._ask(min(n, getattr(left, axis)), left) if getattr(left, axis) else []

    problem = Noisy()
    result = bbopt.run(problem, Asking(problem.spec), {axis: 4})
    assert result.stop_reason == axis
    assert result.spent.evaluations == 4
    assert getattr(result.spent.usage, axis) == 4


def test_an_optimizer_without_proposals_is_exhausted() -> None:
    problem = Noisy()
    result = bbopt.run(problem, chained(problem, limit=6), 100, in_flight=4)
    assert (result.stop_reason, result.spent.evaluations) == ("exhausted", 6)


def test_a_method_that_may_not_switch_any_more_has_used_up_its_switches() -> None:
    class Exact(bbopt.Problem):
        spec = bbopt.Spec(space=bbopt.Space({"x": bbopt.Float(0, 1)}), deterministic=True)

        def evaluate(self, trial: Trial, rng: Any) -> float:
            return float(trial.params["x"])

    result = bbopt.run(Exact(), "mini-gp-ei", Budget(evaluations=30, switches=3))
    assert (result.stop_reason, result.spent.switches) == ("switches", 3)


def test_callbacks_target_patience_and_failures_stop_the_run() -> None:
    problem = Noisy()
    seen = []

    def callback(trial: Trial, outcome: Outcome, best: bbopt.Best | None) -> bool:
        seen.append((trial.number, best))
        return trial.number == 5

    stopped = bbopt.run(problem, chained(problem), 50, callbacks=[callback])
    assert stopped.stop_reason == "callback"
    assert [number for number, _ in seen] == [0, 1, 2, 3, 4, 5]
    values = [e.outcome.mean for e in bbopt.run(problem, chained(problem), 50).trials]
    reached = bbopt.run(problem, chained(problem), 50, target=sorted(values)[2])
    assert reached.stop_reason == "target"
    assert reached.trials[-1].outcome.mean <= sorted(values)[2] < reached.trials[-2].outcome.mean
    flat = Noisy(deterministic=True)
    flat.evaluate = lambda trial, rng: 0.0  # type: ignore[method-assign]
    assert len(bbopt.run(flat, chained(flat), 50, patience=7).trials) == 8
    bad = Noisy()
    bad.evaluate = lambda trial, rng: float("nan")  # type: ignore[method-assign]
    failed = bbopt.run(bad, chained(bad), 50, max_failures=3)
    assert (failed.stop_reason, failed.spent.failures) == ("max_failures", 4)
    assert failed.best is None


def test_ctrl_c_in_the_middle_of_a_trial_stores_its_blocks(fast_disk: None, tmp_path: Path) -> None:
    class Interrupting(Counted):
        def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
            if self.n_started == self.interrupt_at:
                os.kill(os.getpid(), signal.SIGINT)
            return super().evaluate(trial, rng)

        interrupt_at = -1

    def run(problem: Counted, storage: Path | None, **options: Any) -> Result:
        optimizer = chained(problem, max_repeats=9)
        return bbopt.run(problem, optimizer, 30, storage=storage, **options)

    whole = run(Counted(), None)
    for n in range(1, 12):
        first, second = Interrupting(), Counted()
        first.interrupt_at = n
        storage = tmp_path / f"{n}.journal"
        stopped = run(first, storage)
        assert (stopped.stop_reason, first.n_started) == ("interrupted", n + 1)
        resumed = run(second, storage, resume=True)
        assert second.n_started == 30 - first.n_started
        assert trace(resumed, tmp_path) == trace(whole, tmp_path)


# --- what an optimizer sees -----------------------------------------------------------


def test_what_is_left_counts_open_trials_and_excludes_what_confirms() -> None:
    problem = Noisy(cost=0.5)
    optimizer = chained(problem)
    bbopt.run(problem, optimizer, Budget(evaluations=10, cost=100), in_flight=3, confirm=0.3)
    assert [(left.evaluations, left.cost) for left in optimizer.lefts] == [
        *((7, 100.0), (4, 99.5), (3, 99.0), (2, 98.5), (1, 98.0)),
    ]
    assert {left.seconds for left in optimizer.lefts} == {None}


def test_the_log_says_what_was_told_before_each_ask(fast_disk: None, tmp_path: Path) -> None:
    from bbopt.running.studies import read_study

    storage = tmp_path / "x.journal"
    problem = Noisy(pauses={})
    bbopt.run(problem, chained(problem), 6, in_flight=2, storage=storage)
    places = [row.place for row in read_study(storage, "noisy").rows]
    assert [place["ask"] for place in places] == [0, 0, 1, 2, 3, 4]
    assert [place["position"] for place in places] == [0, 1, 0, 0, 0, 0]
    assert [place["n"] for place in places] == [2, 2, 1, 1, 1, 1]
    assert [place["left"]["evaluations"] for place in places] == [6, 6, 4, 3, 2, 1]
    assert [place.get("told") for place in places] == [
        [],
        None,
        [[0, 0]],
        [[0, 1]],
        [[0, 2]],
        [[0, 3]],
    ]


def test_trials_are_cut_to_the_budget_and_the_rest_is_closed() -> None:
    problem = Noisy()

    class Greedy(Chained):
        def _ask(self, n: int, left: Budget) -> list[Trial]:
            return [self._new_trial({"x": 0.1, "k": 1, "c": "a"}, 4) for _ in range(n)]

    optimizer = Greedy(problem.spec)
    result = bbopt.run(problem, optimizer, 6, in_flight=3)
    assert [e.trial.repeats for e in result.trials] == [4, 2]
    assert optimizer.pending == ()
    assert [math.isnan(value) for _, value in optimizer.told] == [
        True,
        False,
        False,
    ]  # the third was never started


# --- the same for any number of jobs --------------------------------------------------


def run_all_ways(in_flight: int, optimizer_name: str | None, folder: Path) -> list[str]:
    """Traces of one run with in_flight, in this thread, in others, shuffled, and as coroutines."""

    def run(problem: Problem, **options: Any) -> str:
        optimizer: Any = optimizer_name or chained(problem, max_repeats=3, generation=6)
        result = bbopt.run(problem, optimizer, 30, in_flight=in_flight, **options)
        return trace(result, folder)

    space = bbopt.Space({"x": bbopt.Float(0, 1), "y": bbopt.Float(1e-3, 1, log=True)})
    space = space if optimizer_name else MIXED
    traces = [run(Noisy(space)), run(AsyncNoisy(space)), run(AsyncNoisy(space), jobs=3)]
    with ThreadPoolExecutor(3) as threads:
        traces.append(run(Noisy(space, pauses={1: 0.01, 5: 0.02}), executor=threads))
    for seed in range(3):
        with Shuffled(3, seed) as shuffled:
            traces.append(run(Noisy(space), executor=shuffled))
    return traces


@pytest.mark.parametrize("in_flight", [1, 2, 3, 5])
@pytest.mark.parametrize("optimizer", [None, "random", "optuna:tpe"])
def test_with_an_integer_in_flight_how_it_is_evaluated_makes_no_difference(
    optimizer: str | None, in_flight: int, tmp_path: Path
) -> None:
    assert len(set(run_all_ways(in_flight, optimizer, tmp_path))) == 1


def test_one_job_told_by_arrival_is_the_same_every_time(tmp_path: Path) -> None:
    problem = Noisy(block=2)
    runs = [bbopt.run(problem, chained(problem, max_repeats=5), 40) for _ in range(2)]
    assert trace(runs[0], tmp_path) == trace(runs[1], tmp_path)
    assert trace(runs[0], tmp_path) != trace(
        bbopt.run(problem, chained(problem, 4, max_repeats=5), 40), tmp_path
    )


def test_blocks_are_merged_in_their_order_whatever_the_order_of_arrival() -> None:
    def repeated(executor: Any) -> Result:
        problem = Noisy(block=1)
        problem.evaluate = evaluate  # type: ignore[method-assign]
        optimizer = chained(problem, max_repeats=30)
        return bbopt.run(problem, optimizer, 60, in_flight=2, executor=executor)

    def evaluate(trial: Trial, rng: np.random.Generator) -> Outcome:
        value = float(rng.standard_normal())
        return Outcome(value, feedback=[f"{value!r}"], cost=1.0, info={"double": 2 * value})

    serial = repeated(None)
    for seed in range(5):
        with Shuffled(4, seed) as executor:
            shuffled = repeated(executor)
        assert [e.outcome for e in shuffled.trials] == [e.outcome for e in serial.trials]
    for evaluation in serial.trials:
        outcome = evaluation.outcome
        assert outcome.feedback == tuple(repr(value) for value in outcome.values)
        draws = [draw(evaluation.trial.number, j) for j in range(evaluation.trial.repeats)]
        assert list(outcome.values) == draws
        assert outcome.cost == evaluation.trial.repeats


def draw(number: int | None, block: int) -> float:
    from bbopt import seeding

    assert number is not None
    return float(seeding.stream(3, "evaluate", number=number, block=block).standard_normal())


def test_results_that_arrive_while_a_trial_is_completed_are_told_once() -> None:
    """Both blocks can be in the queue before the first is looked at."""
    problem = Noisy(block=1)
    optimizer = chained(problem)
    session = Session(problem, optimizer, Options(budget=Budget(evaluations=2)))
    with session:
        trial = Trial(0, {"x": 0.5, "k": 1, "c": "a"}, 2)
        from bbopt.running.blocks import OpenTrial

        opened = OpenTrial(trial, None)
        session.admit(opened)
        session._running = 2
        for index in range(2):
            session._arrive(opened, index, 0, Outcome(0.5))
        session._collect()
        assert session.ready == []
        session._collect()
        assert session.ready == [opened]


# --- tables ---------------------------------------------------------------------------


def test_every_row_of_a_table_is_evaluated_once_and_then_it_is_exhausted() -> None:
    rows = MIXED.sample(np.random.default_rng(1), 12)
    problem = Noisy(candidates=rows)
    result = bbopt.run(problem, chained(problem), 100, in_flight=3)
    assert result.stop_reason == "exhausted"
    key = MIXED.key
    assert sorted(map(str, (key(e.trial.params) for e in result.trials))) == sorted(
        str(key(row)) for row in rows
    )


def test_rows_that_differ_only_as_1_and_true_are_two_rows() -> None:
    space = bbopt.Space({"c": bbopt.Categorical([1, True])})
    problem = Noisy(space, candidates=[{"c": 1}, {"c": True}])
    told = []

    class Watching(Chained):
        def _tell(self, trial: Trial, outcome: Outcome) -> None:
            told.append(repr(trial.params["c"]))

    result = bbopt.run(problem, Watching(problem.spec, seed=5), 2)
    assert sorted(repr(e.trial.params["c"]) for e in result.trials) == ["1", "True"]
    assert sorted(set(told)) == ["1", "True"]
    assert result.spent.switches == 1


def test_rows_that_a_warm_start_has_are_not_evaluated_again(tmp_path: Path) -> None:
    space = bbopt.Space({"k": bbopt.Int(1, 5)})
    rows = [{"k": k} for k in (1, 2, 3, 4, 5)]
    (tmp_path / "known.csv").write_text("k,value\n2,0.5\n4,0.25\n")
    problem = Noisy(space, candidates=rows)
    result = bbopt.run(problem, chained(problem), 100, warm_start=tmp_path / "known.csv")
    assert sorted(e.trial.params["k"] for e in result.trials) == [1, 3, 5]

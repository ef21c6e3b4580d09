"""GEPA behind ask and tell: the package's own run, with our evaluations and our model."""

from __future__ import annotations

import gc
import logging
import math
import random
import threading
from typing import Any

import pytest

from bbopt import Budget, Outcome, Trial, seeding
from bbopt.spec import Examples
from bbopt.testing import ScriptedLLM
from tests.baselines.spelling import (
    START,
    WORD,
    build,
    evaluate,
    mended,
    play,
    propose,
    quality,
    reply,
)

gepa = pytest.importorskip("gepa")

ALL = Examples(train=tuple(range(12)))


def test_a_proposer_that_reads_feedback_reaches_the_word() -> None:
    optimizer = build("gepa", proposer=propose, examples=ALL, valset_size=12)
    play(optimizer, 600)
    assert optimizer.best is not None
    assert (optimizer.best.params, optimizer.best.value) == ({"word": WORD}, 1.0)


def test_a_model_that_reads_the_prompt_reaches_the_word() -> None:
    llm = ScriptedLLM(reply)
    optimizer = build("gepa", llm=llm, examples=ALL, valset_size=12)
    play(optimizer, 600)
    assert optimizer.best is not None
    assert (optimizer.best.params, optimizer.best.value) == ({"word": WORD}, 1.0)
    assert optimizer.usage == llm.ledger.total.usage
    assert [request.draw for request in llm.requests] == list(range(len(llm.requests)))
    assert {request.role for request in llm.requests} == {"proposer"}
    assert all("Spell it." in request.messages[0]["content"] for request in llm.requests)


def test_without_examples_repeats_stand_for_them() -> None:
    optimizer = build("gepa", proposer=propose, examples=None, reflection_minibatch_size=2)
    trials = play(optimizer, 300)
    assert {trial.repeats for trial in trials} == {10, 2}  # the validation set, and minibatches
    assert all("examples" not in trial.context for trial in trials)
    assert optimizer.best is not None
    assert optimizer.best.params == {"word": WORD}


def test_where_one_evaluation_says_all_there_is_one() -> None:
    optimizer = build("gepa", proposer=propose, examples=None, deterministic=True)
    assert {trial.repeats for trial in play(optimizer, 60)} == {1}
    assert optimizer.best is not None
    assert optimizer.best.params == {"word": WORD}


def test_a_batch_is_one_trial_and_feedback_of_validation_examples_is_not_shown() -> None:
    shown: list[str] = []

    def watching(params: Any, feedback: Any, rng: Any) -> Any:
        shown.extend(str(item) for item in feedback)
        return propose(params, feedback, rng)

    optimizer = build("gepa", proposer=watching, examples=Examples(tuple(range(8)), (8, 9, 10)))
    trials = play(optimizer, 200)
    first, parent, child, *_ = trials
    assert (first.params, first.context["examples"]) == ({"word": START}, (8, 9, 10))
    assert parent.params == {"word": START}
    assert len(set(parent.context["examples"]) & set(range(8))) == 3
    assert child.context == parent.context
    assert child.params != parent.params
    assert shown
    assert not any(f"place {i}" in text for text in shown for i in (8, 9, 10))


@pytest.mark.peer
@pytest.mark.parametrize("seed", range(3))
def test_the_evaluations_are_those_of_the_package_alone(seed: int) -> None:
    """The same seed, proposer and scores give ``gepa.optimize`` the same run."""
    optimizer = build("gepa", seed, proposer=propose, examples=ALL)
    ours = [(t.params["word"], t.context["examples"]) for t in play(optimizer, 200)]
    theirs: list[tuple[str, tuple[int, ...]]] = []

    class Adapter:
        propose_new_texts = None

        def evaluate(self, batch: list[int], candidate: Any, capture_traces: bool = False) -> Any:
            theirs.append((candidate["word"], tuple(batch)))
            outcome = evaluate(Trial(0, candidate, len(batch), {"examples": batch}))
            traces = [str(f) for f in outcome.feedback]
            return gepa.EvaluationBatch([None] * len(batch), list(outcome.values), traces)

        def make_reflective_dataset(self, candidate: Any, batch: Any, components: Any) -> Any:
            return {name: [{"Feedback": t} for t in batch.trajectories] for name in components}

    class Silent:
        def log(self, message: str) -> None:
            pass

    def rewrite(candidate: Any, dataset: Any, components: Any) -> Any:
        said = str([record["Feedback"].replace('"', "") for record in dataset["word"]])
        return {"word": mended(candidate["word"], said.replace('"', ""))}

    gepa.optimize(
        seed_candidate={"word": START},
        trainset=list(range(12)),
        valset=list(range(10)),
        adapter=Adapter(),
        custom_candidate_proposer=rewrite,
        reflection_minibatch_size=3,
        skip_perfect_score=False,
        max_metric_calls=300,
        logger=Silent(),
        seed=seeding.stream_seed(seed, "gepa"),
    )
    assert ours == theirs[: len(ours)]
    assert len(ours) > 20


def test_best_is_the_candidate_and_score_that_gepa_returns() -> None:
    noise = random.Random(3)

    def noisy(trial: Trial) -> Outcome:
        values = [v + noise.gauss(0.0, 0.5) for v in evaluate(trial).values]
        return Outcome(values, feedback=evaluate(trial).feedback)

    told: list[tuple[Trial, Outcome]] = []

    def noted(trial: Trial) -> Outcome:
        told.append((trial, noisy(trial)))
        return told[-1][1]

    optimizer = build("gepa", proposer=propose)  # four validation examples
    play(optimizer, 300, noted)
    on_validation = [
        (outcome.mean, trial.params)
        for trial, outcome in told
        if trial.context["examples"] == (8, 9, 10, 11)
    ]
    value, params = max(on_validation, key=lambda each: each[0])
    best = optimizer.best
    assert best is not None
    assert (best.params, best.count, best.stderr) == (params, 4, None)
    assert best.value == pytest.approx(value, rel=1e-12)
    assert best.value > quality(params)  # the best of many noisy scores


def test_what_was_not_observed_does_not_count_as_bad() -> None:
    def half(trial: Trial) -> Outcome:
        values = list(evaluate(trial).values)
        values[0] = math.nan
        return Outcome(values, feedback=evaluate(trial).feedback)

    optimizer = build("gepa", proposer=propose, examples=ALL, valset_size=12)
    play(optimizer, 600, half)
    assert optimizer.best is not None
    assert optimizer.best.params == {"word": WORD}
    assert optimizer.best.value == 1.0


def test_a_proposer_that_fails_costs_a_proposal_and_not_the_run() -> None:
    calls = iter(range(10**6))

    def moody(params: Any, feedback: Any, rng: Any) -> Any:
        if next(calls) % 3 == 0:
            raise RuntimeError("not today")
        return propose(params, feedback, rng)

    optimizer = build("gepa", proposer=moody, examples=ALL, valset_size=12)
    play(optimizer, 900)
    assert optimizer.best is not None
    assert optimizer.best.params == {"word": WORD}


def test_a_text_outside_the_space_is_scored_as_the_worst_without_a_trial() -> None:
    llm = ScriptedLLM(lambda request: f"```\n{START}!\n```")
    optimizer = build("gepa", llm=llm, examples=ALL, max_chars=len(START))
    assert {trial.params["word"] for trial in play(optimizer, 100)} == {START}
    assert len(llm.requests) > 20


def test_without_a_call_left_it_waits_and_goes_on_when_there_are_more() -> None:
    llm = ScriptedLLM(reply)
    optimizer = build("gepa", llm=llm, examples=ALL)
    asked = 0
    while trials := optimizer.ask(1, Budget(llm_calls=2 - optimizer.usage.llm_calls)):
        asked += 1
        optimizer.tell(trials[0], evaluate(trials[0]))
    assert asked > 3
    assert llm.ledger.total.calls == 2
    assert optimizer.pending == ()
    (trial,) = optimizer.ask(1, Budget(llm_calls=1))
    assert llm.ledger.total.calls == 3
    optimizer.tell(trial, evaluate(trial))


def test_a_model_that_cannot_be_reached_is_asked_again_with_the_same_draw(
    caplog: pytest.LogCaptureFixture,
) -> None:
    llm = ScriptedLLM(reply)
    llm.ledger.limit({"llm_calls": 1})
    optimizer = build("gepa", llm=llm, examples=ALL)
    with caplog.at_level(logging.WARNING, "bbopt.baselines"):
        play(optimizer, 10**6)
    assert optimizer.gave_up == "llm"
    assert "no room" in caplog.text
    llm.ledger.limit({"llm_calls": 10**6})
    play(optimizer, 60)
    assert optimizer.gave_up is None
    assert [request.draw for request in llm.requests] == list(range(len(llm.requests)))


def test_a_failure_of_the_package_ends_the_run_with_one_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimizer = build("gepa", proposer=propose, examples=ALL)
    (trial,) = optimizer.ask()
    monkeypatch.setattr("gepa.core.engine.GEPAEngine._should_stop", lambda *_: 1 / 0)
    optimizer.tell(trial, evaluate(trial))
    assert optimizer.ask() == optimizer.ask() == []
    assert [record.getMessage() for record in caplog.records] == [
        "gepa has ended: ZeroDivisionError: division by zero"
    ]
    assert optimizer.best is not None


def test_an_optimizer_that_is_dropped_leaves_no_thread() -> None:
    optimizer = build("gepa", proposer=propose, examples=ALL)
    play(optimizer, 30)
    optimizer.ask()
    assert [t for t in threading.enumerate() if t.name == "bbopt-inverted"]
    del optimizer
    gc.collect()
    assert not [t for t in threading.enumerate() if t.name == "bbopt-inverted"]

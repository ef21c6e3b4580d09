"""Best of N and random restarts, against what their sentences say."""

from __future__ import annotations

import random
from typing import Any

import pytest

import bbopt
from bbopt import Budget, Float, Outcome, Space, Trial
from bbopt.testing import ScriptedLLM
from bbopt.testing.driving import equal_states
from tests.baselines.spelling import START, WORD, build, evaluate, play, propose

NAMES = ["best-of-n", "random-restarts"]


class Watching:
    """The toy's proposer, which notes from what it was to propose."""

    def __init__(self) -> None:
        self.parents: list[str] = []
        self.feedback: list[list[Any]] = []

    def __call__(self, params: Any, feedback: Any, rng: Any) -> Any:
        self.parents.append(params["word"])
        self.feedback.append(list(feedback))
        word, place = params["word"], int(rng.integers(len(WORD)))
        letter = WORD[place] if rng.random() < 0.5 else "x"
        return {"word": word[:place] + letter + word[place + 1 :]}


def noisy(seed: int) -> Any:
    noise = random.Random(seed)
    return lambda trial: Outcome([v + noise.gauss(0, 0.3) for v in evaluate(trial).values])


@pytest.mark.parametrize("name", NAMES)
def test_all_that_is_proposed_is_evaluated_on_m_examples(name: str) -> None:
    trials = play(build(name, proposer=Watching(), minibatch=3), 90)
    assert len(trials) == 30
    assert trials[0].params == {"word": START}
    assert {len(trial.context["examples"]) for trial in trials} == {3}


@pytest.mark.parametrize("name", NAMES)
def test_best_is_the_best_mean_however_it_came_about(name: str) -> None:
    told: dict[str, list[float]] = {}
    judge = noisy(5)

    def noted(trial: Trial) -> Outcome:
        outcome: Outcome = judge(trial)
        told.setdefault(trial.params["word"], []).extend(outcome.values)
        return outcome

    optimizer = build(name, proposer=Watching(), minibatch=2)
    play(optimizer, 200, noted)
    means = {word: sum(values) / len(values) for word, values in told.items()}
    best = optimizer.best
    assert best is not None
    assert best.params == {"word": max(means, key=lambda word: means[word])}
    assert best.value == pytest.approx(max(means.values()), rel=1e-9)


@pytest.mark.parametrize("in_flight", [1, 4])
def test_best_of_n_proposes_from_the_initial_params_alone(in_flight: int) -> None:
    proposer = Watching()
    optimizer = build("best-of-n", proposer=proposer, minibatch=3)
    minibatches = set()
    for _ in range(10):
        trials = optimizer.ask(in_flight)
        assert len(trials) == in_flight
        for trial in trials:
            minibatches.add(trial.context["examples"])
            optimizer.tell(trial, evaluate(trial))
    assert set(proposer.parents) == {START}
    assert len(minibatches) == 1
    assert [len(feedback) for feedback in proposer.feedback[in_flight - 1 :]] == [3] * (
        9 * in_flight
    )
    assert proposer.feedback[: in_flight - 1] == [[]] * (in_flight - 1)


def test_random_restarts_follows_its_rule() -> None:
    """The same chain by hand: accept what is no worse on the minibatch, restart after three."""
    proposer = Watching()
    optimizer = build("random-restarts", proposer=proposer, minibatch=4, patience=3)
    judge = noisy(1)
    stands: str | None = None
    stands_at, refused, n_restarts = 0.0, 0, 0
    minibatch: Any = None
    for _ in range(300):
        (trial,) = optimizer.ask()
        outcome = judge(trial)
        if stands is None:
            assert trial.params == {"word": START}
            assert trial.context["examples"] != minibatch
            minibatch, stands, stands_at, refused = trial.context["examples"], START, 0.0, 0
            stands_at = outcome.mean
        else:
            assert proposer.parents[-1] == stands
            assert trial.context["examples"] == minibatch
            if outcome.mean >= stands_at:
                stands, stands_at, refused = trial.params["word"], outcome.mean, 0
            else:
                refused += 1
                if refused == 3:
                    stands, n_restarts = None, n_restarts + 1
        optimizer.tell(trial, outcome)
    assert n_restarts > 5


def test_with_k_trials_in_flight_there_are_k_chains() -> None:
    proposer = Watching()
    optimizer = build("random-restarts", proposer=proposer, minibatch=2, patience=100)
    starts = optimizer.ask(3)
    assert [trial.params["word"] for trial in starts] == [START] * 3
    assert len({trial.context["examples"] for trial in starts}) > 1
    for trial in starts:
        optimizer.tell(trial, evaluate(trial))
    batches = {trial.context["examples"] for trial in starts}
    for _ in range(20):
        trials = optimizer.ask(3)
        assert {trial.context["examples"] for trial in trials} == batches
        for trial in reversed(trials):
            optimizer.tell(trial, evaluate(trial))
    assert {trial.context["examples"] for trial in optimizer.ask(2)} < batches


def test_a_proposer_that_reads_feedback_spells_the_minibatch() -> None:
    optimizer = build("random-restarts", proposer=propose, minibatch=12)
    play(optimizer, 12 * 20)
    assert optimizer.best is not None
    assert optimizer.best.params == {"word": WORD}


@pytest.mark.parametrize("name", NAMES)
def test_unusable_proposals_are_made_again(name: str) -> None:
    calls = iter(range(10**6))

    def moody(params: Any, feedback: Any, rng: Any) -> Any:
        if next(calls) % 3:
            raise RuntimeError("not now")
        return propose(params, feedback, rng)

    optimizer = build(name, proposer=moody)
    for _ in range(10):
        trials = optimizer.ask(2)
        assert len(trials) == 2
        for trial in trials:
            optimizer.tell(trial, evaluate(trial))


@pytest.mark.parametrize("name", NAMES)
def test_where_no_proposal_is_usable_an_ask_gives_up_and_leaves_no_trace(name: str) -> None:
    optimizer = build(name, proposer=lambda params, feedback, rng: {"word": 3})
    assert len(play(optimizer, 100)) == 1
    before = optimizer.state_dict()
    assert optimizer.ask() == []
    assert optimizer.gave_up == "proposer"
    assert equal_states(optimizer.state_dict(), before)


@pytest.mark.parametrize("name", NAMES)
def test_what_could_not_be_used_is_counted(name: str) -> None:
    calls: list[int] = []

    def moody(params: Any, feedback: Any, rng: Any) -> Any:
        calls.append(len(calls))
        return propose(params, feedback, rng) if len(calls) % 5 == 0 else None

    optimizer = build(name, proposer=moody, minibatch=2)
    assert len(play(optimizer, 22)) == 11
    found = optimizer.diagnostics()
    assert (found["proposals"], found["unusable_proposals"]) == (len(calls), len(calls) * 4 // 5)


@pytest.mark.parametrize("name", NAMES)
def test_no_more_calls_are_made_than_are_left(name: str) -> None:
    llm = ScriptedLLM(lambda request: {"params": {"word": f"{len(llm.requests):012}"}})
    optimizer = build(name, llm=llm)
    n_asked = 0
    while trials := optimizer.ask(1, Budget(llm_calls=3 - optimizer.usage.llm_calls)):
        n_asked += 1
        optimizer.tell(trials[0], evaluate(trials[0]))
    assert n_asked == 4  # the start and a child a call
    assert len(llm.requests) == llm.ledger.total.calls == optimizer.usage.llm_calls == 3


@pytest.mark.parametrize("name", NAMES)
def test_a_model_that_cannot_be_reached_is_asked_again_with_the_same_draw(name: str) -> None:
    llm = ScriptedLLM(lambda request: {"params": {"word": f"{len(llm.requests):012}"}})
    llm.ledger.limit({"llm_calls": 2})
    optimizer = build(name, llm=llm)
    assert len(play(optimizer, 10**6)) == 3
    assert optimizer.gave_up == "llm"
    llm.ledger.limit({"llm_calls": 10})
    assert optimizer.ask()
    assert optimizer.gave_up is None
    assert [request.draw for request in llm.requests] == [0, 1, 2]


@pytest.mark.parametrize("name", NAMES)
def test_a_space_without_an_initial_starts_from_a_draw(name: str) -> None:
    space = Space({"x": Float(0.0, 1.0)})
    first = bbopt.optimizer(name, space, seed=1).ask()[0].params
    assert first == bbopt.optimizer(name, space, seed=1).ask()[0].params
    assert first != bbopt.optimizer(name, space, seed=2).ask()[0].params

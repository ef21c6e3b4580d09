"""Texts in a study of Optuna: proposed by POLCA, kept in attributes."""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest

import bbopt
from bbopt.errors import SpaceError, UnsupportedSpec, UsageError
from bbopt.integrations.optuna import BBOptSampler, best_mean, suggest_text

START = "Answer the letter."
TEXT, BATCH, FEEDBACK = "bbopt:text:prompt", "bbopt:batch:prompt", "bbopt:feedback"
WORDS = ("politely", "briefly", "exactly", "never", "maybe")


@pytest.fixture(autouse=True)
def quiet() -> Any:
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(level)


class Adding:
    """Proposes the parent's text and one more word; notes what it was shown."""

    def __init__(self) -> None:
        self.shown: list[Any] = []

    def __call__(
        self, params: dict[str, Any], feedback: Any, rng: np.random.Generator
    ) -> dict[str, Any]:
        self.shown += feedback
        return {name: f"{text} {rng.choice(WORDS)}" for name, text in params.items()}


def quality(text: str) -> float:
    return sum(word in text for word in WORDS[:3]) / 3


def objective(trial: optuna.Trial) -> float:
    text = suggest_text(trial, "prompt", START)
    trial.set_user_attr(FEEDBACK, f"about {trial.number}")
    return quality(text)


def new_study(proposer: Any = None, **given: Any) -> optuna.Study:
    sampler = BBOptSampler("polca", seed=0, proposer=proposer, **given)
    return optuna.create_study(direction="maximize", sampler=sampler)


def texts(study: optuna.Study) -> list[str]:
    return [trial.user_attrs[TEXT] for trial in study.trials]


def test_polca_improves_a_text_from_what_its_evaluations_say() -> None:
    adding = Adding()
    study = new_study(adding)
    study.optimize(objective, n_trials=60)
    assert texts(study)[0] == START
    best = best_mean(study)
    assert best is not None
    assert quality(best.params["prompt"]) == best.value == 1.0
    assert "about 0" in str(adding.shown)
    again = new_study(Adding())
    again.optimize(objective, n_trials=60)
    assert texts(again) == texts(study)


def test_a_text_is_evaluated_as_often_as_it_was_planned() -> None:
    study = new_study(Adding(), minibatch=3)
    study.optimize(objective, n_trials=30)
    batches: dict[int, list[str]] = {}
    for trial in study.trials:
        batches.setdefault(trial.system_attrs[BATCH]["batch"], []).append(trial.user_attrs[TEXT])
    for found in batches.values():
        assert len(found) == 3
        assert len(set(found)) == 1


def test_another_worker_joins_a_batch_by_its_text() -> None:
    study = new_study(Adding(), minibatch=2)
    first = study.ask()
    said = suggest_text(first, "prompt", START)
    study.sampler = BBOptSampler("polca", seed=1, proposer=Adding(), minibatch=2)
    assert suggest_text(study.ask(), "prompt", START) == said
    assert [t.system_attrs[BATCH]["batch"] for t in study.trials] == [0, 0]


def test_a_restarted_worker_goes_on_from_the_study() -> None:
    study = new_study(Adding())
    study.optimize(objective, n_trials=20)
    before = texts(study)
    study.sampler = BBOptSampler("polca", seed=0, proposer=Adding())
    study.optimize(objective, n_trials=20)
    # some of what is new was made from what the first had found
    new = set(texts(study)) - set(before)
    assert {text.rpartition(" ")[0] for text in new} & (set(before) - {START})
    assert max(map(quality, texts(study)[20:])) >= max(map(quality, before)) > quality(START)


def test_a_text_is_the_same_however_often_a_trial_asks_for_it() -> None:
    trial = new_study(Adding()).ask()
    assert suggest_text(trial, "prompt", START) == suggest_text(trial, "prompt", "other")


def test_an_enqueued_text_is_evaluated_and_learned_from() -> None:
    adding = Adding()
    study = new_study(adding)
    perfect = "Answer politely, briefly and exactly."
    study.enqueue_trial({}, user_attrs={TEXT: perfect})
    study.optimize(objective, n_trials=6)
    assert texts(study)[0] == perfect
    assert sum(text.startswith(perfect) for text in texts(study)) > 1


@pytest.mark.parametrize("feedback", [0.5, ["a", 1], {"output": "x"}, None])
def test_feedback_may_be_whatever_an_attribute_holds(feedback: Any) -> None:
    study = new_study(Adding())
    study.enqueue_trial({}, user_attrs={TEXT: 17})  # no text: nothing is learned from it
    study.add_trial(optuna.create_trial(value=0.5, user_attrs={TEXT: 17, FEEDBACK: feedback}))
    study.add_trial(optuna.create_trial(value=0.5, user_attrs={TEXT: "hi", FEEDBACK: feedback}))
    with pytest.raises(SpaceError, match="must be a text"):
        study.optimize(objective, n_trials=1)
    study.optimize(objective, n_trials=5)
    assert all(isinstance(text, str) for text in texts(study)[3:])


def test_texts_and_numbers_of_one_trial() -> None:
    study = new_study(Adding())

    def both(trial: optuna.Trial) -> float:
        texts = [suggest_text(trial, name, START) for name in ("one", "two")]
        return sum(map(quality, texts)) - trial.suggest_float("x", -1, 1) ** 2

    study.optimize(both, n_trials=10)
    best = best_mean(study)
    assert best is not None
    assert best.params.keys() == {"one", "two", "x"}


def test_only_a_sampler_of_texts_proposes_texts() -> None:
    study = optuna.create_study(sampler=BBOptSampler("random"))
    with pytest.raises(UnsupportedSpec, match=r"BBOptSampler\('random'\) cannot propose one"):
        suggest_text(study.ask(), "prompt", START)
    study.sampler = optuna.samplers.RandomSampler()
    with pytest.raises(UnsupportedSpec, match=r"must be BBOptSampler\('polca'\), got RandomS"):
        suggest_text(study.ask(), "prompt", START)


def test_a_text_that_is_too_long_is_refused() -> None:
    study = new_study(Adding())
    with pytest.raises(SpaceError, match="at most 5 characters"):
        suggest_text(study.ask(), "prompt", START, max_chars=5)


def test_a_database_with_short_columns_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study(storage="sqlite://", sampler=BBOptSampler("polca", seed=0))
    trial = study.ask()
    monkeypatch.setattr(study._storage._backend.engine.dialect, "name", "mysql")
    with pytest.raises(UsageError, match="MySQL columns hold 64 KB"):
        suggest_text(trial, "prompt", START)


def test_random_edits_propose_where_nobody_else_does() -> None:
    study = new_study()
    study.optimize(objective, n_trials=12)
    assert len(set(texts(study))) > 2
    assert isinstance(best_mean(study), bbopt.Best)

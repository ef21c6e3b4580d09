"""OpenEvolve behind ask and tell: its processes ask us for everything, and leave with us."""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import bbopt
from bbopt import Budget, Outcome, Space, Text, Trial
from bbopt.baselines import evolution, openevolve
from bbopt.baselines.closed_loop import Evaluated
from bbopt.polca.prompts import shown
from bbopt.polca.proposer import Seen
from bbopt.testing import ScriptedLLM
from tests.baselines.spelling import START, WORD, build, evaluate, play, propose, quality, reply

pytest.importorskip("openevolve")

SMALL = {"num_islands": 1, "evaluations_per_program": 1, "examples": None}


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs put their folders."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_proposer_that_reads_feedback_reaches_the_word() -> None:
    optimizer = build("openevolve", proposer=propose, **SMALL)
    play(optimizer, 100)
    assert optimizer.best is not None
    assert (optimizer.best.params, optimizer.best.value) == ({"word": WORD}, 1.0)


def test_a_model_that_reads_the_prompt_reaches_the_word() -> None:
    llm = ScriptedLLM(reply)
    optimizer = build("openevolve", llm=llm, **SMALL)
    play(optimizer, 100)
    assert optimizer.best is not None
    assert optimizer.best.params == {"word": WORD}
    assert optimizer.usage == llm.ledger.total.usage
    assert [request.draw for request in llm.requests] == list(range(len(llm.requests)))
    system, user = llm.requests[0].messages
    assert "Objective: Spell it." in system["content"]
    assert "the word" in system["content"]
    assert f"@@PARENT@@\n{START}\n@@END@@" in user["content"]


def test_calls_of_an_ask_that_came_to_no_trial_are_repeated_from_the_recording(
    tmp_path: Path,
) -> None:
    def barren(request: Any) -> str:  # two rewrites in three change nothing
        return reply(request) if request.draw % 3 == 2 else f"```text\n{START}\n```"

    asks: list[Any] = []
    with ScriptedLLM(barren) as llm:
        llm.record(tmp_path / "llm.sqlite")
        optimizer = build("openevolve", llm=llm, **SMALL)
        while len(asks) < 6:
            left = Budget(llm_calls=1)  # of which every ask makes one, and some are in vain
            if trials := optimizer.ask(1, left):
                asks.append((left, trials[0]))
                optimizer.tell(trials[0], evaluate(trials[0]))
    with ScriptedLLM([]) as llm, llm.replay_only():
        llm.record(tmp_path / "llm.sqlite")
        again = build("openevolve", llm=llm, **SMALL)
        for left, trial in asks:
            assert again.ask(1, left) == [trial]
            again.tell(trial, evaluate(trial))
    assert again.usage == optimizer.usage


def test_every_program_is_evaluated_once_as_often_as_said() -> None:
    optimizer = build("openevolve", proposer=propose, evaluations_per_program=4)
    trials = play(optimizer, 40)
    assert trials[0].params == {"word": START}
    assert {trial.repeats for trial in trials} == {4}
    assert all(len(set(trial.context["examples"])) == 4 for trial in trials)
    assert len({trial.context["examples"] for trial in trials}) > 5  # drawn anew each time


def test_where_one_evaluation_says_all_there_is_one() -> None:
    optimizer = build("openevolve", proposer=propose, examples=None, deterministic=True)
    assert {trial.repeats for trial in play(optimizer, 10)} == {1}


def test_best_is_the_program_of_the_best_score_and_that_score() -> None:
    noise = random.Random(3)
    told: list[tuple[float, dict[str, Any]]] = []

    def noisy(trial: Trial) -> Outcome:
        outcome = Outcome([v + noise.gauss(0.0, 0.5) for v in evaluate(trial).values])
        told.append((outcome.mean, trial.params))
        return outcome

    optimizer = build("openevolve", proposer=propose, evaluations_per_program=3, examples=None)
    play(optimizer, 90, noisy)
    best = optimizer.best
    assert best is not None
    assert (best.value, best.params) == max(told, key=lambda each: each[0])
    assert (best.count, best.stderr) == (3, None)
    assert best.value > quality(best.params)  # the best of many noisy scores


def test_the_run_is_the_same_in_another_nursery(monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> list[Any]:
        optimizer = build("openevolve", seed=4, proposer=propose, evaluations_per_program=3)
        return [(trial.params, trial.context) for trial in play(optimizer, 120)]

    first = run()
    nursery = evolution._Nursery()
    monkeypatch.setattr(evolution, "_nursery", nursery)
    assert run() == first
    assert nursery._process is not None


def test_a_program_is_told_apart_from_one_that_is_out_of_the_space() -> None:
    llm = ScriptedLLM(lambda request: f"```text\n{START}{len(request.messages[1])}!\n```")
    optimizer = build("openevolve", llm=llm, max_chars=len(START))
    (trial,) = optimizer.ask()
    optimizer.tell(trial, evaluate(trial))
    assert optimizer.ask() == []  # a hundred requests and no trial: it is stuck
    assert len(llm.requests) > 40


@given(st.lists(st.text(alphabet="ab#\n ", max_size=12), min_size=2, max_size=2))
def test_several_texts_are_one_program_and_come_apart_again(texts: list[str]) -> None:
    space = Space({"system": Text("s"), "user.1": Text("u")})
    params = dict(zip(space, texts, strict=True))
    programs = openevolve._Programs(None, space, 1, offset=0.0, has_model=False)  # type: ignore[arg-type]
    assert programs._params(shown(params)) == params


@pytest.mark.parametrize("program", ["", "### system\nonly", "no heading at all"])
def test_a_program_without_a_heading_lacks_that_parameter(program: str) -> None:
    space = Space({"system": Text("s"), "user": Text("u")})
    programs = openevolve._Programs(None, space, 1, offset=0.0, has_model=False)  # type: ignore[arg-type]
    assert "user" not in programs._params(program)
    optimizer = bbopt.optimizer("openevolve", space)
    answer = optimizer._trial(openevolve.Evaluate(programs._params(program), 2))  # type: ignore[attr-defined]
    assert isinstance(answer, Evaluated)
    assert answer.scores == (0.0, 0.0)
    assert isinstance(answer.seen[0], Seen)
    assert "user" in str(answer.seen[0].feedback) or "system" in str(answer.seen[0].feedback)


def test_texts_that_are_no_characters_do_not_end_the_package() -> None:
    def odd(trial: Trial) -> Outcome:
        outcome = evaluate(trial)
        return Outcome(outcome.values, feedback=[f"\ud800 {said}" for said in outcome.feedback])

    def propose_odd(params: Any, feedback: Any, rng: Any) -> Any:
        return {"word": f"{params['word']}\udc80"}

    optimizer = build("openevolve", proposer=propose_odd, evaluations_per_program=1)
    trials = play(optimizer, 5, odd)
    assert [len(trial.params["word"]) for trial in trials[:2]] == [len(START), len(START) + 1]
    assert len(trials) == 5


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_scores_are_positive_where_the_range_is_known(direction: str) -> None:
    optimizer = build(
        "openevolve", proposer=propose, direction=direction, value_range=(-3.0, 5.0), examples=None
    )
    (trial,) = optimizer.ask()
    peer = optimizer._peer  # type: ignore[attr-defined]
    for value, low, high in [(-3.0, 0.0, 8.0), (5.0, 8.0, 0.0)]:
        told = optimizer._evaluated(trial, Outcome(value * optimizer.spec.sign))  # type: ignore[attr-defined]
        score = peer._translated(told)["score"]
        assert score == pytest.approx(low if direction == "maximize" else high)


def test_an_optimizer_that_is_dropped_leaves_no_process_and_no_file(folders: Path) -> None:
    optimizer = build("openevolve", proposer=propose)
    play(optimizer, 50)
    (folder,) = folders.iterdir()
    assert processes_in(folder)
    del optimizer
    gc.collect()
    assert not processes_in(folder)
    assert list(folders.iterdir()) == []


def test_when_its_owner_is_killed_the_processes_go_and_the_files_too(folders: Path) -> None:
    script = (
        "import bbopt, os, sys\n"
        "from tests.baselines.spelling import build, play, propose\n"
        "optimizer = build('openevolve', proposer=propose)\n"
        "play(optimizer, 50)\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    root = Path(__file__).parents[2]
    owner = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=root,
        env={**os.environ, "TMPDIR": str(folders), "PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        (folder,) = folders.iterdir()
        assert len(processes_in(folder)) == 2
        owner.send_signal(signal.SIGKILL)
    until(lambda: not processes_in(folder) and not folder.exists())


def test_processes_that_are_killed_end_the_run_with_the_reason(
    folders: Path, caplog: pytest.LogCaptureFixture
) -> None:
    optimizer = build("openevolve", proposer=propose)
    play(optimizer, 30)
    (trial,) = optimizer.ask()
    (folder,) = folders.iterdir()
    for process in processes_in(folder):
        os.kill(process, signal.SIGKILL)
    optimizer.tell(trial, evaluate(trial))
    assert optimizer.ask() == optimizer.ask() == []
    assert [r.getMessage() for r in caplog.records if r.name == "bbopt.baselines"] == [
        "openevolve has ended: its processes are gone"
    ]
    assert optimizer.best is not None


def test_a_run_that_goes_round_in_errors_is_ended(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(openevolve, "_template", lambda: "{there_is_no_such_field}")
    optimizer = build("openevolve", proposer=propose)
    assert len(play(optimizer, 100)) == 1
    assert "there_is_no_such_field" in caplog.text


def test_a_failing_start_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    started = evolution.Evolution
    monkeypatch.setattr(
        openevolve, "Evolution", lambda *a: started(a[0], a[1], {**a[2], "prompt": {"x": {}}})
    )
    optimizer = build("openevolve", proposer=propose)
    assert optimizer.ask() == []
    assert "has no attribute 'x'" in caplog.text


def test_what_is_asked_is_json(folders: Path) -> None:
    talk = evolution.Evolution("start é\n", {}, {"random_seed": 1, "language": "text"})
    assert talk.request == {"evaluate": "start é\n"}
    json.dumps(talk.request)
    talk.close()
    talk.close()
    assert list(folders.iterdir()) == []


def processes_in(folder: Path) -> list[int]:
    """The processes whose working directory is ``folder``."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            where = os.readlink(process / "cwd")
        except OSError:
            continue
        if where.removesuffix(" (deleted)") == str(folder):
            found.append(int(process.name))
    return found


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)

"""The rolling summary: what it reads, what it keeps, and a model that fails."""

from __future__ import annotations

import math

import pytest

from bbopt.polca.memory import Memory
from bbopt.polca.summarizer import (
    MAX_CHARS,
    N_CANDIDATES,
    digest,
    read_up_to,
    summarize,
    unread,
)
from bbopt.spec import Spec
from bbopt.testing import ScriptedLLM
from tests.polca.toys import losses, prompt_space

SPEC = Spec(space=prompt_space(), direction="maximize", objective="Sell tea.")


def memory_of(*candidates):
    """A memory in which each candidate was told these ``(value, feedback)``."""
    memory = Memory(prompt_space())
    for i, told in enumerate(candidates):
        memory.admit({"prompt": f"prompt {i}"})
        if told:
            values = [-value for value, _ in told]
            memory.record(i, losses(*values, feedback=[said for _, said in told]))
    return memory


def test_it_reads_the_newest_evaluated_candidates_that_it_has_not_read():
    memory = memory_of(*([(0.5, "x")] if i not in (2, 9) else [] for i in range(12)))
    assert unread(memory, 0) == [6, 7, 8, 10, 11]
    assert len(unread(memory, 0)) == N_CANDIDATES
    assert unread(memory, 8) == [8, 10, 11]
    assert unread(memory, 12) == []


def test_reading_goes_on_at_the_first_candidate_that_is_still_to_be_evaluated():
    memory = memory_of([(1, "a")], [(0, "b")], [], [(1, "c")])
    assert read_up_to(memory, 0) == 2
    memory.record(2, losses(math.nan))  # a failure says nothing more
    assert read_up_to(memory, 0) == 4
    assert read_up_to(memory, 4) == 4


def test_each_candidate_is_read_once_however_late_its_evaluation_comes():
    memory = memory_of(*([] for _ in range(10)))
    read, start = [], 0
    for late in (0, 3, 1, 2, 7, 4, 5, 6, 9, 8):
        memory.record(late, losses(0.5, feedback=["x"]))
        if late in (3, 2, 4, 6, 8):
            read += unread(memory, start)
            start = read_up_to(memory, start)
    assert set(read) == set(range(10))
    assert start == 10


def test_a_model_is_told_the_best_and_the_worst_of_each_candidate_in_the_users_direction():
    memory = memory_of([(0.2, "bad"), (0.9, "good"), (0.5, "middling")], [(0.7, "alone")])
    llm = ScriptedLLM([{"reasoning": "", "summary": " Prices matter. "}])
    text, usage, error = summarize(SPEC, llm, memory, [0, 1], "Haste is bad.", draw=3, seed=8)
    assert (text, error) == ("Prices matter.", None)
    assert usage.llm_calls == 1
    [request] = llm.requests
    assert (request.role, request.draw, request.seed) == ("summarizer", 3, 8)
    told = request.messages[-1]["content"]
    for part in ("prompt 0", "prompt 1", "score 0.2", "bad", "score 0.9", "good", "alone", "Haste"):
        assert part in told
    assert "middling" not in told


@pytest.mark.parametrize("reply", ["", "no JSON", {"words": "x"}, {"summary": "  "}, OSError("x")])
def test_a_model_that_fails_leaves_the_summary_as_it_was(reply):
    llm = ScriptedLLM([reply, reply])
    text, usage, error = summarize(SPEC, llm, memory_of([(1, "a")]), [0], "Before.", draw=0, seed=0)
    assert text == "Before."
    assert (error is None) == (reply == {"summary": "  "})
    assert usage.llm_calls == len(llm.requests)


def test_a_summary_has_an_end():
    llm = ScriptedLLM([{"summary": "x" * (3 * MAX_CHARS)}])
    text, *_ = summarize(SPEC, llm, memory_of([(1, "a")]), [0], "", draw=0, seed=0)
    assert len(text) == MAX_CHARS


def test_a_digest_is_the_distinct_lines_with_the_newest_first():
    memory = memory_of([(1, "old\nshared")], [(1, {"input": "?", "feedback": "shared\n\n new "})])
    assert digest(memory, [0, 1], "older\nold") == "shared\nnew\nold\nolder"


def test_a_digest_forgets_the_oldest_lines_when_it_is_full():
    memory = memory_of(*([(1, f"line {i} " + "x" * 90)] for i in range(5)))
    text = ""
    for _ in range(30):
        text = digest(memory, range(5), text)
        assert text.count("line") == 5
    long = digest(memory, [], "\n".join(f"{i} " + "y" * 90 for i in range(100)))
    assert len(long) <= MAX_CHARS
    assert long.startswith("0 ")
    assert all(len(line) > 90 for line in long.splitlines())  # whole lines only

"""Small edits of any text."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbopt.errors import UsageError
from bbopt.llm.edit import edit_text

TEXTS = st.text(max_size=80) | st.text("ab 1.\n", max_size=40)


@given(
    TEXTS,
    st.integers(0, 2**32),
    st.none() | st.integers(1, 60),
    st.sampled_from(["text", "python"]),
)
def test_an_edit_differs_fits_and_is_not_empty(text, seed, max_chars, language) -> None:
    edited = edit_text(text, np.random.default_rng(seed), max_chars, language)
    if not text:
        assert edited == ""
        return
    assert edited != text
    assert edited.strip()
    assert max_chars is None or len(edited) <= max_chars
    assert edited == edit_text(text, np.random.default_rng(seed), max_chars, language)


@given(st.integers(0, 2**32))
def test_lines_of_a_program_stay_whole(seed: int) -> None:
    program = "def f(x):\n    y = x + a\n    return y\n"
    edited = edit_text(program, np.random.default_rng(seed), language="python")
    assert set(edited.split("\n")) <= set(program.split("\n"))


def test_every_kind_of_edit_comes_up() -> None:
    text = "Be kind. Answer in 30 words.\nSay please."
    results = {edit_text(text, np.random.default_rng(seed)) for seed in range(300)}
    words = re.findall(r"\S+", text)
    assert any("30" not in r and len(re.findall(r"\S+", r)) == len(words) for r in results)
    assert "Say please.\nBe kind. Answer in 30 words." in results  # lines
    assert "Answer in 30 words. Be kind.\nSay please." in results or (
        "Answer in 30 words.\nSay please. Be kind." in results  # sentences
    )
    assert "Be kind. Answer in 30 words." in results  # a line less
    assert any(len(re.findall(r"\S+", r)) == len(words) - 1 for r in results)  # a word less
    assert any(len(re.findall(r"\S+", r)) == len(words) + 1 for r in results)  # a word more


@given(st.integers(0, 2**32), st.integers(0, 10**15 - 1))
def test_a_lone_number_becomes_another_of_the_same_kind(seed: int, number: int) -> None:
    edited = edit_text(str(number), np.random.default_rng(seed), language="json")
    assert edited.isdigit()
    assert int(edited) != number


def test_numbers_inside_names_are_left_alone() -> None:
    for seed in range(100):
        edited = edit_text("x1 = a2b + v3.0.1", np.random.default_rng(seed), language="python")
        assert edited.startswith("x1 = a2b + v")


def test_a_text_that_is_too_long_is_cut() -> None:
    assert len(edit_text("word " * 50, np.random.default_rng(0), 20)) <= 20


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match="max_chars must be an integer >= 1, got 0"):
        edit_text("a", np.random.default_rng(0), 0)

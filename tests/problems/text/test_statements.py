from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bbopt
import bbopt.problems.text.statements
from bbopt.problems.text import rulebook, staircase
from bbopt.problems.text.hints import DECOYS, FACTS
from bbopt.problems.text.hints import OPENING as HINTS_OPENING
from bbopt.problems.text.statements import SYNONYMS, Language

LANGUAGES = {
    "staircase": Language(staircase.OPENING, staircase.STATEMENTS),
    "rulebook": Language(rulebook.OPENING, rulebook.STATEMENTS),
    "switched": Language(rulebook.OPENING, rulebook.STATEMENTS, is_switched=True),
    "hints": Language(HINTS_OPENING, FACTS + DECOYS),
}
each_language = pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)

seeds = st.integers(0, 2**32 - 1)
latents = st.frozensets(st.integers(0, 23))


def scraps(language):
    """Pieces that foreign prompts may be made of."""
    own = [s.keyword for s in language.statements] + [s.sentence for s in language.statements]
    glue = ["", " ", "\n", "\\n", ". ", "; ", "- ", "Always ", "Never ", "do not ", "the buyer "]
    return st.lists(st.sampled_from(own + glue) | st.text(max_size=8), max_size=12).map("".join)


def within(language, latent):
    return frozenset(i % len(language.statements) for i in latent)


@each_language
@given(latent=latents)
def test_what_was_written_is_read(language, latent):
    latent = within(language, latent)
    assert language.read(language.write(latent)) == latent


@each_language
@given(latent=latents, data=st.data())
@settings(deadline=None)
def test_an_edit_of_any_text_gives_exactly_what_is_wanted(language, latent, data):
    text, seed = data.draw(scraps(language)), data.draw(seeds)
    latent = within(language, latent)
    assert language.read(language.edit(text, latent, np.random.default_rng(seed))) == latent


@each_language
@given(data=st.data())
@settings(deadline=None)
def test_a_rewording_of_any_text_is_another_text_that_says_the_same(language, data):
    text, seed = data.draw(scraps(language)), data.draw(seeds)
    reworded = language.reword(text, np.random.default_rng(seed))
    assert reworded != text
    assert language.read(reworded) == language.read(text)


@each_language
def test_a_chain_of_rewordings_says_the_same_in_many_ways(language):
    latent = frozenset({0, 1, 4, 6})
    rng, text = np.random.default_rng(0), language.write(latent)
    seen = set()
    for _ in range(100):
        text = language.reword(text, rng)
        assert language.read(text) == latent
        seen.add(text)
    assert len(seen) > 80


@each_language
def test_an_edit_leaves_all_other_sentences_as_they_were(language):
    rng = np.random.default_rng(0)
    text = language.reword(language.write(frozenset({0, 1, 2, 5})), rng)
    edited = language.edit(text, frozenset({0, 1, 2, 5, 7}), rng)
    before, after = set(text.split("\n")), set(edited.split("\n"))
    assert len(after - before) == 1
    assert len(before - after) == int(language.is_switched)


@each_language
def test_every_sentence_has_its_own_keyword_alone_and_no_negation(language):
    plain = Language("", language.statements)
    for i, statement in enumerate(language.statements):
        assert plain.named(statement.sentence) == ({i}, set())
        assert statement.sentence.endswith(".")
        assert statement.sentence[0].islower()
        assert plain.named(statement.topic) == (set(), set())
    assert plain.named(language.opening) == (set(), set())


@each_language
def test_no_synonym_is_part_of_a_keyword(language):
    words = {word for s in language.statements for word in s.keyword.lower().split()}
    assert not words & {word for group in SYNONYMS for word in group}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", set()),
        ("Say hello.", set()),
        ("first the ORDER \t Number, then the return label!", {0, 2}),
        ("Never ask for the order number. Send a return label.", {2}),
        ("Do not ask for the order number\nsend a return label", {2}),
        ("Never ask for the order number.\nAsk for the order number.", {0}),
        ("reorder numbers", set()),
        ("the order\nnumber", set()),  # a keyword ends with its line
        ('{"feedback": "Harmful: the order number\\nMissing: the return label"}', {2}),
    ],
)
def test_a_statement_is_in_force_where_a_sentence_affirms_its_keyword(text, expected):
    assert LANGUAGES["rulebook"].read(text) == expected


def test_a_switched_edit_changes_one_word():
    language, rng = LANGUAGES["switched"], np.random.default_rng(0)
    text = language.write(frozenset({0, 3}))
    edited = language.edit(text, frozenset({0, 3, 9}), rng)
    changed = [(a, b) for a, b in zip(text.split(), edited.split(), strict=True) if a != b]
    assert changed == [("Never", "Always")]
    assert language.edit(edited, frozenset({0, 3}), rng) == text


@pytest.mark.parametrize(("name", "is_near"), [("rulebook", True), ("switched", False)])
def test_rewordings_are_nearer_than_edits_unless_one_word_is_a_switch(name, is_near):
    from sklearn.feature_extraction.text import HashingVectorizer

    grams = HashingVectorizer(analyzer="char_wb", ngram_range=(3, 5), n_features=4096)
    language, rng = LANGUAGES[name], np.random.default_rng(0)
    reworded, edited = [], []
    for _ in range(100):
        latent = frozenset(rng.choice(24, size=10, replace=False).tolist())
        text = language.write(latent)
        other = language.edit(text, latent ^ {int(rng.integers(24))}, rng)
        vectors = grams.transform([text, language.reword(text, rng), other]).toarray()
        away = np.linalg.norm(vectors - vectors[0], axis=1)
        reworded.append(away[1])
        edited.append(away[2])
    # moved lines have distance 0 either way: look at the farther half, the exchanged words
    assert bool(np.quantile(reworded, 0.9) < np.quantile(edited, 0.1)) is is_near


def test_initial_texts_and_what_a_prompt_shows_of_a_spec_give_no_hint():
    for name in ("staircase", "rulebook", "paraphrase", "hints"):
        problem = bbopt.problem(f"text/{name}")
        shown = f"{problem.spec.objective}\n{problem.spec.space['prompt'].description}"
        assert problem.language.named(shown) == (set(), set())


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(bbopt.problems.text.statements).failed == 0

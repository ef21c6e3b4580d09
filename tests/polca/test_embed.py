"""Distances of texts against exact counts of n-grams, and embeddings that misbehave."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bbopt.errors import UsageError
from bbopt.polca.embed import Embedding, as_text, hashed_ngrams
from tests.polca.toys import OPENING, STEPS, text_of

PROMPT = OPENING + " ".join(STEPS)
CODE = """def priority(item, bins):
    scores = -np.abs(bins - item)
    scores[bins < item] = -np.inf
    return scores
"""


def params(text):
    return {"prompt": text}


def exact_distance(a, b):
    """Of the unit vectors of all 3- to 5-grams of words, without any hashing."""
    counts = []
    for text in (a, b):
        grams = Counter(
            f" {word} "[i : i + n]
            for word in text.lower().split()
            for n in (3, 4, 5)
            for i in range(len(word) + 3 - n)
        )
        norm = math.sqrt(sum(v * v for v in grams.values()))
        counts.append({gram: v / norm for gram, v in grams.items()})
    x, y = counts
    return math.sqrt(sum((x.get(g, 0) - y.get(g, 0)) ** 2 for g in x.keys() | y.keys()))


def near_duplicates(text, n):
    """The text with one word changed, n times."""
    words = text.split(" ")
    return [" ".join([*words[:i], "altered", *words[i + 1 :]]) for i in range(n)]


@pytest.mark.parametrize("text", [PROMPT, CODE], ids=["prompt", "code"])
def test_hashing_changes_no_distance_by_much(text):
    # 1,024 places for about 1,000 n-grams: the product of two unit vectors is off by
    # 1/sqrt(1024) = 0.03 for unrelated texts, and in proportion to d² for related ones.
    others = [*near_duplicates(text, 5), PROMPT[::-1], "Something else altogether, in few words."]
    [measured] = Embedding(hashed_ngrams)([params(text)], [params(other) for other in others])
    for got, other in zip(measured, others, strict=True):
        want = exact_distance(text, other)
        assert got**2 == pytest.approx(want**2, abs=0.12 * want**2 + 1e-6)


@pytest.mark.parametrize("text", [PROMPT, CODE], ids=["prompt", "code"])
def test_near_duplicates_are_nearer_than_other_texts(text):
    near = near_duplicates(text, 6)
    far = [PROMPT if text is CODE else CODE, PROMPT[: len(PROMPT) // 3], "Be brief."]
    [d] = Embedding(hashed_ngrams)([params(text)], [params(t) for t in (*near, *far)])
    assert d[: len(near)].max() < d[len(near) :].min()


def place_and_sign(gram):
    """By the definition of the hash, in integers of any length."""
    h = len(gram)
    for character in gram:
        h = (h ^ ord(character)) * 0x100000001B3 % 2**64
    for shift in (29, 32, 32):
        h = (h ^ (h >> shift)) * 0xBF58476D1CE4E5B9 % 2**64
    return h % 1024, 1.0 if h >> 63 else -1.0


def test_every_ngram_counts_at_the_place_and_with_the_sign_of_its_hash():
    want = np.zeros(1024)
    for gram in (" ca", "cat", "at ", " cat", "cat ", " cat ", " é😀", "é😀 ", " é😀 "):
        place, sign = place_and_sign(gram)
        want[place] += sign
    [got] = hashed_ngrams(["cat É😀"])
    assert got == pytest.approx(want / np.linalg.norm(want), abs=1e-7)


def test_hashed_vectors_have_unit_length():
    assert np.linalg.norm(hashed_ngrams([PROMPT, CODE, "a"]), axis=1) == pytest.approx([1, 1, 1])


@pytest.mark.parametrize("text", ["", " \n\t ", "\ud800", "é😀", "\x00"])
def test_texts_without_words_and_odd_characters_have_finite_vectors(text):
    [vector] = hashed_ngrams([text])
    assert np.isfinite(vector).all()


def test_case_and_white_space_do_not_count():
    a, b = hashed_ngrams(["Be kind.\n  Be brief.", "be KIND. be brief."])
    assert (a == b).all()


vectors = st.lists(
    st.lists(st.floats(-2, 2, width=32), min_size=3, max_size=3), min_size=1, max_size=6
)


@given(vectors, vectors)
def test_distances_are_those_of_the_vectors(a, b):
    table = {f"{i}": vector for i, vector in enumerate([*a, *b])}
    distance = Embedding(lambda texts: [table[text] for text in texts])
    names = [params(name) for name in table]
    got = distance(names[: len(a)], names[len(a) :])
    want = np.linalg.norm(np.array(a)[:, None] - np.array(b)[None], axis=2)
    # squares up to 36 lose 1e-14 to rounding, of which the root is 1e-7
    assert got == pytest.approx(want, abs=1e-6)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1))
def test_a_distance_depends_on_its_two_texts_alone_to_the_last_bit(seed):
    rng = np.random.default_rng(seed)
    texts = [params(text_of(int(level), tag)["prompt"]) for level in range(8) for tag in "abcdef"]
    reference = Embedding(hashed_ngrams)(texts, texts)
    other = Embedding(hashed_ngrams)
    for _ in range(3):
        rows = rng.permutation(len(texts))[: rng.integers(1, 20)]
        columns = rng.permutation(len(texts))[: rng.integers(1, 48)]
        got = other([texts[i] for i in rows], [texts[j] for j in columns])
        assert (got == reference[np.ix_(rows, columns)]).all()
    assert (reference == reference.T).all()


def test_equal_texts_are_at_distance_zero_exactly():
    group = [params(PROMPT), params(CODE), params(PROMPT)]
    d = Embedding(hashed_ngrams)(group, group)
    assert (d == 0).tolist() == [[True, False, True], [False, True, False], [True, False, True]]


def test_each_text_is_embedded_once():
    asked: list[str] = []

    def embed(texts):
        asked.extend(texts)
        return [[len(text), 1.0] for text in texts]

    distance = Embedding(embed)
    memory = [params(t) for t in ("one", "two", "three")]
    for extra in ("four", "two", "five", "four"):
        memory.append(params(extra))
        distance([params(extra), params("six")], memory)
    assert sorted(asked) == ["five", "four", "one", "six", "three", "two"]


def test_a_memory_that_is_replaced_by_another_is_not_mistaken_for_it():
    distance = Embedding(lambda texts: [[float(text)] for text in texts])
    first, second = ([params(str(v)) for v in values] for values in ((1, 2, 3), (1, 5)))
    assert distance([params("0")], first).tolist() == [[1, 2, 3]]
    assert distance([params("0")], second).tolist() == [[1, 5]]
    assert distance([params("0")], [*first[:1], *second]).tolist() == [[1, 1, 5]]
    assert distance([params("0")], [*first, params("9")]).tolist() == [[1, 2, 3, 9]]


def test_no_candidates_are_at_no_distances():
    distance = Embedding(hashed_ngrams)
    assert distance([], [params("a")]).shape == (0, 1)
    assert distance([params("a")], []).shape == (1, 0)


@pytest.mark.parametrize(
    "bad",
    [
        [1.0, 2.0],
        [[math.nan], [1.0]],
        [[1.0]],
        [["a"], ["b"]],
        [[1.0], [1.0, 2.0]],
        None,
        [[[1]]] * 2,
    ],
    ids=["flat", "nan", "too few", "words", "ragged", "none", "deep"],
)
def test_an_embedding_that_is_no_finite_row_a_text_is_refused(bad):
    with pytest.raises(UsageError, match=r"an embedding of 2 texts must be a finite array \(2, "):
        Embedding(lambda texts: bad)([params("a"), params("b")], [])


def test_an_embedding_whose_width_changes_is_refused():
    distance = Embedding(lambda texts: np.ones((len(texts), len(texts[0]))))
    distance([params("ab")], [])
    with pytest.raises(UsageError, match=r"\(1, 2\)"):
        distance([params("abc")], [])


def test_several_parameters_are_told_apart_by_their_names():
    assert as_text({"prompt": "x"}) == "x"
    a, b = {"prompt": "x", "n": 1}, {"prompt": "x", "m": 1}
    assert as_text(a) != as_text(b)
    assert "prompt" in as_text(a)

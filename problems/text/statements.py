"""Prompts made of statements: what a text says, and edits of it that a person would recognise.

The latent of a prompt is the set of the statements in force in it, read from the text alone: a
statement is in force where a sentence holds its keyword and no word of negation. Any text has a
latent (the empty one where nothing is recognised), so a language model may write what it likes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

import numpy as np

Latent: TypeAlias = frozenset[int]
"""The indices of the statements in force."""

SYNONYMS = (
    ("answer", "reply"),
    ("begin", "start"),
    ("brief", "short"),
    ("buyer", "client", "customer"),
    ("check", "verify"),
    ("clear", "plain"),
    ("costs", "fees"),
    ("fast", "quickly"),
    ("give", "offer"),
    ("helpful", "useful"),
    ("issue", "problem"),
    ("mail", "send"),
    ("mention", "state"),
    ("shop", "store"),
    ("tell", "inform"),
    ("when", "whenever"),
)
"""Words that a rewording may exchange; none of them is part of a keyword."""

_GAP = re.compile(r"((?<=[.!?;])\s+|\n+|\\n)")  # \n may arrive escaped, within JSON
_NEGATION = re.compile(r"\b(?:never|do not|don't|avoid|harmful|wrong)\b", re.IGNORECASE | re.ASCII)
_GROUPS = {word: group for group in SYNONYMS for word in group}
_SYNONYM = re.compile(rf"\b(?:{'|'.join(_GROUPS)})\b", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True)
class Statement:
    """One thing that a prompt may say.

    Parameters
    ----------
    keyword : str
        The words it is recognised by, whatever stands around them.
    sentence : str
        How it is written: holds its own keyword, no other one and no negation; begins with a
        small letter and ends with a full stop.
    topic : str
        What a task that needs it is about; does not give the keyword away.
    """

    keyword: str
    sentence: str
    topic: str = ""


class Language:
    r"""Reads, writes, edits and rewords prompts that consist of an opening and statements.

    Parameters
    ----------
    opening : str
        What every prompt begins with; holds no keyword.
    statements : sequence of Statement
        What else it may say.
    is_switched : bool
        Whether a prompt lists all statements and turns each on with "Always" and off with
        "Never", one word; else it lists those in force.

    Examples
    --------
    >>> tea = Language("Make tea.", [Statement("milk jug", "use the milk jug.")])
    >>> tea.write({0})
    'Make tea.\n- Use the milk jug.'
    >>> tea.read("First the MILK  jug, then tea."), tea.read("Never use the milk jug.")
    (frozenset({0}), frozenset())
    """

    def __init__(
        self, opening: str, statements: Sequence[Statement], *, is_switched: bool = False
    ) -> None:
        self.opening = opening
        self.statements = tuple(statements)
        self.is_switched = is_switched
        self._index = {s.keyword: i for i, s in enumerate(self.statements)}
        words = "|".join(r"\s+".join(map(re.escape, s.keyword.split())) for s in statements)
        self._keyword = re.compile(rf"\b(?:{words})\b", re.IGNORECASE | re.ASCII)

    def read(self, text: str) -> Latent:
        """The statements in force in ``text``."""
        return self.named(text)[0]

    def named(self, text: str) -> tuple[Latent, Latent]:
        """The statements that sentences of ``text`` affirm, and those that sentences negate."""
        affirmed, negated = set[int](), set[int]()
        for sentence in sentences(text):
            if found := self._mentions(sentence):
                (negated if _NEGATION.search(sentence) else affirmed).update(found)
        return frozenset(affirmed), frozenset(negated)

    def write(self, latent: Set[int]) -> str:
        """The plainest prompt in which exactly ``latent`` is in force."""
        listed = range(len(self.statements)) if self.is_switched else sorted(latent)
        return "\n".join([self.opening, *(self._line(i, i in latent) for i in listed)])

    def edit(self, text: str, latent: Set[int], rng: np.random.Generator) -> str:
        """``text`` changed as little as needed for exactly ``latent`` to be in force in it.

        Sentences that say what is not wanted go, or are switched; what is missing is added in
        lines of its own, each at a place drawn from ``rng``.
        """
        parts = _GAP.split(text)
        kept = []
        for sentence, gap in zip(parts[::2], [*parts[1::2], ""], strict=True):
            wanted = self._switched(sentence, latent) if self.is_switched else sentence
            if self.read(wanted) <= latent:
                kept.append(wanted + gap)
        lines = "".join(kept).split("\n")
        for i in rng.permutation(sorted(latent - self.read("\n".join(lines)))).tolist():
            bullets = [at for at, line in enumerate(lines) if line.startswith("- ")]
            lowest = bullets[0] if bullets else len(lines)
            lines.insert(int(rng.integers(lowest, len(lines) + 1)), self._line(i, True))
        return "\n".join(lines)

    def reword(self, text: str, rng: np.random.Generator) -> str:
        """Another text in which the same is in force: a word exchanged, a line moved, or both."""
        exchanged, moved = _exchanged(text), _moved(text)
        if not (exchanged or moved):  # a foreign text without anything to vary
            exchanged = _exchanged(self.write(self.read(text)))
        if exchanged and not (moved and rng.random() < 1 / 3):
            text = exchanged[rng.integers(len(exchanged))]
            moved = _moved(text) if rng.random() < 1 / 2 else []
        return moved[rng.integers(len(moved))] if moved else text

    def _mentions(self, sentence: str) -> set[int]:
        found = self._keyword.findall(sentence)
        return {self._index[" ".join(words.lower().split())] for words in found}

    def _line(self, index: int, is_on: bool) -> str:
        sentence = self.statements[index].sentence
        if self.is_switched:
            return f"- {'Always' if is_on else 'Never'} {sentence}"
        return f"- {sentence[0].upper()}{sentence[1:]}"

    def _switched(self, sentence: str, latent: Set[int]) -> str:
        """``sentence`` with its switch turned, where that makes it say what is wanted."""
        mentioned = self._mentions(sentence)
        if self.read(sentence) - latent:
            return re.sub(r"\bAlways\b", "Never", sentence, count=1)
        if mentioned and mentioned <= latent:
            return re.sub(r"\bNever\b", "Always", sentence, count=1)
        return sentence


def sentences(text: str) -> list[str]:
    """``text`` cut after full stops and at the ends of lines."""
    return _GAP.split(text)[::2]


def _moved(text: str) -> list[str]:
    """``text`` with two neighbouring list items exchanged, for each such pair."""
    lines = text.split("\n")
    return [
        "\n".join([*lines[:at], lines[at + 1], lines[at], *lines[at + 2 :]])
        for at, (one, other) in enumerate(pairwise(lines))
        if one.startswith("- ") and other.startswith("- ") and one != other
    ]


def _exchanged(text: str) -> list[str]:
    """``text`` with one word exchanged for a synonym, for each of both."""
    return [
        text[: match.start()] + word + text[match.end() :]
        for match in _SYNONYM.finditer(text)
        for word in _others(match.group())
    ]


def _others(word: str) -> Iterator[str]:
    for other in _GROUPS[word.lower()]:
        if other != word.lower():
            yield other.capitalize() if word[0].isupper() else other

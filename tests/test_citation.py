"""bbopt.cite: every method has references, and they are BibTeX."""

from __future__ import annotations

import re

import pytest

import bbopt
from bbopt.citation import REFERENCES, _entries
from bbopt.errors import UnknownName
from bbopt.registry import optimizer_class, optimizer_names, problem_names

ENTRY = re.compile(r"@(?P<kind>\w+)\{(?P<key>\w+),\n(?P<fields>.*)\n\}", re.DOTALL)
NEEDED = {
    "article": {"author", "title", "journal", "year"},
    "inproceedings": {"author", "title", "booktitle", "year"},
    "software": {"author", "title", "year"},
}


def split(bibtex: str) -> list[str]:
    return bibtex.split("\n\n")


def test_every_optimizer_of_ours_can_be_cited() -> None:
    ours = [n for n in optimizer_names() if optimizer_class(n).__module__.startswith("bbopt.")]
    assert [name for name in ours if name not in REFERENCES] == []


@pytest.mark.parametrize("name", REFERENCES)
def test_each_entry_has_the_fields_of_its_kind_and_balanced_braces(name: str) -> None:
    for entry in split(bbopt.cite(name)):
        parsed = ENTRY.fullmatch(entry)
        assert parsed, entry
        fields = set(re.findall(r"^  (\w+) += \{", parsed["fields"], re.MULTILINE))
        assert fields >= NEEDED[parsed["kind"]]
        depth = 0
        for character in entry:
            depth += {"{": 1, "}": -1}.get(character, 0)
            assert depth >= 0
        assert depth == 0


def test_a_method_comes_with_what_it_builds_on() -> None:
    own, built_on = split(bbopt.cite("optuna:tpe"))
    assert "Optuna" in own
    assert "Algorithms for Hyper-Parameter Optimization" in built_on


def test_a_problem_that_can_be_cited_exists() -> None:
    assert {name for name in REFERENCES if "/" in name} <= set(problem_names())


def test_the_bibliography_has_no_entry_that_nobody_cites() -> None:
    assert set(_entries()) == {key for keys in REFERENCES.values() for key in keys}


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"'optuna:tp'.*optuna:tpe"):
        bbopt.cite("optuna:tp")

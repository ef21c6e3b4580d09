import re

import pytest

from bbopt import registry
from bbopt.polca.settings import VARIANTS
from bbopt.settings import describe


def test_every_problem_is_listed_with_its_first_line(bbopt):
    lines = bbopt("problems").stdout.splitlines()
    assert [line.split()[0] for line in lines] == registry.problem_names()
    assert all(len(line.split()) > 3 for line in lines)


def test_a_problem_shows_arguments_space_and_what_is_known_of_it(bbopt):
    said = bbopt("problems", "synthetic/ackley", "--with", "dim=3", "--with", "noise=1").stdout
    assert "noise       default 0.0" in said
    assert "x3  float in [-32.768, 32.768]" in said
    assert "direction      minimize" in said
    assert "evaluations    noisy" in said
    assert "optimum        0" in said


def test_a_problem_that_needs_an_argument_is_described_without_a_space(bbopt):
    result = bbopt("problems", "hpo/table")
    assert result.exit_code == 0
    assert "path       required" in result.stdout
    assert "Its space depends on its arguments" in result.stdout
    assert bbopt("problems", "hpo/table", "--with", "path=no.csv").exit_code == 2


def test_a_dimension_is_shown_with_its_unusual_options_only(bbopt):
    said = bbopt("problems", "hpo/digits-svm").stdout
    assert "C       float in [0.001, 1000.0], logarithmic, initial 1.0\n" in said
    assert "kernel  one of 'rbf', 'poly', 'sigmoid', initial 'rbf'\n" in said


def test_a_problem_of_ones_own_is_described(bbopt, oven):
    said = bbopt("problems", f"{oven}:Oven").stdout
    assert said.startswith("oven.py:Oven\nBakes bread: noisy")
    assert "minutes  int in [10, 90], initial 60" in said
    assert "direction      maximize" in said


def test_every_optimizer_is_listed_with_what_it_can_handle(bbopt):
    head, *lines = bbopt("optimizers").stdout.splitlines()
    assert head.split() == ["NAME", "PARAMETERS", "REQUIRES"]
    assert [line.split()[0] for line in lines] == registry.optimizer_names()
    for name, line in zip(registry.optimizer_names(), lines, strict=True):
        assert all(f" {kind}" in line for kind in registry.optimizer_class(name).kinds)


@pytest.mark.parametrize("name", ["optuna:tpe", "cma", "sobol"])
def test_an_optimizer_shows_every_setting_with_default_and_meaning(bbopt, name):
    said = bbopt("optimizers", name).stdout
    for row in describe(registry.optimizer_class(name).Settings):
        (line,) = [one for one in said.splitlines() if one.startswith(f"  {row['name']} ")]
        assert repr(row["default"]) in line
        assert line.endswith(row["meaning"])
    assert f"bbopt cite {name}" in said


def test_an_optimizer_without_settings_says_so(bbopt):
    assert "It has no settings." in bbopt("optimizers", "random").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["problems", "synthetic/aclkey"], "did you mean synthetic/ackley"),
        (["problems", "synthetic/ackley", "--with", "dim=0"], "dim must be an integer"),
        (["optimizers", "tpe"], "did you mean optuna:tpe"),
        (["cite", "sobbol"], "did you mean sobol"),
    ],
)
def test_an_unknown_name_gets_the_nearest_ones(bbopt, words, said):
    result = bbopt(*words)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_cite_prints_bibtex(bbopt):
    assert bbopt("cite").stdout.startswith("@")
    assert "joe2008sobol" in bbopt("cite", "sobol").stdout


def test_settings_that_a_variant_decides_show_what_that_is(bbopt):
    lines = bbopt("optimizers", "polca").stdout.splitlines()
    for name, ours in VARIANTS["bbopt"].items():
        if name != "confirm":
            (line,) = [one for one in lines if one.startswith(f"  {name} ")]
            default = re.split(r"  +", line.strip())[2]
            paper = VARIANTS["paper"][name]
            shown = "2 to 32" if ours is None else str(ours)
            assert default == (shown if paper == ours else f"{shown} (paper: {paper})")


def test_no_markup_is_shown(bbopt):
    texts = [
        bbopt(*words).stdout for words in (["optimizers"], ["problems"], ["optimizers", "cma"])
    ]
    texts += [bbopt("optimizers", "gp:ucb").stdout, bbopt("problems", "text/rulebook").stdout]
    assert not [line for text in texts for line in text.splitlines() if "`" in line]
    assert "(log-uniformly where log)" in texts[0]

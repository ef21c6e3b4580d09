"""The settings of POLCA: variants, what is left out, what is refused."""

from __future__ import annotations

import pytest

from bbopt.budget import Budget
from bbopt.errors import UsageError
from bbopt.polca.settings import VARIANTS
from tests.polca.toys import Stairs, drive, polca


@pytest.mark.parametrize("variant", sorted(VARIANTS))
def test_settings_left_out_are_those_of_the_variant_and_given_ones_hold(variant):
    problem = Stairs()
    rule = {name: v for name, v in VARIANTS[variant].items() if name != "confirm"}
    plain = polca(problem, variant=variant)
    spelt = polca(problem, variant=variant, **rule)
    assert drive(plain, problem, 300) == drive(spelt, problem, 300)
    assert plain.confirm == VARIANTS[variant]["confirm"]
    other = polca(problem, variant=variant, minibatch=5)
    assert plain.ask()[0].repeats != 5
    assert other.ask()[0].repeats == 5


@pytest.mark.parametrize(
    ("left", "m"),
    [
        (Budget(), 2), (Budget(evaluations=9000), 2), (Budget(llm_calls=60), 32),
        (Budget(evaluations=600, llm_calls=60), 5), (Budget(evaluations=200, llm_calls=100), 2),
        (Budget(evaluations=9000, llm_calls=10), 32), (Budget(evaluations=7, llm_calls=0.5), 7),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("has_examples", [False, True])
def test_minibatches_are_as_large_as_both_axes_of_the_budget_allow(has_examples, left, m):
    problem = Stairs(examples=40 if has_examples else 0)
    (trial,) = polca(problem).ask(1, left)
    assert trial.repeats == m
    assert len(trial.context.get("examples", ())) == (m if has_examples else 0)


def test_the_paper_variant_has_the_settings_of_the_paper():
    paper = VARIANTS["paper"]
    # arXiv 2603.14769: k = 5, minibatches of 2, ε = 0.1, the mean as priority, no remedy
    assert (paper["n_parents"], paper["minibatch"], paper["epsilon"]) == (5, 2, 0.1)
    assert (paper["ucb_scale"], paper["evaluate_again"], paper["reserve"]) == (0.0, False, False)
    assert paper["confirm"] == 0.0


@pytest.mark.parametrize(
    "bad",
    [{"variant": "other"}, {"n_parents": 0}, {"minibatch": 0}, {"n_proposals": 0},
     {"epsilon": -0.1}, {"ucb_scale": -1.0}, {"distance": "cosine"}, {"selection": "best"}],
    ids=str,
)  # fmt: skip
def test_a_setting_out_of_its_range_is_refused_with_its_name(bad):
    with pytest.raises(UsageError, match=next(iter(bad))):
        polca(Stairs(), **bad)

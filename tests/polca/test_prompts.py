"""What the prompts tell, and that the schemas say what the space allows."""

from __future__ import annotations

import json

import pytest

from bbopt.llm.parse import read_json
from bbopt.polca.prompts import (
    EXAMPLES_CHARS,
    FIELD_CHARS,
    SUMMARY_SCHEMA,
    proposal_schema,
    proposer_messages,
    summarizer_messages,
)
from bbopt.space import Categorical, Float, Int, Space, Text
from bbopt.spec import Spec

SPACE = Space(
    {
        "system": Text("Be kind.", description="what the model is told first", max_chars=500),
        "code": Text("x = 1", language="python"),
        "k": Int(1, 8, initial=3),
        "heat": Float(0.0, 1.5, initial=0.7),
        "model": Categorical(["small", "large"], initial="small"),
    }
)
PARAMS = SPACE.initial


def told(spec, params=PARAMS, examples=(), summary=""):
    """The words that the user part of the request consists of."""
    system, user = proposer_messages(spec, params, examples, summary)
    assert (system["role"], user["role"]) == ("system", "user")
    return user["content"]


def test_objective_direction_range_and_every_value_are_told():
    text = told(Spec(space=SPACE, direction="maximize", objective="Sell tea.", value_range=(0, 5)))
    assert "Sell tea." in text
    assert "higher score is better" in text
    assert "[0, 5]" in text
    for part in ("Be kind.", "x = 1", "0.7", "small"):
        assert part in text.partition("@@PARENT@@")[2].partition("@@END@@")[0]
    for part in ("what the model is told first", "at most 500 characters", "python", "[1, 8]"):
        assert part in text.partition("@@PARENT@@")[0]


def test_a_lower_score_is_called_better_where_it_is():
    text = told(Spec(space=SPACE))
    assert "lower score is better" in text
    assert "higher" not in text


def test_the_only_parameter_is_shown_bare_between_the_markers():
    space = Space({"prompt": Text("one\ntwo")})
    text = told(Spec(space=space), {"prompt": "one\ntwo"})
    assert "@@PARENT@@\none\ntwo\n@@END@@" in text


def test_all_that_an_example_said_is_told_and_the_summary_too():
    examples = [{"example 7": "score 0.5", "input": "When?", "output": "", "feedback": "Too curt."}]
    text = told(Spec(space=SPACE), examples=examples, summary="Customers hate haste.")
    for part in ("example 7: score 0.5", "When?", "Too curt.", "Customers hate haste."):
        assert part in text
    assert "output:" not in text  # there was none
    bare = told(Spec(space=SPACE))
    assert "Lessons" not in bare
    assert "What happened" not in bare


def test_a_long_feedback_keeps_its_beginning_and_its_end():
    long = "BEGIN" + "." * (10 * FIELD_CHARS) + "END"
    text = told(Spec(space=SPACE), examples=[{"feedback": long}])
    assert "BEGIN" in text
    assert "END" in text
    assert len(text) < len(told(Spec(space=SPACE))) + 2 * FIELD_CHARS


def test_many_examples_are_all_shown_each_of_them_shorter():
    examples = [{f"example {i}": "score 0", "feedback": f"#{i}" + "." * 5000} for i in range(60)]
    text = told(Spec(space=SPACE), examples=examples)
    assert all(f"#{i}." in text for i in range(60))
    assert len(text) < len(told(Spec(space=SPACE))) + 1.3 * EXAMPLES_CHARS


@pytest.mark.parametrize(
    ("change", "is_allowed"),
    [
        ({}, True),
        ({"system": "New."}, True),
        ({"system": "x" * 501}, False),
        ({"k": 8}, True),
        ({"k": 9}, False),
        ({"k": 2.5}, False),
        ({"heat": -0.1}, False),
        ({"model": "huge"}, False),
        ({"code": 3}, False),
    ],
)
def test_the_schema_of_a_proposal_allows_what_the_space_allows(change, is_allowed):
    for params in (change, {**PARAMS, **change}):  # what is left out keeps its value
        assert meets(proposal_schema(SPACE), {"reasoning": "", "params": params}) == is_allowed


def meets(schema, reply):
    """Whether the client would let this reply through."""
    try:
        return read_json(json.dumps(reply), json.loads(json.dumps(schema))) == reply
    except ValueError:
        return False


def test_replies_without_what_they_are_for_do_not_meet_the_schemas():
    assert not meets(proposal_schema(SPACE), {"reasoning": "none"})
    assert not meets(SUMMARY_SCHEMA, {"reasoning": "none"})
    assert not meets(SUMMARY_SCHEMA, {"summary": ["a", "list"]})


def test_the_summarizer_is_told_the_objective_what_it_said_before_and_what_is_new():
    spec = Spec(space=SPACE, objective="Sell tea.")
    new = [{"values": "Be kind.", "example 1": "score 0", "feedback": "No price was given."}]
    system, user = summarizer_messages(spec, "Haste is bad.", new)
    assert "summarizer" in system["content"]
    for part in ("Sell tea.", "Haste is bad.", "No price was given.", "Be kind."):
        assert part in user["content"]
    assert "so far" not in summarizer_messages(spec, "", new)[1]["content"]

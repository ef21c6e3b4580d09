"""Who proposes: functions, models and generic edits, and what comes of their faults."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest

import bbopt
from bbopt import seeding
from bbopt.llm import Answer
from bbopt.polca.proposer import Request, Seen, make_proposer, room_for
from bbopt.space import Categorical, Float, Int, Space, Text
from bbopt.spec import Spec
from bbopt.testing import ScriptedLLM

SPACE = Space({"prompt": Text("Be kind.", max_chars=60), "k": Int(1, 8, initial=3)})
SPEC = Spec(space=SPACE, direction="maximize", objective="Sell tea.")
PARENT = {"prompt": "Be kind.", "k": 3}
SEEN = (Seen(4, 0.5, "too curt"), Seen(7, 1.0, {"input": "When?", "feedback": "fine"}))


def request(draw=0, summary="", seen=SEEN, params=PARENT):
    return Request(dict(params), seen, summary, draw)


def proposer(function=None, llm=None, spec=SPEC, **kwargs):
    return make_proposer(bbopt.optimizer("polca", spec, proposer=function, llm=llm, **kwargs))


def replying(*replies, **options):
    """A proposer whose model says these things, and its client."""
    llm = ScriptedLLM(list(replies), max_concurrent=1, **options)
    return proposer(llm=llm), llm


# --- functions -----------------------------------------------------------------------


def test_a_function_gets_the_parent_the_feedback_and_the_summary_at_the_end():
    got = []

    def propose(params, feedback, rng):
        got.append((params, feedback))
        return params

    proposer(propose)([request(summary="Haste is bad."), request()])
    feedback = ["too curt", {"input": "When?", "feedback": "fine"}]
    assert got == [(PARENT, [*feedback, {"summary": "Haste is bad."}]), (PARENT, feedback)]


def test_what_a_function_draws_depends_on_seed_worker_and_number_of_the_request_alone():
    def propose(params, feedback, rng):
        return {**params, "prompt": str(rng.integers(2**32))}

    def drawn(*draws, **kwargs):
        return [
            p.params["prompt"] for p in proposer(propose, **kwargs)([request(d) for d in draws])
        ]

    assert drawn(0, 1, 2) == [*drawn(0), *drawn(1), *drawn(2)]
    assert len({*drawn(0, 1), *drawn(0, seed=1), *drawn(0, worker=1)}) == 4
    expected = seeding.stream(5, "propose", worker=2, number=9).integers(2**32)
    assert drawn(9, seed=5, worker=2) == [str(expected)]


@pytest.mark.parametrize(
    "nonsense",
    [None, "text", {}, {"prompt": "x"}, {**PARENT, "k": 9}, {**PARENT, "k": "3"},
     {**PARENT, "z": 1}, {**PARENT, "prompt": "x" * 61}, {**PARENT, "prompt": None}, [PARENT]],
)  # fmt: skip
def test_nonsense_of_a_function_is_no_proposal_and_says_why(nonsense):
    [proposal] = proposer(lambda params, feedback, rng: nonsense)([request()])
    assert proposal.params is None
    assert proposal.error
    assert not proposal.is_outage


def test_a_function_that_raises_spoils_its_own_proposal_only():
    def propose(params, feedback, rng):
        if feedback:
            raise ZeroDivisionError("no way")
        return {**params, "k": 5}

    bad, good = proposer(propose)([request(0), request(1, seen=())])
    assert (bad.params, bad.error) == (None, "ZeroDivisionError: no way")
    assert good.params == {"prompt": "Be kind.", "k": 5}


@pytest.mark.parametrize("llm", [None, ScriptedLLM(lambda request: "I'd rather not.")])
def test_the_first_proposal_that_cannot_be_used_is_warned_of_and_no_other(llm, caplog):
    function = None if llm else lambda params, feedback, rng: {**params, "k": int(feedback[0])}
    propose = proposer(function, llm)
    seen = [(Seen(None, 0.5, said),) for said in ("5", "77", "many")]
    propose([request(0, seen=seen[0])])
    assert not caplog.records or llm
    propose([request(1, seen=seen[1]), request(2, seen=seen[2])])
    propose([request(3, seen=seen[2])])
    [record] = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("polca: a proposal could not be used")
    assert ("JSON" if llm else "parameter 'k' must be in [1, 8], got 77") in record.getMessage()


def test_where_nobody_could_be_asked_nothing_is_called_unusable(caplog):
    propose, llm = replying({"params": {"k": 4}})
    llm.ledger.limit({"llm_calls": 1})
    assert propose([request(0)])[0].params == {**PARENT, "k": 4}
    assert propose([request(1)])[0].is_outage
    assert "could not be used" not in caplog.text


# --- a model -------------------------------------------------------------------------


def test_a_model_is_shown_everything_and_its_reply_becomes_params():
    propose, llm = replying({"reasoning": "Short.", "params": {"prompt": "Be brief.", "k": 2}})
    [proposal] = propose([request(draw=12, summary="Haste is bad.")])
    assert proposal.params == {"prompt": "Be brief.", "k": 2}
    assert proposal.usage.llm_calls == 1
    assert proposal.usage.tokens > 0
    [sent] = llm.requests
    assert (sent.role, sent.draw, sent.seed) == ("proposer", 12, 0)
    text = sent.messages[-1]["content"]
    for part in ("Sell tea.", "Be kind.", "example 4: score 0.5", "too curt", "When?", "Haste"):
        assert part in text


def test_a_parameter_that_the_model_leaves_out_keeps_its_value():
    propose, _ = replying({"params": {"prompt": "Be brief."}})
    assert propose([request()])[0].params == {"prompt": "Be brief.", "k": 3}


def test_a_parameter_that_is_not_there_is_overlooked():
    propose, _ = replying({"params": {"prompt": "Be brief.", "temperature": 2}})
    assert propose([request()])[0].params == {"prompt": "Be brief.", "k": 3}


@pytest.mark.parametrize(
    "reply",
    ["", "no JSON", '{"params": {"k": 1e999}}', '{"params": {"k": 9}}', '{"params": [1]}', "{}",
     '{"params": {"prompt": "' + "x" * 61 + '"}}', Answer(error="cut", tokens=(5, 5))],
)  # fmt: skip
def test_an_unusable_reply_is_no_proposal_but_no_outage_and_is_paid(reply):
    propose, llm = replying(reply, reply)  # asked once to mend it
    [proposal] = propose([request()])
    assert proposal.params is None
    assert proposal.error
    assert not proposal.is_outage
    assert proposal.usage.llm_calls == len(llm.requests) >= 1


def test_a_mended_reply_counts_and_both_calls_are_paid():
    propose, llm = replying("{", {"params": {"k": 8}})
    [proposal] = propose([request()])
    assert proposal.params == {"prompt": "Be kind.", "k": 8}
    assert proposal.usage.llm_calls == len(llm.requests) == 2


def test_a_server_that_counts_as_down_or_a_spent_budget_is_an_outage():
    propose, _ = replying(OSError("down"), failures=1)
    first, second = propose([request(0)])[0], propose([request(1)])[0]
    assert not first.is_outage  # it was sent, and may have cost something
    assert second.is_outage
    propose, llm = replying({"params": {"k": 1}})
    llm.ledger.limit({"tokens": 1})
    [refused] = propose([request()])
    assert refused.is_outage
    assert llm.requests == []


def test_replies_belong_to_their_requests_whatever_the_order_of_arrival():
    arrived = threading.Barrier(4, timeout=30)  # nobody answers before all four are asked

    def reply(asked):
        arrived.wait()
        return {"params": {"prompt": f"answer {asked.draw}"}}

    propose = proposer(llm=ScriptedLLM(reply, max_concurrent=4))
    proposals = propose([request(draw) for draw in range(4)])
    assert [p.params["prompt"] for p in proposals] == [f"answer {i}" for i in range(4)]


def test_the_room_for_a_reply_grows_with_the_bytes_of_the_texts():
    assert room_for({"a": ""}) < room_for({"a": "x" * 3000}) < room_for({"a": "é" * 3000})
    # tokens of English have about four characters: its whole new value fits twice
    assert room_for({"a": "x" * 3000}) >= 2 * 3000 / 4


def test_nothing_is_sent_where_nothing_is_asked():
    propose, llm = replying()
    assert propose([]) == []
    assert llm.requests == []


# --- generic edits -------------------------------------------------------------------

MIXED = Space(
    {
        "prompt": Text("Be kind. Be brief. Never promise.", max_chars=60),
        "code": Text("a = 1\nb = 2\nc = a + b\n", language="python"),
        "heat": Float(0.0, 1.0, initial=0.5),
        "rate": Float(1e-6, 1.0, log=True, initial=1e-3),
        "k": Int(1, 8, initial=3),
        "model": Categorical(["small", "large"], initial="small"),
    }
)


def test_generic_edits_change_one_parameter_at_most_and_each_of_them_in_turn():
    propose = proposer(spec=Spec(space=MIXED))
    parent = MIXED.initial
    proposals = propose([request(draw, params=parent, seen=()) for draw in range(200)])
    changed = []
    for proposal in proposals:
        assert MIXED.validate(proposal.params) == proposal.params
        changed.append([name for name in MIXED if proposal.params[name] != parent[name]])
    assert max(map(len, changed)) == 1
    assert {name for names in changed for name in names} == set(MIXED)


def test_generic_edits_of_numbers_are_small_steps():
    space = Space({"x": Float(0.0, 1.0, initial=0.5)})
    propose = proposer(spec=Spec(space=space))
    proposals = propose([request(draw, params=space.initial, seen=()) for draw in range(300)])
    steps = np.array([p.params["x"] for p in proposals]) - 0.5
    # sd 0.1: the standard error of the sd is 0.1 / sqrt(600) = 0.004
    assert np.std(steps) == pytest.approx(0.1, abs=0.015)
    assert abs(np.mean(steps)) < 0.02


def test_a_space_of_one_point_is_proposed_again_without_trouble():
    space = Space({"c": Categorical(["only"]), "n": Int(7, 7)})
    propose = proposer(spec=Spec(space=space))
    params = {"c": "only", "n": 7}
    assert [p.params for p in propose([request(params=params, seen=())])] == [params]


def test_what_an_evaluation_showed_is_a_text_by_heading():
    fields = SEEN[1].fields()
    assert fields == {"example 7": "score 1", "input": "When?", "feedback": "fine"}
    assert Seen(None, 0.25).fields()["evaluation"] == "score 0.25"
    assert json.dumps(fields)

"""The client: what a request becomes, whatever the model says."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from bbopt import Budget
from bbopt.errors import UsageError
from bbopt.llm import Answer, Client, Request
from bbopt.testing import ScriptedLLM
from bbopt.testing.llm import Script
from bbopt.trial import NO_USAGE

ASK = [{"role": "user", "content": "Improve."}]
SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string"}, "score": {"type": "number"}},
    "required": ["text", "score"],
}
GOOD = '{"text": "kinder", "score": 0.5}'


def complete(client: Client, **options: Any) -> Any:
    return client.complete(ASK, **{"role": "proposer", "draw": 0, **options})


def test_a_reply_has_its_text_usage_and_latency() -> None:
    client = ScriptedLLM(["kinder"])
    reply = complete(client)
    assert (reply.text, reply.data, reply.error) == ("kinder", None, None)
    assert (reply.usage.llm_calls, reply.usage.tokens) == (1, 3 + 2)
    assert reply.latency >= 0
    assert client.ledger.total.usage == reply.usage


def test_a_reply_that_does_not_meet_the_schema_is_asked_for_once_more() -> None:
    client = ScriptedLLM(['{"text": "kinder"}', GOOD])
    reply = complete(client, schema=SCHEMA)
    assert reply.error is None
    assert reply.data == {"text": "kinder", "score": 0.5}
    assert reply.usage.llm_calls == client.ledger.total.calls == 2
    assert reply.usage == client.ledger.total.usage
    first, again = client.requests
    assert again.messages[: len(first.messages)] == first.messages
    assert again.messages[-2] == {"role": "assistant", "content": '{"text": "kinder"}'}
    assert "must have the property 'score'" in again.messages[-1]["content"]


@pytest.mark.parametrize(
    "bad", ["no JSON", '{"text": 1, "score": 1}', '{"text": "", "score": 1e999}']
)
def test_there_is_one_repair_and_no_second(bad: str) -> None:
    client = ScriptedLLM([bad, bad, GOOD])
    reply = complete(client, schema=SCHEMA)
    assert "does not meet the schema" in reply.error
    assert (reply.data, reply.text) == (None, bad)
    assert reply.usage.llm_calls == len(client.requests) == 2


def test_nothing_is_repaired_that_the_budget_has_no_call_for() -> None:
    client = ScriptedLLM(["no JSON", GOOD])
    client.ledger.limit("llm_calls=1")
    reply = complete(client, schema=SCHEMA)
    assert "not repaired: the budget has no room for the request: llm_calls" in reply.error
    assert reply.usage.llm_calls == client.ledger.total.calls == len(client.requests) == 1


def test_a_long_bad_reply_is_not_sent_back_whole() -> None:
    client = ScriptedLLM(["x" * 10**6, GOOD])
    assert complete(client, schema=SCHEMA).error is None
    assert len(client.requests[1].messages[-2]["content"]) == 4000


def test_a_reply_that_was_cut_off_is_no_reply_and_not_repaired() -> None:
    cut = Answer('{"text": "ki', "the reply was cut off at max_tokens", (3, 9), is_cut=True)
    client = ScriptedLLM([cut] * 9, failures=2)
    for draw in range(4):
        reply = complete(client, schema=SCHEMA, draw=draw)
        assert (reply.error, reply.data) == ("the reply was cut off at max_tokens", None)
    assert len(client.requests) == 4
    assert client.is_available  # the server did answer


def test_a_refused_request_is_not_sent_and_costs_nothing() -> None:
    client = ScriptedLLM(["a", "b"])
    client.ledger.limit("llm_calls=5")
    client.ledger.allow(Budget(llm_calls=1))
    assert complete(client).error is None
    reply = complete(client, draw=1)
    assert (reply.error, reply.usage) == (
        "the budget has no room for the request: llm_calls",
        NO_USAGE,
    )
    assert len(client.requests) == 1
    assert client.is_available


def test_a_refusal_while_a_server_is_probed_leaves_the_probe_to_others() -> None:
    client = ScriptedLLM([OSError("down"), "up"], failures=1, cool_down=0.0, wait=60.0)
    client.ledger.limit("llm_calls=1")
    assert complete(client).error == "the budget has no room for the request: llm_calls"
    client.ledger.limit("llm_calls=2")
    assert complete(client).text == "up"


def test_a_server_that_is_down_is_left_alone_and_found_again() -> None:
    client = ScriptedLLM([OSError("down")] * 3 + ["up"] * 3, failures=3, cool_down=0.05)
    for draw in range(3):
        assert complete(client, draw=draw).error == "down"
    assert not client.is_available
    reply = complete(client, draw=3)
    assert "a script is unavailable: 3 requests in a row failed, the last with: down" in reply.error
    assert (reply.usage, len(client.requests)) == (NO_USAGE, 3)
    while complete(client, draw=4).error is not None:
        threading.Event().wait(0.01)
    assert client.is_available
    assert client.ledger.total.calls == len(client.requests) == 4


def test_a_run_pauses_where_it_is_to_wait() -> None:
    client = ScriptedLLM([OSError("down")] * 4 + ["up"] * 2, failures=2, cool_down=0.01, wait=60.0)
    replies = [complete(client, draw=draw) for draw in range(3)]
    assert [(reply.text, reply.error) for reply in replies] == [
        ("", "down"),
        ("up", None),  # the second failure, two probes, and the one that got through
        ("up", None),
    ]
    assert [reply.usage.llm_calls for reply in replies] == [1, 4, 1]
    assert client.ledger.total.calls == 6


def test_waiting_ends() -> None:
    client = ScriptedLLM(lambda _: OSError("down"), failures=1, cool_down=0.01, wait=0.1)
    reply = complete(client)
    assert reply.error is not None
    assert reply.usage.llm_calls == len(client.requests) >= 2


def test_no_more_requests_are_under_way_than_a_server_takes() -> None:
    lock, running, most = threading.Lock(), [0], [0]

    def answer(request: Request) -> str:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.002)
        with lock:
            running[0] -= 1
        return "fine"

    client = ScriptedLLM(answer, max_concurrent=3)
    assert client.max_concurrent == 3
    with ThreadPoolExecutor(12) as pool:
        replies = list(pool.map(lambda draw: complete(client, draw=draw), range(40)))
    assert all(reply.error is None for reply in replies)
    assert most[0] <= 3


def test_each_role_may_have_a_model_of_its_own() -> None:
    judge = Script(["fair"], None, 2)
    client = Client(Script(["better"], None, 4), roles={"judge": judge, "guide": None})
    assert client.roles == ("proposer", "summarizer", "judge")
    assert complete(client, role="judge").text == "fair"
    assert complete(client).text == "better"
    assert complete(client, role="guide").error == "there is no language model for the role 'guide'"
    assert {role: charge.calls for role, charge in client.ledger.roles.items()} == {
        "judge": 1,
        "proposer": 1,
    }
    assert client.max_concurrent == 4


def test_servers_break_apart_and_roles_of_one_server_together() -> None:
    bad = Script(lambda _: OSError("down"), None, 1)
    client = Client(Script(["better"], None, 1), roles={"judge": bad, "guide": bad}, failures=2)
    complete(client, role="judge")
    complete(client, role="guide")
    assert "unavailable" in complete(client, role="guide").error
    assert complete(client).error is None
    assert not client.is_available


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"role": "boss"}, "role must be one of 'proposer', 'summarizer', 'guide', 'judge'"),
        ({"draw": -1}, "draw must be an integer >= 0, got -1"),
        ({"seed": 1.5}, "seed must be an integer >= 0, got 1.5"),
        ({"max_tokens": 0}, "max_tokens must be an integer >= 1, got 0"),
        ({"temperature": 3}, r"temperature must be a finite number in \[0, 2\], got 3"),
        ({"schema": {"type": "null"}}, "schema: type must be one of"),
        ({"messages": []}, "at least one message"),
        ({"messages": ["hi"]}, "a message must have 'role' and 'content', got 'hi'"),
        ({"messages": [{"role": "tool", "content": ""}]}, "the role of a message must be one of"),
        ({"messages": [{"role": "user", "content": 3}]}, "content of a message must be a str"),
    ],
)
def test_a_wrong_argument_is_named(change: dict[str, Any], says: str) -> None:
    arguments = {"messages": ASK, "role": "proposer", "draw": 0, **change}
    client = ScriptedLLM(["fine"])
    with pytest.raises(UsageError, match=says):
        client.complete(**arguments)
    assert client.requests == []


def test_what_no_file_takes_does_not_get_into_a_request() -> None:
    client = ScriptedLLM(["fine"])
    client.complete([{"role": "user", "content": "a\ud800b"}], role="guide", draw=0)
    assert client.requests[0].messages[0]["content"] == "a\ufffdb"


def test_requests_differ_in_every_field() -> None:
    base = {"messages": ASK, "role": "proposer", "draw": 0, "seed": 0, "schema": None}
    changes: list[dict[str, Any]] = [
        {},
        {"messages": [{"role": "user", "content": "Improve!"}]},
        {"messages": [{"role": "system", "content": "Improve."}]},
        {"role": "guide"},
        {"draw": 1},
        {"seed": 1},
        {"schema": {"type": "object"}},
        {"max_tokens": 5},
        {"temperature": 0.5},
    ]
    keys = {Request(**{**base, **change}).key for change in changes}
    assert len(keys) == len(changes)
    assert Request(**base).key == Request(**base).key

"""Servers that misbehave: nothing is raised, the ledger adds up, and keys stay secret."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bbopt.llm import Client, Price, Reply
from bbopt.llm.server import Server
from bbopt.testing import HostileServer
from bbopt.testing.llm import BEHAVIOURS

ASK = [{"role": "user", "content": "Improve this prompt: be kind."}]
SCHEMA = {
    "type": "object",
    "properties": {"text": {"type": "string", "maxLength": 40}, "score": {"type": "number"}},
    "required": ["text", "score"],
}
GOOD = '{"text": "be kinder", "score": 0.5}'
KEY = "sk-a-secret-key"
LOST = {"hang", "close", "truncated", "malformed", "no-usage"}
"""After these nobody knows how many tokens were spent."""


def connect(
    server: HostileServer, *, max_retries: int = 0, timeout: float = 5.0, **options: Any
) -> Client:
    backend = Server(
        "m",
        base_url=server.url,
        api_key=KEY,
        price=Price(1.0, 3.0),
        timeout=timeout,
        max_retries=max_retries,
        max_concurrent=options.pop("max_concurrent", 8),
    )
    return Client(backend, **options)


def ask(client: Client, draw: int = 0, **options: Any) -> Reply:
    return client.complete(ASK, **{"role": "proposer", "draw": draw, "max_tokens": 300, **options})


def test_a_good_reply_of_a_server() -> None:
    with HostileServer(reply=GOOD) as server, connect(server) as client:
        reply = ask(client, 3, schema=SCHEMA, seed=7, temperature=0.5)
        assert (reply.error, reply.data) == (None, {"text": "be kinder", "score": 0.5})
        assert reply.usage.tokens == server.tokens
        [body] = server.bodies
        assert body["messages"] == ASK
        assert (body["model"], body["max_tokens"], body["temperature"]) == ("m", 300, 0.5)
        assert body["response_format"]["json_schema"]["schema"] == SCHEMA
        ask(client, 3, seed=7)
        ask(client, 4, seed=7)
        ask(client, 3, seed=8)
        seeds = [each["seed"] for each in server.bodies]
    assert seeds[0] == seeds[1]
    assert len(set(seeds)) == 3
    assert all(0 <= seed < 2**31 for seed in seeds)


@pytest.mark.parametrize("behaviour", sorted({*BEHAVIOURS} - {"good", "no-usage", "wrong"}))
def test_each_fault_is_an_error_of_the_reply(behaviour: str) -> None:
    with HostileServer([behaviour]) as server, connect(server, timeout=0.2) as client:
        reply = ask(client)
        assert reply.error
        assert "\n" not in reply.error
        assert reply.data is None
        total = client.ledger.total
        assert (total.calls, total.attempts) == (1, server.requests) == (1, 1)
        assert total.usage == reply.usage
        if behaviour in LOST:
            assert total.tokens >= server.tokens
            assert total.estimated == 1
        else:
            assert total.tokens == server.tokens
        assert ask(client, 1).text == "fine"


@pytest.mark.parametrize("status", ["429", "500"])
def test_the_transport_repeats_what_may_pass_and_the_ledger_says_so(status: str) -> None:
    with HostileServer([status, status]) as server, connect(server, max_retries=2) as client:
        assert ask(client).text == "fine"
        total = client.ledger.total
        assert (total.calls, total.attempts, server.requests) == (1, 3, 3)
        assert total.tokens == server.tokens


@pytest.mark.parametrize("status", ["429", "500"])
def test_a_storm_ends_in_silence_and_not_in_a_flood(status: str) -> None:
    with HostileServer([status] * 100) as server, connect(server, failures=3) as client:
        replies = [ask(client, draw) for draw in range(20)]
        assert all(reply.error for reply in replies)
        assert server.requests == client.ledger.total.calls == 3
        assert client.ledger.total.tokens == 0
        assert not client.is_available


@pytest.mark.parametrize("bad", ["wrong", "not JSON", '{"text": "' + "x" * 41 + '", "score": 1}'])
def test_a_reply_that_meets_no_schema_is_mended_by_the_next(bad: str) -> None:
    with HostileServer([bad], reply=GOOD) as server, connect(server) as client:
        assert ask(client, schema=SCHEMA).data == {"text": "be kinder", "score": 0.5}
        assert server.requests == client.ledger.total.calls == 2
        assert server.tokens == client.ledger.total.tokens


def test_a_dead_server_is_not_paid_and_the_run_goes_on_when_it_is_back() -> None:
    with HostileServer() as server, connect(server, failures=2, cool_down=0.02) as client:
        client.ledger.limit("llm_calls=3")
        assert ask(client, 0).error is None
        server.die()
        for draw in range(1, 9):
            assert ask(client, draw).error
        assert (client.ledger.total.calls, server.requests) == (1, 1)
        assert not client.is_available
        server.revive()
        while ask(client, 1).error is not None:
            threading.Event().wait(0.01)
        assert ask(client, 2).error is None
        assert client.is_available
        assert client.ledger.total.calls == server.requests == 3
        assert "llm_calls" in str(ask(client, 3).error)


def test_a_run_that_waits_pauses_until_the_server_is_back() -> None:
    with HostileServer() as server:
        server.die()
        with connect(server, failures=1, cool_down=0.02, wait=60.0) as client:
            replies: list[Reply] = []
            thread = threading.Thread(target=lambda: replies.append(ask(client)))
            thread.start()
            threading.Event().wait(0.1)
            assert not replies
            server.revive()
            thread.join()
        assert [reply.text for reply in replies] == ["fine"]
        assert client.ledger.total.calls == server.requests == 1


def test_a_dead_server_and_a_restart_pay_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "llm.sqlite"
    with HostileServer(["a", "500", "b", "c"]) as server:
        with connect(server) as client:
            client.record(path)
            first = [ask(client, draw) for draw in range(3)]
            server.die()
            assert ask(client, 3).error
        server.revive()
        with connect(server) as client:
            client.record(path)
            with client.replay_only():
                assert [ask(client, draw) for draw in range(3)] == first
            assert [ask(client, draw).text for draw in (0, 2)] == ["a", "b"]
            assert server.requests == 3
            assert [ask(client, draw).text for draw in (1, 3)] == ["c", "fine"]
            assert client.ledger.total.calls == server.requests == 5
            assert client.ledger.total.tokens == server.tokens


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.sampled_from(sorted({*BEHAVIOURS} - {"hang"})), max_size=12),
    st.integers(1, 14),
    st.booleans(),
)
def test_the_ledger_adds_up_under_any_sequence_of_faults(
    script: list[str], calls: int, structured: bool
) -> None:
    tokens = 2500
    with HostileServer(script, reply=GOOD) as server, connect(server, failures=50) as client:
        client.ledger.limit({"llm_calls": calls, "tokens": tokens})
        schema = SCHEMA if structured else None
        replies = [ask(client, draw, schema=schema) for draw in range(12)]
        total = client.ledger.total
        assert total.calls <= calls
        assert total.tokens <= tokens
        assert total.attempts == server.requests
        assert total.calls == server.requests - (structured and server.served["400"] > 0)
        assert total.tokens >= server.tokens
        if not LOST & set(script[: server.requests]):
            assert total.tokens == server.tokens
        assert total.calls == sum(reply.usage.llm_calls for reply in replies)
        assert total.tokens == sum(reply.usage.tokens for reply in replies)
        assert total.cost == pytest.approx(sum(reply.usage.cost for reply in replies))
        for reply in replies:
            assert (reply.data is None) == (reply.error is not None or schema is None)


def test_sixteen_threads_and_a_mad_server_do_not_pass_the_limits() -> None:
    faults = ["good", "500", "close", "empty", "malformed", "wrong", "cut", "truncated"]
    with HostileServer(lambda n, _: faults[n % len(faults)], reply=GOOD) as server:
        options = {"max_concurrent": 16, "failures": 1000, "max_retries": 0}
        with connect(server, **options) as client, ThreadPoolExecutor(16) as pool:
            client.ledger.limit({"llm_calls": 60, "tokens": 12_000})
            replies = list(
                pool.map(lambda draw: ask(client, draw, schema=SCHEMA, max_tokens=100), range(80))
            )
        total = client.ledger.total
        assert total.calls == total.attempts == server.requests <= 60
        assert server.tokens <= total.tokens <= 12_000
        assert sum(reply.usage.tokens for reply in replies) == total.tokens
        assert any(reply.error is None for reply in replies)
        assert any("no room" in str(reply.error) for reply in replies)


def test_the_key_is_in_no_file_no_log_and_no_reply(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = [f"your key is {KEY}", "401", "close", "500"]
    with HostileServer(script) as server, connect(server, failures=3) as client:
        client.record(tmp_path / "llm.sqlite")
        with caplog.at_level(logging.DEBUG):
            replies = [ask(client, draw) for draw in range(5)]
        assert all(KEY in headers["authorization"] for headers in server.headers)
        assert replies[0].text == "your key is [key]"
        assert not any(KEY in repr(reply) for reply in replies)
        assert KEY not in repr(client.describe())
        mine = [record for record in caplog.records if record.name.startswith("bbopt")]
        assert mine
    assert KEY not in caplog.text
    files = list(tmp_path.iterdir())
    assert files
    assert not any(KEY.encode() in file.read_bytes() for file in files)

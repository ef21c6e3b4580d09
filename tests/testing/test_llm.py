"""The doubles of language models do what they say."""

from __future__ import annotations

import json
import socket
import threading
import urllib.error
import urllib.request

import pytest

from bbopt.errors import UsageError
from bbopt.llm import Answer, Request
from bbopt.testing import HostileServer, ScriptedLLM

ASK = [{"role": "user", "content": "Improve."}]


def post(server: HostileServer, **fields: object) -> dict:
    body = json.dumps({"model": "m", "messages": ASK, "max_tokens": 9, **fields}).encode()
    request = urllib.request.Request(
        f"{server.url}/chat/completions", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def test_a_script_is_read_in_order_and_ends() -> None:
    llm = ScriptedLLM(["a", {"x": 1}, Answer("c", None, (1, 1)), ValueError("broken")])
    replies = [llm.complete(ASK, role="proposer", draw=n) for n in range(5)]
    assert [reply.text for reply in replies] == ["a", '{"x": 1}', "c", "", ""]
    assert [reply.error for reply in replies] == [
        *(None, None, None),
        "broken",
        "the script has ended",
    ]
    assert [request.draw for request in llm.requests] == [0, 1, 2, 3, 4]


def test_a_script_may_be_a_function_of_the_request() -> None:
    def answer(request: Request) -> str:
        return f"{request.role} {request.draw}"

    llm = ScriptedLLM(answer)
    assert llm.complete(ASK, role="judge", draw=7).text == "judge 7"


def test_the_server_follows_its_script_and_counts() -> None:
    with HostileServer(["500", "hello"], reply="fine") as server:
        with pytest.raises(urllib.error.HTTPError, match="500") as raised:
            post(server)
        raised.value.close()
        assert post(server)["choices"][0]["message"]["content"] == "hello"
        reply = post(server)
        assert reply["choices"][0]["message"]["content"] == "fine"
        assert server.served == {"500": 1, "hello": 1, "good": 1}
        assert server.requests == 3
        assert server.tokens == 2 * (len("Improve.") // 4 + 1 + len("fine") // 4 + 1)
        assert reply["usage"] == {"prompt_tokens": 3, "completion_tokens": 2}


def test_a_dead_server_refuses_connections_and_comes_back_where_it_was() -> None:
    with HostileServer() as server:
        url = server.url
        with pytest.raises(UsageError, match="alive"):
            server.revive()
        server.die()
        server.die()
        port = int(url.rpartition(":")[2].partition("/")[0])
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
        server.revive()
        assert server.url == url
        assert post(server)["choices"]


def test_a_server_that_hangs_lets_go_when_it_dies() -> None:
    ended = threading.Event()

    def client() -> None:
        with pytest.raises(OSError):  # noqa: PT011 - a connection that ends, in any way
            post(server)
        ended.set()

    with HostileServer(["hang"]) as server:
        thread = threading.Thread(target=client)
        thread.start()
        while server.requests == 0:
            threading.Event().wait(0.01)
        assert not ended.is_set()
    thread.join(30)
    assert ended.is_set()

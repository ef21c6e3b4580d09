"""What servers understand differs; what one refuses is not sent to it again."""

from __future__ import annotations

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from bbopt.errors import MissingExtra, UsageError
from bbopt.llm import Request
from bbopt.llm.server import Server

SCHEMA = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}


def request(content: str = "Hello.", **options: Any) -> Request:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]
    return Request(messages, "proposer", 0, **options)


@pytest.fixture
def choosy():
    """A server that refuses arguments: builds a Server of it, and the list of bodies."""
    opened: list[Any] = []

    def build(respond):
        bodies: list[Any] = []

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *args: Any) -> None:
                pass

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                bodies.append(body)
                status, data = respond(body)
                text = json.dumps(data).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        http = HTTPServer(("127.0.0.1", 0), Handler)
        thread = Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        server = Server(
            "m", base_url=f"http://127.0.0.1:{http.server_port}/v1", api_key="k", max_retries=0
        )
        opened.extend((server.close, http.shutdown, thread.join, http.server_close))
        return server, bodies

    yield build
    for close in opened:
        close()


def refuses(*names: str, status: int = 400):
    """Refuses the arguments of these names, one at a time."""

    def respond(body: dict[str, Any]) -> tuple[int, Any]:
        for name in names:
            if name in body:
                return status, {"error": {"message": f"Unsupported: {name}", "param": name}}
        return 200, completion('{"x": 1}')

    return respond


def completion(content: Any, **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    return {"choices": [{"message": message, "finish_reason": "stop"}], **fields}


def test_a_server_without_structured_output_gets_the_schema_in_the_prompt(choosy) -> None:
    server, bodies = choosy(refuses("response_format"))
    for n in (2, 3):
        answer = server.send(request(schema=SCHEMA))
        assert (answer.text, answer.error) == ('{"x": 1}', None)
        assert len(bodies) == n  # asked for once, then remembered
    assert "response_format" not in bodies[-1]
    assert bodies[-1]["messages"][:-1] == bodies[0]["messages"][:-1]
    assert json.dumps(SCHEMA) in bodies[-1]["messages"][-1]["content"]
    assert json.dumps(SCHEMA) not in json.dumps(bodies[0]["messages"])


def test_what_a_server_refuses_is_left_out_one_by_one(choosy) -> None:
    server, bodies = choosy(refuses("max_tokens", "temperature", "seed", status=422))
    answer = server.send(request(max_tokens=50))
    assert (answer.error, answer.attempts) == (None, 4)
    assert set(bodies[-1]) == {"model", "messages", "max_completion_tokens"}
    assert bodies[-1]["max_completion_tokens"] == 50
    assert server.send(request()).attempts == 1


def test_a_server_that_refuses_everything_is_not_asked_for_ever(choosy) -> None:
    server, bodies = choosy(lambda body: (400, {"error": {"message": "seed temperature schema"}}))
    answer = server.send(request(schema=SCHEMA))
    assert answer.error == "Error code: 400 - seed temperature schema"
    assert answer.tokens == (0, 0)
    assert answer.attempts == len(bodies) == 4


def test_a_limit_that_is_too_large_is_no_unknown_argument(choosy) -> None:
    problem = "max_tokens is too large: the context has 4096 tokens"
    server, bodies = choosy(lambda body: (400, {"error": {"message": problem}}))
    assert problem in str(server.send(request()).error)
    assert len(bodies) == 1


@pytest.mark.parametrize("closed", [True, False])
def test_a_strict_decoder_is_asked_for_where_the_schema_is_closed(choosy, closed: bool) -> None:
    server, bodies = choosy(refuses())
    server.send(request(schema={**SCHEMA, "additionalProperties": not closed}))
    assert bodies[0]["response_format"]["json_schema"]["strict"] is closed


def llama(context: int):
    """Counts a token for four characters, and refuses as llama.cpp does."""

    def respond(body: dict[str, Any]) -> tuple[int, Any]:
        n = sum(len(message["content"]) for message in body["messages"]) // 4
        if n >= context:
            error = {"message": "too long", "type": "exceed_context_size_error"}
            return 400, {"error": {**error, "n_prompt_tokens": n, "n_ctx": context}}
        return 200, completion("fine")

    return respond


@pytest.mark.parametrize("length", [4000, 40_000, 1_000_000])
def test_a_prompt_too_long_for_llama_cpp_loses_its_middle_and_says_so(choosy, length: int) -> None:
    server, bodies = choosy(llama(500))
    content = "START" + "x" * length + "END"
    answer = server.send(request(content, max_tokens=100))
    assert (answer.text, answer.error, answer.attempts) == ("fine", None, 2)
    system, user = bodies[-1]["messages"]
    assert system == {"role": "system", "content": "Be brief."}
    assert user["content"].startswith("STARTx")
    assert user["content"].endswith("xEND")
    before, _, rest = user["content"].partition("\n[... ")
    left_out, _, after = rest.partition(" characters left out")
    after = after.partition("...]\n")[2]
    assert len(before) + int(left_out) + len(after) == len(content)
    assert len(user["content"]) / 4 < 400  # there is room for the reply


def test_a_prompt_that_cannot_be_shortened_enough_is_an_error(choosy) -> None:
    server, bodies = choosy(llama(2))
    assert "too long" in str(server.send(request("word " * 20)).error)
    assert len(bodies) == 1


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "text",
        {},
        {"choices": None},
        {"choices": []},
        {"choices": [None]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": "text"}]},
        {"choices": [{"message": {}}]},
        completion(None),
        completion(["parts"]),
        completion(""),
        completion(" \n"),
        {"choices": [{"message": {"content": None, "refusal": "I will not."}}]},
    ],
)
def test_a_reply_of_any_shape_is_an_answer(choosy, data: Any) -> None:
    server, _ = choosy(lambda body: (200, data))
    answer = server.send(request())
    assert answer.error
    assert answer.text.strip() == ""


@pytest.mark.parametrize(
    "usage",
    [
        None,
        [],
        {},
        {"prompt_tokens": 1},
        *(
            {"prompt_tokens": 3, "completion_tokens": bad}
            for bad in (-1, 1.5, "7", None, True, 10**30)
        ),
    ],
)
def test_a_count_that_cannot_be_is_no_count(choosy, usage: Any) -> None:
    server, _ = choosy(lambda body: (200, completion("fine", usage=usage)))
    answer = server.send(request())
    assert (answer.text, answer.error, answer.tokens) == ("fine", None, None)


def test_lone_surrogates_of_a_server_do_not_get_through(choosy) -> None:
    server, _ = choosy(lambda body: (200, completion("a\ud800b")))
    assert server.send(request()).text == "a\ufffdb"


def test_a_server_may_be_closed_and_asked_again(choosy) -> None:
    server, bodies = choosy(refuses())
    for _ in range(2):
        assert server.send(request()).error is None
        server.close()
        server.close()
    assert len(bodies) == 2


def test_the_environment_names_server_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(UsageError, match="openai:m needs the environment variable OPENAI_API_KEY"):
        Server("m")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    assert str(Server("m")) == "m at http://localhost:1/v1"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-a-secret-key")
    assert "sk-a" not in str(Server("m")) + repr(Server("m"))


def test_a_server_that_repeats_the_key_in_an_error_is_not_quoted(choosy) -> None:
    server, _ = choosy(lambda body: (401, {"error": {"message": "no such key: sk-secret-key"}}))
    server._key = "sk-secret-key"
    says = "the key is refused (check OPENAI_API_KEY): Error code: 401 - no such key: [key]"
    assert server.send(request()).error == says


@pytest.mark.parametrize(
    "url", ["nonsense", "localhost:8000/v1", "ftp://host/v1", "http://", "http://host:port/v1"]
)
def test_an_address_that_is_none_is_noticed_before_it_is_used(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", url)
    with pytest.raises(UsageError, match=rf"OPENAI_BASE_URL.* must be an address .*{url!r}"):
        Server("m")
    with pytest.raises(UsageError) as raised:
        Server("m", base_url="host/me:s3cret@there")
    assert "s3cret" not in str(raised.value)


def test_a_proxy_of_the_environment_is_not_asked_for_what_is_here(choosy, monkeypatch) -> None:
    server, bodies = choosy(refuses())
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert server.send(request()).error is None
    assert len(bodies) == 1


def test_a_password_in_the_address_is_not_shown() -> None:
    server = Server("m", base_url="https://me:secret@host:8/v1", api_key="k")
    assert str(server) == "m at https://host:8/v1"


def test_a_missing_package_is_named_before_anything_is_sent(monkeypatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"needs the package 'openai'.*\[llm\]"):
        Server("m", base_url="http://localhost:1/v1")


def test_the_package_is_not_imported_before_the_first_request() -> None:
    import subprocess

    code = (
        "import sys\nfrom bbopt.llm import Client\nfrom bbopt.llm.server import Server\n"
        "Client(Server('m', base_url='http://localhost:1/v1'))\n"
        "assert not {'openai', 'httpx', 'httpx2', 'xllamacpp'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_client_that_nobody_closes_leaves_no_socket_open(choosy) -> None:
    import gc

    server, _ = choosy(refuses())
    forgotten = Server("m", base_url=server.base_url, api_key="k")
    assert forgotten.send(request()).error is None
    api = forgotten._api
    del forgotten
    gc.collect()
    assert api.is_closed()

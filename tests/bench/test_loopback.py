from __future__ import annotations

import http.client
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise
from urllib.parse import urlsplit

import numpy as np
import pytest

import bbopt
from bbopt.bench.loopback import N_FEATURES, Loopback
from bbopt.errors import UsageError

SCHEMA = {
    "type": "object",
    "properties": {
        "reasoning": {"type": "string"},
        "params": {"type": "object", "properties": {"prompt": {"type": "string"}}},
    },
    "required": ["params"],
}
SUMMARY = {
    "type": "object",
    "properties": {"reasoning": {"type": "string"}, "summary": {"type": "string"}},
}


@pytest.fixture
def problem():
    return bbopt.problem("text/rulebook")


@pytest.fixture
def service(problem):
    with Loopback(problem, seed=3) as service:
        yield service


def call(service, method, path, body=None):
    """Status and reply of one request on a connection of its own."""
    connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=30)
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    connection.request(method, path, data)
    response = connection.getresponse()
    reply = json.loads(response.read())
    connection.close()
    return response.status, reply


def post(service, path, body):
    status, reply = call(service, "POST", path, body)
    assert status == 200, reply
    return reply


def chat(service, prompt, *, schema=None, **more):
    request = {"model": "any", "messages": [{"role": "user", "content": prompt}], **more}
    if schema:
        request["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": schema},
        }
    return post(service, "/v1/chat/completions", request)["choices"][0]["message"]["content"]


def shown(text, context=""):
    return f"Improve.\n@@PARENT@@\n{text}\n@@END@@\n{context}"


# --- chat ------------------------------------------------------------------------------------


def test_a_prompt_with_a_parent_gets_a_child_in_a_fence(service, problem):
    parent = problem.spec.space.initial["prompt"]
    reply = chat(service, shown(parent))
    opening, text, closing = reply.split("```")
    assert opening.strip()
    assert not closing
    assert text.startswith("text\n")
    child = text.removeprefix("text\n").removesuffix("\n")
    assert child != parent
    assert len(problem.language.read(child) ^ problem.initial) <= 2


def test_a_schema_is_filled_with_the_text_where_the_parameter_is_named(service, problem):
    reply = json.loads(chat(service, shown("Be kind."), schema=SCHEMA))
    assert reply.keys() == {"reasoning", "params"}
    assert reply["reasoning"]
    assert problem.spec.space.validate(reply["params"]) == reply["params"]
    assert reply["params"]["prompt"] != "Be kind."


def test_all_kinds_of_property_get_a_value_of_their_kind(service):
    schema = {
        "$defs": {"edit": {"type": "object", "required": ["prompt"]}},
        "properties": {
            "edits": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/edit"}},
            "none": {"type": "array", "items": {"type": "string"}},
            "tone": {"enum": ["formal", "warm"]},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "size": {"type": ["integer", "null"], "minimum": 3},
            "is_done": {"type": "boolean"},
        },
    }
    reply = json.loads(chat(service, shown("Be kind."), schema=schema))
    assert "Be kind." not in reply["edits"][0]["prompt"].splitlines()[1:]
    assert isinstance(reply["edits"][0]["prompt"], str)
    assert reply["none"] == []
    assert reply["tone"] == "formal"
    assert isinstance(reply["note"], str)
    assert reply["size"] == 3
    assert reply["is_done"] is True


def test_the_proposer_uses_what_stands_outside_the_markers_only():
    problem = bbopt.problem("text/hints", improving=1.0, duplicates=0.0)
    with Loopback(problem) as service:
        told = json.loads(chat(service, shown("Hi.", "Fact: 12 euros."), schema=SCHEMA))
        own = json.loads(chat(service, shown("It costs 12 euros. Hi."), schema=SCHEMA))
        again = json.loads(
            chat(service, "Between @@PARENT@@ and @@END@@ is it.\n" + shown("Hi."), schema=SCHEMA)
        )
    assert problem.language.read(told["params"]["prompt"]) == {4}
    assert told["params"]["prompt"].startswith("Hi.")
    assert problem.language.read(own["params"]["prompt"]) == {4}  # no hint: other words only
    assert " and " not in again["params"]["prompt"].split("\n")


def test_a_request_for_a_summary_gets_what_was_told(service, problem):
    told = "Please summarize.\nMissing: ask for the order number.\nHarmful: a long apology."
    texts = [chat(service, told) for _ in range(10)]
    texts += [json.loads(chat(service, told, schema=SUMMARY))["summary"] for _ in range(10)]
    named = [problem.language.named(text) for text in texts]
    assert set().union(*(affirmed for affirmed, _ in named)) == {0}
    assert set().union(*(negated for _, negated in named)) == {21}
    assert service.ledger.chat_calls == {"proposer": 0, "summarizer": 20}


def test_the_openai_client_is_served(service):
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=service.api_base, api_key="x", max_retries=0) as client:
        reply = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": shown("Hi.")}], seed=1
        )
        plain = client.embeddings.create(model="m", input=["one"], encoding_format="float")
        packed = client.embeddings.create(model="m", input="one")
    usage = reply.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens > 2
    assert service.ledger.tokens == usage.total_tokens
    np.testing.assert_allclose(plain.data[0].embedding, packed.data[0].embedding, rtol=1e-6)


# --- what is drawn ---------------------------------------------------------------------------


def replies(problem, seed, requests):
    with Loopback(problem, seed=seed) as service:
        return [chat(service, shown("Hi."), **request) for request in requests]


@pytest.mark.parametrize("requests", [[{}] * 10, [{"seed": i} for i in range(10)]])
def test_the_same_seed_gives_the_same_replies(problem, requests):
    assert replies(problem, 1, requests) == replies(problem, 1, requests)
    assert replies(problem, 1, requests) != replies(problem, 2, requests)


def test_requests_with_seeds_may_come_in_any_order(problem):
    requests = [{"seed": i} for i in range(10)]
    assert replies(problem, 1, requests) == replies(problem, 1, requests[::-1])[::-1]


def test_one_seed_for_all_requests_does_not_give_one_reply(problem):
    assert len(set(replies(problem, 1, [{"seed": 7}] * 10))) > 3


def test_equal_texts_see_equal_noise_whoever_evaluates_when(problem):
    text, other = problem.spec.space.initial["prompt"], "Be kind."
    with Loopback(problem, seed=1) as first:
        one = first.evaluate(text, [0, 1, 2, 0, 0])["scores"]
    with Loopback(problem, seed=1) as second:
        second.evaluate(other, [0, 1, 2])
        parts = [second.evaluate(text, ids)["scores"] for ids in ([2], [0, 0], [1, 0])]
    assert list(chain(*parts)) == [one[2], one[0], one[3], one[1], one[4]]


def test_repeats_of_a_pair_are_draws_with_the_mean_of_the_truth():
    problem = bbopt.problem("text/staircase", start=4)
    with Loopback(problem) as service:
        scores = service.evaluate(problem.spec.space.initial["prompt"], [0] * 600)["scores"]
    # five standard deviations of the mean of 600 draws of 0 or 1 with mean 0.4
    assert np.mean(scores) == pytest.approx(0.4, abs=5 * 0.02)


def test_embeddings_are_unit_vectors_that_put_rewordings_near(service, problem):
    rng, text = np.random.default_rng(0), problem.spec.space.initial["prompt"]
    texts = [text, problem.language.reword(text, rng), problem.language.write(problem.best)]
    reply = post(service, "/v1/embeddings", {"input": texts})
    vectors = np.array([item["embedding"] for item in reply["data"]])
    assert vectors.shape == (3, N_FEATURES)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    away = np.linalg.norm(vectors - vectors[0], axis=1)
    assert away[1] < away[2] / 2
    assert service.ledger.embeddings == 3


# --- the ledger and the server ---------------------------------------------------------------


def test_the_ledger_adds_up_when_many_ask_at_once(service, problem):
    texts = [problem.language.write({i}) for i in range(4)]

    def work(i):
        post(service, "/evaluate", {"text": texts[i % 4], "example_ids": [i % 60] * (1 + i % 3)})
        chat(service, shown(texts[i % 4]))
        if i % 2:
            chat(service, "Summarize this.")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))
    status, ledger = call(service, "GET", "/ledger")
    assert status == 200
    assert ledger["metric_calls"] == sum(1 + i % 3 for i in range(40))
    assert ledger["chat_calls"] == {"proposer": 40, "summarizer": 20}
    history = ledger["history"]
    assert len(history) == 40
    assert history[-1][0] == ledger["metric_calls"]
    assert all(a[0] < b[0] and a[1] <= b[1] for a, b in pairwise(history))
    assert {truth for *_, truth in history} == {problem.truth({"prompt": t}) for t in texts}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/nothing", None, 404, "there is no GET /nothing"),
        ("GET", "/evaluate", None, 404, "there is no GET /evaluate"),
        ("POST", "/evaluate", {"text": "x"}, 400, "the request needs 'example_ids'"),
        ("POST", "/evaluate", {"text": 3, "example_ids": [0]}, 400, "must be a text"),
        ("POST", "/evaluate", {"text": "x", "example_ids": [99]}, 400, "example must be"),
        ("POST", "/evaluate", {"text": "x", "example_ids": 1}, 400, ""),
        ("POST", "/evaluate", [], 400, ""),
        ("POST", "/evaluate", b"{", 400, ""),
        ("POST", "/v1/chat/completions", {"messages": [1]}, 400, ""),
        ("POST", "/v1/chat/completions", {}, 400, "the request needs 'messages'"),
        ("POST", "/v1/embeddings", {"input": [1]}, 400, ""),
    ],
)
def test_a_bad_request_is_refused_and_not_counted(service, method, path, body, status, message):
    got, reply = call(service, method, path, body)
    assert got == status
    assert message in reply["error"]["message"]
    ledger = service.ledger
    assert (ledger.metric_calls, sum(ledger.chat_calls.values()), ledger.embeddings) == (0, 0, 0)


def test_closing_ends_connections_that_clients_keep_open(problem, capfd):
    threads = threading.active_count()
    service = Loopback(problem)
    kept = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=30)
    for _ in range(2):
        kept.request("GET", "/ledger")
        assert kept.getresponse().read()
    service.close()
    assert threading.active_count() == threads
    assert kept.sock.recv(1) == b""
    kept.close()
    assert capfd.readouterr() == ("", "")


def test_a_problem_that_cannot_play_the_parts_is_refused():
    with pytest.raises(UsageError, match=r"problem must be one of text/\.\.\."):
        Loopback(bbopt.problem("synthetic/branin"))


def test_the_ledger_that_is_read_stays_as_it_was(service):
    before = service.ledger
    service.evaluate("x", [0])
    assert before.metric_calls == 0
    assert before.history == []
    assert service.ledger.history == [(1, 0, pytest.approx(0.15))]

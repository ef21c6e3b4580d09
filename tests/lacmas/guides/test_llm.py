"""A language model as the guide: when it is asked, what its replies do, and what if it fails."""

from __future__ import annotations

import json
import re
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bbopt.errors import UsageError
from bbopt.lacmas import guides
from bbopt.lacmas.guides import GuideSettings, contract
from bbopt.lacmas.guides.llm import LLMGuide
from bbopt.lacmas.guides.rules import Rules
from bbopt.lacmas.masoie import Masoie, SwarmSettings
from bbopt.lacmas.memory import WINDOW
from bbopt.lacmas.network import Network
from bbopt.lacmas.topology import build as graph
from bbopt.lacmas.weights import build
from bbopt.llm import Client, Recording, Server
from bbopt.testing import HostileServer, ScriptedLLM
from tests.lacmas.guides.toys import context, draws, falling, memory
from tests.lacmas.swarms import Bowls, box, network, play


def is_act(prompt):
    return "two coefficients" in prompt


def labels_in(prompt):
    table = prompt.partition("as number: gain")[2]
    return re.findall(r"^(\d+): [^,]+, [^,]+$", table, re.MULTILINE)


def advisor(d=0.9, c=1.2, favourite=max):
    """A script that wants these coefficients, and most of the weight for one neighbour."""

    def reply(request):
        prompt = request.messages[0]["content"]
        if is_act(prompt):
            return {"d": d, "c": c}
        labels = labels_in(prompt)
        best = favourite(labels, key=int)
        return {"weights": {label: 0.9 if label == best else 0.1 for label in labels}}

    return reply


def run_of(llm=None, guide="llm", rounds=None, net=None, budget=None, seed=1, **given):
    """Six swarms on a ring, guided; played for so many rounds."""
    net = network() if net is None else net
    given = {"horizon": 12, "lag": 2} | given  # requests in rounds 4, 5, 8, 9 and 14
    made = guides.make(guide, net, draws(net, seed), GuideSettings(**given), llm)
    search = Masoie(net, box(), draws(net, seed), budget, SwarmSettings(n_particles=12), made)
    if rounds is not None:
        play(search, Bowls(), rounds=rounds)
    return search


def guide_of(llm, net, **given):
    given = {"horizon": 30, "lag": 3} | given
    return LLMGuide(net, draws(net), GuideSettings(**given), llm)


# --- when it is asked ---------------------------------------------------------------------


def test_requests_are_those_of_the_schedule():
    with ScriptedLLM(advisor()) as llm:
        search = run_of(llm, rounds=16)
    prompts = [request.messages[0]["content"] for request in llm.requests]
    asked = sorted(
        (int(re.search(r"Round (\d+)", prompt)[1]), is_act(prompt)) for prompt in prompts
    )
    rounds = [(4, True), (5, False), (8, True), (9, False), (14, False)]
    assert asked == [each for each in rounds for _ in range(6)]
    assert search.diagnostics()["guide_calls"] == 30
    assert search.diagnostics()["guide_fallbacks"] == 0
    assert search.diagnostics()["guide_tokens"] == search.guide.usage.tokens > 0
    assert search.guide.usage.llm_calls == 30


def test_a_run_that_ends_before_a_third_of_the_horizon_asks_nothing():
    with ScriptedLLM(advisor()) as llm:
        run_of(llm, rounds=3)
        assert llm.requests == []
        run_of(llm, rounds=6, asks="act")
        assert len(llm.requests) == 6


@pytest.mark.parametrize(("asks", "n"), [("act", 12), ("cooperate", 12)])
def test_one_kind_can_be_left_out(asks, n):
    with ScriptedLLM(advisor()) as llm:
        search = run_of(llm, rounds=11, asks=asks)
    assert {is_act(r.messages[0]["content"]) for r in llm.requests} == {asks == "act"}
    assert len(llm.requests) == n
    assert (search.network.weights == 1 / 3).all() == (asks == "act")


def test_an_agent_is_shown_its_own_neighbours_and_its_own_history():
    with ScriptedLLM(advisor()) as llm:
        run_of(llm, rounds=7)
    prompts = [request.messages[0]["content"] for request in llm.requests]
    seen = [{int(label) for label in labels_in(p)} for p in prompts if not is_act(p)]
    ring = [{(i - 1) % 6, (i + 1) % 6} for i in range(6)]
    assert sorted(map(sorted, seen)) == sorted(map(sorted, ring))
    assert len({p for p in prompts if is_act(p)}) == 6


def test_equal_prompts_are_one_request():
    net = network()
    with ScriptedLLM(advisor()) as llm:
        guide = guide_of(llm, net, asks="act")
        guide.advise(context(net, 10))  # the same history for everybody
        advice = guide.advise(context(net, 13))
    assert len(llm.requests) == 1
    np.testing.assert_allclose(advice.d, 0.9)


@pytest.mark.parametrize("n", [9, 10_000])
def test_many_agents_share_eight_requests(n):
    net = network("ring", n)
    rng = np.random.default_rng(0)
    history = falling(rng.random(n), rng.lognormal(size=n))
    with ScriptedLLM(advisor()) as llm:
        guide = guide_of(llm, net, calls=8)
        guide.advise(context(net, 10, history))
        guide.advise(context(net, 12, history))
        moved = guide.advise(context(net, 13, history))
        wished = guide.advise(context(net, 15, history))
    assert 8 <= len(llm.requests) <= 16
    assert guide.diagnostics()["guide_calls"] == len(llm.requests)
    np.testing.assert_allclose(moved.d, 0.9)
    np.testing.assert_allclose(np.bincount(net.rows, wished.wishes), 2 / 3)
    assert len(np.unique(wished.wishes.round(9))) > 1


def test_one_request_at_a_time_has_no_choice_of_neighbours():
    with ScriptedLLM(advisor()) as llm:
        search = run_of(llm, rounds=16, calls=1)
    assert len(llm.requests) == 2  # the two for coefficients
    np.testing.assert_allclose(search.network.weights, 1 / 3)


def test_a_horizon_that_is_not_given_is_measured():
    net, asked = network(), []
    with ScriptedLLM(advisor()) as llm:
        guide = guide_of(llm, net, horizon=None, asks="act")
        for t in range(1, 201):  # divergence falls from 1e4 to 1e-2 in 180 rounds
            past = np.arange(t - WINDOW, t)
            ring = np.where(past > 0, 1e4 * 1e-6 ** (past / 180), np.nan)
            guide.advise(context(net, t, memory(np.ones((6, WINDOW)), ring)))
            asked += [t] * (guide.requests - len(asked))
    assert guide.horizon == 180
    assert asked == [60, 120]


def test_where_nothing_contracts_the_horizon_is_what_the_budget_is_good_for():
    net = network()
    with ScriptedLLM(advisor()) as llm:
        guide = guide_of(llm, net, horizon=None)
        for t in range(1, 60):
            guide.advise(context(net, t, evaluations=np.full(6, 10 * t), budget=900))
        assert guide.horizon == 90
        endless = guide_of(llm, net, horizon=None)
        endless.advise(context(net, 400))
        assert endless.horizon is None


# --- what replies do ----------------------------------------------------------------------


def test_a_reply_counts_after_the_lag_and_not_before():
    with ScriptedLLM(advisor(d=0.9)) as llm:
        search = run_of(llm, rounds=5)
        np.testing.assert_array_equal(search.d, 1.0)
        play(search, Bowls(), rounds=1)
        np.testing.assert_allclose(search.d, 0.9)
        np.testing.assert_allclose(search.c, 1.2)


def test_how_long_a_model_takes_changes_nothing():
    def slow(request):
        time.sleep(0.02 * (sum(map(ord, request.messages[0]["content"])) % 3))
        return advisor()(request)

    with ScriptedLLM(advisor()) as quick, ScriptedLLM(slow) as late:
        runs = [run_of(llm, rounds=11) for llm in (quick, late)]
    np.testing.assert_array_equal(runs[0].x, runs[1].x)


def test_coefficients_move_a_little_at_a_time_and_go_back_after_the_horizon():
    for after, last in (("reset", 1.0), ("keep", 0.7)):
        with ScriptedLLM(advisor(d=0.1, c=5.0)) as llm:
            search = run_of(llm, rounds=7, asks="act", after=after)
            np.testing.assert_allclose(search.d, 0.8)
            np.testing.assert_allclose(search.c, 1.3)
            play(search, Bowls(), rounds=5)
            np.testing.assert_allclose(search.d, 0.7)  # its range
            np.testing.assert_allclose(search.c, 1.6)
            play(search, Bowls(), rounds=1)
            np.testing.assert_allclose(search.d, last)


def test_the_favourite_neighbour_gets_more_where_it_wants_it_too():
    with ScriptedLLM(advisor(favourite=max)) as llm:
        search = run_of(llm, rounds=7, asks="cooperate")
    net = search.network
    matrix = np.zeros((6, 6))
    matrix[net.rows, net.neighbours] = net.weights
    np.testing.assert_array_equal(matrix, matrix.T)
    assert (matrix.sum(axis=1) < 1).all()
    assert matrix[4, 5] > 1 / 3  # the favourite of 4 is 5; that of 5 is 4
    assert matrix[0, 1] < 1 / 3  # that of 1 is 2


@settings(max_examples=40)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=20),
            st.builds(lambda d, c: json.dumps({"d": d, "c": c}), *[st.floats(allow_nan=True)] * 2),
            st.builds(
                lambda a, b: json.dumps({"weights": dict(zip("012345", [a, b] * 3, strict=True))}),
                *[st.floats(0)] * 2,
            ),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_no_reply_leads_out_of_the_contract(texts):
    net = network("complete", 4)
    history = falling([0.1, 0.2, 0.3, 0.4])
    with ScriptedLLM(lambda r: texts[len(r.messages[0]["content"]) % len(texts)]) as llm:
        guide = guide_of(llm, net, horizon=9, lag=1, least=-0.4, d_range=(0.5, 1.0))
        d, c = guide.start()
        for t in range(1, 12):
            advice = guide.advise(context(net, t, history, d=d, c=c))
            assert (np.abs(advice.d - d) <= contract.STEP_D + 1e-12).all() or t > 9
            d, c = advice.d, advice.c
            assert ((d >= 0.5) & (d <= 1.0) & (c >= 1.0) & (c <= 1.7)).all()
            if advice.wishes is not None:
                assert (advice.wishes >= contract.LEAST_WEIGHT - 1e-15).all()
                assert (advice.wishes <= contract.MOST_WEIGHT + 1e-15).all()
                np.testing.assert_allclose(np.bincount(net.rows, advice.wishes), guide.mass)


def test_coefficients_keep_to_the_stable_region_of_the_weights_in_force():
    net = network()
    floor = contract.least_coefficient(np.array([4]), -0.39)[0]
    with ScriptedLLM(advisor(d=0.5)) as llm:
        guide = guide_of(llm, net, d_range=(0.5, 1.3), least=-0.39, after="keep")
        guide.advise(context(net, 10))
        advice = guide.advise(context(net, 13, d=0.6))
        np.testing.assert_allclose(advice.d, floor)
        guide.advise(context(net, 14))
        guide.advise(context(net, 17, falling([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])))
        # other weights than at the start: no eigenvalue is below 1 - 2 · 2/3
        new = contract.least_coefficient(np.array([4]), min(-0.39, -1 / 3))[0]
        assert guide.advise(context(net, 18, d=0.6)).d == pytest.approx(new)


# --- what if it fails ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain():
    """Eleven rounds without a guide."""
    return run_of(guide="none", rounds=11)


def assert_same(search, plain):
    np.testing.assert_array_equal(search.x, plain.x)
    np.testing.assert_array_equal(search.network.weights, plain.network.weights)


@pytest.mark.parametrize(
    "reply",
    [TimeoutError("slow"), "", "I would rather not.", '{"d": 1e999, "c": 1}', '{"weights": {}}'],
    ids=repr,
)
def test_if_every_request_fails_the_run_is_the_one_without_a_guide(reply, plain, caplog):
    with ScriptedLLM(lambda request: reply, failures=99) as llm:
        search = run_of(llm, rounds=11)
    assert_same(search, plain)
    said = search.diagnostics()
    assert said["guide_fallbacks"] == said["guide_calls"] == 12  # six, and six before it was clear
    assert sum("no advice from the language model" in r.message for r in caplog.records) == 1


@pytest.mark.parametrize("behaviour", ["500", "close", "malformed", "wrong", "huge", "hang"])
def test_whatever_a_server_does_the_run_finishes(behaviour, plain):
    with HostileServer(lambda n, body: behaviour) as server:
        backend = Server("m", base_url=server.url, api_key="k", timeout=0.2, max_retries=0)
        with Client(backend, failures=2) as llm:
            search = run_of(llm, rounds=11)
    assert_same(search, plain)
    assert search.diagnostics()["guide_fallbacks"] == 12


def test_half_of_the_replies_are_enough():
    def half(request):
        is_bad = sum(map(ord, request.messages[0]["content"])) % 2
        return "no idea" if is_bad else advisor()(request)

    with ScriptedLLM(half) as llm:
        search = run_of(llm, rounds=7, asks="act")
    moved = search.d != 1
    assert 0 < moved.sum() < 6
    assert search.diagnostics()["guide_fallbacks"] == 6 - moved.sum()


def test_after_three_failures_in_a_row_nothing_more_is_asked():
    net = network()
    replies = ["no", "no", {"d": 0.9, "c": 1.1}, "no", "no", "no", {"d": 0.8, "c": 1.1}]
    replies = [r for r in replies for _ in range(2 if r == "no" else 1)]  # each is mended once
    with ScriptedLLM(replies) as llm:
        guide = guide_of(llm, net, asks="act", horizon=30, calls=1, after="keep")
        for place in range(6):  # again and again the first third of a run
            guide.last = 0
            guide.advise(context(net, 10, memory(np.full((6, WINDOW), place))))
            advice = guide.advise(context(net, 13))
        assert guide.has_given_up
        guide.last = 0
        guide.advise(context(net, 10))
    assert guide.requests == 6
    assert guide.fallbacks == 5
    assert advice.wishes is None


def test_then_the_rules_take_over_where_that_is_wanted():
    net, history = network(), memory(np.ones((6, WINDOW)), 5.0)  # wide and stagnating
    with ScriptedLLM([]) as llm:
        kept, ruled = (guide_of(llm, net, fallback=f, after="keep") for f in ("keep", "rules"))
        for guide in (kept, ruled):
            for t in (10, 13, 24):
                guide.advise(context(net, t, falling(np.arange(6) / 6)))
        assert (kept.advise(context(net, 25, history)).d == 1.0).all()
        advice = ruled.advise(context(net, 25, history))
        expected = Rules(net, draws(net), kept.settings).advise(context(net, 25, history))
    np.testing.assert_array_equal(advice.d, expected.d)
    np.testing.assert_array_equal(advice.wishes, expected.wishes)
    assert (advice.d > 1).all()


def test_a_budget_of_calls_holds_and_the_run_goes_on():
    with ScriptedLLM(advisor()) as llm:
        llm.ledger.limit({"llm_calls": 4})
        search = run_of(llm, rounds=9)
    assert len(llm.requests) == 4
    assert (search.d != 1).sum() == 4
    assert search.guide.usage.llm_calls == 4


def test_an_error_of_ours_is_not_taken_for_a_failure_of_the_model(monkeypatch):
    with ScriptedLLM(advisor()) as llm:
        search = run_of(llm)
        monkeypatch.setattr(llm, "complete", lambda *args, **options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            play(search, Bowls(), rounds=6)


# --- again --------------------------------------------------------------------------------


def test_a_replay_is_the_live_run(tmp_path):
    def moody(request):
        prompt = request.messages[0]["content"]
        is_bad = sum(map(ord, prompt)) % 4 == 0
        return "no" if is_bad else advisor(d=0.7 + len(prompt) % 5 / 10)(request)

    with ScriptedLLM(moody) as llm:
        llm.record(tmp_path / "llm.sqlite")
        live = run_of(llm, rounds=16)
    with Client(Recording(tmp_path / "llm.sqlite")) as tape:
        again = run_of(tape, rounds=16)
    np.testing.assert_array_equal(again.x, live.x)
    np.testing.assert_array_equal(again.network.weights, live.network.weights)
    assert again.diagnostics() == live.diagnostics()
    assert live.diagnostics()["guide_fallbacks"] > 0


@pytest.fixture(scope="module")
def unbroken():
    with ScriptedLLM(advisor()) as llm:
        return run_of(llm, rounds=16)


@pytest.mark.parametrize("stop", [2, 4, 5, 7, 9, 14])
def test_a_run_goes_on_from_its_state_with_requests_under_way(stop, unbroken):
    with ScriptedLLM(advisor()) as llm:
        first, second = run_of(llm, rounds=stop), run_of(llm)
        second.restore(json_round_trip(first.state()))
        play(second, Bowls(), rounds=16 - stop)
    np.testing.assert_array_equal(second.x, unbroken.x)
    np.testing.assert_array_equal(second.network.weights, unbroken.network.weights)
    assert second.diagnostics() == unbroken.diagnostics()


def json_round_trip(state):
    """As a snapshot keeps it: arrays as they are, all else as JSON."""
    if isinstance(state, dict):
        return {key: json_round_trip(value) for key, value in state.items()}
    return state.copy() if isinstance(state, np.ndarray) else json.loads(json.dumps(state))


# --- several ranks --------------------------------------------------------------------------


class Part(Network):
    """Some of the agents; what is gathered goes through the hands of all parts."""

    def __init__(self, weights, agents, table, barrier):
        self._own(weights, agents, None)
        self._table, self._barrier = table, barrier

    def gather(self, values):
        self._table[int(self.agents[0])] = values
        self._barrier.wait()
        result = np.concatenate([self._table[key] for key in sorted(self._table)])
        self._barrier.wait()
        return result


WEIGHTS = build(graph("barabasi-albert", 12, seed=3))
ROUNDS = (10, 12, 13, 15)


def advised(net, llm, histories):
    """What the agents of a network are advised in some rounds, of 12 of which one has left."""
    guide, alive = guide_of(llm, net, calls=6), np.arange(12) != 4
    advice = []
    for t, history in zip(ROUNDS, histories, strict=True):
        seen = context(Network(WEIGHTS), t, history, alive=alive)
        own = memory(history.mean[net.agents], history.divergence[net.agents])
        some = {
            name: getattr(seen, name)[net.agents]
            for name in ("d", "c", "interval", "alive", "evaluations")
        }
        headers = seen.headers[np.isin(Network(WEIGHTS).rows, net.agents)]
        advice.append(guide.advise(replace(seen, history=own, headers=headers, **some)))
    return advice, guide.diagnostics()


def test_every_part_of_the_agents_gets_the_advice_that_all_get_together():
    rng = np.random.default_rng(1)
    histories = [falling(rng.random(12), rng.lognormal(size=12)) for _ in ROUNDS]
    with ScriptedLLM(advisor()) as llm:
        whole, said = advised(Network(WEIGHTS), llm, histories)
        n_requests = len(llm.requests)
        table, barrier, parts = {}, threading.Barrier(3, timeout=60), {}

        def work(agents):
            part = Part(WEIGHTS, agents, table, barrier)
            parts[int(agents[0])] = advised(part, llm, histories)

        threads = [
            threading.Thread(target=work, args=(agents,))
            for agents in np.split(np.arange(12), [3, 5])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(llm.requests) == 2 * n_requests  # one of the parts asks, for all
    assert [diagnostics for _, diagnostics in parts.values()] == [said] * 3
    for i, advice in enumerate(whole):
        pieces = [parts[key][0][i] for key in sorted(parts)]
        for name in ("d", "c") if advice.wishes is None else ("d", "c", "wishes"):
            joined = np.concatenate([getattr(piece, name) for piece in pieces])
            np.testing.assert_array_equal(joined, getattr(advice, name))
    assert [advice.wishes is not None for advice in whole] == [False, False, False, True]


# --- making one ---------------------------------------------------------------------------


def test_without_a_model_for_the_role_the_rules_are_the_guide():
    net = network()
    given = (net, draws(net), GuideSettings())
    assert isinstance(guides.make("llm", *given), Rules)
    with ScriptedLLM([]) as llm:
        assert isinstance(guides.make("llm", *given, llm), LLMGuide)
        with Client(None, roles={"proposer": llm.script}) as other:
            assert isinstance(guides.make("llm", *given, other), Rules)


def test_an_unknown_guide_is_refused_by_name():
    net = network()
    with pytest.raises(UsageError, match=r"guide must be one of 'none', .*got 'oracle'"):
        guides.make("oracle", net, draws(net), GuideSettings())

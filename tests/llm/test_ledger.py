"""The ledger: it adds up, and no limit is passed, whoever asks at the same time."""

from __future__ import annotations

import logging
import math
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bbopt import Budget
from bbopt.errors import UsageError
from bbopt.llm import FREE, Answer, Charge, Ledger, Price, Request
from bbopt.llm.ledger import NO_CHARGE, PER_MESSAGE, PER_REQUEST, Reservation, most_prompt_tokens
from bbopt.testing import ScriptedLLM

ASK = [{"role": "user", "content": "Improve: ä"}]


def request(role: str = "proposer", max_tokens: int = 100, content: str = "ä") -> Request:
    return Request([{"role": "user", "content": content}], role, 0, max_tokens=max_tokens)


def reserved(ledger: Ledger, **fields: object) -> Reservation:
    reservation = ledger.reserve(request(**fields))  # type: ignore[arg-type]
    assert isinstance(reservation, Reservation)
    return reservation


def test_a_prompt_is_counted_as_its_bytes_and_allowances() -> None:
    assert most_prompt_tokens(request()) == len("ä".encode()) + PER_MESSAGE + PER_REQUEST
    with_schema = Request(ASK, "proposer", 0, schema={"type": "object"})
    without = Request(ASK, "proposer", 0)
    assert most_prompt_tokens(with_schema) == most_prompt_tokens(without) + len(
        '{"type": "object"}'
    )


def test_the_server_s_count_replaces_the_reservation() -> None:
    ledger = Ledger({"proposer": Price(2.0, 8.0)})
    charge = ledger.settle(reserved(ledger), 1, (1000, 50))
    assert charge == Charge(1, 1, 1000, 50, (2.0 * 1000 + 8.0 * 50) / 1e6)
    assert ledger.total == charge == ledger.roles["proposer"]


def test_the_reservation_stands_where_nobody_counted() -> None:
    ledger = Ledger({"proposer": Price(2.0, 8.0)})
    reservation = reserved(ledger)
    charge = ledger.settle(reservation, 3, None)
    assert charge.tokens == most_prompt_tokens(request()) + 100
    assert (charge.calls, charge.attempts, charge.estimated) == (1, 3, 1)
    assert charge.cost == reservation.most.cost > 0


def test_a_request_that_reached_no_server_costs_nothing() -> None:
    ledger = Ledger({"proposer": FREE})
    ledger.limit("llm_calls=1")
    assert ledger.settle(reserved(ledger), 0, None) == NO_CHARGE
    reserved(ledger)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ("llm_calls=2", "llm_calls"),
        ("tokens=600", "tokens (up to 246 may be needed, 108 are left)"),
        ("cost=0.006", "cost (up to 0.00246 may be needed, 0.00108 are left)"),
    ],
)
def test_reservations_that_are_not_settled_yet_count(budget: str, said: str) -> None:
    ledger = Ledger({"proposer": Price(10.0, 10.0)})  # 246 tokens at most, 0.00246 a call
    ledger.limit(budget)
    first = reserved(ledger)
    reserved(ledger)
    assert ledger.reserve(request()) == said
    ledger.settle(first, 0, None)
    reserved(ledger)


def test_what_is_left_is_counted_from_now_on_and_replaced_each_time() -> None:
    ledger = Ledger({"proposer": FREE})
    ledger.limit("llm_calls=10")
    for _ in range(3):
        ledger.settle(reserved(ledger), 1, (1, 1))
    ledger.allow(Budget(llm_calls=2))
    ledger.settle(reserved(ledger), 1, (1, 1))
    ledger.settle(reserved(ledger), 1, (1, 1))
    assert ledger.reserve(request()) == "llm_calls"
    ledger.allow(Budget())
    for _ in range(5):
        ledger.settle(reserved(ledger), 1, (1, 1))
    assert ledger.reserve(request()) == "llm_calls"  # the run's own limit holds
    ledger.allow(Budget(llm_calls=0))
    assert ledger.reserve(request()) == "llm_calls"


def test_roles_have_their_own_prices_and_share_the_limits() -> None:
    ledger = Ledger({"proposer": Price(1.0, 1.0), "judge": FREE})
    ledger.limit({"llm_calls": 2, "cost": 1.0})
    ledger.settle(reserved(ledger, role="judge"), 1, (500_000, 500_000))
    ledger.settle(reserved(ledger, role="proposer"), 1, (1000, 0))
    assert ledger.roles["judge"].cost == 0
    assert ledger.total.cost == pytest.approx(1e-3)
    assert ledger.reserve(request(role="judge")) == "llm_calls"


def test_money_cannot_be_limited_where_a_price_is_unknown() -> None:
    ledger = Ledger({"proposer": FREE, "judge": None})
    ledger.limit({"llm_calls": 5, "tokens": 100})
    for limit in (ledger.limit, ledger.allow):
        with pytest.raises(UsageError, match="price of the model for the role 'judge' is unknown"):
            limit(Budget(cost=1.0))


def test_a_server_that_counts_more_than_it_may_is_believed_and_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ledger = Ledger({"proposer": FREE})
    ledger.limit("tokens=300")
    with caplog.at_level(logging.WARNING, "bbopt.llm"):
        ledger.settle(reserved(ledger), 1, (10, 5000))
    assert "more tokens than can be reserved" in caplog.text
    assert ledger.total.tokens == 5010
    said = ledger.reserve(request(max_tokens=1))
    assert isinstance(said, str)
    assert said.startswith("tokens ")
    assert said.endswith(", 0 are left)")


@given(
    st.lists(
        st.tuples(
            st.integers(1, 60),
            st.sampled_from(["settle", "lost", "unsent", "keep"]),
            st.floats(0, 1),
        ),
        max_size=30,
    ),
    st.integers(1, 12),
    st.integers(200, 3000),
)
def test_no_order_of_calls_passes_a_limit(
    steps: list[tuple[int, str, float]], calls: int, tokens: int
) -> None:
    ledger = Ledger({"proposer": Price(3.0, 5.0)})
    cost = tokens * 4e-6
    ledger.limit({"llm_calls": calls, "tokens": tokens, "cost": cost})
    spent = NO_CHARGE
    for max_tokens, end, share in steps:
        reservation = ledger.reserve(request(max_tokens=max_tokens))
        if isinstance(reservation, str):
            continue
        most = reservation.most
        if end == "settle":
            counts = int(share * most.prompt_tokens), int(share * most.completion_tokens)
            spent += ledger.settle(reservation, 1, counts)
        elif end == "lost":
            spent += ledger.settle(reservation, 2, None)
        elif end == "unsent":
            spent += ledger.settle(reservation, 0, None)
        assert spent == ledger.total
        assert spent.calls <= calls
        assert spent.tokens <= tokens
        assert spent.cost <= cost


@pytest.mark.parametrize(
    "limit", [{"llm_calls": 23}, {"tokens": 9_000}, {"cost": 0.02}, {"llm_calls": 23, "tokens": 1}]
)
def test_sixteen_threads_at_once_do_not_pass_a_limit(limit: dict[str, float]) -> None:
    together = threading.Barrier(16)
    served = []

    def answer(asked: Request) -> Answer:
        served.append(asked.draw)  # atomic
        return Answer("fine", None, (asked.draw, 100 + asked.draw % 3))

    with ScriptedLLM(answer, price=Price(10.0, 10.0), max_concurrent=16) as client:
        client.ledger.limit(limit)

        def work(thread: int) -> list[bool]:
            together.wait()
            replies = [
                client.complete(ASK, role="proposer", draw=16 * i + thread, max_tokens=102)
                for i in range(10)
            ]
            return [reply.error is None for reply in replies]

        with ThreadPoolExecutor(16) as pool:
            done = sum(sum(oks) for oks in pool.map(work, range(16)))
        total = client.ledger.total
    assert total.calls == done == len(served)
    assert total.prompt_tokens == sum(served)
    assert total.tokens == sum(n + 100 + n % 3 for n in served)
    assert total.cost == pytest.approx(total.tokens * 1e-5)
    assert total.calls <= limit.get("llm_calls", math.inf)
    assert total.tokens <= limit.get("tokens", math.inf)
    assert total.cost <= limit.get("cost", math.inf)
    if "tokens" not in limit:
        assert served  # a limit is no ban

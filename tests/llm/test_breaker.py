"""The circuit breaker, on a clock that the tests move."""

from __future__ import annotations

import logging
import threading
import time

import pytest

from bbopt.llm import breaker as module
from bbopt.llm.breaker import Breaker
from bbopt.llm.exchange import KEY_REFUSED


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in a list."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        assert breaker.admit(0.0) is None
        breaker.report("no route")


def test_failures_that_are_not_in_a_row_do_not_open_it(clock: list[float]) -> None:
    breaker = Breaker("it", 3, 10.0)
    for _ in range(5):
        fail(breaker, 2)
        breaker.report(None)
    assert not breaker.is_open


def test_open_it_lets_nothing_through_until_it_has_cooled_down(clock: list[float]) -> None:
    breaker = Breaker("the server", 3, 10.0)
    fail(breaker, 3)
    assert breaker.is_open
    refusal = breaker.admit(0.0)
    assert refusal == (
        "the server is unavailable: 3 requests in a row failed, the last with: no route"
    )
    clock[0] += 9.9
    assert breaker.admit(0.0) is not None
    clock[0] += 0.2
    assert breaker.admit(0.0) is None


def test_one_probe_at_a_time_decides(clock: list[float]) -> None:
    breaker = Breaker("it", 2, 10.0)
    fail(breaker, 2)
    clock[0] += 10
    assert breaker.admit(0.0) is None
    assert breaker.admit(0.0) is not None  # the probe is under way
    breaker.report("still no route")
    assert breaker.admit(0.0) is not None
    clock[0] += 10
    assert breaker.admit(0.0) is None
    breaker.withdraw()
    assert breaker.admit(0.0) is None  # another may probe instead
    breaker.report(None)
    assert not breaker.is_open
    assert breaker.admit(0.0) is None


def test_what_waits_goes_on_when_the_probe_succeeds() -> None:
    breaker = Breaker("it", 1, 0.02)
    fail(breaker, 1)
    until = time.monotonic() + 60
    assert breaker.admit(until) is None  # waited for the cool-down; this is the probe
    answers: list[str | None] = []
    threads = [
        threading.Thread(target=lambda: answers.append(breaker.admit(until))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    breaker.report(None)
    for thread in threads:
        thread.join()
    assert answers == [None] * 3


def test_a_refused_key_is_no_server_that_is_down(caplog: pytest.LogCaptureFixture) -> None:
    breaker = Breaker("the server", 1, 10.0)
    with caplog.at_level(logging.WARNING, "bbopt.llm"):
        breaker.admit(0.0)
        breaker.report(f"{KEY_REFUSED}: 401")
    assert caplog.messages == ["the server: the key is refused (check OPENAI_API_KEY): 401"]


def test_it_says_once_that_a_server_is_down_and_once_that_it_is_back(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    breaker = Breaker("the server", 2, 10.0)
    with caplog.at_level(logging.WARNING, "bbopt.llm"):
        fail(breaker, 2)
        for _ in range(3):
            clock[0] += 10
            fail(breaker, 1)
        breaker.report(None)
        breaker.report(None)
    assert [record.getMessage() for record in caplog.records] == [
        "the server is down: no route",
        "the server is back",
    ]

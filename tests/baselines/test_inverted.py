"""A blocking function whose calls are answered from outside."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from bbopt.baselines.inverted import Call, Ended, Inverted


def test_calls_come_one_by_one_and_get_their_answers() -> None:
    got: list[Any] = []

    def work(call: Call) -> None:
        for i in range(3):
            got.append(call(i))

    inverted = Inverted(work)
    for i in range(3):
        assert inverted.request == inverted.request == i
        inverted.answer(10 * i)
    assert got == [0, 10, 20]
    assert inverted.request == Ended(None)


def test_the_function_stands_still_while_nobody_answers() -> None:
    steps: list[int] = []

    def work(call: Call) -> None:
        for i in range(100):
            steps.append(i)
            call(i)

    inverted = Inverted(work)
    for i in range(20):
        assert inverted.request == i
        assert steps == list(range(i + 1))
        inverted.answer(None)
        assert steps == list(range(i + 2))  # and it has come to the next call by then
    inverted.close()


def test_an_exception_as_the_answer_is_raised_where_the_call_was_made() -> None:
    def work(call: Call) -> None:
        try:
            call("first")
        except LookupError as error:
            call(f"again, after {error}")

    inverted = Inverted(work)
    inverted.answer(LookupError("nothing"))
    assert inverted.request == "again, after nothing"
    inverted.close()


def test_what_the_function_raises_is_the_reason_of_its_end() -> None:
    def work(call: Call) -> None:
        raise ValueError("bad luck")

    inverted = Inverted(work)
    assert inverted.request == Ended("ValueError: bad luck")
    inverted.answer(1)  # nobody is there to hear it
    assert inverted.request == Ended("ValueError: bad luck")


@pytest.mark.parametrize("calls", [0, 1, 3])
def test_closing_unwinds_a_function_that_catches_every_exception(calls: int) -> None:
    unwound: list[str] = []

    def work(call: Call) -> None:
        try:
            while True:
                try:
                    call("more")
                except Exception:  # noqa: BLE001 -- as foreign code does
                    unwound.append("caught")
        finally:
            unwound.append("done")

    inverted = Inverted(work)
    for _ in range(calls):
        inverted.answer(RuntimeError())
    inverted.close()
    assert unwound == ["caught"] * calls + ["done"]
    assert inverted.request == Ended(None)
    inverted.close()
    assert not [t for t in threading.enumerate() if t.name == "bbopt-inverted"]

"""Requests at once: their order, their number, and an end that waits for nobody."""

from __future__ import annotations

import threading

import pytest

from bbopt.llm.together import together


@pytest.mark.parametrize("n_threads", [1, 3, 50])
def test_results_are_in_the_order_of_the_items(n_threads: int) -> None:
    assert together(lambda n: n * n, range(20), n_threads) == [n * n for n in range(20)]
    assert together(lambda n: n, [], n_threads) == []


def test_no_more_run_at_once_than_there_are_threads() -> None:
    lock, all_busy = threading.Lock(), threading.Barrier(3, timeout=30)
    running: list[int] = []
    most = 0

    def work(n: int) -> None:
        nonlocal most
        with lock:
            running.append(n)
            most = max(most, len(running))
        if n < 3:
            all_busy.wait()  # three are needed for anyone to go on
        with lock:
            running.remove(n)

    together(work, range(12), 3)
    assert most == 3


def test_what_a_call_raises_is_raised_at_once_and_nothing_more_is_started() -> None:
    release, started = threading.Event(), threading.Barrier(2, timeout=30)
    begun: list[int] = []

    def work(n: int) -> None:
        begun.append(n)
        started.wait()
        if n == 1:
            raise KeyboardInterrupt
        release.wait(30)

    with pytest.raises(KeyboardInterrupt):  # while the other call still runs
        together(work, range(6), 2)
    release.set()
    for thread in threading.enumerate():
        if thread.name == "bbopt-llm":
            thread.join()
    assert sorted(begun) == [0, 1]

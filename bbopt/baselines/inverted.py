"""A closed loop turned inside out: a blocking function whose calls are answered from outside.

Other packages' optimizers call an evaluator and return when they are done; ours are asked and
told. Here the function runs in a thread of its own and stops at every call that it makes, until
whoever holds the :class:`Inverted` answers it::

    def work(call):
        print(call("3 + 4 ="))

    inverted = Inverted(work)
    inverted.request        # "3 + 4 ="     the function stands still
    inverted.answer(7)      # prints 7
    inverted.request        # Ended(reason=None)

The function and its holder never run at the same time, so nothing depends on how threads are
scheduled, and everything that a call asks for happens in the thread of the holder.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol

Call = Callable[[Any], Any]
"""``request -> answer``; raises what it is answered with where that is an exception."""


@dataclass(frozen=True)
class Ended:
    """What a function that has returned requests.

    Parameters
    ----------
    reason : str or None
        What it raised, None where it returned.
    """

    reason: str | None = None


class Conversation(Protocol):
    """Somebody who asks one thing at a time and stands still until it is answered."""

    @property
    def request(self) -> Any:
        """What is asked now, :class:`Ended` for ever after the last answer."""

    def answer(self, value: Any) -> None:
        """Answer the request (an exception is raised where it was made); wait for the next."""

    def close(self) -> None:
        """End it, whatever it is doing; a second time does nothing."""


class _Closed(BaseException):
    """Unwinds a function that nobody will answer any more (no ``except Exception`` stops it)."""


class Inverted:
    """The conversation of a blocking function; see the module.

    Parameters
    ----------
    work : callable
        ``work(call)``. It is started at once, in a daemon thread. It must not refer to the
        holder of this object, which could then never be collected.
    """

    def __init__(self, work: Callable[[Call], None]) -> None:
        self._requests: SimpleQueue[Any] = SimpleQueue()
        self._answers: SimpleQueue[Any] = SimpleQueue()
        self._request: Any = None
        self._thread = threading.Thread(
            target=_run,
            args=(work, self._requests, self._answers),
            name="bbopt-inverted",
            daemon=True,
        )
        self._thread.start()

    @property
    def request(self) -> Any:
        """What the function waits for; waits until it does."""
        if self._request is None:
            self._request = self._requests.get()
        return self._request

    def answer(self, value: Any) -> None:
        """Let the function go on with ``value`` until it stands still again."""
        if not isinstance(self.request, Ended):
            self._request = None
            self._answers.put(value)
            self._request = self._requests.get()

    def close(self) -> None:
        """Unwind the function, and wait until it is."""
        self.answer(_Closed())
        self._thread.join()


def _run(
    work: Callable[[Call], None], requests: SimpleQueue[Any], answers: SimpleQueue[Any]
) -> None:
    def call(request: Any) -> Any:
        requests.put(request)
        answer = answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    try:
        work(call)
    except _Closed:
        requests.put(Ended())
    except Exception as error:  # noqa: BLE001 -- foreign code: it ends, and says why
        requests.put(Ended(f"{type(error).__name__}: {error}"))
    else:
        requests.put(Ended())

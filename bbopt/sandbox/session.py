"""A program and calls of its functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from time import monotonic
from types import TracebackType
from typing import Any

from bbopt import checks
from bbopt.errors import UsageError
from bbopt.sandbox import levels
from bbopt.sandbox.child import LONGEST_COMPLAINT, decode, encode
from bbopt.sandbox.interpreter import Limits
from bbopt.sandbox.process import Process, ProgramError

DEEPEST = 100
"""How deep lists and objects of a result may be nested."""


class Sandbox:
    """A program in an interpreter of its own, of which nothing is believed.

    The program has no network, reads nothing but the interpreter with its packages, writes
    nothing but a scratch folder (the current one, gone at the end), starts no processes, and is
    held to limits. What it prints goes nowhere. How well all this is kept depends on ``level``:

    ``"bubblewrap"``
        The program sees nothing else of the host (:mod:`bbopt.sandbox.bubblewrap`).
    ``"landlock"``
        The kernel refuses it the rest (:mod:`bbopt.sandbox.landlock`).
    ``"limits"``
        Limits alone: no more than a safeguard against accidents (:mod:`bbopt.sandbox.limits`).

    Arguments and results are JSON values and arrays of real numbers, which arrive as float64 or
    int64; tuples arrive as lists, and an object with the key ``"__ndarray__"`` is refused. A
    result may hold NaN and infinities. A program repeats itself as far as Python does:
    ``random`` and ``numpy.random.seed`` are seeded, and sets of texts have one order.

    Use it in one thread: the program ends with the thread that started it.

    Parameters
    ----------
    source : str
        Python, run once at the start; it defines the functions.
    seconds : float
        Wall-clock time that the program may run, loading and calls together, 0.001 to a
        million; starting the interpreter is not counted.
    memory : int
        Bytes that it may map beyond the interpreter and numpy, >= 1 MiB.
    output : int
        The largest result, and the largest file, in bytes, >= 1 KiB.
    level : {"auto", "bubblewrap", "landlock", "limits"}
        How it is confined; ``"auto"`` takes the first of the first two that works here.

    Attributes
    ----------
    level : str
        The level obtained.

    Raises
    ------
    UsageError
        If an argument is not allowed, or the level does not work here.
    ProgramError
        If the program fails while it is loaded.
    SandboxError
        If the interpreter does not start.

    Examples
    --------
    >>> with Sandbox("def double(x): return 2 * x", level="limits") as box:
    ...     box.call("double", 21), box.map("double", [(1,), (2,)])
    (42, [2, 4])
    """

    def __init__(
        self,
        source: str,
        *,
        seconds: float = 10.0,
        memory: int = 512 * 2**20,
        output: int = 2**20,
        level: str = "auto",
    ) -> None:
        if not isinstance(source, str):
            raise UsageError(f"source must be a str, got {source!r}")
        limits = Limits(
            checks.number("seconds", seconds, 1e-3, 1e6),
            checks.integer("memory", memory, 2**20, 2**50),
            checks.integer("output", output, 2**10, 2**40),
        )
        self.level = levels.choose(level)
        self._seconds_left = limits.seconds
        self._number = 0
        self._over: str | None = None
        self._process = Process(levels.WRAPS[self.level], limits)
        try:
            self._ask({"source": source}, 0)
        except BaseException:
            self.close()
            raise

    def call(self, function: str, *arguments: Any) -> Any:
        """What the program's ``function`` returns for the arguments.

        Raises
        ------
        ProgramError
            If the program raises, runs too long, dies, or returns no value that can travel. It
            can be called again where it raised; after anything else it is over.
        UsageError
            If the arguments cannot travel.
        """
        return self._ask({"function": function, "calls": [arguments]}, 1)[0]

    def map(self, function: str, calls: Iterable[Sequence[Any]]) -> list[Any]:
        """What ``function`` returns for each sequence of arguments, in one round trip.

        Raises
        ------
        ProgramError, UsageError
            As :meth:`call`; one call that fails fails them all.
        """
        todo = list(calls)
        return self._ask({"function": function, "calls": todo}, len(todo))

    def close(self) -> None:
        """End the program."""
        self._over = self._over or "the sandbox is closed"
        self._process.close()

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- inside -----------------------------------------------------------------------

    def _ask(self, request: dict[str, Any], n: int) -> list[Any]:
        if self._over is not None:
            raise ProgramError(self._over)
        self._number += 1
        try:
            frame = encode({"id": self._number, **request})
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"arguments must be JSON values and arrays: {error}") from None
        start = monotonic()
        try:
            text, data = self._process.exchange(frame, self._seconds_left)
            reply = _checked(text, data, self._number, n)
        except ProgramError as error:
            self._over = str(error)
            self.close()
            raise
        finally:
            self._seconds_left -= monotonic() - start
        if "error" in reply:
            raise ProgramError(_printable(reply["error"]))
        results: list[Any] = reply["results"]
        return results


def _checked(text: bytes, data: bytes, number: int, n: int) -> dict[str, Any]:
    """The reply to request ``number``, which has ``n`` results or an error.

    The program may have written it itself.
    """
    try:
        reply = decode(text, data)
    except (TypeError, ValueError, OverflowError, RecursionError):
        reply = None
    if isinstance(reply, dict) and reply.pop("id", None) == number:
        results, error = reply.get("results"), reply.get("error")
        if len(reply) == 1 and isinstance(error, str):
            return reply
        if len(reply) == 1 and isinstance(results, list) and len(results) == n:
            if _is_deeper(results, DEEPEST):
                raise ProgramError(f"the program returned more than {DEEPEST} nested lists")
            return reply
    raise ProgramError("the program sent something that is no result")


def _is_deeper(value: Any, depth: int) -> bool:
    layer = [value]
    for _ in range(depth + 1):
        inner = [thing for thing in layer if type(thing) in (list, dict)]
        if not inner:
            return False
        layer = [x for thing in inner for x in (thing.values() if type(thing) is dict else thing)]
    return True


def _printable(text: str) -> str:
    """A text that can be stored and sent: of bounded length, without control characters."""
    short = text[: LONGEST_COMPLAINT + 100].strip() or "the program failed and does not say why"
    return "".join(
        c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in short
    )

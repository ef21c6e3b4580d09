"""What runs inside a sandbox, and the frames that both sides speak.

Run as a script, by its path: inside a sandbox there is the standard library, numpy and whatever
else is installed, and nothing of bbopt.

A frame is two lengths, a JSON text of the first and bytes of the second. An array is an object
in the text, with its type and shape, and its numbers are the next of the bytes.
"""

from __future__ import annotations

import json
import math
import os
import struct
import sys
from typing import Any, BinaryIO

import numpy as np

HEAD = struct.Struct("<QQ")
ARRAY = "__ndarray__"
PROGRAM = "<program>"
LONGEST_COMPLAINT = 2000


def encode(value: Any) -> bytes:
    """The frame of a JSON value in which arrays of real numbers may stand.

    Arrays of booleans and small integers travel as int64, all others as float64; tuples as
    lists; numpy's scalars as Python's.

    Raises
    ------
    TypeError, ValueError, RecursionError
        If it is no such value.
    """
    numbers: list[bytes] = []

    def plain(thing: Any) -> Any:
        if isinstance(thing, np.ndarray):
            kind = "i8" if thing.dtype.kind in "biu" else "f8"
            numbers.append(thing.astype(kind, casting="safe", copy=False).tobytes())
            return {ARRAY: [kind, thing.shape]}
        if isinstance(thing, np.bool_ | np.integer | np.floating):
            return thing.item()
        raise TypeError(f"{type(thing).__name__} is neither a JSON value nor an array of numbers")

    text = json.dumps(value, default=plain, separators=(",", ":")).encode()
    data = b"".join(numbers)
    return HEAD.pack(len(text), len(data)) + text + data


def decode(text: bytes, data: bytes) -> Any:
    """The value of a frame; arrays are float64 or int64 and writable.

    Raises
    ------
    TypeError, ValueError, OverflowError, RecursionError
        If the frame was not made by :func:`encode`.
    """
    offset = 0

    def hook(thing: dict[str, Any]) -> Any:
        nonlocal offset
        if ARRAY not in thing:
            return thing
        ((kind, shape),) = thing.values()
        if kind not in ("f8", "i8") or len(shape) > 32:
            raise ValueError("no such array")
        if not all(type(n) is int and 0 <= n < 2**32 for n in shape):
            raise ValueError("no such shape")
        size = math.prod(shape)
        if not size:
            return np.empty(shape, kind)
        array = np.frombuffer(data, kind, size, offset).reshape(shape).copy()
        offset += array.nbytes
        return array

    value = json.loads(text, object_hook=hook)
    if offset != len(data):
        raise ValueError("more numbers than arrays")
    return value


# --- inside only ---------------------------------------------------------------------------


def limit(seconds: float, memory: int, output: int) -> None:
    """Lower every limit of this process to what a program may have, for good."""
    import resource
    import time

    with open("/proc/self/statm", "rb") as file:
        in_use = int(file.read().split()[0]) * resource.getpagesize()
    most = {
        resource.RLIMIT_AS: in_use + memory,
        resource.RLIMIT_CPU: math.ceil(time.process_time() + seconds) + 1,
        resource.RLIMIT_FSIZE: output,  # of each file
        resource.RLIMIT_NPROC: 0,  # counts threads, too; does not bind root
        resource.RLIMIT_NOFILE: 64,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    for which, value in most.items():
        resource.setrlimit(which, (value, value))


def end_with_parent() -> None:
    """Have the kernel end this process with the thread that started it."""
    import ctypes
    import signal

    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def quiet() -> None:
    """Let what the program prints go nowhere: a gigabyte of it costs nothing."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nowhere, stream)
    os.close(nowhere)


def load(source: str) -> dict[str, Any]:
    """Run the program's text, and return the names that it defines."""
    import linecache
    import random

    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - programs may draw from it: each time the same numbers
    linecache.cache[PROGRAM] = (len(source), None, source.splitlines(True), PROGRAM)
    names: dict[str, Any] = {"__name__": "program", "__file__": PROGRAM}
    exec(compile(source, PROGRAM, "exec"), names)
    return names


def serve(requests: BinaryIO, replies: int, output: int) -> None:
    """Answer requests until there are no more."""
    names: dict[str, Any] = {}
    send(replies, encode({"id": 0, "results": []}))
    while len(head := requests.read(HEAD.size)) == HEAD.size:
        text, data = (requests.read(size) for size in HEAD.unpack(head))
        request = decode(text, data)
        try:
            if "source" in request:
                names = load(request["source"])
                results = []
            else:
                results = answers(names, request["function"], request["calls"])
            reply = encode({"id": request["id"], "results": results})
            if len(reply) > output:
                raise ValueError(f"a result of {len(reply):,} bytes; allowed are {output:,}")
        except BaseException as error:  # noqa: BLE001 - a program may raise anything
            reply = encode({"id": request["id"], "error": complaint(error)})
        send(replies, reply)


def answers(names: dict[str, Any], name: str, calls: list[list[Any]]) -> list[Any]:
    """The results of one function for each list of arguments."""
    if not callable(names.get(name)):
        raise NameError(f"the program must define a function {name!r}")
    function = names[name]
    return [function(*arguments) for arguments in calls]


def complaint(error: BaseException) -> str:
    """What went wrong, as Python would print it, with the program's own lines only."""
    import traceback

    told = traceback.TracebackException.from_exception(error, limit=-50, compact=True)
    seen: list[traceback.TracebackException] = []
    todo = [told]
    while todo:
        one = todo.pop()
        seen.append(one)
        one.stack = traceback.StackSummary.from_list(
            [frame for frame in one.stack if frame.filename == PROGRAM]
        )
        todo += [other for other in (one.__cause__, one.__context__) if other is not None]
    text = "".join(told.format(chain=len(seen) < 10)).strip()
    if len(text) > LONGEST_COMPLAINT:
        half = LONGEST_COMPLAINT // 2
        text = f"{text[:half]}\n[...]\n{text[-half:]}"
    return text


def send(replies: int, frame: bytes) -> None:
    """Write all of a frame."""
    rest = memoryview(frame)
    while rest:
        rest = rest[os.write(replies, rest) :]


def main(requests: int, replies: int, limits: dict[str, Any]) -> None:
    """Become the server of one program."""
    end_with_parent()
    limit(**limits)
    quiet()
    with open(requests, "rb", buffering=2**16) as stream:
        serve(stream, replies, limits["output"])


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), json.loads(sys.argv[3]))

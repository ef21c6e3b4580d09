"""The levels of a sandbox, and whether each works here: a probe that is run once through it."""

from __future__ import annotations

import socket
import sys
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

from bbopt import checks
from bbopt.errors import UsageError
from bbopt.sandbox import bubblewrap, landlock, limits
from bbopt.sandbox.child import decode, encode
from bbopt.sandbox.interpreter import Limits
from bbopt.sandbox.process import Process, ProgramError, SandboxError, Wrap

WRAPS: dict[str, Wrap] = {
    "bubblewrap": bubblewrap.wrap,
    "landlock": landlock.wrap,
    "limits": limits.wrap,
}
LEVELS = tuple(WRAPS)
"""The names of the levels, the strongest first."""

PROBE = """
import os, socket, sys

def can(attempt):
    try:
        attempt()
    except OSError:
        return False
    return True

def fork():
    if os.fork() == 0:
        os._exit(0)

def probe(folder, port):
    return {
        "version": sys.version,
        "prefix": sys.prefix,
        "read files": can(lambda: open(folder + "/there").read()),
        "write files": can(lambda: open(folder + "/made", "w")),
        "reach the network": can(lambda: socket.create_connection(("127.0.0.1", port), 1)),
        "start processes": can(fork),
    }
"""


def choose(level: str) -> str:
    """The level to use for the one asked for; "auto" is never ``"limits"``.

    Raises
    ------
    UsageError
        If there is no such level, or it does not work here.
    """
    level = checks.one_of("sandbox level", level, ("auto", *LEVELS))
    if level != "auto":
        reason = unavailable(level)
        if reason is not None:
            raise UsageError(f"sandbox level {level!r} does not work here: {reason}")
        return level
    reasons = {}
    for candidate in LEVELS[:-1]:
        reason = unavailable(candidate)
        if reason is None:
            return candidate
        reasons[candidate] = reason
    told = "; ".join(f"{candidate}: {reason}" for candidate, reason in reasons.items())
    raise UsageError(
        f"no sandbox works here ({told}); level 'limits' runs programs that can read, write and "
        "send whatever you can, so it has to be asked for"
    )


@lru_cache
def unavailable(level: str) -> str | None:
    """Why a level does not work in this process's surroundings; None where it does.

    The first call for a level starts an interpreter through it, which has to be the same Python
    and, but for ``"limits"``, must not be able to do what a level is there to prevent.
    """
    if not sys.platform.startswith("linux"):
        return "it needs Linux"
    try:
        found = _probe(level)
    except (SandboxError, ProgramError) as error:
        return str(error)
    if (found.pop("version"), found.pop("prefix")) != (sys.version, sys.prefix):
        return "it starts another Python"
    able = [deed for deed, done in found.items() if done]
    if able and level != "limits":
        return f"a program in it can {' and '.join(able)} outside"
    return None


def _probe(level: str) -> dict[str, Any]:
    """What the probe found."""
    process = Process(WRAPS[level], Limits(10.0, 2**28, 2**16))
    try:
        with (
            tempfile.TemporaryDirectory(prefix="bbopt-") as folder,
            socket.create_server(("127.0.0.1", 0)) as server,
        ):
            Path(folder).chmod(0o777)
            Path(folder, "there").write_text("secret")
            port = server.getsockname()[1]
            results: list[Any] = []
            for request in (
                {"id": 1, "source": PROBE},
                {"id": 2, "function": "probe", "calls": [[folder, port]]},
            ):
                reply = decode(*process.exchange(encode(request), 10.0))
                if "error" in reply:
                    raise ProgramError(reply["error"])
                results = reply["results"]
            found: dict[str, Any] = results[0]
            return found
    finally:
        process.close()

"""The level ``limits``: the interpreter with limits of time, memory and files, and nothing else.

The program reads what the user can read and writes what the user can write, opens sockets, ends
the user's other processes, and, as root, starts processes without end: only for programs that
one would run without any sandbox, too.
"""

from __future__ import annotations

from bbopt.sandbox.interpreter import PYTHON


def wrap(script: list[str], scratch: str, memory: int) -> list[str]:
    """The command that runs ``script``."""
    return [*PYTHON, *script]

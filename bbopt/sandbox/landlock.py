"""The level ``landlock``: a process that gives up its rights before it runs the program.

What the kernel lets it read are the folders of the interpreter, what it lets it write the files
of the scratch folder; a filter of system calls refuses sockets, processes and what reaches other
processes (:mod:`bbopt.sandbox.restrict`). It stays the same user, and the filter is a list of
what is refused: weaker than name spaces. Of the scratch folder only the size of each file is
limited, and as root a program can start threads. Needs the packages ``landlock`` and
``pyseccomp``, and Linux 5.13 or newer.
"""

from __future__ import annotations

import json
from importlib.util import find_spec

from bbopt.errors import MissingExtra
from bbopt.sandbox import restrict
from bbopt.sandbox.interpreter import PYTHON, readable
from bbopt.sandbox.process import SandboxError


def wrap(script: list[str], scratch: str, memory: int) -> list[str]:
    """The command that runs ``script`` in a process that has restricted itself.

    Raises
    ------
    SandboxError
        If a package that it needs is not installed.
    """
    for package in ("landlock", "pyseccomp"):
        if find_spec(package) is None:
            raise SandboxError(str(MissingExtra(package, "sandbox", "the level 'landlock'")))
    return [*PYTHON, restrict.__file__, json.dumps(readable()), scratch, *script]

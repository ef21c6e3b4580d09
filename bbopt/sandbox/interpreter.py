"""The interpreter that every level starts: its command, its environment, what it must read."""

from __future__ import annotations

import json
import os
import site
import sys
import sysconfig
from dataclasses import asdict, dataclass
from pathlib import Path

from bbopt.sandbox import child

PYTHON = (sys.executable, "-s", "-P", "-B", "-X", "utf8")
"""``-P`` keeps the folder of the script and the current one out of what a program can import."""


@dataclass(frozen=True)
class Limits:
    """What a program may use.

    Parameters
    ----------
    seconds : float
        Wall-clock time, and the seconds of CPU time (rounded up, and one more).
    memory : int
        Bytes beyond what the interpreter with numpy has mapped already.
    output : int
        Bytes of one reply, and of one file.
    """

    seconds: float
    memory: int
    output: int


def script(limits: Limits, requests: int, replies: int) -> list[str]:
    """What the interpreter has to run: ``child.py``, with the pipes and the limits."""
    return [child.__file__, str(requests), str(replies), json.dumps(asdict(limits))]


def environment(scratch: str) -> dict[str, str]:
    """All of the environment: nothing is inherited, and sets have one order."""
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    one = dict.fromkeys(threads, "1")
    return {**one, "HOME": scratch, "TMPDIR": scratch, "PYTHONHASHSEED": "0", "PATH": ""}


def readable() -> list[str]:
    """The files and folders that the interpreter, its packages and ``child.py`` lie in.

    None of them lies in another.
    """
    paths = ["/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/alternatives", child.__file__]
    paths += [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]
    paths += [*site.getsitepackages(), sysconfig.get_path("stdlib")]
    paths += [str(Path(link).parent) for link in _chain(sys.executable)]
    there = sorted({os.path.abspath(path) for path in paths if os.path.exists(path)})
    outer: list[str] = []
    for path in there:
        if not any(path.startswith(f"{other}/") for other in outer):
            outer.append(path)
    return outer


def _chain(path: str) -> list[str]:
    """A path, what it links to, what that links to, and so on."""
    chain = [path]
    while os.path.islink(chain[-1]) and len(chain) < 40:
        target = os.readlink(chain[-1])
        chain.append(os.path.join(os.path.dirname(chain[-1]), target))
    return chain

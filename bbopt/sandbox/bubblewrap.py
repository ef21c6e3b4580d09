"""The level ``bubblewrap``: name spaces of its own, in which nothing else of the host exists.

Only the folders of the interpreter are there, read-only; the scratch folder is in memory and is
gone with the program; there is no network but a loopback of its own, and no process of others
is seen. Needs the program ``bwrap``, and as an ordinary user the right to make name spaces.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bbopt.sandbox.interpreter import PYTHON, readable
from bbopt.sandbox.process import SandboxError

NOBODY = "65534"


def wrap(script: list[str], scratch: str, memory: int) -> list[str]:
    """The command that runs ``script`` in name spaces of its own.

    Root makes them without a user name space and becomes nobody inside, last of all: the limit
    of processes does not bind root, and nobody may not be able to reach the interpreter from
    outside, through folders that only root can enter. An ordinary user gets a user name space.

    Raises
    ------
    SandboxError
        If a program that it needs is not installed.
    """
    is_root = os.geteuid() == 0
    line = [_found("bwrap"), "--die-with-parent", "--new-session"]
    spaces = ("pid", "net", "ipc", "uts")
    line += [f"--unshare-{space}" for space in spaces] if is_root else ["--unshare-all"]
    line += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
    made = {Path("/"), Path("/proc"), Path("/dev")}
    # a scratch folder first: the interpreter may lie in a folder beside it
    line += [*_parents(scratch, made), "--perms", "1777", "--size", str(memory), "--tmpfs", scratch]
    for path in readable():
        line += _parents(path, made)
        is_link = path.startswith("/lib") and os.path.islink(path)
        line += ["--symlink", os.readlink(path), path] if is_link else ["--ro-bind", path, path]
    line += ["--remount-ro", "/", "--chdir", scratch]
    if is_root:
        user = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
        line += [_found("setpriv"), *user, "--inh-caps=-all", "--bounding-set=-all"]
    return [*line, *PYTHON, *script]


def _parents(path: str, made: set[Path]) -> list[str]:
    """What makes the folders above a path, which others than root must be able to enter."""
    missing = [parent for parent in reversed(Path(path).parents) if parent not in made]
    made.update(missing)
    return [word for parent in missing for word in ("--perms", "0755", "--dir", str(parent))]


def _found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise SandboxError(f"the program {program!r} is not installed")
    return path

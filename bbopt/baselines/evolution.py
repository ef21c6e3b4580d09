"""A run of OpenEvolve as a conversation, held with processes of its own.

OpenEvolve seeds Python's global generators, sets the level of the root logger, takes over
signals, starts a worker process and loads its evaluator from a file. Here it does so where it
disturbs nobody, and asks for every score and completion over a socket (the other side is
:mod:`bbopt.baselines.evolving`). A *nursery* imports the package once (0.6 s) and forks
whenever a run is wanted (30 ms)::

    this process --folder, socket--> nursery --fork--> controller --fork--> worker
          ^------------------ one line of JSON each way ----------------------'

When the socket closes, the processes of the run end.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bbopt.baselines.inverted import Ended

PATIENCE = 5.0
"""Seconds to wait for processes that were told to end."""


class Evolution:
    """The conversation with one run of OpenEvolve, in JSON values.

    Requests are ``{"evaluate": program}``, answered with ``{"score": float, "feedback": str}``,
    and ``{"complete": [messages]}``, answered with ``{"text": str}`` or ``{"error": str}``.

    Parameters
    ----------
    program : str
        The initial program.
    templates : mapping of str to str
        Prompt templates by file name, in place of the package's own.
    config : mapping
        Fields of its ``Config``, those of a section in a mapping of their own.
    """

    def __init__(
        self, program: str, templates: Mapping[str, str], config: Mapping[str, Any]
    ) -> None:
        self._owner = os.getpid()
        self._request: Any = None
        self._folder = Path(tempfile.mkdtemp(prefix="bbopt-openevolve-"))
        files = {
            "program.txt": program,
            "config.json": json.dumps(config),
            "evaluator.py": "from bbopt.baselines.evolving import evaluate\n",
            **{f"templates/{name}": text for name, text in templates.items()},
        }
        (self._folder / "templates").mkdir()
        for name, text in files.items():
            (self._folder / name).write_bytes(text.encode())
        self._line, theirs = socket.socketpair()
        with theirs:
            _nursery.bear(self._folder, theirs)
        self._stream = self._line.makefile("rw", encoding="utf-8", newline="\n")

    @property
    def request(self) -> Any:
        """What the run asks now; waits until it does."""
        if self._request is None:
            line = ""
            with suppress(OSError):
                line = self._stream.readline()
            self._request = json.loads(line) if line else Ended(self._last_words())
        return self._request

    def answer(self, value: Any) -> None:
        """Answer it, and wait for the next request."""
        if isinstance(self.request, Ended):
            return
        self._request = None
        with suppress(OSError):
            self._stream.write(json.dumps(value) + "\n")
            self._stream.flush()
        _ = self.request

    def close(self) -> None:
        """End the processes of the run, and remove their folder."""
        if os.getpid() != self._owner or self._line.fileno() < 0:
            return
        with suppress(OSError):
            self._line.shutdown(socket.SHUT_WR)
            self._line.settimeout(PATIENCE)
            while self._line.recv(65536):  # until the last of them has closed its end
                pass
        with suppress(OSError):
            self._stream.close()
        self._line.close()
        self._request = Ended()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _last_words(self) -> str:
        said = ""
        with suppress(OSError):
            said = (self._folder / "output.txt").read_text(encoding="utf-8", errors="replace")
        lines = [line for line in said.splitlines() if line.strip()]
        return lines[-1] if lines else "its processes are gone"


class _Nursery:
    """The process that forks runs; started when the first is wanted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner = -1
        self._process: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None

    def bear(self, folder: Path, line: socket.socket) -> None:
        """Start a run whose files are in ``folder`` and which talks over ``line``."""
        with self._lock, suppress(OSError):  # it died just now: the run ends as it begins
            if not self._is_alive:
                self._start()
            assert self._line is not None
            socket.send_fds(self._line, [os.fsencode(folder)], [line.fileno()])
            self._line.recv(1)  # it has forked: one order at a time

    @property
    def _is_alive(self) -> bool:
        """Whether it is there, and of this process rather than of one that forked us."""
        return self._owner == os.getpid() and self._process.poll() is None  # type: ignore[union-attr]

    def _start(self) -> None:
        line, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-m", "bbopt.baselines.evolving", str(theirs.fileno())],
                env={**os.environ, "PYTHONHASHSEED": "0"},  # OpenEvolve iterates over sets
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for us
            )
        self._owner, self._process, self._line = os.getpid(), process, line
        atexit.register(_end, process, line, os.getpid())


def _end(process: subprocess.Popen[bytes], line: socket.socket, owner: int) -> None:
    if os.getpid() == owner:
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
        line.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)


_nursery = _Nursery()

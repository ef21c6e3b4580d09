"""One process inside a sandbox, its pipes and its end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from io import FileIO
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TypeAlias

from bbopt.errors import BBOptError
from bbopt.sandbox.child import HEAD
from bbopt.sandbox.interpreter import Limits, environment, script

START_SECONDS = 60.0
"""How long the interpreter may take to start, on a machine that does much else."""

Wrap: TypeAlias = Callable[[list[str], str, int], list[str]]
"""``(script, scratch, memory) -> command``: how a level runs a script of the interpreter."""


class ProgramError(BBOptError):
    """A program did something wrong; the message is fit for whoever is to repair it."""


class SandboxError(BBOptError):
    """A sandbox could not be started, whatever the program."""


class Process:
    """A started interpreter that answers requests, one frame each.

    Parameters
    ----------
    wrap : callable
        How its level runs it.
    limits : Limits
        What it may use.

    Raises
    ------
    SandboxError
        If it does not start.
    """

    def __init__(self, wrap: Wrap, limits: Limits) -> None:
        self._limits = limits
        with ExitStack() as stack:
            scratch = stack.enter_context(
                TemporaryDirectory(prefix="bbopt-", ignore_cleanup_errors=True)
            )
            requests, self._requests = _pipe(stack)
            self._replies, replies = _pipe(stack)
            pipes = (requests.fileno(), replies.fileno())
            command = wrap(script(limits, *pipes), scratch, limits.memory)
            self._process = stack.enter_context(_started(command, scratch, pipes))
            stack.callback(self._kill)
            requests.close()
            replies.close()
            for ours in (self._requests, self._replies):
                os.set_blocking(ours.fileno(), False)
            self._await_start()
            self._resources = stack.pop_all()

    def exchange(self, frame: bytes, seconds: float) -> tuple[bytes, bytes]:
        """Send a request, and return the text and the bytes of what comes back.

        Raises
        ------
        ProgramError
            If nothing comes in time, the process ends, or it sends more than it may.
        """
        deadline = monotonic() + seconds
        self._send(frame, deadline)
        return self._receive(deadline)

    def close(self) -> None:
        """End the process, and remove what it leaves behind."""
        self._resources.close()

    # --- inside -----------------------------------------------------------------------

    def _await_start(self) -> None:
        try:
            self._receive(monotonic() + START_SECONDS)
        except ProgramError as error:
            self._kill()
            assert self._process.stderr is not None
            said = self._process.stderr.read(4096).decode(errors="replace").strip()
            raise SandboxError(said.splitlines()[-1] if said else str(error)) from None

    def _send(self, frame: bytes, deadline: float) -> None:
        rest = memoryview(frame)
        while rest:
            try:
                written = self._requests.write(rest)
            except BrokenPipeError:
                raise ProgramError(self._end()) from None
            if written is None:
                self._wait(self._requests, select.POLLOUT, deadline)
            else:
                rest = rest[written:]

    def _receive(self, deadline: float) -> tuple[bytes, bytes]:
        sizes = HEAD.unpack(self._read(HEAD.size, deadline))
        if sum(sizes) > self._limits.output:
            raise ProgramError(
                f"the program sent {sum(sizes):,} bytes; allowed are {self._limits.output:,}"
            )
        text, data = (self._read(size, deadline) for size in sizes)
        return text, data

    def _read(self, size: int, deadline: float) -> bytes:
        parts = []
        while size:
            part = self._replies.read(size)
            if part is None:
                self._wait(self._replies, select.POLLIN, deadline)
            elif part:
                parts.append(part)
                size -= len(part)
            else:
                raise ProgramError(self._end())
        return b"".join(parts)

    def _wait(self, pipe: FileIO, event: int, deadline: float) -> None:
        left = deadline - monotonic()
        if left <= 0 or not _ready(pipe.fileno(), event, left):
            raise ProgramError(f"the program ran longer than {self._limits.seconds:g} s")

    def _end(self) -> str:
        """How the process ended, in words."""
        has_ended = _ends_within(self._process.pid, 1.0)
        self._kill()
        code = self._process.wait()
        if not has_ended:
            return "the program closed the pipes of the sandbox"
        number = -code if code < 0 else code - 128  # bubblewrap adds 128
        try:
            name = signal.Signals(number).name
        except ValueError:
            return f"the program ended the interpreter (exit status {code})"
        return f"the program crashed the interpreter, or used up its time or memory ({name})"

    def _kill(self) -> None:
        """End the process and whatever it started, while its number is not another's yet."""
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)


def _started(command: list[str], scratch: str, pipes: tuple[int, int]) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=scratch,
            env=environment(scratch),
            pass_fds=pipes,
            start_new_session=True,
        )
    except OSError as error:
        raise SandboxError(f"{command[0]} cannot be started: {error}") from None


def _ends_within(pid: int, seconds: float) -> bool:
    """Whether a child ends in that time; it can still be asked for its status."""
    descriptor = os.pidfd_open(pid)
    try:
        return _ready(descriptor, select.POLLIN, seconds)
    finally:
        os.close(descriptor)


def _ready(descriptor: int, event: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(seconds * 1000 + 1))


def _pipe(stack: ExitStack) -> tuple[FileIO, FileIO]:
    """The reading and the writing end of a new pipe, unbuffered, closed with the stack."""
    reading, writing = os.pipe()
    return (
        stack.enter_context(FileIO(reading, "rb")),
        stack.enter_context(FileIO(writing, "wb")),
    )

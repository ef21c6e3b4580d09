"""A journal file that survives SIGKILL: Optuna's, with a lock and a tail that can be mended."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

from bbopt.errors import StorageError

logger = logging.getLogger("bbopt.storage")


def open_journal(path: Path) -> JournalStorage:
    """Open or create the journal file at ``path``.

    A line that a crash left unfinished at the end is cut off: Optuna would refuse the whole
    file once something is appended to it.

    Raises
    ------
    StorageError
        If the file is there and is no journal.
    """
    _check_is_journal(path)
    lock = _KillSafeLock(path)
    lock.acquire()
    try:
        _mend_tail(path)
    finally:
        lock.release()
    return JournalStorage(JournalFileBackend(str(path), lock_obj=lock))


class _KillSafeLock(JournalFileSymlinkLock):
    """Optuna's symlink lock, released by the kernel where the holder was killed.

    Optuna waits 30 s before it breaks the lock of a dead process. A bbopt process holds a
    ``flock`` around the symlink: whoever gets the ``flock`` and finds a symlink with bbopt's
    target knows that its maker is dead. Optuna's own processes are excluded by the symlink.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        # another spelling of the same file marks the link as bbopt's
        self._lock_target_file = os.path.join(path.parent.resolve(), ".", path.name)
        self._guard_file = Path(f"{path}.bbopt", "journal.flock")
        self._guard_file.parent.mkdir(parents=True, exist_ok=True)
        self._guard = -1

    def acquire(self) -> bool:
        guard = os.open(self._guard_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(guard, fcntl.LOCK_EX)
            if self._is_left_behind():
                _mend_tail(self._path)  # its maker may have been writing
                os.unlink(self._lock_file)
            is_acquired = super().acquire()
        except BaseException:
            os.close(guard)
            raise
        self._guard = guard
        return is_acquired

    def _is_left_behind(self) -> bool:
        try:
            return os.readlink(self._lock_file) == self._lock_target_file
        except OSError:
            return False

    def release(self) -> None:
        try:
            super().release()
        finally:
            os.close(self._guard)


def _check_is_journal(path: Path) -> None:
    if not path.exists():
        return
    with path.open("rb") as file:
        head = file.readline(65536)
    if head.startswith(b"SQLite format 3"):
        raise StorageError(f"{path} is an SQLite database: name it as sqlite:///{path}")
    if head and not (head.startswith(b"{") and b'"op_code"' in head):
        raise StorageError(f"{path} is not a journal file, and is left alone")


def _mend_tail(path: Path) -> None:
    if not path.exists():
        return
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        keep = size
        while keep:
            start = max(keep - 65536, 0)
            file.seek(start)
            newline = file.read(keep - start).rfind(b"\n")
            if newline >= 0:
                keep = start + newline + 1
                break
            keep = start
        if keep < size:
            logger.warning("%s: cut off an unfinished last line (%d bytes)", path, size - keep)
            file.truncate(keep)

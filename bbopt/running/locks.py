"""One worker, one process: a lock that ends with its holder, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zlib import crc32

from bbopt.errors import UsageError


def lock_worker(
    url: str, folder: Path | None, study: str, worker: int, *, wait: float = 0.0
) -> Callable[[], None]:
    """Claim a worker's number in a study; returns what gives it back.

    A locked file beside a file storage, an advisory lock on PostgreSQL; other servers have
    neither, and nothing guards the number there. ``wait`` is how many seconds a live process
    that has the number is waited for.

    Raises
    ------
    UsageError
        If a live process has that number.
    """
    deadline = time.monotonic() + wait
    while (release := _try_lock(url, folder, study, worker)) is None:
        if time.monotonic() >= deadline:
            raise UsageError(
                f"worker {worker} of study {study!r} is running in another process; "
                "join it under another number (worker=K, --worker K)"
            )
        time.sleep(0.05)
    return release


@contextmanager
def lock_opening(url: str, folder: Path | None) -> Iterator[None]:
    """Hold up others that open the storage: two that make its tables at once would fail."""
    while (release := _try_lock(url, folder, "", -1)) is None:
        time.sleep(0.05)
    try:
        yield
    finally:
        release()


def _try_lock(url: str, folder: Path | None, study: str, worker: int) -> Callable[[], None] | None:
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        return _lock_file(folder / f"{crc32(study.encode()):08x}-{worker}.lock")
    if url.startswith("postgresql"):
        return _lock_postgresql(url, study, worker)
    return lambda: None


def _lock_file(path: Path) -> Callable[[], None] | None:
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return lambda: os.close(handle)


def _lock_postgresql(url: str, study: str, worker: int) -> Callable[[], None] | None:
    import sqlalchemy

    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    key = crc32(study.encode()) - 2**31  # a signed 32-bit integer
    claim = sqlalchemy.text("SELECT pg_try_advisory_lock(:study, :worker)")
    if not connection.execute(claim, {"study": key, "worker": worker}).scalar():
        connection.close()
        return None
    return connection.close

"""The recording of a run's requests and replies: one SQLite file.

It is the cache that makes a resumed run pay nothing twice, and the tape that replays a run
without any server. A charge is written down before its request is sent, so whatever a kill
interrupts is still counted. Never in it: keys, or where the server is.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bbopt.errors import StorageError
from bbopt.llm.exchange import Reply, Request
from bbopt.llm.ledger import Charge

FORMAT = 1

PATIENCE = 60.0
"""Seconds to wait for another process that is writing."""

_TABLES = """
CREATE TABLE replies (
  key TEXT PRIMARY KEY, model TEXT NOT NULL, failed INTEGER NOT NULL,
  request TEXT NOT NULL, reply TEXT NOT NULL
);
CREATE TABLE charges (
  id INTEGER PRIMARY KEY, role TEXT NOT NULL, calls INTEGER NOT NULL, attempts INTEGER NOT NULL,
  prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cost REAL NOT NULL,
  estimated INTEGER NOT NULL
);
"""
_RUN = "ALTER TABLE charges ADD COLUMN run TEXT NOT NULL DEFAULT ''"  # early files have none
_CHARGE = tuple(Charge.__dataclass_fields__)


class Cache:
    """Requests, replies and charges in one file. Threads and processes may share it.

    Parameters
    ----------
    path : path
        Made if it is not there, with its folder.
    read_only : bool
        Only to read a file that is there; it may lie where nothing can be written.
    run : str
        Whose charges these are: several studies of one storage share a file.

    Raises
    ------
    StorageError
        If the file cannot be opened, read or written, or is something else.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False, run: str = "") -> None:
        self.path, self._run = Path(path), run
        if read_only and not self.path.is_file():
            raise StorageError(f"{self.path}: no such recording")
        self._lock = threading.RLock()
        with self._named_errors():
            address = self.path.resolve().as_uri()
            if read_only:
                is_fixed = not os.access(self.path.parent, os.W_OK)  # no lock can be written
                address += "?immutable=1" if is_fixed else "?mode=ro"
            else:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(
                address, timeout=PATIENCE, isolation_level=None, check_same_thread=False, uri=True
            )
        self._close = weakref.finalize(self, self._file.close)
        try:
            self._check_format() if read_only else self._prepare()
        except StorageError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; a thread that still uses it gets a StorageError."""
        with self._lock:
            self._close()

    def find(
        self, request: Request, *, model: str | None = None, failures: bool = False
    ) -> Reply | None:
        """The recorded reply to a request.

        Parameters
        ----------
        request : Request
            As it was made then.
        model : str, optional
            Only a reply of this model; of any where None.
        failures : bool
            Whether a reply with an error counts.
        """
        query = "SELECT model, failed, reply FROM replies WHERE key = ?"
        rows = self._all(query, (request.key,))
        if not rows or (rows[0][1] and not failures) or model not in (None, rows[0][0]):
            return None
        return Reply.from_json(rows[0][2])

    def keep(self, request: Request, reply: Reply, model: str) -> None:
        """Record the final reply to a request, in place of an earlier one."""
        row = (request.key, model, reply.error is not None, request.to_json(), reply.to_json())
        with (
            self._named_errors(),
            self._lock,
        ):  # the one commit of a request that waits for the disk
            self._file.execute("PRAGMA synchronous=FULL")
            self._write("INSERT OR REPLACE INTO replies VALUES (?, ?, ?, ?, ?)", row)
            self._file.execute("PRAGMA synchronous=NORMAL")

    def totals(self) -> dict[str, Charge]:
        """What each role has been charged, requests that a kill interrupted included.

        A charge of which an early file does not say whose it is counts for every run.
        """
        sums = ", ".join(f"SUM({name})" for name in _CHARGE)
        query = f"SELECT role, {sums} FROM charges"
        if self._says_whose():
            rows = self._all(f"{query} WHERE run IN ('', ?) GROUP BY role", (self._run,))
        else:
            rows = self._all(f"{query} GROUP BY role")
        return {role: Charge(*numbers) for role, *numbers in rows}

    def open_entry(self, role: str, charge: Charge) -> int:
        """Write down a charge, such as the most that a call can cost; its number."""
        names = ", ".join(("run", "role", *_CHARGE))
        marks = ", ".join("?" * (2 + len(_CHARGE)))
        query = f"INSERT INTO charges ({names}) VALUES ({marks})"
        return self._write(query, (self._run, role, *_numbers(charge)))

    def close_entry(self, entry: int, charge: Charge) -> None:
        """Replace what was written by what the call did cost."""
        changes = ", ".join(f"{name} = ?" for name in _CHARGE)
        self._write(f"UPDATE charges SET {changes} WHERE id = ?", (*_numbers(charge), entry))

    # --- inside ------------------------------------------------------------------------

    def _prepare(self) -> None:
        with self._named_errors(), self._lock:
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=NORMAL")  # a commit survives a kill
            self._file.execute("BEGIN IMMEDIATE")  # two processes may make one file
            [version] = self._file.execute("PRAGMA user_version").fetchone()
            [tables] = self._file.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            if version == 0 and tables == 0:
                for statement in _TABLES.split(";")[:-1]:
                    self._file.execute(statement)
                self._file.execute(f"PRAGMA user_version={FORMAT}")
                version = FORMAT
            if version == FORMAT and not self._says_whose():
                self._file.execute(_RUN)
            self._file.execute("COMMIT")
        self._check_format()

    def _says_whose(self) -> bool:
        return "run" in {column[1] for column in self._all("PRAGMA table_info(charges)")}

    def _check_format(self) -> None:
        [[version]] = self._all("PRAGMA user_version")
        if version != FORMAT:
            raise StorageError(
                f"{self.path}: this is no recording of format {FORMAT} (its format: {version})"
            )

    def _all(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        with self._named_errors(), self._lock:
            return self._file.execute(query, values).fetchall()

    def _write(self, query: str, values: tuple[Any, ...]) -> int:
        with self._named_errors(), self._lock:
            return self._file.execute(query, values).lastrowid or 0

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StorageError(f"{self.path}: {error}") from None


def _numbers(charge: Charge) -> tuple[float, ...]:
    return tuple(getattr(charge, name) for name in _CHARGE)

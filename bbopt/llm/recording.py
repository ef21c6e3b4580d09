"""A recorded run in place of a model."""

from __future__ import annotations

from pathlib import Path

from bbopt.llm.cache import Cache
from bbopt.llm.exchange import Reply, Request


class Recording:
    """Answers from a recorded file, and fails on what is not in it.

    The ledger books what the recorded replies had used, so that a replayed run ends where the
    recorded one did.

    Parameters
    ----------
    path : path
        A file that :meth:`Client.record` wrote.

    Raises
    ------
    StorageError
        If there is no such file, or it is no recording.
    """

    def __init__(self, path: str | Path) -> None:
        self._cache = Cache(path, read_only=True)

    def __str__(self) -> str:
        return f"the recording {self._cache.path}"

    def answer(self, request: Request) -> Reply:
        """The recorded reply, a failure included."""
        recorded = self._cache.find(request, failures=True)
        return recorded or Reply(error=f"{self} does not have this request")

    def close(self) -> None:
        """Close the file."""
        self._cache.close()

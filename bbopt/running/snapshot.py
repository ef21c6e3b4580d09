"""Snapshots: an optimizer's state on disk, which shortens the replay of the log.

One file a worker: a SHA-256 checksum, then an ``npz`` archive (no pickle) of the state's
arrays and of its JSON values. Written whole to another name, synced and renamed, so a kill
leaves the old one.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import time
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

logger = logging.getLogger("bbopt.snapshot")

SHARE = 0.02
"""The share of a run's time that writing snapshots may take."""


class Snapshots:
    """The snapshot file of one worker of one study.

    Parameters
    ----------
    folder : Path
        Made when the first snapshot is written.
    study : str
        The study's name.
    worker : int
        The worker's number.
    """

    def __init__(self, folder: Path, study: str, worker: int) -> None:
        self.path = folder / f"{crc32(study.encode()):08x}-{worker}.snapshot"
        self._started = time.monotonic()
        self._spent = 0.0

    @property
    def is_due(self) -> bool:
        """Whether another snapshot of the usual cost keeps within the share of time."""
        return self._spent <= SHARE * (time.monotonic() - self._started)

    def write(self, state: dict[str, Any]) -> None:
        """Replace the snapshot; what it took counts against the share of time."""
        start = time.monotonic()
        arrays: dict[str, np.ndarray] = {}
        text = json.dumps(_without_arrays(state, arrays))
        buffer = io.BytesIO()
        arrays["json"] = np.frombuffer(text.encode(), dtype=np.uint8)
        np.savez(buffer, allow_pickle=False, **arrays)
        body = buffer.getvalue()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_suffix(".draft")
        with draft.open("wb") as file:
            file.write(hashlib.sha256(body).digest() + body)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.path)
        self._spent += time.monotonic() - start

    def read(self) -> dict[str, Any] | None:
        """The last snapshot, or None where there is none or it is damaged (which is said)."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        digest, body = data[:32], data[32:]
        if hashlib.sha256(body).digest() != digest:
            logger.warning("snapshot %s is damaged: replaying the log instead", self.path)
            return None
        with np.load(io.BytesIO(body), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        state: dict[str, Any] = _with_arrays(json.loads(arrays["json"].tobytes()), arrays)
        return state


def fingerprint(link: int, who: Any, what: Any) -> int:
    """The next link of a chain over all that happened: a snapshot must belong to its log."""
    return crc32(f"{who} {what!r}".encode(errors="surrogatepass"), link)


def _without_arrays(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, np.ndarray):
        name = f"array{len(arrays)}"
        arrays[name] = value
        return {"__array__": name}
    if isinstance(value, dict):
        return {key: _without_arrays(item, arrays) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(item, arrays) for item in value]
    return value


def _with_arrays(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, dict):
        if "__array__" in value:
            return arrays[value["__array__"]]
        return {key: _with_arrays(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_arrays(item, arrays) for item in value]
    return value

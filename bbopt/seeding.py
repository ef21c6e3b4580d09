"""Named random streams: what is drawn depends on who draws, never on order or parallelism."""

from __future__ import annotations

from zlib import crc32

import numpy as np

from bbopt import checks


def stream(
    seed: int, name: str, *, worker: int = 0, number: int = 0, block: int = 0
) -> np.random.Generator:
    """The generator of one purpose in one run.

    Parameters
    ----------
    seed : int
        The run's seed, >= 0.
    name : str
        Who draws, such as ``"evaluate"`` or ``"random"`` (hashed with CRC-32, never with
        Python's salted ``hash``).
    worker, number, block : int
        The worker, the trial and the block of its repeats that the draw belongs to, >= 0.

    Examples
    --------
    >>> stream(0, "evaluate", number=3).random() == stream(0, "evaluate", number=3).random()
    True
    """
    key = (crc32(name.encode()), worker, number, block)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def stream_seed(seed: int, name: str, *, worker: int = 0, number: int = 0) -> int:
    """A 32-bit integer seed from the same key, for libraries that take only integers."""
    return int(stream(seed, name, worker=worker, number=number).integers(2**32))


def checked_seed(seed: int) -> int:
    """Return ``seed`` if it is an integer >= 0, or raise :class:`~bbopt.errors.UsageError`."""
    return checks.integer("seed", seed, 0)

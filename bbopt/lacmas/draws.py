"""Draws by key: what an agent draws depends on seed, agent, round, step and purpose alone.

Nothing is stored and no order matters, so any partition of the agents over ranks draws the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from zlib import crc32

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

ALONE = 1_000
"""Up to so many agents each has a key of its own; beyond, a block of them shares one."""
BLOCK = 64
"""Agents that share a key beyond ``ALONE``, and must be owned by one rank."""

COMMON = 2**64 - 1
"""The key, in an agent's place, of what is drawn for all."""


class Draws:
    """The draws of some agents: Philox with key (seed, agent), counter (round, step, purpose).

    Parameters
    ----------
    seed : int
        The run's seed, >= 0.
    agents : (a,) int
        The agents owned here, ascending; whole blocks where there are more than ``ALONE``.
    n : int
        The number of all agents.
    """

    def __init__(self, seed: int, agents: npt.NDArray[np.int64], n: int) -> None:
        self._seed = _hashed(seed)
        self._size = unit_size(n)
        self._n = n
        self._units = [int(unit) for unit in np.unique(np.asarray(agents) // self._size)]

    def units(self) -> Iterator[tuple[slice, Draws]]:
        """The owned agents key by key: their places, and their draws alone."""
        start = 0
        for unit in self._units:
            one = copy(self)
            one._units = [unit]
            stop = start + min(self._size, self._n - unit * self._size)
            yield slice(start, stop), one
            start = stop

    def fork(self, number: int) -> Draws:
        """Other draws of the same agents; those themselves for 0."""
        one = copy(self)
        if number:
            one._seed = _hashed(self._seed, number)
        return one

    def common(self, purpose: str, round_: int = 0) -> np.random.Generator:
        """A generator that is the same for all agents: for methods that draw for all at once."""
        counter = [0, crc32(purpose.encode()), 0, round_]
        key = np.array([self._seed, COMMON], dtype=np.uint64)
        return np.random.Generator(np.random.Philox(key=key, counter=counter))

    def uniform(self, purpose: str, round_: int, step: int, *shape: int) -> Array:
        """Uniform in [0, 1), ``(a, *shape)``."""
        return self._draw("random", purpose, round_, step, shape)

    def normal(self, purpose: str, round_: int, step: int, *shape: int) -> Array:
        """Standard normal, ``(a, *shape)``."""
        return self._draw("standard_normal", purpose, round_, step, shape)

    def _draw(
        self, kind: str, purpose: str, round_: int, step: int, shape: tuple[int, ...]
    ) -> Array:
        parts: list[Array] = []
        for unit in self._units:
            counter = [0, crc32(purpose.encode()), step, round_]  # the first word counts the draws
            key = np.array([self._seed, unit], dtype=np.uint64)
            bits = np.random.Philox(key=key, counter=counter)
            members = min(self._size, self._n - unit * self._size)
            parts.append(getattr(np.random.Generator(bits), kind)((members, *shape)))
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty((0, *shape))


def _hashed(*parts: int) -> int:
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0])


def unit_size(n: int) -> int:
    """How many of ``n`` agents share a key, and so must stay on one rank."""
    return 1 if n <= ALONE else BLOCK

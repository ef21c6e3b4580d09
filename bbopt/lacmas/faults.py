"""What goes wrong in a network, on purpose: lost and late messages, dead agents.

Draws are keyed by round and step and made for the whole graph, so that the same messages are lost
for any number of ranks. Whatever is not heard leaves its weight with the agent that did not hear
it: rows always sum to one. Where both directions of an edge are lost together, symmetric weights
stay symmetric and the mean over all agents is kept; otherwise it drifts, and :meth:`Links.drift`
says how far.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from bbopt import checks
from bbopt.errors import UsageError

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Gather = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]

SPELLING = "drop=0.3,late=0.1,staleness=3,one_way=true,kill=3@10+7@20"


@dataclass(frozen=True)
class Faults:
    """What goes wrong, and how often.

    Parameters
    ----------
    seed : int
        What is drawn depends on it, the round and the step alone; >= 0.
    drop : float
        Probability that a message is lost, in [0, 1].
    late : float
        Probability that an agent is late with a step's messages, in [0, 1]: its neighbours take
        the last that came in time, if it is no older than ``staleness`` steps.
    staleness : int
        See ``late``; >= 0.
    one_way : bool
        Whether a message is lost without the one that goes the other way. By default both are,
        as if each end had learnt of it.
    kill : mapping from int to int
        Agent -> round from which on it is dead (rounds count from 1).

    Raises
    ------
    UsageError
        If one of them is out of its range.
    """

    seed: int
    drop: float = 0.0
    late: float = 0.0
    staleness: int = 3
    one_way: bool = False
    kill: Mapping[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        checks.number("faults: drop", self.drop, 0, 1)
        checks.number("faults: late", self.late, 0, 1)
        checks.integer("faults: staleness", self.staleness, 0)
        checks.one_of("faults: one_way", self.one_way, (True, False))
        if not isinstance(self.kill, Mapping):
            raise UsageError(f"faults: kill must map agents to rounds, got {self.kill!r}")
        kill = {
            checks.integer("faults: kill: an agent", _plain(agent), 0): checks.integer(
                "faults: kill: a round", _plain(round_), 1
            )
            for agent, round_ in self.kill.items()
        }
        object.__setattr__(self, "kill", kill)


def parse(given: str | Mapping[str, Any] | None, seed: int) -> Faults | None:
    """Faults from how users spell them: ``drop=0.3,kill=3@10+7@20``, or the same as a mapping.

    Parameters
    ----------
    given : str, mapping or None
        Fields of :class:`Faults` but ``seed``. In a text, ``kill`` is AGENT@ROUND, several joined
        by ``+``; in a mapping, another mapping.
    seed : int
        For :class:`Faults`.

    Raises
    ------
    UsageError
        If it cannot be read, or something is out of its range.

    Examples
    --------
    >>> parse("drop=0.3,kill=3@10", seed=1)
    Faults(seed=1, drop=0.3, late=0.0, staleness=3, one_way=False, kill={3: 10})
    """
    if given is None:
        return None
    fields = _read(given) if isinstance(given, str) else given
    known = ("drop", "late", "staleness", "one_way", "kill")
    if not isinstance(fields, Mapping):
        raise UsageError(f"faults must be a text like {SPELLING!r} or a mapping, got {given!r}")
    for name in fields:
        checks.one_of("faults: a name", name, known)
    return Faults(seed, **fields)


def _read(text: str) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals or name in fields:
            raise UsageError(f"faults must be like {SPELLING!r}, got {item!r} in {text!r}")
        fields[name] = _deaths(value, text) if name == "kill" else _plain(value)
    return fields


def _deaths(value: str, text: str) -> dict[Any, Any]:
    deaths: dict[Any, Any] = {}
    for one in value.split("+"):
        agent, at, round_ = one.partition("@")
        if not at or _plain(agent) in deaths:
            raise UsageError(f"faults: kill must be like 3@10+7@20, got {value!r} in {text!r}")
        deaths[_plain(agent)] = _plain(round_)
    return deaths


def _plain(value: Any) -> Any:
    """A text as the number or truth value that it spells, if it does."""
    if not isinstance(value, str):
        return value
    if value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


class Links:
    """Faults on the edges of a graph, for the agents owned here.

    Parameters
    ----------
    faults : Faults
        What goes wrong.
    pattern : (n, n) sparse array
        Who has an entry for whom, columns ascending, symmetric.
    agents : (a,) int array
        Those owned here, ascending.
    """

    def __init__(self, faults: Faults, pattern: csr_array, agents: Ints) -> None:
        self.faults = faults
        self._n = n = int(pattern.shape[0])
        beyond = [agent for agent in faults.kill if agent >= n]
        if beyond:
            raise UsageError(f"faults: kill: an agent must be below {n}, got {beyond[0]}")
        self._deaths = np.full(n, np.iinfo(np.int64).max)
        for agent, round_ in faults.kill.items():
            self._deaths[agent] = round_
        self._seed = int(np.random.SeedSequence(faults.seed).generate_state(1, np.uint64)[0])
        # all edges i -> j in order of (i, j); each has a draw, or shares that of j -> i
        i = np.repeat(np.arange(n, dtype=np.int64), np.diff(pattern.indptr))
        j = pattern.indices.astype(np.int64)
        i, j = i[i != j], j[i != j]
        numbers = np.arange(len(i))
        if not faults.one_way:
            numbers = np.minimum(numbers, np.searchsorted(i * n + j, j * n + i))
        is_here = np.isin(i, agents)
        self._n_edges, self._draw = len(i), numbers[is_here]
        self._agents, self._neighbours = agents, j[is_here]
        self._round, self._step = 0, -1
        self._ages = np.zeros(n, dtype=np.int64)  # steps for which each agent has been late
        self._past: list[Array] = []  # what those here have said, the latest first
        self._moved: dict[int, Array] = {}  # width of a row -> what mixing has added

    def living(self, round_: int) -> Mask:
        """Which of all agents are not dead in a round, ``(n,)``."""
        return self._deaths > round_

    def pass_on(self, round_: int, rows: Array | None) -> tuple[Mask, Array | None]:
        """Which messages of the next step arrive, ``(e,)``, and what owned agents are heard to say.

        Parameters
        ----------
        round_ : int
            The current round.
        rows : (a, w) array, optional
            What each owned agent says now; needed where agents may be late.
        """
        self._step = self._step + 1 if round_ == self._round else 0
        self._round = round_
        arrives = np.ones(len(self._draw), dtype=bool)
        if self.faults.drop > 0:
            arrives = self._uniform("drop", self._n_edges)[self._draw] >= self.faults.drop
        if rows is None:
            return arrives, None
        is_late = self._uniform("late", self._n) < self.faults.late
        self._ages = np.where(is_late, self._ages + 1, 0)
        if self._past and self._past[0].shape != rows.shape:
            self._past = []
        is_silent = self._ages > len(self._past)
        said = rows.copy()
        for age, earlier in enumerate(self._past, start=1):
            here = self._ages[self._agents] == age
            said[here] = earlier[here]
        self._past = [rows.copy(), *self._past][: self.faults.staleness]
        return arrives & ~is_silent[self._neighbours], said

    def note(self, moved: Array) -> None:
        """Take down by how much mixing has moved the owned agents, ``(a, k)``."""
        width = moved.shape[1]
        self._moved[width] = self._moved.get(width, 0.0) + moved

    def drift(self, gather: Gather) -> float:
        """How far mixing has moved the mean over all agents (Euclidean); collective."""
        means = [np.nanmean(gather(moved), axis=0) for moved in self._moved.values()]
        return float(np.linalg.norm(np.concatenate(means))) if means else 0.0

    def state(self, gather: Gather) -> dict[str, Any]:
        """What the next steps depend on; collective."""
        past = np.stack(self._past, axis=1) if self._past else np.empty((len(self._agents), 0, 0))
        return {
            "at": [self._round, self._step],
            "ages": self._ages,
            "past": gather(past),
            "moved": [gather(moved) for moved in self._moved.values()],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what ``state`` returned, on any number of ranks."""
        self._round, self._step = state["at"]
        self._ages = np.array(state["ages"])
        past = np.array(state["past"])[self._agents]
        self._past = list(np.ascontiguousarray(past.swapaxes(0, 1)))
        rows = [np.array(moved)[self._agents] for moved in state["moved"]]
        self._moved = {moved.shape[1]: moved for moved in rows}

    def _uniform(self, purpose: str, size: int) -> Array:
        key = [self._seed, crc32(purpose.encode())]
        bits = np.random.Philox(key=key, counter=[0, 0, self._step, self._round])
        return np.random.Generator(bits).random(size)

"""What a round has to evaluate, and how far it is: plain data with a JSON form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Kind = Literal["parent", "child", "again"]


@dataclass(frozen=True)
class Job:
    """One evaluation that is wanted.

    Parameters
    ----------
    candidate : int
        Whom to evaluate.
    examples : tuple of int
        On which examples; empty where evaluations are not about examples.
    repeats : int
        How often, the number of examples where there are any.
    kind : {"parent", "child", "again"}
        What for: to propose from it, to get to know it, or because a proposal was too close
        to it.
    round, pair : int
        The round that it belongs to, and the place of its candidate and minibatch there.
    """

    candidate: int
    examples: tuple[int, ...]
    repeats: int
    kind: Kind
    round: int
    pair: int = -1

    def to_json(self) -> dict[str, Any]:
        """JSON values that :meth:`from_json` reads back."""
        return {**asdict(self), "examples": list(self.examples)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Job:
        """The job that :meth:`to_json` described."""
        return cls(**{**data, "examples": tuple(data["examples"])})


@dataclass
class Pair:
    """A parent on a minibatch, from which proposals are made.

    Parameters
    ----------
    candidate : int
        The parent.
    examples : tuple of int
        The minibatch; empty where evaluations are not about examples.
    repeats : int
        m: how often each is evaluated there.
    seen : list
        ``[example, loss, feedback]`` of each of its evaluations there.
    """

    candidate: int
    examples: tuple[int, ...]
    repeats: int
    seen: list[Any] = field(default_factory=list)

    @property
    def loss(self) -> float | None:
        """Mean loss of the parent on the minibatch; None while unknown."""
        losses = [loss for _, loss, _ in self.seen]
        return sum(losses) / len(losses) if losses else None

    def to_json(self) -> dict[str, Any]:
        """JSON values that :meth:`from_json` reads back."""
        return {**asdict(self), "examples": list(self.examples)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Pair:
        """The pair that :meth:`to_json` described."""
        return cls(**{**data, "examples": tuple(data["examples"])})


@dataclass
class Round:
    """A round, from the selection of its parents until its last child is evaluated.

    Parameters
    ----------
    pairs : list of Pair
        What proposals are made from.
    waiting, children : int
        Evaluations of parents and of children that are not there yet.
    has_proposed : bool
        Whether its children are made.
    """

    pairs: list[Pair]
    waiting: int = 0
    children: int = 0
    has_proposed: bool = False

    @property
    def is_ready(self) -> bool:
        """Whether its children can be made."""
        return not self.waiting and not self.has_proposed

    def to_json(self) -> dict[str, Any]:
        """JSON values that :meth:`from_json` reads back."""
        return {**vars(self), "pairs": [pair.to_json() for pair in self.pairs]}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Round:
        """The round that :meth:`to_json` described."""
        return cls(**{**data, "pairs": [Pair.from_json(pair) for pair in data["pairs"]]})

"""``program/bin-packing``: which bin an item goes to, decided as the items come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from bbopt import checks, seeding
from bbopt.registry import register_problem
from bbopt.sandbox import ProgramError, Sandbox
from bbopt.space import Array, Params, Space, Text
from bbopt.spec import Spec
from bbopt.trial import Best

from .grammar import Grammar, edited
from .scored import ScoredProgram

BEST_FIT = """\
import numpy as np


def priority(item, bins):
    return -(bins - item)
"""
"""Where the search starts. No docstring: it would be in all candidates, which are told apart by
their text."""

DESCRIPTION = """\
Python that may import numpy and defines priority(item, bins): how good each bin is for an item,
which goes to the best one, the first among equals. item: float, the size of the item. bins: array
(n,), what is left of the capacity of each bin that the item fits into, in the order in which they
were opened; the last one is a new, empty bin. It returns an array (n,) of numbers, one a bin."""

GRAMMAR = Grammar(
    atoms=("(bins - item)",),
    forms=(
        "30.0 * (_ <= 5.0)",
        "30.0 * (_ >= 20.0)",
        "30.0 * (np.abs(_ - 10.0) <= 5.0)",
        "30.0 * np.exp(-0.1 * np.abs(_))",
        "np.abs(_ - 10.0)",
    ),
)
"""Bonuses and penalties for what would be left: little, much, about so much."""

Rank: TypeAlias = Callable[[list[tuple[float, Array]]], Sequence[Any]]
"""``[(item, bins), ...] -> [priorities, ...]``."""


class Family(NamedTuple):
    """A way of drawing items, and how many are shown and held back."""

    draw: Callable[[np.random.Generator, tuple[int, int]], Array]
    """``(rng, (instances, items)) -> sizes``."""
    capacity: float
    shape: tuple[int, int]
    """Instances and items of the training."""
    test_shape: tuple[int, int]


def _uniform(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    return rng.integers(20, 100, shape, endpoint=True).astype(float)


def _weibull(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    sizes: Array = np.clip(np.rint(45.0 * rng.weibull(3.0, shape)), 1.0, 100.0)
    return sizes


FAMILIES = {
    "or3": Family(_uniform, 150.0, (20, 500), (20, 500)),
    "weibull": Family(_weibull, 100.0, (10, 1000), (5, 5000)),
}


@register_problem("program/bin-packing")
class BinPacking(ScoredProgram):
    """An online heuristic for bin packing: how many bins too many it opens, in per cent.

    Items come one by one, and each is put into a bin for good. The program defines
    ``priority(item, bins)`` as in :data:`DESCRIPTION` and is asked for each item; the packing
    itself is done outside of the sandbox. It starts from best fit. The value, to be minimised,
    is the mean excess of the bins opened over the lower bound ceil(sum of sizes / capacity), in
    per cent; a program that fails gets that of a bin for each item. ``test_value`` is the mean
    excess on instances never shown.

    ``"or3"``
        500 integers uniform in [20, 100], capacity 150: drawn as the set OR3 of the OR-Library
        was (Falkenauer 1996, *A hybrid grouping genetic algorithm for bin packing*). On sets of
        20 such instances first fit has an excess of 5.53 +- 0.12 per cent, best fit one of
        5.13 +- 0.12 (mean and standard deviation over 50 sets).
    ``"weibull"``
        Integers from a Weibull distribution of scale 45 and shape 3, at most 100, capacity 100;
        1,000 of them in training and 5,000 in the test. From 5,000 items on the excess of good
        programs is several times smaller than with 1,000.

    Published for the original instances, in per cent (Romera-Paredes et al. 2024, *Mathematical
    discoveries from program search with large language models*, Nature 625): on OR3 first fit
    5.74, best fit 5.37, the best program found 3.11; on Weibull with 5,000 items 4.23, 3.98 and
    0.68.

    Cost of an evaluation: 0.4 s.

    Parameters
    ----------
    family : {"or3", "weibull"}
        How items are drawn.
    instances : int, optional
        How many training instances there are, >= 1; 20 of ``"or3"``, 10 of ``"weibull"``.
    seed : int
        Which instances, of training and of test, >= 0.
    sandbox : {"auto", "bubblewrap", "landlock", "limits"}
        How the program is confined, as :class:`bbopt.sandbox.Sandbox` has it.

    Raises
    ------
    UsageError
        If an argument has a value that is not allowed, or the sandbox does not work here.
    """

    def __init__(
        self,
        family: str = "or3",
        instances: int | None = None,
        seed: int = 0,
        sandbox: str = "auto",
    ) -> None:
        self._family: str = checks.one_of("family", family, FAMILIES)
        self._seed = seeding.checked_seed(seed)
        _, self.capacity, (n, m), _ = FAMILIES[self._family]
        n = n if instances is None else checks.integer("instances", instances, 1)
        self._items = self._draw("training", (n, m))
        worst = excess(np.full(n, m), self._items, self.capacity)
        super().__init__(
            sandbox,
            seconds=10.0 + 0.002 * self._items.size,
            worst=float(worst.mean()),
            output=2**16 + 16 * self._items.size,  # priorities of as many bins as items
        )
        low, high = self._items.min(), self._items.max()
        program = Text(BEST_FIT, description=DESCRIPTION, language="python")
        self._spec = Spec(
            space=Space({"program": program}),
            objective=(
                f"Find a priority function for online bin packing that opens few bins: {m} items "
                f"of sizes {low:g} to {high:g} come one by one, bins have capacity "
                f"{self.capacity:g} (mean excess over the lower bound, in per cent)."
            ),
            deterministic=True,
            value_range=(0.0, self.worst),
        )

    @property
    def spec(self) -> Spec:
        """One text, the program."""
        return self._spec

    def score(self, box: Sandbox) -> tuple[float, str]:
        """The mean excess in per cent on the training instances, and how bins were filled."""
        return self._score(box, self._items)

    def test_value(self, best: Best) -> float:
        """The mean excess in per cent on instances never shown."""
        items = self._draw("test", FAMILIES[self._family].test_shape)
        scale = max(1.0, items.size / self._items.size)
        return self.run(best.params["program"], lambda box: self._score(box, items), scale)[0]

    def propose(self, params: Params, feedback: Sequence[Any], rng: np.random.Generator) -> Params:
        """The program with its formula edited; best fit edited, where it cannot be."""
        program = edited(params["program"], "priority", GRAMMAR, rng)
        return {"program": program or edited(BEST_FIT, "priority", GRAMMAR, rng) or BEST_FIT}

    def _draw(self, what: str, shape: tuple[int, int]) -> Array:
        rng = seeding.stream(self._seed, f"bin packing: {self._family}, {what}")
        return FAMILIES[self._family].draw(rng, shape)

    def _score(self, box: Sandbox, items: Array) -> tuple[float, str]:
        left = pack(lambda calls: box.map("priority", calls), items, self.capacity)
        by_instance = excess(np.array([len(bins) for bins in left]), items, self.capacity)
        value = float(by_instance.mean())
        edges = [0.0, *(self.capacity * share for share in (0.05, 0.1, 0.2, 0.4, 1.0))]
        gaps = np.concatenate(left)
        bins = ", ".join(
            f"{np.mean((gaps > low) & (gaps <= high)):.1%} up to {high:g}"
            for low, high in pairwise(edges)
        )
        return value, (
            f"{value:.3f} % more bins than the lower bound ({by_instance.min():.3f} to "
            f"{by_instance.max():.3f} by instance). At the end {np.mean(gaps == 0):.1%} of the "
            f"bins are full; of the others have left: {bins}."
        )


def pack(rank: Rank, items: Array, capacity: float) -> list[Array]:
    """Pack all instances online and side by side.

    Parameters
    ----------
    rank : callable
        The priorities of the bins for each of some items; it is asked once for each position.
    items : (n, m) array
        The sizes of the items of each instance, > 0 and <= capacity, in their order.
    capacity : float
        The capacity of every bin.

    Returns
    -------
    list of n arrays
        What is left of the capacity of each bin that was opened, in the order of opening.

    Raises
    ------
    ProgramError
        If priorities are no real numbers, one a bin.
    """
    n, m = items.shape
    left = np.zeros((n, m + 1))  # 0: not there yet
    left[:, 0] = capacity
    opened = np.zeros(n, dtype=int)
    for sizes in items.T:
        fits = left[:, : opened.max() + 1] >= sizes[:, None]
        fitting = [row.nonzero()[0] for row in fits]
        calls = [
            (size, row[bins]) for size, row, bins in zip(sizes.tolist(), left, fitting, strict=True)
        ]
        ranked = zip(rank(calls), fitting, strict=True)
        chosen = np.array([bins[_first_best(found, len(bins))] for found, bins in ranked])
        left[np.arange(n), chosen] -= sizes
        new = np.flatnonzero(chosen == opened)
        opened[new] += 1
        left[new, opened[new]] = capacity
    return [row[:k] for row, k in zip(left, opened, strict=True)]


def excess(bins: Array, items: Array, capacity: float) -> Array:
    """By how many per cent ``bins`` ``(n,)`` exceed the lower bounds of ``(n, m)`` items."""
    bounds = np.ceil(items.sum(axis=1) / capacity)
    per_cent: Array = 100.0 * (bins / bounds - 1.0)
    return per_cent


def _first_best(priorities: Any, n: int) -> int:
    """The place of the first among the largest of ``n`` priorities."""
    if not isinstance(priorities, np.ndarray):
        what = type(priorities).__name__
    elif priorities.shape != (n,):
        what = f"an array of shape {priorities.shape}"
    elif np.isnan(priorities).any():
        what = "NaN"
    else:
        return int(priorities.argmax())
    raise ProgramError(f"priority must return an array of {n} numbers, one a bin; got {what}")

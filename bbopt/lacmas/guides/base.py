"""What every guide is: seen is a context, given is advice, within the contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from bbopt.lacmas.draws import Draws
from bbopt.lacmas.guides import contract
from bbopt.lacmas.memory import Memory
from bbopt.lacmas.network import Network
from bbopt.trial import NO_USAGE, Usage

Array = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class GuideSettings:
    """What guides need to know; each reads what concerns it.

    Attributes
    ----------
    d_range, c_range : (float, float)
        What the coefficients of a wide and of a collapsed swarm may be. The paper has [0.5, 1]
        and [1, 1.8]; beyond √3 a swarm that nothing pulls is unstable in mean square.
    d, c, from_round
        The coefficients that ``fixed`` sets, and from which round on.
    horizon : int, optional
        T: the round around which the phases of ``llm`` are laid. Where None it is measured
        during the run (:mod:`bbopt.lacmas.guides.schedule`).
    lag : int
        Rounds from a request to a language model until its reply is applied.
    calls : int
        Most requests at once: with more agents than that, groups of them share one.
    asks : {"both", "act", "cooperate"}
        What a language model is asked for.
    after : {"reset", "keep"}
        Whether its coefficients go back to 1 after the horizon, as in the public code.
    fallback : {"keep", "rules"}
        What follows three failures in a row: the last good advice stays, or the rules of the
        prompt take over.
    limits : (float, float)
        Below the first divergence a swarm has collapsed, above the second it is wide.
    least : float, optional
        The least eigenvalue of the mixing weights: coefficients then keep to the stable region
        (:func:`bbopt.lacmas.guides.contract.least_coefficient`). None leaves them alone, as the
        published method does.
    seed : int
        Of the run; goes with every request.
    """

    d_range: tuple[float, float] = (0.7, 1.3)
    c_range: tuple[float, float] = (1.0, 1.7)
    d: float = 0.7
    c: float = 1.3
    from_round: int = 1
    horizon: int | None = None
    lag: int = 10
    calls: int = 8
    asks: str = "both"
    after: str = "reset"
    fallback: str = "keep"
    limits: tuple[float, float] = (1e-2, 1e-1)
    least: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Context:
    """What a guide sees, after the exchange of a round; ``a`` agents, ``e`` edges leave them.

    Attributes
    ----------
    round_ : int
        The current round, from 1; rounds without an exchange are left out.
    d, c : (a,) arrays
        Coefficients in force.
    history : Memory
        Mean losses and divergences of the rounds before.
    headers : (e, 8) array
        What neighbours sent (:data:`bbopt.lacmas.network.HEADER`); NaN where nothing was heard.
    interval : (a,) int array
        K: steps of internal learning in a round.
    alive : (a,) bool array
        Who has not left.
    evaluations : (a,) int array
        Spent so far.
    budget : int or None
        Evaluations that each agent has.
    """

    round_: int
    d: Array
    c: Array
    history: Memory
    headers: Array
    interval: Ints
    alive: npt.NDArray[np.bool_]
    evaluations: Ints
    budget: int | None


@dataclass(frozen=True)
class Advice:
    """What a guide wants.

    Attributes
    ----------
    d, c : (a,) arrays
        Coefficients from now on.
    wishes : (e,) array or None
        The weights that agents would give to their neighbours; None to leave all as they are,
        on every rank at once.
    """

    d: Array
    c: Array
    wishes: Array | None = None


class Guide(ABC):
    """Sets coefficients and wishes weights; vectorised over the owned agents.

    Subclasses write ``_advise`` and name their state: arrays with a row for each owned agent in
    ``per_agent``, JSON values that are the same on every rank in ``shared``. Draws have the
    purpose "guide".

    Parameters
    ----------
    network : Network
        Who is owned here, with the weights that the run starts from.
    draws : Draws
        Of the owned agents.
    settings : GuideSettings
        What it needs to know.
    """

    per_agent: ClassVar[tuple[str, ...]] = ()
    shared: ClassVar[tuple[str, ...]] = ("last",)
    is_free: ClassVar[bool] = False
    """Whether its coefficients are taken as they are, stable or not: the controls."""

    def __init__(self, network: Network, draws: Draws, settings: GuideSettings) -> None:
        self.network, self.draws, self.settings = network, draws, settings
        a = len(network.agents)
        self.mass: Array = np.bincount(network.rows, network.weights, a).astype(float)
        """What each agent gives to its neighbours in all, ``(a,)``; no advice changes it."""
        self.last = 0
        """The round advised on last."""

    def start(self) -> tuple[Array, Array]:
        """The coefficients d and c before any advice, ``(a,)`` each."""
        return np.ones(len(self.network.agents)), np.ones(len(self.network.agents))

    @final
    def advise(self, context: Context) -> Advice:
        """What is to be done from this round on; collective, once a round."""
        advice = self._advise(context)
        self.last = context.round_
        if self.is_free or self.settings.least is None:
            return advice
        floor = contract.least_coefficient(context.interval, self._least_eigenvalue)
        d, c = (
            np.where(context.alive, contract.guarded(values, floor, range_), values)
            for values, range_ in (
                (advice.d, self.settings.d_range),
                (advice.c, self.settings.c_range),
            )
        )
        return replace(advice, d=d, c=c)

    @property
    def usage(self) -> Usage:
        """What it has used of a language model, the same on every rank."""
        return NO_USAGE

    def diagnostics(self) -> dict[str, float]:
        """The same as scalars for the trace."""
        return {"guide_calls": 0, "guide_tokens": 0, "guide_fallbacks": 0}

    def state(self, network: Network) -> dict[str, Any]:
        """Everything it knows, of all agents; collective."""
        rows = {name: network.gather(getattr(self, name)) for name in self.per_agent}
        return rows | {name: getattr(self, name) for name in self.shared}

    def restore(self, state: Mapping[str, Any], network: Network) -> None:
        """Take up what ``state`` returned, on any number of ranks."""
        for name in self.per_agent:
            setattr(self, name, np.array(state[name])[network.agents])
        for name in self.shared:
            setattr(self, name, state[name])

    @abstractmethod
    def _advise(self, context: Context) -> Advice:
        """The advice, before it is kept to the stable region."""

    def _wishes(self, wanted: Array) -> Array:
        """The weights ``(e,)`` that come of those wanted, NaN where nothing is."""
        return contract.wishes(wanted, self.network.weights, self.network.rows, self.mass)

    @property
    def _least_eigenvalue(self) -> float:
        """Of the weights in force."""
        assert self.settings.least is not None
        return self.settings.least

    def _is_due(self, context: Context, every: int) -> bool:
        """Whether a multiple of ``every`` rounds has come since the last advice."""
        return context.round_ // every > self.last // every

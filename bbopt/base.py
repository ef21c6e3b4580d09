"""The two sides of the contract: Optimizer (ask, tell) and Problem (evaluate)."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, final

import numpy as np

from bbopt import checks, seeding
from bbopt.archive import Archive
from bbopt.budget import Budget
from bbopt.errors import UnsupportedSpec, UsageError
from bbopt.settings import NoSettings
from bbopt.settings import to_json as settings_to_json
from bbopt.space import Params
from bbopt.spec import Spec
from bbopt.trial import NO_USAGE, NOTHING, Best, Outcome, Trial, Usage

STATE_FORMAT = 1


class Optimizer(ABC):
    """A method: knows the spec, proposes trials, learns from outcomes.

    What is known after which calls (two trials asked, results in any order)::

        a, b = optimizer.ask(2)       # pending: a, b
        optimizer.tell(b, 0.3)        # pending: a      results may come late and out of order
        optimizer.tell(a, math.nan)   # pending: -      nothing was observed at a; it is closed
        optimizer.tell(b, 0.2)        # UsageError      a trial is told once
        optimizer.tell(Trial(None, params), 0.1)   # a foreign trial, welcome at any time

    A method subclasses this and writes ``_ask`` and ``_tell`` (and ``_best``, ``_state``,
    ``_restore`` where it knows better), in which every value is a loss: the base class turns
    the user's direction round once, numbers the trials, proposes the space's ``initial``
    first, and keeps the archive of what was observed.

    Parameters
    ----------
    spec : Spec
        What there is to know about the problem.
    seed : int
        Seed of every draw, >= 0.
    worker : int
        Number of this optimizer among those that share a study, >= 0.
    settings : optional
        An instance of the class's ``Settings``.
    llm : optional
        The client of a language model, for methods that use one.
    proposer : callable, optional
        ``(params, feedback, rng) -> params``: what proposes instead of the method's own
        proposer, for methods that take one.

    Raises
    ------
    UnsupportedSpec
        If the method does not support a kind of dimension, or requires a field of the spec
        that is None.
    UsageError
        If another argument is of the wrong type or out of its range.
    """

    kinds: ClassVar[frozenset[str]] = frozenset({"float", "int", "categorical"})
    """The kinds of dimension that it supports."""
    requires: ClassVar[tuple[str, ...]] = ()
    """The fields of the spec without which it refuses to be built."""
    solves: ClassVar[bool] = False
    """Whether it has ``solve``, for methods whose step is thousands of queries."""
    confirm: ClassVar[float] = 0.0
    """The share of the evaluations that a run keeps back to re-evaluate the best few."""
    asks_initial: ClassVar[bool] = False
    """Whether it asks the space's ``initial`` first by itself, in a manner of its own."""
    uses_candidates: ClassVar[bool] = False
    """Whether it proposes only rows of ``spec.candidates``."""
    llm_roles: ClassVar[frozenset[str]] = frozenset()
    """The roles in which it asks a language model, where it is given one that has them."""
    Settings: ClassVar[type[Any]] = NoSettings
    """A frozen dataclass of :func:`bbopt.settings.setting` fields."""
    name: str = ""
    """The name it is registered under."""

    def __init__(
        self,
        spec: Spec,
        *,
        seed: int = 0,
        worker: int = 0,
        settings: Any = None,
        llm: Any = None,
        proposer: Any = None,
    ) -> None:
        if not isinstance(spec, Spec):
            raise UsageError(f"spec must be a Spec, got {spec!r}")
        self.spec = spec
        self.space = spec.space
        self.seed = seeding.checked_seed(seed)
        self.worker = checks.integer("worker", worker, 0)
        self.settings = self.Settings() if settings is None else settings
        if not isinstance(self.settings, self.Settings):
            raise UsageError(f"settings must be {self.Settings.__name__}, got {settings!r}")
        if llm is not None and not hasattr(llm, "roles"):
            raise UsageError(f"llm must be a bbopt.llm.Client, got {llm!r}")
        self.llm = llm
        if proposer is not None and not callable(proposer):
            raise UsageError(
                "proposer (a problem's propose) must be callable, "
                f"(params, feedback, rng) -> params, got {proposer!r}"
            )
        self.proposer = proposer
        self.next_number = 0
        """The number of the next trial; a run sets it where it numbered trials itself."""
        self.evaluations_ask = False
        """Whether evaluations ask language models, too: then they spend the same budget of calls.
        A run sets it where the problem says so; an outcome with ``usage`` does, too."""
        self.gave_up: str | None = None
        """Why the last ask gave nothing, where there was more to propose: a stop reason."""
        self._check_spec()
        self._pending: dict[int, Trial] = {}
        self._expected: tuple[Trial, ...] = ()
        self._archive = self._new_archive()
        self._best_of_archive: Best | None = None
        self._first_asked = False
        self._is_fresh = True
        self._events: list[tuple[Any, ...]] | None = None if self.has_compact_state else []

    # --- what a user calls ------------------------------------------------------------

    @final
    def ask(self, n: int = 1, left: Budget | None = None) -> list[Trial]:
        """At most ``n`` trials to evaluate; none while results of pending ones are needed.

        Parameters
        ----------
        n : int
            How many are wanted, >= 1.
        left : Budget, optional
            What remains of the run's budget; unlimited where None.

        Raises
        ------
        UsageError
            If ``n`` is not an integer >= 1.
        """
        n = checks.integer("n", n, 1)
        left = Budget() if left is None else left
        trials: list[Trial] = []
        start = self.next_number
        if not (self._first_asked or self.asks_initial) and self.space.initial is not None:
            trials = [self._new_trial(self.space.initial)]
        if len(trials) < n:
            trials += self._ask(n - len(trials), left)
        if trials:
            self._first_asked, self._is_fresh = True, False
            self._pending |= {trial.number: trial for trial in trials}  # type: ignore[misc]
            if self._events is not None:
                self._events.append(("ask", n, left, start))
        return trials

    @final
    def tell(self, trial: Trial, outcome: Outcome | float | Sequence[float]) -> None:
        """Report what came of a trial, and close it; in any order.

        Parameters
        ----------
        trial : Trial
            One that was asked (its params may have been replaced by those evaluated
            instead), or a foreign one with ``number=None``.
        outcome : Outcome, float or sequence of float
            Fewer values than repeats means that the rest was not evaluated.

        Raises
        ------
        UsageError
            If the trial is no Trial, was told already or never asked, or the outcome is no
            number.
        SpaceError
            If the params of the trial are outside the space.
        """
        if not isinstance(trial, Trial):
            raise UsageError(
                f"trial must be a Trial (of ask, or Trial(None, params)), got {trial!r}"
            )
        outcome = Outcome.coerce(outcome)
        asked = None
        if trial.number is not None:
            asked = self._pending.get(trial.number)
            if asked is None:
                known = trial.number < self.next_number
                problem = "was told already" if known else "was never asked"
                raise UsageError(f"trial {trial.number} {problem}")
        moved = False
        if asked is None or trial.params is not asked.params:
            trial = replace(trial, params=self.space.validate(trial.params))
            key = self.space.key
            moved = asked is not None and key(trial.params) != key(asked.params)
        self._is_fresh = False
        self.evaluations_ask |= outcome.usage.llm_calls > 0
        if self._events is not None:
            self._events.append(("tell", trial, outcome))
        losses = outcome if self.spec.sign > 0 else outcome.negated()
        self._archive.add(trial.params, losses)
        self._best_of_archive = None
        if asked is None:
            self._tell(trial, losses)
            return
        del self._pending[asked.number]  # type: ignore[arg-type]
        if moved:
            self._tell_replaced(asked, trial, losses)
        else:
            self._tell(trial, losses)

    @final
    def expect(self, trials: Sequence[Trial]) -> None:
        """Say what others are evaluating now, in place of what was said before.

        A method that spreads its own pending trials keeps clear of these, too. What comes of
        them is told as foreign trials. A state that loads faster than a replay is without them.

        Parameters
        ----------
        trials : sequence of Trial
            Their numbers are ignored.

        Raises
        ------
        SpaceError
            If the params of a trial are outside the space.
        """
        self._expected = tuple(
            replace(trial, number=None, params=self.space.validate(trial.params))
            for trial in trials
        )
        if self._events is not None:
            self._events.append(("expect", self._expected))

    @final
    @property
    def best(self) -> Best | None:
        """The candidate to deploy and an honest estimate of it, or None before any value."""
        best = self._best()
        return best if best is None or self.spec.sign > 0 else replace(best, value=0.0 - best.value)

    @property
    def pending(self) -> tuple[Trial, ...]:
        """The trials asked and not told, in the order of their numbers."""
        return tuple(self._pending[number] for number in sorted(self._pending))

    @property
    def awaited(self) -> tuple[Trial, ...]:
        """All that is being evaluated: what is pending, then what is expected of others."""
        return (*self.pending, *self._expected)

    @property
    def usage(self) -> Usage:
        """What proposing has used of language models so far."""
        return NO_USAGE

    def diagnostics(self) -> dict[str, float]:
        """What the method itself has to say of its search and its result: scalars by name."""
        return {}

    @final
    def state_dict(self) -> dict[str, Any]:
        """Everything it knows, as JSON values and numpy arrays.

        The log of asks and tells, unless the method has a compact form (``_state``).
        """
        state = self._identity() | {"next_number": self.next_number}
        if self._events is not None:
            return state | {"events": [_event_to_json(event) for event in self._events]}
        return state | {
            "first_asked": self._first_asked,
            "evaluations_ask": self.evaluations_ask,
            "pending": [trial.to_json() for trial in self.pending],
            "archive": self._archive.to_state(),
            "method": copy.deepcopy(self._state()),
        }

    @final
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where the optimizer that wrote ``state`` stood; only on a fresh one.

        Raises
        ------
        UsageError
            If the state is of another format, method, seed, worker, setting or number of agents,
            or if this optimizer was used before.
        """
        if not isinstance(state, Mapping):
            raise UsageError(f"state must be what state_dict returns, got {state!r}")
        for key, value in self._identity().items():
            if state.get(key) != value:
                raise UsageError(f"state: {key} must be {value!r}, got {state.get(key)!r}")
        if not self._is_fresh:
            raise UsageError("state can only be loaded into a fresh optimizer")
        self._is_fresh = False
        if self._events is not None:
            for event in state["events"]:
                self._replay_event(event)
            self.next_number = state["next_number"]
            return
        self.next_number, self._first_asked = state["next_number"], state["first_asked"]
        self.evaluations_ask |= state.get("evaluations_ask", False)
        trials = [Trial.from_json(data) for data in state["pending"]]
        self._pending = {trial.number: trial for trial in trials}  # type: ignore[misc]
        self._archive = Archive.from_state(
            state["archive"], self.space, deterministic=self.spec.deterministic is True
        )
        self._restore(copy.deepcopy(state["method"]))

    @property
    def has_compact_state(self) -> bool:
        """Whether loading a state is faster than repeating the log."""
        return type(self)._state is not Optimizer._state

    # --- what a method writes ---------------------------------------------------------

    @abstractmethod
    def _ask(self, n: int, left: Budget) -> list[Trial]:
        """At most ``n`` trials made by ``_new_trial``; no change of state where it is none."""

    @abstractmethod
    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        """Learn from an outcome given as losses; must not raise, whatever it holds.

        ``trial.number`` is None for a foreign trial. The space's ``initial``, which the base
        class proposes, arrives like any trial, under a number that ``_ask`` never gave.
        """

    def _tell_replaced(self, asked: Trial, trial: Trial, outcome: Outcome) -> None:
        """Learn that ``trial`` was evaluated in place of ``asked``."""
        self._tell(asked, NOTHING)
        self._tell(replace(trial, number=None), outcome)

    def _best(self) -> Best | None:
        """The candidate to deploy, its value a loss; from the archive unless overridden."""
        if self._best_of_archive is None and len(self._archive):
            self._best_of_archive = next(iter(self._archive.top(1)), None)
        return self._best_of_archive

    def _state(self) -> dict[str, Any]:
        """The method's own state, if that loads faster than a replay."""
        raise NotImplementedError

    def _restore(self, state: dict[str, Any]) -> None:
        """Take up the state that ``_state`` returned."""
        raise NotImplementedError

    # --- what a method may use --------------------------------------------------------

    def _new_trial(
        self, params: Mapping[str, Any], repeats: int = 1, context: Mapping[str, Any] | None = None
    ) -> Trial:
        """A trial under the next number."""
        trial = Trial(self.next_number, self.space.validate(params), repeats, context or {})
        self.next_number += 1
        return trial

    def _stream(self, number: int) -> np.random.Generator:
        """The generator of the method's draws for one trial number."""
        return seeding.stream(self.seed, self.name, worker=self.worker, number=number)

    # --- inside ------------------------------------------------------------------------

    def _new_archive(self) -> Archive:
        return Archive(self.space, deterministic=self.spec.deterministic is True)

    def _check_spec(self) -> None:
        who = self.name or type(self).__name__
        for name, dimension in self.space.items():
            if dimension.kind not in self.kinds:
                allowed = ", ".join(sorted(self.kinds))
                raise UnsupportedSpec(
                    f"optimizer {who!r} cannot handle parameter {name!r} of kind "
                    f"{dimension.kind!r}: it supports {allowed}"
                )
        for field in self.requires:
            if getattr(self.spec, field) is None:
                raise UnsupportedSpec(
                    f"optimizer {who!r} requires a problem with {field!r}, and this one has none"
                )

    def _identity(self) -> dict[str, Any]:
        """What a state must agree with, as JSON values (tuples are lists there)."""
        return {
            "format": STATE_FORMAT,
            "name": self.name,
            "seed": self.seed,
            "worker": self.worker,
            "settings": settings_to_json(self.settings),
            "agents": None if self.spec.agents is None else self.spec.agents.n,
        }

    def _replay_event(self, event: Sequence[Any]) -> None:
        if event[0] == "ask":
            self.next_number = event[3]
            self.ask(event[1], Budget(**event[2]))
        elif event[0] == "tell":
            self.tell(Trial.from_json(event[1]), Outcome.from_json(event[2]))
        elif event[0] == "expect":
            self.expect([Trial.from_json(trial) for trial in event[1]])


class Problem(ABC):
    """Something to optimise: describes itself in a spec and evaluates trials.

    ``evaluate`` gets the trial and the generator of its draws and returns a value, a list of
    values (one a repeat) or an :class:`~bbopt.Outcome`; it may be ``async def``. What it
    raises is recorded and survived.

    Where the spec has ``examples``, ``trial.context["examples"]`` has the ids that the
    evaluation is about, one a repeat, in the order of the values; an outcome's ``feedback`` is
    all that a proposer of texts learns of each.
    """

    name: str = ""
    """The name it is registered under."""
    arguments: Mapping[str, Any] = MappingProxyType({})
    """What it was built with, by name."""
    block: int = 1
    """How many repeats one call of ``evaluate`` gets at most, as ``trial.repeats``.

    With 1 it returns one value; set more where several are done at once."""
    needs_llm: bool = False
    """Whether it calls a language model; it is then evaluated in threads of this process.

    Its calls count against the run's budget: an outcome says in ``usage`` what it took, so that
    calls can be kept for the evaluations that confirm the result."""
    llm: Any = None
    """The :class:`bbopt.llm.Client` that it calls; set by the run where it is None."""
    optimum: float | None = None
    """The best value there is, where it is known."""
    evaluate_array: Callable[[np.ndarray, int, np.random.Generator], np.ndarray] | None = None
    """``(x, agent, rng) -> (n,)`` values of ``(n, d)`` native points, for whole rounds."""
    propose: Callable[[Params, Sequence[Any], np.random.Generator], Params] | None = None
    """``(params, feedback, rng) -> params``: its own mutation, in place of a language model.

    ``feedback`` has what each evaluation of the parent said, a text or a mapping of texts, and
    may end with ``{"summary": text}``. What it raises costs that proposal alone."""

    @property
    @abstractmethod
    def spec(self) -> Spec:
        """All that an optimizer may know."""

    @abstractmethod
    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
        """Evaluate ``trial.params`` ``trial.repeats`` times, drawing from ``rng`` alone."""

    def truth(self, params: Params) -> float | None:
        """The value of ``params`` without noise, where it is known; for benchmarks."""
        return None

    def test_value(self, best: Best) -> float | None:
        """The value of the result on examples never shown; scored once, off the budget."""
        return None


def _event_to_json(event: tuple[Any, ...]) -> list[Any]:
    if event[0] == "ask":
        return ["ask", event[1], event[2].to_json(), event[3]]
    if event[0] == "expect":
        return ["expect", [trial.to_json() for trial in event[1]]]
    return ["tell", event[1].to_json(), event[2].to_json()]

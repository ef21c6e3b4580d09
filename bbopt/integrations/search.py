"""An optimizer fed from a study of Optuna that any number of workers share.

The study is all the state there is: a worker that starts, or starts again, reads the trials and
tells them to a fresh optimizer. What is read once is not read again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from bbopt import seeding
from bbopt.base import Optimizer
from bbopt.space import Params
from bbopt.trial import NOTHING, Outcome, Trial, merge

FEEDBACK = "bbopt:feedback"
"""The user attribute of a trial with what its evaluation has to say, for methods that read it."""


@dataclass(frozen=True)
class Batch:
    """What a trial evaluates, together with others: one decision of an optimizer.

    Parameters
    ----------
    method : str
        Name of the optimizer that decided.
    batch : int
        The number of the first trial, which names the batch.
    repeats : int
        How many trials are to evaluate the same.
    seed : int
        Of the draws that this decision does not cover.
    params : dict or None
        What was decided; None where it is kept elsewhere.
    """

    method: str
    batch: int
    repeats: int
    seed: int
    params: Params | None

    @classmethod
    def of(cls, trial: FrozenTrial, key: str) -> Batch | None:
        """The batch that a trial's system attribute ``key`` tells of, if it has one."""
        data = trial.system_attrs.get(key)
        return None if data is None else cls(**data)

    def to_json(self) -> dict[str, Any]:
        """The system attribute."""
        return asdict(self)


class History:
    """The trials of a study, each read until it has finished and then kept.

    Attributes
    ----------
    finished : list of FrozenTrial
        In the order in which they were found to have finished.
    running : list of FrozenTrial
        Those of the last look.
    common : dict of str to BaseDistribution
        The parameters that every completed trial has with the same distribution, sorted by
        name: what Optuna calls the intersection search space.
    """

    def __init__(self) -> None:
        self.finished: list[FrozenTrial] = []
        self.running: list[FrozenTrial] = []
        self.common: dict[str, BaseDistribution] = {}
        self._is_empty = True
        self._n_read = 0
        self._open: list[int] = []

    def read(self, trials: Sequence[FrozenTrial]) -> None:
        """Take up what is new in all trials of the study, given in the order of their numbers."""
        numbers = (*self._open, *range(self._n_read, len(trials)))
        self._open, self.running, self._n_read = [], [], len(trials)
        for number in numbers:
            trial = trials[number]
            if trial.state.is_finished():
                self._finish(trial)
                continue
            self._open.append(number)
            if trial.state == TrialState.RUNNING:
                self.running.append(trial)

    def _finish(self, trial: FrozenTrial) -> None:
        self.finished.append(trial)
        if trial.state != TrialState.COMPLETE:
            return
        known = trial.distributions
        if self._is_empty:
            self.common, self._is_empty = dict(sorted(known.items())), False
        else:
            self.common = {n: d for n, d in self.common.items() if known.get(n) == d}


class Search:
    """An optimizer that decides about some of the parameters of a study.

    Parameters
    ----------
    optimizer : Optimizer
        A fresh one.
    key : str
        The system attribute in which its decisions are kept.
    params_of : callable
        Trial -> its params in the space of the optimizer, or None where it has none.
    """

    def __init__(
        self, optimizer: Optimizer, key: str, params_of: Callable[[FrozenTrial], Params | None]
    ) -> None:
        self.key = key
        self._optimizer = optimizer
        self._params_of = params_of
        self._n_counted = self._n_told = 0
        self._n_finished = Counter[int]()  # trials of a batch
        self._closed: set[int] = set()  # batches to which nothing is to be added
        self._unfilled: dict[int, Batch] = {}
        self._asked: dict[int, Trial] = {}  # own decisions, by batch

    def next(self, number: int, history: History, fixed: Mapping[str, Any] | None = None) -> Batch:
        """What the trial ``number`` is to evaluate.

        The rest of an open batch, else what the optimizer decides now: all that has finished
        was told to it, and what is running elsewhere is expected.

        Parameters
        ----------
        number : int
            The trial's, unique in the study.
        history : History
            Which has just been read.
        fixed : mapping, optional
            Params that are given; the decision is about the others, and not for a batch.
        """
        if fixed is not None:
            batch = self._decide(number, history)
            if number in self._asked:
                self._optimizer.tell(self._asked.pop(number), NOTHING)
            return replace(batch, repeats=1, params={**(batch.params or {}), **fixed})
        return self._open_batch(history) or self._decide(number, history)

    def _open_batch(self, history: History) -> Batch | None:
        """The earliest batch of this method that lacks trials."""
        for trial in history.finished[self._n_counted :]:
            batch = self._batch_of(trial)
            if batch is None or batch.batch in self._closed:
                continue
            self._n_finished[batch.batch] += 1
            self._unfilled[batch.batch] = batch
            # what fails, or is not allowed, need not be seen again
            if is_bad(trial) or self._n_finished[batch.batch] >= batch.repeats:
                self._closed.add(batch.batch)
                del self._unfilled[batch.batch], self._n_finished[batch.batch]
        self._n_counted = len(history.finished)
        n_started = self._n_finished.copy()
        unfilled = dict(self._unfilled)
        for trial in history.running:
            batch = self._batch_of(trial)
            if batch is not None and batch.batch not in self._closed:
                n_started[batch.batch] += 1
                unfilled[batch.batch] = batch
        free = (b for b in unfilled.values() if n_started[b.batch] < b.repeats)
        return min(free, key=lambda batch: batch.batch, default=None)

    def _batch_of(self, trial: FrozenTrial) -> Batch | None:
        """Its batch, where that is one of several trials, of this method and this space."""
        batch = Batch.of(trial, self.key)
        if batch is None or batch.repeats == 1 or batch.method != self._optimizer.name:
            return None
        params = self._params_in(trial, batch)
        return None if params is None else replace(batch, params=params)

    def _params_in(self, trial: FrozenTrial, batch: Batch | None) -> Params | None:
        """What a trial evaluates, or is about to."""
        params = self._params_of(trial)
        if params is not None or batch is None or batch.params is None:
            return params
        # a trial that runs may have been given params that it has not asked for yet
        is_here = batch.params.keys() == self._optimizer.space.keys()
        return batch.params if is_here and not trial.state.is_finished() else None

    def _decide(self, number: int, history: History) -> Batch:
        self._tell(history)
        optimizer = self._optimizer
        optimizer.expect(self._running_elsewhere(number, history))
        optimizer.next_number = number
        asked = optimizer.ask()
        if asked:
            (trial,) = asked
            self._asked[number] = trial
        else:  # it would rather wait, which a sampler cannot
            rng = seeding.stream(optimizer.seed, "instead of waiting", number=number)
            trial = Trial(number, optimizer.space.sample(rng)[0])
        return Batch(optimizer.name, number, trial.repeats, optimizer.seed, trial.params)

    def _tell(self, history: History) -> None:
        """Tell what has finished; the values of equal params at once, as one trial's."""
        key_of = self._optimizer.space.key
        own: dict[int, list[Outcome]] = {}
        others: dict[Any, tuple[Params, list[Outcome]]] = {}
        for trial in history.finished[self._n_told :]:
            batch, params = Batch.of(trial, self.key), self._params_of(trial)
            asked = None if batch is None else self._asked.get(batch.batch)
            outcomes = [] if batch is None or asked is None else own.setdefault(batch.batch, [])
            if params is None:
                continue
            key = key_of(params)
            if asked is None or key_of(asked.params) != key:
                outcomes = others.setdefault(key, (params, []))[1]
            outcomes.append(outcome_of(trial))
        self._n_told = len(history.finished)
        for batch_number, outcomes in own.items():
            self._optimizer.tell(self._asked.pop(batch_number), merge(outcomes))
        for params, outcomes in others.values():
            self._optimizer.tell(Trial(None, params), merge(outcomes))

    def _running_elsewhere(self, number: int, history: History) -> list[Trial]:
        """What is being evaluated and is not pending in the optimizer itself."""
        found: dict[Any, Trial] = {}
        for trial in history.running:
            batch = Batch.of(trial, self.key)
            if trial.number == number or (batch is not None and batch.batch in self._asked):
                continue
            params = self._params_in(trial, batch)
            if params is not None:
                key = self._optimizer.space.key(params)
                repeats = found[key].repeats + 1 if key in found else 1
                found[key] = Trial(None, params, repeats)
        return list(found.values())


def is_bad(trial: FrozenTrial) -> bool:
    """Whether a finished trial failed, was pruned, or violates a constraint."""
    return trial.state != TrialState.COMPLETE or any(c > 0 for c in trial.constraints.values())


def outcome_of(trial: FrozenTrial) -> Outcome:
    """What came of a finished trial: its value, or that it failed or was pruned."""
    if trial.state != TrialState.COMPLETE:
        return Outcome.failure(f"trial {trial.number}: {trial.state.name}")
    feedback = trial.user_attrs.get(FEEDBACK)
    return Outcome(
        trial.value,  # type: ignore[arg-type]
        feedback=() if feedback is None else [_said(feedback)],
        constraints=tuple(trial.constraints.values()),
    )


def _said(feedback: Any) -> Any:
    """Feedback as an outcome has it: whatever else an attribute can hold becomes a text."""
    return feedback if isinstance(feedback, str | Mapping) else str(feedback)

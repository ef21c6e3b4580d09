"""The log of a run, kept in Optuna's storage, where every tool of Optuna can read it.

One Optuna trial a bbopt trial, created with everything that replay needs in one JSON
attribute, ``bbopt:trial``; what came of it is a second, ``bbopt:outcome``, written before the
final state, so that a row with an outcome and no final state is finished. The study keeps
``bbopt:study`` (the problem), ``bbopt:worker:K`` (who worker K is) and ``bbopt:best``.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

from bbopt.errors import StudyExists, UsageError
from bbopt.running.backends import (
    close_storage,
    folder_beside,
    open_storage,
    opened_storage,
    quiet_optuna,
    storage_errors,
)
from bbopt.running.locks import lock_opening, lock_worker
from bbopt.space import Categorical, Dimension, Float, Int, Params, Space, Text
from bbopt.spec import Spec
from bbopt.trial import LARGEST, Best, Outcome, Trial

FORMAT = 1
FOREIGN_WORKER = -1
"""The worker of rows that no bbopt worker asked for: a warm start, another tool's trials."""

Key: TypeAlias = tuple[int, int]
"""(worker, number); for a foreign worker's row its number in the storage."""

LOOK_SHARE = 0.05
"""The share of a run's time that looking for other workers' results may take."""


@dataclass
class Row:
    """One trial in the storage.

    Parameters
    ----------
    id : int
        The storage's own.
    key : (int, int)
        Worker and number.
    trial : Trial
        As evaluated: params may be those of the nearest candidate, repeats cut to the budget.
    place : mapping
        Its place in the log: ``ask`` and ``position`` in it, ``n``, ``left``, ``told``.
    asked : dict or None
        The params asked for, where others were evaluated.
    outcome : Outcome or None
        What came of it, once it is finished.
    partial : mapping of int to Outcome
        Blocks of an unfinished trial that were worth saving.
    seconds, overhead : float
        The worker's clock when it was finished.
    """

    id: int
    key: Key
    trial: Trial
    place: Mapping[str, Any] = field(default_factory=dict)
    asked: Params | None = None
    outcome: Outcome | None = None
    partial: dict[int, Outcome] = field(default_factory=dict)
    seconds: float = 0.0
    overhead: float = 0.0


class StudyLog:
    """One worker's access to one study.

    Parameters
    ----------
    storage : str or Path
        A URL such as ``sqlite:///runs.db`` or ``postgresql://...``, or the path of a journal
        file.
    name : str
        The study's.
    spec : Spec
        Of the problem.
    worker : int
        This worker's number.
    resume : bool
        Whether the study may exist already.
    wait : float
        Seconds to wait for a live process that has the worker's number.

    Raises
    ------
    StorageError
        If the storage cannot be opened.
    StudyExists
        If the study exists and ``resume`` is False.
    UsageError
        If the worker's number is taken by a live process, or the study is another problem's.
    """

    def __init__(
        self,
        storage: str | Path,
        name: str,
        spec: Spec,
        *,
        worker: int,
        resume: bool,
        wait: float = 0.0,
    ) -> None:
        self.location, self.name, self.worker = str(storage), name, worker
        self._spec = spec
        self._in_attribute = [n for n, dim in spec.space.items() if not _fits_optuna(dim)]
        if self.location.startswith("mysql") and any(
            isinstance(d, Text) for d in spec.space.values()
        ):
            raise UsageError("storage: MySQL columns hold 64 KB, too little for texts")
        self.folder = folder_beside(self.location)
        with storage_errors(self.location), ExitStack() as stack:
            stack.callback(lock_worker(self.location, self.folder, name, worker, wait=wait))
            with lock_opening(self.location, self.folder):
                self._storage = open_storage(self.location)
            stack.callback(close_storage, self._storage)
            self._study_id = self._open_study(resume)
            self._held = stack.pop_all()
        self._distributions = {
            n: _distribution(dim) for n, dim in spec.space.items() if n not in self._in_attribute
        }
        self._lock = threading.Lock()
        self._settled: set[int] = set()
        self._n_prefix = 0  # rows before this one are settled
        self._look_at = 0.0

    def close(self) -> None:
        """Close the storage and give the worker's number back."""
        self._held.close()

    # --- the study --------------------------------------------------------------------

    def attributes(self) -> dict[str, Any]:
        """The study's attributes."""
        with storage_errors(self.location):
            return dict(self._storage.get_study_user_attrs(self._study_id))

    def set_attribute(self, key: str, value: Any) -> None:
        """Write one of the study's attributes, a JSON value."""
        with storage_errors(self.location):
            self._storage.set_study_user_attr(self._study_id, key, value)

    def set_best(self, best: Best) -> None:
        """Write the candidate to deploy as the study's attribute ``bbopt:best``."""
        self.set_attribute("bbopt:best", best.to_json())

    # --- rows -------------------------------------------------------------------------

    def rows(self) -> list[Row]:
        """Every row that is bbopt's, or finished and within the space, in storage order.

        Rows of this worker that a kill left between their outcome and their final state get it.
        """
        found = []
        with self._lock, storage_errors(self.location):
            for trial in self._storage.get_all_trials(self._study_id, deepcopy=False):
                row = read_row(trial, self._spec.space)
                if row is None:
                    continue
                found.append(row)
                if row.key[0] == self.worker and row.outcome and not trial.state.is_finished():
                    self._set_final_state(row.id, row.outcome)
        return found

    def create(
        self,
        trial: Trial,
        *,
        place: Mapping[str, Any],
        asked: Params | None = None,
        worker: int | None = None,
        outcome: Outcome | None = None,
    ) -> int:
        """Write a new row, RUNNING unless it comes with its outcome; returns its id."""
        import optuna

        attribute: dict[str, Any] = {
            "worker": self.worker if worker is None else worker,
            "number": trial.number,
            **place,
        }
        if trial.repeats != 1:
            attribute["repeats"] = trial.repeats
        if trial.context:
            attribute["context"] = dict(trial.context)
        if self._in_attribute:
            attribute["params"] = {name: trial.params[name] for name in self._in_attribute}
        if asked is not None:
            attribute["asked"] = asked
        attributes = {"bbopt:trial": attribute}
        state = optuna.trial.TrialState.RUNNING
        if outcome is not None:
            attributes["bbopt:outcome"] = outcome.to_json()
            done = optuna.trial.TrialState
            state = done.COMPLETE if outcome.count else done.FAIL
        now = datetime.now()  # Optuna's times are local and naive
        template = optuna.trial.FrozenTrial(
            number=-1,
            trial_id=-1,
            state=state,
            value=outcome.mean if outcome is not None and outcome.count else None,
            datetime_start=now,
            datetime_complete=None if outcome is None else now,
            params={name: trial.params[name] for name in self._distributions},
            distributions=self._distributions,
            user_attrs=attributes,
            system_attrs={},
            intermediate_values={},
        )
        with self._lock, storage_errors(self.location):
            return int(self._storage.create_new_trial(self._study_id, template))

    def create_round(self, scalars: Mapping[str, Any]) -> None:
        """Write a round of a method that evaluates whole arrays, as a finished trial."""
        import optuna

        value = scalars.get("value")
        is_finite = value is not None and math.isfinite(value)
        trial = optuna.trial.create_trial(
            state=optuna.trial.TrialState.COMPLETE if is_finite else optuna.trial.TrialState.FAIL,
            value=float(value) if is_finite else None,  # type: ignore[arg-type]
            user_attrs={"bbopt:round": dict(scalars), "bbopt:worker": self.worker},
        )
        with self._lock, storage_errors(self.location):
            self._storage.create_new_trial(self._study_id, trial)

    def n_rounds(self) -> int:
        """How many rounds of this worker are in the log."""
        with self._lock, storage_errors(self.location):
            trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        return sum(trial.user_attrs.get("bbopt:worker") == self.worker for trial in trials)

    def finish(self, row: int, outcome: Outcome, *, seconds: float, overhead: float) -> None:
        """Write what came of a row, then its final state."""
        data = outcome.to_json() | {"seconds": seconds, "overhead": overhead}
        with self._lock, storage_errors(self.location):
            self._storage.set_trial_user_attr(row, "bbopt:outcome", data)
            self._set_final_state(row, outcome)

    def _set_final_state(self, row: int, outcome: Outcome) -> None:
        import optuna

        if outcome.constraints:
            study = optuna.load_study(study_name=self.name, storage=self._storage)
            trial = optuna.trial.Trial(study, row)
            for i, constraint in enumerate(outcome.constraints):
                if str(i) not in trial.constraints:
                    # NaN, which Optuna does not take, is not feasible either
                    trial.set_constraint(str(i), LARGEST if math.isnan(constraint) else constraint)
        if outcome.count:
            complete = optuna.trial.TrialState.COMPLETE
            self._storage.set_trial_state_values(row, complete, [outcome.mean])
        else:
            self._storage.set_trial_state_values(row, optuna.trial.TrialState.FAIL)

    def save_blocks(self, row: int, blocks: Mapping[int, Outcome]) -> None:
        """Write finished blocks of an unfinished row."""
        data = {str(index): outcome.to_json() for index, outcome in blocks.items()}
        with self._lock, storage_errors(self.location):
            self._storage.set_trial_user_attr(row, "bbopt:blocks", data)

    @property
    def is_look_due(self) -> bool:
        """Whether looking for news again keeps within its share of the time."""
        return time.monotonic() >= self._look_at

    def news(self) -> list[Row]:
        """Finished rows of others that were not reported before."""
        start = time.monotonic()
        fresh = []
        with self._lock, storage_errors(self.location):
            trials = self._storage.get_all_trials(self._study_id, deepcopy=False)
        for number in range(self._n_prefix, len(trials)):
            if number in self._settled:
                continue
            row = read_row(trials[number], self._spec.space)
            if row is None:
                if trials[number].state.is_finished():
                    self._settled.add(number)
            elif row.key[0] == self.worker:
                self._settled.add(number)
            elif row.outcome is not None:
                fresh.append(row)
                self._settled.add(number)
        while self._n_prefix in self._settled:
            self._settled.discard(self._n_prefix)
            self._n_prefix += 1
        now = time.monotonic()
        self._look_at = now + (now - start) / LOOK_SHARE
        return fresh

    # --- inside -----------------------------------------------------------------------

    def _find_study(self) -> Any:
        try:
            return self._storage.get_study_id_from_name(self.name)
        except KeyError:
            return None

    def _open_study(self, resume: bool) -> Any:
        from optuna.exceptions import DuplicatedStudyError
        from optuna.study import StudyDirection

        directions = {"minimize": StudyDirection.MINIMIZE, "maximize": StudyDirection.MAXIMIZE}
        direction = directions[self._spec.direction]
        study_id = self._find_study()
        if study_id is None:
            with quiet_optuna(), suppress(DuplicatedStudyError):  # somebody may be faster
                return self._storage.create_new_study([direction], self.name)
            study_id = self._find_study()
        if not resume:
            raise StudyExists(
                f"study {self.name!r} exists already in {self.location}: continue it with "
                "resume=True (--resume), or choose another name (--name)"
            )
        stored = self._storage.get_study_directions(study_id)
        if stored != [direction]:
            names = ", ".join(d.name.lower() for d in stored)
            raise UsageError(
                f"study {self.name!r} has direction {names}, the problem {self._spec.direction}"
            )
        return study_id


def read_row(trial: Any, space: Space) -> Row | None:
    """A row of ours, or a finished trial of another tool whose params are in the space."""
    attribute = trial.user_attrs.get("bbopt:trial")
    if attribute is None:
        return _read_foreign(trial, space)
    params = dict(trial.params) | attribute.get("params", {})
    context = dict(attribute.get("context", {}))
    if "examples" in context:
        context["examples"] = tuple(context["examples"])
    worker, number = attribute["worker"], attribute["number"]
    data = trial.user_attrs.get("bbopt:outcome")
    blocks = trial.user_attrs.get("bbopt:blocks", {}) if data is None else {}
    return Row(
        id=trial._trial_id,
        key=(worker, trial.number if worker == FOREIGN_WORKER else number),
        trial=Trial(
            number, {name: params[name] for name in space}, attribute.get("repeats", 1), context
        ),
        place=attribute,
        asked=attribute.get("asked"),
        outcome=None if data is None else Outcome.from_json(data),
        partial={int(index): Outcome.from_json(block) for index, block in blocks.items()},
        seconds=0.0 if data is None else data.get("seconds", 0.0),
        overhead=0.0 if data is None else data.get("overhead", 0.0),
    )


def _read_foreign(trial: Any, space: Space) -> Row | None:
    if not trial.state.is_finished():
        return None
    try:
        params = space.validate(trial.params)
    except UsageError:
        return None
    value = trial.value if trial.value is not None else float("nan")
    key = (FOREIGN_WORKER, trial.number)
    return Row(trial._trial_id, key, Trial(None, params), outcome=Outcome(value))


def read_finished(location: str | Path, spec: Spec) -> list[tuple[Trial, Outcome]]:
    """The finished trials of every study of that direction whose params are in the space.

    Raises
    ------
    StorageError
        If the storage does not exist or cannot be read.
    """
    with storage_errors(str(location)), opened_storage(str(location)) as storage:
        found = []
        for study in storage.get_all_studies():
            if [direction.name.lower() for direction in study.directions] != [spec.direction]:
                continue
            for trial in storage.get_all_trials(study._study_id, deepcopy=False):
                row = read_row(trial, spec.space) if _same_names(trial, spec.space) else None
                if row is not None and row.outcome is not None:
                    found.append((replace(row.trial, number=None), row.outcome))
    return found


def _same_names(trial: Any, space: Space) -> bool:
    stored = trial.user_attrs.get("bbopt:trial", {}).get("params", {})
    try:
        space.validate(dict(trial.params) | stored)
    except UsageError:
        return False
    return True


def _distribution(dimension: Dimension) -> Any:
    from optuna import distributions as d

    if isinstance(dimension, Float):
        return d.FloatDistribution(
            dimension.low, dimension.high, log=dimension.log, step=dimension.step
        )
    if isinstance(dimension, Int):
        return d.IntDistribution(
            dimension.low, dimension.high, log=dimension.log, step=dimension.step
        )
    assert isinstance(dimension, Categorical)
    return d.CategoricalDistribution(dimension.choices)


def _fits_optuna(dimension: Dimension) -> bool:
    """Whether an Optuna parameter gives every value back as it was."""
    if isinstance(dimension, Int):
        return max(abs(dimension.low), abs(dimension.high)) <= 2**53
    if isinstance(dimension, Categorical):  # Optuna finds choices by ==, where 1 is True
        return len(set(dimension.choices)) == len(dimension.choices)
    return not isinstance(dimension, Text)

"""Experiments that a person or a shell script carries out: ask and tell, days apart.

The study is an ordinary one of worker 0, without a loop: every call opens the log, rebuilds
the optimizer by replay, does one thing, and closes it again. Nothing lives in between, so
nothing is lost between.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from bbopt import checks, registry
from bbopt.base import Optimizer, Problem
from bbopt.budget import Budget
from bbopt.errors import UsageError
from bbopt.running.auto import FEW, auto
from bbopt.running.identity import identify, metadata
from bbopt.running.options import Options
from bbopt.running.replay import restore
from bbopt.running.session import Session
from bbopt.running.snapshot import Snapshots
from bbopt.running.storage import Key, Row, StudyLog
from bbopt.running.studies import StoredStudy, best_of, find_study, read_study
from bbopt.space import Space
from bbopt.spec import Spec
from bbopt.trial import Best, Outcome, Trial

BY_HAND = "by hand"
"""The problem's name in studies whose space was given instead of a problem."""

WAIT = 10.0
"""Seconds that a call waits for another one on the same study."""


class HandProblem(Problem):
    """A space and a direction; somebody else evaluates.

    Parameters
    ----------
    spec : Spec
        Of it, ``space``, ``direction``, ``objective`` and ``deterministic`` are kept.
    """

    name = BY_HAND

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self.arguments = {"objective": spec.objective, "deterministic": spec.deterministic}

    @property
    def spec(self) -> Spec:
        """As given."""
        return self._spec

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
        """Refuse: this is done by hand."""
        raise UsageError("this problem is evaluated by hand: bbopt tell")


def ask(
    storage: str | Path,
    name: str,
    n: int = 1,
    *,
    problem: Problem | None = None,
    optimizer: str | None = None,
    settings: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> list[Trial]:
    """New trials to carry out; none while the method waits for results, or has no more.

    Parameters
    ----------
    storage, name
        The study; it is started where it does not exist.
    n : int
        How many are wanted at most, >= 1.
    problem, optimizer, settings, seed : optional
        Needed (the problem) or useful when the study is started; it remembers them.

    Raises
    ------
    UsageError
        If the study is new and no problem was given, or it was started with another problem,
        optimizer, setting or seed.
    StorageError
        If the storage cannot be opened, read or written.
    """
    checks.integer("n", n, 1)
    stored = find_study(storage, name)
    if problem is None:
        problem = _stored_problem(storage, name, stored)
    chosen = _optimizer(problem, stored, optimizer, settings, seed)
    with closing(_open(storage, name, problem.spec)) as log:
        identify(log, problem, metadata(problem, chosen))
        rows = log.rows()
        session = _restored(log, problem, chosen, rows)
        known = {row.key for row in rows}
        # trials of an earlier ask that was killed before it stored them all
        wanted = n - len(_unknown(session, known))
        left = session.allowance.left()
        asked = chosen.ask(wanted, left) if wanted > 0 else []
        if asked:
            session.admit_ask(asked, wanted, left)
        return _unknown(session, known)


def tell(storage: str | Path, name: str, number: int, outcome: Outcome) -> Best | None:
    """Store what came of a trial; returns the best candidate by all results so far.

    Parameters
    ----------
    storage, name
        The study.
    number : int
        Of a trial that was asked and has no outcome yet.
    outcome : Outcome
        At most as many values as the trial has repeats; fewer if the rest was not done.

    Raises
    ------
    UsageError
        If there is no such study or open trial, or there are too many values.
    StorageError
        If the storage cannot be opened, read or written.
    """
    spec = _stored_spec(read_study(storage, name))
    with closing(_open(storage, name, spec)) as log:
        rows = log.rows()
        row = next((row for row in rows if row.key == (log.worker, number)), None)
        if row is None:
            numbers = [r.key[1] for r in rows if r.outcome is None and r.key[0] == log.worker]
            known = ", ".join(map(str, numbers)) or "none"
            raise UsageError(f"trial {number} was never asked in study {name!r}; open: {known}")
        if row.outcome is not None:
            raise UsageError(f"trial {number} of study {name!r} was told already")
        if outcome.evaluations > row.trial.repeats:
            raise UsageError(
                f"trial {number} has {row.trial.repeats} repeats, got {outcome.evaluations} values"
            )
        log.finish(row.id, outcome, seconds=0.0, overhead=0.0)
        row.outcome = outcome
        best = best_of(rows, spec.space, spec.direction)
        if best is not None:
            log.set_best(best)
        return best


def open_trials(storage: str | Path, name: str) -> Sequence[Trial]:
    """The trials that were asked and have no outcome yet.

    Raises
    ------
    UsageError
        If there is no such study.
    StorageError
        If the storage cannot be opened or read.
    """
    return [row.trial for row in read_study(storage, name).open_rows]


def _stored_problem(storage: str | Path, name: str, stored: StoredStudy | None) -> Problem:
    if stored is None:
        raise UsageError(
            f"study {name!r} is not in {storage} yet: start it with a space or a problem "
            "(--space FILE, --problem NAME)"
        )
    if not stored.about or stored.about["problem"] == BY_HAND:
        return HandProblem(_stored_spec(stored))
    if ":" in stored.about["problem"]:
        raise UsageError(
            f"study {name!r} is about {stored.about['problem']!r}, which is not registered: "
            "give it again (--problem)"
        )
    return registry.problem(stored.about["problem"], **stored.about["arguments"])


def _stored_spec(stored: StoredStudy) -> Spec:
    if not stored.about:
        raise UsageError(f"study {stored.name!r} was not started by bbopt")
    fields = stored.about["arguments"] if stored.about["problem"] == BY_HAND else {}
    return Spec(
        space=Space.from_json(stored.about["space"]),
        direction=stored.direction,  # type: ignore[arg-type]
        **fields,
    )


def _optimizer(
    problem: Problem,
    stored: StoredStudy | None,
    name: str | None,
    settings: Mapping[str, Any] | None,
    seed: int | None,
) -> Optimizer:
    """What was given, else what the study was started with, else the defaults."""
    who: Mapping[str, Any] = {} if stored is None else stored.workers.get(0, {})
    name = name or who.get("optimizer") or auto(problem.spec, FEW)
    if settings is None:
        settings = who.get("settings", {}) if name == who.get("optimizer") else {}
    seed = who.get("seed", 0) if seed is None else seed
    return registry.optimizer(name, problem.spec, seed=seed, **settings)


def _open(storage: str | Path, name: str, spec: Spec) -> StudyLog:
    return StudyLog(storage, name, spec, worker=0, resume=True, wait=WAIT)


def _restored(
    log: StudyLog, problem: Problem, optimizer: Optimizer, rows: Sequence[Row]
) -> Session:
    """A session that knows all that the log has; every finished trial is told."""
    snapshots = None
    if log.folder is not None and optimizer.has_compact_state:
        snapshots = Snapshots(log.folder, log.name, log.worker)
    options = Options(budget=Budget())
    session = Session(problem, optimizer, options, log=log, snapshots=snapshots)
    restore(session, rows)
    for opened in list(session.ready):
        session.tell(opened)
    for row in [*session.confirming, *log.news()]:
        session.tell_row(row)
    session.confirming = []
    return session


def _unknown(session: Session, known: Collection[Key]) -> list[Trial]:
    """The open trials whose rows were not there before."""
    worker = session.optimizer.worker
    return [o.trial for number, o in session.open.items() if (worker, number) not in known]

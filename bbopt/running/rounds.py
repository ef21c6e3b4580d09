"""Whole rounds: methods whose step is thousands of queries evaluate arrays, agent by agent.

Under ``mpirun`` every rank owns some agents. ``evaluate`` is local; ``report`` and
``state_dict`` are collective: every rank calls them at the same round, rank 0 writes and
decides whether to stop, and every rank hears the decision.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bbopt import seeding
from bbopt.base import Optimizer, Problem
from bbopt.budget import Meter
from bbopt.errors import BBOptError, UsageError
from bbopt.running.options import Options
from bbopt.running.progress import Progress
from bbopt.running.result import Result
from bbopt.running.signals import interruptible
from bbopt.running.snapshot import Snapshots
from bbopt.running.storage import StudyLog
from bbopt.trial import Best, Outcome, Trial

logger = logging.getLogger("bbopt")


@dataclass
class Rounds:
    """The two functions that ``solve`` gets, and what they keep.

    Parameters
    ----------
    problem, optimizer, options
        Who evaluates, who proposes, and how.
    log, snapshots, progress : optional
        Where rank 0 writes; None on the other ranks.
    comm : optional
        The communicator of all ranks; None without ``mpirun``.
    """

    problem: Problem
    optimizer: Optimizer
    options: Options
    log: StudyLog | None
    snapshots: Snapshots | None
    progress: Progress | None
    comm: Any

    def __post_init__(self) -> None:
        self.meter = Meter()
        self.place = (None, None) if self.log is None else (self.log.location, self.log.name)
        self.rows: list[dict[str, Any]] = []
        self.stop: str | None = None
        self._calls: Counter[int] = Counter()
        # where nothing is drawn: streams for each call are half the time of 10,000 agents
        self._unused = self._stream(0) if self.problem.spec.deterministic is True else None
        self._causes: set[type[Exception]] = set()  # of failures, said once each
        self._evaluations = 0
        self._started = time.monotonic()
        self._earlier = 0.0
        self._waited = 0.0
        self._record: tuple[float, int] = (math.inf, 0)  # least loss and when
        self._n_stored = 0  # rounds that the log had at the start: not written again

    def evaluate(self, x: np.ndarray, agent: int) -> np.ndarray:
        """Values ``(n,)`` of the native points ``(n, d)`` for one agent; NaN where it failed.

        Raises
        ------
        BBOptError
            If the method asks for more evaluations than the budget has.
        """
        limit = self.options.budget.evaluations
        if limit is not None and self._evaluations + len(x) > limit:
            raise BBOptError(f"the method asked for more than the budget of {limit} evaluations")
        rng = self._unused or self._stream(agent)
        self._calls[agent] += 1
        self._evaluations += len(x)
        assert self.problem.evaluate_array is not None
        start = time.monotonic()
        try:
            values = np.asarray(self.problem.evaluate_array(x, agent, rng), dtype=float)
            if values.shape != (len(x),):
                raise ValueError(f"{values.shape} values for {len(x)} points")
        except Exception as error:  # noqa: BLE001 - the evaluation boundary: said once, survived
            if type(error) not in self._causes:
                logger.warning("evaluate_array failed: %s: %s", type(error).__name__, error)
            self._causes.add(type(error))
            values = np.full(len(x), np.nan)
        self._waited += time.monotonic() - start
        values = np.where(np.isfinite(values), values, np.nan)
        self.meter.failures += int(np.isnan(values).sum())
        return values

    def _stream(self, agent: int) -> np.random.Generator:
        """What the agent's next call draws from."""
        seed, worker = self.optimizer.seed, self.optimizer.worker
        return seeding.stream(seed, "array", worker=worker, number=agent, block=self._calls[agent])

    def report(self, row: Mapping[str, float]) -> bool:
        """Record a round's scalars (``value`` and ``evaluations`` among them); True to stop."""
        save = self.snapshots is not None and self.snapshots.is_due
        decision: tuple[str | None, bool] = (None, False)
        if self._is_root:
            self._write(dict(row))
            decision = (self.stop or self._goal(row), save)
        if self.comm is not None:
            decision = self.comm.bcast(decision, root=0)
        self.stop, save = decision
        if save:
            self._save()
        return self.stop is not None

    def restore(self) -> bool:
        """Load the last snapshot, if there is one, and say so; collective."""
        if self.log is not None:
            self._n_stored = self.log.n_rounds()
        snapshot = self._read_snapshot()
        if self.comm is not None:
            snapshot = self.comm.bcast(snapshot, root=0)
        if snapshot is None:
            return False
        try:
            self.optimizer.load_state_dict(snapshot["optimizer"])
        except UsageError as error:
            logger.warning("snapshot: %s: starting again", error)
            return False
        self._calls = Counter({int(agent): n for agent, n in snapshot["calls"].items()})
        if self._is_root:  # which counts for all ranks of earlier sessions
            self._evaluations = snapshot["evaluations"]
            self.meter.failures = snapshot["failures"]
        self._earlier = snapshot["seconds"]
        self.rows = snapshot["rows"]
        for row in self.rows:
            self._note(row)
        return True

    def _read_snapshot(self) -> dict[str, Any] | None:
        if self.snapshots is None or not self._n_stored:
            return None
        snapshot = self.snapshots.read()
        if snapshot is not None and len(snapshot["rows"]) > self._n_stored:
            logger.warning("snapshot %s is not of this log: starting again", self.snapshots.path)
            return None
        return snapshot

    def interrupt(self) -> None:
        """Stop at the end of the round; under ``mpirun`` rank 0's word counts."""
        self.stop = "interrupted"

    def finish(self) -> None:
        """Make meter, rows and their place the same on every rank; collective."""
        evaluations, failures = self._spent_by_all()
        # ranks that have died no longer say what they have spent, but the last row does
        last = self.rows[-1] if self.rows else {}
        self.meter.evaluations = max(evaluations, int(last.get("evaluations", 0)))
        self.meter.failures = failures
        self._clock()
        self.meter.overhead_seconds = self.meter.seconds - self._waited
        if self.comm is not None:
            mine = (self.meter, self.rows, self.place)
            self.meter, self.rows, self.place = self.comm.bcast(mine, root=0)

    def _spent_by_all(self) -> tuple[int, int]:
        """Evaluations and failures of all ranks; collective."""
        spent = self._evaluations, self.meter.failures
        if self.comm is None:
            return spent
        evaluations, failures = zip(*self.comm.allgather(spent), strict=True)
        return sum(evaluations), sum(failures)

    @property
    def _is_root(self) -> bool:
        return self.comm is None or self.comm.Get_rank() == 0

    def _write(self, row: dict[str, Any]) -> None:
        self._clock()
        self.rows.append(row)
        self.meter.evaluations = int(row.get("evaluations", self._evaluations))
        if self.log is not None and len(self.rows) > self._n_stored:
            self.log.create_round(row)
        if self.progress is not None:
            value = row.get("value", math.nan)
            self.progress.update(Best({}, value, None, self.meter.evaluations), self.meter)

    def _goal(self, row: Mapping[str, float]) -> str | None:
        o = self.options
        if row.get("agreed", True):  # else the value is of a setting for each agent
            loss = self._note(row)
            if o.target is not None and loss <= self.problem.spec.sign * o.target:
                return "target"
            if o.patience is not None and self.meter.evaluations - self._record[1] >= o.patience:
                return "patience"
        if o.max_failures is not None and self.meter.failures > o.max_failures:
            return "max_failures"
        seconds = o.budget.seconds
        return "seconds" if seconds is not None and self.meter.seconds >= seconds else None

    def _note(self, row: Mapping[str, float]) -> float:
        """The loss of a round, which may be a record."""
        loss = self.problem.spec.sign * row.get("value", math.nan)
        if loss < self._record[0]:  # NaN is not
            self._record = (loss, int(row.get("evaluations", self._evaluations)))
        return loss

    def _save(self) -> None:
        state = self.optimizer.state_dict()
        evaluations, failures = self._spent_by_all()
        calls = [self._calls] if self.comm is None else self.comm.allgather(self._calls)
        if self.snapshots is not None:
            # an agent's count is the greatest: ranks that do not own it keep an old one
            latest = {str(a): max(part[a] for part in calls) for part in calls for a in part}
            self.snapshots.write(
                {
                    "optimizer": state,
                    "calls": latest,
                    "evaluations": evaluations,
                    "failures": failures,
                    "seconds": self.meter.seconds,
                    "rows": self.rows,
                }
            )

    def _clock(self) -> None:
        self.meter.seconds = self._earlier + time.monotonic() - self._started


def run_rounds(
    rounds: Rounds, about: Mapping[str, Any], earlier: Sequence[tuple[Trial, Outcome]]
) -> Result:
    """Let a method ``solve`` a problem, after ``earlier`` results; every rank returns the same."""
    problem, optimizer, log = rounds.problem, rounds.optimizer, rounds.log
    budget = rounds.options.budget
    with interruptible(rounds.interrupt):
        if not rounds.restore():
            for trial, outcome in earlier:
                optimizer.tell(trial, outcome)
        best = optimizer.solve(  # type: ignore[attr-defined]
            rounds.evaluate, budget=budget, report=rounds.report, comm=rounds.comm
        )
        rounds.finish()
    if log is not None and best is not None:
        log.set_best(best)
    return Result(
        best=best,
        trials=(),
        rounds=rounds.rows,
        spent=replace(rounds.meter, usage=optimizer.usage),
        stop_reason=rounds.stop or ("evaluations" if budget.evaluations else "exhausted"),
        initial_value=None,
        true_value=problem.truth(best.params) if best is not None else None,
        test_value=problem.test_value(best) if best is not None else None,
        storage=rounds.place[0],
        study=rounds.place[1],
        metadata=about,
        diagnostics=optimizer.diagnostics(),
    )

"""Whole rounds: methods whose step is thousands of queries evaluate arrays, agent by agent.

Under ``mpirun`` every rank owns some agents. ``evaluate`` is local; ``report`` and
``state_dict`` are collective: every rank calls them at the same round, rank 0 writes and
decides whether to stop, and every rank hears the decision.
"""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bbopt import seeding
from bbopt.base import Optimizer, Problem
from bbopt.budget import Meter
from bbopt.errors import BBOptError
from bbopt.running import mpirun
from bbopt.running.options import Options
from bbopt.running.progress import Progress
from bbopt.running.result import Result
from bbopt.running.signals import interruptible
from bbopt.running.snapshot import Snapshots
from bbopt.running.storage import StudyLog
from bbopt.trial import Best


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
        self.rows: list[dict[str, Any]] = []
        self.stop: str | None = None
        self._calls: Counter[int] = Counter()
        self._evaluations = 0
        self._started = time.monotonic()
        self._earlier = 0.0
        self._waited = 0.0
        self._record: tuple[float, float] | None = None  # least loss and when

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
        o = self.optimizer
        rng = seeding.stream(
            o.seed, "array", worker=o.worker, number=agent, block=self._calls[agent]
        )
        self._calls[agent] += 1
        self._evaluations += len(x)
        assert self.problem.evaluate_array is not None
        start = time.monotonic()
        try:
            values = np.asarray(self.problem.evaluate_array(x, agent, rng), dtype=float)
        except Exception:  # noqa: BLE001 - the evaluation boundary: recorded, survived
            values = np.full(len(x), np.nan)
        self._waited += time.monotonic() - start
        if values.shape != (len(x),):
            values = np.full(len(x), np.nan)
        values = np.where(np.isfinite(values), values, np.nan)
        self.meter.failures += int(np.isnan(values).sum())
        return values

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

    def restore(self) -> None:
        """Load the last snapshot, if there is one; collective."""
        snapshot = self.snapshots.read() if self.snapshots is not None else None
        if self.comm is not None:
            snapshot = self.comm.bcast(snapshot, root=0)
        if snapshot is None:
            return
        self.optimizer.load_state_dict(snapshot["optimizer"])
        self._calls = Counter({int(agent): n for agent, n in snapshot["calls"].items()})
        self._evaluations = snapshot["evaluations"] if self.comm is None else 0
        self._earlier = snapshot["seconds"]
        self.rows = snapshot["rows"]

    def interrupt(self) -> None:
        """Stop at the end of the round; under ``mpirun`` rank 0's word counts."""
        self.stop = "interrupted"

    def finish(self) -> None:
        """Gather what the ranks have spent; collective."""
        total = [self._evaluations, self.meter.failures]
        if self.comm is not None:
            total = [sum(column) for column in zip(*self.comm.allgather(total), strict=True)]
        last = self.rows[-1] if self.rows else {}
        self.meter.evaluations = int(last.get("evaluations", total[0]))
        self.meter.failures = total[1]
        self._clock()
        self.meter.overhead_seconds = self.meter.seconds - self._waited

    @property
    def _is_root(self) -> bool:
        return self.comm is None or self.comm.Get_rank() == 0

    def _write(self, row: dict[str, Any]) -> None:
        self._clock()
        self.rows.append(row)
        self.meter.evaluations = int(row.get("evaluations", self._evaluations))
        if self.log is not None:
            self.log.create_round(row)
        if self.progress is not None:
            value = row.get("value", math.nan)
            self.progress.update(Best({}, value, None, self.meter.evaluations), self.meter)

    def _goal(self, row: Mapping[str, float]) -> str | None:
        o = self.options
        loss = self.problem.spec.sign * row.get("value", math.nan)
        if self._record is None or loss < self._record[0]:
            self._record = (loss, self.meter.evaluations)
        if o.target is not None and loss <= self.problem.spec.sign * o.target:
            return "target"
        if o.patience is not None and self.meter.evaluations - self._record[1] >= o.patience:
            return "patience"
        if o.max_failures is not None and self.meter.failures > o.max_failures:
            return "max_failures"
        seconds = o.budget.seconds
        return "seconds" if seconds is not None and self.meter.seconds >= seconds else None

    def _save(self) -> None:
        state = self.optimizer.state_dict()
        calls = [dict(self._calls)]
        if self.comm is not None:
            calls = self.comm.gather(calls[0], root=0)
        if self.snapshots is not None:
            merged = {str(agent): n for part in calls for agent, n in part.items()}
            self.snapshots.write(
                {
                    "optimizer": state,
                    "calls": merged,
                    "evaluations": self._evaluations,
                    "seconds": self.meter.seconds,
                    "rows": self.rows,
                }
            )

    def _clock(self) -> None:
        self.meter.seconds = self._earlier + time.monotonic() - self._started


def run_rounds(
    problem: Problem,
    optimizer: Optimizer,
    options: Options,
    about: Mapping[str, Any],
    log: StudyLog | None,
    snapshots: Snapshots | None,
    progress: Progress | None,
) -> Result:
    """Let a method ``solve`` a problem; every rank returns the result."""
    comm = mpirun.communicator() if mpirun.n_ranks() > 1 else None
    rounds = Rounds(problem, optimizer, options, log, snapshots, progress, comm)
    try:
        with interruptible(rounds.interrupt):
            rounds.restore()
            best = optimizer.solve(  # type: ignore[attr-defined]
                rounds.evaluate, budget=options.budget, report=rounds.report, comm=comm
            )
            rounds.finish()
    except Exception as error:
        if comm is None:
            raise
        print(f"bbopt: error on rank {comm.Get_rank()}: {error}", file=sys.stderr, flush=True)
        comm.Abort(1)
        raise
    if log is not None and best is not None:
        log.set_best(best)
    return Result(
        best=best,
        trials=(),
        rounds=rounds.rows,
        spent=replace(rounds.meter, usage=optimizer.usage),
        stop_reason=rounds.stop or "evaluations",
        initial_value=None,
        true_value=problem.truth(best.params) if best is not None else None,
        test_value=problem.test_value(best) if best is not None else None,
        storage=log.location if log is not None else None,
        study=log.name if log is not None else None,
        metadata=about,
    )

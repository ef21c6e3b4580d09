"""One session of a run: ask, evaluate, tell, until something ends it.

The session owns everything between ``ask`` and ``tell``. Results come from the pool's
threads through one queue, and the log is written as they arrive; everything else happens in
the thread that called ``search``.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from queue import SimpleQueue
from typing import Any

from bbopt.base import Optimizer, Problem
from bbopt.budget import Budget
from bbopt.errors import UsageError
from bbopt.running.account import Account
from bbopt.running.allowance import Allowance
from bbopt.running.blocks import Block, OpenTrial, count_blocks, cut, merge_blocks
from bbopt.running.language import Books, why_no_more, why_refused, without_refused
from bbopt.running.options import Options
from bbopt.running.pool import Answer, Pool, make_pool
from bbopt.running.progress import Progress
from bbopt.running.snapshot import Snapshots, fingerprint
from bbopt.running.storage import FOREIGN_WORKER, Key, Row, StudyLog
from bbopt.running.table import FreeRows
from bbopt.trial import NOTHING, Outcome, Trial

HARD_STOPS = ("seconds", "cost", "llm_calls", "tokens", "interrupted")
"""After these nothing more is started; after other stops, the trials asked are finished."""

SAVE_BLOCKS_AFTER = 1.0
"""Finished blocks of a trial are stored before its end once they took so many seconds."""


class Session:
    """One worker's search, from what the log holds to what ends it.

    Parameters
    ----------
    problem, optimizer : Problem, Optimizer
        Who evaluates and who proposes.
    options : Options
        How.
    log : StudyLog, optional
        Where everything is written.
    snapshots : Snapshots, optional
        Where the optimizer's state is saved now and then.
    progress : Progress, optional
        Where progress is shown.
    books : Books, optional
        What language models take.
    """

    def __init__(
        self,
        problem: Problem,
        optimizer: Optimizer,
        options: Options,
        *,
        log: StudyLog | None = None,
        snapshots: Snapshots | None = None,
        progress: Progress | None = None,
        books: Books | None = None,
    ) -> None:
        self.problem, self.optimizer, self.options = problem, optimizer, options
        self.spec = problem.spec
        self._key = self.spec.space.key
        self.log, self.snapshots, self.progress = log, snapshots, progress
        self.books = Books(None) if books is None else books
        self.account = Account(self.spec, options)
        self.stop: str | None = None
        self.open: dict[int, OpenTrial] = {}
        self.ready: list[OpenTrial] = []  # finished and not told, in order of arrival
        self.known: set[Key] = set()
        self.confirming: list[Row] = []  # the log's confirming trials that were not told
        self.n_asks = 0
        self.fingerprint = 0  # of all that was asked and told, in order
        self.told_since_ask: list[Key] = []
        self._is_refused = False  # a language model's call, for want of budget
        optimizer.evaluations_ask |= problem.needs_llm
        self.allowance = Allowance(problem, optimizer, options, self.account, self.books)
        self._free_rows: FreeRows | None = None
        if self.spec.candidates is not None and not optimizer.uses_candidates:
            self._free_rows = FreeRows(self.spec.candidates, self.spec.space)
        self._pool: Pool
        self._running = 0
        self._is_closed = False
        self._has_told = True  # something since the last ask
        self._workers = {optimizer.worker}
        self._left_at_look = 0.0
        self._started_since_look = 0
        self._arrived: SimpleQueue[Any] = SimpleQueue()
        self._lock = threading.Lock()

    def __enter__(self) -> Session:
        o = self.options
        self._pool = make_pool(
            self.problem,
            jobs=min(o.jobs, o.budget.evaluations or o.jobs),  # more would have nothing to do
            executor=o.executor,
            timeout=o.evaluation_timeout,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._lock:  # what is dropped is no failure: it will be evaluated again
            self._is_closed = True
        self._pool.close(kill=kind is not None)
        if self.books.client is not None:
            self.books.client.hang_up(())

    def search(self) -> None:
        """Ask, evaluate and tell until something ends the run; sets ``stop``."""
        self._allow_models()  # asks that were repeated have allowed what was left then
        while True:
            self._fill()
            self._launch()
            trial = self._next_ready()
            if trial is not None:
                self.tell(trial)
            elif self._running:
                self._collect()
            else:
                break
        self._settle_partial()

    def evaluate(self, trials: Sequence[OpenTrial]) -> None:
        """Evaluate trials of the run's own making and tell them in order, unless stopped."""
        for trial in trials:
            self.admit(trial)
        self._launch()
        while self._running:
            self._collect()
            self._launch()
        for trial in trials:
            if trial.outcome is not None:
                self.tell(trial)
        self._settle_partial()
        for trial in trials:
            self.drop(trial)

    def interrupt(self) -> None:
        """Start nothing more; what runs is finished, told and stored."""
        self.stop = "interrupted"
        if self.books.client is not None:  # an ask that is under way
            self.books.client.hang_up(self.optimizer.llm_roles)

    def start_confirming(self) -> None:
        """Give what was held back free."""
        self.allowance.is_confirming, self._is_refused = True, False
        for opened in list(self.open.values()):  # what there was no budget to evaluate
            self.drop(opened)
        self._allow_models()

    def _allow_models(self) -> None:
        if self.books.client is not None:
            self.books.client.ledger.allow(self.allowance.left())

    # --- ask --------------------------------------------------------------------------

    def _fill(self) -> None:
        """Ask for as many trials as may be open, if the run goes on."""
        if self.stop is not None:
            return
        if self.options.in_flight is None:
            if self.ready or self._n_wanted() < 1:  # what is ready is told first
                return
        elif not self._has_told:  # asks come after tells alone: blocks arrive in any order
            return
        self._tell_news()
        if self.stop is not None:
            return
        left = self.allowance.left()
        spent = self.allowance.spent_axis(left)
        if spent is not None:
            if spent in HARD_STOPS or not self.open:
                self.stop = self.stop or spent
            return
        self.allowance.check_that_it_ends(left)
        n = self._n_wanted()
        if left.evaluations is not None:
            n = min(n, left.evaluations)
        if n < 1:
            return
        asked = self.optimizer.ask(n, left)
        self._has_told = False
        if asked:
            self.admit_ask(asked, n, left)
        elif not self.open:
            self.stop = self.stop or why_no_more(self.optimizer, self.allowance.left())

    def _n_wanted(self) -> int:
        if self.options.in_flight is not None:
            return self.options.in_flight - len(self.open)
        size = self.problem.block
        waiting = sum(count_blocks(o.trial, size) - o.next_block for o in self.open.values())
        return self._pool.capacity - self._running - waiting

    def admit_ask(
        self, asked: Sequence[Trial], n: int, left: Budget, rows: Mapping[int, Row] | None = None
    ) -> None:
        """Open the trials of one ask; ``rows`` are those of it that the log already has."""
        rows = rows or {}
        room = left.evaluations
        place: dict[str, Any] = {"ask": self.n_asks, "n": n, "left": left.to_json()}
        place["told"] = self.begin_ask()
        for position, trial in enumerate(asked):
            if position in rows:
                opened = self.admit_logged(rows[position], trial)
            elif room is not None and room < 1:
                self.optimizer.tell(trial, NOTHING)
                continue
            else:
                evaluated = self._evaluated(trial, room)
                if evaluated is None:
                    if "told" in place:  # nothing of this ask is in the log
                        self.n_asks, self.told_since_ask = self.n_asks - 1, place["told"]
                    return
                opened = OpenTrial(evaluated, trial)
                if self.log is not None:
                    moved = None if evaluated.params is trial.params else trial.params
                    there = {**place, "position": position}
                    opened.row = self.log.create(evaluated, place=there, asked=moved)
                    place.pop("told", None)
                self.admit(opened)
            if room is not None:
                room -= opened.trial.repeats
        # only here: whatever is told later, replay goes on from a snapshot as from the log
        if not rows and self.snapshots is not None and self.snapshots.is_due:
            self.snapshots.write(self.snapshot())

    def begin_ask(self) -> list[Key]:
        """Count an ask that gave trials; what was told since the one before it."""
        told, self.told_since_ask = self.told_since_ask, []
        self.n_asks += 1
        self._has_told = False
        return told

    def admit(self, opened: OpenTrial) -> None:
        """Count a trial as open."""
        self.open[opened.number] = opened
        self.allowance.open_evaluations += opened.trial.repeats
        self._started_since_look += opened.trial.repeats
        self.account.opened(opened.trial.params)
        self.fingerprint = fingerprint(self.fingerprint, opened.number, opened.trial.params)
        if opened.outcome is None and self._has_all_blocks(opened):  # saved before a kill
            self.complete(opened)

    def admit_logged(self, row: Row, asked: Trial | None) -> OpenTrial:
        """Open a trial that the log has."""
        opened = OpenTrial(row.trial, asked, row.id, row.partial, outcome=row.outcome)
        if self._free_rows is not None:
            self._free_rows.take(row.trial.params)
        self.admit(opened)
        return opened

    def _evaluated(self, trial: Trial, room: int | None) -> Trial | None:
        """The trial as it can be evaluated; None, with the reason in ``stop``, if it can't."""
        if self._free_rows is not None:
            params = self._free_rows.take_nearest(trial.params)
            if params is None:
                self.stop = "exhausted"
                return None
            if self._key(params) != self._key(trial.params):
                trial = replace(trial, params=params)
        limit = self.allowance.search.switches
        is_over = limit is not None and self.account.meter.switches >= limit
        if is_over and self.account.is_switch(trial.params):
            self.stop = "switches"
            return None
        return trial.slice(0, room) if room is not None and trial.repeats > room else trial

    # --- evaluate ---------------------------------------------------------------------

    def _launch(self) -> None:
        """Give the pool as many blocks as it has room for, lowest trial number first."""
        if self._running >= self._pool.capacity:
            return
        for number in sorted(self.open):
            opened = self.open[number]
            n_blocks = count_blocks(opened.trial, self.problem.block)
            while opened.outcome is None and opened.next_block < n_blocks:
                if self._running >= self._pool.capacity or self.is_hard_stopped():
                    return
                index, opened.next_block = opened.next_block, opened.next_block + 1
                if index not in opened.blocks:
                    self._submit(opened, index, self.options.retries)

    def is_hard_stopped(self) -> bool:
        """Whether nothing may be started any more."""
        if self._is_refused or self.stop in ("seconds", "interrupted"):
            return True
        if self.stop in HARD_STOPS and not self.allowance.is_confirming:
            return True
        if set(self.allowance.search.to_json()) <= {"evaluations", "switches"}:
            return False
        self.account.clock()
        meter = replace(self.account.meter)
        with self._lock:
            for opened in self.open.values():
                meter.cost += opened.spent.cost
                meter.usage += opened.spent.usage
        spent = self.allowance.spent_axis(replace(self.allowance.left(meter), evaluations=None))
        self.stop = self.stop or spent
        return spent is not None

    def _submit(self, opened: OpenTrial, index: int, retries: int) -> None:
        trial = cut(opened.trial, self.problem.block, index)
        block = Block(trial, index, self.optimizer.seed, self.optimizer.worker)
        self._running += 1
        self._pool.submit(block, lambda outcome: self._arrive(opened, index, retries, outcome))

    def _arrive(self, opened: OpenTrial, index: int, retries: int, answer: Answer) -> None:
        """Take a block's outcome, in whichever thread it comes, and store what is complete."""
        try:
            if isinstance(answer, UsageError):
                raise answer
            refused = why_refused(answer)
            if refused is None and retries and answer.is_failure and answer.error is not None:
                self._arrived.put((opened, index, retries - 1, False))
                return
            with self._lock:
                if self._is_closed:
                    return
                if refused is not None:  # it is to be evaluated when there is budget for it
                    self._is_refused, self.stop = True, self.stop or refused
                    answer = without_refused(answer)
                if answer.evaluations:
                    opened.keep(index, answer)
                is_complete = self._has_all_blocks(opened)
                if is_complete:
                    self.complete(opened)
                elif time.monotonic() - opened.saved_at > SAVE_BLOCKS_AFTER:
                    self._save_blocks(opened)
            self._arrived.put((opened, index, None, is_complete))
        except BaseException as error:  # noqa: BLE001 - raised again where the session waits
            self._arrived.put(error)

    def _has_all_blocks(self, opened: OpenTrial) -> bool:
        return len(opened.blocks) == count_blocks(opened.trial, self.problem.block)

    def complete(self, opened: OpenTrial) -> None:
        """Merge the blocks of a trial and store what came of it."""
        opened.outcome = merge_blocks(opened.trial, self.problem.block, opened.blocks)
        if self.log is not None and opened.row is not None:
            seconds, overhead = self.account.clock()
            self.log.finish(opened.row, opened.outcome, seconds=seconds, overhead=overhead)

    def _save_blocks(self, opened: OpenTrial) -> None:
        if self.log is not None and opened.row is not None:
            opened.saved_at = time.monotonic()
            self.log.save_blocks(opened.row, opened.blocks)

    def _collect(self) -> None:
        """Wait for one block; a trial that it completes becomes ready."""
        start = time.monotonic()
        event = self._arrived.get()
        self.account.waited += time.monotonic() - start + self._pool.take_busy_seconds()
        if isinstance(event, BaseException):
            raise event
        opened, index, retries, is_complete = event
        self._running -= 1
        if retries is not None and not self.is_hard_stopped():
            self._submit(opened, index, retries)
        if is_complete:
            self.ready.append(opened)

    # --- tell -------------------------------------------------------------------------

    def _next_ready(self) -> OpenTrial | None:
        """What to tell next: by number where ``in_flight`` is set, else as it came."""
        if not self.ready:
            return None
        if self.options.in_flight is None:
            return self.ready[0]
        lowest = self.open[min(self.open)]
        return lowest if lowest in self.ready else None

    def tell(self, opened: OpenTrial) -> None:
        """Tell the optimizer a finished trial."""
        assert opened.outcome is not None
        self.drop(opened)
        if opened in self.ready:
            self.ready.remove(opened)
        key = (self.optimizer.worker, opened.number)
        self.tell_outcome(key, opened.trial, opened.outcome, opened.asked)
        self._after_tell(opened.trial, opened.outcome)

    def tell_outcome(
        self,
        key: Key,
        trial: Trial,
        outcome: Outcome,
        asked: Trial | None = None,
        *,
        is_known: bool = False,
    ) -> None:
        """Tell the optimizer, unless it knows from a snapshot, and account for it."""
        if not is_known:
            params = trial.params
            if asked is not None and self._key(params) == self._key(asked.params):
                params = asked.params
            number = None if asked is None else asked.number
            self.optimizer.tell(Trial(number, params, trial.repeats, trial.context), outcome)
        if self._free_rows is not None and key[0] != self.optimizer.worker:
            self._free_rows.take(trial.params)
        self._has_told = True
        self.known.add(key)
        if key[0] != FOREIGN_WORKER:
            self._workers.add(key[0])
        self.told_since_ask.append(key)
        self.fingerprint = fingerprint(self.fingerprint, key, outcome.mean)
        self.account.told(key[0], trial, outcome, counts=key[0] != FOREIGN_WORKER)
        self.stop = self.stop or self.account.goal()

    def _after_tell(self, trial: Trial, outcome: Outcome) -> None:
        best = self.account.best
        for callback in self.options.callbacks:
            if callback(trial, outcome, best) is True:
                self.stop = self.stop or "callback"
        if self.progress is not None:
            self.progress.update(best, self.account.meter)

    def snapshot(self) -> dict[str, Any]:
        """The optimizer's state after an ask, and its place in the log."""
        return {
            "n_asks": self.n_asks,
            "fingerprint": self.fingerprint,
            "optimizer": self.optimizer.state_dict(),
        }

    def drop(self, opened: OpenTrial) -> None:
        """Count a trial as open no longer."""
        if self.open.pop(opened.number, None) is not None:
            self.allowance.open_evaluations -= opened.trial.repeats

    def _settle_partial(self) -> None:
        """Tell trials of which a hard stop let only some blocks be evaluated.

        After Ctrl-C these blocks are stored instead: the run may go on as if nothing was.
        """
        for number in sorted(self.open):
            opened = self.open[number]
            if self.stop == "interrupted":
                if opened.blocks and opened.outcome is None:
                    self._save_blocks(opened)
                continue
            if opened.blocks and opened.outcome is None:
                self.complete(opened)
            if opened.outcome is not None:
                self.tell(opened)

    def _tell_news(self) -> None:
        """Tell what other workers and tools have finished.

        Several workers look at every ask, so that they do not spend the same evaluations; one
        looks now and then, and whenever half of what was left is spent, whether it is alone.
        """
        if self.log is None:
            return
        is_early = 2 * self._started_since_look < self._left_at_look
        if len(self._workers) == 1 and is_early and not self.log.is_look_due:
            return
        for row in self.log.news():
            self.tell_row(row)
        left = self.allowance.left().evaluations
        self._left_at_look, self._started_since_look = math.inf if left is None else left, 0

    def tell_stale_confirmation(self) -> None:
        """Tell what an earlier session confirmed: it is not how this one ends."""
        for row in self.confirming:
            self.tell_row(row)
        self.confirming = []

    def tell_row(self, row: Row, *, is_known: bool = False) -> None:
        """Tell a finished row of the log that the optimizer did not ask for."""
        if row.outcome is None or row.key in self.known:
            return
        if row.key[0] == self.optimizer.worker:  # one that confirmed
            self.account.opened(row.trial.params)
        self.tell_outcome(row.key, row.trial, row.outcome, is_known=is_known)

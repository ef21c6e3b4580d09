"""Replay: the log is the truth, a snapshot only shortens its way back into an optimizer.

The asks of a worker are repeated in their order, each after the tells that its row lists.
Trials that were finished and not told when the worker died are told next, as they would have
been; those that were not finished are evaluated again, under their number, so with the same
draws. A run with one job or an integer ``in_flight`` thus ends as if it had not been killed.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bbopt.budget import Budget
from bbopt.errors import UsageError
from bbopt.running.session import Session
from bbopt.running.snapshot import fingerprint
from bbopt.running.storage import Key, Row
from bbopt.trial import NOTHING, Trial

logger = logging.getLogger("bbopt.replay")


@dataclass(frozen=True)
class LoggedAsk:
    """One ask of the log: its arguments, what was told before it, and the trials it gave."""

    n: int
    left: Budget
    told: tuple[Key, ...]
    rows: Mapping[int, Row]


def restore(session: Session, rows: Sequence[Row]) -> None:
    """Bring a fresh session to where the log ends."""
    assert session.log is not None
    worker = session.optimizer.worker
    own = [row for row in rows if row.key[0] == worker]
    if not own:
        return
    session.account.resume_clock(max(row.seconds for row in own), max(row.overhead for row in own))
    by_key = {row.key: row for row in rows}
    asks = _asks(own)
    n_known = _load_snapshot(session, asks, by_key)
    diverged = False
    for index, ask in enumerate(asks):
        for key in ask.told:
            _tell_again(session, by_key.get(key), is_known=index < n_known)
        if diverged or index < n_known:
            trials = None
        else:
            trials = _ask_again(session, ask)
            diverged = trials is None
        if trials is None:
            _open_logged(session, ask, as_foreign=diverged)
        else:
            session.admit_ask(trials, ask.n, ask.left, ask.rows)
    _restore_confirmation(session, own, by_key)
    taken = 1 + max(_number(row) for row in own)
    session.optimizer.next_number = max(session.optimizer.next_number, taken)
    # finished and not told: told next, in the order of their rows
    session.ready = [opened for opened in session.open.values() if opened.outcome is not None]


def _restore_confirmation(session: Session, own: Sequence[Row], by_key: Mapping[Key, Row]) -> None:
    """Where the log has confirming trials for the goals of this session, its search is over.

    Those of other goals are how an earlier session ended; to this one they are news.
    """
    for row in own:
        if "confirm" not in row.trial.context or row.key in session.known:
            continue
        if row.place["goals"] == session.allowance.goals() and row.place["stop"] != "callback":
            session.confirming.append(row)
    if session.confirming:
        place = session.confirming[0].place
        session.stop = session.stop or place["stop"]
        for worker, number in place["told"]:
            _tell_again(session, by_key.get((worker, number)), is_known=False)
    for row in own:
        if "confirm" in row.trial.context and row not in session.confirming:
            session.tell_row(row)


def _asks(own: Sequence[Row]) -> list[LoggedAsk]:
    grouped: dict[int, dict[int, Row]] = {}
    for row in own:
        if "ask" in row.place:
            grouped.setdefault(row.place["ask"], {})[row.place["position"]] = row
    asks = []
    for _, rows in sorted(grouped.items()):
        first = rows[min(rows)].place
        told = tuple((worker, number) for worker, number in first.get("told", ()))
        asks.append(LoggedAsk(first["n"], Budget(**first["left"]), told, rows))
    return asks


def _load_snapshot(session: Session, asks: Sequence[LoggedAsk], by_key: Mapping[Key, Row]) -> int:
    """Load the snapshot, if there is one of this log; how many asks it knows."""
    if session.snapshots is None:
        return 0
    snapshot = session.snapshots.read()
    if snapshot is None:
        return 0
    if not _is_of_this_log(snapshot, asks, by_key):
        logger.warning("snapshot %s is not of this log: replaying", session.snapshots.path)
        return 0
    try:
        session.optimizer.load_state_dict(snapshot["optimizer"])
    except UsageError as error:
        logger.warning("snapshot %s: %s: replaying", session.snapshots.path, error)
        return 0
    return int(snapshot["n_asks"])


def _is_of_this_log(
    snapshot: Mapping[str, Any], asks: Sequence[LoggedAsk], by_key: Mapping[Key, Row]
) -> bool:
    """Whether the log has the asks that a snapshot knows, and what was told before them."""
    n_asks: int = snapshot["n_asks"]
    link = 0
    for ask in asks[:n_asks]:
        for key in ask.told:
            row = by_key.get(key)
            if row is None or row.outcome is None:
                return False
            link = fingerprint(link, key, row.outcome.mean)
        for _, row in sorted(ask.rows.items()):
            link = fingerprint(link, _number(row), row.trial.params)
    return n_asks <= len(asks) and link == int(snapshot["fingerprint"])


def _ask_again(session: Session, ask: LoggedAsk) -> list[Trial] | None:
    """Repeat an ask; None, with a warning, where it gives other trials than the log has."""
    optimizer, key = session.optimizer, session.spec.space.key
    optimizer.next_number = min(_number(row) - position for position, row in ask.rows.items())
    trials = optimizer.ask(ask.n, ask.left)
    for position, row in ask.rows.items():
        asked = row.asked if row.asked is not None else row.trial.params
        if position >= len(trials) or key(trials[position].params) != key(asked):
            logger.warning(
                "trial %d: the repeated ask gave other params than the log has; "
                "the rest of the log is told as foreign trials",
                _number(row),
            )
            for trial in trials:
                optimizer.tell(trial, NOTHING)
            return None
    return trials


def _open_logged(session: Session, ask: LoggedAsk, *, as_foreign: bool) -> None:
    """Open the trials of an ask that is not repeated."""
    pending = {trial.number: trial for trial in session.optimizer.pending}
    session.begin_ask()
    for _, row in sorted(ask.rows.items()):
        asked = None if as_foreign else pending.get(_number(row), _as_asked(row))
        session.admit_logged(row, asked)


def _as_asked(row: Row) -> Trial:
    params = row.asked if row.asked is not None else row.trial.params
    return Trial(row.trial.number, params, row.trial.repeats, row.trial.context)


def _tell_again(session: Session, row: Row | None, *, is_known: bool) -> None:
    if row is None or row.outcome is None:
        return
    opened = session.open.get(row.key[1]) if row.key[0] == session.optimizer.worker else None
    if opened is None:
        session.tell_row(row, is_known=is_known)
    else:
        session.drop(opened)
        session.tell_outcome(row.key, row.trial, row.outcome, opened.asked, is_known=is_known)


def _number(row: Row) -> int:
    assert row.trial.number is not None
    return row.trial.number

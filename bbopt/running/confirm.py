"""Confirmation: the evaluations held back re-evaluate the best few, so that the value is honest.

The best few candidates of a search over noisy values look better than they are. Half of the
evaluations held back compare the best few on fresh draws; the other half then estimate the
winner alone, so that its value is not the luckiest of several. With fewer than eight
evaluations, all go to the first candidate.
"""

from __future__ import annotations

import math
from dataclasses import replace

from bbopt import seeding
from bbopt.running.blocks import OpenTrial
from bbopt.running.session import Session
from bbopt.space import Params
from bbopt.trial import Best, Outcome, Trial

MAX_CANDIDATES = 4


def confirm(session: Session) -> Best | None:
    """Spend the evaluations held back; the winner by fresh values alone, or None.

    None where nothing is held back, nothing was found, or the run was stopped hard. A stored
    run whose language model is down, or whose proposer is broken, is to go on when that is
    mended: it keeps them for then.
    """
    session.start_confirming()
    n = min(session.allowance.n_confirm, _room(session))
    is_paused = session.stop in ("llm", "proposer") and session.log is not None
    if n < 1 or is_paused or session.is_hard_stopped():
        return None
    candidates = _candidates(session, min(MAX_CANDIDATES, n // 4))
    if not candidates:
        return None
    if len(candidates) > 1:
        each = n // 2 // len(candidates)
        outcomes = _evaluate(session, candidates, each)
        if outcomes is None:
            return None
        sign = session.spec.sign
        losses = [sign * o.mean if o.count and o.feasible else math.inf for o in outcomes]
        candidates = [candidates[losses.index(min(losses))]]
        n -= each * len(outcomes)
    final = _evaluate(session, candidates, n)
    if final is None or not final[0].count or not final[0].feasible:
        return None
    outcome = final[0]
    stderr = None
    if outcome.count > 1:
        stderr = math.sqrt(outcome.m2 / (outcome.count - 1) / outcome.count)
    return Best(candidates[0], outcome.mean, stderr, outcome.count)


def _candidates(session: Session, k: int) -> list[Params]:
    """The method's own choice, then the best by pooled observations; all different."""
    best = session.optimizer.best
    top = ([] if best is None else [best]) + session.account.archive.top(k + 1)
    chosen = list({session.spec.space.key(one.params): one.params for one in top}.values())
    limit = session.options.budget.switches
    if chosen and limit is not None:  # each change of candidate is a switch, the last one too
        rest = limit - session.account.meter.switches - session.account.is_switch(chosen[0])
        if rest < 0:
            return []
        k = min(k, rest)
    return chosen[: max(k, 1)]


def _evaluate(session: Session, candidates: list[Params], repeats: int) -> list[Outcome] | None:
    """Evaluate each candidate; those that the log has already are not evaluated again."""
    key = session.spec.space.key
    for row, params in zip(session.confirming, candidates, strict=False):
        if key(row.trial.params) != key(params) or row.trial.repeats != repeats:
            session.tell_stale_confirmation()  # other workers' results have changed the choice
            break
    if not session.confirming:
        repeats = min(repeats, _room(session) // len(candidates))
        if repeats < 1:
            return None
    opened = [_open(session, params, repeats) for params in candidates]
    session.evaluate(opened)
    outcomes = [trial.outcome for trial in opened if trial.outcome is not None]
    return outcomes if len(outcomes) == len(opened) else None


def _open(session: Session, params: Params, repeats: int) -> OpenTrial:
    if session.confirming:
        row = session.confirming.pop(0)
        return OpenTrial(row.trial, None, row.id, row.partial, outcome=row.outcome)
    number = session.optimizer.next_number
    session.optimizer.next_number += 1
    trial = Trial(number, params, repeats, {"confirm": True})
    if session.spec.examples is not None:
        ids = session.spec.examples.validation or session.spec.examples.train
        rng = seeding.stream(
            session.optimizer.seed, "confirm", worker=session.optimizer.worker, number=number
        )
        drawn = [ids[i] for _ in range(-(-repeats // len(ids))) for i in rng.permutation(len(ids))]
        trial = replace(trial, context={**trial.context, "examples": tuple(drawn[:repeats])})
    opened = OpenTrial(trial, None)
    if session.log is not None:
        told = list(session.told_since_ask)  # what the choice of candidates rests on
        place = {"goals": session.allowance.goals(), "stop": session.stop, "told": told}
        opened.row = session.log.create(trial, place=place)
    return opened


def _room(session: Session) -> int:
    """How many evaluations the budget still has; other workers may have used it up."""
    limit = session.options.budget.evaluations
    rooms = [0 if limit is None else limit - session.account.meter.evaluations]
    left = session.allowance.left()
    for axis, each in session.account.each().items():
        rest = getattr(left, axis)
        if rest is not None and each > 0:
            rooms.append(int(rest / each * (1 + 1e-9)))
    return min(rooms)

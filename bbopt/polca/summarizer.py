"""The rolling summary of the whole memory, which every proposal of a round is shown.

With a language model: the previous summary and a few candidates that it has not seen yet are
merged into one text (arXiv 2603.14769; its authors read the memory anew, or roll, from version
to version: we roll, which keeps the prompt short). Without one: the distinct feedback, newest
first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bbopt.polca.memory import Memory, Rollout
from bbopt.polca.prompts import SUMMARY_SCHEMA, shown, summarizer_messages
from bbopt.polca.proposer import Seen
from bbopt.spec import Spec
from bbopt.trial import Usage

N_CANDIDATES = 5
"""Candidates that a summary takes up at once."""
MAX_CHARS = 4000
"""Longest summary; a longer one is cut."""
MAX_TOKENS = 1024


def unread(memory: Memory, start: int) -> list[int]:
    """The at most five newest candidates with values among ``start``, ``start + 1``, ..."""
    return [c for c in range(start, len(memory)) if memory.rollouts[c]][-N_CANDIDATES:]


def read_up_to(memory: Memory, start: int) -> int:
    """Where to go on reading: the first candidate from ``start`` that is yet to be evaluated."""
    told = memory.count[start:] + memory.failed[start:] > 0
    return len(memory) if told.all() else start + int(told.argmin())


def summarize(
    spec: Spec, llm: Any, memory: Memory, candidates: Sequence[int], previous: str, **call: int
) -> tuple[str, Usage, str | None]:
    """A summary that takes up these candidates; the previous one, and why, where the model fails.

    Parameters
    ----------
    spec, llm, memory
        Of the search.
    candidates : sequence of int
        Whose rollouts are new.
    previous : str
        The summary so far.
    **call
        ``draw`` and ``seed`` of the request.
    """
    trajectories = [
        {"values": shown(memory.params[c]), **_seen(spec, rollout).fields()}
        for c in candidates
        for rollout in _extremes(memory.rollouts[c])
    ]
    reply = llm.complete(
        summarizer_messages(spec, previous, trajectories),
        role="summarizer",
        schema=SUMMARY_SCHEMA,
        max_tokens=MAX_TOKENS,
        **call,
    )
    text = "" if reply.error is not None else reply.data["summary"].strip()
    return (text[:MAX_CHARS].rstrip() or previous), reply.usage, reply.error


def digest(memory: Memory, candidates: Sequence[int], previous: str) -> str:
    """The distinct feedback lines of these candidates and of the previous digest, newest first."""
    lines: dict[str, None] = {}
    for c in reversed(candidates):
        for rollout in reversed(memory.rollouts[c]):
            said = rollout.feedback
            text = said if isinstance(said, str) else said.get("feedback", "")
            lines |= dict.fromkeys(line.strip() for line in text.splitlines() if line.strip())
    lines |= dict.fromkeys(previous.splitlines())
    kept, room = [], MAX_CHARS
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    return "\n".join(kept)


def _extremes(rollouts: Sequence[Rollout]) -> list[Rollout]:
    """The worst and the best of them."""
    order = sorted(rollouts, key=lambda rollout: rollout.loss)
    return [order[0]] if len(order) == 1 else [order[0], order[-1]]


def _seen(spec: Spec, rollout: Rollout) -> Seen:
    return Seen(rollout.example, spec.sign * rollout.loss, rollout.feedback)

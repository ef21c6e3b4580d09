"""The settings of ``polca``, and what they are where they are left out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bbopt.settings import setting

MINIBATCH = (2, 32)
"""Fewest and most evaluations in a minibatch whose size is left to the budget."""

VARIANTS: dict[str, dict[str, Any]] = {
    "bbopt": {
        "n_parents": 1,
        "minibatch": None,
        "epsilon": 0.03,
        "ucb_scale": 1.0,
        "prior": 2.0,
        "evaluate_again": False,
        "reserve": False,
        "summarize_after": 5,
        "confirm": 0.1,
    },
    "paper": {
        "n_parents": 5,
        "minibatch": 2,
        "epsilon": 0.1,
        "ucb_scale": 0.0,
        "prior": 0.0,
        "evaluate_again": False,
        "reserve": False,
        "summarize_after": 1,
        "confirm": 0.0,
    },
}
"""What the settings that are None stand for; ``confirm`` is the share of a run's evaluations.

Chosen on the four problems of ``problems/text``, at equal evaluations and at equal calls of the
proposer (``benchmarks/generative.py``): one parent a round by a confidence bound instead of five
by their means, whose luck locks good candidates out; its estimate leaning on its own parent's;
a filter that refuses only what is nearly the same, as a wide one refuses improvements of one
word too; a summary every five candidates, which leaves the calls to proposals.
"""

EXACT: dict[str, Any] = {"prior": 0.0}
"""What is different where evaluations are deterministic: values are exact as they are."""


def _by_variant(name: str, meaning: str, **limits: Any) -> Any:
    """A setting that the variant decides where it is None."""
    ours, paper = (VARIANTS[variant][name] for variant in ("bbopt", "paper"))
    if ours is None:
        ours = "{} to {}".format(*MINIBATCH)
    both = f"{ours}" if ours == paper else f"{ours} (paper: {paper})"
    return setting(None, meaning, stands_for=both, **limits)


@dataclass(frozen=True)
class PolcaSettings:
    """Settings of ``polca``; None is what the variant has (:data:`VARIANTS`)."""

    variant: str = setting(
        "bbopt", "what the settings left out stand for", choices=("bbopt", "paper")
    )
    n_parents: int | None = _by_variant(
        "n_parents", "k: candidates proposed from in a round", low=1
    )
    minibatch: int | None = _by_variant(
        "minibatch",
        "m: evaluations of a candidate in a round; by default 2, up to 32 where language-model "
        "calls are scarcer than evaluations",
        low=1,
    )
    n_proposals: int = setting(1, "p: proposals from a parent and minibatch", low=1)
    epsilon: float | None = _by_variant(
        "epsilon", "ε: proposals within that distance of a known candidate are refused", low=0.0
    )
    distance: str | Callable[..., Any] = setting(  # noqa: RUF009
        "ngrams",
        "'ngrams' (of unit hashed n-grams, in [0, 1.42]), or a callable (params, params) -> "
        "(n, m), such as bbopt.polca.Embedding(embed)",
    )
    selection: str | Callable[..., Any] = setting(  # noqa: RUF009
        "priority",
        "how parents are chosen: 'priority', 'pareto' (best at some example), or a callable "
        "(memory, k, free, rng) -> candidates",
    )
    ucb_scale: float | None = _by_variant(
        "ucb_scale",
        "c: width of the confidence bound, in sds of one evaluation; 0: the mean",
        low=0.0,
    )
    prior: float | None = _by_variant(
        "prior",
        "w: evaluations with its parent's mean that count beside a candidate's own",
        low=0.0,
    )
    evaluate_again: bool | None = _by_variant(
        "evaluate_again", "evaluate the candidate that a refused proposal was close to, one a round"
    )
    reserve: bool | None = _by_variant(
        "reserve", "keep the last of the k places for the candidate evaluated least"
    )
    summary: bool = setting(True, "show every proposer a summary of all that was seen")
    summarize_after: int | None = _by_variant(
        "summarize_after",
        "candidates not read yet after which the summary is written anew",
        low=1,
        high=5,
    )

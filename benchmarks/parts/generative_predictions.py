"""What was predicted of POLCA's parts before the runs, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bbopt.bench.statistics import Estimate
from parts.generative_results import Place, Results, signed

LEAST = 0.1
"""A difference that was predicted to be large is at least that."""


def predictions(main: Results, parts: Results) -> Iterator[str]:
    """Lines of a table: the prediction, the paired difference it is about, the verdict.

    Parameters
    ----------
    main : Results
        Of the suite ``generative``.
    parts : Results
        Of the suite ``generative_parts``.
    """
    yield "| prediction | budget | difference of true values | verdict |"
    yield "|---|---|---|---|"
    for place in main.places:
        lead = _lead(main, "staircase, exact", place, "polca", "random-restarts")
        text = "exact values: POLCA no better than a chain of best-so-far, one evaluation each"
        yield from _line(text, place, lead, lambda lead: lead.low <= 0)
    for place in main.places:
        lead = _lead(main, "paraphrase", place, "polca", "polca, no filter")
        text = f"mostly rewordings: the filter gains at least {LEAST}"
        yield from _line(text, place, lead, lambda lead: lead.mean >= LEAST)
    for place in main.places:
        lead = _lead(main, "paraphrase, adversarial", place, "polca", "polca, no filter")
        text = "one word decides: the filter does harm"
        yield from _line(text, place, lead, lambda lead: lead.high < 0)
    for place in parts.places:
        yield from _summary(main, parts, place)
        yield from _bound(parts, place)


def _summary(main: Results, parts: Results, place: Place) -> Iterator[str]:
    pair = "polca", "polca, no summary"
    clean = _lead(parts, "hints, no decoys", place, *pair)
    text = f"scattered facts, all true: the summary gains at least {LEAST}"
    yield from _line(text, place, clean, lambda lead: lead.mean >= LEAST)
    if clean is not None:
        text = "some of the facts wrong: it gains less than that"
        muddled = _lead(main, "hints", place, *pair)
        yield from _line(text, place, muddled, lambda lead: lead.mean < clean.mean)


def _bound(parts: Results, place: Place) -> Iterator[str]:
    few, many = (
        _lead(parts, "staircase", place, f"paper, bound, m = {m}", f"paper, mean, m = {m}")
        for m in (2, 10)
    )
    text = "priority of the paper's variant: a confidence bound beats the mean at m = 2"
    yield from _line(text, place, few, lambda lead: lead.low > 0)
    if few is not None:
        text = "at m = 10 it does so by less"
        yield from _line(text, place, many, lambda lead: lead.mean < few.mean)


def _lead(found: Results, problem: str, place: Place, first: str, second: str) -> Estimate | None:
    return found.lead(problem, (place, first), (place, second))


def _line(
    text: str, place: Place, lead: Estimate | None, holds: Callable[[Estimate], bool]
) -> Iterator[str]:
    if lead is None:
        return
    verdict = "open: a single seed"
    if lead.n > 1:
        verdict = "holds" if holds(lead) else "**does not hold**"
    yield f"| {text} | {place} | {signed(lead)} | {verdict} |"

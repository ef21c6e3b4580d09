"""The progress line, and what it says is spent."""

from __future__ import annotations

import io

import pytest

from bbopt import Best, Budget
from bbopt.budget import Meter
from bbopt.running.progress import Progress, share_spent
from bbopt.trial import Usage


@pytest.mark.parametrize(
    ("budget", "meter", "share"),
    [
        (Budget(evaluations=10), Meter(evaluations=4), 0.4),
        (Budget(evaluations=10, seconds=100), Meter(evaluations=4, seconds=90), 0.9),
        (Budget(switches=0, evaluations=4), Meter(evaluations=1), 0.25),
        (Budget(cost=10), Meter(cost=2, usage=Usage(cost=3)), 0.5),
        (Budget(llm_calls=4, tokens=100), Meter(usage=Usage(llm_calls=1, tokens=80)), 0.8),
        (Budget(seconds=10), Meter(seconds=30), 1.0),
        (Budget(switches=0), Meter(), 0.0),
    ],
)
def test_the_bar_shows_the_axis_nearest_its_end(budget: Budget, meter: Meter, share: float) -> None:
    assert share_spent(meter, budget) == pytest.approx(share)


def test_nothing_is_shown_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("random on branin", Budget(evaluations=4)) as progress:
        progress.update(None, Meter())
        progress.update(Best({}, 0.5, 0.1, 3), Meter(evaluations=3, failures=1))
    assert capsys.readouterr() == ("", "")


def test_a_terminal_shows_best_spend_and_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(screen, "isatty", lambda: True)
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    with Progress("random on branin", Budget(evaluations=40)) as progress:
        meter = Meter(evaluations=3, failures=1, usage=Usage(llm_calls=5, tokens=9, cost=0.25))
        progress.update(Best({}, 0.123456789, 0.012, 3), meter)
        progress._bar.refresh()
    shown = screen.getvalue()
    assert "random on branin" in shown
    assert "3/40 evaluations, 1 failed, 5 LLM calls, 0.25 spent" in shown
    assert "best 0.123457 ± 0.012" in shown

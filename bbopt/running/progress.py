"""One line that shows how a run is going: best value, spend, time left."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from bbopt.budget import Budget, Meter
from bbopt.trial import Best


class Progress:
    """A rich progress line on stderr; silent where that is no terminal.

    Parameters
    ----------
    title : str
        What is running.
    budget : Budget
        The bar shows the share of it that is spent, on the axis that is nearest its end.
    """

    def __init__(self, title: str, budget: Budget) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        console = Console(stderr=True)
        self._budget = budget
        self._bar: Any = Bar(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[spent]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("best {task.fields[best]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task(title, total=1.0, spent="", best="-")

    def __enter__(self) -> Progress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def update(self, best: Best | None, meter: Meter) -> None:
        """Show the best value and what is spent."""
        self._bar.update(
            self._task,
            completed=share_spent(meter, self._budget),
            spent=_spent(meter, self._budget),
            best=_value(best),
        )


def share_spent(meter: Meter, budget: Budget) -> float:
    """The share of the budget that is spent, on the axis nearest its end, in [0, 1]."""
    spent = {
        "evaluations": meter.evaluations,
        "llm_calls": meter.usage.llm_calls,
        "tokens": meter.usage.tokens,
        "cost": meter.cost + meter.usage.cost,
        "seconds": meter.seconds,
        "switches": meter.switches,
    }
    limits = budget.to_json()
    shares = [spent[axis] / limit for axis, limit in limits.items() if limit]
    return min(max(shares, default=0.0), 1.0)


def _spent(meter: Meter, budget: Budget) -> str:
    of = f"/{budget.evaluations}" if budget.evaluations is not None else ""
    text = f"{meter.evaluations}{of} evaluations"
    if meter.failures:
        text += f", {meter.failures} failed"
    if meter.usage.llm_calls:
        text += f", {meter.usage.llm_calls} LLM calls, {meter.usage.cost:.4g} spent"
    return text


def _value(best: Best | None) -> str:
    if best is None:
        return "-"
    error = f" ± {best.stderr:.2g}" if best.stderr else ""
    return f"{best.value:.6g}{error}"

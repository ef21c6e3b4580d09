"""How the command prints for people: labelled lines and columns, never broken by the width.

What is printed can be copied and searched: a line is as long as what it says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from textwrap import shorten
from typing import Any

from bbopt.space import Categorical, Dimension, Int, Text
from bbopt.trial import Best

MAX_LINES = 12
"""Of a text that is a parameter's value; ``--json`` has all of it."""


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Print labels and what they name; further lines of a text stand under its first."""
    from rich.text import Text as Line

    console = _console()
    for label, text in fields:
        for i, line in enumerate(text.split("\n")):
            left = "" if i else label
            console.print(Line.assemble("  ", (f"{left:<15}", "bold"), line))


def print_columns(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of texts in columns; the first column stands out."""
    from rich.text import Text as Line

    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    console = _console()
    for first, *rest in rows:
        cells = [text.ljust(width) for text, width in zip(rest, widths[1:], strict=True)]
        tail = "  ".join(cells).rstrip()
        console.print(Line.assemble((first.ljust(widths[0]), "bold"), "  ", tail))


def print_title(text: str) -> None:
    """Print a line that stands out."""
    from rich.text import Text as Line

    _console().print(Line(text, "bold cyan"))


def value_text(value: float, stderr: float | None = None) -> str:
    """A value and its standard error, but for 0: that few values agree proves no such thing."""
    return f"{value + 0.0:.6g}" + (f" ± {stderr:.2g}" if stderr else "")  # + 0.0: no -0


def best_text(best: Best) -> str:
    """The value of a candidate and what it rests on."""
    times = "" if best.count == 1 else f" (evaluated {best.count} times)"
    return value_text(best.value, best.stderr) + times


def params_text(params: Mapping[str, Any]) -> str:
    """One line a parameter; long texts are cut."""
    return "\n".join(f"{name} = {_param(value)}" for name, value in params.items())


def dimension_text(dimension: Dimension) -> str:
    """A dimension, with the options that are not the usual ones."""
    if isinstance(dimension, Text):
        limit = "" if dimension.max_chars is None else f", up to {dimension.max_chars} characters"
        return f"{dimension.language}{limit}: {shorten(dimension.initial, 60)}"
    if isinstance(dimension, Categorical):
        text = "one of " + ", ".join(map(repr, dimension.choices))
    else:
        text = f"{dimension.kind} in [{dimension.low!r}, {dimension.high!r}]"
        text += ", logarithmic" if dimension.log else ""
        if dimension.step not in (None, 1 if isinstance(dimension, Int) else None):
            text += f", step {dimension.step!r}"
    return text + ("" if not dimension.has_initial else f", initial {dimension.initial!r}")


def _param(value: Any) -> str:
    if isinstance(value, str) and "\n" in value:
        printable = value.encode(errors="backslashreplace").decode()  # lone surrogates are not
        lines = printable.split("\n")
        if len(lines) > MAX_LINES:
            lines[MAX_LINES:] = [f"... ({len(lines)} lines in all)"]
        return "\n    " + "\n    ".join(lines)
    return f"{value:.6g}" if isinstance(value, float) else repr(value)


def _console() -> Any:
    from rich.console import Console

    return Console(soft_wrap=True, highlight=False)

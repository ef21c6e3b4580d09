"""The page that a report is written on: one HTML file that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from bbopt.space import Array

if TYPE_CHECKING:
    from bbopt.bench.plots import Look

STYLE = """
:root { --ink: #222; --soft: #666; --line: #ddd; --best: #cfe8dc; --close: #edf6f1; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 74rem; padding: 2rem 1.2rem 4rem; color: var(--ink);
  background: #fff; font: 16px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; margin: 2.8rem 0 .6rem; padding-top: .8rem;
  border-top: 1px solid var(--line); }
p { max-width: 46rem; margin: .5rem 0; }
.lead { font-size: 1.1rem; }
.soft, figcaption, small { color: var(--soft); }
a { color: #0072b2; }
code { font: .88em ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
.above { margin: 1.6rem 0 0; font-size: .88rem; color: var(--soft); max-width: 52rem; }
.above + .wide { margin-top: .3rem; }
th, td { padding: .4rem .5rem; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--line); }
thead th { border-bottom: 2px solid var(--ink); vertical-align: bottom; }
tbody th, td.text { text-align: left; font-weight: 600; }
td { white-space: nowrap; }
td.text { font-weight: 400; white-space: normal; }
th:first-child { text-align: left; }
td small, th small { display: block; font-weight: 400; font-size: .86em; white-space: nowrap; }
td.best { background: var(--best); font-weight: 700; }
td.close { background: var(--close); }
.name { display: inline-block; padding-left: 1.1em; text-indent: -1.1em; }
.chip { display: inline-block; width: .7em; height: .7em; border-radius: 50%;
  margin-right: .4em; border: .17em solid; }
.figures { display: grid; gap: 1.4rem 2rem; margin: 1rem 0;
  grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)); }
figure { margin: 0; break-inside: avoid; }
figure h3 { font-size: 1rem; margin: 0 0 .2rem; }
figcaption { font-size: .84rem; }
figure svg { display: block; width: 100%; height: auto; max-width: 46rem; }
svg text { font-family: system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif !important; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  .wide { overflow: visible; }
  table { font-size: 7.5pt; break-inside: auto; }
  th, td { padding: .25rem .4rem; }
  h2 { break-after: avoid; }
  .figures { grid-template-columns: 1fr 1fr; }
  td.best, td.close, .chip { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


CURVES = ("figure", "problem", "budget", "optimizer", "axis", "x", "y", "low", "high")


@dataclass
class Page:
    """A page that grows from top to bottom; every argument called ``html`` is markup."""

    title: str
    numbers: list[list[Any]] = field(default_factory=list)
    """What its figures are drawn from: the rows of ``curves.csv`` under ``CURVES``."""
    _parts: list[str] = field(default_factory=list)

    def add(self, html: str) -> None:
        """Append markup."""
        self._parts.append(html)

    def heading(self, text: str) -> None:
        """Begin a section."""
        self.add(f"<h2>{escape(text)}</h2>")

    def paragraph(self, html: str, kind: str = "") -> None:
        """Append a paragraph."""
        self.add(f'<p class="{kind}">{html}</p>' if kind else f"<p>{html}</p>")

    def curves(
        self,
        name: str,
        x: str,
        curves: Mapping[str, Sequence[Array]],
        place: Sequence[str] = ("", ""),
    ) -> None:
        """Keep the numbers of a figure.

        Parameters
        ----------
        name, x : str
            What is shown, and over what.
        curves : mapping of str to sequence of ndarray
            Method -> x, y and, where there is a band, its low and high ends, each ``(k,)``.
        place : sequence of str
            Problem and budget; empty where they are all taken together.
        """
        for method, lines in curves.items():
            for point in zip(*lines, strict=True):
                filled = [*map(float, point), *[math.nan] * (4 - len(lines))]
                if not math.isnan(filled[1]):
                    numbers = ["" if math.isnan(number) else number for number in filled]
                    self.numbers.append([name, *place, method, x, *numbers])

    def figures(self, figures: Iterable[str]) -> None:
        """Append figures, side by side where there is room."""
        self.add('<div class="figures">' + "\n".join(figures) + "</div>")

    def table(self, head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> None:
        """Append a table; the cells are markup, the first of a row its heading.

        A cell that starts with ``<td`` brings its own element.
        """
        body = "".join(
            f'<tr><th scope="row">{first}</th>{"".join(_cell(cell) for cell in others)}</tr>\n'
            for first, *others in rows
        )
        columns = "".join(f'<th scope="col">{name}</th>' for name in head)
        if caption:
            self.paragraph(caption, "above")
        self.add(
            '<div class="wide"><table>'
            f"<thead><tr>{columns}</tr></thead>\n"
            f"<tbody>{body}</tbody></table></div>"
        )

    def html(self) -> str:
        """The whole document."""
        return (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f"<title>{escape(self.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
            + "\n".join(self._parts)
            + "\n</body>\n</html>\n"
        )


def figure(svg: str, title: str, caption: str) -> str:
    """A figure with its title above and its caption, markup, below."""
    drawing = svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
    heading = f"<h3>{escape(title)}</h3>"
    return f"<figure>{heading}{drawing}<figcaption>{caption}</figcaption></figure>"


def number(value: float | None, digits: int = 4) -> str:
    """So many significant digits, for people; a dash for None and NaN."""
    if value is None or np.isnan(value):
        return "–"
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0 or 1e-4 <= abs(value) < 1e5:
        text = np.format_float_positional(value, precision=digits, fractional=False, trim="-")
    else:
        text = np.format_float_scientific(value, precision=1, trim="-", exp_digits=1)
        text = text.replace("e+", "e").replace(".e", "e")
    return text.replace("-", "−")


def interval(low: float, high: float, digits: int = 3) -> str:
    """``[low, high]``; nothing where it is unknown."""
    return "" if np.isnan(low) else f"[{number(low, digits)}, {number(high, digits)}]"


def method_name(method: str, look: Mapping[str, Look]) -> str:
    """A method's name with its colour; hollow where its curves are dashed."""
    style = ""
    if method in look:
        colour, dash = look[method]
        style = f"color:{colour};background:{colour if dash == '-' else 'none'}"
    text = escape(method).replace(":", ":<wbr>")
    return f'<span class="name"><span class="chip" style="{style}"></span>{text}</span>'


def count(n: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, for people."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def _cell(html: str) -> str:
    return html if html.startswith("<td") else f"<td>{html}</td>"

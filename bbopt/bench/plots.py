"""Figures as inline SVG: the same data give the same bytes, and nothing is fetched.

Every method keeps its colour and dash in all figures; curves carry their names beside their
ends. Most colours are those of Okabe and Ito (2008), which colour-blind readers tell apart; grey
is for random search, what all others are measured against.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from bbopt.bench.comparison import Quartiles
from bbopt.bench.record import AXES
from bbopt.bench.task import Task
from bbopt.budget import WHOLE
from bbopt.errors import require
from bbopt.space import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

INK, FAINT = "#333333", "#dddddd"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#882255")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)))
BASELINE = "#8c8c8c"
SIZE = (4.7, 3.1)
"""Inches; a figure scales to the room that the page has."""
N_POINTS = 120
END = 1.03
"""Where curves end, so that their last step is seen, as a multiple of the last x."""
SHORT_NAME = 15
"""Characters; where a method has more, the names beside the curves are smaller."""
LABEL_HEIGHT = 11.0
"""Points that a name beside a curve takes."""


Curves: TypeAlias = dict[str, tuple[Array, ...]]
"""Method -> x and the lines over it, each ``(k,)``."""


class Look(NamedTuple):
    """Colour and dash of a method."""

    colour: str
    dash: Any


def looks(methods: Sequence[str]) -> dict[str, Look]:
    """A colour and a dash for every method, in order; grey for random search."""
    others = (Look(colour, dash) for dash in DASHES for colour in COLOURS)
    return {
        method: Look(BASELINE, "-") if method == "random" else next(others, Look(INK, "-"))
        for method in methods
    }


def progress(
    task: Task,
    look: Mapping[str, Look],
    name: str,
    axis: str | None = None,
    n_points: int = N_POINTS,
) -> tuple[str, Curves]:
    """Mean loss or value of each method as more is spent, with its bootstrap band; the numbers.

    On the task's own axis, or on another one, which is then logarithmic.
    """
    axes, figure = _axes(SIZE)
    from matplotlib.ticker import MaxNLocator

    grid, bands = task.bands(n_points, axis)
    is_log = axis is not None
    end = grid[-1] * END if not is_log else grid[-1] * (grid[-1] / grid[0]) ** (END - 1)
    x = np.append(grid, end)
    sign = 1.0 if task.is_regret else task.sign
    shown = {method: sign * np.array(band) for method, band in bands.items()}
    for method, lines_ in shown.items():
        colour, dash = look[method]
        mean, low, high = (_held(line) for line in lines_)
        keep = _changes(mean, low, high)
        axes.step(x[keep], mean[keep], where="post", color=colour, linestyle=dash, linewidth=1.6)
        if np.isfinite(low).any():
            axes.fill_between(
                x[keep], low[keep], high[keep], step="post", color=colour, alpha=0.12, linewidth=0
            )
    means = [lines_[0] for lines_ in shown.values()]
    if task.is_regret:
        _set_log_regret(axes, means)
        axes.set_ylabel("regret")
    else:
        _set_range(axes, means)
        better = "lower" if task.direction == "minimize" else "higher"
        axes.set_ylabel(f"value ({better} is better)")
    axes.set_xlabel(AXES[axis or task.axis])
    if is_log:
        axes.set_xscale("log")
        axes.set_xlim(x[0], x[-1])
        _label_log(axes.xaxis, x[-1] / x[0])
    else:
        axes.set_xlim(0, x[-1])
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=task.axis in WHOLE))
    _label_ends(axes, {method: _last(mean[0]) for method, mean in shown.items()}, look)
    return _svg(figure, name), {m: (grid, *lines_) for m, lines_ in shown.items()}


def lines(
    x: Array,
    curves: Mapping[str, Array],
    look: Mapping[str, Look],
    name: str,
    *,
    labels: tuple[str, str],
    is_log: bool = False,
    is_rank: bool = False,
) -> str:
    """One curve a method over ``x`` ``(k,)``; a logarithmic x axis, or ranks, 1 on top."""
    axes, figure = _axes(SIZE)
    from matplotlib.ticker import MaxNLocator

    end = END * x[-1]
    for method, y in curves.items():
        colour, dash = look[method]
        axes.step(
            np.append(x, end), _held(y), where="post", color=colour, linestyle=dash, linewidth=1.6
        )
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    if is_log:
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(_plain)
    axes.set_xlim(x[0], end)
    if is_rank:
        axes.set_ylim(len(curves) + 0.2, 0.8)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        axes.set_ylim(-0.02, 1.02)
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    _label_ends(axes, {method: y[-1] for method, y in curves.items()}, look)
    return _svg(figure, name)


def dots(
    quartiles: Mapping[str, Quartiles],
    look: Mapping[str, Look],
    name: str,
    *,
    label: str,
    is_log: bool = True,
) -> str:
    """A number of each method and the interval around it; by default on a logarithmic axis."""
    axes, figure = _axes((SIZE[0], max(0.9 + 0.25 * len(quartiles), 2.0)))
    for row, (method, (median, low, high)) in enumerate(quartiles.items()):
        colour = look[method].colour
        axes.plot([low, high], [row, row], color=colour, linewidth=2.5, alpha=0.45)
        axes.plot([median], [row], "o", color=colour, markersize=6)
        axes.annotate(
            f"{median:.3g}",
            (high, row),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            color=INK,
        )
    axes.set_yticks(range(len(quartiles)), list(quartiles))
    axes.set_ylim(len(quartiles) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    if is_log:
        axes.set_xscale("log")
    low, high = axes.get_xlim()
    if is_log:
        axes.set_xlim(low, high * (high / low) ** 0.12)
        _label_log(axes.xaxis, high / low)
    else:
        axes.set_xlim(low, high + 0.1 * (high - low))
    axes.set_xlabel(label)
    return _svg(figure, name)


def growth(
    curves: Mapping[str, tuple[Array, Array]],
    look: Mapping[str, Look],
    name: str,
    *,
    labels: tuple[str, str],
) -> str:
    """One curve ``(x, y)`` a method, on two logarithmic axes."""
    axes, figure = _axes(SIZE)
    for method, (x, y) in curves.items():
        colour, dash = look[method]
        axes.plot(x, y, color=colour, linestyle=dash, linewidth=1.6, marker="o", markersize=3)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    for axis, place in ((axes.xaxis, 0), (axes.yaxis, 1)):
        values = np.concatenate([curve[place] for curve in curves.values()])
        _label_log(axis, values.max() / values.min())
    _label_ends(axes, {method: float(y[-1]) for method, (_, y) in curves.items()}, look)
    return _svg(figure, name)


def _axes(size: tuple[float, float]) -> tuple[Axes, Any]:
    matplotlib = require("matplotlib", extra="bench", needed_by="the report")
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.size": 9.0, "axes.edgecolor": INK, "axes.linewidth": 0.7}):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=3, width=0.7, color=INK, labelcolor=INK)
    return axes, figure


def _changes(*curves: Array) -> NDArray[np.bool_]:
    """Where one of the curves ``(k,)`` is about to change or has, and at both ends."""
    stacked = np.nan_to_num(np.stack(curves), nan=-np.inf)
    changed = (stacked[:, 1:] != stacked[:, :-1]).any(axis=0)
    keep: NDArray[np.bool_] = np.append(changed, True) | np.insert(changed, 0, True)
    return keep


def _last(y: Array) -> float:
    """The last number that is one."""
    finite = y[np.isfinite(y)]
    return float(finite[-1]) if len(finite) else np.nan


def _held(y: Array) -> Array:
    """Values with the last one repeated."""
    return np.append(y, y[-1])


def _set_log_regret(axes: Axes, means: Sequence[Array]) -> None:
    """A logarithmic axis, down to the least positive mean; linear if there is none."""
    positive = np.concatenate([mean[mean > 0] for mean in means] or [np.empty(0)])
    if not positive.size:
        return
    low, high = float(positive.min()), float(positive.max())
    low = max(low, high * 1e-12)
    axes.set_yscale("log")
    axes.set_ylim(low / 1.6, high * 1.6)
    _label_log(axes.yaxis, high / low)


def _label_log(axis: Axis, ratio: float) -> None:
    """Label the powers of ten, and what is between them where there are few."""
    from matplotlib.ticker import LogLocator, NullLocator

    axis.set_major_formatter(_plain)
    axis.set_minor_locator(NullLocator())
    if ratio < 100:
        axis.set_minor_locator(LogLocator(subs=(2, 5) if ratio > 10 else (2, 3, 5, 7)))
        axis.set_minor_formatter(_plain)


def _plain(value: float, position: float) -> str:
    """The label of a tick."""
    return f"{value:g}"


def _set_range(axes: Axes, means: Sequence[Array]) -> None:
    """From the best mean to the worst that is left after a tenth of the budget."""
    kept = [mean[len(mean) // 10 :] for mean in means]
    values = np.concatenate(kept or [np.empty(0)])
    values = values[np.isfinite(values)]
    if values.size and values.min() < values.max():
        room = 0.08 * (values.max() - values.min())
        axes.set_ylim(values.min() - room, values.max() + room)


def _label_ends(axes: Axes, ends: Mapping[str, float], look: Mapping[str, Look]) -> None:
    """Each method's name beside the end of its curve, moved apart where they would overlap."""
    figure = axes.get_figure()
    assert figure is not None
    height = axes.get_window_extent().height * 72 / figure.dpi
    places = {}
    for method, value in ends.items():
        if np.isfinite(value):
            at = axes.transAxes.inverted().transform(axes.transData.transform((0.0, value)))[1]
            places[method] = float(np.clip(at, 0.0, 1.0))
    size = 9.0 if max(map(len, places), default=0) <= SHORT_NAME else 7.5
    ordered = sorted(places, key=lambda method: (places[method], method))
    spread = _apart([places[method] for method in ordered], LABEL_HEIGHT / height)
    for method, place in zip(ordered, spread, strict=True):
        axes.annotate(
            method,
            (1.0, place),
            xycoords="axes fraction",
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            color=look[method].colour,
            fontsize=size,
            fontweight="bold",
            annotation_clip=False,
        )


def _apart(places: Sequence[float], gap: float) -> list[float]:
    """Ascending places moved as little as needed to be ``gap`` apart, centred where crowded."""
    groups: list[list[float]] = []  # [sum of wishes for the first one, how many]
    for place in places:
        groups.append([place, 1.0])
        while len(groups) > 1:
            (before, n), (last, m) = groups[-2], groups[-1]
            if before / n + n * gap <= last / m:
                break
            groups[-2:] = [[before + last - m * n * gap, n + m]]
    return [total / n + i * gap for total, n in groups for i in range(int(n))]


def _svg(figure: Any, name: str) -> str:
    """The figure as an ``<svg>`` element whose identifiers start with ``name``."""
    import matplotlib

    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata=nothing)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg)  # which nothing refers to
    svg = re.sub(r">\s+<", "><", svg)
    svg = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", svg)
    return re.sub(r'\b[dxy]="[^"]*"', _rounded, svg).strip()


def _rounded(coordinates: re.Match[str]) -> str:
    """An attribute's coordinates to a hundredth of a point."""
    return re.sub(r"(\.\d\d)\d+", r"\1", coordinates[0])

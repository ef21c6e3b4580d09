"""The page of ``nap_hpo.py``: regrets, paired differences, times, verdicts."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import bbopt
from bbopt import seeding
from bbopt.bench.statistics import Estimate, estimate, paired_difference, ranks

AT = (5, 10, 25, 50)
"""Evaluations after which a run is looked at."""

FLOOR = 1e-3
"""Least regret of which the logarithm is taken."""


@dataclass(frozen=True)
class Arm:
    """A method: its optimizer and settings.

    Parameters
    ----------
    optimizer : str
        Its name.
    settings : dict
        Its settings.
    is_certain : bool
        Whether it draws nothing, so that without initial rows all its runs are one.
    weights : str
        A weight file other than the shipped one.
    """

    optimizer: str
    settings: dict[str, Any] = field(default_factory=dict)
    is_certain: bool = False
    weights: str = ""


def page(runs: Mapping[Any, Any], arms: list[str], command: str, whole: int) -> str:
    """All of it as Markdown; ``whole``: how many runs the size has."""
    digests = sorted({run.weights for run in runs.values() if run.weights})
    lines = [
        "# NAP on tables of hyperparameters",
        "",
        f"`{command}`; bbopt {bbopt.__version__}, numpy {np.__version__}, Python "
        f"{platform.python_version()}, {platform.system()}; {len(runs)} of {whole} runs; weights "
        f"{', '.join(digests)}.",
        "",
        "Normalised simple regret, counted from the first evaluation: means over tasks of means "
        "over seeds; in brackets the 95 % interval by bootstrap over tasks. *log*: mean of log10 "
        f"of the regret, which counts as {FLOOR:g} at least. *rank*: among the arms of the table, "
        "over all runs (1 is best). *ms*: median milliseconds of processor time of an ask, one "
        "thread. `np-ei` and `greedy mean` are the network of `nap` with the expected improvement "
        "and the mean of its prediction in place of what was learned by reward. `nap: NAME` has "
        "the weights of a file of that name (`--weights`). `fit of the table` is a mark: "
        "rows in the order of what trees predict of them that were told the other nine tenths of "
        "the table.",
    ]
    for protocol, title in (
        ("A", "Protocol A: five random rows first, the same for all"),
        ("B", "Protocol B: no initial rows"),
    ):
        found = Results({c: run for c, run in runs.items() if c.protocol == protocol}, arms)
        if found.arms:
            lines += ["", f"## {title}", "", *found.table(), "", *found.differences("nap")]
            if protocol == "A":
                lines += ["", *found.verdicts()]
    return "\n".join(lines) + "\n"


class Results:
    """The runs of one protocol.

    Parameters
    ----------
    runs : mapping of Cell -> Run
        Of the protocol.
    arms : list of str
        In the order in which they are shown.
    """

    def __init__(self, runs: Mapping[Any, Any], arms: list[str]) -> None:
        self._runs: dict[str, dict[str, dict[int, Any]]] = {}
        for cell, run in runs.items():
            tasks = self._runs.setdefault(cell.arm, {})
            tasks.setdefault(cell.task, {})[cell.seed] = run
        self.arms = [arm for arm in arms if arm in self._runs]
        self.tasks = sorted({task for tasks in self._runs.values() for task in tasks})

    def means(self, arm: str, n: int, *, log: bool = False, beside: str = "") -> np.ndarray:
        """Mean over seeds for each task, ``(tasks,)``; NaN where there is no run.

        Only seeds count that the arm ``beside`` was run with, too.
        """
        found = []
        for task in self.tasks:
            runs = self._runs[arm].get(task, {})
            seeds = sorted(runs.keys() & self._runs[beside or arm].get(task, {}).keys())
            values = np.array([regret(runs[seed], n) for seed in seeds])
            values = np.log10(np.maximum(values, FLOOR)) if log else values
            found.append(values.mean() if len(values) else np.nan)
        return np.array(found)

    def table(self) -> list[str]:
        """A line an arm."""
        log_title = " | ".join(f"log {n}" for n in AT[2:])
        rank_title = " | ".join(f"rank {n}" for n in AT[2:])
        columns = " | ".join(str(n) for n in AT)
        lines = [f"| arm | {columns} | {log_title} | {rank_title} | ms | runs |"]
        lines.append("|---" * (2 * len(AT) + 3) + "|")
        rank = {n: self._ranks(n) for n in AT[2:]}
        for arm in self.arms:
            means = [self.means(arm, n) for n in AT]
            cells = [_short(estimate(each[np.isfinite(each)], _rng())) for each in means]
            cells += [f"{np.nanmean(self.means(arm, n, log=True)):.2f}" for n in AT[2:]]
            cells += [f"{rank[n][arm]:.2f}" for n in AT[2:]]
            runs = [run for seeds in self._runs[arm].values() for run in seeds.values()]
            cells += [f"{np.median([run.milliseconds for run in runs]):.1f}", str(len(runs))]
            lines.append(f"| {arm} | {' | '.join(cells)} |")
        return lines

    def differences(self, ours: str) -> list[str]:
        """Of one arm and each other: the paired difference, and wins, ties and losses."""
        if ours not in self.arms:
            return []
        lines = [f"| `{ours}` less | " + " | ".join(f"at {n}" for n in AT[1:]) + " | ratio at 25 |"]
        lines.append("|---" * (len(AT) + 1) + "|")
        for arm in self.arms:
            if arm == ours:
                continue
            cells = []
            for n in AT[1:]:
                gap = self.gap(ours, arm, n)
                counts = "/".join(map(str, self._win_tie_loss(ours, arm, n)))
                cells.append("" if gap is None else f"{_short(gap, sign='+')} {counts}")
            cells.append(f"{self.ratio(ours, arm):.2f}")
            lines.append(f"| {arm} | {' | '.join(cells)} |")
        lines += ["", "Paired over tasks, with wins/ties/losses over runs."]
        return lines

    def gap(self, ours: str, arm: str, n: int) -> Estimate | None:
        """The paired difference over tasks."""
        a, b = self.means(ours, n, beside=arm), self.means(arm, n, beside=ours)
        return paired_difference(a, b, _rng())

    def ratio(self, ours: str, arm: str) -> float:
        """The ratio of the means after 25 evaluations, over the runs that both have."""
        a, b = np.nanmean([self.means(ours, 25, beside=arm), self.means(arm, 25, beside=ours)], 1)
        return float(a / b) if b else np.inf

    def verdicts(self) -> list[str]:
        """What was asked for, and whether it holds."""
        if "nap" not in self.arms:
            return []
        lines = []
        for arm in ("mini-gp-ei", "optuna:tpe"):
            gap = self.gap("nap", arm, 25) if arm in self.arms else None
            if gap is not None:
                ratio = self.ratio("nap", arm)
                says = "yes" if ratio <= 0.6 and gap.high < 0 else "no"
                lines.append(
                    f"- At most 0.6 times {arm} at 25, the interval excluding zero: {says} "
                    f"({ratio:.2f}; {_short(gap, sign='+')})."
                )
        peers = [
            arm
            for arm in ("botorch logei", "optuna:gp", "optuna:tpe", "portfolio", "transfer-gp")
            if arm in self.arms
        ]
        if peers:
            best = max(peers, key=lambda arm: self.ratio("nap", arm))
            ratio = self.ratio("nap", best)
            lines.append(
                f"- At most half of the best peer at 25 ({best}): "
                f"{'yes' if ratio <= 0.5 else 'no'} ({ratio:.2f})."
            )
            gaps = {arm: self.gap("nap", arm, 50) for arm in peers}
            worse = [arm for arm, gap in gaps.items() if gap and not gap.reaches_zero]
            says = "no: " + ", ".join(worse) if worse else "yes"
            lines.append(f"- No worse than any of them at 50: {says}.")
        stages = [arm for arm in ("mini-gp-ei", "np-ei", "nap", "nap: stage3") if arm in self.arms]
        means = [f"{arm} {np.nanmean(self.means(arm, 25)):.4f}" for arm in stages]
        lines.append(f"- Stage by stage, the regret at 25: {', '.join(means)}.")
        return lines

    def _ranks(self, n: int) -> dict[str, float]:
        places = sorted(
            {
                (task, seed)
                for tasks in self._runs.values()
                for task in tasks
                for seed in tasks[task]
            }
        )
        losses = np.full((len(places), len(self.arms)), np.nan)
        for j, arm in enumerate(self.arms):
            for i, (task, seed) in enumerate(places):
                run = self._runs[arm].get(task, {}).get(seed)
                losses[i, j] = np.nan if run is None else regret(run, n)
        means = np.nanmean(ranks(losses), axis=0)
        return dict(zip(self.arms, means.tolist(), strict=True))

    def _win_tie_loss(self, ours: str, arm: str, n: int) -> tuple[int, int, int]:
        counts = [0, 0, 0]
        for task in self.tasks:
            a, b = self._runs[ours].get(task, {}), self._runs[arm].get(task, {})
            for seed in a.keys() & b.keys():
                gap = regret(a[seed], n) - regret(b[seed], n)
                counts[1 + int(np.sign(gap))] += 1
        return counts[0], counts[1], counts[2]


def regret(run: Any, n: int) -> float:
    """The regret of a run after n evaluations."""
    return float(getattr(run, f"regret_{n}"))


def _short(found: Estimate, sign: str = "") -> str:
    interval = f" [{found.low:{sign}.4f}, {found.high:{sign}.4f}]" if found.n > 1 else ""
    return f"{found.mean:{sign}.4f}{interval}"


def _rng() -> np.random.Generator:
    return seeding.stream(0, "bootstrap")

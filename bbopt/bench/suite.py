"""A suite: problems × optimizers × budgets × seeds, read from one TOML file.

::

    title = "Tuning real models"          # all keys up here but the title may be left out
    description = "One sentence for the head of the report."
    confirm = 0.1        # share of every run's evaluations kept back to confirm its best few;
                         # as each method does by itself where left out
    rescore = 8          # fresh evaluations, off the budget, of every incumbent of a problem
                         # that does not know its true values; 0 (default) for none
    time_limit = 600     # seconds after which a run is stopped and shown as such
    llm = "loopback"     # one local service plays language model and evaluator for all, and
                         # counts; "none" (default): problems propose and evaluate themselves

    [sizes.quick]        # chosen by --quick; under two minutes
    seeds = 2            # seeds 0 and 1; the same for every optimizer, so that runs are pairs
    budget = 20          # evaluations, or "evaluations=100,llm_calls=40", or a list of either
    problems = ["ackley in 5"]            # labels; all problems where left out
    optimizers = ["random"]               # labels; all optimizers where left out

    [sizes.default]      # under an hour on two cores; also [sizes.full], chosen by --full
    seeds = 10
    budget = [50, 200]

    [[problems]]
    name = "synthetic/ackley"             # registered, or yours: FILE.py:NAME
    label = "ackley in 5"                 # as shown; the name where left out
    with = { dim = 5, noise = 0.3 }       # arguments
    budget = { default = 300 }            # in place of the size's, for the sizes named
    optimizers = ["TPE"]                  # labels of those that it is for; all where left out

    [[optimizers]]
    name = "optuna:tpe"
    label = "TPE"
    set = { n_startup_trials = 5 }        # settings; the defaults where left out
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from bbopt import checks, registry
from bbopt import settings as settings_module
from bbopt.bench.cell import Cell
from bbopt.budget import Budget
from bbopt.errors import UnknownName, UsageError
from bbopt.sources import load_problem

SIZES = ("quick", "default", "full")
LLMS = ("none", "loopback")
TIME_LIMIT = 600.0
"""Seconds that a run may take where the suite does not say."""


@dataclass(frozen=True)
class Entry:
    """A problem with arguments, or an optimizer with settings, under a label."""

    label: str
    name: str
    arguments: Mapping[str, Any]
    budgets: Mapping[str, tuple[Budget, ...]]
    """Size -> budgets in place of the size's own; empty for optimizers."""
    optimizers: tuple[str, ...] | None = None
    """Labels of the optimizers that a problem is for; None: all."""

    def is_for(self, optimizer: Entry) -> bool:
        """Whether an optimizer is run on the problem."""
        return self.optimizers is None or optimizer.label in self.optimizers


@dataclass(frozen=True)
class Size:
    """How many seeds and which budgets, problems and optimizers make one size."""

    seeds: int
    budgets: tuple[Budget, ...]
    problems: tuple[str, ...]
    optimizers: tuple[str, ...]


@dataclass(frozen=True)
class Suite:
    """What the file says; see the head of this module."""

    name: str
    title: str
    description: str
    problems: Mapping[str, Entry]
    optimizers: Mapping[str, Entry]
    sizes: Mapping[str, Size]
    confirm: float | None
    rescore: int
    time_limit: float
    llm: str

    def cells(
        self, size: str, *, optimizers: Sequence[str] | None = None, seeds: int | None = None
    ) -> list[Cell]:
        """The grid of one size; seed by seed, so that what is there early is balanced.

        Parameters
        ----------
        size : {"quick", "default", "full"}
            Which size of the suite.
        optimizers : sequence of str, optional
            Only these: labels or names of the suite, or any registered name.
        seeds : int, optional
            Instead of the size's number of seeds, >= 1.

        Raises
        ------
        UsageError
            If the suite has no such size.
        UnknownName
            If an optimizer is not known.
        """
        if size not in self.sizes:
            known = ", ".join(self.sizes)
            raise UsageError(f"suite {self.name!r} has no size {size!r}; allowed are {known}")
        chosen = self.sizes[size]
        entries = [self.optimizers[label] for label in chosen.optimizers]
        if optimizers is not None:
            entries = [entry for name in optimizers for entry in self._find(name)]
        n_seeds = chosen.seeds if seeds is None else checks.integer("seeds", seeds, 1)
        cells = [
            Cell(
                problem=problem.name,
                arguments=problem.arguments,
                problem_label=problem.label,
                optimizer=optimizer.name,
                settings=optimizer.arguments,
                optimizer_label=optimizer.label,
                budget=budget,
                seed=seed,
                confirm=self.confirm,
                rescore=self.rescore,
                time_limit=self.time_limit,
                llm=self.llm,
            )
            for seed in range(n_seeds)
            for problem in (self.problems[label] for label in chosen.problems)
            for budget in problem.budgets.get(size, chosen.budgets)
            for optimizer in entries
            if problem.is_for(optimizer)
        ]
        if not cells:
            names = ", ".join(entry.label for entry in entries)
            raise UsageError(f"suite {self.name!r} has no problem for {names}")
        return cells

    def _find(self, name: str) -> list[Entry]:
        found = [entry for entry in self.optimizers.values() if name in (entry.label, entry.name)]
        if not found:
            registry.optimizer_class(name)
            found = [Entry(name, name, {}, {})]
        return found


def suite_names() -> list[str]:
    """The suites that come with the package, sorted."""
    folder = resources.files("bbopt.bench.suites")
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name[-5:] == ".toml")


def load_suite(name: str | Path) -> Suite:
    """Read a suite of the package by its name, or any other by the path of its TOML file.

    Raises
    ------
    UnknownName
        If there is no suite of that name.
    UsageError
        If the file cannot be read, names a problem or optimizer that does not exist, or has a
        key that is unknown, missing or wrong; the message names the file and the key.
    """
    path = Path(name)
    if path.suffix == ".toml":
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"suite {str(name)!r} cannot be read: {error}") from None
    elif str(name) in suite_names():
        text = (resources.files("bbopt.bench.suites") / f"{name}.toml").read_text(encoding="utf-8")
    else:
        raise UnknownName("suite", str(name), suite_names())
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"suite {str(name)!r} is not TOML: {error}") from None
    try:
        return _suite(path.stem, data)
    except UsageError as error:
        raise UsageError(f"suite {str(name)!r}: {error}") from None


def _suite(name: str, data: Mapping[str, Any]) -> Suite:
    allowed = ("title", "description", "confirm", "rescore", "time_limit", "llm")
    _check_keys("the file", data, (*allowed, "sizes", "problems", "optimizers"))
    for key in ("title", "sizes", "problems", "optimizers"):
        if key not in data:
            raise UsageError(f"{key!r} is missing")
    optimizers = _entries("optimizers", data["optimizers"], _optimizer)

    def problem(where: str, table: Mapping[str, Any]) -> Entry:
        return _problem(where, table, optimizers)

    problems = _entries("problems", data["problems"], problem)
    sizes = _table("sizes", data["sizes"])
    _check_keys("sizes", sizes, SIZES)
    if not sizes:
        raise UsageError(f"sizes must have at least one of {', '.join(SIZES)}")
    confirm = data.get("confirm")
    if confirm is not None and not 0 <= checks.number("confirm", confirm) < 1:
        raise UsageError(f"confirm must be in [0, 1), got {confirm!r}")
    return Suite(
        name=name,
        title=_text("title", data["title"]),
        description=_text("description", data.get("description", "")),
        problems=problems,
        optimizers=optimizers,
        sizes={
            size: _size(f"sizes.{size}", _table(f"sizes.{size}", sizes[size]), problems, optimizers)
            for size in SIZES
            if size in sizes
        },
        confirm=confirm,
        rescore=checks.integer("rescore", data.get("rescore", 0), 0),
        time_limit=checks.number("time_limit", data.get("time_limit", TIME_LIMIT), 0.001),
        llm=checks.one_of("llm", data.get("llm", "none"), LLMS),
    )


def _size(
    where: str,
    table: Mapping[str, Any],
    problems: Mapping[str, Entry],
    optimizers: Mapping[str, Entry],
) -> Size:
    _check_keys(where, table, ("seeds", "budget", "problems", "optimizers"))
    for key in ("seeds", "budget"):
        if key not in table:
            raise UsageError(f"{where}: {key!r} is missing")
    return Size(
        seeds=checks.integer(f"{where}: seeds", table["seeds"], 1),
        budgets=_budgets(where, table["budget"]),
        problems=_labels(f"{where}: problems", table.get("problems"), problems),
        optimizers=_labels(f"{where}: optimizers", table.get("optimizers"), optimizers),
    )


def _entries(key: str, tables: Any, read: Any) -> dict[str, Entry]:
    if not isinstance(tables, list) or not tables:
        raise UsageError(f"{key} must be one or more tables, [[{key}]]")
    entries: dict[str, Entry] = {}
    for position, table in enumerate(tables, start=1):
        where = f"{key}, table {position}"
        entry = read(where, _table(where, table))
        if entry.label in entries:
            raise UsageError(f"{where}: the label {entry.label!r} is taken")
        entries[entry.label] = entry
    return entries


def _problem(where: str, table: Mapping[str, Any], known: Mapping[str, Entry]) -> Entry:
    name, label = _name_and_label(where, table, ("with", "budget", "optimizers"))
    arguments = _table(f"{where}: with", table.get("with", {}))
    if ":" in name:  # of the user's own: only once it is built is it known to be one
        load_problem(name, arguments)
    else:
        _check_keys(f"{where}: with", arguments, registry.problem_arguments(name))
    budgets = _table(f"{where}: budget", table.get("budget", {}))
    _check_keys(f"{where}: budget", budgets, SIZES)
    by_size = {size: _budgets(f"{where}: {size}", limits) for size, limits in budgets.items()}
    chosen = table.get("optimizers")
    optimizers = None if chosen is None else _labels(f"{where}: optimizers", chosen, known)
    return Entry(label, name, arguments, by_size, optimizers)


def _optimizer(where: str, table: Mapping[str, Any]) -> Entry:
    name, label = _name_and_label(where, table, ("set",))
    chosen = _table(f"{where}: set", table.get("set", {}))
    settings_module.build(registry.optimizer_class(name).Settings, chosen, f"optimizer {name!r}")
    return Entry(label, name, chosen, {})


def _name_and_label(
    where: str, table: Mapping[str, Any], others: tuple[str, ...]
) -> tuple[str, str]:
    _check_keys(where, table, ("name", "label", *others))
    if "name" not in table:
        raise UsageError(f"{where}: 'name' is missing")
    name = _text(f"{where}: name", table["name"])
    label = _text(f"{where}: label", table.get("label", name))
    if not label:
        raise UsageError(f"{where}: label must not be empty")
    return name, label


def _budgets(where: str, given: Any) -> tuple[Budget, ...]:
    items = given if isinstance(given, list) else [given]
    if not items or not all(type(item) in (int, str) for item in items):
        raise UsageError(f"{where}: budget must be a number, a text or a list, got {given!r}")
    return tuple(Budget.parse(item) for item in items)


def _labels(where: str, given: Any, entries: Mapping[str, Entry]) -> tuple[str, ...]:
    if given is None:
        return tuple(entries)
    if not isinstance(given, list) or not given:
        raise UsageError(f"{where} must be a list of labels, got {given!r}")
    return tuple(checks.one_of(where, label, tuple(entries)) for label in given)


def _table(where: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where} must be a table, got {value!r}")
    return value


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{where} must be a text, got {value!r}")
    return value


def _check_keys(where: str, table: Mapping[str, Any], allowed: Iterable[str]) -> None:
    names = tuple(allowed)
    for key in table:
        if key not in names:
            raise UsageError(
                f"unknown key {key!r} in {where}; allowed are {', '.join(names) or 'none'}"
            )

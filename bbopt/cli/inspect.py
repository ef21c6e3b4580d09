"""``bbopt problems``, ``optimizers`` and ``cite``: what there is to choose from."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from bbopt.errors import UsageError

if TYPE_CHECKING:
    from bbopt.base import Optimizer, Problem


@click.command()
@click.argument("name", required=False)
@click.option("--with", "arguments", multiple=True, metavar="KEY=VALUE", help="Argument of it.")
def problems(name: str | None, arguments: tuple[str, ...]) -> None:
    """List the problems, or describe the problem NAME.

    NAME may also be a problem of your own, MODULE:NAME or FILE.py:NAME.
    """
    from bbopt import registry
    from bbopt.cli.layout import print_columns

    if name is None:
        names = registry.problem_names()
        print_columns([[each, _first_line(registry.problem_factory(each))] for each in names])
        return
    if ":" not in name:
        _describe_factory(name)
    _describe_problem(name, arguments)


@click.command()
@click.argument("name", required=False)
def optimizers(name: str | None) -> None:
    """List the optimizers, or describe the optimizer NAME.

    The description has its settings: types, defaults, ranges, what they mean (bbopt run --set).
    """
    from bbopt import registry
    from bbopt.cli.layout import print_columns

    if name is not None:
        _describe_optimizer(name, registry.optimizer_class(name))
        return
    classes = {each: registry.optimizer_class(each) for each in registry.optimizer_names()}
    head = ["NAME", "PARAMETERS", "REQUIRES", ""]
    rows = [[n, _kinds(c), ", ".join(c.requires), _first_line(c)] for n, c in classes.items()]
    print_columns([head, *rows])


@click.command()
@click.argument("name", default="bbopt")
def cite(name: str) -> None:
    """Print the BibTeX of the method NAME, or of bbopt itself."""
    from bbopt.citation import cite as bibtex

    click.echo(bibtex(name))


def _describe_factory(name: str) -> None:
    from bbopt import registry
    from bbopt.cli.layout import print_columns, print_title

    print_title(name)
    click.echo(_doc(registry.problem_factory(name)) + "\n")
    arguments = registry.problem_arguments(name)
    if arguments:
        rows = [
            [f"  {each}", "required" if p.default is p.empty else f"default {p.default!r}"]
            for each, p in arguments.items()
        ]
        print_title("arguments (--with NAME=VALUE)")
        print_columns(rows)
        click.echo()


def _describe_problem(name: str, given: tuple[str, ...]) -> None:
    from bbopt.cli.layout import dimension_text, print_columns, print_fields, print_title
    from bbopt.cli.pairs import read_pairs
    from bbopt.sources import load_problem

    try:
        problem = load_problem(name, read_pairs("--with", given))
    except UsageError as error:
        if given or ":" in name:
            raise
        click.echo(f"Its space depends on its arguments ({error}).")
        return
    if ":" in name:
        print_title(problem.name)
        click.echo(_doc(type(problem)) + "\n")
    print_title("space")
    print_columns([[f"  {n}", dimension_text(dim)] for n, dim in problem.spec.space.items()])
    click.echo()
    print_fields(_spec_fields(problem))


def _spec_fields(problem: Problem) -> list[tuple[str, str]]:
    spec = problem.spec
    noise = {True: "deterministic", False: "noisy", None: "unknown"}
    rows = [("direction", spec.direction), ("evaluations", noise[spec.deterministic])]
    if spec.objective:
        rows.insert(0, ("objective", spec.objective))
    if problem.optimum is not None:
        rows.append(("optimum", f"{problem.optimum:.6g}"))
    if spec.value_range is not None:
        rows.append(("values", f"in [{spec.value_range[0]:g}, {spec.value_range[1]:g}]"))
    if spec.candidates is not None:
        rows.append(("candidates", f"{len(spec.candidates)} rows of a table"))
    if spec.examples is not None:
        n, m = len(spec.examples.train), len(spec.examples.validation)
        rows.append(("examples", f"{n} to train on, {m} to validate"))
    if spec.agents is not None:
        rows.append(("agents", f"{spec.agents.n}, with {len(spec.agents.edges)} edges"))
    if spec.switch_cost is not None:
        rows.append(("switch cost", f"{spec.switch_cost:g} evaluations"))
    return rows


def _describe_optimizer(name: str, cls: type[Optimizer]) -> None:
    from bbopt.citation import REFERENCES
    from bbopt.cli.layout import print_columns, print_fields, print_title
    from bbopt.settings import describe

    print_title(name)
    click.echo(_doc(cls) + "\n")
    rows = [("parameters", _kinds(cls)), ("requires", ", ".join(cls.requires) or "nothing")]
    if cls.confirm:
        rows.append(("confirms with", f"{cls.confirm:g} of the evaluations, unless told otherwise"))
    if cls.solves:
        rows.append(("whole rounds", "evaluates arrays, where the problem does"))
    if name in REFERENCES:
        rows.append(("reference", f"bbopt cite {name}"))
    print_fields(rows)
    click.echo()
    if not fields(cls.Settings):
        click.echo("It has no settings.")
        return
    print_title("settings (--set NAME=VALUE)")
    head = ["  NAME", "TYPE", "DEFAULT", "ALLOWED", ""]
    print_columns([head, *(_setting(row) for row in describe(cls.Settings))])


def _setting(row: dict[str, Any]) -> list[str]:
    default = row["stands_for"] or repr(row["default"])
    return [f"  {row['name']}", row["type"], default, row["allowed"], row["meaning"]]


def _kinds(cls: type[Optimizer]) -> str:
    order = ("float", "int", "categorical", "text")
    return " ".join(kind for kind in order if kind in cls.kinds)


def _doc(thing: Any) -> str:
    """The docstring, without marks of markup."""
    from inspect import getdoc

    text = getdoc(thing) or "(no description)"
    return re.sub(r":\w+:`~?([^`]*)`", r"\1", text).replace("``", "")


def _first_line(thing: Any) -> str:
    return _doc(thing).split("\n")[0]

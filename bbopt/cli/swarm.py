"""``bbopt swarm``: what there is to know of a network before agents run on it."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import click

from bbopt.errors import UsageError

if TYPE_CHECKING:
    from bbopt.lacmas.topology import Graph

RULES = ("metropolis", "max_degree", "uniform", "best_constant", "lazy", "given")
FACTORS = (0.5, 0.7, 1.0, 1.3, 1.7)
"""Factors of the velocity in the table of the stable region."""
STEPS = (4, 3, 2)
"""Internal steps a round in the table."""


@click.group()
def swarm() -> None:
    """Networks of agents: what a graph does to those who run on it."""


@swarm.command()
@click.argument("graph")
@click.option("--agents", type=click.IntRange(min=1), help="Number of agents; 20 by default.")
@click.option(
    "--weights",
    type=click.Choice(RULES),
    default="metropolis",
    show_default=True,
    help="Rule of the mixing weights.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of a random graph.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def describe(graph: str, agents: int | None, weights: str, seed: int, as_json: bool) -> None:
    """Describe GRAPH: its shape, how fast agents agree on it, how much momentum it bears.

    GRAPH is a name (ring, path, grid, torus, regular, erdos-renyi, watts-strogatz,
    barabasi-albert, star, complete, hypercube, geometric), with parameters after a colon
    (regular:d=4), a file (an edge list or a matrix), or a distributed problem.
    """
    from bbopt.lacmas import weights as rules

    network = _load(graph, agents, seed)
    matrix = rules.build(network, weights)
    facts = _facts(network, matrix) | {"weights": weights}
    if as_json:
        finite = {k: None if v == math.inf else v for k, v in facts.items()}
        click.echo(json.dumps({"graph": graph} | finite, indent=2))
    else:
        _print(graph, facts)


def _load(graph: str, n: int | None, seed: int) -> Graph:
    from pathlib import Path

    from bbopt.lacmas import topology

    if graph.partition(":")[0] in topology.NAMES:
        return topology.build(graph, 20 if n is None else n, seed)
    if Path(graph).is_file():
        return topology.read(graph, n)
    if "/" not in graph and ":" not in graph:
        return topology.build(graph, n, seed)  # which says what names there are
    from bbopt import registry
    from bbopt.sources import load_problem

    given: dict[str, Any] = {} if n is None else {"agents": n}
    if ":" not in graph and seed and "seed" in registry.problem_arguments(graph):
        given["seed"] = seed
    problem = load_problem(graph, given)
    if problem.spec.agents is None:
        raise UsageError(f"problem {graph!r} has no agents")
    return topology.of(problem.spec.agents)


def _facts(network: Graph, matrix: Any) -> dict[str, Any]:
    from bbopt.lacmas import spectrum as spectra
    from bbopt.lacmas.weights import is_doubly_stochastic, stationary

    spectrum = spectra.spectrum(matrix)
    facts: dict[str, Any] = {
        "agents": network.n,
        "edges": len(network.edges),
        "degrees": [int(network.degrees.min()), int(network.degrees.max())],
        "diameter": network.diameter if network.n <= spectra.DENSE else None,
        "doubly_stochastic": is_doubly_stochastic(matrix),
        "second_modulus": spectrum.rho,
        "least_eigenvalue": spectrum.least,
        "rounds_to_1e-7": spectrum.rounds(),
        "stable": [
            {
                "s": s,
                "k": k,
                "limit": spectra.momentum_limit(s, k),
                "stable": spectra.is_stable(spectrum, s, k),
                "share": spectra.stable_share(spectrum, s, k),
            }
            for s in FACTORS
            for k in STEPS
        ],
    }
    if not facts["doubly_stochastic"]:
        pi = stationary(matrix)
        facts["agreement_weights"] = [float(pi.min()), float(pi.max())]
    return facts


def _print(graph: str, facts: dict[str, Any]) -> None:
    from bbopt.cli.layout import print_columns, print_fields, print_title

    low, high = facts["degrees"]
    rounds, least = facts["rounds_to_1e-7"], facts["least_eigenvalue"]
    drift = "the mean over agents"
    if not facts["doubly_stochastic"]:
        drift = "a mean with weights from {:.3g} to {:.3g}".format(*facts["agreement_weights"])
    rows = [
        ("agents", str(facts["agents"])),
        ("edges", str(facts["edges"])),
        ("neighbours", str(low) if low == high else f"{low} to {high}"),
        ("weights", facts["weights"]),
        ("agree on", drift),
        ("contraction", f"{facts['second_modulus']:.10g} a round"),
        ("rounds to 1e-7", "never" if rounds == math.inf else str(rounds)),
        ("spread", f"{1 - least:.4f} (1 - least eigenvalue)"),
    ]
    if facts["diameter"] is not None:
        rows.insert(3, ("diameter", str(facts["diameter"])))
    print_title(graph)
    print_fields(rows)
    click.echo()
    print_title("stable region: spread must be below the limit")
    table = [["  velocity kept", *(f"{k} internal steps" for k in STEPS)]]
    for s in FACTORS:
        cells = [each for each in facts["stable"] if each["s"] == s]
        table.append([f"  s = {s:g}", *map(_cell, cells)])
    print_columns(table)


def _cell(entry: dict[str, Any]) -> str:
    if entry["stable"]:
        return f"{entry['limit']:.3f} yes"
    return f"{entry['limit']:.3f} NO (pull × {entry['share']:.2f})"

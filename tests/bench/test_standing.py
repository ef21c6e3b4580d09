"""The script that writes the standing comparison."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from bbopt.bench.comparison import Comparison
from bbopt.bench.runner import Bench


@pytest.fixture(scope="module")
def standing():
    """The script as a module."""
    path = Path(__file__).parents[2] / "benchmarks" / "standing.py"
    spec = importlib.util.spec_from_file_location("standing", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def records(make_record):
    """On p ours is better than both peers, on q worse than the best of them, on r equal."""
    ends = {"p": (1.0, 2.0, 3.0), "q": (2.0, 3.0, 1.0), "r": (1.0, 1.0, 1.0)}
    names = {"mini-gp-ucb": 4, "cma": 90, "optuna:tpe": 80}
    return [
        with_optimizer(
            make_record(
                name,
                seed,
                [(1, 9.0), (5, end + 0.01 * seed)],
                problem=problem,
                summary={"switches": switches},
            )
        )
        for problem, losses in ends.items()
        for (name, switches), end in zip(names.items(), losses, strict=True)
        for seed in range(3)
    ]


def with_optimizer(record):
    return replace(record, cell=replace(record.cell, optimizer=record.cell.optimizer_label))


def test_ours_is_compared_with_the_best_peer_of_each_problem(standing, records):
    comparison = Comparison.of(records)
    best = standing.pairing(comparison, "mini-gp-ucb", ["cma", "optuna:tpe"])
    assert best == (2, 1, 3, 22.5)  # 90 / 4 on p, 80 / 4 on q, 90 / 4 on r
    assert standing.pairing(comparison, "mini-gp-ucb", ["cma"])[:3] == (3, 2, 3)
    assert standing.pairing(comparison, "mini-gp-ucb", ["optuna:tpe"])[:3] == (2, 1, 3)


def test_wins_and_losses_stand_in_the_page_with_where_they_come_from(standing, records):
    failed = replace(records[-1], status="failed", error="E: no", incumbents=[], summary={})
    session = {
        "command": "bbopt bench s",
        "commit": "abc1234",
        "started": "2030-01-01",
        "processor": "P",
        "cores": 2,
        "load": 0.5,
    }
    bench = Bench("T", "D.", "s", [session], [*records[:-1], failed], 4)
    text = "\n".join(standing.section(bench, Comparison.of(bench.records)))
    assert "* `bbopt bench s`, commit abc1234, 2030-01-01, P, 2 cores, load 0.5" in text
    assert "Seeds 0 to 2; 26 runs, of which 0 were stopped at their time limit; 4 still" in text
    assert "* optuna:tpe failed: E: no (r)" in text
    assert (
        "| mini-gp-ucb | **the best peer of each problem** | 2 | 1 | 3 | 20 |" in text
    )  # as one run of r failed
    assert "| q, 10 evaluations (value, minimized) | 2.01 | 3.01 | **1.01** |" in text
    assert "| cma | **the best" not in text, "a peer is not ours"

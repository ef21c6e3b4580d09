"""The verdicts of ``benchmarks/generative.py``, on runs made by hand."""

from dataclasses import replace
from pathlib import Path

import pytest

from bbopt.bench.suite import load_suite
from bbopt.budget import Budget

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SESSION = {"cores": 2, "load": 0.5}


@pytest.fixture
def parts(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from parts import generative_page, generative_predictions, generative_results, generative_tuning

    class Parts:
        page, predictions = generative_page, generative_predictions
        results, tuning = generative_results, generative_tuning

    return Parts


@pytest.fixture
def runs(make_record):
    """Runs of a method: a true value a seed, and by how much its own estimate is above it."""

    def make(problem, method, values, *, gap=0.0, **budget):
        found = []
        for seed, value in enumerate(values):
            record = make_record(method, seed, [(1, value + gap, value)], problem=problem)
            cell = replace(record.cell, budget=Budget(**(budget or {"evaluations": 600})))
            found.append(replace(record, cell=cell, direction="maximize"))
        return found

    return make


def moonshot(parts, records):
    return list(parts.page._moonshot(parts.results.Results(records)))


def test_half_the_budget_is_compared_with_the_best_peer_at_all_of_it(parts, runs):
    records = [
        *runs("hints", "polca", [0.5, 0.6, 0.7], evaluations=300),
        *runs("hints", "polca", [0.9, 0.9, 0.9], evaluations=600),
        *runs("hints", "gepa", [0.9, 0.9, 0.9], evaluations=300),
        *runs("hints", "gepa", [0.5, 0.5, 0.6], evaluations=600),
        *runs("hints", "openevolve", [0.4, 0.5, 0.6], evaluations=600),
        *runs("hints", "polca, paper", [1.0, 1.0, 1.0], evaluations=600),
    ]
    text = "\n".join(moonshot(parts, records))
    assert "300 evaluations against 600 evaluations: reached on 1 of 1." in text
    (row,) = [line for line in text.splitlines() if line.startswith("| hints")]
    assert row.startswith("| hints | 0.600 [0.500, 0.700] | gepa | 0.533")
    assert "+0.067" in row


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        ([0.5, 0.5, 0.5], "reached"),
        ([0.1, 0.5, 0.8], "open"),
        ([0.4, 0.4, 0.5], "open"),
        ([0.4, 0.4, 0.3], "missed"),
    ],
)
def test_the_verdict_on_half_the_budget(parts, runs, ours, verdict):
    records = runs("staircase", "polca", ours, evaluations=3000, llm_calls=60)
    records += runs("staircase", "best-of-n", [0.5] * 3, evaluations=3000, llm_calls=120)
    (row,) = [line for line in moonshot(parts, records) if line.startswith("| staircase")]
    assert row.endswith(f"| {verdict} |")


def test_budgets_without_a_half_are_not_compared(parts, runs):
    records = runs("hints", "polca", [0.5, 0.6]) + runs("hints", "gepa", [0.5, 0.6])
    assert not any(line.startswith("| hints") for line in moonshot(parts, records))


def test_optimism_is_met_within_its_goal_in_both_directions(parts, runs):
    found = parts.results.Results(
        [
            *runs("staircase", "polca", [0.5, 0.5], gap=0.019),
            *runs("rulebook", "polca", [0.5, 0.5], gap=-0.03),
            *runs("hints", "polca", [0.5, 0.5], gap=-0.019),
            *runs("hints", "gepa", [0.5, 0.5], gap=0.4),
        ]
    )
    text = "\n".join(parts.page._gaps(found))
    assert "Met in 2 of 3 cells." in text
    assert "| 600 evaluations | gepa |  |  | +0.400 [+0.400, +0.400] |" in text


@pytest.mark.parametrize(("gain", "verdict"), [(0.12, "holds"), (0.05, "**does not hold**")])
def test_a_prediction_is_judged_by_the_paired_difference(parts, runs, gain, verdict):
    truth = [0.3, 0.5, 0.9]
    records = runs("paraphrase", "polca, no filter", truth)
    records += runs("paraphrase", "polca", [value + gain for value in truth])
    results = parts.results.Results
    lines = list(parts.predictions.predictions(results(records), results([])))
    (row,) = [line for line in lines if "rewordings" in line]
    assert row.endswith(f"| {verdict} |")


def test_a_filter_that_does_no_certain_harm_contradicts_the_prediction(parts, runs):
    records = runs("paraphrase, adversarial", "polca, no filter", [0.3, 0.5, 0.4])
    records += runs("paraphrase, adversarial", "polca", [0.4, 0.3, 0.4])
    results = parts.results.Results
    (row,) = [
        line
        for line in parts.predictions.predictions(results(records), results([]))
        if "does harm" in line
    ]
    assert row.endswith("| **does not hold** |")


def test_every_run_has_a_line_in_the_table_and_every_method_in_the_page(parts, runs, tmp_path):
    from bbopt.bench.runner import Bench

    records = runs("hints", "polca", [0.5, 0.6]) + runs("hints", "gepa", [0.25, 0.25], gap=0.5)
    records.append(replace(records[-1], status="stopped", stop_reason="time limit"))
    bench = Bench("T", "", "generative", [SESSION], records, 0)
    empty = Bench("T", "", "generative_parts", [SESSION], [], 0)
    text = parts.page.write_page(bench, empty, "default", tmp_path, "g")
    assert (tmp_path / "g.md").read_text() == text
    assert len((tmp_path / "g.csv").read_text().splitlines()) == 1 + len(records)
    (row,) = [line for line in text.splitlines() if line.startswith("| gepa | 0.250")]
    assert "| −0.300 [−0.350, −0.250] | 0.750 | +0.500 [+0.500, +0.500] |" in row
    assert "time limit" in text


def test_grids_are_of_the_promised_size_and_use_no_seed_of_the_comparison(parts):
    suite = load_suite("generative")
    cells = parts.tuning.tuning_cells(suite, list(parts.tuning.GRIDS))
    for method in parts.tuning.GRIDS:
        mine = [cell for cell in cells if cell.optimizer == method]
        assert len({cell.optimizer_label for cell in mine}) <= (8 if method == "polca" else 10)
        assert len({cell.key for cell in mine}) == len(mine)
    compared = {cell.seed for size in suite.sizes for cell in suite.cells(size)}
    assert compared.isdisjoint(cell.seed for cell in cells)

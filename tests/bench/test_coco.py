"""The export was read by cocopp 2.9.1, which finds it consistent; here its numbers are checked."""

from dataclasses import replace
from itertools import pairwise

import pytest

from bbopt.bench.coco import write_coco
from bbopt.errors import UsageError


@pytest.fixture
def bbob(make_record):
    """Build a run on f8 with optimum 5: incumbents are (evaluations, value, true value)."""

    def build(method, seed, incumbents, evaluations=100, **arguments):
        record = make_record(method, seed, incumbents, evaluations=evaluations, optimum=5.0)
        cell = replace(record.cell, problem="bbob/f8", arguments=arguments)
        return replace(record, cell=cell)

    return build


def rows_of(path):
    """The data lines of each run."""
    runs = []
    for line in path.read_text().splitlines():
        if line.startswith("%"):
            runs.append([])
        else:
            runs[-1].append([float(x) for x in line.split()])
    return runs


def test_a_run_has_a_line_for_each_improvement_of_the_true_value(bbob, tmp_path):
    steps = [(1, 9.0, 12.0), (4, 1.0, 13.0), (7, 2.0, 6.5)]
    (place,) = write_coco([bbob("cma, big", 0, steps, dim=3, instance=4)], tmp_path)
    assert place.name == "cma--big"
    (run,) = rows_of(place / "data_f8/bbobexp_f8_DIM3.dat")
    assert [(n, regret, value) for n, _, regret, value, _ in run] == [(1, 7, 12), (7, 1.5, 6.5)]
    info = (place / "bbobexp_f8.info").read_text().splitlines()
    assert info[0].startswith(
        "suite = 'bbob', funcId = 8, DIM = 3, Precision = 1.000e-08, algId = "
    )
    assert info[2] == "data_f8/bbobexp_f8_DIM3.dat, 4:100|1.5e+00"


def test_the_second_file_holds_the_best_until_the_last_evaluation(bbob, tmp_path):
    (place,) = write_coco([bbob("cma", 0, [(1, 9.0), (12, 6.0)])], tmp_path)
    (run,) = rows_of(place / "data_f8/bbobexp_f8_DIM2.tdat")
    counts = [row[0] for row in run]
    assert (counts[0], counts[-1]) == (1, 100)
    steps = [(after - before, before) for before, after in pairwise(counts)]
    assert all(0 < step <= max(0.1 * before, 1) for step, before in steps)
    assert all(row[2] == (4.0 if row[0] < 12 else 1.0) for row in run)


def test_methods_dimensions_and_seeds_stand_apart(bbob, tmp_path):
    records = [
        bbob(method, seed, [(1, 9.0 + seed)], dim=dim)
        for method in ("a", "b")
        for dim in (2, 5)
        for seed in (0, 1)
    ]
    places = write_coco(records, tmp_path)
    assert [place.name for place in places] == ["a", "b"]
    for place in places:
        lines = (place / "bbobexp_f8.info").read_text().splitlines()
        ends = "1:100|4.0e+00, 1:100|5.0e+00"
        assert lines[2::3] == [f"data_f8/bbobexp_f8_DIM{dim}.dat, {ends}" for dim in (2, 5)]
        assert len(rows_of(place / "data_f8/bbobexp_f8_DIM5.dat")) == 2


def test_a_bench_without_functions_of_bbob_has_nothing_to_write(make_record, tmp_path):
    with pytest.raises(UsageError, match="no run is on a function of BBOB"):
        write_coco([make_record("a", 0, [(1, 1.0)], optimum=0.0)], tmp_path)

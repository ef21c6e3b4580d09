import json
from dataclasses import replace

import pytest

from bbopt.bench import runner
from bbopt.bench.play import play
from bbopt.bench.record import dumps
from bbopt.bench.runner import open_bench, read_bench, run_cells
from bbopt.budget import Budget
from bbopt.errors import StorageError, UsageError

WORDS = {"title": "T", "description": "D", "suite": "s", "command": "bbopt bench s"}


def run_all(cells, out, jobs=1):
    """Run what is missing; returns the cells that were run."""
    todo, seen = open_bench(out, cells, **WORDS), []
    run_cells(todo, out, jobs=jobs, watch=lambda record: seen.append(record.cell))
    assert {cell.key for cell in seen} == {cell.key for cell in todo}
    return todo


def test_whatever_goes_wrong_in_a_cell_is_in_its_record(
    bad_problems, make_cell, tmp_path, monkeypatch
):
    monkeypatch.setattr(runner, "GRACE", 0.5)
    hangs = make_cell(problem="bad/hangs", problem_label="hangs", time_limit=0.5)
    dies = make_cell(problem="bad/dies", problem_label="dies")
    broken = make_cell(problem="bad/cannot-be-built", problem_label="broken")
    words = make_cell(problem="bad/text", problem_label="text", optimizer="sobol")
    good = make_cell()
    run_all([hangs, dies, broken, words, good], tmp_path, jobs=2)
    records = {record.cell.problem_label: record for record in read_bench(tmp_path).records}
    assert list(records) == ["hangs", "dies", "broken", "text", "branin"]
    assert records["hangs"].status == "stopped"
    assert records["hangs"].stop_reason == "time limit"
    assert records["dies"].status == "failed"
    assert "ProcessExpired" in records["dies"].error
    assert records["broken"].status == "failed"
    assert records["broken"].error == "RuntimeError: no such instrument"
    assert records["text"].status == "skipped"
    assert "'prompt'" in records["text"].error
    assert records["branin"].status == "done"


def test_only_what_is_missing_is_run(make_cell, tmp_path):
    cells = [make_cell(seed=seed) for seed in range(3)]
    assert run_all(cells[:1], tmp_path) == cells[:1]
    assert run_all(cells, tmp_path) == cells[1:]
    assert run_all(cells[:2], tmp_path) == []
    bench = read_bench(tmp_path)
    assert [record.cell.seed for record in bench.records] == [0, 1, 2], "what was there stays"
    assert len(bench.sessions) == 3
    assert bench.sessions[0]["command"] == WORDS["command"]


@pytest.mark.parametrize(
    ("status", "limit", "is_run_again"),
    [
        ("done", 5.0, False),
        ("failed", 5.0, True),
        ("skipped", 5.0, True),
        ("stopped", 5.0, False),
        ("stopped", 50.0, True),
    ],
)
def test_what_failed_was_skipped_or_may_now_take_longer_is_run_again(
    make_cell, make_record, tmp_path, status, limit, is_run_again
):
    cell = make_cell(time_limit=5.0)
    open_bench(tmp_path, [cell], **WORDS)
    record = replace(make_record("random", 0, [(1, 1.0)], status=status), cell=cell)
    (tmp_path / "cells" / f"{cell.key}.json").write_text(dumps(record))
    later = replace(cell, time_limit=limit)
    assert open_bench(tmp_path, [later], **WORDS) == ([later] if is_run_again else [])


def test_a_changed_cell_takes_the_place_of_the_old_one(make_cell, tmp_path):
    run_all([make_cell()], tmp_path)
    changed = make_cell(arguments={"noise": 1.0})
    assert run_all([changed], tmp_path) == [changed]
    assert [record.cell for record in read_bench(tmp_path).records] == [changed]


def test_labels_can_be_changed_without_running_anything_again(make_cell, make_record, tmp_path):
    run_all([make_cell()], tmp_path)
    renamed = make_cell(problem_label="Branin")
    assert run_all([renamed], tmp_path) == []
    labels = [record.cell.problem_label for record in read_bench(tmp_path).records]
    assert labels == ["branin", "Branin"]


def test_cells_still_to_come_are_counted(make_cell, tmp_path):
    cells = [make_cell(seed=seed) for seed in range(3)]
    open_bench(tmp_path, cells, **WORDS)
    assert read_bench(tmp_path).n_missing == 3


def test_a_folder_that_is_no_bench_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"no bench in .*: it has no file bench\.json"):
        read_bench(tmp_path)


@pytest.mark.parametrize("text", ["not JSON", "[]", json.dumps({"format": 99})])
def test_a_file_that_is_not_ours_is_named(tmp_path, make_cell, text):
    (tmp_path / "bench.json").write_text(text)
    for use in (lambda: read_bench(tmp_path), lambda: open_bench(tmp_path, [make_cell()], **WORDS)):
        with pytest.raises(StorageError, match=r"bench\.json"):
            use()


def test_two_suites_are_not_kept_in_one_folder(tmp_path, make_cell):
    open_bench(tmp_path, [make_cell()], **WORDS)
    with pytest.raises(UsageError, match="holds the suite"):
        open_bench(tmp_path, [make_cell()], **WORDS | {"suite": "other"})
    assert read_bench(tmp_path).suite == WORDS["suite"]


def test_a_record_with_other_keys_than_ours_is_named(tmp_path, make_cell, make_record):
    cell = make_cell()
    run_all([cell], tmp_path)
    path = tmp_path / "cells" / f"{cell.key}.json"
    for damage in (path.read_text()[:99], path.read_text().replace('"status"', '"extra"')):
        path.write_text(damage)
        with pytest.raises(StorageError, match=rf"{cell.key}\.json is damaged, .* remove it"):
            read_bench(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path, make_cell):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        open_bench(tmp_path / "file", [make_cell()], **WORDS)


def test_processes_use_one_thread_and_this_one_is_left_as_it_was(make_cell, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    seen = []

    def watch(record):
        seen.append([runner.os.environ.get(n) for n in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")])

    run_cells([make_cell()], _opened(tmp_path, make_cell()), jobs=1, watch=watch)
    assert seen == [["1", "1"]]
    assert runner.os.environ["OMP_NUM_THREADS"] == "7"
    assert "MKL_NUM_THREADS" not in runner.os.environ


def test_two_jobs_find_what_this_process_finds_alone(make_cell, tmp_path):
    methods = ("random", "optuna:tpe", "cma")
    cells = [
        make_cell(
            arguments={"noise": 1.0},
            budget=Budget(evaluations=15),
            seed=seed,
            optimizer=method,
            optimizer_label=method,
        )
        for seed in range(2)
        for method in methods
    ]
    run_all(cells, tmp_path, jobs=2)
    there = [(r.cell, [i[:3] for i in r.incumbents]) for r in read_bench(tmp_path).records]
    assert there == [(cell, [i[:3] for i in play(cell).incumbents]) for cell in cells]


def _opened(out, cell):
    open_bench(out, [cell], **WORDS)
    return out

"""The network over MPI: equal to that in one process to the last bit, on any number of ranks."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from launching import launch, mpi
from network_runs import run
from networks import some_graph, wander

from bbopt.lacmas.faults import parse
from bbopt.lacmas.mpi import contiguous
from bbopt.lacmas.network import Network
from bbopt.running import ranks

FAULTS = "drop=0.3,late=0.3,kill=1@4"
CASES: list[dict[str, Any]] = [
    {"n": 1},
    {"n": 2},  # fewer agents than ranks
    {"n": 5, "partition": 0},
    {"n": 12, "partition": 1},
    {"n": 12, "faults": FAULTS},
    {"n": 12, "partition": 2, "faults": FAULTS + ",one_way=true"},
    *({"n": 6, "partition": seed, "seed": seed} for seed in range(10, 20)),  # early leavers
]
MANY = [
    *CASES,
    {"n": 1100},  # blocks of agents share a key
    *({"n": 6, "partition": seed, "seed": seed} for seed in range(20, 60)),
]


def in_one_process(case: dict[str, Any]) -> list[Any]:
    network = Network(some_graph(case["n"]), parse(case.get("faults"), 1))
    search, hashes = wander(network, seed=case.get("seed", 3))
    return json.loads(json.dumps([hashes, network.diagnostics(), search.x.tolist()]))


@mpi
@pytest.mark.parametrize(
    ("n", "cases"),
    [(3, CASES), *(pytest.param(n, MANY, marks=pytest.mark.slow) for n in (1, 2, 3, 7))],
)
def test_any_number_of_ranks_and_any_partition_give_the_same_bits(n, cases, tmp_path):
    done, seen = launch(n, "equal", tmp_path, cases=cases)
    assert (done.returncode, done.stderr) == (0, "")
    alone = [in_one_process(case) for case in cases]
    for rank in range(n):
        assert seen[rank] == alone


@mpi
def test_collective_calls_and_arguments_that_are_refused(tmp_path):
    done, seen = launch(3, "ranks_alone", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [[0, 0], [1, 1], [2, 2]]
    for one in seen:
        assert one["bcast"] == {"from": 2}
        assert one["allgather"] == ["", "x", "xx"]
        assert one["any"] == [True, False]
        assert one["int64"] == ["int64", rows]
        assert one["float32"] == ["float32", rows]
        assert one["bool"] == ["bool", [[False] * 2, [True] * 2, [True] * 2]]
        # on three agents in a row every message travels, and what travels is what is counted
        assert one["bytes"][0] == one["bytes"][1] > 0
        assert one["refused"] == [
            "weights and partition must be the same on every rank",
            "partition must be 4 ranks, one for each agent, got (2,)",
            "partition: a rank must be in [0, 2], got 3",
            "partition must be 4 ranks, one for each agent, got (4,)",
            "partition: blocks of 64 agents must stay on one rank",
        ]


@mpi
@pytest.mark.slow
def test_a_state_goes_from_one_process_to_three_ranks_and_back(tmp_path):
    def network() -> Network:
        return Network(some_graph(9), parse("drop=0.2,late=0.2", 1))

    _, whole = wander(network())
    half, first = wander(network(), pause=4)
    path = tmp_path / "state"
    path.write_bytes(pickle.dumps(half.state()))
    done, seen = launch(3, "resume", tmp_path, path=str(path))
    assert (done.returncode, done.stderr) == (0, "")
    later = pickle.loads(path.with_suffix(".later").read_bytes())
    _, rest = wander(network(), state=later)
    assert first + seen[0] + rest == whole


@mpi
@pytest.mark.slow
def test_lacmas_is_the_same_under_mpirun_and_goes_on_with_other_ranks_when_it_was_killed(tmp_path):
    alone = json.loads(json.dumps(run({"budget": 6 * 600, "seed": 2})))
    storage = str(tmp_path / "x.journal")
    given = {"budget": 6 * 600, "storage": storage}
    killed, _ = launch(3, "run", tmp_path, options=given | {"seed": 2, "dying": [4, 40]})
    assert killed.returncode != 0
    done, seen = launch(2, "run", tmp_path / "again", options=given | {"resume": True})
    assert done.returncode == 0, done.stderr
    assert seen == [alone, alone]


@pytest.mark.parametrize(
    ("n", "n_ranks", "sizes"),
    [(5, 2, [3, 2]), (2, 4, [1, 1, 0, 0]), (1000, 3, [334, 333, 333]), (1100, 2, [576, 524])],
)
def test_parts_are_equal_and_keep_blocks_together(n, n_ranks, sizes):
    owners = contiguous(n, n_ranks)
    assert np.bincount(owners, minlength=n_ranks).tolist() == sizes
    assert (np.diff(owners) >= 0).all()


def test_who_waits_asks_ever_more_rarely(monkeypatch):
    now, pauses = [0.0], []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        now[0] += max(seconds, 1e-6)

    monkeypatch.setattr(ranks.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(ranks.time, "sleep", sleep)

    class Request:
        def Test(self) -> bool:  # noqa: N802
            return now[0] > 10.0

    n_polls = sum(1 for _ in ranks._polls(Request()))
    assert pauses[0] == 0
    assert pauses[-1] == ranks.LONGEST
    assert all(b >= a for a, b in pairwise(pauses))
    assert n_polls < 2500  # ten seconds at about 5 ms each

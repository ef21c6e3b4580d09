"""Ranks killed under Open MPI's fault tolerance: the others finish and say what is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from launching import launch
from networks import some_graph, wander

from bbopt.lacmas.faults import Faults
from bbopt.lacmas.mpi import contiguous
from bbopt.lacmas.network import Network

pytestmark = [pytest.mark.ulfm, pytest.mark.mpi]
pytest.importorskip("mpi4py")

ULFM = ("--with-ft", "ulfm")


@pytest.mark.parametrize("victims", [{2: 3}, {1: 1}, {1: 2, 3: 2}, {3: 2, 1: 5}])
def test_the_others_go_on_as_if_the_agents_of_the_dead_had_died(
    victims: dict[int, int], tmp_path: Path
) -> None:
    n, n_ranks = 10, 4
    owners = contiguous(n, n_ranks)
    kill = {int(i): victims[owners[i]] for i in range(n) if owners[i] in victims}
    network = Network(some_graph(n), Faults(1, kill=kill))
    _, hashes = wander(network, last=10)
    done, seen = launch(n_ranks, "killed", tmp_path, *ULFM, agents=n, victims=victims)
    assert done.returncode == 0, done.stderr
    for rank, one in enumerate(seen):
        if rank in victims:
            assert one is None
            continue
        assert one["hashes"] == hashes
        assert one["components"] == network.components.tolist()
        assert one["bytes"] == network.bytes_sent[owners == rank].tolist()
    lost = [i for i in range(n) if owners[i] in victims]
    assert f"lost agents {', '.join(map(str, lost))} with rank" in done.stderr


@pytest.mark.parametrize("seed", range(10))
def test_a_rank_killed_at_any_moment_is_left_behind(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    n_ranks, n_victims = int(rng.integers(3, 6)), 1 + seed % 2
    victims = rng.choice(np.arange(1, n_ranks), n_victims, replace=False).tolist()
    seconds = {rank: float(rng.uniform(0, 0.3)) for rank in victims}
    done, seen = launch(n_ranks, "ambushed", tmp_path, *ULFM, agents=13, seconds=seconds)
    assert done.returncode == 0, done.stderr
    left = [rank for rank in range(n_ranks) if rank not in victims]
    living = (~np.isin(contiguous(13, n_ranks), victims)).tolist()
    for rank, one in enumerate(seen):
        assert one == (None if rank in victims else {"living": left, "agents": living})


def test_without_rank_0_the_run_ends_with_a_clear_error(tmp_path: Path) -> None:
    _, seen = launch(3, "killed", tmp_path, *ULFM, agents=6, victims={0: 3})
    said = {"error": "rank 0 has died, which decides and writes: resume the run"}
    assert seen == [None, said, said]


def test_lacmas_finishes_without_a_rank_and_its_storage_goes_on(tmp_path: Path) -> None:
    storage = str(tmp_path / "x.journal")
    given: dict[str, Any] = {"budget": 6 * 600, "storage": storage, "seed": 2}
    done, seen = launch(3, "run", tmp_path, *ULFM, options=given | {"dying": [4, 40]})
    assert done.returncode == 0, done.stderr
    assert "lost agents 4, 5 with rank 2" in done.stderr
    assert seen[2] is None
    assert seen[0] == seen[1]
    assert seen[0]["best"] is not None
    assert seen[0]["stop"] == "evaluations"
    rows = seen[0]["rows"]
    assert [row["round"] for row in rows] == list(range(1, len(rows) + 1))
    spent = [row["evaluations"] for row in rows]
    assert spent == sorted(spent)  # what the dead have spent stays spent
    assert json.dumps(rows).count("NaN") == 0

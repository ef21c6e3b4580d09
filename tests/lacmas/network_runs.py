"""What the tests run under mpirun: ``network_runs.py WHAT FOLDER JSON``.

Every rank writes what it saw to a file of its own.
"""

from __future__ import annotations

import json
import logging
import os
import pickle
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from networks import Wanderers, headers, some_graph, wander
from swarms import Costs

import bbopt
from bbopt.errors import BBOptError, UsageError
from bbopt.lacmas.faults import parse
from bbopt.lacmas.mpi import MPINetwork
from bbopt.running.ranks import Ranks, world


class Weighing(MPINetwork):
    """Counts the bytes that are handed to MPI."""

    handed = 0

    def _alltoall(self, buffer: Any, goes: list[int], comes: list[int]) -> tuple[Any, Any]:
        assert buffer.size == sum(goes)
        self.handed += buffer.nbytes
        return super()._alltoall(buffer, goes, comes)


def equal(ranks: Ranks, cases: list[dict[str, Any]]) -> list[Any]:
    """Hashes of each case; its partition is drawn where it has a number."""
    results = []
    for case in cases:
        n, partition = case["n"], case.get("partition")
        if partition is not None:
            partition = np.random.default_rng(partition).integers(ranks.Get_size(), size=n)
        faults = parse(case.get("faults"), 1)
        network = MPINetwork(some_graph(n), ranks, partition, faults)
        search, hashes = wander(network, seed=case.get("seed", 3))
        results.append([hashes, network.diagnostics(), network.gather(search.x).tolist()])
    return results


def resume(ranks: Ranks, path: str) -> list[str]:
    """Go on from a state, and leave another one for the parent to go on from."""
    network = MPINetwork(some_graph(9), ranks, faults=parse("drop=0.2,late=0.2", 1))
    state = pickle.loads(Path(path).read_bytes())
    search, hashes = wander(network, state=state, pause=state["round_"] + 2)
    state = search.state()
    if ranks.Get_rank() == 0:
        Path(path).with_suffix(".later").write_bytes(pickle.dumps(state))
    return hashes


def ranks_alone(ranks: Ranks) -> dict[str, Any]:
    """What the collective calls return."""
    rank, size = ranks.Get_rank(), ranks.Get_size()
    seen = {
        "bcast": ranks.bcast({"from": rank} if rank == size - 1 else None, root=size - 1),
        "allgather": ranks.allgather("x" * rank),
        "any": [ranks.any(rank == 1), ranks.any(False)],
    }
    network = Weighing(some_graph(size), ranks)  # an agent a rank: all that is sent travels
    for dtype in ("bool", "int64", "float32"):
        rows = network.gather(np.full((len(network.agents), 2), rank).astype(dtype))
        seen[dtype] = [str(rows.dtype), rows.tolist()]
    network.exchange(np.ones((len(network.agents), 5)), headers(len(network.agents)))
    network.mix(np.ones((len(network.agents), 3)))
    network.swap(np.ones(len(network.rows)))
    seen["bytes"] = [network.handed, int(network.bytes_sent.sum())]
    return seen | {"refused": refused(ranks)}


def refused(ranks: Ranks) -> list[str]:
    """What is said of wrong arguments, each the same on every rank."""
    graph, size = some_graph(4), ranks.Get_size()
    calls = [
        lambda: MPINetwork(some_graph(4, seed=ranks.Get_rank()), ranks),
        lambda: MPINetwork(graph, ranks, [0, 0]),
        lambda: MPINetwork(graph, ranks, [0, 0, 0, size]),
        lambda: MPINetwork(graph, ranks, [0.0, 0.0, 0.0, 0.0]),
        lambda: MPINetwork(some_graph(1001), ranks, np.arange(1001) % size),
    ]
    said = []
    for call in calls:
        try:
            call()
            said.append("")
        except UsageError as error:
            said.append(str(error))
    return said


def killed(ranks: Ranks, agents: int, victims: dict[str, int]) -> dict[str, Any]:
    """Ranks that end themselves before a round's exchange."""
    mine = victims.get(str(ranks.Get_rank()))

    def before(search: Wanderers) -> None:
        if search.network.round_ == mine:
            os.kill(os.getpid(), signal.SIGKILL)

    network = MPINetwork(some_graph(agents), ranks)
    _, hashes = wander(network, last=10, before=before)
    parts = network.components.tolist()
    return {"hashes": hashes, "components": parts, "bytes": network.bytes_sent.tolist()}


def ambushed(ranks: Ranks, agents: int, seconds: dict[str, float]) -> dict[str, Any]:
    """Ranks that end at a moment of their own, wherever that is."""
    victims = {int(rank): after for rank, after in seconds.items()}
    network = MPINetwork(some_graph(agents), ranks)
    if ranks.Get_rank() in victims:
        ends = (os.getpid(), signal.SIGKILL)
        threading.Timer(victims[ranks.Get_rank()], os.kill, ends).start()
    search, _ = wander(network, last=20, d=500)
    n_calls = 0
    while not victims.keys().isdisjoint(ranks.living.tolist()):
        n_calls += 1
        rows, living = network.gather(network.mix(search.x)), network.living
        assert ranks.bcast(n_calls) == n_calls
        assert len(ranks.allgather(None)) == len(ranks.living)
        assert np.isfinite(rows[living]).all()
    return {"living": ranks.living.tolist(), "agents": network.living.tolist()}


class Dying(Costs):
    """Ends the process that asks for the cost of an agent for the n-th time."""

    def __init__(self, agent: int, call: int) -> None:
        super().__init__()
        self.agent, self.left = agent, call

    def evaluate_array(self, x: Any, agent: int, rng: Any) -> Any:
        self.left -= agent == self.agent
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().evaluate_array(x, agent, rng)


def run(options: dict[str, Any]) -> dict[str, Any]:
    """A whole run of LAC-MAS."""
    dying = options.pop("dying", None)
    problem = Costs() if dying is None else Dying(*dying)
    settings = {"variant": "paper", "particles": 12}
    result = bbopt.run(problem, "lacmas", settings=settings, **options)
    rows = [{k: v for k, v in row.items() if "seconds" not in k} for row in result.rounds]
    best = None if result.best is None else [result.best.params, result.best.value]
    return {"rows": rows, "best": best, "stop": result.stop_reason}


def main() -> None:
    what, folder, options = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    logging.basicConfig(format="%(message)s")
    if what == "run":
        seen: Any = run(options["options"])
        rank = world().Get_rank()
    else:
        ranks = Ranks(world())
        rank = ranks.Get_rank()
        try:
            calls = {f.__name__: f for f in (equal, resume, ranks_alone, killed, ambushed)}
            seen = calls[what](ranks, **options)
        except BBOptError as error:
            seen = {"error": str(error)}
    (folder / f"{rank}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main()

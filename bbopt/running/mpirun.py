"""Under ``mpirun``: who we are among the ranks, seen before mpi4py is imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TYPE_CHECKING, TypeVar

from bbopt.errors import UsageError, require

if TYPE_CHECKING:
    from bbopt.running.ranks import Ranks

T = TypeVar("T")

# what the launchers of MPICH, Open MPI and Slurm (with PMI) tell each process
_SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS", "PALS_SIZE")
_RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "MPI_LOCALRANKID", "PALS_RANKID")


def n_ranks() -> int:
    """How many ranks the launcher started; 1 without one."""
    return _first(_SIZES, 1)


def rank() -> int:
    """Our rank; 0 without a launcher."""
    return _first(_RANKS, 0) if n_ranks() > 1 else 0


def together(work: Callable[[Ranks], T]) -> T:
    """Run ``work(ranks)`` on every rank; an error on any of them ends all, with one message."""
    from bbopt.running.ranks import Ranks, world  # numpy is not needed to see who we are

    comm = Ranks(world())
    try:
        return work(comm)
    except Exception as error:
        print(f"bbopt: error on rank {comm.Get_rank()}: {error}", file=sys.stderr, flush=True)
        comm.Abort(2 if isinstance(error, UsageError) else 1)
        raise


def on_rank_zero(work: Callable[[Executor], T]) -> T:
    """Run ``work`` on rank 0, with an executor in which the other ranks evaluate for it.

    Every rank returns what it returned. What it raises is raised on rank 0; the other ranks
    leave quietly with exit code 1.
    """
    from bbopt.running.ranks import world

    comm = world()
    futures = require("mpi4py.futures", extra="swarm", needed_by="a run under mpirun")
    result: T | None = None
    error: BaseException | None = None
    with futures.MPICommExecutor(comm, root=0) as executor:
        if executor is not None:
            try:
                result = work(executor)
            except BaseException as caught:  # noqa: BLE001 - the others must not wait for ever
                error = caught
    failed, result = comm.bcast((error is not None, result), root=0)
    if error is not None:
        raise error
    if failed:
        raise SystemExit(1)
    return result


def _first(names: tuple[str, ...], default: int) -> int:
    for name in names:
        if os.environ.get(name, "").isdigit():
            return int(os.environ[name])
    return default

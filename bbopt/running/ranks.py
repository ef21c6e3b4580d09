"""The ranks of a run: collective calls that wait without a core, and outlive a dead rank.

MPI's own collective calls spin while they wait; these poll, ever more slowly. Where the launcher
allows it (Open MPI, ``mpirun --with-ft ulfm``), a rank that dies in the middle of a call does not
end the others: they agree that the call has failed, leave the dead behind and repeat it. With any
other MPI the whole job ends, and ``--resume`` continues.
"""

from __future__ import annotations

import atexit
import os
import pickle
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from bbopt.errors import BBOptError, require

T = TypeVar("T")
Bytes = npt.NDArray[np.uint8]

_ULFM = "OMPI_MCA_mpi_ft_enable"  # what --with-ft ulfm tells each rank

SPIN = 50e-6
"""Seconds for which a call is polled without a pause."""
SHARE = 0.05
"""Length of a pause between polls, as a share of what the call has waited so far ..."""
SHORTEST, LONGEST = 50e-6, 5e-3
"""... within these bounds, in seconds."""
TRIALS = 5
"""How often a call that fails is repeated while no rank is missing: deaths may be told late."""


def outlives_deaths() -> bool:
    """Whether the launcher was asked for an MPI in which a rank may die."""
    return os.environ.get(_ULFM) in ("1", "true")


def world() -> Any:
    """The communicator of all ranks.

    Raises
    ------
    MissingExtra
        If mpi4py is not installed.
    """
    needed = {"extra": "swarm", "needed_by": "a run under mpirun"}
    if outlives_deaths():  # MPI's own end may wait for the dead, now and then for ever
        require("mpi4py", **needed).rc.finalize = False
        atexit.register(_finalize)
    return require("mpi4py.MPI", **needed).COMM_WORLD


def _finalize() -> None:
    from mpi4py import MPI

    if not Ranks.has_lost and not MPI.Is_finalized():
        MPI.Finalize()


class Ranks:
    """All ranks of a communicator, by the numbers that they had at the start.

    Every rank must make the same calls in the same order. ``bcast``, ``allgather``, ``Get_rank``,
    ``Get_size`` and ``Abort`` are called as those of mpi4py.

    Parameters
    ----------
    comm : mpi4py communicator
        All ranks; it is duplicated, so that it stays usable. Collective.

    Attributes
    ----------
    comm : mpi4py communicator
        The living ranks; another one after a death.
    living : (r,) int array
        Their numbers, in the order of :attr:`comm`.
    """

    has_lost = False
    """Whether this process knows of a rank that has died."""

    def __init__(self, comm: Any) -> None:
        self._mpi = require("mpi4py.MPI", extra="swarm", needed_by="a run under mpirun")
        self.comm = comm.Dup()
        self._first = self.comm.Get_group()
        self._rank: int = comm.Get_rank()
        self._size: int = comm.Get_size()
        self.living = np.arange(self._size)
        self._abandoned: list[Any] = []  # which may still write into their buffers
        self.outlives = outlives_deaths()

    def Get_rank(self) -> int:  # noqa: N802 - as in mpi4py
        """Our number."""
        return self._rank

    def Get_size(self) -> int:  # noqa: N802
        """How many ranks there were at the start."""
        return self._size

    def Abort(self, code: int = 1) -> None:  # noqa: N802
        """End all ranks."""
        self.comm.Abort(code)

    # --- collective calls -------------------------------------------------------------------

    def bcast(self, value: T, root: int = 0) -> T:
        """The value that ``root`` has given, on every rank."""
        return self.together(lambda: self._bcast(value, root))

    def allgather(self, value: T) -> list[T]:
        """The values of all living ranks, in their order."""

        def gather() -> list[T]:
            packed = np.frombuffer(pickle.dumps(value), dtype=np.uint8)
            sizes = np.empty(len(self.living), dtype=np.int64)
            self.wait(self.comm.Iallgather(np.array([len(packed)]), sizes))
            parts = self.gather_bytes(packed, sizes)
            return [pickle.loads(part.data) for part in np.split(parts, np.cumsum(sizes)[:-1])]

        return self.together(gather)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any living rank."""

        def reduce() -> bool:
            result = np.zeros(1, dtype=np.int64)
            mine = np.array([flag], dtype=np.int64)
            self.wait(self.comm.Iallreduce(mine, result, self._mpi.MAX))
            return bool(result[0])

        return self.together(reduce)

    def together(self, call: Callable[[], T]) -> T:
        """Make a collective call of our own, again and again until no rank dies in it.

        Parameters
        ----------
        call : callable
            Communicates over :attr:`comm`, waits with :meth:`wait`, and may be repeated.

        Raises
        ------
        BBOptError
            If rank 0 has died, which writes and decides, or if the call fails without a death.
        """
        if not self.outlives:
            return call()
        n_alike = 0
        while n_alike < TRIALS:
            result, error = self._try(call)
            if self._agree(error is None):
                return result  # type: ignore[return-value]
            n_before = len(self.living)
            self._leave_the_dead()
            n_alike = n_alike + 1 if len(self.living) == n_before else 0
        raise BBOptError(f"MPI fails although no rank has died: {error or 'on another rank'}")

    # --- inside a collective call -------------------------------------------------------------

    def wait(self, request: Any) -> None:
        """Wait for a request of mpi4py without burning a core."""
        for _ in _polls(request):
            if self.outlives and self.comm.Is_revoked():
                self._abandoned.append(request)
                raise self._mpi.Exception(self._mpi.ERR_REVOKED)

    def gather_bytes(self, mine: Bytes, sizes: npt.NDArray[np.int64]) -> Bytes:
        """The bytes of all living ranks one after the other; ``sizes`` says how many of each."""
        result = np.empty(int(sizes.sum()), dtype=np.uint8)
        byte = self._mpi.BYTE
        starts = np.cumsum(sizes) - sizes
        where = [result, sizes.tolist(), starts.tolist(), byte]
        self.wait(self.comm.Iallgatherv([mine, len(mine), byte], where))
        return result

    def _bcast(self, value: T, root: int) -> T:
        is_root = self._rank == root
        packed = np.frombuffer(pickle.dumps(value), dtype=np.uint8) if is_root else None
        size = np.array([0 if packed is None else len(packed)])
        place = int(np.searchsorted(self.living, root))
        self.wait(self.comm.Ibcast(size, place))
        buffer = np.empty(size[0], dtype=np.uint8) if packed is None else packed.copy()
        self.wait(self.comm.Ibcast([buffer, self._mpi.BYTE], place))
        received: T = value if is_root else pickle.loads(buffer.data)
        return received

    # --- after a death ------------------------------------------------------------------------

    def _try(self, call: Callable[[], T]) -> tuple[T | None, Exception | None]:
        """The result of the call, or what MPI has raised: deaths come under many names."""
        try:
            result = call()
            self.wait(self.comm.Ibarrier())  # to agree spins: let it be short
        except self._mpi.Exception as error:
            self.comm.Revoke()  # those who wait for us in this call need not
            return None, error
        return result, None

    def _agree(self, done: bool) -> bool:
        """Whether the call went through everywhere: one answer for all the living.

        A rank that got through may not go on alone: the others would repeat the call without it.
        """
        try:
            return bool(self.comm.Agree(int(done)))
        except self._mpi.Exception:  # raised on all ranks alike when one has died in it
            return False

    def _leave_the_dead(self) -> None:
        mpi = self._mpi
        Ranks.has_lost = True
        self.comm = self.comm.Shrink()
        self.comm.Set_errhandler(mpi.ERRORS_RETURN)
        group = self.comm.Get_group()
        self.living = np.array(mpi.Group.Translate_ranks(group, None, self._first))
        if self.living[0] != 0:
            raise BBOptError("rank 0 has died, which decides and writes: resume the run")


def _polls(request: Any) -> Iterator[None]:
    """Test a request until it is done, ever more slowly."""
    start = time.perf_counter()
    while not request.Test():
        yield
        waited = time.perf_counter() - start
        time.sleep(min(max(SHARE * waited, SHORTEST), LONGEST) if waited > SPIN else 0)

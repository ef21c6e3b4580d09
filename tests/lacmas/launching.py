"""Starting programs under mpirun."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = Path(__file__).with_name("network_runs.py")
LAUNCHER = Path(sys.executable).with_name("mpirun")
HAS_MPI = LAUNCHER.exists() and importlib.util.find_spec("mpi4py") is not None
WATCHDOG = 100  # seconds until a run counts as hung


def mpi(test: Any) -> Any:
    """Mark a test that starts mpirun."""
    reason = "no mpirun beside Python, or no mpi4py (extra swarm)"
    return pytest.mark.mpi(pytest.mark.skipif(not HAS_MPI, reason=reason)(test))


def launch(
    n: int, what: str, folder: Path, *flags: str, **options: Any
) -> tuple[subprocess.CompletedProcess[str], list[Any]]:
    """Run ``network_runs`` on n ranks; what each has seen, None of those that died."""
    folder.mkdir(exist_ok=True)
    program = (str(PROGRAM), what, str(folder), json.dumps(options))
    done = subprocess.run(
        [str(LAUNCHER), *flags, "-n", str(n), sys.executable, "-W", "error", *program],
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            # what Open MPI wants from root, and on fewer cores than ranks
            "OMPI_ALLOW_RUN_AS_ROOT": "1",
            "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
        },
        capture_output=True,
        text=True,
        errors="replace",
        timeout=WATCHDOG,
        check=False,
    )
    files = [folder / f"{rank}.json" for rank in range(n)]
    return done, [json.loads(f.read_text()) if f.exists() else None for f in files]

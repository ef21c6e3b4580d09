"""What all tests share."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Tests run side by side: more than one BLAS thread each, and they wait for each other. The
# libraries read this when numpy is loaded, which is later.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell starts what it runs in the background deaf to Ctrl-C, and so would be every process that
# a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes depends on what else the machine does; tests are never timed, and
# pass always or never.
settings.register_profile("bbopt", deadline=None, derandomize=True)
settings.load_profile("bbopt")


def server_programs() -> Path | None:
    """The folder of PostgreSQL's programs, as Debian installs them."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def as_nobody(*command: object) -> list[str]:
    """A command line that root runs as an ordinary user: PostgreSQL refuses root."""
    words = list(map(str, command))
    return ["runuser", "-u", "nobody", "--", *words] if os.geteuid() == 0 else words


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a server that is started for the tests, on loopback."""
    programs = server_programs()
    if programs is None:
        pytest.skip("PostgreSQL's server is not installed (Debian's package postgresql)")
    pytest.importorskip("psycopg", reason="psycopg is not installed (extra dev)")
    folder = Path(tempfile.mkdtemp(prefix="bbopt-postgresql-"))
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = f"-c listen_addresses=127.0.0.1 -c port={port} -c fsync=off"
    data = folder / "data"
    initdb = ("-A", "trust", "-U", "tester", "-E", "UTF8", "--locale=C", "-N")
    start = ("-w", "-l", folder / "log", "-o", f"{settings} -c unix_socket_directories=", "start")
    quiet: dict[str, Any] = {"check": True, "stdout": subprocess.DEVNULL, "cwd": "/"}
    try:
        subprocess.run(as_nobody(programs / "initdb", "-D", data, *initdb), **quiet)
        subprocess.run(as_nobody(programs / "pg_ctl", "-D", data, *start), **quiet)
        try:
            yield f"postgresql+psycopg://tester@127.0.0.1:{port}/postgres"
        finally:
            stop = ("-m", "immediate", "-w", "stop")
            subprocess.run(as_nobody(programs / "pg_ctl", "-D", data, *stop), **quiet)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def empty_postgresql(postgresql: str) -> str:
    """The URL of that server, with nothing in it."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(
        postgresql, isolation_level="AUTOCOMMIT", poolclass=sqlalchemy.pool.NullPool
    )
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("DROP SCHEMA public CASCADE"))
        connection.execute(sqlalchemy.text("CREATE SCHEMA public"))
    return postgresql


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests of Optuna's own suites our samplers pass."""
    counts = {
        outcome: sum(
            report.nodeid.startswith("tests/integrations/test_optuna_suites.py")
            for report in terminalreporter.stats.get(outcome, [])
        )
        for outcome in ("passed", "failed", "error", "skipped")
    }
    if any(counts.values()):
        said = ", ".join(f"{n} {outcome}" for outcome, n in counts.items() if n)
        terminalreporter.write_line(f"Optuna's sampler suites: {said}")

"""What all tests share."""

import os

from hypothesis import settings

# Tests run side by side: more than one BLAS thread each, and they wait for each other. The
# libraries read this when numpy is loaded, which is later.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes depends on what else the machine does; tests are never timed.
settings.register_profile("bbopt", deadline=None)
settings.load_profile("bbopt")


def pytest_terminal_summary(terminalreporter):
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

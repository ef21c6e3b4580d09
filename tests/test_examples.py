"""Every file in ``examples/`` runs, as a user would run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bbopt import sandbox
from bbopt.errors import UsageError

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))
COSTLY = {"past_studies"}  # it trains a network
NEEDS = {  # beyond the core
    "agreement": ("matplotlib", "networkx"),
    "dying_node": ("networkx",),
    "federated": ("networkx",),
    "past_studies": ("torch",),
    "sensors_under_mpirun": ("networkx",),
}
CASES = [
    pytest.param(path, id=path.stem, marks=[pytest.mark.slow] if path.stem in COSTLY else [])
    for path in EXAMPLES
]


@pytest.mark.parametrize("path", CASES)
def test_example_runs_and_says_what_it_found(path, tmp_path):
    for package in NEEDS.get(path.stem, ()):
        pytest.importorskip(package)
    if "bbopt.sandbox" in path.read_text():
        try:
            sandbox.choose("auto")
        except UsageError as error:
            pytest.skip(str(error))
    run = subprocess.run(
        [sys.executable, "-W", "error", str(path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip()
    assert not run.stderr


def test_the_prompt_for_support_tickets_is_short_work_and_gets_better(tmp_path):
    path = next(path for path in EXAMPLES if path.stem == "support_tickets")
    assert len(path.read_text().splitlines()) < 40
    run = subprocess.run(
        [sys.executable, str(path)], cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    before, after, stderr = map(float, re.findall(r"\d\.\d\d", run.stdout.splitlines()[-1]))
    assert after - 2 * stderr > before

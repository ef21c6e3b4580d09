"""Who a run is: what is written down, and what never is."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from bbopt.running.identity import command_line


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["/usr/bin/bbopt", "run", "x y"], "bbopt run 'x y'"),
        (["/here/tune.py", "--fast"], "python /here/tune.py --fast"),
        (
            ["bbopt", "--storage", "postgresql://me:s3cret@host:5432/db"],
            "bbopt --storage 'postgresql://me:***@host:5432/db'",
        ),
        (
            ["bbopt", "--storage=postgresql+psycopg://me:a/b:c@host/db"],
            "bbopt '--storage=postgresql+psycopg://me:***@host/db'",
        ),
        (["bbopt", "postgresql://me:p@ss@host/db"], "bbopt 'postgresql://me:***@host/db'"),
        (["bbopt", "sqlite:///x.db"], "bbopt sqlite:///x.db"),
    ],
)
def test_the_command_line_is_kept_without_passwords(
    argv: list[str], shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=None))
    assert command_line() == shown


def test_a_module_that_was_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/x/bbopt/cli/__main__.py", "run"])
    main = SimpleNamespace(__spec__=SimpleNamespace(name="bbopt.cli.__main__"))
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert command_line() == "python -m bbopt.cli run"

"""Optuna's storages: where they are, and how their failures are told."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
import sqlalchemy

from bbopt.errors import StorageError, StudyExists
from bbopt.running.backends import folder_beside, open_storage, opened_storage, storage_errors


@pytest.mark.parametrize(
    ("location", "folder"),
    [
        ("runs/x.journal", "runs/x.journal.bbopt"),
        ("sqlite:///runs/x.db", "runs/x.db.bbopt"),
        ("sqlite:////tmp/x.db", "/tmp/x.db.bbopt"),
        ("sqlite+pysqlite:///x.db", "x.db.bbopt"),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("postgresql://me@host/db", None),
        ("postgresql+psycopg://me@host/db", None),
    ],
)
def test_a_file_has_a_folder_beside_it_and_a_server_has_none(
    location: str, folder: str | None
) -> None:
    assert folder_beside(location) == (None if folder is None else Path(folder))


@pytest.mark.parametrize(
    "error",
    [
        OSError("disk full"),
        KeyError("no such study"),
        RuntimeError("two\nlines"),
        ValueError(),
        sqlalchemy.exc.OperationalError("SELECT 1", {}, Exception("locked")),
    ],
)
def test_failures_are_one_line_that_names_the_storage(error: Exception) -> None:
    with pytest.raises(StorageError) as caught, storage_errors("here"):
        raise error
    assert str(caught.value).startswith(f"storage here: {type(error).__name__}: ")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


def test_usage_errors_pass_as_they_are() -> None:
    with pytest.raises(StudyExists, match="as it is"), storage_errors("here"):
        raise StudyExists("as it is")


def test_a_storage_that_is_opened_to_read_is_closed_again(tmp_path: Path) -> None:
    location = f"sqlite:///{tmp_path}/x.db"
    optuna.create_study(study_name="s", storage=open_storage(location))
    with opened_storage(location) as storage:
        (study,) = storage.get_all_studies()
        assert study.study_name == "s"
        engine = storage._backend.engine
        assert engine.pool.checkedin() + engine.pool.checkedout() > 0
    assert engine.pool.checkedin() + engine.pool.checkedout() == 0


def test_opening_says_nothing_and_leaves_optunas_verbosity_as_it_was(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for level in (optuna.logging.INFO, optuna.logging.ERROR):
        optuna.logging.set_verbosity(level)
        open_storage(f"sqlite:///{tmp_path}/{level}.db")
        assert optuna.logging.get_verbosity() == level
    optuna.logging.set_verbosity(optuna.logging.INFO)
    assert capfd.readouterr() == ("", "")

"""Optuna's storages: opened at a URL or a path, closed, their failures in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bbopt.errors import StorageError, UsageError

if TYPE_CHECKING:
    from optuna.storages import BaseStorage


def is_missing(location: str) -> bool:
    """Whether the storage is a file that is not there."""
    path = _file(location)
    return path is not None and not path.exists()


def open_storage(location: str) -> BaseStorage:
    """Optuna's storage at a URL or in a journal file; made if it is not there."""
    from optuna.storages import RDBStorage, _CachedStorage

    if "://" in location:
        with quiet_optuna():
            return _CachedStorage(RDBStorage(location))
    from bbopt.running.journal import open_journal

    return open_journal(Path(location))


def close_storage(storage: BaseStorage) -> None:
    """Close the connections to a database."""
    storage.remove_session()
    engine = getattr(getattr(storage, "_backend", None), "engine", None)
    if engine is not None:
        engine.dispose()


@contextmanager
def opened_storage(location: str) -> Iterator[BaseStorage]:
    """Optuna's storage at a location where there is one, closed at the end."""
    if is_missing(location):
        raise StorageError(f"storage {location}: no such file")
    storage = open_storage(location)
    try:
        yield storage
    finally:
        close_storage(storage)


def folder_beside(location: str) -> Path | None:
    """The folder beside a file storage for locks and snapshots; None for a server."""
    path = _file(location)
    return None if path is None else Path(f"{path}.bbopt")


@contextmanager
def storage_errors(location: str) -> Iterator[None]:
    """Any failure of the storage as one line that names it."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, OSError, ImportError, KeyError, ValueError, RuntimeError) as error:
        if isinstance(error, UsageError):
            raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise StorageError(f"storage {location}: {type(error).__name__}: {reason[0]}") from error


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """No messages of Optuna below a warning."""
    import optuna

    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(level, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(level)


def _file(location: str) -> Path | None:
    """The file of a file storage; None for a server."""
    if "://" not in location:
        return Path(location)
    if location.startswith("sqlite"):
        from sqlalchemy.engine import make_url

        database = make_url(location).database
        if database and database != ":memory:":
            return Path(database)
    return None

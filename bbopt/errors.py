"""Every exception that bbopt raises on purpose.

::

    BBOptError                  base class; the command prints its message in one line
    ├── UsageError              a wrong argument (also a ValueError); exit code 2
    │   ├── SpaceError          a dimension, a space or params outside it
    │   ├── UnknownName         no problem or optimizer of that name (lists the nearest)
    │   ├── UnsupportedSpec     the optimizer cannot handle the problem
    │   ├── MissingExtra        an optional dependency is not installed (names the extra)
    │   ├── MissingData         a file of data is not there
    │   └── StudyExists         the study is there already and ``resume`` was not given
    └── StorageError            a storage that cannot be opened, read or written

What happens inside an evaluation is never raised: it is recorded in the trial's
:class:`~bbopt.Outcome`.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class BBOptError(Exception):
    """Base class of every error that bbopt raises on purpose."""


class UsageError(BBOptError, ValueError):
    """An argument is wrong; the message names it, what was given and what is allowed."""


class SpaceError(UsageError):
    """A dimension or a space is ill-formed, or params do not belong to it."""


class UnknownName(UsageError):
    """No problem or optimizer is registered under that name."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        super().__init__(kind, name, sorted(known))  # what pickle builds it from again

    def __str__(self) -> str:
        kind, name, known = self.args
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
        near = near or [other for other in known if name in other or other in name][:3]
        hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(known)}"
        return f"unknown {kind} {name!r}: {hint}"


class UnsupportedSpec(UsageError):
    """The optimizer cannot handle this problem: a dimension kind or a missing spec field."""


class MissingData(UsageError):
    """A file of data that may be absent is: what needs it is skipped."""


class MissingExtra(UsageError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, needed_by: str) -> None:
        super().__init__(package, extra, needed_by)

    def __str__(self) -> str:
        package, extra, needed_by = self.args
        return (
            f"{needed_by} needs the package {package!r}, which is not installed: "
            f"pip install '.[{extra}]' in the folder of bbopt"
        )


class StudyExists(UsageError):
    """A study of that name is in the storage already and ``resume`` was not given."""


class StorageError(BBOptError):
    """A storage cannot be opened, read or written."""


def require(package: str, *, extra: str, needed_by: str) -> ModuleType:
    """Import an optional dependency, or say in one line which extra brings it.

    Raises
    ------
    MissingExtra
        If the package is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] != package.split(".")[0]:
            raise
        raise MissingExtra(package, extra, needed_by) from None

"""From the name of a problem to the problem: a registered name, or one in the user's own code.

The user's own is named as ``module:attribute`` or ``path/to/file.py:attribute``, where the
attribute is a :class:`~bbopt.Problem`, a class of them, or a function that builds one.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

from bbopt import registry
from bbopt.base import Problem
from bbopt.errors import UsageError

_HINT = "a plain function is made a problem by bbopt.function.FunctionProblem(function, space)"


def load_problem(source: str, arguments: Mapping[str, Any]) -> Problem:
    """Build the problem that ``source`` names.

    Raises
    ------
    UnknownName
        If there is no such problem.
    UsageError
        If the user's module cannot be imported, has no such attribute or one that gives no
        problem, or the arguments are not those that it takes.
    """
    where, colon, attribute = source.rpartition(":")
    if not colon and source.endswith(".py"):
        raise UsageError(f"problem {source!r} must name the problem in the file: {source}:NAME")
    if not colon:
        return registry.problem(source, **arguments)
    if not where or not attribute:
        raise UsageError(f"problem must be MODULE:NAME or FILE.py:NAME, got {source!r}")
    module = _load_file(Path(where)) if where.endswith(".py") else _load_module(where)
    thing = _attribute(module, where, attribute)
    problem = thing if isinstance(thing, Problem) else _build(source, thing, arguments)
    if thing is problem and arguments:
        raise UsageError(f"problem {source!r} is built already and takes no --with")
    # a frozen dataclass is welcome, too
    object.__setattr__(problem, "name", problem.name or f"{Path(where).name}:{attribute}")
    object.__setattr__(problem, "arguments", dict(arguments))
    return problem


def _load_module(name: str) -> ModuleType:
    """Import a module, also from the current folder, as ``python -m`` does."""
    _search_first(Path.cwd())
    module: ModuleType = _executed(name, lambda: importlib.import_module(name))
    return module


def _load_file(path: Path) -> ModuleType:
    """Import a file, also what stands beside it, as ``python FILE`` does."""
    if not path.is_file():
        raise UsageError(f"problem: no such file: {path}")
    path = path.resolve()
    name = re.sub(r"\W", "_", path.stem)
    other = importlib.util.find_spec(name)
    if other is not None and other.origin != str(path):
        name = f"bbopt_user_{name}"  # the file must not hide a module of that name
    loader = SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    _search_first(path.parent)
    sys.modules[name] = module
    try:
        _executed(str(path), lambda: loader.exec_module(module))
    except UsageError:
        del sys.modules[name]
        raise
    import cloudpickle

    cloudpickle.register_pickle_by_value(module)  # other processes cannot import it by name
    return module


def _search_first(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _attribute(module: ModuleType, where: str, name: str) -> Any:
    if hasattr(module, name):
        return getattr(module, name)
    usable = [n for n, thing in vars(module).items() if _is_usable(module, n, thing)]
    raise UsageError(f"{where} has no {name!r}; problems in it may be: {', '.join(usable) or '-'}")


def _is_usable(module: ModuleType, name: str, thing: Any) -> bool:
    if name.startswith("_"):
        return False
    if isinstance(thing, Problem):
        return True
    is_own = getattr(thing, "__module__", None) == module.__name__
    is_problem_class = isinstance(thing, type) and issubclass(thing, Problem)
    return is_own and (is_problem_class or inspect.isfunction(thing))


def _build(source: str, thing: Any, arguments: Mapping[str, Any]) -> Problem:
    if not callable(thing):
        raise UsageError(f"problem {source!r} must be a Problem or build one, got {thing!r}")
    try:
        inspect.signature(thing).bind(**arguments)
    except (TypeError, ValueError) as error:
        hint = f"; {_HINT}" if inspect.isfunction(thing) else ""
        raise UsageError(f"problem {source!r} (--with KEY=VALUE): {error}{hint}") from None
    problem = _executed(source, lambda: thing(**arguments))
    if not isinstance(problem, Problem):
        raise UsageError(
            f"problem {source!r} must give a bbopt.Problem, got {type(problem).__name__}; {_HINT}"
        )
    return problem


def _executed(source: str, work: Callable[[], Any]) -> Any:
    """What the user's code gives; what it raises, in one line that names the line."""
    try:
        return work()
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"problem {source}: {_in_one_line(error)}") from error


def _in_one_line(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    at = ""
    if trace is not None and not isinstance(error, ImportError | SyntaxError):
        at = f" ({Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno})"
    return f"{type(error).__name__}: {error}{at}"

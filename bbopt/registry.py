"""Names -> optimizers and problems.

A package offers its own through the entry-point groups ``bbopt.optimizers`` and
``bbopt.problems``: each entry names a *family* (the part of a name before ``:`` or ``/``) and
the module whose import registers the family's names with the decorators below. The built-in
ones use the same door.
"""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeVar

from bbopt import settings as settings_module
from bbopt.base import Optimizer, Problem
from bbopt.errors import UnknownName, UsageError
from bbopt.space import Space
from bbopt.spec import Spec

OptimizerClass = TypeVar("OptimizerClass", bound=type[Optimizer])
ProblemFactory = TypeVar("ProblemFactory", bound=Callable[..., Problem])

logger = logging.getLogger("bbopt")

_optimizers: dict[str, type[Optimizer]] = {}
_problems: dict[str, Callable[..., Problem]] = {}


def register_optimizer(name: str) -> Callable[[OptimizerClass], OptimizerClass]:
    """Class decorator: make an optimizer known under ``name``.

    Raises
    ------
    UsageError
        If another class has that name.
    """

    def register(cls: OptimizerClass) -> OptimizerClass:
        _add(_optimizers, "optimizer", name, cls)
        cls.name = name
        return cls

    return register


def register_problem(name: str) -> Callable[[ProblemFactory], ProblemFactory]:
    """Decorator: make a problem class, or a function that builds one, known under ``name``.

    Raises
    ------
    UsageError
        If another factory has that name.
    """

    def register(factory: ProblemFactory) -> ProblemFactory:
        _add(_problems, "problem", name, factory)
        return factory

    return register


def optimizer(
    name: str,
    spec: Spec | Space | Mapping[str, Any],
    *,
    direction: str | None = None,
    seed: int = 0,
    worker: int = 0,
    llm: Any = None,
    proposer: Any = None,
    **settings: Any,
) -> Optimizer:
    """Build the optimizer registered under ``name``.

    Parameters
    ----------
    name : str
        As listed by ``bbopt optimizers``.
    spec : Spec, Space or mapping of str to dimension
        A problem's spec; a bare space leaves the rest unknown.
    direction : {"minimize", "maximize"}, optional
        For a bare space; "minimize" where None.
    seed, worker : int
        Seed of every draw, and the number of this optimizer in a shared study.
    llm : optional
        The client of a language model, for methods that use one.
    proposer : callable, optional
        ``(params, feedback, rng) -> params``: proposes in its place; what it raises or returns
        in vain costs that proposal alone, and the first is warned of.
    **settings
        The method's own, as listed by ``bbopt optimizers NAME``.

    Raises
    ------
    UnknownName
        If there is no such optimizer.
    UnsupportedSpec
        If it cannot handle the spec.
    UsageError
        If a setting is unknown or out of its range, or ``proposer`` cannot be called.

    Examples
    --------
    >>> import bbopt
    >>> opt = bbopt.optimizer("random", {"x": bbopt.Float(0, 1)}, seed=1)
    >>> opt.tell(opt.ask()[0], 0.3)
    >>> opt.best.value
    0.3
    """
    cls = optimizer_class(name)
    if not isinstance(spec, Spec):
        space = spec if isinstance(spec, Space) else Space(spec)
        spec = Spec(space=space, direction=direction or "minimize")  # type: ignore[arg-type]
    elif direction not in (None, spec.direction):
        raise UsageError(f"direction must be {spec.direction!r} as in the spec, got {direction!r}")
    built = settings_module.build(cls.Settings, settings, f"optimizer {name!r}")
    return cls(spec, seed=seed, worker=worker, settings=built, llm=llm, proposer=proposer)


def problem(name: str, **arguments: Any) -> Problem:
    """Build the problem registered under ``name``, a ``family/name``.

    Raises
    ------
    UnknownName
        If there is no such problem.
    UsageError
        If an argument is unknown or has a value that is not allowed.

    Examples
    --------
    >>> import bbopt
    >>> round(bbopt.problem("synthetic/branin").optimum, 4)
    0.3979
    """
    factory = problem_factory(name)
    allowed = problem_arguments(name)
    for argument in arguments:
        if argument not in allowed:
            raise UsageError(
                f"problem {name!r} has no argument {argument!r}; "
                f"allowed are {', '.join(allowed) or 'none'}"
            )
    missing = [a for a, p in allowed.items() if p.default is p.empty and a not in arguments]
    if missing:
        raise UsageError(f"problem {name!r} needs the argument {missing[0]!r}")
    built = factory(**arguments)
    built.name, built.arguments = name, arguments
    return built


def optimizer_class(name: str) -> type[Optimizer]:
    """The class registered under ``name``; raises :class:`UnknownName`."""
    _load_family("bbopt.optimizers", name, _optimizers)
    if name not in _optimizers:
        raise UnknownName("optimizer", str(name), optimizer_names())
    return _optimizers[name]


def problem_factory(name: str) -> Callable[..., Problem]:
    """What builds the problem registered under ``name``; raises :class:`UnknownName`."""
    _load_family("bbopt.problems", name, _problems)
    if name not in _problems:
        raise UnknownName("problem", str(name), problem_names())
    return _problems[name]


def problem_arguments(name: str) -> dict[str, inspect.Parameter]:
    """The arguments that the problem takes, by name."""
    parameters = inspect.signature(problem_factory(name)).parameters
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {argument: p for argument, p in parameters.items() if p.kind in named}


def optimizer_names() -> list[str]:
    """The names of all optimizers, sorted."""
    return _names("bbopt.optimizers", _optimizers)


def problem_names() -> list[str]:
    """The names of all problems, sorted."""
    return _names("bbopt.problems", _problems)


def _add(known: dict[str, Any], kind: str, name: str, thing: Any) -> None:
    other = known.get(name)
    if other is not None and _origin(other) != _origin(thing):
        raise UsageError(f"{kind} name {name!r} is taken by {'.'.join(_origin(other))}")
    known[name] = thing


def _origin(thing: Any) -> tuple[str, str]:
    return thing.__module__, thing.__qualname__


def _load_family(group: str, name: str, known: Mapping[str, Any]) -> None:
    """Import the modules that offer names of the family of ``name``."""
    if name not in known:
        family = str(name).replace("/", ":").split(":")[0]
        for module in _families(group).get(family, ()):
            importlib.import_module(module)


def _names(group: str, known: Mapping[str, Any]) -> list[str]:
    for family, modules in _families(group).items():
        for module in modules:
            try:
                importlib.import_module(module)
            except ImportError as error:  # one broken package must not hide all the others
                logger.warning("%s of the family %r are left out: %s", group, family, error)
    return sorted(known)


@lru_cache
def _families(group: str) -> dict[str, tuple[str, ...]]:
    from importlib.metadata import entry_points

    families: dict[str, tuple[str, ...]] = {}
    for entry in entry_points(group=group):
        modules = families.get(entry.name, ())
        families[entry.name] = (*(m for m in modules if m != entry.module), entry.module)
    return families

"""A plain function as a problem: what ``bbopt.minimize`` and ``maximize`` optimise."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from bbopt.base import Problem
from bbopt.errors import UsageError
from bbopt.space import Space
from bbopt.spec import Direction, Spec
from bbopt.trial import Trial


class FunctionProblem(Problem):
    """A function of ``params`` or ``(params, rng)``, also ``async def``.

    Parameters
    ----------
    function : callable
        Returns a value, or an Outcome of one evaluation. A second positional parameter, if
        it is required or called ``rng``, gets the generator of the evaluation's draws.
    space : Space or mapping of str to dimension
        What can be chosen.
    direction : {"minimize", "maximize"}
        Which values are better.
    **spec
        Other fields of :class:`~bbopt.Spec`.

    Raises
    ------
    UsageError
        If ``function`` is not callable or cannot be called with one or two positional
        arguments.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        space: Space | Mapping[str, Any],
        *,
        direction: Direction = "minimize",
        **spec: Any,
    ) -> None:
        if not callable(function):
            raise UsageError(f"function must be callable, got {function!r}")
        space = space if isinstance(space, Space) else Space(space)
        self._spec = Spec(space=space, direction=direction, **spec)
        self._function = function
        self._takes_rng = _takes_rng(function)
        self.name = getattr(function, "__name__", type(function).__name__)
        if any(inspect.iscoroutinefunction(f) for f in (function, type(function).__call__)):
            self.evaluate = self._evaluate_async  # type: ignore[method-assign]

    @property
    def spec(self) -> Spec:
        """All that an optimizer may know."""
        return self._spec

    def evaluate(self, trial: Trial, rng: np.random.Generator) -> Any:
        """Call the function once (``block`` is 1)."""
        return self._function(dict(trial.params), *([rng] if self._takes_rng else []))

    async def _evaluate_async(self, trial: Trial, rng: np.random.Generator) -> Any:
        return await self._function(dict(trial.params), *([rng] if self._takes_rng else []))


def _takes_rng(function: Callable[..., Any]) -> bool:
    """Whether the function is called with the generator too."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some builtins have none
        return False
    second = [p.name for p in signature.parameters.values()][1:2]
    if _accepts(signature, 2) and (second == ["rng"] or not _accepts(signature, 1)):
        return True
    if not _accepts(signature, 1):
        raise UsageError(f"function must take params, or params and rng, got {signature}")
    return False


def _accepts(signature: inspect.Signature, n: int) -> bool:
    try:
        signature.bind(*[None] * n)
    except TypeError:
        return False
    return True

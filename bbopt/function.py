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
        Returns a value, or an Outcome of one evaluation. A second positional parameter gets
        the generator of the evaluation's draws.
    space : Space or mapping of str to dimension
        What can be chosen.
    direction : {"minimize", "maximize"}
        Which values are better.
    **spec
        Other fields of :class:`~bbopt.Spec`.

    Raises
    ------
    UsageError
        If ``function`` is not callable or takes neither one nor two positional arguments.
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
        self._takes_rng = _n_positional(function) >= 2
        self.name = getattr(function, "__name__", type(function).__name__)
        if inspect.iscoroutinefunction(function):
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


def _n_positional(function: Callable[..., Any]) -> int:
    """How many positional arguments the function requires, or 2 where it takes ``rng``."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # some builtins have no signature
        return 1
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = [p for p in positional if p.default is p.empty]
    if len(required) > 2 or not positional:
        raise UsageError(
            f"function must take params, or params and rng, got {inspect.signature(function)}"
        )
    return 2 if len(required) == 2 or (len(positional) > 1 and positional[1].name == "rng") else 1

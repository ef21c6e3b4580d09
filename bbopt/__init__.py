"""bbopt: LLM-driven black-box optimisation behind one ask/tell interface.

>>> import bbopt
>>> result = bbopt.minimize(lambda p: p["x"] ** 2, {"x": bbopt.Float(-1, 1)}, budget=20)
>>> result.best.count
1
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bbopt.base import Optimizer, Problem
    from bbopt.budget import Budget
    from bbopt.citation import cite
    from bbopt.registry import optimizer, problem
    from bbopt.running.loop import maximize, minimize, run
    from bbopt.running.result import Result
    from bbopt.space import Categorical, Float, Int, Space, Text
    from bbopt.spec import Spec
    from bbopt.trial import Best, Outcome, Trial

__version__ = "0.1.0"

_HOMES = {
    "bbopt.base": ("Optimizer", "Problem"),
    "bbopt.budget": ("Budget",),
    "bbopt.citation": ("cite",),
    "bbopt.registry": ("optimizer", "problem"),
    "bbopt.running.loop": ("maximize", "minimize", "run"),
    "bbopt.running.result": ("Result",),
    "bbopt.space": ("Categorical", "Float", "Int", "Space", "Text"),
    "bbopt.spec": ("Spec",),
    "bbopt.trial": ("Best", "Outcome", "Trial"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Best",
    "Budget",
    "Categorical",
    "Float",
    "Int",
    "Optimizer",
    "Outcome",
    "Problem",
    "Result",
    "Space",
    "Spec",
    "Text",
    "Trial",
    "cite",
    "maximize",
    "minimize",
    "optimizer",
    "problem",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'bbopt' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

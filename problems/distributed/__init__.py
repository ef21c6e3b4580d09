"""Problems of many agents, each of which can only query its own part: ``distributed/f1``, ...

The agents look for one point at which the mean of their objectives is least, and talk along the
edges of a graph (``spec.agents``). Who evaluates stands in ``trial.context["agent"]``; without it
an evaluation is the mean over all agents (:class:`~bbopt.problems.distributed.local.Local`).
"""

from .dispatch import Dispatch
from .federated import Federated
from .functions import F1, F2, F3, F4, F5, F6, F7, F8, F9, F10
from .quadratic import Quadratic
from .sensors import Sensors

__all__ = [
    "F1",
    "F2",
    "F3",
    "F4",
    "F5",
    "F6",
    "F7",
    "F8",
    "F9",
    "F10",
    "Dispatch",
    "Federated",
    "Quadratic",
    "Sensors",
]

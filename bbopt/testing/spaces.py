"""Ready-made spaces of every kind, and specs that have what a method requires."""

from __future__ import annotations

from typing import Any

import numpy as np

from bbopt.base import Optimizer
from bbopt.space import Categorical, Float, Int, Space, Text
from bbopt.spec import Agents, Examples, Spec, Table

SPACES = {
    "float": Space({"x": Float(-5.0, 10.0), "y": Float(0.0, 1e-3)}),
    "one float": Space({"x": Float(-1.0, 1.0)}),
    "float log": Space({"rate": Float(1e-6, 1.0, log=True), "scale": Float(1e3, 1e9, log=True)}),
    "float step": Space({"x": Float(0.1, 0.9, step=0.1), "y": Float(-1.0, 1.0, step=0.25)}),
    "int": Space({"depth": Int(1, 9), "width": Int(-3, 3)}),
    "int log": Space({"units": Int(1, 1024, log=True), "bits": Int(1, 2, log=True)}),
    "int step": Space({"batch": Int(8, 64, step=8)}),
    "categorical": Space({"kind": Categorical([1, True, 1.0, None, "1"]), "on": Categorical("ab")})
    if False
    else Space({"kind": Categorical([1, True, 1.0, None, "1"]), "on": Categorical([False, True])}),
}

"""Ready-made spaces of every kind, and specs that have what a method requires."""

from __future__ import annotations

from typing import Any

from bbopt import seeding
from bbopt.base import Optimizer
from bbopt.space import Categorical, Dimension, Float, Int, Space, Text
from bbopt.spec import Agents, Examples, Spec

_ODD_CHOICES = [1, True, 1.0, None, "1"]  # equal in Python, different in a space

SPACES: dict[str, Space] = {
    "float": Space({"x": Float(-5.0, 10.0), "y": Float(0.0, 1e-3)}),
    "one float": Space({"x": Float(-1.0, 1.0)}),
    "float log": Space({"rate": Float(1e-6, 1.0, log=True), "scale": Float(1e3, 1e9, log=True)}),
    "float step": Space({"x": Float(0.1, 0.9, step=0.1), "y": Float(-1.0, 1.0, step=0.25)}),
    "int": Space({"depth": Int(1, 9), "width": Int(-3, 3)}),
    "int log": Space({"units": Int(1, 1024, log=True), "bits": Int(1, 2, log=True)}),
    "int step": Space({"batch": Int(8, 64, step=8)}),
    "categorical": Space({"kind": Categorical(_ODD_CHOICES), "on": Categorical([False, True])}),
    "mixed": Space(
        {
            "x": Float(-5.0, 5.0),
            "rate": Float(1e-5, 1.0, log=True),
            "depth": Int(1, 12),
            "units": Int(1, 512, log=True),
            "kernel": Categorical(["linear", "rbf", "poly"]),
        }
    ),
    "one point": Space({"x": Float(0.3, 0.3), "n": Int(7, 7), "c": Categorical(["only"])}),
    "one free": Space({"x": Float(0.0, 1.0), "n": Int(7, 7), "c": Categorical(["only"])}),
    "huge": Space(
        {f"x{i}": Float(-1e6, 1e6) for i in range(48)}
        | {"n": Int(0, 10**12), "m": Int(-(2**62), 2**62 - 1)}
    ),
    "text": Space({"prompt": Text("Answer in one word.")}),
    "text and numbers": Space({"prompt": Text("Sort {items}."), "t": Float(0.0, 2.0)}),
}
"""Name -> space; every kind of dimension with every option, small and huge."""

_INITIAL: dict[str, Dimension] = {
    "float": Float(0.0, 1.0, initial=0.125),
    "int": Int(0, 100, initial=7),
    "categorical": Categorical(["a", "b", "c"], initial="b"),
    "text": Text("Say it in one sentence."),
}


def supported_spaces(method: type[Optimizer]) -> dict[str, Space]:
    """Those of :data:`SPACES` that have only kinds of dimension which the method supports."""
    return {name: space for name, space in SPACES.items() if space.kinds <= method.kinds}


def space_with_initial(method: type[Optimizer]) -> Space:
    """A space of every kind that the method supports, whose dimensions have an ``initial``."""
    return Space({kind: _INITIAL[kind] for kind in _INITIAL if kind in method.kinds})


def spec_for(method: type[Optimizer], space: Space, **fields: Any) -> Spec:
    """A spec of this space that has the fields which the method requires.

    Parameters
    ----------
    method : type of Optimizer
        Its ``requires`` names the fields.
    space : Space
        What can be chosen.
    **fields
        Other fields of :class:`~bbopt.Spec`, instead of the ready-made ones too.
    """
    ready = {
        "deterministic": True,
        "value_range": (-1e6, 1e6),
        "examples": Examples(train=tuple(range(6)), validation=(10, 11, 12)),
        "agents": Agents(3, ((0, 1, 1.0), (1, 2, 1.0))),
        "switch_cost": 1.0,
    }
    if "candidates" in method.requires:
        ready["candidates"] = space.sample(seeding.stream(0, "candidates"), 50)
    required = {name: ready[name] for name in method.requires if name in ready}
    return Spec(space=space, objective="Find the least value.", **{**required, **fields})

"""How often, and on which examples, a baseline evaluates a candidate."""

from __future__ import annotations

from typing import Any

import numpy as np

from bbopt.budget import Budget
from bbopt.spec import Spec


def draw_minibatch(spec: Spec, size: int, rng: np.random.Generator) -> tuple[int, dict[str, Any]]:
    """Repeats and context of a trial on ``size`` evaluations.

    Parameters
    ----------
    spec : Spec
        Where it has examples, the evaluations are about training examples, drawn without
        replacement as long as there are enough; where it is deterministic and has none, one
        evaluation says all.
    size : int
        How many evaluations, >= 1.
    rng : Generator
        Draws the examples.
    """
    train = () if spec.examples is None else spec.examples.train
    if not train:
        return (1 if spec.deterministic is True else size), {}
    epochs = [rng.permutation(train) for _ in range(-(-size // len(train)))]
    return size, {"examples": tuple(np.concatenate(epochs)[:size].tolist())}


def affordable(repeats: int, left: Budget) -> int:
    """As many of ``repeats`` as evaluations are left, at least one."""
    return repeats if left.evaluations is None else max(1, min(repeats, left.evaluations))

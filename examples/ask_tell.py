"""The two verbs by hand: whoever evaluates, in whatever order, tells what it saw.

python examples/ask_tell.py
"""

import math

import bbopt

space = bbopt.Space({"temperature": bbopt.Float(20, 90), "minutes": bbopt.Int(1, 30)})
optimizer = bbopt.optimizer("optuna:tpe", space, direction="maximize", seed=1)


def brew(params: dict) -> float:
    """Stand in for an experiment that a person carries out."""
    hot, long = params["temperature"] - 72, params["minutes"] - 4
    return math.exp(-((hot / 20) ** 2) - (long / 5) ** 2)


# an earlier result that nobody asked for is welcome
optimizer.tell(bbopt.Trial(None, {"temperature": 60.0, "minutes": 5}), 0.4)

for _ in range(10):
    first, second = optimizer.ask(2)
    optimizer.tell(second, brew(second.params))  # in any order
    optimizer.tell(first, [brew(first.params), math.nan])  # one value, one failure

print(optimizer.best)

"""Several evaluations at once, with hangs and crashes survived, and the same result.

    python examples/parallel.py

With an integer ``in_flight`` the run is the same for any number of jobs.
"""

import os
import time

import bbopt


def fragile(params: dict) -> float:
    if params["x"] > 4:
        os._exit(1)  # takes its process down: costs this evaluation only
    if params["x"] < -4:
        time.sleep(60)  # is given up after the time-out
    return (params["x"] - 1) ** 2


results = [
    bbopt.minimize(
        fragile,
        {"x": bbopt.Float(-5, 5)},
        budget=30,
        optimizer="random",
        in_flight=2,
        jobs=jobs,
        evaluation_timeout=0.5,
        seed=3,
    )
    for jobs in (1, 2)
]
for result in results:
    print(f"best {result.best.value:.4f}, {result.spent.failures} of 30 evaluations failed")
assert results[0].best == results[1].best

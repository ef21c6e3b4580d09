"""An evaluator that waits for a service: coroutines, eight at a time.

python examples/asynchronous.py
"""

import asyncio

import numpy as np

import bbopt


async def call_service(params: dict, rng: np.random.Generator) -> float:
    await asyncio.sleep(0.05)  # the service answers
    return abs(params["batch"] - 37) + rng.normal(scale=2.0)


result = bbopt.minimize(
    call_service, {"batch": bbopt.Int(1, 256, log=True)}, budget=64, jobs=8, confirm=0.25
)
print(f"batch {result.best.params['batch']}: {result.best.value:.1f} +/- {result.best.stderr:.1f}")

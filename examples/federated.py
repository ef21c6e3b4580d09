"""Hospitals tune one model together, and their data stay where they are.

    python examples/federated.py

Six hospitals hold measurements of breast tumours; the share of malignant ones differs widely.
Each trains a classifier on its own data and sees its own error; what it sends to its neighbours
are settings, never data. Beside it: each tunes alone, and their settings are averaged.
"""

import numpy as np

import bbopt

problem = bbopt.problem("distributed/federated", agents=6, data="breast_cancer", alpha=0.1)
n = problem.spec.agents.n
for name, what in (("lacmas", "together"), ("swarm:isolated", "alone, then averaged")):
    result = bbopt.run(problem, name, n * 187, seed=0)  # so many models are trained
    settings = {name: round(value, 2) for name, value in result.best.params.items()}
    print(f"{what}: mean error {result.true_value:.4f} with {settings}")
    print(f"  {result.diagnostics['bytes_per_agent'] / 1e3:.1f} kB sent by a hospital")

# what no hospital could compute: the error of all over a grid
x = np.stack(np.meshgrid(np.linspace(-6, 2, 17), np.linspace(-4, 1, 11)), axis=-1).reshape(-1, 2)
print(f"best of {n * len(x)} models over a grid: mean error {problem.mean(x).min():.4f}")

"""Sensors locate targets together: each knows its own readings, and talks to those beside it.

    mpirun -n 4 python examples/sensors_under_mpirun.py

The sixteen sensors are spread over the ranks, and the result is the same, to the last digit, for
any number of them. The command does the same:

    mpirun -n 4 bbopt run distributed/sensors --with targets=5 --budget 320000 --json
"""

import bbopt
from bbopt.running import mpirun

problem = bbopt.problem("distributed/sensors", targets=5)
n = problem.spec.agents.n
result = bbopt.run(problem, "lacmas", n * 20_000, seed=0)
if mpirun.rank() == 0:
    said = result.diagnostics
    print(f"{n} sensors on {said['ranks']} ranks, {said['rounds']} rounds")
    print(f"squared error {result.true_value:.6f}, least squares {problem.optimum:.6f}")
    print(f"targets found within {problem.position_error(result.best.params):.2f} of their places")
    print(f"disagreement {said['disagreement']:.0e}, {said['bytes_per_agent'] / 1e6:.1f} MB sent")

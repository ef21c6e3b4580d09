"""Any method under ``mpirun``: rank 0 optimises, the other ranks evaluate for it.

    mpirun -n 3 python examples/under_mpirun.py

The command does the same: ``mpirun -n 3 bbopt run synthetic/branin --budget 50``.
"""

import bbopt
from bbopt.running import mpirun

result = bbopt.run("synthetic/branin", "random", 50, in_flight=2, seed=0)
if mpirun.rank() == 0:
    print(f"best {result.best.value:.4f} after {result.spent.evaluations} evaluations")

"""One run under mpirun, from its JSON; every rank writes what it got to a file of its own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import toy_swarm
from doubles_of_runs import Chained, ChainedSettings, CompactChained, Noisy

import bbopt
from bbopt.registry import register_optimizer
from bbopt.running import mpirun

register_optimizer("toy-swarm")(toy_swarm.Swarm)


class Where(Noisy):
    """Says which rank has evaluated."""

    def evaluate(self, trial: bbopt.Trial, rng: Any) -> bbopt.Outcome:
        values = super().evaluate(trial, rng).values
        return bbopt.Outcome(values, info={"rank": mpirun.rank()})


class Killing(toy_swarm.Costs):
    """Ends its rank at an agent's fourth call."""

    n_calls = 0

    def evaluate_array(self, x: Any, agent: int, rng: Any) -> Any:
        self.n_calls += agent == 1
        if self.n_calls == 4:
            os._exit(9)
        return super().evaluate_array(x, agent, rng)


def run(what: str, budget: Any, **options: Any) -> bbopt.Result:
    """Build and run."""
    if what.startswith("chained"):
        noisy = Where(block=2)
        cls = CompactChained if what == "chained-compact" else Chained
        settings = ChainedSettings(max_repeats=3)
        return bbopt.run(noisy, cls(noisy.spec, seed=3, settings=settings), budget, **options)
    costs = Killing("nan") if what == "killed" else toy_swarm.Costs("nan")
    return bbopt.run(costs, "toy-swarm", budget, **options)


def main() -> None:
    """``mpi_runs.py FOLDER JSON``."""
    folder, options = Path(sys.argv[1]), json.loads(sys.argv[2])
    result = run(**options)
    rank = mpirun.rank()
    result.to_csv(folder / f"trace-{rank}.csv")
    summary = {k: v for k, v in result.to_json().items() if "seconds" not in k}
    summary["ranks"] = sorted({e.outcome.info["rank"] for e in result.trials})
    (folder / f"summary-{rank}.json").write_text(json.dumps(summary))


if __name__ == "__main__":
    main()

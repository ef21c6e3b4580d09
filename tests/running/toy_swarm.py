"""A method with rounds: four agents on a line, each with a cost of its own, who average.

Run as a script, also under ``mpirun``, it prints what it found as JSON on rank 0.
"""

import json
import sys

import numpy as np

import bbopt
from bbopt import seeding
from bbopt.running import mpirun
from bbopt.trial import Best

N = 4


class Costs(bbopt.Problem):
    """Agent i pays (x - i)²; together they pay least at the mean of 0 ... 3."""

    name = "costs"

    def __init__(self, fault=None):
        self.fault = fault

    @property
    def spec(self):
        return bbopt.Spec(space=bbopt.Space({"x": bbopt.Float(-10, 10)}))

    def evaluate(self, trial, rng):
        return sum((trial.params["x"] - i) ** 2 for i in range(N)) / N

    def evaluate_array(self, x, agent, rng):
        if self.fault == "nan" and agent == 1:
            return np.full(len(x), np.inf)
        if self.fault == "raise" and agent == 2:
            raise ValueError("a broken sensor")
        return (x[:, 0] - agent) ** 2 + 0.01 * rng.standard_normal(len(x))

    def truth(self, params):
        return self.evaluate(bbopt.Trial(0, params), None)


class Swarm(bbopt.Optimizer):
    """Three queries an agent and round, a step to the best of them, an average over all."""

    name = "toy-swarm"
    solves = True
    error_on = None

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.x, self.round = np.full(N, 8.0), 0

    def _ask(self, n, left):
        return [self._new_trial({"x": float(self.x.mean())}) for _ in range(n)]

    def _tell(self, trial, outcome):
        pass

    def _state(self):
        return {"x": self.x.copy(), "round": self.round}

    def _restore(self, state):
        self.x, self.round = np.array(state["x"]), state["round"]

    def solve(self, evaluate, *, budget, report, comm=None):
        rank, size = (0, 1) if comm is None else (comm.Get_rank(), comm.Get_size())
        stop = False
        while not stop and (self.round + 1) * 3 * N <= budget.evaluations:
            if self.error_on == [rank, self.round]:
                raise RuntimeError("a planned failure")
            mine = {agent: self._moved(agent, evaluate) for agent in range(rank, N, size)}
            parts = [mine] if comm is None else comm.allgather(mine)
            moved = {agent: x for part in parts for agent, (x, _) in part.items()}
            values = {agent: value for part in parts for agent, (_, value) in part.items()}
            x = np.array([moved[agent] for agent in range(N)])
            self.x = x + 0.5 * (x.mean() - x)
            self.round += 1
            value = float(np.mean([values[agent] for agent in range(N)]))
            row = {"round": self.round, "value": value, "evaluations": 3 * N * self.round}
            stop = report(row | {"disagreement": float(np.ptp(self.x))})
        return Best({"x": float(self.x.mean())}, value, None, 1)

    def _moved(self, agent, evaluate):
        rng = seeding.stream(self.seed, "toy", number=agent, block=self.round)
        x = self.x[agent] + np.array([0.0, 1.0, -1.0]) * rng.uniform(0, 1)
        values = evaluate(x[:, None], agent)
        loss = np.where(np.isnan(values), np.inf, values)
        best = int(np.argmin(loss))
        return float(x[best]), float(np.nan_to_num(values[best], nan=100.0))


def run(budget=600, fault=None, error_on=None, **options):
    problem = Costs(fault)
    optimizer = Swarm(problem.spec, seed=5)
    optimizer.error_on = error_on
    return bbopt.run(problem, optimizer, budget, **options)


if __name__ == "__main__":
    result = run(**json.loads(sys.argv[1]))
    if mpirun.rank() == 0:
        print(json.dumps([result.stop_reason, result.best.params, list(result.rounds)]))

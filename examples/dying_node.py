"""Ten towns agree on the site of a depot, over a network of their own; one falls silent.

    python examples/dying_node.py

A town knows the cost of its own transports alone, and talks to three others. In round 10 town 4
goes dark. The others carry on with the weights that it leaves, and agree on what is best for the
nine that are left. The network may be any connected graph of networkx.
"""

import networkx as nx
import numpy as np

import bbopt
from bbopt.spec import Agents

NETWORK = nx.petersen_graph()
RNG = np.random.default_rng(0)
TOWNS, LOADS = RNG.uniform(0, 100, (10, 2)), RNG.uniform(1, 20, 10)  # in km; lorries a day


class Depot(bbopt.Problem):
    """Kilometres a day of a town's lorries, from a depot at (east, north)."""

    spec = bbopt.Spec(
        space=bbopt.Space({"east": bbopt.Float(0, 100), "north": bbopt.Float(0, 100)}),
        objective="Mean kilometres that a town's lorries drive in a day.",
        deterministic=True,
        agents=Agents(10, tuple((i, j, 0.0) for i, j in NETWORK.edges)),
    )

    def evaluate_array(self, x, agent, rng):  # sites (n, 2) that one town looks at
        return LOADS[agent] * np.hypot(*(x - TOWNS[agent]).T)

    def evaluate(self, trial, rng):
        site = np.array([list(trial.params.values())])
        return self.evaluate_array(site, trial.context["agent"], rng)


for faults in ("", "kill=4@10", "kill=4@10,drop=0.3"):
    run = bbopt.run(Depot(), "lacmas", 10 * 3000, seed=0, settings={"faults": faults})
    site = ", ".join(f"{name} {km:.3f}" for name, km in run.best.params.items())
    living, apart = run.diagnostics.get("living", 10), run.diagnostics["disagreement"]
    print(f"{faults or 'no faults'}: depot at {site}; {run.best.value:.2f} km a day and town")
    print(f"  {living} towns, disagreement {apart:.0e} km")

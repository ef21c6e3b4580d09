"""Small swarms for the tests: quadratics on a ring, and a loop that plays a search through."""

import numpy as np

import bbopt
from bbopt.lacmas import guides, topology, weights
from bbopt.lacmas.draws import Draws
from bbopt.lacmas.masoie import Masoie, SwarmSettings
from bbopt.lacmas.network import Network
from bbopt.lacmas.search import Box
from bbopt.spec import Agents


def network(graph="ring", n=6):
    return Network(weights.build(topology.build(graph, n)))


def box(d=3, shift=0.0):
    return Box(np.full(d, -5.0) + shift, np.full(d, 5.0) + shift)


class Bowls:
    """``f_i(x) = ‖x − b_i‖²``; their mean is least at the mean of the b_i."""

    def __init__(self, n=6, d=3, shift=0.0):
        self.targets = np.random.default_rng(7).normal(size=(n, d)) + shift

    def __call__(self, x, agent):
        return ((x - self.targets[agent]) ** 2).sum(axis=-1)


def masoie(net, seed=1, budget=4000, guide="none", where=None, advised=None, **settings):
    draws = Draws(seed, net.agents, net.n)
    made = guides.make(guide, net, draws, guides.GuideSettings(**advised or {}))
    shape = SwarmSettings(**{"n_particles": 24} | settings)
    return Masoie(net, where or box(), draws, budget, shape, made)


def play(search, f, rounds=None):
    """Evaluate until it ends, or for so many rounds more; the batches it proposed."""
    end = None if rounds is None else search.round_ + rounds
    batches = []
    while (end is None or search.round_ < end) and (batch := search.propose()) is not None:
        batches.append((batch.agents.copy(), batch.x.copy()))
        ids = search.network.agents[batch.agents]
        values = [f(x, i) for i, x in zip(ids, batch.x, strict=True)]
        search.accept(np.array(values).reshape(batch.x.shape[:2]))
    return batches


class Costs(bbopt.Problem):
    """The bowls as a problem: agents on a ring, each knowing the cost of its own."""

    name = "costs"

    def __init__(self, n=6, d=3, direction="minimize", broken=()):
        self.bowls, self.direction, self.broken = Bowls(n, d), direction, broken
        self.calls = 0

    @property
    def spec(self):
        n, d = self.bowls.targets.shape
        edges = topology.build("ring", n).edges
        return bbopt.Spec(
            space=bbopt.Space({f"x{j}": bbopt.Float(-5, 5) for j in range(d)}),
            direction=self.direction,
            agents=Agents(n, tuple((int(i), int(j), 1 / 3) for i, j in edges)),
        )

    @property
    def optimum(self):
        return self._sign * np.mean(
            [self.bowls(self.bowls.targets.mean(axis=0), i) for i in range(len(self.bowls.targets))]
        )

    @property
    def _sign(self):
        return 1 if self.direction == "minimize" else -1

    def evaluate(self, trial, rng):
        x = np.array([list(trial.params.values())])
        return float(self.evaluate_array(x, trial.context["agent"], rng)[0])

    def evaluate_array(self, x, agent, rng):
        self.calls += len(x)
        values = self._sign * self.bowls(x, agent)
        return np.full(len(x), np.nan) if agent in self.broken else values

    def truth(self, params):
        x = np.array([list(params.values())])
        n = len(self.bowls.targets)
        return self._sign * float(np.mean([self.bowls(x, i)[0] for i in range(n)]))

"""Small swarms for the tests: quadratics on a ring, and a loop that plays a search through."""

import numpy as np

from bbopt.lacmas import guides, topology, weights
from bbopt.lacmas.draws import Draws
from bbopt.lacmas.masoie import Masoie, SwarmSettings
from bbopt.lacmas.network import Network
from bbopt.lacmas.search import Box


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

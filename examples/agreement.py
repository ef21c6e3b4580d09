"""Agents come to agree, drawn: their network, coloured by how far each is from the mean.

    python examples/agreement.py agreement.svg

A swarm method is two functions, `propose` and `accept`, over arrays of agents; here we are the
loop around them, and look in between. It needs networkx and matplotlib
(pip install 'bbopt[swarm,bench]').
"""

import sys

import matplotlib.pyplot as plt
import networkx as nx
import numpy as np
from matplotlib.colors import LogNorm

import bbopt
from bbopt.lacmas import guides, topology, weights
from bbopt.lacmas.coordinates import Coordinates
from bbopt.lacmas.draws import Draws
from bbopt.lacmas.masoie import Masoie, SwarmSettings
from bbopt.lacmas.network import Network

N, SHOWN = 40, (1, 10, 40, 100)
graph = nx.connected_watts_strogatz_graph(N, 4, 0.1, seed=3)
problem = bbopt.problem("distributed/quadratic", agents=N, dimension=2)
network = Network(weights.build(topology.Graph(N, list(graph.edges))))
box, draws = Coordinates(problem.spec.space).box, Draws(0, network.agents, N)
guide = guides.make("none", network, draws, guides.GuideSettings())
search = Masoie(network, box, draws, 10_000, SwarmSettings(n_particles=12), guide)

distance = {}  # of each agent from the mean of all, by round
while search.round_ < SHOWN[-1] and (batch := search.propose()) is not None:
    pairs = zip(batch.x, batch.agents, strict=True)
    search.accept(np.array([problem.local(x, agent) for x, agent in pairs]))
    distance[search.round_] = np.linalg.norm(search.points - search.points.mean(axis=0), axis=1)

figure, panels = plt.subplots(1, len(SHOWN), figsize=(12, 3.4), layout="constrained")
norm, places = LogNorm(1e-4, 10), nx.circular_layout(graph)
for panel, round_ in zip(panels, SHOWN, strict=True):
    nx.draw_networkx_edges(graph, places, ax=panel, edge_color="lightgrey")
    colours = np.clip(distance[round_], norm.vmin, norm.vmax)
    dots = panel.scatter(*np.array([places[i] for i in range(N)]).T, c=colours, norm=norm, zorder=2)
    panel.set_title(f"round {round_}: {distance[round_].mean():.0e}")
    panel.set_axis_off()
figure.colorbar(dots, ax=panels, label="distance from the mean")
picture = sys.argv[1] if len(sys.argv) > 1 else "agreement.png"
figure.savefig(picture, dpi=120)
print(f"mean distance {distance[1].mean():.1g} -> {distance[SHOWN[-1]].mean():.1g}; see {picture}")

import networkx as nx
import numpy as np
import pytest

from bbopt.errors import UnknownName, UsageError
from bbopt.lacmas import topology
from bbopt.lacmas.topology import Graph
from bbopt.spec import Agents

SIZES = {"hypercube": 16, "torus": 12}


@pytest.mark.parametrize("name", topology.NAMES)
def test_every_graph_is_connected_simple_sorted_and_the_same_again(name):
    n = SIZES.get(name, 14)
    graph, again = (topology.build(name, n, seed=3) for _ in range(2))
    np.testing.assert_array_equal(graph.edges, again.edges)
    edges = graph.edges.tolist()
    assert edges == sorted(edges)
    assert all(i < j for i, j in edges)
    peer = nx.Graph(edges)
    assert nx.is_connected(peer)
    assert len(peer) == n
    assert graph.diameter == nx.diameter(peer)
    assert graph.degrees.tolist() == [peer.degree[i] for i in range(n)]


@pytest.mark.parametrize("name", sorted(topology.RANDOM))
def test_another_seed_draws_another_graph(name):
    one, other = (topology.build(name, 14, seed=seed).edges for seed in (0, 1))
    assert one.shape != other.shape or (one != other).any()


@pytest.mark.parametrize(
    ("name", "n", "edges", "diameter"),
    [
        ("ring", 20, 20, 10),
        ("path", 5, 4, 4),
        ("grid", 81, 144, 16),
        ("grid:rows=2", 6, 7, 3),
        ("torus", 16, 32, 4),
        ("star", 7, 6, 2),
        ("complete", 6, 15, 1),
        ("hypercube", 8, 12, 3),
        ("regular:d=4", 40, 80, None),
        ("ring", 2, 1, 1),
        ("ring", 1, 0, 0),
    ],
)
def test_shapes_are_those_of_the_textbook(name, n, edges, diameter):
    graph = topology.build(name, n)
    assert (graph.n, len(graph.edges)) == (n, edges)
    assert diameter in (None, graph.diameter)


def test_a_sparse_random_graph_is_drawn_until_it_is_connected():
    # about half of the edges that a connected graph has at the threshold: most draws fail
    graph = topology.build("erdos-renyi:p=0.12", 20, seed=1)
    assert nx.is_connected(nx.Graph(graph.edges.tolist()))


@pytest.mark.parametrize(
    ("name", "n", "message"),
    [
        ("rign", 5, "did you mean ring"),
        ("ring", None, "needs the number of agents"),
        ("ring", 0, "agents must be an integer >= 1"),
        ("ring:d=3", 5, "no parameter 'd'; allowed are none"),
        ("regular:k=3", 6, "no parameter 'k'; allowed are d"),
        ("regular:d=x", 6, "d must be a number, got 'x'"),
        ("regular:d=3", 5, "'regular:d=3' of 5 agents"),
        ("hypercube", 6, "power of 2"),
        ("torus", 10, "sides of 3 or more"),
        ("grid:rows=4", 10, "rectangle of 4 rows"),
        ("erdos-renyi:p=0", 6, None),
        ("erdos-renyi:p=2", 6, r"p must be a finite number in \[0, 1\]"),
        ("geometric:radius=1e-9", 6, "not connected in 1000 draws"),
    ],
)
def test_a_graph_that_cannot_be_is_refused_in_words(name, n, message):
    if message is None:  # 0 stands for the default
        assert len(topology.build(name, n).edges)
        return
    with pytest.raises(UsageError, match=message):
        topology.build(name, n)


@pytest.mark.parametrize(
    ("n", "edges", "message"),
    [
        (3, [[0, 1], [1, 3]], "agents must be 0 ... 2, got 3"),
        (2, [[0, 1], [1, 1]], r"an edge must join two agents, got \(1, 1\)"),
        (2, [[0, 1], [1, 0]], r"\(0, 1\) twice"),
        (5, [[0, 1], [2, 3]], "no path leads from 0 to 2, 3, 4"),
    ],
)
def test_a_graph_that_is_not_simple_and_connected_is_refused(n, edges, message):
    with pytest.raises(UsageError, match=message):
        Graph(n, np.array(edges))


def test_values_turn_with_their_edges():
    graph = Graph(3, np.array([[2, 1], [0, 1]]), np.array([[0.3, 0.2], [0.1, 0.4]]))
    assert graph.edges.tolist() == [[0, 1], [1, 2]]
    assert graph.values.tolist() == [[0.1, 0.4], [0.2, 0.3]]
    assert topology.of(Agents(2, ((1, 0, 0.25),))).values.tolist() == [[0.25, 0.25]]


def test_files_of_edges_and_of_matrices_are_read(tmp_path):
    ring = topology.build("ring", 4)
    (tmp_path / "list").write_text("# a ring\n1 0\n1 2\n3 2\n0 3\n")
    (tmp_path / "weights").write_text("0 1 0.1\n1 2 0.2\n2 3 0.3\n0 3 0.4\n")
    (tmp_path / "adjacency").write_text("0 1 0 1\n1 0 1 0\n0 1 0 1\n1 0 1 0\n")
    rows = ".5 .3 0 .2\n.1 .4 .5 0\n0 .25 .5 .25\n.25 0 .25 .5\n"
    (tmp_path / "matrix").write_text(rows)
    graphs = {path.name: topology.build(str(path)) for path in tmp_path.iterdir()}
    for graph in graphs.values():
        np.testing.assert_array_equal(graph.edges, ring.edges)
    assert graphs["list"].values is None
    assert graphs["adjacency"].values is None
    assert graphs["weights"].values[:, 0].tolist() == [0.1, 0.4, 0.2, 0.3]
    assert graphs["matrix"].values.tolist() == [[0.3, 0.1], [0.2, 0.25], [0.5, 0.25], [0.25, 0.25]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1\n1 x\n", "cannot be read"),
        ("0 1\n1 2.5\n", "agents must be integers >= 0"),
        ("0 1\n2 3\n", "must be connected"),
        ("0 1 2 3\n", "square matrix of more than 3, got 1 rows and 4 columns"),
        ("0 1 0 1\n1 0 1 0\n0 0 0 1\n1 0 1 0\n", "only one of 1, 2 hears the other"),
        ("1 .5 0 .5\n.5 1 .5 0\n0 .5 1 .5\n.5 0 .5 1\n", "row 0 of a matrix of weights must sum"),
    ],
)
def test_a_file_that_is_no_graph_is_refused_in_words(tmp_path, text, message):
    path = tmp_path / "graph.txt"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        topology.read(path)
    with pytest.raises(UnknownName):
        topology.build(str(tmp_path / "none.txt"))

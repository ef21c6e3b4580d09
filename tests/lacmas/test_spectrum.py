import math

import numpy as np
import pytest

from bbopt.lacmas import spectrum, topology, weights
from bbopt.lacmas.spectrum import Spectrum
from bbopt.problems.distributed.graphs import cubic


def benchmark():
    return weights.of(cubic(20, 0))


def test_the_graph_of_the_benchmark_has_its_published_numbers():
    matrix = benchmark()
    assert set(matrix.data) == {0.25}
    assert topology.of(cubic(20, 0)).diameter == 4
    known = spectrum.spectrum(matrix)
    assert known.rho == pytest.approx(0.8524623759, abs=1e-10)
    assert known.least == pytest.approx(-0.3891, abs=5e-5)
    assert known.rounds() == 101


@pytest.mark.parametrize("n", [3, 4, 20, 600])
def test_a_ring_has_the_eigenvalues_of_its_formula(n):
    # (1/2, 1/4, 1/4): the eigenvalues are (1 + cos(2 pi k/n))/2
    edges = np.column_stack([np.arange(n), np.roll(np.arange(n), -1)])
    graph = topology.Graph(n, edges, np.full((n, 2), 0.25))
    known = spectrum.spectrum(weights.build(graph, "given"))
    second = (1 + math.cos(2 * math.pi / n)) / 2
    least = min((1 + math.cos(2 * math.pi * k / n)) / 2 for k in range(n))
    assert known.second == pytest.approx(second, abs=1e-9)
    assert known.least == pytest.approx(least, abs=1e-9)
    assert known.rho == pytest.approx(second, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("grid", "metropolis"),
        ("regular:d=4", "metropolis"),
        ("path", "metropolis"),  # too crowded for plain Lanczos
        ("grid", "uniform"),
        ("barabasi-albert", "uniform"),
    ],
)
def test_large_graphs_have_the_eigenvalues_of_the_dense_matrix(name, rule):
    matrix = weights.build(topology.build(name, 510), rule)
    values = np.linalg.eigvals(matrix.toarray())
    values = np.delete(values, np.argmin(np.abs(values - 1)))
    known = spectrum.spectrum(matrix)
    assert known.rho == pytest.approx(np.abs(values).max(), abs=1e-8)
    assert known.second == pytest.approx(values.real.max(), abs=1e-8)
    assert known.least == pytest.approx(values.real.min(), abs=1e-8)


def test_agents_come_together_at_the_predicted_rate():
    matrix = benchmark()
    known = spectrum.spectrum(matrix)
    start = np.random.default_rng(0).standard_normal((20, 3))
    x, mean = start.copy(), start.mean(axis=0)
    for t in range(1, 60):
        x = matrix @ x
        bound = known.rho**t * np.linalg.norm(start - mean)
        assert np.linalg.norm(x - mean) <= bound * (1 + 1e-12)
    values, vectors = np.linalg.eigh(matrix.toarray())
    slowest = vectors[:, np.argsort(values)[-2]]
    moved = slowest
    for _ in range(50):
        moved = matrix @ moved
    # the rate is met with equality; rounding errors of 50 products of norm 1 stay far below
    assert np.linalg.norm(moved) == pytest.approx(known.rho**50, rel=1e-9)


def test_rounds_are_the_least_number_that_suffices():
    known = Spectrum(0.9, 0.9, -0.2)
    assert 0.9 ** known.rounds(1e-3) <= 1e-3 < 0.9 ** (known.rounds(1e-3) - 1)
    assert Spectrum(1.0, 1.0, -1.0).rounds() == math.inf
    assert spectrum.spectrum(weights.build(topology.build("ring", 1))).rounds() == 1


def radius(eigenvalue, r, kappa):
    """Of the recursion v' = (r + kappa mu) v + mu x, x' = x + kappa v + v'."""
    mu = eigenvalue - 1
    v, x = [r + kappa * mu, mu], [r + kappa * mu + kappa, 1 + mu]
    return np.abs(np.linalg.eigvals(np.array([v, x]))).max()


@pytest.mark.parametrize(
    ("s", "k", "limit"),
    [
        (0.5, 4, 1.290),
        (0.5, 2, 1.429),
        (0.7, 4, 1.394),
        (0.7, 2, 1.543),
        (1.0, 4, 1.548),
        (1.0, 2, 1.714),
        (1.3, 4, 1.703),
        (1.3, 2, 1.886),
        (1.7, 4, 1.910),
        (1.7, 2, 2.114),
    ],
)
def test_the_stable_region_ends_where_the_recursion_begins_to_grow(s, k, limit):
    assert spectrum.momentum_limit(s, k) == pytest.approx(limit, abs=5e-4)
    kappa = sum(2.0**-m for m in range(1, k + 1))
    edge = spectrum.momentum_limit(s, k)
    assert radius(1 - 0.999 * edge, s / 2, kappa) < 1 < radius(1 - 1.001 * edge, s / 2, kappa)


@pytest.mark.parametrize("r", [0.0, 0.3, 0.8])
def test_second_order_consensus_is_stable_exactly_above_minus_one_minus_two_r(r):
    for eigenvalue in np.linspace(-3, 0.999, 200):
        known = Spectrum(abs(eigenvalue), eigenvalue, eigenvalue)
        assert spectrum.is_stable(known, 2 * r, 0) == (radius(eigenvalue, r, 0) < 1)
    assert not spectrum.is_stable(Spectrum(0.5, 0.5, 0.5), 2.0, 0)


def test_all_weight_to_the_neighbours_is_unstable_on_the_benchmark_graph():
    graph = topology.of(cubic(20, 0))
    matrix = weights.build(topology.Graph(20, graph.edges, np.full((30, 2), 1 / 3)), "given")
    known = spectrum.spectrum(matrix)
    assert 1 - known.least == pytest.approx(1.852, abs=5e-4)
    assert not any(spectrum.is_stable(known, s, 4) for s in (0.5, 1.0, 1.5))
    share = spectrum.stable_share(known, 0.7, 4)
    calmer = spectrum.spectrum(weights.pulled(matrix, share))
    assert 1 - calmer.least == pytest.approx(0.97 * spectrum.momentum_limit(0.7, 4), rel=1e-9)
    np.testing.assert_allclose(spectrum.stable_mass(matrix, 0.7, 4), share, rtol=1e-9)


def test_a_stable_graph_keeps_all_of_its_pull():
    np.testing.assert_allclose(spectrum.stable_mass(benchmark(), 1.0, 4), 0.75, rtol=1e-15)

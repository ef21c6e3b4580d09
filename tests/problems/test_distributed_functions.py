"""The recipe of distributed/f1 ... f10 against loops."""

import math

import numpy as np
import pytest

import bbopt
from bbopt.errors import UsageError
from bbopt.problems.distributed import elementary

FUNCTIONS = [f"distributed/f{i}" for i in range(1, 11)]


def tosz(z):
    if z == 0:
        return 0.0
    h = math.log(abs(z))
    c1, c2 = (10, 7.9) if z > 0 else (5.5, 3.1)
    return math.copysign(math.exp(h + 0.049 * (math.sin(c1 * h) + math.sin(c2 * h))), z)


def tasy(z, j, d, beta=0.2):
    return z ** (1 + beta * (j - 1) / (d - 1) * math.sqrt(z)) if z > 0 else z


def naive(kind, z):
    """z after its transforms, and the value, by loops over coordinates counted from 1."""
    d = len(z)
    if kind in ("elliptic", "schwefel"):
        z = [tosz(v) for v in z]
    if kind == "schwefel":
        z = [tasy(v, j, d) for j, v in enumerate(z, 1)]
        return z, sum(sum(z[:j]) ** 2 for j in range(1, d + 1))
    if kind == "elliptic":
        return z, sum(10 ** (6 * (j - 1) / (d - 1)) * v**2 for j, v in enumerate(z, 1))
    if kind == "rosenbrock":
        return z, sum(100 * (z[j] ** 2 - z[j + 1]) ** 2 + (z[j] - 1) ** 2 for j in range(d - 1))
    waves = math.prod(math.cos(v / math.sqrt(j)) for j, v in enumerate(z, 1))
    return z, sum(v**2 for v in z) / 4000 - waves + 1


@pytest.mark.parametrize("kind", ["elliptic", "schwefel", "rosenbrock", "griewank"])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 100.0])
def test_elementary_functions_agree_with_loops(kind, scale):
    rows = scale * np.random.default_rng(0).standard_normal((20, 7))
    rows[0], rows[1, 3] = 0.0, 0.0
    moved, values = getattr(elementary, kind)(rows.copy())
    for row, z, value in zip(rows.tolist(), moved, values, strict=True):
        expected_z, expected = naive(kind, row)
        # sines of up to 140 are known to 140 eps, griewank's value to a few eps around 1
        np.testing.assert_allclose(z, expected_z, rtol=1e-13, atol=0)
        assert value == pytest.approx(expected, rel=1e-12, abs=1e-14 if kind == "griewank" else 0)


def test_the_oscillation_keeps_0_and_1_and_is_not_odd():
    z = elementary.oscillated(np.array([[0.0, 1.0, -1.0, 2.0, -2.0]]))[0]
    assert z[:3].tolist() == [0.0, 1.0, -1.0]
    assert abs(z[3] + z[4]) > 0.01


def test_the_asymmetry_moves_positive_coordinates_alone():
    z = np.array([[-3.0, 0.0, 2.0, -1e-9, 2.0]])
    moved = elementary.made_asymmetric(z)[0]
    assert moved[[0, 1, 3]].tolist() == z[0, [0, 1, 3]].tolist()
    assert moved[2] == pytest.approx(2 ** (1 + 0.2 * 0.5 * math.sqrt(2)), rel=1e-14)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_an_agent_sees_its_elementary_function_and_its_own_pull(name):
    problem = bbopt.problem(name, agents=5, dimension=6)
    kinds = problem.label.split(" and ")
    x = np.random.default_rng(1).uniform(-100, 100, (3, 6))
    for agent in range(5):
        for row, value in zip(x, problem.local(x, agent), strict=True):
            z = [
                sum(problem._rotation[j, k] * (row[k] - problem.x_opt[k]) for k in range(6))
                for j in range(6)
            ]
            moved, expected = naive(kinds[agent % len(kinds)], z)
            terms = [problem._pull[agent, j] * moved[j] for j in range(6)]
            slack = 1e-12 * (abs(expected) + sum(map(abs, terms)))
            assert abs(value - expected - sum(terms)) <= slack


@pytest.mark.parametrize("name", FUNCTIONS)
def test_generated_data_have_the_form_of_the_published(name):
    problem = bbopt.problem(name)
    d = 100
    np.testing.assert_allclose(problem._rotation @ problem._rotation.T, np.eye(d), atol=1e-13)
    assert np.linalg.det(problem._rotation) == pytest.approx(1)
    pull = problem._pull / 100
    assert (pull == np.rint(pull)).all()
    assert (pull.sum(axis=0) == 0).all()
    assert pull.std() == pytest.approx(11.6, rel=0.1)
    assert np.abs(problem.x_opt).max() < (5 if name.endswith("/f1") else 50)
    other = bbopt.problem(name, seed=1)
    assert (other.x_opt != problem.x_opt).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_conflicts_cancel_where_all_transform_alike_and_only_there(name):
    problem = bbopt.problem(name)
    x = np.random.default_rng(2).uniform(-100, 100, (1, 100))
    z = problem._z(x)
    kinds = [part(z)[0][0] for part in problem.parts]
    terms = np.array([problem._pull[i] * kinds[i % len(kinds)] for i in range(20)])
    # rounding errors of 2,000 sums, relative to the size of what is summed
    cancels = abs(terms.sum()) < 1e-13 * np.abs(terms).sum()
    assert cancels == (name not in FUNCTIONS[4:9])


@pytest.mark.parametrize("name", [*FUNCTIONS[:4], FUNCTIONS[9]])
def test_no_point_around_the_optimum_is_better(name):
    problem = bbopt.problem(name)
    best = np.array(list(problem.optimal_params[0].values()))
    rng = np.random.default_rng(3)
    near = best + 10 ** rng.uniform(-4, 1, (300, 1)) * rng.standard_normal((300, 100))
    assert problem.mean(near).min() > problem.optimum - 1e-9


def test_the_best_known_value_of_f10_is_that_of_the_benchmark():
    # it depends on z alone, and so neither on the data nor on the seed
    for seed in range(2):
        problem = bbopt.problem("distributed/f10", seed=seed)
        assert problem.optimum == pytest.approx(0.48107, abs=5e-6)


def test_values_of_a_row_depend_on_the_batch_by_rounding_alone():
    problem = bbopt.problem("distributed/f2")
    x = np.random.default_rng(4).uniform(-100, 100, (300, 100))
    whole = problem.local(x, 3)
    parts = np.concatenate([problem.local(x[i : i + 7], 3) for i in range(0, 300, 7)])
    np.testing.assert_allclose(whole, parts, rtol=1e-11)
    assert (whole == problem.local(x, 3)).all()


@pytest.mark.parametrize("name", FUNCTIONS[:4])
def test_rounded_values_lie_on_plateaus(name):
    exact = bbopt.problem(name, agents=4, dimension=4)
    rounded = bbopt.problem(name, agents=4, dimension=4, rounding=16.0)
    x = np.random.default_rng(5).uniform(-100, 100, (50, 4))
    values = rounded.evaluate_array(x, 1, np.random.default_rng(0))
    assert (values % 16 == 0).all()
    assert np.abs(values - exact.local(x, 1)).max() <= 8 * (1 + 1e-12)
    assert rounded.optimum is None


def test_the_noise_has_the_standard_deviation_asked_for():
    problem = bbopt.problem("distributed/f3", agents=4, dimension=3, noise=2.0)
    x = np.zeros((20_000, 3))
    values = problem.evaluate_array(x, 0, np.random.default_rng(0)) - problem.local(x, 0)
    # four standard errors of a mean and of a standard deviation
    assert abs(values.mean()) < 4 * 2 / math.sqrt(20_000)
    assert values.std() == pytest.approx(2, rel=4 / math.sqrt(2 * 20_000))


def test_published_data_are_read_from_a_folder(tmp_path):
    rotation = np.roll(np.eye(3), 1, axis=0)
    np.savetxt(tmp_path / "R_F3", rotation)
    np.savetxt(tmp_path / "A_F3", [[1, 2, 3], [-1, -2, -3], [0, 1, 0], [0, -1, 0]], fmt="%d")
    np.savetxt(tmp_path / "xopt_F3", [[4, 5, 6]])
    arguments = {"agents": 4, "dimension": 3, "data": str(tmp_path)}
    problem = bbopt.problem("distributed/f3", **arguments)
    assert len(problem.spec.agents.edges) == 6
    assert problem.optimal_params == [{"x1": 5.0, "x2": 6.0, "x3": 7.0}]
    z = np.array([6.0, 4.0, 5.0]) * -1
    expected = naive("rosenbrock", z.tolist())[1] + 100 * (z @ [1, 2, 3])
    assert problem.local(np.zeros((1, 3)), 0)[0] == pytest.approx(expected)
    ring = [[0.5, 0.25, 0, 0.25], [0.25, 0.5, 0.25, 0]]
    np.savetxt(tmp_path / "W_F3", [*ring, ring[0][2:] + ring[0][:2], ring[1][2:] + ring[1][:2]])
    edges = bbopt.problem("distributed/f3", **arguments).spec.agents.edges
    assert edges == ((0, 1, 1 / 3), (0, 3, 1 / 3), (1, 2, 1 / 3), (2, 3, 1 / 3))
    with pytest.raises(UsageError, match=r"A_F3 must hold 5 × 3 numbers, got 4 × 3"):
        bbopt.problem("distributed/f3", **arguments | {"agents": 5})
    with pytest.raises(UsageError, match="A_F1 cannot be read"):
        bbopt.problem("distributed/f1", **arguments)

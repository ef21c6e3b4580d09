"""The distributed problems: the contract for each, and what is particular to some."""

import numpy as np
import pytest

import bbopt
from bbopt import registry, seeding
from bbopt.errors import UsageError
from bbopt.problems.distributed.graphs import BENCHMARK
from bbopt.testing import ProblemContract
from bbopt.trial import Trial

NAMES = [name for name in registry.problem_names() if name.startswith("distributed/")]
FUNCTIONS = [f"distributed/f{i}" for i in range(1, 11)]
SMALL = {"agents": 6, "dimension": 5}
VARIANTS = [
    *[pytest.param(name, {}, id=name) for name in NAMES if "federated" not in name],
    *[pytest.param(name, SMALL, id=f"{name} small") for name in FUNCTIONS[::3]],
    *[
        pytest.param(name, SMALL | {"noise": 5.0, "rounding": 50.0}, id=f"{name} noisy, rounded")
        for name in FUNCTIONS[:4]
    ],
    pytest.param("distributed/quadratic", {"agents": 1, "noise": 1.0}, id="quadratic alone"),
    pytest.param("distributed/dispatch", {"agents": 8}, id="dispatch drawn"),
    pytest.param("distributed/sensors", {"agents": 5, "targets": 2}, id="sensors ring"),
    pytest.param("distributed/federated", {"agents": 4, "data": "wine"}, id="federated wine"),
]


@pytest.mark.parametrize(("name", "arguments"), VARIANTS)
class TestDistributedProblem(ProblemContract):
    n_points = 5
    n_repeats = 100

    @pytest.fixture
    def problem(self, name, arguments):
        return bbopt.problem(name, **arguments)


def random_points(problem, n):
    rng = np.random.default_rng(0)
    low, high = np.array([[d.low, d.high] for d in problem.spec.space.values()]).T
    return rng.uniform(low, high, (n, len(low)))


@pytest.mark.parametrize("name", NAMES)
def test_the_truth_is_the_mean_of_what_the_agents_see(name):
    problem = bbopt.problem(name)
    x = random_points(problem, 2)
    each = [
        problem.evaluate_array(x, agent, seeding.stream(0, "test"))
        for agent in range(problem.spec.agents.n)
    ]
    for row, values in zip(x, np.transpose(each), strict=True):
        params = dict(zip(problem.spec.space, row.tolist(), strict=True))
        # cancelling terms: rounding is relative to the largest of them
        slack = 1e-13 * np.abs(values).max()
        assert problem.truth(params) == pytest.approx(values.mean(), rel=1e-12, abs=slack)
        whole = problem.evaluate(Trial(0, params), seeding.stream(0, "test"))
        assert whole.tolist() == [problem.truth(params)]


@pytest.mark.parametrize("name", NAMES)
def test_problems_have_metropolis_weights(name):
    agents = bbopt.problem(name).spec.agents
    degrees = np.bincount([end for edge in agents.edges for end in edge[:2]])
    for i, j, weight in agents.edges:
        assert weight == 1 / (1 + max(degrees[i], degrees[j]))


def test_the_graph_is_that_of_the_benchmark_or_drawn_from_the_seed_or_a_ring():
    def edges(**arguments):
        agents = bbopt.problem("distributed/f1", dimension=2, **arguments).spec.agents
        return [edge[:2] for edge in agents.edges]

    assert edges() == edges(seed=7) == list(BENCHMARK)
    assert edges(agents=12, seed=1) == edges(agents=12, seed=1) != edges(agents=12, seed=2)
    assert set(np.bincount(np.ravel(edges(agents=12)))) == {3}
    assert edges(agents=5) == [(0, 1), (0, 4), (1, 2), (2, 3), (3, 4)]
    assert edges(agents=2) == [(0, 1)]
    assert edges(agents=1) == []


def test_an_agent_that_does_not_exist_is_refused():
    problem = bbopt.problem("distributed/dispatch")
    params = problem.optimal_params[0]
    with pytest.raises(UsageError, match=r"context: agent must be an integer in \[0, 2\], got 3"):
        problem.evaluate(Trial(0, params, 1, {"agent": 3}), np.random.default_rng(0))


# --- quadratic ------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [{}, {"agents": 7, "dimension": 3, "condition": 1e4}])
def test_the_common_minimum_of_quadratics_has_no_slope(arguments):
    problem = bbopt.problem("distributed/quadratic", **arguments)
    best, d = problem.minimiser, len(problem.minimiser)
    for step in np.eye(d):
        ahead, behind = problem.mean(np.array([best + step, best - step]))
        # a quadratic: the central difference is the slope, whatever the step
        assert abs(ahead - behind) <= 1e-10 * ahead
        assert min(ahead, behind) > problem.optimum


def test_each_quadratic_is_least_at_its_own_centre_with_the_condition_asked_for():
    problem = bbopt.problem("distributed/quadratic", agents=4, dimension=3, condition=50.0)
    for agent in range(4):
        centre = problem.centres[agent]
        assert problem.local(centre[None], agent) == 0
        sides = np.eye(3)
        value = {
            (i, j): problem.local((centre + sides[i] + sides[j])[None], agent)[0]
            for i in range(3)
            for j in range(3)
        }
        one = [problem.local((centre + side)[None], agent)[0] for side in sides]
        hessian = [[value[i, j] - one[i] - one[j] for j in range(3)] for i in range(3)]
        eigenvalues = np.linalg.eigvalsh(np.array(hessian))
        np.testing.assert_allclose(eigenvalues, [1, np.sqrt(50), 50], rtol=1e-9)


def test_a_common_minimum_outside_of_the_box_is_refused():
    def build(seed):
        arguments = {"agents": 2, "dimension": 2, "condition": 1e12, "seed": seed}
        return bbopt.problem("distributed/quadratic", **arguments)

    with pytest.raises(UsageError, match="minimum is outside of the box"):
        [build(seed) for seed in range(50)]


# --- sensors --------------------------------------------------------------------------


def test_the_estimate_of_the_sensors_is_as_good_as_least_squares_can_be():
    values = [bbopt.problem("distributed/sensors", targets=30, seed=s).optimum for s in range(5)]
    # chi squared with 5 · 30 · (16 - 3) degrees of freedom: sd of the mean is 2.3 %
    floor = 30 * 0.1**2 * (1 - 3 / 16)
    assert np.mean(values) == pytest.approx(floor, rel=0.1)


def test_no_point_near_the_estimate_is_better():
    problem = bbopt.problem("distributed/sensors", targets=3)
    best = np.array(list(problem.optimal_params[0].values()))
    near = best + 10 ** np.random.default_rng(0).uniform(-6, 0, (500, 1)) * random_signs(500, 9)
    assert problem.mean(near).min() > problem.optimum
    assert problem.position_error(problem.optimal_params[0]) < 5


def random_signs(n, d):
    return np.random.default_rng(1).standard_normal((n, d))


def test_a_sensor_sees_the_logarithm_of_the_distance():
    problem = bbopt.problem("distributed/sensors", targets=1, seed=4)
    x = random_points(problem, 3)
    for agent in (0, 5):
        distance = np.linalg.norm(x - problem.sensors[agent], axis=1)
        at_target = np.linalg.norm(problem.targets - problem.sensors[agent])
        # what it has read is within five sd of the truth
        exact = 20 * np.log10(distance / at_target)
        np.testing.assert_allclose(np.sqrt(problem.local(x, agent)), np.abs(exact), atol=0.5)
    assert np.isfinite(problem.local(problem.sensors[[0]], 0)).all()


# --- dispatch -------------------------------------------------------------------------


def test_three_units_have_the_optimum_of_the_literature():
    problem = bbopt.problem("distributed/dispatch", penalty=1e9)
    assert problem.optimum == pytest.approx(8234.0717, abs=1e-4)
    best = problem.optimal_params[0]
    assert list(best.values()) == pytest.approx([300.267, 400, 149.733], abs=1e-3)


@pytest.mark.parametrize("penalty", [100.0, 1000.0])
def test_no_schedule_of_three_units_is_cheaper(penalty):
    problem = bbopt.problem("distributed/dispatch", penalty=penalty)
    low, high = problem.units[:, 5:].T
    first = np.linspace(low[0], high[0], 201)
    second = np.linspace(low[1], high[1], 201)
    p, q = (grid.ravel() for grid in np.meshgrid(first, second))
    for slack in (0.0, *np.linspace(-20, 0, 20)):
        r = np.clip(problem.demand - p - q + slack, low[2], high[2])
        assert problem.mean(np.column_stack([p, q, r])).min() >= problem.optimum


def test_an_agent_of_dispatch_sees_its_own_cost_and_the_imbalance():
    problem = bbopt.problem("distributed/dispatch", penalty=200.0)
    x = np.array([[200.0, 300.0, 100.0]])
    a, b, c, e, f, low, _ = problem.units[1]
    cost = a + b * 300 + c * 300**2 + abs(e * np.sin(f * (low - 300)))
    assert problem.local(x, 1)[0] == pytest.approx(3 * cost + 200 * 250**2, rel=1e-14)


# --- federated ------------------------------------------------------------------------


def test_sites_hold_every_row_once_and_the_fewer_classes_the_smaller_alpha():
    from bbopt.problems.distributed.federated import _shards

    def unevenness(alpha):
        shards = _shards("wine", 4, alpha, 0)
        labels = [np.concatenate([y, y_new]).argmax(axis=1) for _, y, _, y_new in shards]
        assert sum(map(len, labels)) == 178
        shares = [np.bincount(each, minlength=3) / len(each) for each in labels]
        return np.std(shares, axis=0).mean()

    assert unevenness(0.3) > 2 * unevenness(100.0)


def test_a_site_trains_the_kernel_ridge_regression_of_scikit_learn():
    from sklearn.kernel_ridge import KernelRidge

    from bbopt.problems.distributed.federated import _shards

    problem = bbopt.problem("distributed/federated", agents=4, data="wine")
    x, y, x_new, y_new = _shards("wine", 4, 0.3, 0)[2]
    model = KernelRidge(alpha=0.01, gamma=0.5, kernel="rbf").fit(x, y)
    expected = np.mean((model.predict(x_new) - y_new) ** 2)
    assert problem.local(np.log10([[0.01, 0.5]]), 2)[0] == pytest.approx(expected, rel=1e-9)


def test_more_sites_than_the_data_can_feed_are_refused():
    problem = bbopt.problem("distributed/federated", agents=100, data="wine")
    with pytest.raises(UsageError, match=r"100 agents with alpha=0\.3 are too many"):
        problem.local(np.zeros((1, 2)), 0)

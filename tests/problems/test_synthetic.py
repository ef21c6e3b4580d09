from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import pytest

import bbopt
from bbopt import registry, seeding
from bbopt.errors import UsageError
from bbopt.testing import ProblemContract
from bbopt.trial import MAX_VALUES, Outcome
from bbopt.wrappers import Noisy, Shifted

NAMES = [name for name in registry.problem_names() if name.startswith("synthetic/")]
MOVABLE = [name for name in NAMES if "moved" in registry.problem_arguments(name)]
IN_ANY_DIMENSION = [name for name in NAMES if "dim" in registry.problem_arguments(name)]

VARIANTS = [
    *[pytest.param(name, {}, id=name) for name in NAMES],
    *[pytest.param(name, {"dim": 7}, id=f"{name} dim=7") for name in IN_ANY_DIMENSION],
    *[pytest.param(name, {"dim": 3, "moved": 1}, id=f"{name} moved") for name in MOVABLE],
    *[
        pytest.param(name, noise, id=f"{name} {noise['noise_kind']}")
        for name in ("synthetic/branin", "synthetic/step", "synthetic/gp2")
        for noise in (
            {"noise": 0.3, "noise_kind": "gaussian"},
            {"noise": 0.3, "noise_kind": "heteroscedastic"},
            {"noise_kind": "bernoulli"},
        )
    ],
]


@lru_cache
def built(name, arguments):
    return bbopt.problem(name, **dict(arguments))


@pytest.mark.parametrize(("name", "arguments"), VARIANTS)
class TestSyntheticProblem(ProblemContract):
    @pytest.fixture
    def problem(self, name, arguments):
        return built(name, tuple(arguments.items()))


class TestWrappedSyntheticProblem(ProblemContract):
    @pytest.fixture
    def problem(self):
        return Noisy(Shifted(built("synthetic/branin", ()), seed=3), sd=0.2)


def points(problem, n, seed=0):
    low, high = problem.bounds.T
    return low + np.random.default_rng(seed).random((n, len(low))) * (high - low)


def params_of(problem, point):
    return dict(zip(problem.spec.space, map(float, point), strict=True))


def values(problem, point, repeats, seed=0):
    trial = bbopt.Trial(0, params_of(problem, point), repeats)
    return problem.evaluate(trial, np.random.default_rng(seed))


def test_the_family_has_every_function():
    functions = (
        "branin hartmann3 hartmann6 ackley rastrigin rosenbrock levy griewank styblinski-tang "
        "step ellipsoid zakharov dixon-price schwefel michalewicz gp1 gp2"
    )
    assert set(NAMES) == {f"synthetic/{function}" for function in functions.split()}


# --- values known from elsewhere -----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "point", "expected"),
    [
        # published minima, to the digits published
        ("branin", {}, [-math.pi, 12.275], 0.397887),
        ("branin", {}, [math.pi, 2.275], 0.397887),
        ("branin", {}, [9.42478, 2.475], 0.397887),
        ("hartmann3", {}, [0.114614, 0.555649, 0.852547], -3.86278),
        ("hartmann6", {}, [0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573], -3.32237),
        ("styblinski-tang", {"dim": 3}, [-2.903534] * 3, 3 * -39.16617),
        ("ackley", {"dim": 4}, [0.0] * 4, 0.0),
        ("rastrigin", {"dim": 4}, [0.0] * 4, 0.0),
        ("rosenbrock", {"dim": 4}, [1.0] * 4, 0.0),
        ("levy", {"dim": 4}, [1.0] * 4, 0.0),
        ("griewank", {"dim": 4}, [0.0] * 4, 0.0),
        ("step", {"dim": 4}, [0.3, -0.4, 0.0, 0.49], 0.0),
        ("schwefel", {"dim": 3}, [420.968746] * 3, 0.0),
        ("dixon-price", {"dim": 3}, [1.0, 2**-0.5, 2**-0.75], 0.0),
        ("michalewicz", {"dim": 2}, [2.202906, 1.570796], -1.8013034),
        ("michalewicz", {"dim": 5}, [2.202906, 1.570796, 1.284992, 1.923058, 1.72047], -4.687658),
        # worked out by hand
        ("ellipsoid", {"dim": 3}, [1.0, 2.0, -1.0], 1 + 4000 + 1e6),
        ("zakharov", {"dim": 2}, [1.0, 2.0], 5 + 2.5**2 + 2.5**4),
        ("dixon-price", {"dim": 3}, [3.0, 1.0, 2.0], 4 + 2 * (2 - 3) ** 2 + 3 * (8 - 1) ** 2),
        ("schwefel", {"dim": 2}, [0.0, 0.0], 2 * 418.982887),
        ("michalewicz", {"dim": 1}, [math.pi / 2], -(math.sin(math.pi / 4) ** 20)),
        ("branin", {}, [0.0, 0.0], 36 + 10 * (1 - 1 / (8 * math.pi)) + 10),
        ("branin", {}, [math.pi, 0.0], (1 - 1.275 - 2) ** 2 + 10 / (8 * math.pi)),
        ("ackley", {"dim": 2}, [1.0, 1.0], 20 - 20 * math.exp(-0.2)),
        ("ackley", {"dim": 1}, [0.5], 20 - 20 * math.exp(-0.1) + math.e - math.exp(-1)),
        ("rastrigin", {"dim": 2}, [1.0, 0.5], 1 + 0.25 + 20),
        ("rastrigin", {"dim": 1}, [0.25], 0.0625 + 10),
        ("rosenbrock", {"dim": 2}, [-1.0, 2.0], 104),
        ("rosenbrock", {"dim": 3}, [0.0, 1.0, 3.0], 100 + 1 + 400),
        ("levy", {"dim": 1}, [5.0], 1.0),
        ("levy", {"dim": 2}, [-3.0, 5.0], 1 + 10 * math.sin(1) ** 2 + 1),
        ("griewank", {"dim": 1}, [2 * math.pi], math.pi**2 / 1000),
        ("griewank", {"dim": 2}, [0.0, math.sqrt(2) * math.pi], math.pi**2 / 2000 + 2),
        ("styblinski-tang", {"dim": 2}, [1.0, -2.0], -5 - 29),
        ("step", {"dim": 3}, [0.5, -0.6, -5.12], 1 + 1 + 25),
    ],
)
def test_value_at_a_known_point(name, arguments, point, expected):
    problem = bbopt.problem(f"synthetic/{name}", **arguments)
    # published minima have six digits, and the functions are flat there
    assert problem.truth(params_of(problem, point)) == pytest.approx(expected, rel=3e-6, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("branin", [(-5, 10), (0, 15)]),
        ("hartmann6", [(0, 1)] * 6),
        ("ackley", [(-32.768, 32.768)] * 2),
        ("rastrigin", [(-5.12, 5.12)] * 2),
        ("rosenbrock", [(-5, 10)] * 2),
        ("levy", [(-10, 10)] * 2),
        ("griewank", [(-600, 600)] * 2),
        ("styblinski-tang", [(-5, 5)] * 2),
        ("gp1", [(0, 1)]),
    ],
)
def test_the_box_is_that_of_the_literature(name, bounds):
    space = bbopt.problem(f"synthetic/{name}").spec.space
    assert [(dimension.low, dimension.high) for dimension in space.values()] == bounds
    assert list(space) == [f"x{i}" for i in range(1, len(bounds) + 1)]


@pytest.mark.parametrize(
    "name", [n for n in NAMES if n not in ("synthetic/ackley", "synthetic/step")]
)
def test_the_gradient_vanishes_at_every_interior_minimiser(name):
    problem = bbopt.problem(name)
    width = problem.bounds[:, 1] - problem.bounds[:, 0]
    for minimiser in problem.minimisers:
        steps = np.diag(1e-5 * width)
        high, low = (problem.function(minimiser + sign * steps) for sign in (1, -1))
        around = problem.function(np.vstack([minimiser + steps, minimiser - steps]))
        # central differences are off by their second order at most: far less than the rise
        assert np.all(np.abs(high - low) <= 1e-3 * np.abs(around - problem.optimum).max())
        assert np.all(around >= problem.optimum)


@pytest.mark.parametrize("name", NAMES)
def test_every_minimiser_has_the_least_value(name):
    problem = bbopt.problem(name)
    least = problem.function(problem.minimisers)
    np.testing.assert_allclose(least, problem.optimum, rtol=1e-12, atol=1e-12)
    assert problem.function(points(problem, 20_000)).min() >= problem.optimum


def test_branin_has_three_minimisers_far_apart():
    minimisers = bbopt.problem("synthetic/branin").minimisers
    assert len(minimisers) == 3
    assert min(abs(a - b) for a in minimisers[:, 0] for b in minimisers[:, 0] if a != b) > 6


@pytest.mark.parametrize("name", IN_ANY_DIMENSION)
@pytest.mark.parametrize("dim", [2, 5, 30])
def test_dim_sets_the_number_of_parameters(name, dim):
    problem = bbopt.problem(name, dim=dim)
    assert len(problem.spec.space) == dim
    assert problem.minimisers.shape == (1, dim)


@pytest.mark.parametrize("name", NAMES)
def test_function_takes_many_points_and_agrees_with_truth(name):
    problem = bbopt.problem(name)
    x = points(problem, 50)
    singly = [problem.truth(params_of(problem, point)) for point in x]
    np.testing.assert_allclose(problem.function(x), singly, rtol=1e-12)


@pytest.mark.parametrize("name", MOVABLE)
def test_a_moved_function_is_the_same_one_elsewhere(name):
    plain = bbopt.problem(name, dim=4)
    seen = set()
    for moved in range(3):
        problem = bbopt.problem(name, dim=4, moved=moved)
        offset = problem.minimisers - plain.minimisers
        x = points(plain, 100)
        np.testing.assert_allclose(problem.function(x + offset), plain.function(x), rtol=1e-9)
        low, high = problem.bounds.T
        assert np.all(np.abs((problem.minimisers - low) / (high - low) - 0.5) <= 0.25)
        # elsewhere in the box it is nowhere better: the function grows beyond its old box, too
        assert problem.function(points(problem, 20_000)).min() >= problem.optimum
        seen.add(tuple(problem.minimisers[0]))
    assert len(seen) == 3


def test_the_sum_of_michalewicz_is_least_where_each_term_is():
    problem = bbopt.problem("synthetic/michalewicz", dim=10)
    assert problem.optimum == pytest.approx(-9.66015, abs=1e-5)
    axis = np.linspace(0, math.pi, 2001)
    for i in range(10):
        x = np.tile(problem.minimisers, (len(axis), 1))
        x[:, i] = axis
        assert problem.function(x).min() >= problem.optimum - 1e-12  # minimised to rounding


def test_step_is_flat_inside_a_plateau_and_jumps_at_its_edge():
    problem = bbopt.problem("synthetic/step", dim=1)
    plateau = problem.function(np.linspace(1.5, 2.4999, 100)[:, None])
    assert set(plateau) == {4.0}
    assert problem.function(np.array([[1.4999], [2.5]])).tolist() == [1.0, 9.0]
    assert len(set(problem.function(np.linspace(-5.12, 5.12, 9999)[:, None]))) == 6


# --- Gaussian process draws ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["synthetic/gp1", "synthetic/gp2"])
@pytest.mark.parametrize(("seed", "lengthscale"), [(0, 0.05), (1, 0.2), (2, 0.5), (3, 3.0)])
def test_optimum_of_a_draw_is_below_a_fine_grid(name, seed, lengthscale):
    problem = bbopt.problem(name, seed=seed, lengthscale=lengthscale)
    d = len(problem.spec.space)
    axis = np.linspace(0, 1, {1: 20_001, 2: 201}[d])
    grid = np.stack(np.meshgrid(*[axis] * d), axis=-1).reshape(-1, d)
    least = problem.function(grid).min()
    # a grid point lies within h/2 of the minimum along each axis; curvature below 5/l²
    gap = d * 2.5 * (axis[1] / 2 / lengthscale) ** 2
    inside = np.all((problem.minimisers > 0) & (problem.minimisers < 1))
    assert problem.optimum <= least
    assert not inside or least - problem.optimum <= gap


def test_gradient_of_a_draw_agrees_with_differences():
    problem = bbopt.problem("synthetic/gp2", seed=5)
    x, h = points(problem, 20), 1e-6
    steps = h * np.eye(2)
    differences = np.column_stack(
        [(problem.function(x + s) - problem.function(x - s)) / (2 * h) for s in steps]
    )
    np.testing.assert_allclose(problem.gradient(x), differences, atol=1e-6)


def test_draws_have_the_covariance_of_the_kernel():
    # ten points, each one lengthscale from the next: the kernel at a distance of k lengthscales
    # is exp(-k²/2). 200 draws of some five independent values each give standard errors below
    # sqrt(2 / 1000) = 0.045
    x = 0.05 + 0.1 * np.arange(10)[:, None]
    problems = [bbopt.problem("synthetic/gp1", seed=seed, lengthscale=0.1) for seed in range(200)]
    draws = np.array([problem.function(x) for problem in problems])
    for k in range(4):
        covariance = np.mean(draws[:, k:] * draws[:, : 10 - k])
        assert covariance == pytest.approx(math.exp(-(k**2) / 2), abs=4 * 0.045)


def test_seeds_give_different_draws_and_one_seed_the_same():
    a, b, c = (bbopt.problem("synthetic/gp1", seed=seed) for seed in (0, 0, 1))
    x = points(a, 10)
    np.testing.assert_array_equal(a.function(x), b.function(x))
    assert not np.allclose(a.function(x), c.function(x))


@pytest.mark.parametrize(
    ("name", "minimiser", "least"),
    [("gp1", [0.335782], -1.86506), ("gp2", [0.995453, 0.565154], -1.53179)],
)
def test_default_draw_is_the_one_documented(name, minimiser, least):
    problem = bbopt.problem(f"synthetic/{name}")
    np.testing.assert_allclose(problem.minimisers[0], minimiser, atol=1e-6)
    assert problem.optimum == pytest.approx(least, abs=1e-5)


# --- noise ---------------------------------------------------------------------------------


def test_without_noise_a_problem_is_deterministic_and_with_noise_not():
    exact = bbopt.problem("synthetic/branin")
    noisy = bbopt.problem("synthetic/branin", noise=0.1)
    coin = bbopt.problem("synthetic/branin", noise_kind="bernoulli")
    assert [p.spec.deterministic for p in (exact, noisy, coin)] == [True, False, False]
    assert [p.spec.value_range for p in (exact, noisy, coin)] == [None, None, (0.0, 1.0)]


def test_gaussian_noise_has_the_given_standard_deviation_everywhere():
    problem = bbopt.problem("synthetic/hartmann3", noise=0.25)
    for point in ([0.1, 0.2, 0.3], [0.9, 0.5, 0.8]):
        sample = Outcome.coerce(values(problem, point, 100_000))
        # the relative standard error of a standard deviation is 1 / sqrt(2 n) = 0.0022
        assert math.sqrt(sample.m2 / (sample.count - 1)) == pytest.approx(0.25, rel=0.01)
        assert problem.sd(np.array([point]))[0] == 0.25


@pytest.mark.parametrize(("x1", "factor"), [(-5.0, 0.1), (2.5, 1.0), (6.25, 1.45), (10.0, 1.9)])
def test_heteroscedastic_noise_grows_with_the_first_coordinate(x1, factor):
    problem = bbopt.problem("synthetic/branin", noise=2.0, noise_kind="heteroscedastic")
    sample = Outcome.coerce(values(problem, [x1, 4.0], 100_000))
    assert math.sqrt(sample.m2 / (sample.count - 1)) == pytest.approx(2 * factor, rel=0.01)
    assert problem.sd(np.array([[x1, 4.0]]))[0] == pytest.approx(2 * factor)


def test_bernoulli_values_are_zeros_and_ones_with_the_stated_probability():
    problem = bbopt.problem("synthetic/ackley", noise_kind="bernoulli")
    point = [3.0, -8.0]
    truth = problem.truth(params_of(problem, point))
    few = values(problem, point, 1000)
    assert set(few) == {0.0, 1.0}
    many = values(problem, point, 200_000)
    assert many.mean == pytest.approx(truth, abs=5 * math.sqrt(truth * (1 - truth) / 200_000))
    assert many.m2 / many.count == pytest.approx(many.mean * (1 - many.mean))
    assert problem.sd(np.array([point]))[0] == pytest.approx(math.sqrt(truth * (1 - truth)))


@pytest.mark.parametrize("name", NAMES)
def test_bernoulli_probability_grows_with_the_function(name):
    problem, plain = bbopt.problem(name, noise_kind="bernoulli"), bbopt.problem(name)
    x = points(plain, 2000)
    order = np.argsort(plain.function(x))
    p = problem.expected(x)
    assert np.all(np.diff(p[order]) >= -1e-15)  # g / (1 + g) rounds either way
    assert p.min() >= 0.1
    assert p.max() < 0.9
    # half of the box lies on either side of g = 1, where p = 0.1 + 0.8 / 2
    assert np.median(p) == pytest.approx(0.5, abs=0.03)
    assert problem.optimum == pytest.approx(0.1)


def test_a_million_repeats_are_one_call_of_the_same_distribution():
    problem = bbopt.problem("synthetic/branin", noise=0.5)
    outcome = values(problem, [1.0, 1.0], 1_000_000)
    assert problem.block >= 1_000_000
    assert (outcome.count, outcome.failed, outcome.values) == (1_000_000, 0, ())
    truth = problem.truth({"x1": 1.0, "x2": 1.0})
    assert abs(outcome.mean - truth) < 5 * 0.5 / 1000
    assert math.sqrt(outcome.m2 / outcome.count) == pytest.approx(0.5, rel=0.005)


def test_statistics_of_many_repeats_are_those_of_the_values():
    problem = bbopt.problem("synthetic/branin", noise=0.5)
    n = MAX_VALUES + 1
    outcome = values(problem, [1.0, 1.0], n, seed=3)
    truth = problem.truth({"x1": 1.0, "x2": 1.0})
    draws = truth + 0.5 * np.random.default_rng(3).standard_normal(n)
    assert outcome.mean == pytest.approx(draws.mean(), rel=1e-12)
    assert outcome.m2 == pytest.approx(((draws - draws.mean()) ** 2).sum(), rel=1e-9)


def test_a_deterministic_problem_repeated_often_has_no_variance():
    problem = bbopt.problem("synthetic/levy")
    outcome = values(problem, [0.1, 0.7], 12_345)
    assert outcome.m2 == 0.0
    assert outcome.mean == problem.truth({"x1": 0.1, "x2": 0.7})


# --- arguments -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("branin", {"noise": -1}, r"noise must be a finite number >= 0, got -1"),
        ("branin", {"noise": math.nan}, r"noise must be a finite number"),
        ("branin", {"noise_kind": "pink"}, r"noise_kind must be one of 'gaussian', .*got 'pink'"),
        ("branin", {"noise": 1.0, "noise_kind": "bernoulli"}, r"noise must be 0 with .*got 1.0"),
        ("branin", {"dim": 3}, r"no argument 'dim'; allowed are noise, noise_kind"),
        ("ackley", {"dim": 0}, r"dim must be an integer >= 1, got 0"),
        ("rosenbrock", {"dim": 1}, r"dim must be an integer >= 2, got 1"),
        ("ackley", {"dim": 2.5}, r"dim must be an integer >= 1, got 2.5"),
        ("gp1", {"seed": -1}, r"seed must be an integer >= 0, got -1"),
        ("gp2", {"lengthscale": 0.01}, r"lengthscale must be a finite number in \[0.05, 10\]"),
    ],
)
def test_a_wrong_argument_is_named(name, arguments, message):
    with pytest.raises(UsageError, match=message) as error:
        bbopt.problem(f"synthetic/{name}", **arguments)
    assert "\n" not in str(error.value)


def test_streams_of_two_blocks_are_independent():
    problem = bbopt.problem("synthetic/branin", noise=1.0)
    trial = bbopt.Trial(0, {"x1": 0.0, "x2": 0.0}, 1000)
    a, b = (problem.evaluate(trial, seeding.stream(0, "evaluate", block=i)) for i in range(2))
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / math.sqrt(1000)

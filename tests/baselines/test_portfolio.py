from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import cho_factor
from scipy.optimize import minimize
from scipy.stats import norm

import bbopt
from bbopt import Budget, Categorical, Float, Outcome, Space, Spec, Trial
from bbopt.baselines.portfolio import Earlier, Task, earlier_tasks, gaussian_ranks
from bbopt.baselines.transfer_gp import learned_difference, zero_and_unit
from bbopt.errors import UsageError
from bbopt.metabo.kernels import Matern52
from bbopt.problems.meta import write_tables

SPACE = Space({"lr": Float(1e-3, 1.0, log=True), "booster": Categorical(["tree", "linear"])})
CSV = """\
lr,booster,seconds,loss
0.1,tree,3,0.25
0.01,linear,1,0.5
10.0,tree,9,0.75
0.1,forest,2,0.0
"""


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """Tables of eight related tasks in two dimensions, and the table of a ninth."""
    folder = tmp_path_factory.mktemp("family")
    files = write_tables(folder, "meta/gp-family", tasks=9, rows=150, dim=2, similarity=0.9)
    new = files[-1].rename(tmp_path_factory.mktemp("new") / "task.npz")
    return str(folder), bbopt.problem("hpo/table", path=str(new))


def regret(optimizer, problem, n):
    """(best of n evaluations - least) / (greatest - least) of a table."""
    values = [problem.truth(row) for row in problem.spec.candidates]
    told = []
    for i in range(n):
        (trial,) = optimizer.ask(1, Budget(evaluations=n - i))
        told.append(problem.truth(trial.params))
        optimizer.tell(trial, told[-1])
    return (min(told) - min(values)) / (max(values) - min(values))


# --- earlier tasks -------------------------------------------------------------------------


def test_a_table_becomes_the_rows_that_the_space_has(tmp_path):
    (tmp_path / "a.csv").write_text(CSV)
    (task,) = earlier_tasks(SPACE, str(tmp_path), 2).tasks
    # lr = 10 is cut to 1, the row with an unknown booster is left out, seconds are ignored
    rows = [("tree", 0.1), ("linear", 0.01), ("tree", 1.0)]
    expected = SPACE.to_unit([{"lr": lr, "booster": booster} for booster, lr in rows])
    np.testing.assert_allclose(task.x, expected)
    # losses 0.25, 0.5, 0.75: less is better; of mean 0 and variance 1
    np.testing.assert_allclose(task.utility, np.array([1, 0, -1]) * math.sqrt(1.5), atol=1e-12)


def test_tables_whose_larger_values_are_better_are_turned_round(tmp_path):
    write_tables(tmp_path, tasks=1, rows=10, dim=1)
    (file,) = tmp_path.iterdir()
    contents = dict(np.load(file))
    contents |= {"minimise": np.array(False), "y": -contents["y"]}
    other = tmp_path / "turned"
    other.mkdir()
    np.savez(other / "task.npz", **contents)
    space = Space({"x1": Float(0.0, 1.0)})
    (a,), (b,) = (earlier_tasks(space, str(f), 2).tasks for f in (tmp_path, other))
    np.testing.assert_allclose(a.utility, b.utility)


def test_a_pattern_takes_some_of_a_folder(tmp_path):
    write_tables(tmp_path, tasks=4, rows=10, dim=1)
    space = Space({"x1": Float(0.0, 1.0)})
    assert len(earlier_tasks(space, str(tmp_path), 1).tasks) == 4
    assert len(earlier_tasks(space, str(tmp_path / "task_0[02]*"), 1).tasks) == 2


def test_files_that_change_are_read_again(tmp_path):
    import os

    path = tmp_path / "a.csv"
    found = []
    for i, text in enumerate((CSV, CSV.replace("0.25", "0.95"))):
        path.write_text(text)
        os.utime(path, (i, i))
        found.append(earlier_tasks(SPACE, str(tmp_path), 2).tasks[0].utility[0])
    assert found[0] > 0 > found[1]


@pytest.mark.parametrize("name", ["portfolio", "transfer-gp"])
def test_tables_that_say_nothing_are_refused(name, tmp_path):
    for tables in ("", str(tmp_path), str(tmp_path / "none*.npz")):
        with pytest.raises(UsageError, match="tables must name a folder"):
            bbopt.optimizer(name, SPACE, tables=tables)
    (tmp_path / "a.csv").write_text("lr,loss\n0.1,1\n0.2,2\n")
    with pytest.raises(UsageError, match=r"a.csv: lacks a column 'booster'; it has lr"):
        bbopt.optimizer(name, SPACE, tables=str(tmp_path))
    (tmp_path / "a.csv").write_text("lr,booster,loss\n0.1,tree,1\n0.2,tree,1\n0.3,tree,1\n")
    with pytest.raises(UsageError, match="none of 1 files has 3 rows of the space that differ"):
        bbopt.optimizer(name, SPACE, tables=str(tmp_path))


# --- portfolio -----------------------------------------------------------------------------


def test_the_portfolio_is_the_order_of_the_mean_prediction_whatever_is_told(family):
    tables, problem = family
    spec = problem.spec
    prediction = earlier_tasks(spec.space, tables, 10).predict(spec.candidates.x)
    expected = [spec.candidates[int(i)] for i in np.argsort(-prediction, kind="stable")[:12]]
    for sign in (1.0, -1.0):
        optimizer = bbopt.optimizer("portfolio", spec, tables=tables, trees=10)
        asked = []
        for i in range(12):
            (trial,) = optimizer.ask()
            asked.append(trial.params)
            optimizer.tell(trial, sign * i)
        assert asked == expected


def test_related_tasks_are_a_good_guide(family):
    tables, problem = family
    values = np.sort([problem.truth(row) for row in problem.spec.candidates])
    scaled = (values - values[0]) / (values[-1] - values[0])
    # the expected regret of the best of n rows drawn at random without replacement
    n, total = 3, len(scaled)
    chances = [math.comb(total - i - 1, n - 1) / math.comb(total, n) for i in range(total)]
    at_random = float(np.dot(scaled, chances))
    for name in ("portfolio", "transfer-gp"):
        optimizer = bbopt.optimizer(name, problem.spec, tables=tables, trees=20)
        assert regret(optimizer, problem, n) < at_random / 2, name


def test_in_a_box_each_proposal_is_new_and_predicted_to_be_good(family):
    tables, problem = family
    space = problem.spec.space
    optimizer = bbopt.optimizer("portfolio", space, tables=tables, trees=10)
    asked = [trial.params for trial in optimizer.ask(6)]
    assert len({tuple(params.values()) for params in asked}) == 6
    earlier = earlier_tasks(space, tables, 10)
    typical = earlier.predict(np.random.default_rng(0).random((500, 2)))
    assert earlier.predict(space.to_unit(asked)).min() > np.quantile(typical, 0.98)


# --- transfer-gp ---------------------------------------------------------------------------


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=12))
def test_ranks_become_normal_quantiles_and_equals_share_theirs(values):
    u = np.array(values, dtype=float)
    found = gaussian_ranks(u)
    for value, z in zip(u, found, strict=True):
        rank = (u < value).sum() + ((u == value).sum() + 1) / 2
        assert z == pytest.approx(norm.ppf((rank - 0.5) / len(u)))
    np.testing.assert_array_equal(gaussian_ranks(np.exp(u)), found)


@given(st.integers(2, 9), st.integers(0, 10**6))
def test_zero_and_unit_are_those_of_the_greatest_likelihood(n, seed):
    rng = np.random.default_rng(seed)
    x = rng.random((n, 2))
    covariance = Matern52(0.5)(x, x) + 0.1 * np.eye(n)
    prior = rng.standard_normal(n)
    u = 5 + 3 * (prior + np.linalg.cholesky(covariance) @ rng.standard_normal(n))
    inverse = np.linalg.inv(covariance)

    def loss(parameters):
        b, log_c = parameters
        r = (u - b) / np.exp(log_c) - prior
        return n * log_c + 0.5 * r @ inverse @ r

    b, c = zero_and_unit(u, prior, cho_factor(covariance, lower=True))
    assert c > 0
    found = minimize(loss, [5.0, 1.0], method="Nelder-Mead", options={"maxiter": 2000})
    # where two points leave the likelihood flat, its value says more than its argument
    assert loss([b, math.log(c)]) <= found.fun + 1e-6


def test_equal_utilities_leave_the_unit_open():
    factor = cho_factor(np.eye(3), lower=True)
    b, c = zero_and_unit(np.full(3, 7.0), np.array([1.0, 2.0, 3.0]), factor)
    assert (b, c) == (pytest.approx(5.0), 1.0)


def test_it_scores_by_the_expected_improvement_of_the_posterior(family):
    tables, problem = family
    spec, x = problem.spec, problem.spec.candidates.x
    optimizer = bbopt.optimizer("transfer-gp", spec, tables=tables, trees=10)
    told, waiting = [3, 50, 90, 120], [7, 8]
    values = np.array([problem.truth(spec.candidates[i]) for i in told])
    for i, value in zip(told, values, strict=True):
        optimizer.tell(Trial(None, spec.candidates[i]), value)
    found = optimizer._score(x[waiting], 5, range(2))(x)

    earlier = earlier_tasks(spec.space, tables, 10, ranked=True)
    difference = learned_difference(earlier, spec.space)
    kernel, noise = difference.kernel, difference.noise
    m, u = earlier.predict(x), gaussian_ranks(-values)
    both = told + waiting
    inner = kernel(x[told], x[told]) + noise * np.eye(len(told))
    b, c = zero_and_unit(u, m[told], cho_factor(inner, lower=True))
    weights = np.linalg.inv(inner) @ ((u - b) / c - m[told])
    mean = m + kernel(x, x[told]) @ weights
    outer = np.linalg.inv(kernel(x[both], x[both]) + noise * np.eye(len(both)))
    cross = kernel(x, x[both])
    sd = np.sqrt(kernel.variance - np.einsum("ij,jk,ik->i", cross, outer, cross))
    a = (mean - mean[told].max()) / sd
    ei = sd * (a * norm.cdf(a) + norm.pdf(a))
    np.testing.assert_allclose(np.exp(found), ei, rtol=1e-5, atol=1e-12)


def test_failures_are_not_in_the_model_and_not_asked_again(family):
    tables, problem = family
    settings = {"tables": tables, "trees": 10}
    broken, whole = (bbopt.optimizer("transfer-gp", problem.spec, **settings) for _ in range(2))
    first = broken.ask(1)[0].params
    assert whole.ask(1)[0].params == first
    broken.tell(broken.pending[0], Outcome.failure("it broke"))
    second = broken.ask(1)[0].params
    assert second != first
    # nothing was observed: the next best of the portfolio
    (x_first, x_second) = problem.spec.space.to_unit([first, second])
    prior = broken._prior(problem.spec.candidates.x)
    ranked = problem.spec.candidates.x[np.argsort(-prior, kind="stable")]
    np.testing.assert_array_equal(ranked[:2], [x_first, x_second])


def test_the_noise_of_earlier_tasks_is_learned_from_how_they_differ():
    rng = np.random.default_rng(0)
    space = Space({"x": Float(0.0, 1.0)})

    def tasks(sd):
        made = []
        for _ in range(8):
            x = rng.random((60, 1))
            u = np.sin(6 * x[:, 0]) + sd * rng.standard_normal(60)
            made.append(Task(x, (u - u.mean()) / u.std()))
        return Earlier(made, 20)

    exact, noisy = (learned_difference(tasks(sd), space).noise for sd in (0.0, 0.7))
    # sin has variance 1/2 and the noise as much: half of the standardised variance, to 5 % (480
    # rows), and the error of what seven forests say of a row, which is a tenth of that or less
    assert exact < 0.02
    assert 0.4 < noisy < 0.65


def test_without_a_table_it_searches_the_space(family):
    tables, problem = family
    spec = Spec(space=problem.spec.space, deterministic=True)
    optimizer = bbopt.optimizer("transfer-gp", spec, tables=tables, trees=5)
    task = bbopt.problem("meta/gp-family", task=8, dim=2, similarity=0.9)
    told = []
    for _ in range(12):
        (trial,) = optimizer.ask()
        told.append(task.truth(trial.params))
        optimizer.tell(trial, told[-1])
    spread = task.function(np.random.default_rng(0).random((2000, 2)))
    # two standard deviations of regret are usual at random, and a quarter is near
    assert min(told) - task.optimum < 0.25 * spread.std()

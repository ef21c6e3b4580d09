from __future__ import annotations

import subprocess
import sys
from functools import lru_cache

import numpy as np
import pytest

import bbopt
from bbopt.errors import UsageError
from bbopt.problems.meta import write_tables
from bbopt.testing import ProblemContract

FAMILIES = ("meta/gp-family", "meta/warped")


@lru_cache
def built(name, **arguments):
    return bbopt.problem(name, **arguments)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("task", [0, 7])
class TestFamily(ProblemContract):
    @pytest.fixture
    def problem(self, name, task):
        return built(name, task=task)


class TestNoisyTask(ProblemContract):
    @pytest.fixture
    def problem(self):
        return built("meta/warped", task=1, dim=2, noise=0.1, noise_kind="heteroscedastic")


def grid(dim, n):
    axis = np.linspace(0, 1, n)
    return np.stack(np.meshgrid(*[axis] * dim), axis=-1).reshape(-1, dim)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("dim", "n"), [(1, 2001), (2, 101), (3, 25)])
def test_no_point_of_a_fine_grid_is_below_the_optimum_and_some_are_near(name, dim, n):
    for task in range(2):
        problem = built(name, task=task, dim=dim)
        values = problem.function(grid(dim, n))
        span = values.max() - values.min()
        assert values.min() >= problem.optimum - 1e-9 * span
        # half the spacing h off in each coordinate, under a curvature of 5/l², l >= 0.2
        h = 1 / (n - 1)
        assert values.min() <= problem.optimum + dim * 5 / 0.2**2 * (h / 2) ** 2 / 2 * span


@pytest.mark.parametrize("name", FAMILIES)
def test_tasks_share_a_space_and_differ_in_values(name):
    problems = [built(name, task=task) for task in range(3)]
    assert len({problem.spec.space for problem in problems}) == 1
    x = grid(3, 5)
    a, b, c = (problem.function(x) for problem in problems)
    assert not np.allclose(a, b)
    assert not np.allclose(b, c)
    np.testing.assert_array_equal(a, bbopt.problem(name, task=0).function(x))


def test_correlation_of_two_tasks_is_the_similarity():
    # values at one point over 200 families are independent pairs: of such a sample the
    # coefficient 0.8 has a standard error of (1 - 0.8^2) / sqrt(200) = 0.026
    x = np.full((1, 2), 0.37)
    pairs = np.array([[draws(family, task, 0.8, x) for task in (0, 1)] for family in range(200)])
    assert abs(np.corrcoef(pairs.T)[0, 1] - 0.8) < 4 * 0.026
    assert abs(pairs.mean()) < 4 * np.sqrt(0.9 / 200)
    assert 0.6 < pairs.var() < 1.5


def draws(family, task, similarity, x):
    """The value at one point, without the search for the optimum."""
    from bbopt.problems.meta import GPFamily

    problem = GPFamily.__new__(GPFamily)
    problem._family, problem._task, problem._similarity = family, task, similarity
    problem._build(x.shape[1])
    return float(problem.function(x)[0])


def test_of_tasks_without_similarity_nothing_is_shared_and_with_all_everything():
    x = grid(3, 4)
    same = [built("meta/gp-family", task=task, similarity=1.0).function(x) for task in (0, 1)]
    np.testing.assert_allclose(*same, rtol=1e-12)
    others = [built("meta/gp-family", task=task, similarity=0.0).function(x) for task in (0, 1)]
    assert np.abs(np.subtract(*others)).max() > 0.5


def test_warped_tasks_agree_on_where_it_is_good_and_not_on_scale():
    x = np.random.default_rng(0).random((2000, 2))
    values = np.array([built("meta/warped", task=task, dim=2).function(x) for task in range(8)])
    ranks = values.argsort(axis=1).argsort(axis=1)
    agreement = np.corrcoef(ranks)[np.triu_indices(8, 1)]
    assert agreement.mean() > 0.3  # of tasks that share nothing it is 0
    assert values.std(axis=1).max() > 10 * values.std(axis=1).min()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": -1}, "task must be an integer >= 0, got -1"),
        ({"family": 0.5}, "family must be an integer >= 0"),
        ({"dim": 0}, r"dim must be an integer in \[1, 16\], got 0"),
        ({"similarity": 1.2}, r"similarity must be a finite number in \[0, 1\], got 1.2"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        bbopt.problem("meta/gp-family", **arguments)


@pytest.mark.parametrize("name", FAMILIES)
def test_written_tables_are_problems_with_the_values_of_their_tasks(name, tmp_path):
    files = write_tables(tmp_path / "new", name, tasks=2, rows=30, dim=2)
    assert [file.name for file in files] == ["task_00.npz", "task_01.npz"]
    for task, file in enumerate(files):
        table, problem = bbopt.problem("hpo/table", path=str(file)), built(name, task=task, dim=2)
        assert len(table.spec.candidates) == 30
        for params in table.spec.candidates:
            assert table.truth(params) == pytest.approx(problem.truth(params), rel=1e-12)
            problem.spec.space.validate(params)


def test_noise_is_written_and_a_chance_is_refused(tmp_path):
    quiet, noisy = (
        np.load(write_tables(tmp_path / str(sd), tasks=1, rows=400, dim=1, noise=sd)[0])
        for sd in (0.0, 0.5)
    )
    np.testing.assert_array_equal(quiet["X"], noisy["X"])
    # the estimate of a standard deviation from 400 normal errors is off by 3.5 %
    assert 0.5 * (1 - 4 * 0.036) < (noisy["y"] - quiet["y"]).std() < 0.5 * (1 + 4 * 0.036)
    with pytest.raises(UsageError, match="noise_kind must be"):
        write_tables(tmp_path, tasks=1, noise_kind="bernoulli")
    with pytest.raises(UsageError, match="name must be one of"):
        write_tables(tmp_path, "synthetic/branin")


def test_the_module_writes_tables_from_the_command_line(tmp_path):
    command = [sys.executable, "-m", "bbopt.problems.meta", str(tmp_path), "--tasks", "2"]
    run = subprocess.run([*command, "--rows", "9"], capture_output=True, text=True, check=True)
    assert run.stdout == f"2 tables in {tmp_path}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["task_00.npz", "task_01.npz"]

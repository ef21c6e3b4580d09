"""Training tasks: what is read, what is drawn, and that nothing is chosen with hindsight."""

from __future__ import annotations

import numpy as np
import optuna
import pytest

from bbopt.errors import StorageError, UsageError
from bbopt.metabo.nap.batches import FunctionSource, normalised_batch
from bbopt.metabo.nap.families import Functions, draw_columns
from bbopt.metabo.nap.pools import PoolSource, projected
from bbopt.metabo.nap.tasks import Past, Task, read_past
from bbopt.space import Float, Space

SQUARE = Space({"x": Float(0, 1), "y": Float(0, 1)})


def write_table(path, *, n=12, high=1.0, names=("eta", "depth"), log=(True, False), seed=0):
    x = np.random.default_rng(seed).uniform(0.01, high, (n, 2))
    np.savez(
        path, X=x, y=x[:, 0], names=np.array(names), low=np.full(2, 0.01), high=np.full(2, high),
        log=np.array(log), minimise=np.array(True),
    )  # fmt: skip
    return x


def test_tables_become_tasks_over_a_space_that_holds_them_all(tmp_path):
    x = write_table(tmp_path / "a.npz")
    write_table(tmp_path / "b.npz", high=2.0, seed=1)
    past = read_past(tmp_path)
    assert [task.name for task in past.tasks] == ["a", "b"]
    eta, depth = past.parameters
    assert (eta.name, eta.low, eta.high, eta.log) == ("eta", 0.01, 2.0, True)
    assert (depth.name, depth.log) == ("depth", False)
    np.testing.assert_allclose(past.tasks[0].utility, -x[:, 0])  # an error: smaller is better
    np.testing.assert_allclose(past.tasks[0].x[:, 0], np.log(x[:, 0] / 0.01) / np.log(200.0))


def test_the_scale_of_columns_of_csv_tables_is_said(tmp_path):
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text(
            "lr,depth,value\n" + "".join(f"{10.0**-i},{i},{i * i}\n" for i in range(8))
        )
    lr, depth = read_past(tmp_path, ["lr"]).parameters
    assert (lr.log, depth.log) == (True, False)
    assert not read_past(tmp_path).parameters[0].log


def test_tasks_without_any_difference_are_refused(tmp_path):
    for name in "ab":
        rows = "".join(f"{i},1.0\n" for i in range(9))
        (tmp_path / f"{name}.csv").write_text(f"x,value\n{rows}")
    with pytest.raises(UsageError, match="every task has one value alone"):
        read_past(tmp_path)


@pytest.mark.parametrize("rows", [8, 14, 18])
@pytest.mark.parametrize("n", [0, 1, 5, 50])
def test_the_shortest_tasks_give_whole_batches(rows, n):
    rng = np.random.default_rng(rows)
    x = rng.random((rows, 2))
    source = PoolSource(Past(SQUARE, (Task("a", x, x.sum(axis=1)),)), rng, tables=1.0)
    for _ in range(10):
        batch = source.batch(rng, 3, n, 56, 6.0)
        assert batch.x.shape == (3, n, 2)
        assert batch.targets.shape == (3, 56)
        assert np.isfinite(batch.targets).all()


def test_studies_become_tasks_and_what_failed_is_left_out(tmp_path, caplog):
    storage = f"sqlite:///{tmp_path}/past.db"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for name, direction in (("one", "minimize"), ("two", "maximize")):
        study = optuna.create_study(
            storage=storage, study_name=name, direction=direction,
            sampler=optuna.samplers.RandomSampler(seed=1),
        )  # fmt: skip
        for _ in range(10):
            trial = study.ask()
            lr = trial.suggest_float("lr", 1e-3, 1.0, log=True)
            layers = trial.suggest_int("layers", 1, 4)
            study.tell(trial, lr + layers)
        study.tell(study.ask(), state=optuna.trial.TrialState.FAIL)
    optuna.create_study(storage=storage, study_name="empty")
    optuna.create_study(storage=storage, study_name="pair", directions=["minimize"] * 2)
    past = read_past(storage)
    assert [task.name for task in past.tasks] == ["one", "two"]
    assert "'empty' is left out: no complete trial" in caplog.text
    assert "'pair' is left out: several objectives" in caplog.text
    assert [parameter.name for parameter in past.parameters] == ["layers", "lr"]
    assert past.tasks[0].x.shape == (10, 2)
    assert past.tasks[0].utility.max() < 0 < past.tasks[1].utility.min()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"names": ("eta", "width")}, "all tasks must have the same parameters"),
        ({"log": (False, False)}, "'eta' must have one scale"),
        ({"n": 3}, "'b' needs at least 8 rows, got 3"),
    ],
)
def test_tasks_that_do_not_fit_together_are_refused(tmp_path, change, message):
    write_table(tmp_path / "a.npz")
    write_table(tmp_path / "b.npz", **change)
    with pytest.raises(UsageError, match=message):
        read_past(tmp_path)


def test_a_place_without_tasks_is_refused(tmp_path):
    with pytest.raises(UsageError, match="holds no npz or CSV file"):
        read_past(tmp_path)
    with pytest.raises(UsageError, match="no such folder or storage"):
        read_past(tmp_path / "absent")
    with pytest.raises(StorageError):
        read_past("sqlite:////nowhere/at/all.db")


def test_choices_are_columns_and_those_of_all_tasks_count(tmp_path):
    (tmp_path / "a.csv").write_text("booster,eta,value\n" + "tree,1,1\nlinear,2,2\n" * 5)
    (tmp_path / "b.csv").write_text("booster,eta,value\n" + "dart,1,1\ntree,4,2\n" * 5)
    past = read_past(tmp_path)
    booster, eta = past.parameters
    assert (booster.width, eta.choices, eta.high) == (3, None, 4.0)
    rows = {task.name: task.x[:2, :3] @ np.arange(3) for task in past.tasks}
    found = {name: [booster.choices[int(k)] for k in row] for name, row in rows.items()}
    assert found == {"a": ["tree", "linear"], "b": ["dart", "tree"]}
    source = PoolSource(past, np.random.default_rng(0))
    np.testing.assert_array_equal(np.sort(source.points[:, :3], axis=1), [[0, 0, 1]] * 4000)


def test_choices_of_studies_keep_their_types(tmp_path):
    storage = f"sqlite:///{tmp_path}/past.db"
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=storage, study_name="one")
    for k in range(9):
        trial = study.ask()
        trial.suggest_categorical("how", ("1", 1, True, None))
        study.tell(trial, k)
    (how,) = read_past(storage).parameters
    assert [(type(choice), choice) for choice in how.choices] == [
        (str, "1"), (int, 1), (bool, True), (type(None), None),
    ]  # fmt: skip


def test_a_parameter_that_is_here_a_number_and_there_a_choice_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("booster,value\n" + "tree,1\nlinear,2\n" * 5)
    (tmp_path / "b.csv").write_text("booster,value\n" + "1,1\n2,2\n" * 5)
    with pytest.raises(UsageError, match="'booster' must be a number, or a choice, in every task"):
        read_past(tmp_path)


@pytest.mark.parametrize("n", [0, 1, 2, 30])
def test_a_batch_of_functions_is_finite_and_inside_the_cube(n):
    batch = FunctionSource(16).batch(np.random.default_rng(n), 8, n, 40, 6.0)
    assert batch.x.shape == (8, n, 16)
    assert batch.candidates.shape == (8, 40, 16)
    for part in batch:
        assert np.isfinite(part).all()
    assert np.abs(batch.targets).max() <= 6.0
    # in centred coordinates times sqrt(16 / d)
    assert np.abs(batch.candidates).max() <= 4.0


def test_spaces_have_values_on_their_grids_and_one_choice_a_group():
    rng = np.random.default_rng(0)
    columns = draw_columns(rng, 200, 16)
    assert columns.groups
    x = columns.rounded(rng.random((200, 5, 16)))
    for i, group in columns.groups:
        np.testing.assert_array_equal(x[i, :, group].sum(axis=1), 1.0)
        assert group.stop <= columns.sizes[i]
    discrete = (columns.levels > 0) & columns.used
    cells = x.transpose(0, 2, 1)[discrete] * columns.levels[discrete][:, None] - 0.5
    np.testing.assert_allclose(cells, np.round(cells), atol=1e-9)
    unused = x.transpose(0, 2, 1)[~columns.used]
    np.testing.assert_array_equal(unused, 0.5)


def test_functions_do_not_depend_on_coordinates_that_are_not_theirs():
    rng = np.random.default_rng(3)
    functions = Functions(rng, 40, 16)
    x = functions.space.rounded(rng.random((40, 6, 16)))
    other = np.where(functions.space.used[:, None, :], x, rng.random(x.shape))
    np.testing.assert_allclose(functions(other), functions(x), atol=1e-4, rtol=1e-4)


def test_an_observation_is_the_function_where_there_is_no_noise():
    rng = np.random.default_rng(4)
    functions = Functions(rng, 40, 8)
    x = functions.space.rounded(rng.random((40, 6, 8)))
    gap = np.abs(functions.observed(x, rng) - functions(x)).max(axis=1)
    assert 5 < (functions.noise == 0).sum() < 40
    np.testing.assert_array_equal(gap[functions.noise == 0], 0.0)
    assert (gap[functions.noise > 0] > 0).all()


def test_targets_are_in_the_units_of_the_history_alone():
    rng = np.random.default_rng(5)
    x, u = rng.random((1, 6, 2)), rng.normal(size=(1, 6))
    q, targets = rng.random((1, 9, 2)), rng.normal(size=(1, 9))
    one = normalised_batch(x, u, q, targets, np.array([2]), 6.0)
    # candidates that are better or worse change nothing for the others
    changed = targets + np.array([0.0] * 8 + [100.0])
    other = normalised_batch(x, u, q, changed, np.array([2]), 6.0)
    np.testing.assert_array_equal(one.z, other.z)
    np.testing.assert_array_equal(one.targets[:, :8], other.targets[:, :8])
    assert other.targets[0, 8] == 6.0


@pytest.fixture(scope="module")
def pool():
    rng = np.random.default_rng(0)
    tasks = []
    for k in range(3):
        x = rng.random((60, 2))
        tasks.append(Task(str(k), x, -((x - 0.2 * k) ** 2).sum(axis=1)))
    return PoolSource(Past(SQUARE, tuple(tasks)), np.random.default_rng(1))


@pytest.mark.parametrize("n", [0, 1, 3, 20, 50])
def test_a_batch_of_a_pool_has_candidates_beside_its_history(pool, n):
    batch = pool.batch(np.random.default_rng(n), 6, n, 15, 6.0)
    for part in batch:
        assert np.isfinite(part).all()
    if n <= 45:  # a table of 60 rows has 15 others
        for x, candidates in zip(batch.x, batch.candidates, strict=True):
            gaps = np.abs(x[:, None, :] - candidates[None]).sum(axis=2)
            assert not (gaps == 0).any()


def test_instances_of_a_pool_are_tables_or_mixtures_of_their_surrogates(pool):
    instances = pool.instances(np.random.default_rng(0), 8, 40)
    assert instances.points.shape == (8, 40, 2)
    assert np.isfinite(instances.utility).all()
    assert (instances.utility.std(axis=1) > 0).all()


def test_a_table_is_mostly_changed_and_one_of_the_validation_never(pool):
    rng = np.random.default_rng(0)
    known = {task.utility.tobytes() for task in pool.tasks}
    drawn = [pool._draw(rng, tables=1.0) for _ in range(300)]
    same = [u.tobytes() in known for _, u in drawn]
    assert 0.2 < np.mean(same) < 0.4
    assert all(np.isfinite(u).all() for _, u in drawn)
    validation = PoolSource(Past(SQUARE, pool.tasks), rng, tables=1.0)
    assert all(validation._draw(rng)[1].tobytes() in known for _ in range(30))


def test_a_projection_stays_in_the_cube_and_is_a_rotation_about_its_centre():
    points = 0.5 + 0.1 * (np.random.default_rng(0).random((50, 3)) - 0.5)
    turned = projected(points, np.random.default_rng(1))
    assert ((turned >= 0) & (turned <= 1)).all()
    np.testing.assert_allclose(
        ((turned - 0.5) ** 2).sum(axis=1), ((points - 0.5) ** 2).sum(axis=1), rtol=1e-9
    )

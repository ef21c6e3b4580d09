"""The training: the same twice, the same resumed, and what it leaves behind."""

from __future__ import annotations

import csv
from functools import partial

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bbopt.errors import UsageError  # noqa: E402
from bbopt.metabo.nap import train as training  # noqa: E402
from bbopt.metabo.nap.architecture import Architecture  # noqa: E402
from bbopt.metabo.nap.forward import Network  # noqa: E402
from bbopt.metabo.nap.tasks import Past, Task  # noqa: E402
from bbopt.metabo.nap.train import Plan, lesson_of, train  # noqa: E402
from bbopt.metabo.nap.weights import load  # noqa: E402
from bbopt.space import Float, Space  # noqa: E402

SMALL = {
    "bbopt.metabo.nap.train.Architecture": partial(
        Architecture, width=8, layers=1, heads=2, hidden=8, buckets=20
    ),
    "bbopt.metabo.nap.train.RECORDS": {1: 2, 2: 1, 3: 1},
    "bbopt.metabo.nap.train.PROBLEMS": 2,
    "bbopt.metabo.nap.train.POOL": 30,
    "bbopt.metabo.nap.pools.TREES": 3,
    "bbopt.metabo.nap.supervised.BATCH": 4,
    "bbopt.metabo.nap.supervised.CANDIDATES": 8,
    "bbopt.metabo.nap.reinforce.PROBLEMS": 2,
    "bbopt.metabo.nap.reinforce.POOL": 16,
    "bbopt.metabo.nap.reinforce.HORIZONS": (6, 7),
}
"""A network and trainings that cost little."""


@pytest.fixture(scope="module", autouse=True)
def small():
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL.items():
            patch.setattr(name, value)
        yield


@pytest.fixture(scope="module")
def lesson(small):
    rng = np.random.default_rng(0)
    tasks = []
    for k in range(3):
        x = rng.random((60, 2))
        tasks.append(Task(f"task {k}", x, -((x - 0.3 * k) ** 2).sum(axis=1)))
    space = Space({"lr": Float(1e-3, 1.0, log=True), "dropout": Float(0.0, 0.5)})
    past = Past(space, tuple(tasks))
    return lesson_of(past.only([0, 1]), past.only([2]), seed=0)


@pytest.fixture(scope="module")
def whole(lesson, tmp_path_factory):
    """The file of a training in one go."""
    path = tmp_path_factory.mktemp("whole") / "mine.safetensors"
    train(lesson, PLAN, path, command="bbopt train nap")
    return path


@pytest.fixture
def no_picture(monkeypatch):
    """Drawing costs more than such a training."""
    monkeypatch.setattr(training._Log, "draw", lambda log, path: None)


PLAN = Plan((1, 2, 3), (5, 2, 1), seed=4)


def weights(path):
    return path.read_bytes()


@pytest.mark.usefixtures("no_picture")
def test_the_same_seed_gives_the_same_file_and_another_another(lesson, whole, tmp_path):
    again, another = tmp_path / "again.safetensors", tmp_path / "another.safetensors"
    train(lesson, PLAN, again, command="bbopt train nap")
    assert weights(again) == weights(whole)
    train(lesson, Plan((1,), (5,), seed=5), another)
    first, other = (Network.load(path)._tensors["density.weight"] for path in (again, another))
    assert not np.array_equal(first, other)


class Stop(Exception):
    """Stands for a kill."""


@pytest.mark.usefixtures("no_picture")
@pytest.mark.parametrize("kill", [(1, 3), (1, 5), (2, 2)])
def test_a_training_that_was_killed_goes_on_as_if_it_had_not(lesson, whole, tmp_path, kill):
    broken = tmp_path / "broken.safetensors"

    def watch(progress):
        if (progress.stage, progress.step) == kill:
            raise Stop

    with pytest.raises(Stop):
        train(lesson, PLAN, broken, watch=watch)
    train(lesson, PLAN, broken, resume=True, command="bbopt train nap")
    assert weights(broken) == weights(whole)
    assert (
        broken.with_suffix(".training.csv").read_text()
        == whole.with_suffix(".training.csv").read_text()
    )


@pytest.mark.usefixtures("no_picture")
def test_what_ran_out_of_time_is_usable_and_goes_on(lesson, whole, tmp_path):
    short = tmp_path / "short.safetensors"
    train(lesson, PLAN, short, minutes=1e-9)
    assert Network.load(short).metadata.validation.keys() == {"stage 1"}
    train(lesson, PLAN, short, resume=True)
    tensors = (Network.load(path)._tensors for path in (whole, short))
    for one, other in zip(*(t.values() for t in tensors), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_file_says_what_it_is_for_and_where_it_comes_from(whole):
    metadata = Network.load(whole).metadata
    assert [column.name for column in metadata.space] == ["lr", "dropout"]
    assert metadata.tasks == ("task 0", "task 1")
    assert (metadata.seed, metadata.command) == (4, "bbopt train nap")
    assert metadata.versions["torch"] == torch.__version__
    assert metadata.validation.keys() == {"stage 1", "stage 2", "stage 3"}
    assert 0.0 <= metadata.validation["stage 2"]["regret acquisition"] <= 1.0


def test_the_log_has_the_steps_and_the_picture_is_drawn(whole):
    with whole.with_suffix(".training.csv").open() as file:
        rows = list(csv.DictReader(file))
    steps = [(int(row["stage"]), int(row["step"])) for row in rows]
    assert steps == [(1, 2), (1, 4), (1, 5), (2, 1), (2, 2), (3, 1)]
    assert all(float(row["nll 25"]) < 10 for row in rows if row["stage"] != "2")
    assert "<svg" in whole.with_suffix(".training.svg").read_text()


@pytest.mark.usefixtures("no_picture")
def test_a_checkpoint_of_another_plan_is_refused(lesson, tmp_path):
    path = tmp_path / "mine.safetensors"
    with pytest.raises(UsageError, match="no checkpoint"):
        train(lesson, PLAN, path, resume=True)
    train(lesson, Plan((1,), (1,)), path)
    with pytest.raises(UsageError, match="another plan"):
        train(lesson, PLAN, path, resume=True)
    path.with_suffix(".checkpoint").write_bytes(b"damaged")
    with pytest.raises(UsageError, match="is no checkpoint"):
        train(lesson, PLAN, path, resume=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"stages": (2, 1), "steps": (1, 1)}, "stages must increase"),
        ({"stages": (4,), "steps": (1,)}, "stages must be one of 1, 2, 3, got 4"),
        ({"stages": (1, 2), "steps": (1,)}, "one number for each of 2 stages"),
        ({"stages": (1,), "steps": (0,)}, "steps must be an integer >= 1, got 0"),
        ({"seed": -1}, "seed must be an integer >= 0, got -1"),
    ],
)
def test_a_plan_that_is_none_is_refused(given, message):
    with pytest.raises(UsageError, match=message):
        Plan(**given)


@pytest.mark.usefixtures("no_picture")
def test_a_watcher_stops_the_training_where_it_can_be_resumed(lesson, whole, tmp_path):
    out = tmp_path / "broken.safetensors"
    train(lesson, PLAN, out, watch=lambda progress: progress.step == 2)
    assert load(out)[1].validation
    train(lesson, PLAN, out, resume=True)
    for name, array in load(whole)[0].items():
        np.testing.assert_array_equal(array, load(out)[0][name])


@pytest.mark.parametrize("name", ["weights", "weights.csv", "folder.safetensors"])
def test_what_is_no_name_for_weights_is_refused_before_anything_is_written(lesson, tmp_path, name):
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(UsageError, match=r"out must be a file named \.\.\.\.safetensors"):
        train(lesson, PLAN, tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.safetensors"]

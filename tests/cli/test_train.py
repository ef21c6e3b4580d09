"""``bbopt train nap``, from tables to a file that an optimizer takes."""

from __future__ import annotations

import signal
from functools import partial

import numpy as np
import pytest

from bbopt import Float, optimizer

pytest.importorskip("torch")

from bbopt.cli.train import _Line
from bbopt.metabo.nap import train as training
from bbopt.metabo.nap.architecture import Architecture
from bbopt.metabo.nap.forward import Network


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """A folder of three tables, and a network that costs little."""
    tiny = partial(Architecture, width=8, layers=1, heads=2, hidden=8, buckets=20)
    monkeypatch.setattr(training, "Architecture", tiny)
    monkeypatch.setattr("bbopt.metabo.nap.pools.TREES", 3)
    monkeypatch.setattr("bbopt.metabo.nap.supervised.BATCH", 4)
    for name, value in (("PROBLEMS", 2), ("POOL", 30)):
        monkeypatch.setattr(training, name, value)
    folder = tmp_path / "tables"
    folder.mkdir()
    for k in range(3):
        x = np.random.default_rng(k).random((60, 2))
        np.savez(
            folder / f"task_{k}.npz", X=x, y=((x - 0.3) ** 2).sum(axis=1), minimise=np.array(True),
            names=np.array(["a", "b"]), low=np.zeros(2), high=np.ones(2), log=np.zeros(2, bool),
        )  # fmt: skip
    return folder


def test_a_network_is_trained_from_tables_and_optimises(bbopt, tables, tmp_path):
    out = tmp_path / "mine.safetensors"
    line = ["train", "nap", "--data", str(tables), "--out", str(out), "--stages", "1"]
    result = bbopt(*line, "--steps", "3")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[-1] == str(out)
    assert "stage 1: loss" in result.stdout
    metadata = Network.load(out).metadata
    assert metadata.tasks == ("task_0", "task_1")  # the last fifth is held out
    space = {"a": Float(0, 1), "b": Float(0, 1)}
    (trial,) = optimizer("nap", space, weights=str(out)).ask(1)
    assert trial.params.keys() == {"a", "b"}


def test_training_goes_on(bbopt, tables, tmp_path):
    out = str(tmp_path / "mine.safetensors")
    line = ["train", "nap", "--data", str(tables), "--out", out, "--stages", "1", "--steps", "3"]
    assert bbopt(*line, "--minutes", "1e-9").exit_code == 0
    assert "step 1/3" in bbopt(*line, "--minutes", "1e-9").stderr
    resumed = bbopt(*line, "--resume")
    assert resumed.exit_code == 0
    assert "step 3/3" in resumed.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--stages", "one"], "--stages must be numbers separated by commas, got 'one'"),
        (["--stages", "1", "--steps", "1,2"], "steps must give one number for each of 1 stages"),
        (["--minutes", "0"], "--minutes must be positive"),
        (["--tasks", "0,3"], "--tasks must be numbers as in 0-19, got '0,3'"),
        (["--validation", "2-3"], "tasks must be in 0-2, got 3"),
        (["--tasks", "0-2"], "--tasks must leave out those of --validation, got 2 in both"),
        (["--validation", "0-2"], "--validation must leave tasks to learn from"),
        (["--validation", "last"], "--validation must be numbers as in 0-19, got 'last'"),
    ],
)
def test_wrong_usage_is_one_line(bbopt, tables, tmp_path, line, message) -> None:
    out = str(tmp_path / "mine.safetensors")
    result = bbopt("train", "nap", "--data", str(tables), "--out", out, *line)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


def test_tasks_without_data_and_a_missing_folder_are_refused(bbopt, tmp_path):
    out = str(tmp_path / "mine.safetensors")
    assert "need --data" in bbopt("train", "nap", "--out", out, "--tasks", "0-1").stderr
    nowhere = str(tmp_path / "absent" / "mine.safetensors")
    assert "no such folder" in bbopt("train", "nap", "--out", nowhere).stderr


def test_weights_do_not_lie_where_the_data_are(bbopt, tables, tmp_path):
    for out in (tables / "mine.safetensors", tables):
        result = bbopt("train", "nap", "--data", str(tables), "--out", str(out))
        assert result.exit_code == 2
        assert "--out must not lie where the data are" in result.stderr


def test_an_interrupt_ends_the_training_after_the_step_and_a_second_one_at_once(capsys):
    progress = training.Progress(1, 5, 9, {"loss": 1.0})
    with _Line(is_quiet=True) as line:
        assert line.show(progress) is False
        signal.raise_signal(signal.SIGINT)
        assert line.show(progress) is True
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert "--resume goes on" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

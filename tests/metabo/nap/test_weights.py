"""Weight files: what is saved is loaded, and what is no such file is refused in one line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from bbopt.errors import UsageError
from bbopt.metabo.nap.architecture import Architecture
from bbopt.metabo.nap.forward import Network
from bbopt.metabo.nap.weights import FORMAT, Metadata, Parameter, load, save

ARCHITECTURE = Architecture(2, width=8, layers=1, heads=2, hidden=8, buckets=10)
METADATA = Metadata(
    ARCHITECTURE,
    (Parameter("lr", 1e-5, 1.0, True), Parameter("momentum", 0.0, 1.0, False)),
    tasks=("a", "b"),
    seed=3,
    command="bbopt train nap",
    versions={"torch": "2.13"},
    validation={"stage 1": {"nll 25": 0.5}},
)


def arrays():
    rng = np.random.default_rng(0)
    shapes = ARCHITECTURE.shapes().items()
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.safetensors"
    save(path, arrays(), METADATA)
    return path


def refused(path):
    """The message with which a file is refused: one line that names it."""
    with pytest.raises(UsageError) as raised:
        Network.load(path)
    message = str(raised.value)
    assert "\n" not in message
    assert str(path) in message
    return message


GOOD = {"version": 1, **METADATA.to_json()}


def with_text(path, text):
    save_file(arrays(), path, metadata={FORMAT: text})


def test_what_is_saved_is_loaded(file):
    tensors, metadata = load(file)
    assert metadata == METADATA
    for name, array in arrays().items():
        np.testing.assert_array_equal(tensors[name], array)


def test_a_loaded_network_scores_as_the_one_saved(file):
    x, candidates = np.random.default_rng(1).random((2, 5, 2))
    utility = np.arange(5.0)
    scores = [
        network.score(network.read(x, utility), candidates, 3).acquisition
        for network in (Network(arrays(), METADATA), Network.load(file))
    ]
    np.testing.assert_array_equal(*scores)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert "no such file" in refused(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("length", [0, 4, 100, 2000])
def test_a_file_cut_short_is_refused(file, length):
    file.write_bytes(file.read_bytes()[:length])
    assert "no safetensors file" in refused(file)


def test_a_pickle_is_refused_and_not_run(file, tmp_path):
    mark = tmp_path / "was-run"
    file.write_bytes(f"cpathlib\nPath\n(S'{mark}'\ntRctouch\n(tR.".encode())
    assert "no safetensors file" in refused(file)
    assert not mark.exists()


def test_other_tensors_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": np.zeros(3, np.float32)}, path)
    assert "holds no weights of NAP" in refused(path)


def test_a_file_of_a_later_version_is_refused(file):
    with_text(file, json.dumps(GOOD | {"version": 2}))
    assert "version 2" in refused(file)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ("{", "no JSON"),
        ("[]", "version None"),
        (json.dumps({**GOOD, "space": [{"name": "lr"}]}), "incomplete"),
        (json.dumps({**GOOD, "space": METADATA.to_json()["space"][:1]}), "2 columns"),
        (json.dumps({**GOOD, "architecture": {"columns": 2}}), "architecture"),
        (json.dumps({k: v for k, v in GOOD.items() if k != "seed"}), "seed"),
    ],
)
def test_metadata_that_do_not_fit_are_refused(file, metadata, message):
    with_text(file, metadata)
    assert message in refused(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"candidate": np.zeros(9, np.float32)}, "'candidate' must be finite numbers"),
        ({"candidate": np.full(8, np.nan, np.float32)}, "'candidate' must be finite numbers"),
        ({"extra": np.zeros(1, np.float32)}, "'extra' is unknown"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(file, change, message):
    save_file(arrays() | change, file, metadata={FORMAT: json.dumps(GOOD)})
    assert message in refused(file)


def test_a_tensor_that_is_missing_is_refused_when_saving(tmp_path):
    tensors = arrays()
    del tensors["candidate"]
    with pytest.raises(UsageError, match="'candidate' is missing"):
        save(tmp_path / "mine.safetensors", tensors, METADATA)


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(UsageError, match="width must be a multiple of heads=3"):
        Architecture(2, width=8, heads=3)

"""Snapshots: whole or not there; only ever a shorter way to the same state."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from doubles_of_runs import Chained, CompactChained, Noisy, trace
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import bbopt
from bbopt.running.snapshot import SHARE, Snapshots

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text()
    | arrays.arrays(
        st.sampled_from([np.float64, np.int64, np.bool_, np.uint8, np.dtype("U5")]),
        arrays.array_shapes(min_side=0, max_dims=3),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        equal = np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        return a.dtype == b.dtype and a.shape == b.shape and equal
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and a == b


@settings(max_examples=60)
@given(state=st.dictionaries(st.text().filter(lambda s: s != "__array__"), JSON, max_size=4))
def test_json_values_and_arrays_come_back_as_they_were(
    state: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    snapshots = Snapshots(tmp_path_factory.getbasetemp() / "round", "s", 0)
    snapshots.write(state)
    assert same(snapshots.read(), state)


def test_nan_and_infinity_come_back(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path, "s", 0)
    snapshots.write({"a": [math.nan, math.inf], "b": np.array([math.nan, -math.inf])})
    state = snapshots.read()
    assert state is not None
    assert str(state["a"]) == "[nan, inf]"
    assert str(state["b"]) == "[ nan -inf]"


def test_no_snapshot_is_none_and_names_do_not_meet(tmp_path: Path) -> None:
    for study in ("a", "b/../c", "ü"):
        for worker in (0, 1):
            assert Snapshots(tmp_path / "x", study, worker).read() is None
            Snapshots(tmp_path / "x", study, worker).write({"is": f"{study}{worker}"})
    for study in ("a", "b/../c", "ü"):
        for worker in (0, 1):
            assert Snapshots(tmp_path / "x", study, worker).read() == {"is": f"{study}{worker}"}
    assert len(list((tmp_path / "x").iterdir())) == 6


@settings(max_examples=60)
@given(data=st.data())
def test_a_damaged_snapshot_is_named_and_not_used(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    snapshots = Snapshots(tmp_path_factory.getbasetemp() / "damaged", "s", 0)
    snapshots.write({"x": np.arange(5), "y": "text"})
    whole = snapshots.path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        damaged = whole[:at]
    else:
        damaged = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    snapshots.path.write_bytes(damaged)
    assert snapshots.read() is None


def test_a_kill_while_writing_leaves_the_old_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots = Snapshots(tmp_path, "s", 0)
    snapshots.write({"n": 1})
    for name in ("os.fsync", "pathlib.Path.replace"):
        with monkeypatch.context() as patched:
            patched.setattr(name, _interrupt)
            with pytest.raises(KeyboardInterrupt):
                snapshots.write({"n": 2})
        assert snapshots.read() == {"n": 1}
    snapshots.write({"n": 3})
    assert snapshots.read() == {"n": 3}


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def test_snapshots_take_at_most_their_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("bbopt.running.snapshot.time.monotonic", lambda: now[0])

    def slow_disk(handle: int) -> None:
        now[0] += 0.5

    monkeypatch.setattr("os.fsync", slow_disk)
    snapshots = Snapshots(tmp_path, "s", 0)
    spent = 0.0
    while now[0] < 400:
        if snapshots.is_due:
            snapshots.write({})
            spent += 0.5
        now[0] += 0.3
        assert spent <= SHARE * now[0] + 0.5
    assert spent >= SHARE * now[0] - 0.5


# --- in a run -------------------------------------------------------------------------


@pytest.fixture
def at_every_tell(monkeypatch: pytest.MonkeyPatch, fast_disk: None) -> None:
    monkeypatch.setattr(Snapshots, "is_due", property(lambda self: True))


def run(storage: Path, budget: int, cls: type[Chained] = CompactChained, **options: Any) -> Any:
    problem = Noisy()
    optimizer = cls(problem.spec, seed=options.pop("seed", 3))
    return bbopt.run(problem, optimizer, budget, storage=storage, in_flight=2, **options)


@pytest.mark.usefixtures("at_every_tell")
def test_a_snapshot_shortens_the_replay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = tmp_path / "x.journal"
    whole = trace(run(tmp_path / "whole.journal", 12), tmp_path)
    run(storage, 8)
    asked = []
    original = CompactChained._propose

    def count(self: Any, left: Any) -> Any:
        asked.append(left)
        return original(self, left)

    monkeypatch.setattr(CompactChained, "_propose", count)
    resumed = run(storage, 12, resume=True)
    assert len(asked) == 4
    assert len(whole.splitlines()) == len(trace(resumed, tmp_path).splitlines())


SPOILERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "damaged": (lambda p: p.write_bytes(p.read_bytes()[:-3]), "is damaged"),
    "empty": (lambda p: p.write_bytes(b""), "is damaged"),
    "of another seed": (lambda p: _replace_by(p, seed=4), "is not of this log"),
    "of a longer run": (lambda p: _replace_by(p, budget=30), "is not of this log"),
    "of another problem": (lambda p: _replace_by(p, shift=0.5), "is not of this log"),
}


def _replace_by(path: Path, seed: int = 3, budget: int = 8, shift: float = 0.0) -> None:
    """Put another run's snapshot in its place."""
    problem = Noisy()
    if shift:
        problem.evaluate = lambda trial, rng: shift  # type: ignore[method-assign]
    storage = path.parent.parent / "other.journal"
    optimizer = CompactChained(problem.spec, seed=seed)
    bbopt.run(problem, optimizer, budget, storage=storage, in_flight=2)
    (other,) = (path.parent.parent / "other.journal.bbopt").glob("*.snapshot")
    path.write_bytes(other.read_bytes())


@pytest.mark.parametrize("how", SPOILERS)
@pytest.mark.usefixtures("at_every_tell")
def test_a_snapshot_that_is_not_this_logs_is_named_and_the_log_replayed(
    how: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    spoil, message = SPOILERS[how]
    for name in ("kept", "spoiled"):
        (tmp_path / name).mkdir()
        run(tmp_path / name / "x.journal", 8)
    kept = run(tmp_path / "kept" / "x.journal", 12, resume=True)
    (path,) = (tmp_path / "spoiled" / "x.journal.bbopt").glob("*.snapshot")
    spoil(path)
    assert not caplog.records
    spoiled = run(tmp_path / "spoiled" / "x.journal", 12, resume=True)
    (record,) = caplog.records
    assert str(path) in record.getMessage()
    assert message in record.getMessage()
    assert trace(spoiled, tmp_path) == trace(kept, tmp_path)
    assert spoiled.best == kept.best


@pytest.mark.usefixtures("at_every_tell")
def test_a_snapshot_of_another_format_is_named_and_the_log_replayed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = tmp_path / "x.journal"
    run(storage, 8)
    snapshots = Snapshots(Path(f"{storage}.bbopt"), "noisy", 0)
    state = snapshots.read()
    assert state is not None
    state["optimizer"]["format"] = 0
    snapshots.write(state)
    assert run(storage, 9, resume=True).spent.evaluations == 9
    (record,) = caplog.records
    assert "format must be 1, got 0: replaying" in record.getMessage()


@pytest.mark.usefixtures("at_every_tell")
def test_the_snapshot_of_a_deleted_study_is_not_taken_for_the_new_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = tmp_path / "x.journal"
    run(storage, 8)
    storage.unlink()
    first = run(storage, 8)
    assert first.spent.evaluations == 8
    assert not caplog.records


@pytest.mark.usefixtures("at_every_tell")
def test_where_snapshots_are_kept(tmp_path: Path) -> None:
    run(tmp_path / "plain.journal", 4, cls=Chained)  # its state is its log
    assert not list(tmp_path.rglob("*.snapshot"))
    run(tmp_path / "x.journal", 4)
    assert len(list((tmp_path / "x.journal.bbopt").glob("*.snapshot"))) == 1
    run(tmp_path / "y.journal", 4, snapshots=tmp_path / "elsewhere")
    assert len(list((tmp_path / "elsewhere").glob("*.snapshot"))) == 1
    assert not list(tmp_path.rglob("*.draft"))

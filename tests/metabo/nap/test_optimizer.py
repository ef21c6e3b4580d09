from __future__ import annotations

import logging
import math
import subprocess
import sys
from operator import attrgetter

import numpy as np
import pytest

import bbopt
from bbopt import Budget, Categorical, Float, Int, Outcome, Space, Spec, Trial
from bbopt.errors import UnsupportedSpec, UsageError
from bbopt.metabo.nap.architecture import Architecture
from bbopt.metabo.nap.choice import SHIPPED
from bbopt.metabo.nap.forward import Network
from bbopt.metabo.nap.weights import Metadata, Parameter, save

XGB = {
    "colsample_bylevel": Float(0.05, 1.0),
    "colsample_bytree": Float(0.05, 1.0),
    "eta": Float(1e-5, 1.0, log=True),
    "min_child_weight": Float(0.05, 10.0, log=True),
    "reg_alpha": Float(1e-5, 2.0, log=True),
    "reg_lambda": Float(1e-5, 2.0, log=True),
}
BOX = {"x": Float(-5.0, 10.0), "y": Float(0.0, 15.0)}


def table_spec(space=XGB, n=60, **fields):
    space = Space(space)
    rows = space.sample(np.random.default_rng(0), n)
    return Spec(space=space, candidates=rows, **{"deterministic": True, **fields})


def values_of(spec, seed=1):
    return np.random.default_rng(seed).standard_normal(len(spec.candidates)).round(3)


def nap(spec, **settings):
    return bbopt.optimizer("nap", spec, **settings)


def tell_rows(optimizer, rows, values):
    for row in rows:
        params = optimizer.spec.candidates[row]
        optimizer.tell(Trial(None, params), float(values[row]))


def row_of(optimizer, trial):
    return list(optimizer.spec.candidates).index(trial.params)


# --- what is asked -------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize(
    ("acquisition", "field"), [("nap", "acquisition"), ("ei", "log_ei"), ("mean", "utility.mean")]
)
def test_it_asks_for_the_unseen_row_that_the_network_scores_highest(direction, acquisition, field):
    spec = table_spec(direction=direction)
    values, told = values_of(spec), [3, 17, 40, 5]
    optimizer = nap(spec, acquisition=acquisition)
    tell_rows(optimizer, told, values)
    (trial,) = optimizer.ask(left=Budget(evaluations=9))

    network = Network.load(SHIPPED / "nap_xgb6.safetensors")
    utility = values[told] * (1 if direction == "maximize" else -1)
    history = network.read(spec.candidates.x[told], utility)
    scores = attrgetter(field)(network.score(history, spec.candidates.x, left=9))
    scores[told] = -np.inf
    assert row_of(optimizer, trial) == np.argmax(scores)


def test_what_pends_counts_as_its_prediction():
    spec = table_spec()
    values, told, waiting = values_of(spec), [3, 17, 40, 5], [8, 30]
    optimizer = nap(spec)
    tell_rows(optimizer, told, values)
    optimizer._pending = {i: Trial(i, spec.candidates[row]) for i, row in enumerate(waiting)}
    optimizer.next_number = 2
    (trial,) = optimizer.ask(left=Budget(evaluations=9))

    network = Network.load(SHIPPED / "nap_xgb6.safetensors")
    history = network.read(spec.candidates.x[told], -values[told])
    z = network.score(history, spec.candidates.x[waiting], 9).z
    history = network.extend(history, spec.candidates.x[waiting], z)
    scores = network.score(history, spec.candidates.x, 9).acquisition
    scores[told + waiting] = -np.inf
    assert row_of(optimizer, trial) == np.argmax(scores)


def test_a_batch_is_of_different_rows():
    optimizer = nap(table_spec(n=30))
    rows = [row_of(optimizer, trial) for trial in (*optimizer.ask(7), *optimizer.ask(8))]
    assert len(set(rows)) == 15


def test_the_order_of_results_does_not_matter():
    spec = table_spec()
    values, told = values_of(spec), [3, 17, 40, 5, 22]
    asked = []
    for order in (told, told[::-1]):
        optimizer = nap(spec)
        tell_rows(optimizer, order, values)
        asked.append(optimizer.ask(3))
    assert asked[0] == asked[1]


@pytest.mark.parametrize(("factor", "offset"), [(1000.0, 0.0), (0.125, 5.0), (3.0, -1e4)])
def test_the_unit_and_the_zero_of_the_values_do_not_matter(factor, offset):
    spec = table_spec()
    values = values_of(spec)
    asked = []
    for told in (values, factor * values + offset):
        optimizer = nap(spec)
        tell_rows(optimizer, range(12), told)
        asked.append(optimizer.ask(2))
    assert asked[0] == asked[1]


def test_a_table_of_ten_rows_is_exhausted_in_ten_evaluations():
    spec = table_spec(n=10)
    values = values_of(spec)

    class Table(bbopt.Problem):
        @property
        def spec(self):
            return spec

        def evaluate(self, trial, rng):
            return float(values[list(spec.candidates).index(trial.params)])

    result = bbopt.run(Table(), "nap", 20)
    assert result.stop_reason == "exhausted"
    assert result.spent.evaluations == 10
    assert {tuple(e.trial.params.values()) for e in result.trials} == {
        tuple(row.values()) for row in spec.candidates
    }
    assert result.best.value == values.min()


@pytest.mark.parametrize("deterministic", [None, False])
def test_where_values_may_be_noisy_a_table_is_never_exhausted(deterministic):
    optimizer = nap(table_spec(n=4, deterministic=deterministic))
    for i in range(10):
        (trial,) = optimizer.ask()
        optimizer.tell(trial, float(i % 3))


def test_a_noisy_row_may_be_evaluated_again_and_an_exact_one_not():
    # one row far better than all others, which are at the other end of the space
    space = Space({"x": Float(0.0, 1.0)})
    rows = [{"x": 0.0}, *({"x": x} for x in np.linspace(0.9, 1.0, 6).tolist())]
    for deterministic in (False, True):
        spec = Spec(space=space, candidates=rows, deterministic=deterministic)
        optimizer = nap(spec, acquisition="mean", n_startup_trials=0)
        for row in rows:
            optimizer.tell(Trial(None, row), 1.0 + row["x"])
        asked = optimizer.ask(1)
        assert bool(asked) is not deterministic


def test_temperature_draws_rows_with_the_odds_of_their_acquisition():
    spec = table_spec(n=4)
    network = Network.load(SHIPPED / "nap_xgb6.safetensors")
    history = network.read(spec.candidates.x[:0], np.array([]))
    odds = np.exp(network.score(history, spec.candidates.x, 25).acquisition / 2.0)
    expected = odds / odds.sum()
    n = 500
    counts = np.zeros(4)
    for seed in range(n):
        (trial,) = nap(spec, temperature=2.0, seed=seed).ask()
        counts[list(spec.candidates).index(trial.params)] += 1
    # five standard errors of each share
    assert np.all(np.abs(counts / n - expected) <= 5 * np.sqrt(expected * (1 - expected) / n))


def test_in_a_box_points_are_new_and_in_the_space():
    optimizer = nap(Spec(space=Space(BOX), deterministic=True), n_candidates=32)
    asked = []
    for _ in range(12):
        for trial in optimizer.ask(2):
            asked.append(tuple(trial.params.values()))
            optimizer.tell(trial, (trial.params["x"] - 3) ** 2 + (trial.params["y"] - 2) ** 2)
    assert len(set(asked)) == len(asked)


def test_the_first_points_in_a_new_space_fill_it_and_count_what_was_told():
    optimizer = nap(Space(BOX), n_startup_trials=4, n_candidates=16)
    starts = [optimizer._encoding.encode(t.params)[0] for t in optimizer.ask(4)]
    # scrambled Sobol' points: one in each quarter of each axis
    assert all(sorted(np.floor(4 * x).astype(int)) == [0, 1, 2, 3] for x in np.array(starts).T)
    informed = nap(Space(BOX), n_startup_trials=4, n_candidates=16)
    for i in range(4):
        informed.tell(Trial(None, {"x": float(i), "y": 1.0}), float(i))
    asked = informed._encoding.encode(informed.ask()[0].params)[0]
    assert not any(np.allclose(asked, start) for start in starts)


# --- what it is told -----------------------------------------------------------------------


def test_a_failure_is_read_as_one_or_left_out():
    spec = table_spec()
    values = values_of(spec)
    read = []
    for outcome in (Outcome.failure("it broke"), Outcome(0.0, constraints=(1.0,))):
        for failures in ("worst", "skip"):
            optimizer = nap(spec, failures=failures)
            tell_rows(optimizer, [1, 2, 3], values)
            optimizer.tell(Trial(None, spec.candidates[7]), outcome)
            assert row_of(optimizer, optimizer.ask(1)[0]) != 7
            read.append(optimizer._read(np.empty((0, 6)), list(range(6)), 25).z)
    worst, skipped, *same = read
    assert len(worst) == 4
    assert worst[3] == pytest.approx(worst[:3].min() - 1.0)
    np.testing.assert_array_equal(skipped, worst[:3])
    np.testing.assert_array_equal(same[0], worst)
    np.testing.assert_array_equal(same[1], skipped)


def test_of_a_long_history_it_sees_the_better_half_and_the_latest_and_says_so_once(caplog):
    spec = table_spec(n=90)
    values = np.random.default_rng(2).permutation(90).astype(float)
    optimizer = nap(spec)
    tell_rows(optimizer, range(80), values)
    with caplog.at_level(logging.WARNING, "bbopt"):
        for trial in optimizer.ask(3):
            optimizer.tell(trial, 100.0)
        optimizer.ask()
    assert [r.message for r in caplog.records] == [
        "optimizer 'nap' sees 50 of 80 trials, the better half and the latest: no more were "
        "seen in training"
    ]
    fresh = nap(spec)
    tell_rows(fresh, range(80), values)
    shown = set(fresh._shown(50).tolist())
    best = set(np.argsort(values[:80])[:25].tolist())
    latest = [i for i in range(80) if i not in best][-25:]
    assert shown == best | set(latest)


def test_many_pending_trials_and_a_long_history_fit_together():
    spec = table_spec(n=200)
    optimizer = nap(spec)
    tell_rows(optimizer, range(60), values_of(spec))
    asked = optimizer.ask(60)
    assert len({row_of(optimizer, t) for t in asked} - set(range(60))) == 60
    history = optimizer._read(spec.candidates.x[100:160], list(range(6)), 9)
    assert len(history.z) == 50


def test_of_a_long_table_it_looks_at_rows_near_the_best_and_at_others():
    rng = np.random.default_rng(0)
    columns = {"x": rng.random(6000), "y": rng.random(6000)}
    space = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})
    optimizer = nap(Spec(space=space, candidates=columns, deterministic=True))
    assert len(optimizer._free_rows(set(), np.random.default_rng(0))) == 2048
    tell_rows(optimizer, range(5), np.arange(5.0))
    looked = optimizer._free_rows({optimizer._row_keys[0]}, np.random.default_rng(0))
    assert 0 not in looked
    near = np.argsort(np.square(optimizer._rows - optimizer._rows[0]).sum(axis=1))[1:200]
    assert set(near) <= set(looked.tolist())
    assert 2048 < len(looked) <= 4096
    assert len(optimizer.ask(2)) == 2


# --- which weights -------------------------------------------------------------------------


def with_dimension(name, dimension):
    return Space({k: dimension if k == name else v for k, v in XGB.items()})


def test_a_space_that_was_trained_on_gets_its_weights_and_any_other_the_generic_ones():
    single = {k: Float(float(np.float32(v.low)), v.high, log=v.log) for k, v in XGB.items()}
    shuffled = {k: XGB[k] for k in reversed(XGB)}
    for space in (XGB, single, shuffled):
        assert nap(Space(space))._network.metadata.space is not None
    for space in (BOX, with_dimension("eta", Float(1e-4, 1.0, log=True))):
        assert nap(Space(space))._network.metadata.space is None


def test_the_order_of_the_parameters_does_not_matter():
    spec = table_spec()
    shuffled = Spec(
        space=Space({k: XGB[k] for k in reversed(XGB)}),
        candidates=[{k: row[k] for k in reversed(XGB)} for row in spec.candidates],
        deterministic=True,
    )
    values, rows = values_of(spec), []
    for each in (spec, shuffled):
        optimizer = nap(each)
        tell_rows(optimizer, range(5), values)
        rows.append([row_of(optimizer, trial) for trial in optimizer.ask(3)])
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            with_dimension("eta", Float(1e-4, 1.0, log=True)),
            r"'eta' must be a number in \[1e-05, 1.0\] wi",
        ),
        (
            with_dimension("eta", Float(1e-5, 1.0)),
            r"'eta' must be .* with a log scale, got a number in \[1e-05, 1.0\]$",
        ),
        (with_dimension("eta", Categorical(["a"])), "'eta' must be a number .*, got one of 'a'"),
        (Space({k: v for k, v in XGB.items() if k != "eta"}), "need a parameter 'eta'"),
        (Space({**XGB, "depth": Int(1, 9)}), "know no parameter 'depth'"),
    ],
)
def test_named_weights_for_another_space_are_refused_with_the_parameter(space, message):
    with pytest.raises(UnsupportedSpec, match=f"weights 'nap_xgb6' do not fit: .*{message}"):
        nap(space, weights="nap_xgb6")


def test_choices_may_stand_in_another_order_and_must_all_be_there(tmp_path):
    architecture = Architecture(3, width=8, layers=1, heads=2, hidden=8, buckets=10)
    trained = (Parameter("how", choices=("a", "b")), Parameter("x"))
    path = tmp_path / "mine.safetensors"
    rng = np.random.default_rng(0)
    tensors = {name: rng.normal(size=shape) for name, shape in architecture.shapes().items()}
    save(path, tensors, Metadata(architecture, trained))
    asked = []
    for choices in (("a", "b"), ("b", "a")):
        space = Space({"x": Float(0, 1), "how": Categorical(choices)})
        rows = [{"x": x, "how": how} for x in (0.1, 0.5, 0.9) for how in ("a", "b")]
        spec = Spec(space=space, candidates=rows, deterministic=True)
        optimizer = nap(spec, weights=str(path))
        for row, value in ((0, 1.0), (3, 0.5)):
            optimizer.tell(Trial(None, rows[row]), value)
        asked.append([trial.params for trial in optimizer.ask(3)])
    assert asked[0] == asked[1]
    for choices in (("a",), ("a", "b", "c")):
        space = Space({"x": Float(0, 1), "how": Categorical(choices)})
        with pytest.raises(UnsupportedSpec, match="'how' must be one of 'a', 'b', got one of"):
            nap(space, weights=str(path))


def test_weights_that_cannot_be_read_are_refused_in_one_line(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        nap(Space(BOX), weights=str(tmp_path / "none.safetensors"))
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"\x00" * 100)
    with pytest.raises(UsageError, match=r"broken.safetensors: [^\n]*$"):
        nap(Space(BOX), weights=str(path))


def test_a_file_that_is_written_anew_is_read_anew(tmp_path):
    path = tmp_path / "mine.safetensors"
    found = []
    for name in ("nap_generic", "nap_xgb6"):
        path.write_bytes((SHIPPED / f"{name}.safetensors").read_bytes())
        found.append(nap(Space(XGB), weights=str(path))._network.metadata.space is None)
    assert found == [True, False]


# --- many columns --------------------------------------------------------------------------


def test_of_too_many_columns_it_varies_a_few_at_a_time_around_the_best_point(caplog):
    space = Space({f"x{i}": Float(0.0, 1.0) for i in range(40)})
    with caplog.at_level(logging.WARNING, "bbopt"):
        optimizer = nap(space, n_candidates=16)
    assert "looks at 16 of 40 columns at a time" in caplog.records[0].message
    known = [dict.fromkeys(space, value) for value in (0.1, 0.3, 0.5, 0.7, 0.9)]
    for params in known:
        optimizer.tell(Trial(None, params), abs(params["x0"] - 0.3))
    varied = []
    for trial in optimizer.ask(5):
        others = [p for p in known if sum(trial.params[k] == p[k] for k in space) >= 24]
        assert others
        varied.append(frozenset(k for k in space if trial.params[k] != others[0][k]))
    assert all(1 <= len(each) <= 16 for each in varied)
    assert len(set(varied)) > 1


def test_a_choice_with_more_options_than_columns_is_no_trouble():
    space = Space({"c": Categorical(list(range(30))), "x": Float(0.0, 1.0)})
    optimizer = nap(space, n_candidates=64)
    asked = []
    for _ in range(12):
        (trial,) = optimizer.ask()
        asked.append(trial.params["c"])
        optimizer.tell(trial, trial.params["c"] + trial.params["x"])
    assert len(set(asked)) > 3


# --- without torch -------------------------------------------------------------------------


def test_it_does_not_load_torch():
    code = (
        "import sys, bbopt\n"
        "f = lambda p: (p['x'] - 0.3) ** 2\n"
        "r = bbopt.minimize(f, {'x': bbopt.Float(0, 1)}, budget=8, optimizer='nap')\n"
        "print(r.spent.evaluations, 'torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "8 False\n"


def test_huge_values_do_not_hide_each_other():
    optimizer = nap(table_spec())
    tell_rows(optimizer, range(3), [1e308, -1e308, 0.0])
    history = optimizer._read(np.empty((0, 6)), list(range(6)), 25)
    assert np.isfinite(history.z).all()
    assert history.z.argmax() == 1
    assert math.isfinite(optimizer.best.value)

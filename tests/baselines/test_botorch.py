"""The BoTorch baselines: what they learn, what they leave alone, and what they survive."""

import json
import subprocess
import sys

import numpy as np
import pytest

import bbopt
from bbopt.baselines.quiet import quiet
from bbopt.testing import SPACES
from bbopt.testing.driving import bowl, play, play_late, through_files
from bbopt.testing.telling import HARD

torch = pytest.importorskip("torch", reason="the extra 'metabo' is not installed")
pytest.importorskip("botorch", reason="the extra 'metabo' is not installed")

NAMES = ("botorch:logei", "botorch:qlognei")
QUICK = {"num_restarts": 2, "raw_samples": 16, "mc_samples": 16}
EARLY = {"n_startup_trials": 3, **QUICK}
SQUARE = {"x": bbopt.Float(0, 1), "y": bbopt.Float(0, 1)}


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


def spec_of(space, **fields):
    return bbopt.Spec(space=bbopt.Space(space), **fields)


def tell_foreign(optimizer, n, value, seed=0):
    """Tell ``n`` random params that nobody asked for; their values."""
    rows = optimizer.space.sample(np.random.default_rng(seed), n)
    values = [float(value(params)) for params in rows]
    for params, v in zip(rows, values, strict=True):
        optimizer.tell(bbopt.Trial(None, params), v)
    return values


def saddle(params):
    return (params["x"] - 0.3) ** 2 - 0.5 * (params["y"] - 0.6) ** 3


# --- what they learn ------------------------------------------------------------------


@pytest.mark.slow
def test_thirty_evaluations_come_near_to_the_minimum_of_branin(name):
    # 30 points of a Sobol' sequence are 0.86 above it in the median
    result = bbopt.run("synthetic/branin", name, 30, seed=0)
    assert result.true_value - 10 / (8 * np.pi) < 0.05


@pytest.mark.slow
def test_noise_is_averaged_out_by_qlognei():
    problem = bbopt.problem("synthetic/branin", noise=10.0)

    def mean_regret(name):
        runs = [bbopt.run(problem, name, 30, seed=seed) for seed in range(2)]
        return np.mean([run.true_value for run in runs]) - problem.optimum

    assert mean_regret("botorch:qlognei") < 0.5 * mean_regret("sobol")


def test_the_start_is_a_scrambled_sobol_sequence(name):
    optimizer = bbopt.optimizer(name, SQUARE, n_startup_trials=64)
    points = np.array([list(trial.params.values()) for trial in optimizer.ask(64)])
    for column in points.T:
        counts, _ = np.histogram(column, bins=64, range=(0, 1))
        assert (counts == 1).all()


def test_the_start_is_two_for_each_free_parameter_and_two_more_by_default(name):
    optimizer = bbopt.optimizer(name, SPACES["one free"], **QUICK)
    asked = []
    for _ in range(5):
        (trial,) = optimizer.ask()
        optimizer.tell(trial, trial.params["x"])
        asked.append(optimizer.state_dict()["method"]["fit"])
    assert [fit is None for fit in asked] == [True, True, True, True, False]


def test_params_with_nothing_to_choose_are_no_columns_of_the_model(name):
    optimizer = bbopt.optimizer(name, SPACES["one free"], **EARLY)
    play(optimizer, 5)
    assert optimizer.state_dict()["method"]["x"].shape == (5, 1)


@pytest.mark.parametrize("scale", [2.0**-60, 2.0**40])
def test_the_scale_of_the_values_does_not_matter(name, scale):
    asked = []
    for factor in (1.0, scale):  # a power of two, so that rounding is the same
        optimizer = bbopt.optimizer(name, SQUARE, **EARLY)
        asked.append(play(optimizer, 6, lambda t, f=factor: f * saddle(t.params)))
    assert asked[0] == asked[1]


def test_pending_trials_are_avoided(name):
    optimizer = bbopt.optimizer(name, SQUARE, **QUICK)
    tell_foreign(optimizer, 12, saddle)
    points = np.array([list(trial.params.values()) for trial in optimizer.ask(4)])
    gaps = np.linalg.norm(points[:, None] - points, axis=2)[np.triu_indices(4, 1)]
    assert gaps.min() > 0.01


def test_log_ei_with_pending_trials_is_the_one_of_monte_carlo(name, monkeypatch):
    optimizer = bbopt.optimizer(name, SQUARE, **QUICK)
    tell_foreign(optimizer, 12, saddle)
    built = []
    acquisition = optimizer._acquisition
    monkeypatch.setattr(
        optimizer, "_acquisition", lambda *args: built.append(acquisition(*args)) or built[-1]
    )
    optimizer.ask(2)
    alone, beside = (type(one).__name__ for one in built)
    if name == "botorch:logei":
        assert (alone, beside) == ("LogExpectedImprovement", "qLogExpectedImprovement")
        assert built[1].X_pending.shape == (1, 2)
    else:
        assert alone == beside == "qLogNoisyExpectedImprovement"


def test_failed_and_infeasible_trials_are_not_in_the_model(name):
    optimizer = bbopt.optimizer(name, SQUARE, n_startup_trials=50)
    a, b, c, d = optimizer.ask(4)
    optimizer.tell(a, bbopt.Outcome(1.0, constraints=(-1.0,)))
    optimizer.tell(b, bbopt.Outcome(1.0, constraints=(0.5,)))
    optimizer.tell(c, bbopt.Outcome.failure("it broke"))
    optimizer.tell(d, bbopt.Outcome([1.0, np.nan, 3.0]))
    assert optimizer.state_dict()["method"]["losses"].tolist() == [1.0, 2.0]


# --- hyper-parameters and the best ----------------------------------------------------


def test_hyper_parameters_are_fitted_at_every_third_ask_and_the_data_always_new(name):
    optimizer = bbopt.optimizer(name, SQUARE, refit_every=3, **EARLY)
    tell_foreign(optimizer, 3, saddle)
    rows = []
    for _ in range(7):
        (trial,) = optimizer.ask()
        rows.append(optimizer.state_dict()["method"]["fit"]["rows"])
        optimizer.tell(trial, saddle(trial.params))
    assert rows == [3, 3, 3, 6, 6, 6, 9]
    with quiet():  # the scale of 9 rows does not standardise 10
        model = optimizer._model(optimizer.state_dict()["method"]["fit"])
    assert model.train_inputs[0].shape == (10, 2)


def test_no_fit_is_made_where_no_row_is_new(name, monkeypatch):
    optimizer = bbopt.optimizer(name, SQUARE, **EARLY)
    tell_foreign(optimizer, 5, saddle)
    optimizer.ask()
    monkeypatch.setattr(optimizer, "_fitted", lambda: pytest.fail("fitted again"))
    optimizer.ask()


def test_best_of_qlognei_is_the_least_posterior_mean_in_the_units_of_the_values():
    optimizer = bbopt.optimizer(
        "botorch:qlognei", spec_of(SQUARE, direction="maximize"), n_startup_trials=5, **QUICK
    )
    rng = np.random.default_rng(1)
    values = tell_foreign(optimizer, 40, lambda p: 1e4 - 50 * saddle(p) + rng.normal())
    assert optimizer.best.value == max(values)  # before the first fit it is the archive's
    (trial,) = optimizer.ask()
    best = optimizer.best
    fit = optimizer.state_dict()["method"]["fit"]
    x = torch.tensor(optimizer.space.to_unit(best.params))
    others = torch.tensor(np.array(optimizer._x))
    with torch.no_grad():
        at_best = optimizer._model(fit).posterior(x)
        everywhere = optimizer._model(fit).posterior(others).mean
    assert float(at_best.mean) == pytest.approx(float(everywhere.max()), abs=1e-9)
    assert best.value == pytest.approx(fit["mean"] + fit["scale"] * float(at_best.mean))
    assert best.stderr == pytest.approx(float(at_best.variance) ** 0.5 * fit["scale"])
    assert best.value != max(values)
    optimizer.tell(trial, 2e4)
    assert optimizer.best.params == trial.params


def test_best_of_a_deterministic_problem_is_what_was_observed(name):
    optimizer = bbopt.optimizer(name, spec_of(SQUARE, deterministic=True), **EARLY)
    values = tell_foreign(optimizer, 8, saddle)
    optimizer.ask()
    assert optimizer.best.value == min(values)


def test_params_that_were_infeasible_once_are_not_the_best():
    optimizer = bbopt.optimizer("botorch:qlognei", SQUARE, **EARLY)
    tell_foreign(optimizer, 8, saddle)
    optimizer.ask()
    first = optimizer.best
    optimizer.tell(bbopt.Trial(None, first.params), bbopt.Outcome(0.0, constraints=(1.0,)))
    assert optimizer.best.params != first.params


# --- repeatable -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("refit_every", [1, 3])
def test_a_state_with_a_fitted_model_continues_exactly(name, refit_every):
    optimizer, restored = (
        bbopt.optimizer(name, SPACES["mixed"], refit_every=refit_every, **EARLY) for _ in range(2)
    )
    play_late(optimizer, 8)
    restored.load_state_dict(through_files(optimizer.state_dict()))
    assert restored.best == optimizer.best
    assert play_late(restored, 6) == play_late(optimizer, 6)
    assert restored.best == optimizer.best


def test_restoring_does_not_fit_anything(name, monkeypatch):
    optimizer, restored = (bbopt.optimizer(name, SQUARE, **EARLY) for _ in range(2))
    play(optimizer, 6)
    monkeypatch.setattr(restored, "_fitted", lambda: pytest.fail("fitted again"))
    restored.load_state_dict(optimizer.state_dict())


def test_torch_s_global_generator_is_neither_read_nor_changed(name):
    asked = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        asked.append(play_late(bbopt.optimizer(name, SQUARE, **EARLY), 7))
        assert torch.equal(torch.get_rng_state(), before)
    assert asked[0] == asked[1]


@pytest.mark.slow
def test_another_process_proposes_the_same(name):
    code = (
        f"import json, bbopt; r = bbopt.run('synthetic/branin', {name!r}, 9, seed=9); "
        "print(json.dumps([e.trial.params for e in r.trials]))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = bbopt.run("synthetic/branin", name, 9, seed=9)
    assert json.loads(other.stdout) == [e.trial.params for e in here.trials]


# --- what they survive ----------------------------------------------------------------


@pytest.mark.parametrize("values", HARD.values(), ids=HARD)
def test_whatever_values_are_told_the_model_goes_on(name, values):
    space = SPACES["float"]
    optimizer = bbopt.optimizer(name, space, **{**EARLY, "n_startup_trials": 2})
    told = iter(values)
    tell_foreign(optimizer, len(values), lambda _: next(told))
    for trial in optimizer.ask(2):
        optimizer.tell(trial, values[0])
    assert optimizer.ask()[0].params.keys() == space.keys()
    finite = [value for value in values if np.isfinite(value)]
    if finite:
        assert min(finite) <= optimizer.best.value <= max(finite)


@pytest.mark.parametrize("space", ["int log", "categorical", "float step"])
def test_integers_choices_and_steps_are_rounded_to_what_exists(name, space):
    optimizer = bbopt.optimizer(name, SPACES[space], **EARLY)
    for params in play(optimizer, 6, bowl(SPACES[space])):
        assert SPACES[space].validate(params) == params


def test_where_fitting_fails_the_sobol_sequence_goes_on(name, monkeypatch):
    from botorch.exceptions.errors import ModelFittingError

    def fail(mll):
        raise ModelFittingError("all attempts failed")

    monkeypatch.setattr("botorch.fit.fit_gpytorch_mll", fail)
    learning = bbopt.optimizer(name, SQUARE, **EARLY)
    starting = bbopt.optimizer(name, SQUARE, n_startup_trials=99)
    assert play(learning, 6) == play(starting, 6)
    assert learning.best == starting.best


def test_where_a_later_fit_fails_the_earlier_one_stands(name, monkeypatch):
    from linear_operator.utils.errors import NotPSDError

    optimizer = bbopt.optimizer(name, SQUARE, **EARLY)
    play(optimizer, 5)
    fit = optimizer.state_dict()["method"]["fit"]

    def fail(mll):
        raise NotPSDError("not positive definite")

    monkeypatch.setattr("botorch.fit.fit_gpytorch_mll", fail)
    play(optimizer, 2)
    assert optimizer.state_dict()["method"]["fit"]["rows"] == fit["rows"] == 4


def test_where_maximising_fails_a_sobol_point_is_proposed(name, monkeypatch):
    from botorch.exceptions.errors import CandidateGenerationError

    def fail(*args, **kwargs):
        raise CandidateGenerationError("no candidate")

    monkeypatch.setattr("botorch.optim.optimize_acqf", fail)
    learning = bbopt.optimizer(name, SQUARE, **EARLY)
    starting = bbopt.optimizer(name, SQUARE, n_startup_trials=99)
    assert play(learning, 6) == play(starting, 6)

from __future__ import annotations

import subprocess
import sys
import warnings

import cloudpickle
import numpy as np
import pytest

import bbopt
from bbopt import registry, seeding
from bbopt.problems import hpo
from bbopt.testing import ProblemContract
from bbopt.trial import Best

NAMES = [
    name
    for name in registry.problem_names()
    if name.startswith("hpo/") and name != "hpo/table"  # which has a module of its own
]


@pytest.mark.parametrize("name", NAMES)
class TestTuning(ProblemContract):
    n_points = 2

    @pytest.fixture
    def problem(self, name):
        return bbopt.problem(name)


def evaluate(problem, params, number=0):
    rng = seeding.stream(0, "evaluate", number=number)
    return problem.evaluate(bbopt.Trial(number, params), rng)[0]


def test_the_family_is_complete():
    assert {"hpo/digits-svm", "hpo/cancer-boosting", "hpo/wine-mlp", "hpo/diabetes-ridge"} <= {
        *NAMES
    }


# --- against scikit-learn itself -----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "scoring", "value_of"),
    [
        ("digits-svm", "accuracy", lambda score: 1 - score),
        ("digits-forest", "accuracy", lambda score: score),
        ("wine-mlp", "neg_log_loss", lambda score: -score),
        ("cancer-boosting", "neg_log_loss", lambda score: -score),
        ("diabetes-ridge", "neg_root_mean_squared_error", lambda score: -score),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_an_evaluation_is_a_cross_validation_of_the_default_model(name, scoring, value_of):
    from sklearn.base import clone
    from sklearn.metrics import get_scorer
    from sklearn.model_selection import KFold, StratifiedKFold

    problem = bbopt.problem(f"hpo/{name}")
    x, y, *_ = hpo._load(problem.data, problem.is_classification)
    split_seed, *seeds = (
        seeding.stream(0, "evaluate").integers(2**32, size=1 + problem.folds).tolist()
    )
    splitter = KFold if name == "diabetes-ridge" else StratifiedKFold
    folds = splitter(problem.folds, shuffle=True, random_state=split_seed).split(x, y)
    scores = []
    for seed, (fit, rest) in zip(seeds, folds, strict=True):
        model = clone(problem.model(problem.spec.space.initial, seed)).fit(x[fit], y[fit])
        scores.append(value_of(get_scorer(scoring)(model, x[rest], y[rest])))
    value = evaluate(problem, problem.spec.space.initial)
    assert value == pytest.approx(np.mean(scores), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "step", "same"),
    [
        ("digits-svm", None, ("C", "kernel", "degree", "coef0", "shrinking", "class_weight")),
        ("digits-forest", None, ("criterion", "min_samples_leaf", "bootstrap", "max_samples")),
        (
            "cancer-boosting",
            None,
            ("learning_rate", "max_iter", "max_leaf_nodes", "min_samples_leaf", "max_features"),
        ),
        (
            "wine-mlp",
            "mlpclassifier",
            ("hidden_layer_sizes", "activation", "alpha", "learning_rate_init", "solver"),
        ),
        ("diabetes-ridge", "ridge", ("alpha", "fit_intercept", "solver")),
    ],
)
def test_initial_is_the_default_setting_of_scikit_learn(name, step, same):
    problem = bbopt.problem(f"hpo/{name}")
    model = problem.model(problem.spec.space.initial, 0)
    model = model.named_steps[step] if step else model
    ours, default = model.get_params(), type(model)().get_params()
    for parameter in same:
        given = ours[parameter]
        assert given == default[parameter] or list(given) == list(default[parameter])


def test_initial_gamma_and_max_features_are_what_the_defaults_come_to():
    x = hpo._load("digits", True).x
    svm, forest = bbopt.problem("hpo/digits-svm"), bbopt.problem("hpo/digits-forest")
    assert svm.space["gamma"].initial == pytest.approx(1 / (x.shape[1] * x.var()), rel=0.01)
    assert forest.space["max_features"].initial == int(np.sqrt(x.shape[1]))


def test_no_default_tree_grows_deeper_than_the_initial_depth():
    problem = bbopt.problem("hpo/digits-forest")
    parts = hpo._load("digits", True)
    free = problem.model({**problem.spec.space.initial, "max_depth": None}, 0)
    deepest = max(tree.get_depth() for tree in free.fit(parts.x, parts.y).estimators_)
    assert deepest <= problem.space["max_depth"].initial


def test_predictions_of_diabetes_are_clipped_to_the_range_of_the_score():
    class Far:
        def predict(self, x):
            return np.array([-1e9, 1e9])

    error = bbopt.problem("hpo/diabetes-ridge").score(Far(), None, np.array([25.0, 346.0]))
    assert error == 0.0


def test_a_probability_of_zero_costs_a_bounded_loss():
    class Sure:
        def predict_proba(self, x):
            return np.array([[1.0, 0.0], [1.0, 0.0]])

    problem = bbopt.problem("hpo/cancer-boosting")
    loss = problem.score(Sure(), None, np.array([0, 1]))
    assert loss == pytest.approx(0.5 * 6 * np.log(10))
    assert loss <= problem.spec.value_range[1]


# --- the test part -------------------------------------------------------------------------


def rows(x):
    return {row.tobytes() for row in np.ascontiguousarray(x)}


@pytest.mark.parametrize("name", ["hpo/cancer-boosting", "hpo/wine-mlp", "hpo/diabetes-ridge"])
def test_no_evaluation_sees_a_row_of_the_test_part(name, monkeypatch):
    problem, seen = bbopt.problem(name), []

    def spy(params, seed, x, y, x_new, y_new):
        seen.append((rows(x), rows(x_new)))
        return 0.0

    monkeypatch.setattr(problem, "_fit_and_score", spy)
    parts = hpo._load(problem.data, problem.is_classification)
    for number in range(3):
        evaluate(problem, problem.spec.space.initial, number)
    assert len(seen) == 3 * problem.folds
    for fit, rest in seen:
        assert not fit & rest
        assert fit | rest == rows(parts.x)
        assert not (fit | rest) & rows(parts.x_test)

    seen.clear()
    problem.test_value(Best(problem.spec.space.initial, 0.0, None, 1))
    assert seen == [(rows(parts.x), rows(parts.x_test))]


@pytest.mark.parametrize("name", NAMES)
def test_the_test_part_is_three_tenths_of_the_data(name):
    problem = bbopt.problem(name)
    parts = hpo._load(problem.data, problem.is_classification)
    n = len(parts.y) + len(parts.y_test)
    assert len(parts.y_test) == pytest.approx(0.3 * n, abs=1)
    assert hpo._load(problem.data, problem.is_classification) is parts


# --- evaluation ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_corners_of_the_space_give_a_value(name):
    problem = bbopt.problem(name)
    space, rng = problem.spec.space, np.random.default_rng(1)
    low, high = problem.spec.value_range
    for x in (np.zeros(space.width), np.ones(space.width), *rng.integers(0, 2, (2, space.width))):
        assert low <= evaluate(problem, space.from_unit(x.astype(float))[0]) <= high


def test_good_settings_are_better_than_bad_ones():
    problem = bbopt.problem("hpo/digits-svm")
    good = {"C": 10.0, "gamma": 1e-3, "kernel": "rbf", "degree": 3}
    assert evaluate(problem, good) < 0.03
    assert evaluate(problem, {**good, "gamma": 1.0}) > 0.5


def test_a_model_that_does_not_converge_warns_nobody_and_leaves_the_filters_alone():
    problem = bbopt.problem("hpo/wine-mlp")
    filters = list(warnings.filters)
    slow = {**problem.spec.space.initial, "learning_rate_init": 1e-5}
    assert evaluate(problem, slow) > 0.5  # warnings are errors here
    assert warnings.filters == filters


def test_models_are_fitted_on_one_thread_whatever_is_allowed_outside(monkeypatch):
    from threadpoolctl import threadpool_info, threadpool_limits

    def n_threads():
        return {pool["num_threads"] for pool in threadpool_info()}

    problem, inside = bbopt.problem("hpo/cancer-boosting"), []
    score = problem.score

    def spy(model, x, y):
        inside.append(n_threads())
        return score(model, x, y)

    monkeypatch.setattr(problem, "score", spy)
    problem.model(problem.spec.space.initial, 0)  # loads the libraries
    with threadpool_limits(2):
        assert 2 in n_threads()
        evaluate(problem, problem.spec.space.initial)
        assert 2 in n_threads()
    assert inside == [{1}] * problem.folds


def test_another_process_gives_the_same_value():
    script = (
        "import bbopt; from bbopt import seeding; p = bbopt.problem('hpo/cancer-boosting');"
        "print(repr(p.evaluate(bbopt.Trial(0, p.spec.space.initial), "
        "seeding.stream(0, 'evaluate'))[0]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    problem = bbopt.problem("hpo/cancer-boosting")
    assert float(done.stdout) == evaluate(problem, problem.spec.space.initial), done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_an_instance_carries_no_data_when_pickled(name):
    problem = bbopt.problem(name)
    hpo._load(problem.data, problem.is_classification)
    assert len(cloudpickle.dumps(problem)) < 1000

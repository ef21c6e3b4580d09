"""An Optuna study with bbopt's mini-GP-UCB as its sampler: one line changes.

    python examples/optuna_sampler.py

Each trial trains on a sample of its own, so values are noisy, and the luckiest trial promises too
much. This sampler evaluates few settings, each of them several times, and `best_mean` takes the
trials with equal parameters together. With a storage that they share, any number of processes
can work on one study.
"""

import numpy as np
import optuna
from sklearn.datasets import load_breast_cancer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from bbopt.integrations.optuna import BBOptSampler, best_mean

X, y = load_breast_cancer(return_X_y=True)


def accuracy(params: dict, seed: int) -> float:
    rows = np.random.default_rng(seed).permutation(len(X))
    train, test = rows[:60], rows[60:120]
    model = make_pipeline(StandardScaler(), SVC(**params))
    return float(model.fit(X[train], y[train]).score(X[test], y[test]))


def objective(trial: optuna.Trial) -> float:
    params = {
        "C": trial.suggest_float("C", 1e-2, 1e3, log=True),
        "gamma": trial.suggest_float("gamma", 1e-5, 1.0, log=True),
        "class_weight": trial.suggest_categorical("class_weight", ["balanced", None]),
    }
    return accuracy(params, seed=trial.number)


optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(direction="maximize", sampler=BBOptSampler("mini-gp-ucb", seed=1))
study.optimize(objective, n_trials=120)

lucky, best = study.best_trial, best_mean(study)
for name, params, value in [
    ("luckiest trial", lucky.params, lucky.value),
    ("best mean", best.params, best.value),
]:
    fresh = np.mean([accuracy(params, seed) for seed in range(1000, 1100)])
    print(f"{name:15} says {value:.3f}, on fresh data {fresh:.3f}: {params}")
print(f"{best.count} trials had the best parameters: +/- {best.stderr:.3f}")

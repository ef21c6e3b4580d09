"""Tune a real model on real data: a support vector machine on handwritten digits.

    python examples/hyperparameters.py

Every evaluation draws its own split, so values are noisy: a tenth of the budget is held back
to measure the winner honestly. Results are kept in a file as they come; run it again after a
Ctrl-C or a crash and it goes on where it stopped.
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import ShuffleSplit, cross_val_score
from sklearn.svm import SVC

import bbopt

X, y = load_digits(return_X_y=True)
X = X / 16.0

space = {
    "C": bbopt.Float(1e-2, 1e3, log=True, initial=1.0),
    "gamma": bbopt.Float(1e-5, 1e0, log=True, initial=0.1),
    "kernel": bbopt.Categorical(["rbf", "poly"], initial="rbf"),
}


def accuracy(params: dict, rng: np.random.Generator) -> float:
    split = ShuffleSplit(1, train_size=600, random_state=int(rng.integers(2**32)))
    return float(cross_val_score(SVC(**params), X, y, cv=split).mean())


result = bbopt.maximize(
    accuracy,
    space,
    budget=40,
    confirm=0.1,
    seed=0,
    storage="digits.journal",
    name="svm",
    resume=True,
)
print(f"default  {result.initial_value:.3f}")
print(f"tuned    {result.best.value:.3f} +/- {result.best.stderr:.3f}   {result.best.params}")

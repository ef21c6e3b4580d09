"""Train an optimizer on one's own past Optuna studies, then tune the next task with it.

    python examples/past_studies.py
    python examples/past_studies.py --steps 3000 --picture saved.svg

The same kind of model is fitted again and again: kernel ridge regression that tells two
handwritten digits apart, each time other digits, more or fewer rows, better or worse scans. The
past is 16 Optuna studies in a journal, as TPE left them. `nap` learns from them what such tasks
have in common (seconds; a real training takes more steps), and tunes tasks that nobody
has seen; beside it TPE, which starts from nothing each time. It needs torch
(pip install '.[metabo]'); using the weights needs numpy. The picture needs matplotlib.
"""

import argparse
from pathlib import Path

import numpy as np
import optuna
from sklearn.datasets import load_digits
from sklearn.kernel_ridge import KernelRidge

import bbopt
from bbopt.metabo.nap.tasks import read_past
from bbopt.metabo.nap.train import Plan, lesson_of, train

PAST, TRIALS, NEW, BUDGET = 16, 40, 6, 12
JOURNAL, WEIGHTS = "past.journal", Path("ridge.safetensors")
X, Y = load_digits(return_X_y=True)
SPACE = {
    "alpha": bbopt.Float(1e-4, 1e2, log=True),
    "gamma": bbopt.Float(1e-4, 1e1, log=True),
}


class Pair(bbopt.Problem):
    """Mean squared error, on rows held out, of telling one pair of digits apart."""

    def __init__(self, number: int) -> None:
        rng = np.random.default_rng(number)
        a, b = rng.choice(10, 2, replace=False)
        rows = rng.permutation(np.flatnonzero(np.isin(Y, (a, b))))
        scans = X[rows] / 16 + rng.uniform(0, 0.4) * rng.standard_normal((len(rows), X.shape[1]))
        self.data, self.labels = scans, np.where(np.equal(Y[rows], a), 1.0, -1.0)
        self.n = int(rng.integers(20, 120))

    @property
    def spec(self) -> bbopt.Spec:
        return bbopt.Spec(space=bbopt.Space(SPACE), deterministic=True)

    def evaluate(self, trial: bbopt.Trial, rng: np.random.Generator) -> float:
        model = KernelRidge(kernel="rbf", **trial.params).fit(
            self.data[: self.n], self.labels[: self.n]
        )
        return float(np.mean((model.predict(self.data[self.n :]) - self.labels[self.n :]) ** 2))


def record(number: int, storage: optuna.storages.BaseStorage) -> None:
    """One study of the past, made with Optuna alone."""
    pair = Pair(number)

    def objective(trial: optuna.Trial) -> float:
        params = {k: trial.suggest_float(k, d.low, d.high, log=True) for k, d in SPACE.items()}
        return pair.evaluate(bbopt.Trial(None, params), np.random.default_rng())

    sampler = optuna.samplers.TPESampler(seed=number)
    study = optuna.create_study(storage=storage, study_name=f"pair {number:02d}", sampler=sampler)
    study.optimize(objective, n_trials=TRIALS)


def main(steps: int, picture: str | None) -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    Path(JOURNAL).unlink(missing_ok=True)
    backend = optuna.storages.journal.JournalFileBackend(JOURNAL)
    for number in range(PAST):
        record(number, optuna.storages.JournalStorage(backend))

    past = read_past(JOURNAL)
    learned, held_out = past.only(range(PAST - 4)), past.only(range(PAST - 4, PAST))
    train(lesson_of(learned, held_out, seed=0), Plan((1,), (steps,)), WEIGHTS)

    found: dict[str, list[np.ndarray]] = {"nap": [], "optuna:tpe": []}
    for number in range(PAST, PAST + NEW):
        for name, settings in (("nap", {"weights": str(WEIGHTS)}), ("optuna:tpe", {})):
            optimizer = bbopt.optimizer(name, Pair(number).spec, seed=number, **settings)
            result = bbopt.run(Pair(number), optimizer, BUDGET)
            values = [evaluation.outcome.mean for evaluation in result.trials]
            found[name].append(np.minimum.accumulate(values))
    ours, theirs = (np.array(runs) for runs in found.values())
    # each task in its own unit: 1 is the best that either found
    least = np.minimum(ours, theirs).min(axis=1, keepdims=True)
    ours, theirs = (ours / least).mean(axis=0), (theirs / least).mean(axis=0)
    for n in (1, 3, 6, BUDGET):
        print(f"{n:3} evaluations: nap {ours[n - 1]:.3f}   optuna:tpe {theirs[n - 1]:.3f}")
    reached = np.flatnonzero(ours <= theirs[-1])
    if len(reached):
        print(f"what TPE has after {BUDGET} evaluations, nap has after {reached[0] + 1}")
    if picture:
        draw(ours, theirs, picture)


def draw(ours: np.ndarray, theirs: np.ndarray, path: str) -> None:
    """Both curves, and between them the evaluations that were saved."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print("no picture: it needs matplotlib (pip install 'bbopt[bench]')")
        return
    n = np.arange(1, BUDGET + 1)
    figure, axis = plt.subplots(figsize=(6, 3.6), layout="constrained")
    axis.plot(n, theirs, label="optuna:tpe, from nothing", c="grey")
    axis.plot(n, ours, label=f"nap, after {PAST} past studies", c="crimson")
    reached = np.flatnonzero(ours <= theirs[-1])
    if len(reached):
        axis.hlines(theirs[-1], n[reached[0]], BUDGET, colors="crimson", linestyles="dotted")
        saved = BUDGET - n[reached[0]]
        axis.annotate(f"{saved} evaluations saved", (n[reached[0]], theirs[-1]), va="bottom")
    axis.set(xlabel="evaluations", ylabel="error / best error known", yscale="log")
    axis.legend(frameon=False)
    figure.savefig(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=60, help="of the training")
    parser.add_argument("--picture", metavar="FILE", help="where to draw what was saved")
    options = parser.parse_args()
    main(options.steps, options.picture)

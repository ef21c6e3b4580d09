"""BoTorch's SingleTaskGP behind ask and tell: what the optimizers over its acquisitions share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy.stats import qmc

from bbopt import seeding
from bbopt.base import Optimizer
from bbopt.baselines.minibatch import affordable
from bbopt.baselines.quiet import quiet
from bbopt.budget import Budget
from bbopt.errors import require
from bbopt.space import Array, Categorical, Dimension, Text
from bbopt.trial import Best, Outcome, Trial

HUGE = 1e100
"""Larger losses are cut to this: the squares of it are still finite."""
LEAST_SPREAD = 1e-12
"""Values that differ by less, relative to the largest, count as equal: rounding is no signal."""


class BotorchOptimizer(Optimizer):
    """What the acquisitions share: rows, model, maximisation.

    Its results are repeated by the same seed on the same machine with as many threads: sums
    are taken in another order by other numbers of threads.

    Raises
    ------
    MissingExtra
        If torch or botorch is not installed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        with quiet():
            self._torch = self._require("torch")
            self._models = self._require("botorch.models")
            self._acquisitions = self._require("botorch.acquisition")
            self._failures = self._known_failures()
        dimensions = list(self.space.values())
        self._free = np.flatnonzero([_is_free(d) for d in dimensions for _ in range(d.width)])
        self._n_startup = self.settings.n_startup_trials or 2 * sum(map(_is_free, dimensions)) + 2
        self._x: list[Array] = []
        self._losses: list[float] = []
        self._fit: dict[str, Any] | None = None
        self._asks_since_fit = 0
        self._best_of_model: Best | None = None

    def _ask(self, n: int, left: Budget) -> list[Trial]:
        is_ready = len(self._free) > 0 and len(self._losses) >= self._n_startup
        if is_ready:
            self._refit_in_turn()
        trials: list[Trial] = []
        for _ in range(n):
            x = None
            if is_ready and self._fit is not None:
                x = self._maximiser([*self.awaited, *trials])
            full = np.full(self.space.width, 0.5)
            full[self._free] = self._sobol_point() if x is None else x
            repeats = affordable(self.settings.repeats, left)
            trials.append(self._new_trial(self.space.from_unit(full)[0], repeats))
        return trials

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        self._best_of_model = None
        if outcome.count and outcome.feasible:
            self._x.append(self._unit([trial])[0])
            self._losses.append(min(max(outcome.mean, -HUGE), HUGE))

    def _refit_in_turn(self) -> None:
        """Fit the hyper-parameters, where it is time and there are new rows."""
        is_due = self._fit is None or self._asks_since_fit >= self.settings.refit_every
        if is_due and (self._fit is None or self._fit["rows"] < len(self._losses)):
            try:
                with self._seeded("fit"):
                    self._fit = self._fitted()
            except self._failures:
                return  # the last fit, if there is one, stands until the next ask
            self._best_of_model, self._asks_since_fit = None, 0
        self._asks_since_fit += 1

    def _fitted(self) -> dict[str, Any]:
        """Hyper-parameters and scale of the rows, as numbers and arrays."""
        values = -np.array(self._losses)
        spread = float(np.std(values, ddof=1))
        scale = spread if spread > LEAST_SPREAD * float(np.max(np.abs(values))) else 1.0
        fit: dict[str, Any] = {"rows": len(values), "mean": float(np.mean(values)), "scale": scale}
        model = self._model(fit)
        mll = self._require("gpytorch.mlls").ExactMarginalLogLikelihood(model.likelihood, model)
        self._require("botorch.fit").fit_gpytorch_mll(mll)
        fit["parameters"] = {
            name: parameter.detach().numpy().copy() for name, parameter in model.named_parameters()
        }
        return fit

    def _model(self, fit: dict[str, Any]) -> Any:
        """The model of all rows under the hyper-parameters of ``fit``."""
        values = (-np.array(self._losses) - fit["mean"]) / fit["scale"]
        x, y = self._tensor(np.array(self._x)), self._tensor(values[:, None])
        model = self._models.SingleTaskGP(x, y, outcome_transform=None)
        with self._torch.no_grad():
            for name, values in fit.get("parameters", {}).items():
                model.get_parameter(name).copy_(self._tensor(values))
        return model.eval()

    @abstractmethod
    def _acquisition(self, model: Any, pending: Any, sampler: Any) -> Any:
        """The function to maximise; ``pending`` is a tensor ``(m, d)``, or None."""

    def _maximiser(self, pending: Sequence[Trial]) -> Array | None:
        """The maximiser of the acquisition ``(d,)``, or None where there is no finding it."""
        sampling = self._require("botorch.sampling.normal")
        optim = self._require("botorch.optim")
        try:
            with self._seeded("maximise") as seed:
                shape = self._torch.Size([self.settings.mc_samples])
                acquisition = self._acquisition(
                    self._model(self._fit or {}),
                    self._tensor(self._unit(pending)) if pending else None,
                    sampling.SobolQMCNormalSampler(shape, seed=seed),
                )
                x, _ = optim.optimize_acqf(
                    acquisition,
                    bounds=self._tensor([[0.0] * len(self._free), [1.0] * len(self._free)]),
                    q=1,
                    num_restarts=self.settings.num_restarts,
                    raw_samples=self.settings.raw_samples,
                    options={"maxiter": 200},
                )
        except self._failures:
            return None
        found: Array = x[0].numpy()
        return found if np.all(np.isfinite(found)) else None

    def _sobol_point(self) -> Array:
        """The point of the sequence that belongs to the next trial ``(d,)``."""
        if not len(self._free):
            return np.empty(0)
        seed = seeding.stream_seed(self.seed, f"{self.name} start", worker=self.worker)
        engine = qmc.Sobol(len(self._free), rng=seed)
        if self.next_number:  # scipy fails on a step of 0
            engine.fast_forward(self.next_number)
        point: Array = engine.random(1)[0]
        return point

    def _state(self) -> dict[str, Any]:
        return {
            "x": np.reshape(self._x, (len(self._x), len(self._free))),
            "losses": np.array(self._losses),
            "fit": self._fit,
            "asks_since_fit": self._asks_since_fit,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._x, self._losses = list(state["x"]), state["losses"].tolist()
        self._fit, self._asks_since_fit = state["fit"], state["asks_since_fit"]

    @contextmanager
    def _seeded(self, purpose: str) -> Iterator[int]:
        """Torch's global generator seeded for the next trial, and put back afterwards."""
        name, number = f"{self.name} {purpose}", self.next_number
        seed = seeding.stream_seed(self.seed, name, worker=self.worker, number=number)
        with quiet(), self._torch.random.fork_rng(devices=[]):
            self._torch.default_generator.manual_seed(seed)
            yield seed

    def _known_failures(self) -> tuple[type[Exception], ...]:
        """What a fit or a maximisation may raise, whatever it was given."""
        errors = self._require("botorch.exceptions.errors")
        algebra = self._require("linear_operator.utils.errors")
        return (
            errors.ModelFittingError,
            errors.CandidateGenerationError,
            errors.OptimizationGradientError,
            algebra.NotPSDError,
            algebra.NanError,
            self._torch.linalg.LinAlgError,
        )

    def _require(self, package: str) -> Any:
        return require(package, extra="metabo", needed_by=f"optimizer {self.name!r}")

    def _tensor(self, values: Any) -> Any:
        return self._torch.tensor(values, dtype=self._torch.double, device="cpu")

    def _unit(self, trials: Sequence[Trial | Best]) -> Array:
        """The free columns of the params ``(n, d)``."""
        x: Array = self.space.to_unit([trial.params for trial in trials])[:, self._free]
        return x


def _is_free(dimension: Dimension) -> bool:
    """Whether there is anything to choose."""
    if isinstance(dimension, Categorical):
        return dimension.width > 1
    return not isinstance(dimension, Text) and dimension.low < dimension.high

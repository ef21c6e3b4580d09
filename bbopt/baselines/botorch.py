"""Bayesian optimisation with BoTorch's own model, acquisitions and optimiser.

A ``SingleTaskGP`` with the priors and kernel that the installed version has by default, in
double precision, over the unit cube: categoricals are one-hot, columns with nothing to choose
are left out. The acquisition is maximised over the whole cube and its maximiser is then
rounded to integers and choices, so that a point of a small discrete space may be proposed
twice. Rows of the model are the finite means of the trials told, cut to ±1e100; failed and
infeasible trials are not in it, so that it learns nothing of constraints. The first proposals,
and those where fitting or maximising fails, are points of a scrambled Sobol' sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bbopt.baselines.quiet import quiet
from bbopt.baselines.single_task import BotorchOptimizer
from bbopt.registry import register_optimizer
from bbopt.settings import setting
from bbopt.trial import Best


@dataclass(frozen=True)
class BotorchSettings:
    """The settings of the ``botorch`` optimizers."""

    n_startup_trials: int | None = setting(
        None, "finished trials before the model is used; None is 2 d + 2", low=2
    )
    refit_every: int = setting(
        1, "hyper-parameters are fitted at every so many asks; the data is always new", low=1
    )
    num_restarts: int = setting(10, "starts of the acquisition's maximisation", low=1)
    raw_samples: int = setting(512, "Sobol' points from which the starts are drawn", low=1)
    mc_samples: int = setting(128, "posterior samples behind a Monte Carlo acquisition", low=1)
    repeats: int = setting(1, "evaluations of each point, told as their mean", low=1)


@register_optimizer("botorch:logei")
class LogEI(BotorchOptimizer):
    """Analytic log expected improvement (Ament et al. 2023) over the best value observed.

    For evaluations with little or no noise. While trials are pending it maximises ``qLogEI``,
    the Monte Carlo estimate of the improvement by the new point and all pending ones.
    """

    Settings = BotorchSettings

    def _acquisition(self, model: Any, pending: Any, sampler: Any) -> Any:
        best = model.train_targets.max()
        if pending is None:
            return self._acquisitions.LogExpectedImprovement(model, best)
        return self._acquisitions.qLogExpectedImprovement(model, best, sampler, X_pending=pending)


@register_optimizer("botorch:qlognei")
class QLogNEI(BotorchOptimizer):
    """Log noisy expected improvement (Ament et al. 2023), which integrates over the noise.

    Its ``best`` is the feasible point evaluated whose posterior mean is least, under the
    hyper-parameters of the latest fit and all rows (the archive's before the first fit and
    where the problem is deterministic).
    """

    Settings = BotorchSettings

    def _acquisition(self, model: Any, pending: Any, sampler: Any) -> Any:
        return self._acquisitions.qLogNoisyExpectedImprovement(
            model, model.train_inputs[0], sampler, prune_baseline=True, X_pending=pending
        )

    def _best(self) -> Best | None:
        if self._fit is None or self.spec.deterministic:
            return super()._best()
        if self._best_of_model is None:
            self._best_of_model = self._least_posterior_mean() or super()._best()
        return self._best_of_model

    def _least_posterior_mean(self) -> Best | None:
        known = self._archive.top(len(self._archive))
        if not known or self._fit is None:
            return None
        try:
            with quiet(), self._torch.no_grad():
                posterior = self._model(self._fit).posterior(self._tensor(self._unit(known)))
        except self._failures:
            return None
        i = int(posterior.mean.argmax())
        loss = -(self._fit["mean"] + self._fit["scale"] * float(posterior.mean[i]))
        stderr = self._fit["scale"] * float(posterior.variance[i]) ** 0.5
        if not np.isfinite(loss):
            return None
        means = [best.value for best in known]
        return replace(known[i], value=min(max(loss, min(means)), max(means)), stderr=stderr)

"""Optuna's own samplers as optimizers: TPE, GP, CMA-ES, QMC, NSGA-II and random.

Each optimizer keeps a study in memory: what is pending is a running trial (so that TPE's
constant liar and GP's batches see it), a failure is a failed one, and params that were never
asked for (foreign trials, the space's ``initial``) are added as trials of their own. Every ask
gets a fresh sampler, seeded from (seed, worker, trial number), so that the study is all the
state there is. Departures from what ``study.optimize`` does: the search space is known from
the start instead of being inferred from finished trials, repeats are averaged, choices are
passed as their positions, and values and constraints are cut to ±1e100.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import optuna
from optuna.samplers import BaseSampler

from bbopt.baselines.minibatch import affordable
from bbopt.baselines.study import OptunaOptimizer, StudyOptimizer
from bbopt.budget import Budget
from bbopt.errors import UnsupportedSpec
from bbopt.registry import register_optimizer
from bbopt.settings import setting
from bbopt.trial import Trial


@dataclass(frozen=True)
class TPESettings:
    """The settings of ``optuna:tpe``, with Optuna's defaults."""

    n_startup_trials: int = setting(10, "finished trials before the model is used", low=1)
    n_ei_candidates: int = setting(24, "draws of which the most promising is proposed", low=1)


@register_optimizer("optuna:tpe")
class TPE(StudyOptimizer):
    """Tree-structured Parzen estimator (Bergstra et al. 2011), multivariate."""

    Settings = TPESettings
    handles_constraints = True

    def _sampler(self, seed: int) -> BaseSampler:
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=self.settings.n_startup_trials,
            n_ei_candidates=self.settings.n_ei_candidates,
        )


@dataclass(frozen=True)
class GPSettings:
    """The settings of ``optuna:gp``, with Optuna's defaults."""

    n_startup_trials: int = setting(10, "finished trials before the model is used", low=1)
    repeats: int = setting(1, "evaluations of each point, told as their mean", low=1)


@register_optimizer("optuna:gp")
class GP(StudyOptimizer):
    """Gaussian process, Matérn 5/2, log expected improvement (Ament et al. 2023).

    Raises
    ------
    MissingExtra
        If torch is not installed.
    """

    Settings = GPSettings
    needs = ("torch", "metabo")
    handles_constraints = True

    def _ask(self, n: int, left: Budget) -> list[Trial]:
        repeats = affordable(self.settings.repeats, left)
        return [replace(trial, repeats=repeats) for trial in super()._ask(n, left)]

    def _sampler(self, seed: int) -> BaseSampler:
        return optuna.samplers.GPSampler(
            seed=seed,
            n_startup_trials=self.settings.n_startup_trials,
            warn_independent_sampling=False,
        )


@dataclass(frozen=True)
class CMAESSettings:
    """The settings of ``optuna:cmaes``, with Optuna's defaults."""

    n_startup_trials: int = setting(1, "finished trials before the first population", low=1)
    popsize: int | None = setting(None, "population size λ; None is 4 + 3 ln d", low=2)


@register_optimizer("optuna:cmaes")
class CMAES(OptunaOptimizer):
    """CMA-ES (Hansen 2016) of the package ``cmaes``; draws categoricals at random.

    Optuna passes the strategy from trial to trial as pickled bytes. They stay in the memory of
    this process: the state of this optimizer is its log of asks and tells, which is repeated.
    It learns from the trials that it asked for; foreign ones only end its random start.

    Raises
    ------
    MissingExtra
        If the package ``cmaes`` is not installed.
    """

    Settings = CMAESSettings
    needs = ("cmaes", "bench")
    is_population = True

    def _sampler(self, seed: int) -> BaseSampler:
        return optuna.samplers.CmaEsSampler(
            seed=seed,
            n_startup_trials=self.settings.n_startup_trials,
            popsize=self.settings.popsize,
            warn_independent_sampling=False,
        )


@dataclass(frozen=True)
class QMCSettings:
    """The settings of ``optuna:qmc``."""

    qmc_type: str = setting("sobol", "which low-discrepancy sequence", choices=("sobol", "halton"))


@register_optimizer("optuna:qmc")
class QMC(StudyOptimizer):
    """Scrambled Sobol' or Halton sequence (Bergstra and Bengio 2012); does not learn.

    Raises
    ------
    UnsupportedSpec
        If there are more parameters than Sobol' direction numbers (21,201).
    """

    Settings = QMCSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        from scipy.stats import qmc

        super().__init__(*args, **kwargs)
        most = qmc.Sobol.MAXDIM if self.settings.qmc_type == "sobol" else math.inf
        if len(self.space) > most:
            raise UnsupportedSpec(
                f"optimizer {self.name!r} supports at most {most} parameters with "
                f"qmc_type='sobol', got {len(self.space)}"
            )

    def _seed_of(self, number: int) -> int:
        return super()._seed_of(0)  # one scrambling for the whole sequence

    def _sampler(self, seed: int) -> BaseSampler:
        return optuna.samplers.QMCSampler(
            seed=seed,
            qmc_type=self.settings.qmc_type,
            scramble=True,
            warn_independent_sampling=False,
        )


@dataclass(frozen=True)
class NSGAIISettings:
    """The settings of ``optuna:nsgaii``, with Optuna's defaults."""

    population_size: int = setting(50, "individuals in a generation", low=2)


@register_optimizer("optuna:nsgaii")
class NSGAII(StudyOptimizer):
    """The genetic algorithm NSGA-II (Deb et al. 2002), here with one objective.

    It breeds from the trials that it asked for; foreign ones count for ``best`` alone.
    """

    Settings = NSGAIISettings
    handles_constraints = True
    is_population = True

    def _sampler(self, seed: int) -> BaseSampler:
        return optuna.samplers.NSGAIISampler(
            seed=seed, population_size=self.settings.population_size
        )


@register_optimizer("optuna:random")
class OptunaRandom(StudyOptimizer):
    """Independent uniform draws by Optuna."""

    def _sampler(self, seed: int) -> BaseSampler:
        return optuna.samplers.RandomSampler(seed=seed)

"""The settings of ``mini-gp-...``."""

from __future__ import annotations

from dataclasses import dataclass

from bbopt.metabo.repeats import ROUNDINGS
from bbopt.metabo.surrogate import KERNELS
from bbopt.settings import setting


@dataclass(frozen=True)
class MiniGPSettings:
    """How long mini-GP stays on a candidate, and what it knows of the objective."""

    staleness: float | str = setting(
        "auto",
        "C: the most by which a posterior sd may shrink unseen; 1 repeats nothing; 'auto': "
        "1.05 growing to 1.07 (1.1 to sqrt(2) where hyper-parameters are learned), and after a "
        "switch that costs something at least as many repeats as gain the most information a "
        "unit of cost",
        low=1.0,
        high=100.0,
    )
    rounding: str = setting("floor", "rounding of the repeat rule", choices=ROUNDINGS)
    beta: float | None = setting(
        None,
        "β, in posterior sd; None: the schedule of the theory times beta_scale where "
        "hyper-parameters are known, else sqrt(ln N) after N evaluations (1.5 for EI)",
        low=0.0,
    )
    beta_scale: float = setting(0.5, "factor on the schedule of the theory", low=0.0)
    kernel: str = setting(
        "auto",
        "covariance function; 'auto': whichever explains the data better (matern52 where known)",
        choices=("auto", *KERNELS),
    )
    lengthscale: float | None = setting(
        None,
        "lengthscale in the unit cube, where known; None: all hyper-parameters are learned",
        low=1e-6,
    )
    variance: float = setting(1.0, "prior variance κ², where the lengthscale is known", low=1e-12)
    noise: float | None = setting(
        None, "variance λ of one evaluation, where known; None: learned", low=1e-12
    )
    heteroscedastic: bool = setting(False, "whether each candidate has a noise of its own")
    n_startup_trials: int | None = setting(
        None, "candidates that fill the space first; None: 4 d + 4, none with known λ, κ², ℓ", low=0
    )
    caution: float = setting(
        0.0, "posterior sd by which a candidate is marked down when the best is named", low=0.0
    )
    distance_cost: float = setting(
        0.0,
        "cost of a switch per unit of distance in the unit cube, in units of the constant part",
        low=0.0,
    )
    wait: bool = setting(
        False, "propose nothing rather than let pending results pass the staleness C"
    )

"""What runs say together: intervals, paired differences, ranks, profiles, shares of targets.

Every value here is a loss, smaller is better. An *instance* is one problem, budget and seed, on
which every method was run once. NaN means that a method was not run on an instance; infinity,
that its run gave no value.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bbopt.errors import UsageError
from bbopt.space import Array

N_RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over runs and its 95 % bootstrap interval; NaN where one run tells nothing of it.

    Parameters
    ----------
    mean : float
        Over the runs.
    low, high : float
        The interval's ends.
    n : int
        Number of runs.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def reaches_zero(self) -> bool:
        """For a paired difference: whether the first method is *no worse* than the second.

        True also where a single pair leaves it open.
        """
        return not self.low > 0


def mean_band(values: Array, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Mean over the first axis with its 95 % percentile bootstrap interval (Efron 1979).

    Parameters
    ----------
    values : ndarray
        Shape ``(n, ...)``, one row a run.
    rng : numpy.random.Generator
        Draws which runs make a resample; all columns share these draws.

    Returns
    -------
    mean, low, high : ndarray
        Of the shape of a row; the ends are NaN where n < 2.
    """
    from scipy.stats import bootstrap

    mean = values.mean(axis=0)
    if len(values) < 2:
        return mean, np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    found = bootstrap(
        (values,),
        np.mean,
        axis=0,
        vectorized=True,
        n_resamples=N_RESAMPLES,
        batch=100,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=rng,
    )
    return mean, found.confidence_interval.low, found.confidence_interval.high


def estimate(values: Array, rng: np.random.Generator) -> Estimate:
    """The mean of ``(n,)`` values, n >= 1, with its bootstrap interval.

    Raises
    ------
    UsageError
        If there is no value.
    """
    if not len(values):
        raise UsageError("values must hold at least one run, got none")
    mean, low, high = mean_band(np.asarray(values, dtype=float), rng)
    return Estimate(float(mean), float(low), float(high), len(values))


def paired_difference(a: Array, b: Array, rng: np.random.Generator) -> Estimate | None:
    """The mean of a − b over the instances where both are finite; None where there is none.

    Method a is *no worse* than b where the interval reaches zero (``reaches_zero``).
    """
    both = np.isfinite(a) & np.isfinite(b)
    return estimate(a[both] - b[both], rng) if both.any() else None


def ranks(losses: Array) -> Array:
    """Rank of each method on each instance, 1 is best; ties share the average rank.

    Parameters
    ----------
    losses : ndarray
        Shape ``(instances, methods)``; infinite is worst, NaN keeps a method out.

    Returns
    -------
    ndarray
        The same shape; NaN stays.
    """
    from scipy.stats import rankdata

    ranked: Array = rankdata(losses, axis=1, nan_policy="omit")
    return ranked


def mean_over_instances(values: Array) -> Array:
    """The mean over the first axis without NaN; NaN where there is nothing else."""
    n = (~np.isnan(values)).sum(axis=0)
    total = np.nansum(values, axis=0)
    mean: Array = np.divide(total, n, out=np.full(total.shape, np.nan), where=n > 0)
    return mean


def win_tie_loss(losses: Array, tolerance: Array) -> Array:
    """How often each method beats, equals and loses to each other one.

    Parameters
    ----------
    losses : ndarray
        Shape ``(instances, methods)``.
    tolerance : ndarray
        Shape ``(instances,)``: up to this difference two losses are a tie.

    Returns
    -------
    ndarray
        Shape ``(methods, methods, 3)``: wins, ties and losses of the row's method against the
        column's, over the instances on which both were run.
    """
    a, b = losses[:, :, None], losses[:, None, :]
    with np.errstate(invalid="ignore"):  # infinity minus itself
        gap = np.where(a == b, 0.0, a - b)
    limit = tolerance[:, None, None]
    counts: Array = np.stack([gap < -limit, np.abs(gap) <= limit, gap > limit], axis=-1).sum(axis=0)
    counts[np.arange(len(counts)), np.arange(len(counts))] = 0
    return counts


def performance_profile(costs: Array, ratios: Array) -> Array:
    """Share of instances that a method solves at up to so many times the least cost.

    Dolan and Moré (2002), *Benchmarking optimization software with performance profiles*.

    Parameters
    ----------
    costs : ndarray
        Shape ``(instances, methods)``, > 0: what solving took; infinite where it did not,
        NaN keeps the method out of the instance. Instances that nobody solves count.
    ratios : ndarray
        Shape ``(k,)``, >= 1.

    Returns
    -------
    ndarray
        Shape ``(methods, k)``.
    """
    if not len(costs):
        return np.full((costs.shape[1], len(ratios)), np.nan)
    least = np.where(np.isnan(costs), np.inf, costs).min(axis=1, keepdims=True)
    solved = np.isfinite(costs)
    ratio = np.where(solved, costs, np.inf) / np.where(np.isfinite(least), least, 1.0)
    within = (ratio[:, :, None] <= ratios).astype(float)
    within[np.isnan(costs)] = np.nan
    return mean_over_instances(within)


def held(times: Array, losses: Array, grid: Array) -> Array:
    """The loss of a run at the points of ``grid``, where it changes at ``times``.

    Parameters
    ----------
    times, losses : ndarray
        Shape ``(e,)``: a loss holds from its time, increasing, until the next.
    grid : ndarray
        Shape ``(k,)``.

    Returns
    -------
    ndarray
        Shape ``(k,)``; infinite before the first time.
    """
    if not len(times):
        return np.full(len(grid), np.inf)
    index = np.searchsorted(times, grid, side="right") - 1
    return np.where(index >= 0, losses[np.maximum(index, 0)], np.inf)


def first_hits(times: Array, losses: Array, targets: Array) -> Array:
    """When the loss of a run first reached each target; ``(k,)``, infinite where it never did.

    The arguments are those of :func:`held`, with ``(k,)`` targets.
    """
    if not len(times):
        return np.full(len(targets), np.inf)
    reached = losses[:, None] <= targets
    return np.where(reached.any(axis=0), times[reached.argmax(axis=0)], np.inf)


def share_reached(hits: Array, grid: Array) -> Array:
    """The empirical distribution function of hitting times, at the points of ``grid``.

    Hansen et al. (2021), *COCO: a platform for comparing continuous optimizers in a black-box
    setting*, Optimization Methods and Software 36: over all runs and targets at once. NaN is
    left out.
    """
    times = np.sort(hits[~np.isnan(hits)], axis=None)
    share: Array = np.searchsorted(times, grid, side="right") / max(len(times), 1)
    return share


def run_based_targets(medians: Array) -> Array:
    """Targets that follow what the methods themselves reach, whatever the problem's scale.

    Parameters
    ----------
    medians : ndarray
        Shape ``(methods, k)``: the median loss of each method after k increasing numbers of
        evaluations.

    Returns
    -------
    ndarray
        Shape ``(k,)``: the least median of any method up to then, as in the run-based targets
        of COCO's expensive setting.
    """
    targets: Array = np.minimum.accumulate(np.fmin.reduce(medians, axis=0))
    return targets


def critical_difference(n_methods: int, n_tasks: int) -> float:
    """The difference of mean ranks beyond which two methods differ, by Nemenyi's test at 5 %.

    Demšar (2006), *Statistical comparisons of classifiers over multiple data sets*, section
    3.2.2: q √(k (k + 1) / 6N) for k methods and N tasks, q being the 95 % point of the
    studentized range of k groups with infinitely many degrees of freedom, over √2.

    Raises
    ------
    UsageError
        If there are fewer than two methods, or no task.
    """
    from scipy.stats import studentized_range

    if n_methods < 2 or n_tasks < 1:
        raise UsageError(f"need two methods and a task, got {n_methods} and {n_tasks}")
    q = float(studentized_range.ppf(CONFIDENCE, n_methods, np.inf)) / 2**0.5
    return float(q * (n_methods * (n_methods + 1) / (6 * n_tasks)) ** 0.5)


def growth(n: Array, seconds: Array) -> float:
    """The exponent a of seconds ~ nᵃ, by least squares over the later half of log n.

    NaN where fewer than three points tell it.

    Parameters
    ----------
    n, seconds : ndarray
        Shape ``(k,)``, > 0; n increasing.
    """
    later = n >= np.sqrt(n[0] * n[-1]) if len(n) else np.zeros(0, dtype=bool)
    if later.sum() < 3:
        later = np.ones(len(n), dtype=bool)
    if later.sum() < 3:
        return float("nan")
    return float(np.polyfit(np.log(n[later]), np.log(seconds[later]), 1)[0])

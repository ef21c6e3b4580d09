"""mini-GP-UCB, mini-GP-EI and their kin: few candidates, each evaluated many times.

After each decision the chosen candidate is evaluated as often as its posterior variance allows
before the stale posterior would mislead (Calandriello et al. 2022, arXiv:2201.12909). The
posterior is exact and costs a function of the number of unique candidates.

What we changed: at least one evaluation a decision where the paper's rule rounds to none;
hyper-parameters are learned, with a cap on the repeats meanwhile; C grows with the number of
candidates seen; in continuous domains a candidate evaluated before is taken again where it is
nearly as good as the best; several decisions may be open at once; where hyper-parameters are
learned, two points are repeated at the start to learn the noise from, up to two decisions in
five take the function to vary faster (:meth:`Surrogate.doubted`), and an objective without noise
is seen through logarithms where that makes its values likelier (:class:`Standardisation`).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bbopt import seeding
from bbopt.base import Optimizer
from bbopt.budget import Budget
from bbopt.errors import UsageError
from bbopt.metabo.confidence import finite_beta, growing_beta
from bbopt.metabo.criteria import UCB, LogEI, Uncertainty
from bbopt.metabo.domain import Pending, Place, Preference, Score
from bbopt.metabo.domain_of import domain_of
from bbopt.metabo.hyperparameters import REPLICATED
from bbopt.metabo.mini_gp_settings import MiniGPSettings
from bbopt.metabo.posterior import Posterior
from bbopt.metabo.repeats import (
    free_staleness,
    joint_repeats,
    learning_cap,
    repeats,
    repeats_for_cost,
    scheduled_staleness,
)
from bbopt.metabo.surrogate import Hyperparameters, Surrogate
from bbopt.metabo.thompson import Path
from bbopt.registry import register_optimizer
from bbopt.space import Params
from bbopt.trial import Best, Outcome, Trial

UNLIMITED = 2**53
"""Evaluations where no budget limits them."""

CRASHES = 3
"""Trials of a candidate, one after the other, without a feasible value: then it is left alone."""

PILOT = 0.05
"""Share of what is left of a budget that may go into learning the noise first."""

CHECK = 0.1
"""Share of it that a repeat may take which shows whether there is noise."""

EI_BETA = 1.5
"""β of expected improvement while hyper-parameters are learned."""

DOUBTS = {True: 0.2, False: 0.4}
"""Share of the decisions that doubt the lengthscales learned, by whether there is no noise."""

MOST_DOUBTS = 20
"""About so many decisions doubt while the number of points grows by a factor e."""

DELTA = 0.1
"""Probability with which the schedule of β may fail."""

SNAP = 0.05
"""η: how near to the maximum, in β sd, a point evaluated before is taken instead of a new one."""

STAY = 0.5
"""η in a table where a switch costs something: the last candidate is kept where it is so near."""

SCHEDULE = {False: (1.05, 1.07, 10), True: (1.1, math.sqrt(2.0), 40)}
"""C before and after there are so many unique points a coordinate, by whether it learns."""


class MiniGP(Optimizer):
    """Decides, repeats, learns; what is maximised is up to the subclass.

    Failures and infeasible trials: a candidate that has given no feasible value counts as one
    observation at the lower quartile of the means seen, until it gives a value: near enough for
    the search to follow a border, low enough not to cross it often. One that failed three times
    in a row is left alone while there are others.
    """

    Settings = MiniGPSettings
    uses_candidates = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        o = self.settings
        who = f"optimizer {self.name!r}"
        if o.staleness != "auto" and isinstance(o.staleness, str):
            raise UsageError(
                f"{who}: staleness must be 'auto' or a number in [1.0, 100.0], got {o.staleness!r}"
            )
        if o.lengthscale is not None and o.noise is None:
            raise UsageError(f"{who}: noise must be given where the lengthscale is, got None")
        if o.lengthscale is not None and o.heteroscedastic:
            raise UsageError(
                f"{who}: heteroscedastic must be False where the lengthscale is given: the noise "
                "of each candidate is learned with the other hyper-parameters, got True"
            )
        self._domain = domain_of(self.spec)
        encoding = self._domain.encoding
        self._d = encoding.d
        self._surrogate = Surrogate(
            encoding.d,
            encoding.groups,
            self._domain.candidates,
            Hyperparameters(
                kernel=o.kernel,
                lengthscale=o.lengthscale,
                variance=o.variance,
                noise=o.noise,
                heteroscedastic=o.heteroscedastic,
                deterministic=self.spec.deterministic,
            ),
        )
        n = o.n_startup_trials
        self._n_startup = n if n is not None else (4 * self._d + 4) * self._surrogate.learns
        self._starts: list[Place] | None = None
        self._n_started = 0
        self._n_decisions = 0
        self._places: dict[int, Place] = {}  # of pending trials of its own
        self._params: list[Params] = []  # of the unique points, in the order of the surrogate
        self._infeasible: set[bytes] = set()  # points with a violated constraint
        self._crashes: dict[bytes, int] = {}  # failed trials of a point since its last value
        self._last: Place | None = None
        if self.space.initial is not None:  # which the base class asks first
            self._last = self._domain.locate(self.space.initial)

    # -- ask

    def _ask(self, n: int, left: Budget) -> list[Trial]:
        trials: list[Trial] = []
        while len(trials) < n and left.evaluations != 0:
            last = self._last
            trial = self._decide(left, trials)
            if trial is None or self._last is None:
                break
            trials.append(trial)
            is_switch = last is not None and not np.array_equal(last.x, self._last.x)
            left = _after(left, trial.repeats, is_switch)
        return trials

    def _decide(self, left: Budget, fresh: Sequence[Trial]) -> Trial | None:
        """The next trial, ``fresh`` those of the same ask; None where there is none for now."""
        rng = self._stream(self.next_number)
        pending = self._awaited(fresh)
        limit = UNLIMITED if left.evaluations is None else left.evaluations
        is_exact = self._surrogate.is_deterministic
        if left.switches == 0 and self._last is not None:
            is_endless = (left.evaluations, left.cost, left.seconds) == (None, None, None)
            if is_endless or (is_exact and self._last.x.tobytes() in self._taken(pending)):
                return None  # nothing would end the run, or be learned
            self._surrogate.refit_if_due(rng)
            place, count = self._last, limit if left.evaluations is not None else 1
        elif self._is_starting(left):
            place, count = self._start(self._taken(pending)), 1
        elif (again := self._to_replicate(pending, left)) is not None:
            place, count = again
        else:
            decision = None if self._is_exhausted(pending) else self._choose(pending, rng, left)
            if decision is None:
                return None
            place, count = decision
            self._n_decisions += 1
            self._surrogate.keep()
        count = 1 if is_exact else min(max(count, _least_repeats(left)), limit)
        trial = self._new_trial(self._domain.params(place), count)
        self._places[trial.number] = place  # type: ignore[index]
        self._last = place
        return trial

    def _awaited(self, fresh: Sequence[Trial]) -> list[Pending]:
        pending = []
        for trial in (*self.awaited, *fresh):
            place = self._places.get(trial.number) or self._domain.locate(trial.params)  # type: ignore[arg-type]
            if place is not None:
                pending.append(Pending(place, trial.repeats))
        return pending

    def _is_starting(self, left: Budget) -> bool:
        """Whether the next candidate is one of those that fill the space."""
        known = len(self._surrogate.data)
        if self._surrogate.learns and known < 2:
            return True
        n = self._n_startup
        for rest in (left.evaluations, left.switches):
            if rest is not None:  # a third of what there was
                n = min(n, (rest + self._n_started) // 3)
        return max(self._n_started, known) < n

    def _start(self, taken: frozenset[bytes]) -> Place:
        """The next of the points that fill the space; one that others took is passed over."""
        if self._starts is None or self._n_started >= len(self._starts):
            seed = seeding.stream_seed(self.seed, self.name, worker=self.worker)
            n = max(2 * self._n_started, self._n_startup, 8)
            self._starts = self._domain.starts(n, seed)
        rest = range(self._n_started, len(self._starts))
        free = (i for i in rest if self._starts[i].x.tobytes() not in taken)
        start = next(free, self._n_started)
        self._n_started = start + 1
        return self._starts[start]

    def _to_replicate(self, pending: Sequence[Pending], left: Budget) -> tuple[Place, int] | None:
        """A point to repeat so that the noise can be learned, or seen, as the budget allows."""
        rests = [rest for rest in (left.evaluations, left.switches) if rest is not None]
        least = min(rests, default=UNLIMITED)
        if CHECK * least < 1:
            return None
        awaited: Counter[bytes] = Counter()
        for p in pending:
            awaited[p.place.x.tobytes()] += p.count
        is_ample = PILOT * least >= REPLICATED[0] * (REPLICATED[1] - 1)
        found = self._surrogate.to_replicate(awaited, thorough=is_ample)
        return None if found is None or found[0].x.tobytes() in self._crashed() else found

    def _is_exhausted(self, pending: Sequence[Pending]) -> bool:
        """Whether every row of a table without noise was evaluated or is pending."""
        rows = self._domain.candidates
        if rows is None or not self.spec.deterministic:
            return False
        return len(self._taken(pending)) >= len({x.tobytes() for x in rows})

    def _taken(self, pending: Sequence[Pending]) -> frozenset[bytes]:
        points = (*self._surrogate.points, *(p.place.x for p in pending))
        return frozenset(x.tobytes() for x in points)

    def _crashed(self) -> frozenset[bytes]:
        return frozenset(x for x, n in self._crashes.items() if n >= CRASHES)

    def _choose(
        self, pending: Sequence[Pending], rng: np.random.Generator, left: Budget
    ) -> tuple[Place, int] | None:
        """Where to evaluate next, and how often; None to wait."""
        surrogate = self._surrogate
        if surrogate.is_refit_due:
            if pending and self.settings.wait:
                return None  # what pends was chosen by the hyper-parameters of today
            surrogate.refit_if_due(rng)
        cost = self.spec.switch_cost or 0.0
        preference = Preference(
            near=SNAP if self._domain.candidates is None else STAY * bool(cost),
            last=self._last if cost else None,
            distance_cost=self.settings.distance_cost,
            excluded=self._taken(pending) if surrogate.is_deterministic else self._crashed(),
        )
        staleness = self._staleness()
        beta = self._beta()
        if pending and self.settings.wait:
            beta *= staleness  # mean and variance are not equally stale (Desautels et al. 2014)
        is_doubtful = self._is_doubtful(rng)
        posterior = surrogate.doubted() if is_doubtful else surrogate.posterior
        choice = self._domain.choose(
            self._score(posterior, beta, rng), posterior, pending, preference, rng
        )
        if is_doubtful:  # how long to stay is up to the posterior that goes on
            choice = self._domain.look(choice.place, surrogate.posterior, pending)
        if surrogate.is_deterministic:
            return choice.place, 1
        noise = surrogate.noise_at(choice.place)
        limit = UNLIMITED if left.evaluations is None else left.evaluations
        if surrogate.learns:
            limit = min(limit, learning_cap(surrogate.n_evaluations))
        if pending:
            most = joint_repeats(choice.variance, noise, staleness, choice.gain)
            if most < 1 and self.settings.wait:
                return None
            limit = min(limit, max(most, 1))
        count = int(repeats(choice.variance, noise, staleness, limit, self.settings.rounding))
        if cost and self.settings.staleness == "auto" and not self._is_last(choice.place):
            count = max(count, min(repeats_for_cost(choice.variance, noise, cost), limit))
        return choice.place, count

    def _is_doubtful(self, rng: np.random.Generator) -> bool:
        """Whether this decision is one of the few that do not believe the lengthscales learned.

        They become rarer as points become many, since each computes a posterior anew.
        """
        surrogate = self._surrogate
        share = min(DOUBTS[surrogate.is_deterministic], MOST_DOUBTS / max(len(surrogate.data), 1))
        return surrogate.learns and rng.random() < share

    def _is_last(self, place: Place) -> bool:
        """Whether the last trial was there, so that going there costs nothing."""
        return self._last is not None and np.array_equal(place.x, self._last.x)

    def _staleness(self) -> float:
        """C of the next decision."""
        given = self.settings.staleness
        if not isinstance(given, str):
            return float(given)
        surrogate = self._surrogate
        variance, noise = surrogate.kernel.variance, surrogate.noise
        early, late, n = SCHEDULE[surrogate.learns]
        c = scheduled_staleness(
            len(surrogate.data), self._d, early=early, late=late, per_dimension=n
        )
        return min(c, free_staleness(variance, noise))

    def _beta(self) -> float:
        if self.settings.beta is not None:
            return float(self.settings.beta)
        if self._surrogate.learns:
            return self._learning_beta()
        # by evaluations, like GP-UCB: by decisions it is valid too, and locked more often
        schedule = finite_beta(int(self._domain.size), self._surrogate.n_evaluations + 1, DELTA)
        return float(self.settings.beta_scale * schedule)

    def _learning_beta(self) -> float:
        """β while hyper-parameters are learned: ``sqrt(ln N)``, N evaluations.

        No interval is valid then. It grows, so that what a misfit has ruled out is tried again
        in the end; 2.3 at 200 evaluations, 3.7 at a million.
        """
        return growing_beta(self._surrogate.n_evaluations)

    @abstractmethod
    def _score(self, posterior: Posterior, beta: float, rng: np.random.Generator) -> Score:
        """What the next decision maximises."""

    # -- tell

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        place = None if trial.number is None else self._places.pop(trial.number, None)
        if place is None:
            place = self._domain.locate(trial.params)
        if place is None:
            return
        if outcome.count and outcome.feasible:
            if self._surrogate.data.find(place.x) is None:
                self._params.append(trial.params)
            self._surrogate.observe(place, outcome.count, outcome.mean, outcome.m2)
            self._crashes.pop(place.x.tobytes(), None)
        elif outcome.evaluations:
            self._surrogate.fail(place)
            key = place.x.tobytes()
            self._crashes[key] = self._crashes.get(key, 0) + 1
            if not outcome.feasible:
                self._infeasible.add(key)

    # -- answers

    def _best(self) -> Best | None:
        """The candidate with the best posterior mean, and the posterior there.

        Until there are repeats to learn the noise from, the value is the mean observed there:
        the sd of the posterior would be the prior's word. Where there is no noise, where repeats
        contradict the noise that was learned, and where the model saw values that were cut, the
        base class's choice by observed means holds.
        """
        surrogate = self._surrogate
        by_means = surrogate.is_deterministic or surrogate.is_contradicted or surrogate.is_cut
        j = None if self.spec.deterministic or by_means else self._best_point()
        if j is None:
            return super()._best()
        data = surrogate.data
        count = int(data.count[j])
        if surrogate.learns and not surrogate.knows_noise:
            stderr = math.sqrt(float(data.m2[j]) / (count - 1) / count) if count > 1 else None
            return Best(self._params[j], -float(data.mean[j]), stderr, count)
        mean, sd = surrogate.at_points()
        value, stderr = surrogate.loss(float(mean[j]), float(sd[j]))
        # a smooth model may overshoot all that was observed
        value = min(max(value, -float(data.mean.max())), -float(data.mean.min()))
        return Best(self._params[j], value, stderr, count)

    def _best_point(self) -> int | None:
        """Its index among the points of the surrogate; None before anything was learned."""
        surrogate = self._surrogate
        if not surrogate.is_ready:
            return None
        mean, sd = surrogate.at_points()
        points = surrogate.data.points
        allowed = np.array([x.tobytes() not in self._infeasible for x in points], dtype=bool)
        score = np.where(allowed, mean - self.settings.caution * sd, -np.inf)
        return int(np.argmax(score)) if allowed.any() else None

    def diagnostics(self) -> dict[str, float]:
        """What the model makes of the search; empty before it has learned.

        ``optimality_gap``: no candidate is better than the best by more than this, in units of
        the objective, wherever all intervals ``mean ± β sd`` hold (over a box as far as the
        maximum was found). ``decisions`` and ``candidates``: how many there were. ``noise_sd``:
        standard deviation of one evaluation. ``staleness`` and ``beta``: C and β now.
        """
        surrogate, j = self._surrogate, self._best_point()
        if j is None:
            return {}
        beta = self._beta() or 1.0
        mean, sd = surrogate.at_points()
        rng = seeding.stream(self.seed, f"{self.name} gap", worker=self.worker)
        top = self._domain.choose(UCB(beta), surrogate.observed(), (), Preference(), rng)
        highest = max(top.mean + beta * math.sqrt(top.variance), float(np.max(mean + beta * sd)))
        lowest = float(mean[j] - beta * sd[j])
        return {
            "optimality_gap": surrogate.loss(lowest, 0.0)[0] - surrogate.loss(highest, 0.0)[0],
            "decisions": float(self._n_decisions),
            "candidates": float(len(surrogate.data)),
            "noise_sd": surrogate.noise_sd,
            "staleness": self._staleness(),
            "beta": self._beta(),
        }

    # -- state

    def _state(self) -> dict[str, Any]:
        return {
            "surrogate": self._surrogate.to_state(),
            "params": list(self._params),
            "infeasible": [np.frombuffer(x).tolist() for x in sorted(self._infeasible)],
            "crashes": [[np.frombuffer(x).tolist(), n] for x, n in self._crashes.items()],
            "n_started": self._n_started,
            "n_decisions": self._n_decisions,
            "places": [[n, p.x.tolist(), p.row] for n, p in self._places.items()],
            "last": None if self._last is None else [self._last.x.tolist(), self._last.row],
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self._surrogate.load_state(state["surrogate"])
        self._params = [self.space.validate(params) for params in state["params"]]
        self._infeasible = {np.array(x, dtype=np.float64).tobytes() for x in state["infeasible"]}
        crashes = state["crashes"]
        self._crashes = {np.array(x, dtype=np.float64).tobytes(): n for x, n in crashes}
        self._n_started, self._n_decisions = state["n_started"], state["n_decisions"]
        self._places = {n: _place(x, row) for n, x, row in state["places"]}
        self._last = None if state["last"] is None else _place(*state["last"])


@register_optimizer("mini-gp-ucb")
class MiniGPUCB(MiniGP):
    """The largest upper confidence bound ``mean + β sd``, evaluated again and again."""

    def _score(self, posterior: Posterior, beta: float, rng: np.random.Generator) -> Score:
        return UCB(beta)


@register_optimizer("mini-gp-ei")
class MiniGPEI(MiniGP):
    """The largest expected improvement over the best posterior mean, evaluated again and again.

    β scales the posterior sd in it (Wang and de Freitas 2014).
    """

    def _learning_beta(self) -> float:
        return EI_BETA

    def _score(self, posterior: Posterior, beta: float, rng: np.random.Generator) -> Score:
        return LogEI(self._domain.best_mean(posterior), max(beta, 1e-3))


@register_optimizer("mini-gp-ts")
class MiniGPThompson(MiniGP):
    """Thompson sampling: the maximum of a function drawn from the posterior, repeated alike."""

    def _score(self, posterior: Posterior, beta: float, rng: np.random.Generator) -> Score:
        return Path(posterior, self._d, rng)


@register_optimizer("mini-gp-explore")
class MiniGPExplore(MiniGP):
    """Pure exploration: the largest posterior sd, repeated alike."""

    def _score(self, posterior: Posterior, beta: float, rng: np.random.Generator) -> Score:
        return Uncertainty()


def _after(left: Budget, repeats: int, is_switch: bool) -> Budget:
    """What is left once a trial was asked for."""
    if left.evaluations is not None:
        left = replace(left, evaluations=max(left.evaluations - repeats, 0))
    if left.switches is not None:
        left = replace(left, switches=max(left.switches - is_switch, 0))
    return left


def _least_repeats(left: Budget) -> int:
    """So many that the switches left last: half of the evaluations, spread evenly over them."""
    if not left.switches or left.evaluations is None:
        return 1
    return math.ceil(left.evaluations / (2 * (left.switches + 1)))


def _place(x: Sequence[float], row: int) -> Place:
    return Place(np.array(x, dtype=np.float64), row)

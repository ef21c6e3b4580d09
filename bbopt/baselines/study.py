"""A study of Optuna behind ask and tell: what the baselines over its samplers share."""

from __future__ import annotations

import copy
import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from bbopt import seeding
from bbopt.base import Optimizer
from bbopt.baselines.distributions import form_of
from bbopt.baselines.quiet import quiet
from bbopt.budget import Budget
from bbopt.errors import require
from bbopt.trial import Outcome, Trial

HUGE = 1e100
"""Larger values and constraints are cut to this: the squares of it are still finite."""


class OptunaOptimizer(Optimizer):
    """What the samplers share: the study and the translation of trials and outcomes."""

    needs: ClassVar[tuple[str, str] | None] = None
    """The package without which the sampler fails sooner or later, and the extra with it."""
    handles_constraints: ClassVar[bool] = False
    """Whether the sampler uses constraints; otherwise an infeasible trial is a failed one."""
    is_population: ClassVar[bool] = False
    """Whether the value of replaced params belongs to the member that was asked."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.needs is not None:
            package, extra = self.needs
            require(package, extra=extra, needed_by=f"optimizer {self.name!r}")
        self._forms = {name: form_of(dimension) for name, dimension in self.space.items()}
        self._distributions = {name: form.distribution for name, form in self._forms.items()}
        self._n_constraints = 0
        self._fill_study([], {}, {})

    @abstractmethod
    def _sampler(self, seed: int) -> BaseSampler:
        """A fresh sampler of Optuna."""

    def _seed_of(self, number: int) -> int:
        """The seed of the sampler that proposes the trial ``number``."""
        return seeding.stream_seed(self.seed, self.name, worker=self.worker, number=number)

    def _ask(self, n: int, left: Budget) -> list[Trial]:
        return [self._ask_one() for _ in range(n)]

    def _ask_one(self) -> Trial:
        with quiet("optuna"):
            sampler = self._sampler(self._seed_of(self.next_number))
            self._study.sampler = _KnownSpace(sampler, self._distributions)
            asked = self._study.ask(self._distributions)
        params = {name: form.decode(asked.params[name]) for name, form in self._forms.items()}
        self._open[self.next_number] = asked
        return self._new_trial(params)

    def _tell(self, trial: Trial, outcome: Outcome) -> None:
        observed = outcome.count and (outcome.feasible or self.handles_constraints)
        value = _cut(outcome.mean) if observed else None
        constraints = self._constraints(outcome) if observed else ()
        asked = None if trial.number is None else self._open.pop(trial.number, None)
        with quiet("optuna"):
            if asked is not None:
                for k, constraint in enumerate(constraints):
                    asked.set_constraint(str(k), constraint)
                state = TrialState.FAIL if value is None else TrialState.COMPLETE
                self._study.tell(asked, value, state)
            elif value is not None:
                encoded = {n: form.encode(trial.params[n]) for n, form in self._forms.items()}
                self._study.add_trial(
                    create_trial(
                        value=value,
                        params=encoded,
                        distributions=self._distributions,
                        constraints={str(k): c for k, c in enumerate(constraints)},
                    )
                )

    def _tell_replaced(self, asked: Trial, trial: Trial, outcome: Outcome) -> None:
        if self.is_population and asked.number in self._open:
            self._tell(asked, outcome)
        else:
            super()._tell_replaced(asked, trial, outcome)

    def _constraints(self, outcome: Outcome) -> Sequence[float]:
        """The constraints of a trial, as many as every trial has.

        The GP needs equal numbers; a trial that reported fewer satisfies the rest with 0.
        """
        if not self.handles_constraints:
            return ()
        if len(outcome.constraints) > self._n_constraints:
            self._n_constraints = len(outcome.constraints)
            self._widen()
        missing = self._n_constraints - len(outcome.constraints)
        return [*map(_cut, outcome.constraints), *[0.0] * missing]

    def _widen(self) -> None:
        """Give the finished trials as many constraints as the latest one has."""
        trials = copy.deepcopy(self._study.get_trials(deepcopy=False))
        for trial in trials:
            if trial.state == TrialState.COMPLETE:
                for k in range(len(trial.constraints), self._n_constraints):
                    trial.set_constraint(str(k), 0.0)
        self._fill_study(trials, self._study_attributes(), self._open_positions())

    def _fill_study(
        self, trials: Iterable[FrozenTrial], attributes: Mapping[str, Any], open_: Mapping[int, int]
    ) -> None:
        """Replace the study by one of these trials; ``open_``: trial number -> position."""
        storage = optuna.storages.InMemoryStorage()
        with quiet("optuna"):
            study = optuna.create_study(
                storage=storage, study_name="bbopt", sampler=optuna.samplers.RandomSampler(seed=0)
            )
            for trial in trials:
                study.add_trial(trial)
            for key, value in attributes.items():
                storage.set_study_system_attr(0, key, value)
            # in a storage of one study, the identifiers of trials are their positions
            self._open = {n: optuna.Trial(study, position) for n, position in open_.items()}
        self._study, self._storage = study, storage

    def _study_attributes(self) -> dict[str, Any]:
        """What the sampler wrote about the study: parents of a generation, points drawn."""
        return dict(self._storage.get_study_system_attrs(0))

    def _open_positions(self) -> dict[int, int]:
        return {number: asked.number for number, asked in self._open.items()}


class StudyOptimizer(OptunaOptimizer):
    """The samplers whose study is made of JSON values, so that it is the state."""

    def _state(self) -> dict[str, Any]:
        trials = self._study.get_trials(deepcopy=False)
        return {
            "trials": [[t.state.name, t.params, t.value, t.system_attrs] for t in trials],
            "attributes": self._study_attributes(),
            "open": list(self._open_positions().items()),
            "n_constraints": self._n_constraints,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        trials = [
            create_trial(
                state=TrialState[name],
                params=params,
                distributions=self._distributions,
                value=value,
                system_attrs=attributes,
            )
            for name, params, value, attributes in state["trials"]
        ]
        self._n_constraints = state["n_constraints"]
        self._fill_study(trials, state["attributes"], dict(state["open"]))


class _KnownSpace(BaseSampler):
    """A sampler that need not infer the search space from all trials, which takes O(n) an ask."""

    def __init__(self, sampler: BaseSampler, distributions: Mapping[str, BaseDistribution]) -> None:
        self._sampler = sampler
        self._known = {name: d for name, d in distributions.items() if not d.single()}

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._known

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)


def _cut(value: float) -> float:
    """``value`` within ±HUGE; a constraint that is NaN is violated."""
    return HUGE if math.isnan(value) else min(max(value, -HUGE), HUGE)

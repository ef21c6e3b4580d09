"""bbopt's methods as samplers of Optuna: one line of a study changes.

::

    study = optuna.create_study(sampler=BBOptSampler("mini-gp-ucb", seed=1))

The state is the study itself: any number of workers may share it, start again, or add trials of
their own. Numbers and categories that all completed trials have in common are proposed together
(as by Optuna's ``GPSampler``), all others are drawn uniformly.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from weakref import WeakKeyDictionary

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from bbopt import seeding, settings
from bbopt.archive import Archive
from bbopt.errors import SpaceError, UnsupportedSpec, UsageError
from bbopt.integrations.distributions import space_of, to_params, to_values
from bbopt.integrations.search import Batch, History, Search, outcome_of
from bbopt.registry import optimizer, optimizer_class
from bbopt.space import Categorical, Params, Space, Text
from bbopt.spec import Direction, Spec
from bbopt.trial import Best, Outcome

BATCH = "bbopt:batch"
TEXT = "bbopt:text:"
"""Start of the user attributes with the texts of a trial; the rest is the name."""


@dataclass
class _Known:
    """What a sampler has read of one study."""

    history: History = field(default_factory=History)
    search: Search | None = None
    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    texts: dict[str, tuple[Text, Search]] = field(default_factory=dict)
    batches: dict[int, Batch] = field(default_factory=dict)  # of its own running trials


class BBOptSampler(BaseSampler):
    """A method of bbopt as a sampler: ``mini-gp-ucb``, ``mini-gp-ei``, ``nap``, ``sobol``, ...

    Where a method wants a candidate evaluated several times, as many trials get the same
    parameters, those outside the common space included; :func:`best_mean` takes them together.
    Running trials, of any worker, count as pending; failed and pruned trials as failures.
    Constraints are those of ``trial.set_constraint``.

    Proposals depend on the seed, the trial's number and what had finished: one process with one
    seed repeats itself exactly. Give all workers of a study the same seed. After a restart
    ``mini-gp-...`` learns its hyper-parameters anew, so that proposals may differ from those of
    an unbroken run. Methods that breed from their own trials alone (``cma``) forget them then.

    Parameters
    ----------
    name : str
        Of an optimizer that takes numbers and categories, or texts (see :func:`suggest_text`).
    seed : int, optional
        Of every draw, >= 0; chosen at random where None.
    llm, proposer : optional
        Who proposes texts; see :func:`bbopt.optimizer`.
    **settings
        The method's own, as listed by ``bbopt optimizers NAME``.

    Raises
    ------
    UnknownName
        If there is no such optimizer.
    UnsupportedSpec
        If the method needs what a study of Optuna cannot tell, such as a table of candidates;
        when sampling, if the study has several objectives.
    UsageError
        If the seed or a setting is unknown or out of its range.
    """

    def __init__(
        self,
        name: str,
        *,
        seed: int | None = None,
        llm: Any = None,
        proposer: Callable[..., Params] | None = None,
        **given: Any,
    ) -> None:
        cls = optimizer_class(name)
        if cls.requires:
            raise UnsupportedSpec(
                f"optimizer {name!r} requires a problem with {cls.requires[0]!r}, "
                "which a study of Optuna has not"
            )
        settings.build(cls.Settings, given, f"optimizer {name!r}")
        self.name = name
        self.seed = secrets.randbits(32) if seed is None else seeding.checked_seed(seed)
        self._kinds = cls.kinds
        self._arguments = {"llm": llm, "proposer": proposer, **given}
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()  # threads of one process share a sampler
        self._known: WeakKeyDictionary[BaseStorage, dict[int, _Known]] = WeakKeyDictionary()

    def __getstate__(self) -> dict[str, Any]:
        """Without what was read, which the study tells again."""
        return {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_known")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    # -- what Optuna calls

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The parameters that all completed trials have in common, unless they cannot vary."""
        with self._lock:
            common = self._read(study).history.common
        return {name: d for name, d in common.items() if not d.single()}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Propose all parameters of the search space together."""
        with self._lock:
            known = self._read(study)
            given = trial.system_attrs.get("fixed_params", {})
            if not search_space.keys() - given.keys():
                return {}
            if known.search is None or known.distributions != search_space:
                known.search = self._search(study, dict(search_space))
                known.distributions = dict(search_space)
            given_here = {name: d for name, d in search_space.items() if name in given}
            fixed = None
            if given_here:
                fixed = to_params(given, given_here, space_of(given_here)) or {}
            batch = known.search.next(trial.number, known.history, fixed)
            known.batches[trial.number] = batch
            _keep(study, trial, BATCH, batch)
        return to_values(batch.params or {}, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw one parameter uniformly; the same for all trials of a batch."""
        self._check(study)
        with self._lock:
            batch = self._of(study).batches.get(trial.number)
        seed, number = (self.seed, trial.number) if batch is None else (batch.seed, batch.batch)
        rng = seeding.stream(seed, f"independent {param_name}", number=number)
        alone = {param_name: param_distribution}
        return to_values(space_of(alone).sample(rng)[0], alone)[param_name]

    # -- texts

    def sample_text(self, trial: optuna.Trial, name: str, dimension: Text) -> str:
        """Propose a text and keep it in the trial's attributes; see :func:`suggest_text`."""
        if "text" not in self._kinds:
            raise UnsupportedSpec(
                f"parameter {name!r} is a text: BBOptSampler({self.name!r}) cannot propose one, "
                "BBOptSampler('polca') can"
            )
        study = trial.study
        with self._lock:
            known = self._read(study)
            earlier, search = known.texts.get(name, (None, None))
            if search is None or earlier != dimension:
                search = self._text_search(study, name, dimension)
                known.texts[name] = dimension, search
            batch = search.next(trial.number, known.history)
            text: str = (batch.params or {})[name]
            # first the text: a batch whose text is not there yet could not be joined
            trial.set_user_attr(TEXT + name, text)
            _keep(study, trial, search.key, replace(batch, params=None))
        return text

    # -- inside

    def _check(self, study: optuna.Study) -> None:
        if len(study.directions) > 1:
            raise UnsupportedSpec(
                f"BBOptSampler optimises one objective, the study has {len(study.directions)}; "
                "Optuna's TPESampler and NSGAIISampler take several"
            )

    def _of(self, study: optuna.Study) -> _Known:
        studies = self._known.setdefault(study._storage, {})
        return studies.setdefault(study._study_id, _Known())

    def _read(self, study: optuna.Study) -> _Known:
        """What is known of a study, with all that is new in it."""
        self._check(study)
        known = self._of(study)
        # not through the study: a pruner may show a sampler some of its trials only
        known.history.read(study._storage.get_all_trials(study._study_id, deepcopy=False))
        running = {trial.number for trial in known.history.running}
        known.batches = {n: batch for n, batch in known.batches.items() if n in running}
        return known

    def _search(self, study: optuna.Study, distributions: dict[str, BaseDistribution]) -> Search:
        space = space_of(distributions)

        def params_of(trial: FrozenTrial) -> Params | None:
            if any(trial.distributions.get(n) != d for n, d in distributions.items()):
                return None
            return to_params(trial.params, distributions, space)

        return self._fed(study, space, BATCH, params_of)

    def _text_search(self, study: optuna.Study, name: str, dimension: Text) -> Search:
        def params_of(trial: FrozenTrial) -> Params | None:
            try:
                return {name: dimension.normalize(trial.user_attrs.get(TEXT + name))}
            except SpaceError:  # none there, or one that was enqueued and is too long
                return None

        return self._fed(study, Space({name: dimension}), f"{BATCH}:{name}", params_of)

    def _fed(
        self,
        study: optuna.Study,
        space: Space,
        key: str,
        params_of: Callable[[FrozenTrial], Params | None],
    ) -> Search:
        spec = Spec(space=space, direction=_direction(study))
        return Search(optimizer(self.name, spec, seed=self.seed, **self._arguments), key, params_of)


def suggest_text(
    trial: optuna.Trial,
    name: str,
    initial: str,
    *,
    description: str = "",
    max_chars: int | None = None,
    language: str = "text",
) -> str:
    """Suggest a text, in a study whose sampler proposes texts: ``BBOptSampler("polca")``.

    It is kept in the trial's user attribute ``bbopt:text:NAME``; ``study.enqueue_trial({},
    user_attrs={"bbopt:text:NAME": text})`` has one evaluated. What the evaluation has to say of
    it, for whoever proposes the next one, goes into the user attribute ``bbopt:feedback``: a
    text, or a mapping of texts. Several texts of a trial are each improved by itself.

    Parameters
    ----------
    trial : optuna.Trial
        The one that is running.
    name : str
        Of the parameter.
    initial, description, max_chars, language
        See :class:`bbopt.Text`.

    Raises
    ------
    UnsupportedSpec
        If the sampler of the study proposes no texts.
    UsageError
        If the study is in MySQL, whose columns are too short for texts.
    SpaceError
        If a text is no text or too long.
    """
    dimension = Text(initial, description=description, max_chars=max_chars, language=language)
    given = trial.user_attrs.get(TEXT + name)
    if given is not None:
        return dimension.normalize(given)
    study = trial.study
    if not isinstance(study.sampler, BBOptSampler):
        raise UnsupportedSpec(
            f"parameter {name!r} is a text: the study's sampler must be BBOptSampler('polca'), "
            f"got {study.sampler}"
        )
    engine = getattr(getattr(study._storage, "_backend", None), "engine", None)
    if engine is not None and engine.dialect.name in ("mysql", "mariadb"):
        raise UsageError("storage: MySQL columns hold 64 KB, too little for texts")
    return study.sampler.sample_text(trial, name, dimension)


def best_mean(study: optuna.Study) -> Best | None:
    """The candidate to deploy: that with the best mean over all trials with its parameters.

    ``study.best_trial`` is the luckiest trial. Here, as in :attr:`bbopt.Optimizer.best`, two
    good values beat one lucky one: compared are means that are marked down by two standard
    errors, where trials with equal parameters tell of the noise. Trials that violate a
    constraint are left out; texts (:func:`suggest_text`) are among the params.

    Returns
    -------
    Best or None
        None where no trial has completed, or none is feasible.

    Raises
    ------
    UnsupportedSpec
        If the study has several objectives.
    """
    if len(study.directions) > 1:
        raise UnsupportedSpec(
            f"best_mean needs a study of one objective, this one has {len(study.directions)}"
        )
    candidates: dict[str, tuple[Params, list[Outcome]]] = {}
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        attributes = trial.user_attrs.items()
        texts = {k.removeprefix(TEXT): v for k, v in attributes if k.startswith(TEXT)}
        params = {**trial.params, **texts}
        key = repr(sorted(params.items(), key=lambda item: item[0]))
        candidates.setdefault(key, (params, []))[1].append(outcome_of(trial))
    if not candidates:
        return None
    # conditional parameters have no space in common: a candidate is its place in a list
    rows = list(candidates.values())
    archive = Archive(Space({"row": Categorical(range(len(rows)))}))
    is_max = _direction(study) == "maximize"
    for row, (_, outcomes) in enumerate(rows):
        for outcome in outcomes:
            archive.add({"row": row}, outcome.negated() if is_max else outcome)
    for best in archive.top(1):
        value = -best.value if is_max else best.value
        return Best(rows[best.params["row"]][0], value, best.stderr, best.count)
    return None


def _direction(study: optuna.Study) -> Direction:
    return "maximize" if study.direction == StudyDirection.MAXIMIZE else "minimize"


def _keep(study: optuna.Study, trial: FrozenTrial | optuna.Trial, key: str, batch: Batch) -> None:
    study._storage.set_trial_system_attr(trial._trial_id, key, batch.to_json())

"""``run``: the place where a problem, an optimizer, a budget and a log meet."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from bbopt import checks, registry
from bbopt.base import Optimizer, Problem
from bbopt.budget import Budget
from bbopt.errors import UsageError
from bbopt.function import FunctionProblem
from bbopt.running import language, mpirun
from bbopt.running.auto import auto, stored_optimizer
from bbopt.running.confirm import confirm as confirm_best
from bbopt.running.identity import identify, metadata, name_of, stored_seed
from bbopt.running.options import Callback, Options, RunArguments
from bbopt.running.progress import Progress
from bbopt.running.replay import restore
from bbopt.running.result import Result
from bbopt.running.rounds import Rounds, run_rounds
from bbopt.running.session import Session
from bbopt.running.signals import interruptible
from bbopt.running.snapshot import Snapshots
from bbopt.running.storage import StudyLog
from bbopt.running.warm_start import Finished, read_warm_start, tell_warm_start
from bbopt.space import Space
from bbopt.spec import Direction

if TYPE_CHECKING:
    from bbopt.llm import Client

logger = logging.getLogger("bbopt")

BUILT_WITH = {"spec", "direction", "seed", "worker", "llm", "proposer"}
"""What an optimizer is built with beside its settings."""


def run(
    problem: Problem | str,
    optimizer: Optimizer | str,
    budget: Budget | int | str | dict[str, Any],
    *,
    settings: Mapping[str, Any] | None = None,
    llm: Client | None = None,
    jobs: int = 1,
    executor: Executor | None = None,
    in_flight: int | None = None,
    storage: str | Path | None = None,
    name: str | None = None,
    snapshots: str | Path | None = None,
    seed: int | None = None,
    resume: bool = False,
    worker: int = 0,
    warm_start: str | Path | None = None,
    confirm: float | None = None,
    evaluation_timeout: float | None = None,
    retries: int = 0,
    max_failures: int | None = None,
    target: float | None = None,
    patience: int | None = None,
    progress: bool = False,
    callbacks: Sequence[Callback] = (),
) -> Result:
    """Optimise a problem within a budget.

    Parameters
    ----------
    problem : Problem or str
        What to optimise, or its registered name.
    optimizer : Optimizer or str
        Who proposes: a fresh instance, or a registered name. ``"auto"`` is what a stored
        study began with, and else ``polca`` where there is a text, ``lacmas`` where there are
        agents, ``mini-gp-ucb`` up to 500 evaluations (10,000 where the problem says that it is
        noisy), ``optuna:tpe`` beyond.
    budget : Budget, int, str or dict
        What may be spent: a number of evaluations, or axes as in
        ``"evaluations=100,seconds=600"``.
    settings : mapping, optional
        Of an optimizer that is given by name.
    llm : bbopt.llm.Client, optional
        The language model of an optimizer that is given by name, and of a problem that needs
        one; held to the budget. Without it the problem's own ``propose`` is used, where it has
        one. With a storage, every reply is recorded beside it and never paid for twice.
    jobs : int
        Evaluations at once: 1 evaluates in this process, more in replaceable processes
        (coroutines and problems that call language models: in this process).
    executor : concurrent.futures.Executor, optional
        Evaluates instead: threads, MPI ranks, a cluster's. It cannot be interrupted: a
        timed-out evaluation is recorded and its late result dropped.
    in_flight : int, optional
        How many trials may be open. With an integer, results are told in the order of the
        trials' numbers and the run is the same for any number of jobs; None keeps every
        worker busy and tells in order of arrival.
    storage : str or Path, optional
        A URL (``sqlite:///runs.db``, ``postgresql://...``) or the path of a journal file:
        keeps every result at once, in Optuna's format. Without it, nothing is written.
    name : str, optional
        The study's name in the storage; where None the problem's, or ``FILE.py:CLASS`` of a
        problem without one.
    snapshots : str or Path, optional
        Folder for snapshots of the optimizer; beside the file of a file storage where None.
    seed : int, optional
        Of every draw, >= 0; where None the stored study's, else 0.
    resume : bool
        Continue the study if it exists; without it an existing study is an error.
    worker : int
        This optimizer's number among those that share the study, >= 0.
    warm_start : str or Path, optional
        A CSV file (parameter columns and ``value``) or a storage whose finished trials the
        optimizer is told first, off the budget.
    confirm : float, optional
        Share of the evaluations, in [0, 1), held back to re-evaluate the best few at the
        end; the reported value then rests on these alone. None takes the method's own.
    evaluation_timeout : float, optional
        Seconds after which one call of ``evaluate`` is given up.
    retries : int
        How often a call that raised, died or timed out is repeated, with the same draws.
    max_failures : int, optional
        Stop after more failed trials than that.
    target : float, optional
        Stop once the running best is at least that good.
    patience : int, optional
        Stop after that many evaluations without a better running best.
    progress : bool
        Show a progress line on stderr, if that is a terminal.
    callbacks : sequence of callable
        Each is called as ``callback(trial, outcome, running_best)`` after each tell, and may
        return True to stop the run.

    Returns
    -------
    Result
        Under ``mpirun``, on every rank.

    Raises
    ------
    UsageError
        If an argument is wrong, or the optimizer cannot handle the problem.
    StorageError
        If the storage cannot be opened, read or written.

    Examples
    --------
    >>> import bbopt
    >>> result = bbopt.run("synthetic/branin", "random", 30, seed=1)
    >>> result.spent.evaluations, result.stop_reason
    (30, 'evaluations')
    """
    problem = registry.problem(problem) if isinstance(problem, str) else problem
    if not isinstance(problem, Problem):
        raise UsageError(f"problem must be a Problem or a registered name, got {problem!r}")
    study, limits = name or name_of(problem), Budget.parse(budget)
    if optimizer == "auto":
        began = stored_optimizer(storage, study, worker) if resume and storage else None
        optimizer = began or auto(problem.spec, limits.evaluations)
    if settings and not isinstance(optimizer, str):
        raise UsageError("settings must be left out where the optimizer is an instance")
    settings = dict(settings or {})
    for given in BUILT_WITH & {*settings}:
        raise UsageError(
            f"settings: {given!r} is none; for one of your own, give bbopt.optimizer(NAME, "
            f"problem.spec, {given}=...) as the optimizer"
        )
    client = language.model_of(problem, optimizer, llm)
    options = Options(
        budget=limits,
        jobs=jobs,
        executor=executor,
        in_flight=in_flight,
        confirm=confirm,
        evaluation_timeout=evaluation_timeout,
        retries=retries,
        max_failures=max_failures,
        target=target,
        patience=patience,
        callbacks=tuple(callbacks),
    )
    checks.integer("worker", worker, 0)
    if resume and storage is None:
        raise UsageError("resume needs a storage that holds the study")
    if storage is not None and study == "<lambda>":
        raise UsageError("name must be given for a study of a lambda, which has none of its own")
    solves = _solves(optimizer)
    by_rounds = solves and _goes_by_rounds(problem, options)
    if by_rounds and options.budget.switches is not None:
        raise UsageError("budget: a method that goes by whole rounds has no switches to count")
    if solves and not by_rounds:
        _refuse_goals(options)
    # what is wrong with these is said before a study is made
    earlier = [] if warm_start is None else read_warm_start(warm_start, problem.spec)
    if isinstance(optimizer, str):
        proposer = problem.propose
        registry.optimizer(
            optimizer, problem.spec, seed=seed or 0, worker=worker, proposer=proposer, **settings
        )

    def here(options: Options, comm: Any = None) -> Result:
        is_writer = comm is None or comm.Get_rank() == 0
        with ExitStack() as stack:
            log = None
            if storage is not None and is_writer:
                log = StudyLog(storage, study, problem.spec, worker=worker, resume=resume)
                stack.callback(log.close)
            stored = None if log is None else stored_seed(log)
            if comm is not None:
                stored = comm.bcast(stored, root=0)
            given = stored if seed is None and isinstance(optimizer, str) else seed
            chosen = _build(optimizer, settings, problem, given, worker, llm)
            if log is not None and (chosen.next_number or chosen.best is not None):
                raise UsageError(
                    "optimizer must be fresh where there is a storage: replay fills it"
                )
            about = metadata(problem, chosen)
            kept, books = None, language.Books(client)
            if log is not None:
                identify(log, problem, about)
                kept = _snapshots(log, chosen, snapshots)
                books.keep(log, snapshots)
            if client is not None:
                client.ledger.limit(options.budget, beyond=books.before)
            show = None
            if progress and is_writer:
                show = stack.enter_context(Progress(_title(about), options.budget))
            if by_rounds:
                rounds = Rounds(problem, chosen, options, log, kept, show, comm)
                return run_rounds(rounds, about, earlier)
            session = Session(
                problem, chosen, options, log=log, snapshots=kept, progress=show, books=books
            )
            return _search(session, about, earlier, str(warm_start))

    if mpirun.n_ranks() == 1:
        return here(options)
    if by_rounds:
        return mpirun.together(lambda comm: here(options, comm))
    if executor is not None or jobs > 1:
        raise UsageError("jobs and executor must be left out under mpirun, where ranks evaluate")
    return mpirun.on_rank_zero(lambda ranks: here(replace(options, executor=ranks)))


def minimize(
    function: Callable[..., Any],
    space: Space | Mapping[str, Any],
    *,
    budget: Budget | int | str | dict[str, Any],
    optimizer: Optimizer | str = "auto",
    **arguments: Unpack[RunArguments],
) -> Result:
    """Minimise a function.

    Parameters
    ----------
    function : callable
        Of ``params``, or of ``params, rng`` with the generator of the evaluation's draws;
        returns a value or an :class:`~bbopt.Outcome`. May be ``async def``.
    space : Space or mapping of str to dimension
        What can be chosen.
    budget : Budget, int, str or dict
        As for :func:`run`.
    optimizer : Optimizer or str
        As for :func:`run`.
    **arguments
        The keyword arguments of :func:`run`.

    Examples
    --------
    >>> import bbopt
    >>> result = bbopt.minimize(
    ...     lambda p: (p["x"] - 1) ** 2, {"x": bbopt.Float(-5, 5)}, budget=30, optimizer="sobol"
    ... )
    >>> abs(result.best.params["x"] - 1) < 0.5
    True
    """
    return _optimize(function, space, "minimize", budget, optimizer, arguments)


def maximize(
    function: Callable[..., Any],
    space: Space | Mapping[str, Any],
    *,
    budget: Budget | int | str | dict[str, Any],
    optimizer: Optimizer | str = "auto",
    **arguments: Unpack[RunArguments],
) -> Result:
    """Maximise a function; the arguments are those of :func:`minimize`."""
    return _optimize(function, space, "maximize", budget, optimizer, arguments)


def _optimize(
    function: Callable[..., Any],
    space: Space | Mapping[str, Any],
    direction: Direction,
    budget: Any,
    optimizer: Optimizer | str,
    arguments: RunArguments,
) -> Result:
    problem = FunctionProblem(function, space, direction=direction)
    return run(problem, optimizer, budget, **arguments)


def _solves(optimizer: Optimizer | str) -> bool:
    if isinstance(optimizer, Optimizer):
        return optimizer.solves
    return registry.optimizer_class(optimizer).solves


def _refuse_goals(options: Options) -> None:
    for name in ("target", "patience"):
        if getattr(options, name) is not None:
            raise UsageError(
                f"{name}: agents that are asked one by one have no common value before the end; it "
                "needs whole rounds (evaluate_array, and nothing that rules them out)"
            )


def _goes_by_rounds(problem: Problem, options: Options) -> bool:
    """Whether a method that has rounds uses them; a warning or an error where options forbid."""
    if problem.evaluate_array is None:
        return False
    refused = options.refused_by_rounds()
    if refused is None:
        return True
    if mpirun.n_ranks() > 1:
        raise UsageError(f"{refused} must be left out under mpirun for a method with rounds")
    logger.warning("%s is set: going on by ask and tell instead of whole rounds", refused)
    return False


def _build(
    optimizer: Optimizer | str,
    settings: Mapping[str, Any],
    problem: Problem,
    seed: int | None,
    worker: int,
    llm: Client | None,
) -> Optimizer:
    spec = problem.spec
    if isinstance(optimizer, str):
        roles = language.roles_of(optimizer, llm)
        if llm is not None and not roles and not problem.needs_llm:
            has = ", ".join(llm.roles)
            logger.warning("optimizer %r asks no language model in the roles %s", optimizer, has)
        llm = llm if roles else None
        proposer = None if "proposer" in roles else problem.propose
        return registry.optimizer(
            optimizer, spec, seed=seed or 0, worker=worker, llm=llm, proposer=proposer, **settings
        )
    if seed not in (None, optimizer.seed):
        raise UsageError(f"seed must be that of the optimizer, {optimizer.seed}, got {seed!r}")
    if worker != optimizer.worker:
        raise UsageError(f"worker must be that of the optimizer, {optimizer.worker}, got {worker}")
    if optimizer.space != spec.space or optimizer.spec.direction != spec.direction:
        raise UsageError("optimizer must be built for the problem's spec (problem.spec)")
    return optimizer


def _snapshots(log: StudyLog, optimizer: Optimizer, folder: str | Path | None) -> Snapshots | None:
    chosen = Path(folder) if folder is not None else log.folder
    if chosen is None or not optimizer.has_compact_state:
        return None
    if chosen.exists() and not chosen.is_dir():
        raise UsageError(f"snapshots must be a folder, got the file {str(chosen)!r}")
    return Snapshots(chosen, log.name, log.worker)


def _search(
    session: Session,
    about: dict[str, Any],
    earlier: Sequence[Finished],
    warm_start: str,
) -> Result:
    """Restore, search, confirm, and gather the result; ``earlier`` comes from ``warm_start``."""
    log, optimizer = session.log, session.optimizer
    if log is not None:
        with language.only_recorded(session.books.client):
            restore(session, log.rows())
    if earlier:
        tell_warm_start(session, earlier, warm_start)
    with session, interruptible(session.interrupt):
        session.search()
        stop = session.stop or "exhausted"
        best = confirm_best(session) or optimizer.best
    session.account.clock()
    if log is not None and best is not None:
        log.set_best(best)
    problem = session.problem
    return Result(
        best=best,
        trials=session.account.evaluations,
        spent=session.books.complete(session.account.spent(optimizer.usage)),
        stop_reason="interrupted" if session.stop == "interrupted" else stop,
        initial_value=session.account.initial_value(),
        true_value=problem.truth(best.params) if best is not None else None,
        test_value=problem.test_value(best) if best is not None else None,
        storage=log.location if log is not None else None,
        study=log.name if log is not None else None,
        metadata=about,
        diagnostics=optimizer.diagnostics(),
    )


def _title(about: Mapping[str, Any]) -> str:
    return f"{about['optimizer']} on {about['problem']}"

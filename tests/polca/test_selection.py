"""Whom a round works on: the best, the least evaluated, the front, or what a user's rule says."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import bbopt
from bbopt.errors import UsageError
from bbopt.polca.priority import mean_priority, top
from bbopt.space import Space, Text
from bbopt.spec import Examples, Spec
from tests.polca.toys import FAR, Stairs, by_text, drive, job_of, memory_of, polca, tell


def test_the_paper_variant_chooses_the_best_means_and_the_newest_of_equals():
    problem = Stairs()
    optimizer = polca(problem, variant="paper", n_parents=3)
    wanted = []

    def watch(memory, k, free, rng):
        chosen = top(mean_priority(memory), k, free)
        wanted.append(chosen)
        return chosen

    same = polca(problem, variant="paper", n_parents=3, selection=watch)
    assert drive(optimizer, problem, 400) == drive(same, problem, 400)
    assert len(wanted) > 30


def test_the_reserved_place_goes_to_the_candidate_evaluated_least():
    problem = Stairs()
    optimizer = polca(problem, reserve=True, n_parents=3, epsilon=FAR, ucb_scale=0.0)
    drive(optimizer, problem, 60)
    last = []
    for _ in range(300):
        counts = memory_of(optimizer).count
        [trial] = optimizer.ask()
        queue = optimizer.state_dict()["method"]["queue"]
        jobs = [job_of(optimizer, trial), *queue]
        if len(jobs) == 3 and {job["kind"] for job in jobs} == {"parent"}:
            *others, reserved = (job["candidate"] for job in jobs)
            assert counts[reserved] == min(np.delete(counts, others))
            last.append(reserved)
        tell(optimizer, problem, trial)
    assert len(set(last)) > 3


def test_a_selection_of_ones_own_is_asked_for_free_candidates():
    problem = Stairs(examples=6)
    calls = []

    def oldest(memory, k, free, rng):
        calls.append((len(memory), k, int(free.sum())))
        free[:] = False  # a copy
        return np.flatnonzero(memory.count >= 0)[:1] if free.size == 1 else [0]

    optimizer = polca(problem, selection=oldest, n_parents=2, reserve=False, evaluate_again=False)
    trials = drive(optimizer, problem, 200)
    assert {k for _, k, _ in calls} == {2}
    counts = by_text(trials)
    # everything else is evaluated once, as a child
    assert sorted(counts.values(), reverse=True)[1:] == [2] * (len(counts) - 1)


@pytest.mark.parametrize("bad", [[0, 0], [5], [-1], [0, 1, 2]])
def test_a_selection_of_candidates_that_are_not_there_to_be_chosen_is_refused(bad):
    problem = Stairs()
    with pytest.raises(UsageError, match="selection must return"):
        polca(problem, selection=lambda memory, k, free, rng: bad, n_parents=2).ask()


def test_pareto_selection_keeps_specialists():
    # Each candidate is good at one example: the means say little, the front is all of them.
    spec = Spec(
        space=Space({"prompt": Text("nobody")}), direction="maximize", examples=Examples((0, 1, 2))
    )

    def propose(params, feedback, rng):
        return {"prompt": f"good at {rng.integers(3)} {rng.integers(10**6)}"}

    optimizer = bbopt.optimizer(
        "polca", spec, proposer=propose, selection="pareto", epsilon=0.0, reserve=False
    )
    chosen = Counter()
    for _ in range(300):
        [trial] = optimizer.ask()
        job = job_of(optimizer, trial)
        good = trial.params["prompt"].split()[2] if "good" in trial.params["prompt"] else None
        if job["kind"] == "parent":
            chosen[good] += 1
        optimizer.tell(trial, [float(good == str(e)) for e in trial.context["examples"]])
    assert min(chosen["0"], chosen["1"], chosen["2"]) > 10

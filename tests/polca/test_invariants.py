"""What holds after every step of any search, whatever is asked and told in whichever order."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import bbopt
from bbopt.polca import Embedding, Memory
from bbopt.polca.embed import hashed_ngrams
from bbopt.testing.driving import equal_states, through_files
from bbopt.trial import Outcome, Trial
from tests.polca.toys import Stairs, memory_of, text_of

searches = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 99),
        "settings": st.fixed_dictionaries(
            {
                "variant": st.sampled_from(["bbopt", "paper"]),
                "n_parents": st.integers(1, 5),
                "minibatch": st.integers(1, 3),
                "n_proposals": st.integers(1, 2),
                "epsilon": st.sampled_from([0.0, 0.12, 0.2]),  # tags are 0.1 to 0.16 apart
                "selection": st.sampled_from(["priority", "pareto"]),
                "summary": st.booleans(),
            }
        ),
        "problem": st.fixed_dictionaries(
            {
                "examples": st.sampled_from([0, 2, 7]),
                "deterministic": st.sampled_from([None, True]),
                "duplicates": st.sampled_from([0.0, 0.5]),
            }
        ),
    }
)
values = st.sampled_from([0.0, 0.25, 1.0, math.nan])
steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(1, 9)),
        st.tuples(st.just("tell"), st.integers(0, 99), st.lists(values, max_size=4)),
        st.tuples(st.just("foreign"), st.integers(0, 8), st.lists(values, max_size=3)),
    ),
    min_size=10,
    max_size=60,
)


class Search:
    """An optimizer, all that it was told, and all that was proposed to it."""

    def __init__(self, seed, settings, problem):
        self.problem = Stairs(**problem)
        self.proposed: list[str] = []
        self.foreign: list[str] = []
        self.told: dict[str, list[Outcome]] = {}
        self.paid: list[tuple[str, int | None]] = []
        self.optimizer = bbopt.optimizer(
            "polca", self.problem.spec, proposer=self.propose, seed=seed, **settings
        )
        self.epsilon = settings["epsilon"]

    def propose(self, params, feedback, rng):
        if rng.random() < 0.15:
            return None
        child = self.problem.propose(params, feedback, rng)
        if rng.random() < 0.15:
            child = dict(params)
        self.proposed.append(child["prompt"])
        return child

    def step(self, kind, number, given=()):
        """One step; what came of it."""
        if kind == "ask":
            trials = self.optimizer.ask(number)
            for trial in trials:
                examples = trial.context.get("examples") or (None,) * trial.repeats
                self.paid += [(trial.params["prompt"], example) for example in examples]
            return [trial.to_json() for trial in trials]
        if kind == "foreign":
            trial = Trial(None, text_of(number, "abc"))
            self.foreign.append(trial.params["prompt"])
        elif not self.optimizer.pending:
            return None
        else:
            trial = self.optimizer.pending[number % len(self.optimizer.pending)]
            given = given[: trial.repeats]
        outcome = Outcome(given, feedback=[f"it was {value}" for value in given])
        self.told.setdefault(trial.params["prompt"], []).append(outcome)
        self.optimizer.tell(trial, outcome)
        return None


def check(search):
    """The invariants."""
    memory: Memory = memory_of(search.optimizer)
    names = [params["prompt"] for params in memory.params]
    # what is counted is what was told, and the mean is that of all of it
    for i, name in enumerate(names):
        outcomes = search.told.get(name, [])
        finite = [v for o in outcomes for v in o.values if math.isfinite(v)]
        assert memory.count[i] == len(finite)
        assert memory.failed[i] == sum(o.failed for o in outcomes)
        if finite:
            assert math.isclose(memory.mean[i], -np.mean(finite), abs_tol=1e-12)
    evaluated = sum(o.evaluations for outcomes in search.told.values() for o in outcomes)
    assert memory.count.sum() + memory.failed.sum() == evaluated
    # what is evaluated was let in, and what was let in is far from all that was there before
    assert {name for name, _ in search.paid} <= set(names)
    assert set(names) <= {*names[:1], *search.proposed, *search.foreign} | {text_of(1)["prompt"]}
    gaps = Embedding(hashed_ngrams)(memory.params, memory.params)
    for i in range(1, len(names)):
        if memory.parent[i] >= 0:
            assert memory.parent[i] < i
            assert gaps[i, :i].min() > 0
            sound = np.flatnonzero(memory.failed[:i] == 0)  # what only failed refuses nothing
            assert (gaps[i, sound] > search.epsilon).all()
    # the best is the best
    if np.isfinite(memory.mean).any():
        assert search.optimizer.best is not None


@settings(max_examples=30)
@given(searches, steps)
def test_counts_distances_and_origins_hold_after_every_step(arguments, steps):
    search = Search(**arguments)
    for step in steps:
        search.step(*step)
    check(search)


@settings(max_examples=30)
@given(searches, steps, st.integers(0, 59))
def test_a_search_stopped_and_resumed_at_any_step_goes_on_as_if_it_had_not_been(
    arguments, steps, at
):
    unbroken, broken = Search(**arguments), Search(**arguments)
    for i, step in enumerate(steps):
        if i == at:
            state = through_files(broken.optimizer.state_dict())
            broken.optimizer = Search(**arguments).optimizer
            broken.optimizer.load_state_dict(state)
        assert broken.step(*step) == unbroken.step(*step)
    assert equal_states(broken.optimizer.state_dict(), unbroken.optimizer.state_dict())


@settings(max_examples=40)
@given(searches, steps)
def test_an_ask_that_gives_nothing_leaves_no_trace(arguments, steps):
    search = Search(**arguments)
    for step in steps:
        before = search.optimizer.state_dict()
        if step[0] == "ask" and not search.step(*step):
            assert equal_states(search.optimizer.state_dict(), before)
        elif step[0] != "ask":
            search.step(*step)


@settings(max_examples=40)
@given(searches, steps)
def test_nothing_that_is_known_or_on_its_way_is_paid_where_one_evaluation_says_all(
    arguments, steps
):
    arguments["problem"]["deterministic"] = True
    search = Search(**arguments)
    known: set[tuple[str, int | None]] = set()
    for kind, number, *_ in steps:
        if kind == "ask":
            n = len(search.paid)
            search.step(kind, number)
            new = search.paid[n:]
            assert len(set(new)) == len(new)
            assert not known & set(new)
            known |= set(new)
        elif kind == "tell":  # everything is evaluated: what fails may be paid again
            search.step(kind, number, [0.5] * 4)
    check(search)

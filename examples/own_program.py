"""A program of one's own, and the parts of the search that can be replaced.

python examples/own_program.py

A formula for how long deliveries take, from measured ones. Candidates are Python that nobody
vouches for: they run in the sandbox and are scored outside of it. What proposes them, how far
two of them are apart and which are worked on are functions.
"""

import re

import numpy as np

import bbopt
from bbopt.polca import Embedding
from bbopt.polca.embed import hashed_ngrams
from bbopt.polca.priority import mean_priority, top
from bbopt.sandbox import ProgramError, Sandbox

FIRST = """def minutes(km, stops, rain):
    return 10.0 + 1.0 * km
"""
TERMS = ("km", "stops", "rain", "km * rain", "stops * rain", "stops ** 2")

rng = np.random.default_rng(0)
ROUTES = np.column_stack([rng.uniform(1, 30, 60), rng.integers(1, 9, 60), rng.integers(0, 2, 60)])
km, stops, rain = ROUTES.T
TOOK = 4 + 1.8 * km + 6.5 * stops + 0.7 * km * rain + rng.normal(0, 3, 60)  # minutes
SHOWN, HELD_OUT = slice(0, 40), slice(40, 60)


class Formula(bbopt.Problem):
    """The mean error of a formula, in minutes, on the routes shown."""

    spec = bbopt.Spec(
        space=bbopt.Space({"program": bbopt.Text(FIRST, language="python")}),
        objective="Mean absolute error, in minutes, of minutes(km, stops, rain) for deliveries.",
        deterministic=True,
    )

    def evaluate(self, trial, rng):
        try:
            off = self.errors(trial.params["program"], SHOWN)
        except ProgramError as error:  # the candidate's fault: a bad value, and why
            return bbopt.Outcome(1000.0, feedback=[str(error)])
        wet = ROUTES[SHOWN, 2] == 1
        said = f"Too late by {off[wet].mean():.1f} min in rain, {off[~wet].mean():.1f} without."
        return bbopt.Outcome(np.abs(off).mean(), feedback=[said])

    def test_value(self, best):
        return np.abs(self.errors(best.params["program"], HELD_OUT)).mean()

    def errors(self, program, which):
        with Sandbox(program, seconds=2.0) as box:
            predicted = box.map("minutes", ROUTES[which].tolist())
        try:
            off = np.array(predicted, dtype=float) - TOOK[which]
        except (TypeError, ValueError):
            off = np.array([np.nan])
        if off.shape != TOOK[which].shape or not np.isfinite(off).all():
            raise ProgramError("minutes() must return one finite number")
        return off


def propose(params, feedback, rng):
    """Change a number, or add a term; where there is a language model, it does this."""
    program = params["program"].rstrip()
    if rng.random() < 0.3:
        return {"program": f"{program} + 1.0 * {rng.choice(TERMS)}\n"}
    numbers = list(re.finditer(r"\d+\.\d+", program))
    chosen = numbers[rng.integers(len(numbers))]
    changed = float(chosen[0]) * np.exp(0.5 * rng.standard_normal())
    return {"program": f"{program[: chosen.start()]}{changed:.3f}{program[chosen.end() :]}\n"}


def rounded(programs):
    """Vectors in which programs are equal if they differ in the second decimal alone."""
    return hashed_ngrams([re.sub(r"(\.\d)\d+", r"\1", program) for program in programs])


def best_of_each_length(memory, k, free, rng):
    """The best formula of each number of terms; 'priority', the default, did no worse here."""
    leaders = {}
    for candidate in top(mean_priority(memory), len(memory), free):
        leaders.setdefault(memory.params[candidate]["program"].count("+"), candidate)
    return list(leaders.values())[:k]


if __name__ == "__main__":
    optimizer = bbopt.optimizer(
        "polca",
        Formula().spec,
        proposer=propose,
        distance=Embedding(rounded),
        epsilon=0.0,
        selection=best_of_each_length,
        n_parents=4,
    )
    result = bbopt.run(Formula(), optimizer, 40)
    print(result.best.params["program"])
    print(f"off by {result.initial_value:.1f} minutes before, by {result.best.value:.1f} now")
    print(f"and by {result.test_value:.1f} on routes held out")

"""A problem of one's own, for Python and for the command.

    python examples/own_problem.py
    bbopt run examples/own_problem.py:Checkout --optimizer optuna:tpe --budget 60

A shop staffs its tills: more tills cost wages, fewer cost customers. One evaluation is one
simulated day, so it is noisy; a constraint keeps the longest wait bearable.
"""

import numpy as np

import bbopt


class Checkout(bbopt.Problem):
    """Cost of a day, in euros, of a number of tills and of a rule when to open another."""

    def __init__(self, customers: int = 300) -> None:
        self.customers = customers

    @property
    def spec(self) -> bbopt.Spec:
        space = {
            "tills": bbopt.Int(1, 12, initial=6),
            "open_another_at": bbopt.Int(1, 15, initial=8),
        }
        return bbopt.Spec(
            space=bbopt.Space(space),
            objective="Cost of a day at the tills, in euros.",
            deterministic=False,
        )

    def evaluate(self, trial: bbopt.Trial, rng: np.random.Generator) -> bbopt.Outcome:
        arrivals = np.sort(rng.uniform(0, 600, self.customers))  # minutes
        free_at = np.zeros(trial.params["tills"])
        starts = np.zeros(self.customers)
        n_open = 1
        for i, arrival in enumerate(arrivals):
            waiting = int(np.sum(starts[:i] > arrival))
            if waiting >= trial.params["open_another_at"]:
                n_open = min(n_open + 1, len(free_at))
            till = int(np.argmin(free_at[:n_open]))
            starts[i] = max(arrival, free_at[till])
            free_at[till] = starts[i] + rng.exponential(5.0)
        waits = starts - arrivals
        return bbopt.Outcome(
            80.0 * n_open + 0.5 * waits.sum(),
            constraints=[waits.max() - 30.0],
            info={"longest_wait_minutes": waits.max()},
        )


if __name__ == "__main__":
    result = bbopt.run(Checkout(), "random", 60, confirm=0.2, seed=0)
    print(f"today    {result.initial_value:.0f} euros a day")
    print(f"best     {result.best.value:.0f} +/- {result.best.stderr:.0f}   {result.best.params}")

"""Staff a call centre from noisy days, where a new roster costs as much as ten days of trying.

    python examples/queue_staffing.py
    python examples/queue_staffing.py --picture roster.png

A roster is three numbers: agents by day, agents by night, and how many of each shift are trained
for technical calls. A day is simulated call by call. `mini-gp-ucb` reads the cost of a change
from the spec and decides for itself how many days to stay with a roster; beside it a usual way:
each roster for a week, as often as the same total cost allows, a fifth of it kept back to
measure the best again. The picture needs matplotlib.
"""

import argparse

import numpy as np

import bbopt
from bbopt.metabo import Matern52, Posterior

CHANGE = 10  # days that a change of the roster costs
DAYS, CHANGES = 400, 30
WEEK = 7
FRESH = 200  # days on which the two winners are measured again


class CallCentre(bbopt.Problem):
    """Cost of a day in euros: wages, callers who wait, and callers who hang up."""

    def __init__(self, days: int = 1) -> None:
        self.days = days  # one evaluation is the mean of so many

    @property
    def spec(self) -> bbopt.Spec:
        space = {
            "day": bbopt.Int(2, 14, initial=8),
            "night": bbopt.Int(1, 8, initial=4),
            "trained": bbopt.Int(1, 8, initial=4),
        }
        return bbopt.Spec(
            space=bbopt.Space(space),
            objective="Cost of a day at the call centre, in euros.",
            deterministic=False,
            switch_cost=CHANGE / self.days,
        )

    def evaluate(self, trial: bbopt.Trial, rng: np.random.Generator) -> list[float]:
        n = trial.repeats
        costs = [self.a_day(rng, **trial.params) for _ in range(n * self.days)]
        return np.reshape(costs, (n, self.days)).mean(axis=1).tolist()

    def a_day(self, rng: np.random.Generator, day: int, night: int, trained: int) -> float:
        rate = 50.0 * rng.gamma(50.0, 0.02)  # at most so many calls an hour; busy days, quiet days
        hours = np.sort(rng.uniform(0, 24, rng.poisson(24 * rate)))
        peaks = np.exp(-(((hours - 11) / 2.5) ** 2)) + 0.7 * np.exp(-(((hours - 17) / 2) ** 2))
        hours = hours[rng.random(len(hours)) < 0.2 + 0.8 * peaks]
        technical = rng.random(len(hours)) < 0.3
        minutes = rng.exponential(np.where(technical, 8.0, 5.0))
        free_at = {True: [0.0] * day, False: [0.0] * night}  # of each agent, in minutes
        cost = 300.0 * (day + night) + 45.0 * (min(trained, day) + min(trained, night))
        for hour, skilled, length in zip(
            hours.tolist(), technical.tolist(), minutes.tolist(), strict=True
        ):
            agents = free_at[8 <= hour < 20]
            able = range(min(trained, len(agents)) if skilled else len(agents))
            now = 60 * hour
            # who is free first; of those free now the least trained
            agent = min(able, key=lambda i: (max(agents[i], now), -i))
            wait = max(agents[agent] - now, 0.0)
            if wait > 10:
                cost += 10.0  # hangs up
            else:
                cost += 0.8 * wait
                agents[agent] = now + wait + length
        return cost


def main(picture: str | None) -> None:
    budget = bbopt.Budget(evaluations=DAYS, switches=CHANGES)
    ours = bbopt.run(CallCentre(), "mini-gp-ucb", budget, seed=0)
    total = ours.spent.evaluations + CHANGE * ours.spent.switches
    weeks = total // (WEEK + CHANGE)
    usual = bbopt.run(CallCentre(WEEK), "optuna:tpe", weeks, confirm=0.2, seed=0)
    for name, result, days in (("mini-gp-ucb", ours, 1), ("optuna:tpe", usual, WEEK)):
        best, spent = result.best, result.spent
        rng = np.random.default_rng(1)
        fresh = [CallCentre().a_day(rng, **best.params) for _ in range(FRESH)]
        print(f"{name}: {days * spent.evaluations} days, {spent.switches} changes of the roster")
        print(f"  best     {best.params}, {best.value:.0f} +/- {best.stderr:.0f} euros a day")
        print(f"  checked  {np.mean(fresh):.0f} +/- {np.std(fresh) / FRESH**0.5:.0f} on fresh days")
    gap = ours.diagnostics["optimality_gap"]
    print(f"where its intervals hold, no roster is better than that of mini-gp-ucb by {gap:.0f}")
    if picture:
        draw(ours, picture)


def draw(result: bbopt.Result, path: str) -> None:
    """What was learned of both shifts: the expected cost, how sure it is, and the days spent."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print("no picture: it needs matplotlib (pip install 'bbopt[bench]')")
        return
    space = CallCentre().spec.space
    level = np.mean([e.outcome.mean for e in result.trials])
    kernel = Matern52([0.4, 0.4, 1.0], variance=800.0**2)
    posterior = Posterior(kernel, noise=result.diagnostics["noise_sd"] ** 2)
    spent: dict[tuple[int, int], int] = {}
    for e in result.trials:
        posterior.update(
            space.to_unit(e.trial.params)[0], count=e.outcome.count, mean=e.outcome.mean - level
        )
        shifts = e.trial.params["day"], e.trial.params["night"]
        spent[shifts] = spent.get(shifts, 0) + e.outcome.count
    day, night = np.arange(2, 15), np.arange(1, 9)
    best = result.best.params
    rosters = [{**best, "day": d, "night": n} for n in night.tolist() for d in day.tolist()]
    mean, sd = posterior.predict(space.to_unit(rosters))
    points, size = np.array(list(spent)), 6 * np.array(list(spent.values()))
    figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True, layout="constrained")
    shown = [
        ("expected cost", mean + level, "viridis_r"),
        ("standard deviation of it", sd, "magma"),
    ]
    for panel, (title, values, colours) in zip(panels, shown, strict=True):
        grid = panel.pcolormesh(day, night, values.reshape(len(night), -1), cmap=colours)
        panel.scatter(*points.T, s=size, c="white", edgecolors="black", alpha=0.85)
        panel.plot(best["day"], best["night"], "*", c="crimson", ms=11)
        panel.set(title=f"{title}, euros a day", xlabel="agents by day")
        figure.colorbar(grid, ax=panel)
    panels[0].set_ylabel("agents by night")
    figure.suptitle(f"{best['trained']} trained; area of a point: days spent; star: best roster")
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--picture", metavar="FILE", help="where to draw what was learned")
    main(parser.parse_args().picture)

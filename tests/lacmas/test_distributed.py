"""Two skins over one search: whole rounds, and ask/tell."""

import numpy as np
import pytest

import bbopt
from bbopt.errors import UsageError
from bbopt.testing import ScriptedLLM
from bbopt.testing.driving import through_files
from tests.lacmas.swarms import Costs

VARIANTS = ("hybrid", "swarm", "masoie", "ccsa-des")


def optimizer(problem, seed=3, **settings):
    return bbopt.optimizer("lacmas", problem.spec, seed=seed, **{"particles": 12} | settings)


def solved(problem, budget, **settings):
    return bbopt.run(problem, optimizer(problem, **settings), budget)


def told(problem, method, budget, steps=None):
    """Ask and tell until nothing more is asked, or for so many steps."""
    rng = np.random.default_rng(0)
    left, step = budget, 0
    while steps is None or step < steps:
        trials = method.ask(7, bbopt.Budget(evaluations=left))
        if not trials:
            break
        for trial in reversed(trials):
            method.tell(trial, problem.evaluate(trial, rng))
            left -= 1
        step += 1
    return method


@pytest.mark.parametrize("variant", VARIANTS)
def test_whole_rounds_and_ask_tell_give_the_same_numbers(variant):
    problem = Costs()
    by_rounds = solved(problem, 3000, variant=variant)
    by_trials = told(problem, optimizer(problem, variant=variant), 3000)
    assert by_trials.best == by_rounds.best
    assert by_trials.diagnostics() == by_rounds.diagnostics


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_query_is_counted_and_the_budget_is_shared_out_equally(variant):
    problem = Costs()
    result = solved(problem, 3001, variant=variant)
    assert result.spent.evaluations == problem.calls <= 3000
    assert result.rounds[-1]["evaluations"] <= 3000 - 6  # one each is kept for the end


def test_the_value_is_the_mean_over_agents_at_the_point_they_agree_on():
    problem = Costs()
    result = solved(problem, 3000)
    assert result.best.value == pytest.approx(problem.truth(result.best.params), rel=1e-12)
    assert result.true_value == pytest.approx(result.best.value, rel=1e-12)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_default_finds_the_optimum_of_the_sum(direction):
    problem = Costs(direction=direction)
    result = solved(problem, 6000)
    assert result.best.value == pytest.approx(problem.optimum, rel=1e-9)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("steps", [1, 11, 60, 150])
def test_ask_tell_continues_from_a_state_as_if_nothing_had_been(variant, steps, tmp_path):
    problem = Costs()
    unbroken = told(problem, optimizer(problem, variant=variant), 3000)
    first = told(problem, optimizer(problem, variant=variant), 3000, steps=steps)
    second = optimizer(problem, variant=variant)
    second.load_state_dict(through_files(first.state_dict()))
    spent = steps * 7
    assert told(problem, second, 3000 - spent).best == unbroken.best


@pytest.mark.parametrize("variant", VARIANTS)
def test_rounds_continue_from_a_snapshot_as_if_nothing_had_been(variant, tmp_path, monkeypatch):
    from bbopt.running.snapshot import Snapshots

    monkeypatch.setattr(Snapshots, "is_due", property(lambda self: True))
    problem = Costs()
    unbroken = solved(problem, 3000, variant=variant)
    storage = str(tmp_path / "runs.journal")

    def stop(trial, *rest):
        raise KeyboardInterrupt

    class Dies(Costs):
        def evaluate_array(self, x, agent, rng):
            if self.calls > 1500:
                raise KeyboardInterrupt
            return super().evaluate_array(x, agent, rng)

    options = {"storage": storage, "name": "swarm"}
    with pytest.raises(KeyboardInterrupt):
        bbopt.run(Dies(), optimizer(problem, variant=variant), 3000, **options)
    again = bbopt.run(problem, optimizer(problem, variant=variant), 3000, resume=True, **options)
    assert again.best == unbroken.best
    assert list(again.rounds) == list(unbroken.rounds)


def test_the_spaces_initial_is_every_agents_first_particle():
    problem = Costs()
    space = bbopt.Space({"x": bbopt.Float(-5, 5, initial=1.5), "k": bbopt.Int(1, 9, initial=4)})
    spec = bbopt.Spec(space=space, agents=problem.spec.agents)
    trials = bbopt.optimizer("lacmas", spec, particles=12).ask(72)
    first = [trial.params for trial in trials if trial.params == {"x": 1.5, "k": 4}]
    assert len(first) == 6


def test_an_agent_that_never_answers_costs_only_its_own_part_of_the_value(caplog):
    problem = Costs(broken=(2,))
    result = solved(problem, 3000, variant="swarm")
    x = np.array([list(result.best.params.values())])
    others = [problem.bowls(x, i)[0] for i in range(6) if i != 2]
    assert result.best.value == pytest.approx(np.mean(others))
    assert "none came of 2" in caplog.text


def test_where_no_agent_ever_answers_there_is_no_best():
    problem = Costs(broken=range(6))
    assert solved(problem, 1000).best is None


def test_a_budget_too_small_for_a_round_still_ends_with_a_value():
    problem = Costs()
    result = solved(problem, 6 * 3)
    assert result.best is not None
    assert problem.calls <= 18


def test_agents_beyond_the_number_of_requests_share_them():
    problem = bbopt.problem("distributed/quadratic", agents=12, dimension=2)
    calls = {}
    for requests in (1, 4, 12):
        with ScriptedLLM(['{"d": 1, "c": 1}'] * 100) as client:
            settings = {"variant": "paper", "particles": 6, "horizon": 12, "requests": requests}
            optimizer = bbopt.optimizer("lacmas", problem.spec, seed=1, llm=client, **settings)
            result = bbopt.run(problem, optimizer, 12 * (6 + 9 * 30 + 1))
        assert result.diagnostics["rounds"] == 9
        calls[requests] = result.diagnostics["guide_calls"]
    # coefficients in rounds 4 and 8, weights in 5 and 9; one group has no neighbours
    assert calls == {1: 2, 4: 16, 12: 48}


def test_a_dead_agent_is_told_in_the_result_and_is_no_part_of_it(caplog):
    problem = Costs()
    result = solved(problem, 3000, variant="swarm", faults="kill=2@4")
    x = np.array([list(result.best.params.values())])
    others = [problem.bowls(x, i)[0] for i in range(6) if i != 2]
    assert result.best.value == pytest.approx(np.mean(others))
    assert result.diagnostics["living"] == 5
    assert result.diagnostics["drift"] == pytest.approx(0, abs=1e-9)  # symmetric weights
    assert not caplog.text


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_search_ends_with_its_last_agent(variant, caplog):
    problem = Costs()
    faults = "kill=" + "+".join(f"{agent}@{2 + agent}" for agent in range(6))
    solved(problem, 30_000, variant=variant, faults=faults)
    assert problem.calls < 6_000
    assert "no agent is left" in caplog.text


def test_the_dead_evaluate_nothing_in_searches_that_begin_after_them(monkeypatch):
    problem, asked = Costs(), []
    evaluate = Costs.evaluate_array
    monkeypatch.setattr(
        Costs,
        "evaluate_array",
        lambda self, x, agent, rng: asked.append(agent) or evaluate(self, x, agent, rng),
    )
    result = solved(problem, 30_000, faults="kill=0@2")
    assert result.diagnostics["stage"] > 3  # swarms that began again among them
    last = {agent: len(asked) - asked[::-1].index(agent) for agent in range(6)}
    assert last[0] < 0.1 * min(last[agent] for agent in range(1, 6))


def test_faults_that_cannot_be_are_refused_when_the_method_is_built():
    with pytest.raises(UsageError, match="faults: kill: a round must be an integer >= 1"):
        optimizer(Costs(), faults="kill=2@0")


def test_a_target_is_reached_only_by_what_the_agents_agree_on():
    problem = Costs()
    target = problem.optimum * 1.001
    result = bbopt.run(problem, optimizer(problem), 20_000, target=target)
    assert result.stop_reason == "target"
    assert result.best.value <= target
    assert result.spent.evaluations < 10_000
    assert [row["agreed"] for row in result.rounds][:: len(result.rounds) - 1] == [0, 1]


def test_a_target_that_each_agent_reaches_at_a_point_of_its_own_is_not_reached():
    problem = Costs()
    alone = bbopt.optimizer("swarm:isolated", problem.spec, seed=3)
    target = 0.1 * problem.optimum
    result = bbopt.run(problem, alone, 20_000, target=target)
    assert min(row["value"] for row in result.rounds) < target
    assert result.stop_reason != "target"


@pytest.mark.parametrize("goal", [{"target": 0.0}, {"patience": 100}])
def test_goals_are_refused_where_agents_are_asked_one_by_one(goal):
    problem = Costs()
    with pytest.raises(UsageError, match=f"{next(iter(goal))}: agents that are asked one by one"):
        bbopt.run(problem, optimizer(problem), 2000, jobs=2, **goal)


def test_confirming_is_refused_and_not_done_by_default():
    problem = Costs()
    with pytest.raises(UsageError, match="confirm: 'lacmas' confirms what it returns itself"):
        bbopt.run(problem, optimizer(problem), 2000, confirm=0.2)


def test_switches_are_refused_as_a_budget_of_rounds():
    problem = Costs()
    with pytest.raises(UsageError, match="budget: a method that goes by whole rounds"):
        bbopt.run(problem, optimizer(problem), "evaluations=2000,switches=3")


def test_a_greater_budget_than_at_the_start_is_said_to_change_nothing(tmp_path, caplog):
    problem = Costs()
    options = {"storage": str(tmp_path / "runs.journal"), "name": "swarm"}
    first = bbopt.run(problem, "lacmas", 1200, seed=3, **options)
    again = bbopt.run(problem, "lacmas", 2400, seed=3, resume=True, **options)
    assert again.best == first.best
    assert "each agent's budget was fixed at the start: 200" in caplog.text


def test_a_budget_below_one_evaluation_an_agent_is_refused():
    problem = Costs()
    with pytest.raises(UsageError, match="budget: 6 agents need an evaluation each, got 5"):
        solved(problem, 5)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("budget", [6, 60, 100, 200, 300, 500, 900])
def test_small_budgets_are_kept(variant, budget):
    problem = Costs()
    result = solved(problem, budget, variant=variant)
    assert result.spent.evaluations <= budget
    assert problem.calls == result.spent.evaluations
    assert np.isfinite(result.best.value)


def test_agents_without_a_value_are_counted():
    problem = Costs(broken=(1, 4))
    assert solved(problem, 3000).diagnostics["silent"] == 2


@pytest.mark.parametrize("faults", ["late=0.3", "drop=0.3,one_way=true"])
@pytest.mark.parametrize("seed", range(2))
def test_where_gossip_would_not_converge_the_result_is_near_the_optimum(faults, seed):
    problem = bbopt.problem("distributed/quadratic", agents=10)
    method = bbopt.optimizer("lacmas", problem.spec, seed=seed, faults=faults)
    result = bbopt.run(problem, method, 20_000)
    assert result.true_value < 1.3 * problem.optimum

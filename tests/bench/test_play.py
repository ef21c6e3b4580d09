import json
from dataclasses import replace

import pytest

import bbopt
from bbopt.bench import play as play_module
from bbopt.bench.cell import Cell
from bbopt.bench.play import STOPPED, play
from bbopt.bench.record import Record, dumps, write_csvs
from bbopt.budget import Budget
from bbopt.errors import UnsupportedSpec


def test_the_incumbents_are_the_running_best_of_the_run(make_cell):
    record = play(make_cell(budget=Budget(evaluations=30), seed=3))
    result = bbopt.run("synthetic/branin", "random", 30, seed=3)
    n, expected = 0, []
    for evaluation in result.trials:
        n += evaluation.outcome.evaluations
        best = evaluation.best
        if not expected or best.value != expected[-1][1]:
            expected.append((n, best.value, bbopt.problem("synthetic/branin").truth(best.params)))
    assert [incumbent[:3] for incumbent in record.incumbents] == expected
    assert record.status == "done"
    assert record.stop_reason == "evaluations"
    assert record.optimum == pytest.approx(0.397887)
    assert record.summary["evaluations"] == 30
    assert record.summary["best_value"] == result.best.value
    seconds = [incumbent.seconds for incumbent in record.incumbents]
    assert seconds == sorted(seconds)


def test_noise_does_not_enter_the_true_values(make_cell):
    record = play(make_cell(arguments={"noise": 5.0}, budget=Budget(evaluations=30)))
    assert all(incumbent.true_value >= record.optimum for incumbent in record.incumbents)
    assert any(incumbent.true_value != incumbent.value for incumbent in record.incumbents)


def test_confirmation_ends_with_the_confirmed_candidate(make_cell):
    budget = Budget(evaluations=40)
    record = play(make_cell(arguments={"noise": 20.0}, budget=budget, confirm=0.25))
    assert record.incumbents[-1].evaluations == 40
    assert record.incumbents[-1].value == record.summary["best_value"]
    assert record.summary["best_count"] > 1


def test_where_the_truth_is_unknown_every_incumbent_is_scored_on_the_same_fresh_draws(make_cell):
    given = {"problem": "hpo/diabetes-ridge", "budget": Budget(evaluations=6)}
    unknown = play(make_cell(**given))
    assert all(incumbent.true_value is None for incumbent in unknown.incumbents)
    scored = [play(make_cell(**given, rescore=2, optimizer=name)) for name in ("random", "sobol")]
    # both begin with the default setting, and their first evaluation is the same
    (first, second) = (record.incumbents[0] for record in scored)
    assert first[:3] == second[:3]
    assert first.true_value != first.value
    again = play(make_cell(**given, rescore=2))
    assert [i[:3] for i in again.incumbents] == [i[:3] for i in scored[0].incumbents]
    assert scored[0].summary["evaluations"] == 6, "scoring is off the budget"


def test_a_run_that_takes_too_long_is_stopped_and_keeps_what_it_has(bad_problems, make_cell):
    budget = Budget(evaluations=10**6)
    record = play(make_cell(problem="bad/slow", budget=budget, time_limit=0.1))
    assert (record.status, record.stop_reason) == ("stopped", STOPPED)
    assert 0 < record.summary["evaluations"] < 10
    assert record.incumbents


def test_a_run_whose_bench_was_killed_ends_by_itself(make_cell, monkeypatch):
    parents = iter([100, 100, 100, 1])
    monkeypatch.setattr(play_module.os, "getppid", lambda: next(parents))
    with pytest.raises(play_module.Interrupted):
        play(make_cell(budget=Budget(evaluations=10**6)))


def test_an_optimizer_that_cannot_handle_the_problem_says_so(bad_problems, make_cell):
    with pytest.raises(UnsupportedSpec, match="'prompt'"):
        play(make_cell(problem="bad/text", optimizer="sobol"))


def test_records_and_cells_survive_their_files(make_cell):
    record = play(make_cell(settings={}, confirm=0.1, budget=Budget(evaluations=12, seconds=60.0)))
    back = Record.from_json(json.loads(dumps(record)))
    assert back == record
    assert isinstance(back.cell, Cell)
    assert back.cell.key == record.cell.key


def test_the_key_of_a_cell_depends_on_what_its_result_depends_on(make_cell):
    key = make_cell().key
    same = {"problem_label": "x", "optimizer_label": "y", "time_limit": 5.0}
    assert make_cell(**same).key == key
    other = {
        "problem": "synthetic/ackley",
        "arguments": {"noise": 1.0},
        "optimizer": "sobol",
        "settings": {"a": 1},
        "budget": Budget(evaluations=11),
        "seed": 1,
        "confirm": 0.0,
        "rescore": 1,
        "llm": "loopback",
    }
    keys = {make_cell(**{name: value}).key for name, value in other.items()}
    assert len(keys | {key}) == len(other) + 1


def test_the_csv_files_have_a_line_a_run_and_a_line_a_change(make_record, tmp_path):
    records = [make_record("a, b", 0, [(1, 3.0, 3.5), (4, 0.1 + 0.2, None)], error='a "quoted"')]
    records.append(make_record("c", 1, [], status="failed", error="no"))
    records[0] = replace(records[0], overhead=[(1, 0.25), (2, 0.5)])
    cells, changes, overhead = write_csvs(records, tmp_path)
    head, first, second = cells.read_text().splitlines()
    assert head.endswith(",error,seconds,overhead_seconds")
    assert first.startswith('p,10 evaluations,"a, b",0,done,')
    assert first.endswith(',"a ""quoted""",1.0,0.01')
    assert second.startswith("p,10 evaluations,c,1,failed,")
    spent = "switches,llm_calls,tokens,cost,bytes_per_agent,seconds"
    assert changes.read_text() == (
        f"problem,budget,optimizer,seed,evaluations,value,true_value,{spent}\n"
        'p,10 evaluations,"a, b",0,1,3.0,3.5,0,0,0,0.0,0.0,0.1\n'
        'p,10 evaluations,"a, b",0,4,0.30000000000000004,,0,0,0,0.0,0.0,0.4\n'
    )
    assert overhead.read_text() == (
        "problem,budget,optimizer,seed,evaluations,overhead_seconds\n"
        'p,10 evaluations,"a, b",0,1,0.25\n'
        'p,10 evaluations,"a, b",0,2,0.5\n'
    )


BUDGET = Budget(evaluations=200)


def test_what_was_spent_by_then_stands_beside_each_incumbent(make_cell):
    record = play(make_cell(problem="text/staircase", optimizer="best-of-n", seed=1, budget=BUDGET))
    result = bbopt.run("text/staircase", "best-of-n", BUDGET, seed=1)
    told = [evaluation.trial for evaluation in result.trials]
    after = {0: 0}  # evaluations -> switches
    for before, trial in zip([told[0], *told], told, strict=False):
        n, switches = list(after.items())[-1]
        after[n + trial.repeats] = switches + (trial.params != before.params)
    found = {i.evaluations: i.switches for i in record.incumbents}
    assert found.items() <= after.items()
    assert len(found) > 2
    assert after[BUDGET.evaluations] < BUDGET.evaluations // 4
    assert record.summary["switches"] == list(after.values())[-1]


def test_time_outside_evaluations_is_kept_each_time_their_number_has_doubled(
    bad_problems, make_cell
):
    record = play(make_cell(problem="bad/slow", budget=Budget(evaluations=9)))
    assert [n for n, _ in record.overhead] == [1, 2, 4, 8]
    seconds = [seconds for _, seconds in record.overhead]
    assert seconds == sorted(seconds)
    # eight evaluations sleep for 0.16 s, which is none of it
    assert seconds[-1] < record.incumbents[-1].seconds + 0.16
    assert record.summary["seconds"] - seconds[-1] > 0.15


SWARM = {"problem": "distributed/quadratic", "arguments": {"agents": 4, "dimension": 5}}


def test_methods_with_rounds_are_scored_at_the_point_that_their_agents_would_agree_on(make_cell):
    budget = Budget(evaluations=600)
    record = play(make_cell(**SWARM, optimizer="swarm:isolated", budget=budget))
    assert record.status == "done"
    assert len(record.incumbents) > 2
    assert all(i.true_value >= record.optimum for i in record.incumbents)
    assert record.incumbents[-1].value == record.summary["best_value"]
    result = bbopt.run(bbopt.problem(**_named(SWARM)), "swarm:isolated", budget, seed=0)
    assert record.incumbents[-1].true_value == result.true_value
    assert record.incumbents[-1].evaluations == result.spent.evaluations
    assert record.summary["switches"] is None


def test_what_agents_send_is_an_axis(make_cell):
    record = play(make_cell(**SWARM, optimizer="swarm:cbo", budget=Budget(evaluations=6000)))
    sent = [i.bytes_per_agent for i in record.incumbents]
    assert sent == sorted(sent)
    assert 0 < sent[0] < sent[-1] == record.summary["bytes_per_agent"]


def test_a_method_with_rounds_that_takes_too_long_is_stopped(make_cell):
    cell = make_cell(**SWARM, optimizer="swarm:cbo", budget=Budget(evaluations=10**7))
    record = play(replace(cell, time_limit=0.2))
    assert (record.status, record.stop_reason) == ("stopped", STOPPED)
    assert record.incumbents
    within = replace(cell, budget=Budget(evaluations=10**7, seconds=0.2))
    assert play(within).status == "done"


def _named(given):
    return {"name": given["problem"], **given["arguments"]}

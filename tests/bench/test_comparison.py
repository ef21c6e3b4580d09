import math
from dataclasses import replace

import numpy as np
import pytest

from bbopt.bench.comparison import Comparison, Quartiles, overhead_growth, per_evaluation
from bbopt.budget import Budget


def standings(task):
    return {method: standing.verdict for method, standing in task.standings.items()}


@pytest.fixture
def race(make_record):
    """Two methods and four seeds: ``a`` ends at 1 + seed, ``b`` one more."""
    records = []
    for seed in range(4):
        for method, extra in (("b", 1.0), ("a", 0.0)):
            steps = [(1, 9.0 + seed), (6, 1.0 + seed + extra)]
            records.append(make_record(method, seed, steps))
    return records


def test_the_verdict_names_the_best_and_how_far_the_others_are_behind(race):
    (task,) = Comparison.of(race).tasks
    assert standings(task) == {"b": "worse", "a": "best"}
    behind = task.standings["b"].behind
    assert (behind.mean, behind.low, behind.high, behind.n) == (1.0, 1.0, 1.0, 4)
    assert task.standings["a"].final.mean == 2.5


def test_a_difference_that_may_be_nothing_is_no_worse(make_record):
    gaps = (0.5, -0.4, 0.3, -0.2)
    records = [make_record("a", seed, [(1, 5.0)]) for seed in range(4)]
    records += [make_record("b", seed, [(1, 5.0 + gap)]) for seed, gap in enumerate(gaps)]
    (task,) = Comparison.of(records).tasks
    assert standings(task) == {"a": "best", "b": "no worse"}


def test_one_pair_of_runs_leaves_the_verdict_open(make_record):
    records = [make_record("a", 0, [(1, 5.0)]), make_record("b", 0, [(1, 6.0)])]
    (task,) = Comparison.of(records).tasks
    assert standings(task) == {"a": "best", "b": "open"}


def test_values_to_be_maximised_are_compared_as_losses_and_shown_as_they_are(make_record):
    records = [make_record("a", seed, [(1, 0.9)], direction="maximize") for seed in range(3)]
    records += [make_record("b", seed, [(1, 0.8)], direction="maximize") for seed in range(3)]
    (task,) = Comparison.of(records).tasks
    assert standings(task) == {"a": "best", "b": "worse"}
    assert task.shown(task.standings["a"].final.mean) == pytest.approx(0.9)
    assert task.standings["b"].behind.mean == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("direction", "optimum", "value"), [("minimize", -3, -2), ("maximize", 3, 2)]
)
def test_where_the_optimum_is_known_the_loss_is_the_regret(make_record, direction, optimum, value):
    records = [make_record("a", 0, [(1, value)], direction=direction, optimum=optimum)]
    (task,) = Comparison.of(records).tasks
    assert task.is_regret
    assert task.final.tolist() == [[1.0]]
    assert task.shown(task.final[0, 0]) == 1.0


def test_true_values_count_and_not_the_lucky_ones(make_record):
    lucky = [make_record("lucky", seed, [(1, 0.0, 5.0)]) for seed in range(3)]
    honest = [make_record("honest", seed, [(1, 2.0, 2.0)]) for seed in range(3)]
    (task,) = Comparison.of(lucky + honest).tasks
    assert task.has_truth
    assert standings(task) == {"lucky": "worse", "honest": "best"}


def test_without_true_values_the_estimates_at_hand_count(make_record):
    records = [make_record("a", 0, [(1, 3.0, None)]), make_record("b", 0, [(1, 2.0, 9.0)])]
    (task,) = Comparison.of(records).tasks
    assert not task.has_truth
    assert task.final.tolist() == [[3.0], [2.0]]


def test_a_failed_run_ranks_last_and_a_method_with_one_is_not_the_best(make_record):
    records = [make_record("a", seed, [(1, 1.0)]) for seed in range(2)]
    records += [make_record("b", seed, [(1, 2.0)]) for seed in range(3)]
    records.append(make_record("a", 2, [], status="failed", error="no"))
    comparison = Comparison.of(records)
    (task,) = comparison.tasks
    assert task.final.tolist() == [[1.0, 1.0, math.inf], [2.0, 2.0, 2.0]]
    assert standings(task)["b"] == "best"
    ranks = comparison.mean_ranks()
    assert ranks["a"].mean == pytest.approx(4 / 3)
    assert ranks["b"].mean == pytest.approx(5 / 3)


def test_a_run_that_was_killed_says_nothing_about_the_problem(make_record):
    records = [make_record("a", 0, [], status="stopped", summary={"evaluations": None})]
    records.append(make_record("a", 1, [(1, 5.0)], direction="maximize", optimum=7.0))
    (task,) = Comparison.of(records).tasks
    assert task.direction == "maximize"
    assert task.final.tolist() == [[math.inf, 2.0]]


def test_a_skipped_method_is_left_out_and_one_without_any_value_is_failed(make_record):
    records = [make_record("a", 0, [(1, 1.0)])]
    records.append(make_record("b", 0, [], status="failed"))
    records.append(make_record("c", 0, [], status="skipped"))
    comparison = Comparison.of(records)
    assert comparison.methods == ("a", "b")
    assert standings(comparison.tasks[0]) == {"a": "best", "b": "failed"}


def test_a_method_that_was_not_run_on_a_problem_has_no_rank_there(make_record):
    records = [make_record("a", 0, [(1, 1.0)]), make_record("b", 0, [(1, 2.0)])]
    records.append(make_record("b", 0, [(1, 2.0)], problem="q"))
    comparison = Comparison.of(records)
    assert standings(comparison.tasks[1]) == {"a": "absent", "b": "best"}
    assert {m: r.n for m, r in comparison.mean_ranks().items()} == {"a": 1, "b": 2}
    assert not np.isnan(comparison.ranks_over_budget()).any()
    assert comparison.wins()[0, 1].tolist() == [1, 0, 0]


def test_methods_that_never_met_are_not_ranked_together(make_record):
    records = [make_record(m, 0, [(1, 1.0 + i)], problem="p") for i, m in enumerate("ab")]
    records += [make_record(m, 0, [(1, 2.0 - i)], problem="q") for i, m in enumerate("cd")]
    records += [make_record(m, 0, [(1, 3.0 + i)], problem="r") for i, m in enumerate("be")]
    met, others = Comparison.apart(records)  # a and e by way of b
    assert met.methods == ("a", "b", "e")
    assert [task.label for task in met.tasks] == ["p", "r"]
    assert standings(met.tasks[0]) == {"a": "best", "b": "open", "e": "absent"}
    assert {m: r.mean for m, r in others.mean_ranks().items()} == {"c": 2.0, "d": 1.0}
    assert len({task.number for task in (*met.tasks, *others.tasks)}) == 3


def test_a_problem_on_which_nothing_succeeded_is_no_task(make_record):
    assert Comparison.of([make_record("a", 0, [], status="failed")]).tasks == ()


def test_bands_hold_the_mean_between_the_changes(race):
    (task,) = Comparison.of(race).tasks
    grid, bands = task.bands(100)
    assert grid.tolist() == [float(n) for n in range(1, 11)]
    mean, low, high = bands["a"]
    assert mean.tolist() == [10.5] * 5 + [2.5] * 5
    assert (low < mean).all()
    assert (mean < high).all()


def test_a_band_begins_where_every_run_has_a_value(make_record):
    records = [make_record("a", 0, [(1, 3.0)]), make_record("a", 1, [(4, 5.0)])]
    (task,) = Comparison.of(records).tasks
    mean = task.bands(100)[1]["a"][0]
    assert np.isnan(mean[:3]).all()
    assert mean[3:].tolist() == [4.0] * 7


def test_ranks_and_targets_over_the_budget(race):
    comparison = Comparison.of(race)
    b, a = comparison.ranks_over_budget()
    assert (b[0], a[0]) == (1.5, 1.5)
    assert (b[-1], a[-1]) == (2.0, 1.0)
    b, a = comparison.targets_reached()
    assert (np.diff(a) >= 0).all()
    # targets are a's medians, 10.5 (the first evaluations) and 2.5: two of its four runs end
    # below 2.5, one of b's does; all but the worst first evaluation pass 10.5 at the end
    assert a[-1] > b[-1] > 0


def test_the_profile_counts_evaluations_until_most_of_the_gain_is_there(make_record):
    # start 10, best 0: solved at 1 or less; a needs 4 evaluations, b 8
    records = [make_record("a", 0, [(1, 10.0), (4, 0.9), (7, 0.0)])]
    records.append(make_record("b", 0, [(1, 10.0), (8, 1.0)]))
    records.append(make_record("c", 0, [(1, 10.0), (8, 1.1)]))
    profile = Comparison.of(records).profile(np.array([1.0, 1.9, 2.0, 9.0]))
    assert profile.tolist() == [[1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]]


def test_a_win_needs_more_than_the_tolerance(make_record):
    # the best run gained 100 over the first evaluation: 1 is a tie, 2 is none
    for end, counts in ((1.0, [0, 1, 0]), (2.0, [1, 0, 0])):
        records = [make_record("a", 0, [(1, 100.0), (2, 0.0)])]
        records.append(make_record("b", 0, [(1, 100.0), (2, end)]))
        assert Comparison.of(records).wins()[0, 1].tolist() == counts


def test_the_lead_is_a_paired_difference_of_ranks(race):
    lead = Comparison.of(race).lead("a", "b")
    assert (lead.mean, lead.low, lead.n) == (1.0, 1.0, 4)
    assert Comparison.of(race).lead("b", "a").mean == -1.0


def test_numbers_per_evaluation_are_medians_over_the_runs(make_record):
    times = (0.1, 0.2, 0.9)
    records = [
        make_record("a", seed, [(1, 1.0)], summary={"overhead_seconds": t})
        for seed, t in enumerate(times)
    ]
    records.append(make_record("a", 3, [], status="failed"))
    found = per_evaluation(records, "overhead_seconds")
    assert list(found) == ["a"]
    assert found["a"] == pytest.approx(Quartiles(0.02, 0.015, 0.055))


CALLS = Budget(evaluations=100, llm_calls=20)


@pytest.fixture
def callers(make_record):
    """``early`` has its value with the fourth call, ``late`` with the sixteenth, both at 30."""
    records = []
    for seed in range(3):
        for method, calls in (("early", 4), ("late", 16)):
            record = make_record(method, seed, [(1, 10.0), (30, 1.0 + seed)], evaluations=40)
            spent = [
                i._replace(llm_calls=n) for i, n in zip(record.incumbents, (0, calls), strict=True)
            ]
            records.append(
                replace(
                    record,
                    cell=replace(record.cell, budget=CALLS),
                    incumbents=spent,
                    summary={**record.summary, "llm_calls": 20, "switches": 2},
                    stop_reason="llm_calls",
                )
            )
    return records


def test_a_budget_of_calls_is_drawn_and_compared_over_calls(callers):
    comparison = Comparison.of(callers)
    (task,) = comparison.tasks
    assert (task.axis, task.length) == ("llm_calls", 20)
    grid, bands = task.bands(100)
    assert grid.tolist() == [float(n) for n in range(1, 21)]
    assert bands["early"][0].tolist() == [10.0] * 3 + [2.0] * 17
    assert bands["late"][0].tolist() == [10.0] * 15 + [2.0] * 5
    early, late = comparison.ranks_over_budget()
    assert early[len(early) // 2] == 1.0
    assert late[len(late) // 2] == 2.0
    assert early[-1] == late[-1] == 1.5
    profile = comparison.profile(np.array([1.0, 3.9, 4.0]))
    assert profile.tolist() == [[1, 1, 1], [0, 0, 1]]


def test_other_axes_are_those_that_say_more(callers):
    (task,) = Comparison.of(callers).tasks
    assert task.other_axes == ("evaluations", "seconds")  # both values came at the first switch
    moved = [
        replace(r, incumbents=[i._replace(switches=n) for n, i in enumerate(r.incumbents)])
        for r in callers
    ]
    assert Comparison.of(moved).tasks[0].other_axes == ("evaluations", "switches", "seconds")
    restless = [replace(r, summary={**r.summary, "switches": 39}) for r in moved]
    assert "switches" not in Comparison.of(restless).tasks[0].other_axes


def test_on_another_axis_a_method_ends_with_the_longest_of_its_runs(callers):
    brief = [
        replace(r, summary={**r.summary, "seconds": 3.5})
        if r.cell.optimizer_label == "early"
        else r
        for r in callers
    ]
    longer = [
        replace(r, summary={**r.summary, "seconds": 30.0})
        if r.cell.optimizer_label == "late"
        else r
        for r in brief
    ]
    (task,) = Comparison.of(longer).tasks
    grid, bands = task.bands(50, "seconds")
    assert (grid[0], grid[-1]) == (pytest.approx(0.1), pytest.approx(30.0))
    assert grid[np.isfinite(bands["early"][0])].max() == 3.5
    assert bands["early"][0][grid == 3.5] == [2.0]
    assert np.isfinite(bands["late"][0]).all()
    assert bands["late"][0][-1] == 2.0


def test_of_several_limits_the_one_that_ended_most_runs_is_the_axis(callers):
    others = [replace(record, stop_reason="evaluations") for record in callers[:4]]
    (task,) = Comparison.of(others + callers[4:]).tasks
    assert task.axis == "evaluations"
    unused = [replace(r, summary={**r.summary, "llm_calls": 0}) for r in callers]
    assert Comparison.of(unused).tasks[0].axis == "evaluations"


def test_each_problem_counts_once_in_the_ranks_of_the_critical_difference(make_record):
    records = []
    for problem, seeds, ends in (("p", 5, (1.0, 2.0)), ("q", 1, (2.0, 1.0)), ("r", 1, (3.0, 3.0))):
        for method, end in zip("ab", ends, strict=True):
            records += [make_record(method, s, [(1, end)], problem=problem) for s in range(seeds)]
    assert Comparison.of(records).task_ranks() == ({"a": 1.5, "b": 1.5}, 3)
    records.append(make_record("a", 0, [(1, 1.0)], problem="alone"))
    assert Comparison.of(records).task_ranks() == ({"a": 1.5, "b": 1.5}, 3)


def test_overhead_is_what_each_doubling_took(make_record):
    records = [
        make_record("a", seed, [(1, 1.0)], overhead=[(1, 5.0), (2, 5.5), (5, 5.5 + 3 * each)])
        for seed, each in enumerate((0.1, 0.2, 0.9))
    ]
    n, seconds = overhead_growth(records)["a"]
    assert n.tolist() == [2.0, 5.0]
    assert seconds.tolist() == pytest.approx([0.5, 0.2])

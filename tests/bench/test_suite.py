from importlib import resources

import pytest

import bbopt
from bbopt.bench.suite import SIZES, load_suite, suite_names
from bbopt.budget import Budget
from bbopt.errors import MissingData, UnknownName, UsageError

TINY = """
title = "Tiny"
rescore = 2

[sizes.quick]
seeds = 2
budget = 5

[sizes.default]
seeds = 3
budget = [5, "evaluations=8,seconds=60"]
problems = ["noisy"]
optimizers = ["random"]

[[problems]]
name = "synthetic/branin"

[[problems]]
name = "synthetic/branin"
label = "noisy"
with = { noise = 0.5 }
budget = { quick = [6, 7] }

[[optimizers]]
name = "random"

[[optimizers]]
name = "optuna:tpe"
label = "TPE"
set = { n_startup_trials = 3 }
"""


def places(cells):
    return [(c.seed, c.problem_label, c.budget.evaluations, c.optimizer_label) for c in cells]


def test_the_grid_has_every_problem_budget_optimizer_and_seed_once(write_suite):
    suite = load_suite(write_suite(TINY))
    tasks = [("synthetic/branin", 5), ("noisy", 6), ("noisy", 7)]
    assert places(suite.cells("quick")) == [
        (seed, *task, method) for seed in (0, 1) for task in tasks for method in ("random", "TPE")
    ]


def test_a_size_can_choose_problems_and_optimizers_and_have_several_budgets(write_suite):
    cells = load_suite(write_suite(TINY)).cells("default")
    assert places(cells) == [(s, "noisy", n, "random") for s in (0, 1, 2) for n in (5, 8)]
    assert cells[1].budget == Budget(evaluations=8, seconds=60.0)
    assert cells[0].arguments == {"noise": 0.5}
    assert cells[0].rescore == 2


def test_seeds_and_optimizers_can_be_given_instead(write_suite):
    cells = load_suite(write_suite(TINY)).cells("quick", optimizers=["TPE", "sobol"], seeds=1)
    assert [c.optimizer_label for c in cells] == ["TPE", "sobol"] * 3
    assert {c.optimizer: dict(c.settings) for c in cells} == {
        "optuna:tpe": {"n_startup_trials": 3},
        "sobol": {},
    }
    assert {c.seed for c in cells} == {0}


def test_who_proposes_is_said_once_for_all_cells(write_suite):
    default = load_suite(write_suite(TINY)).cells("quick")
    served = load_suite(write_suite('llm = "loopback"' + TINY)).cells("quick")
    assert {cell.llm for cell in default} == {"none"}
    assert {cell.llm for cell in served} == {"loopback"}
    assert {cell.key for cell in default}.isdisjoint(cell.key for cell in served)


def test_an_unknown_optimizer_on_the_command_line_gets_the_nearest_names(write_suite):
    with pytest.raises(UnknownName, match="unknown optimizer 'sobbol': did you mean sobol"):
        load_suite(write_suite(TINY)).cells("quick", optimizers=["sobbol"])


def test_a_size_that_the_suite_does_not_have_is_refused(write_suite):
    with pytest.raises(UsageError, match=r"'tiny' has no size 'full'; allowed are quick, default"):
        load_suite(write_suite(TINY)).cells("full")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rescore = 2", "rescoring = 2", "unknown key 'rescoring' in the file; allowed are title"),
        ("rescore = 2", "rescore = -1", "rescore must be an integer >= 0, got -1"),
        ("rescore = 2", "confirm = 1.0", r"confirm must be in \[0, 1\), got 1.0"),
        ("rescore = 2", "time_limit = 0", "time_limit must be a finite number >= 0.001, got 0"),
        ("rescore = 2", "llm = 'openai'", "llm must be one of 'none', 'loopback', got 'openai'"),
        ('title = "Tiny"', "", "'title' is missing"),
        ('title = "Tiny"', "title = 3", "title must be a text, got 3"),
        ("[sizes.quick]", "[sizes.tiny]", "unknown key 'tiny' in sizes; allowed are quick"),
        ("seeds = 2\n", "", "sizes.quick: 'seeds' is missing"),
        ("seeds = 2\n", "seeds = 0\n", "sizes.quick: seeds must be an integer >= 1, got 0"),
        ("budget = 5\n", "budget = 0\n", "budget evaluations must be an integer >= 1, got 0"),
        ("budget = 5\n", "budget = []\n", "sizes.quick: budget must be a number, a text or a list"),
        ("budget = 5\n", "budget = 'trials=3'\n", "budget: unknown axis 'trials'"),
        ('problems = ["noisy"]', 'problems = ["nosy"]', "problems must be one of .*, got 'nosy'"),
        ('problems = ["noisy"]', "problems = []", "problems must be a list of labels"),
        ("with = {", "arguments = {", "unknown key 'arguments' in problems, table 2; allowed"),
        ("{ noise =", "{ nose =", "unknown key 'nose' in problems, table 2: with; allowed"),
        ("quick = [6", "tiny = [6", "unknown key 'tiny' in problems, table 2: budget; allowed"),
        ('label = "noisy"', 'label = "synthetic/branin"', "table 2: the label .* is taken"),
        ('name = "random"', 'name = "randon"', "unknown optimizer 'randon': did you mean random"),
        ('name = "random"', 'label = "random"', "optimizers, table 1: 'name' is missing"),
        ("n_startup_trials", "n_startup", "'optuna:tpe' has no setting 'n_startup'; allowed"),
        (
            "n_startup_trials = 3",
            "n_startup_trials = 0",
            "n_startup_trials must be an integer >= 1",
        ),
        ("[sizes.quick]", "[sizes.quick", "is not TOML"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line_with_the_file_and_the_key(
    write_suite, old, new, message
):
    assert old in TINY
    path = write_suite(TINY.replace(old, new, 1))
    with pytest.raises(UsageError, match=message) as raised:
        load_suite(path)
    assert str(raised.value).startswith(f"suite {str(path)!r}")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"nothing\.toml' cannot be read"):
        load_suite(tmp_path / "nothing.toml")


def test_an_unknown_suite_gets_the_nearest_names():
    with pytest.raises(UnknownName, match="unknown suite 'dem': did you mean demo"):
        load_suite("dem")


@pytest.mark.parametrize("name", suite_names())
def test_the_suites_of_the_package_have_all_sizes_and_problems_that_can_be_built(name):
    suite = load_suite(name)
    assert tuple(suite.sizes) == SIZES
    for entry in suite.problems.values():
        try:
            bbopt.problem(entry.name, **entry.arguments)
        except MissingData:
            assert (
                "BBOPT_DATA" in (resources.files("bbopt.bench.suites") / f"{name}.toml").read_text()
            )
    grids = [suite.cells(size) for size in SIZES]
    assert len(grids[0]) < len(grids[1]) < len(grids[2])
    for cells in grids:
        assert len({cell.place for cell in cells}) == len(cells)


def test_the_demo_shows_every_method_beside_others_of_its_kind():
    rivals: dict[str, set[str]] = {}
    for cell in load_suite("demo").cells("default"):
        rivals.setdefault(cell.problem_label, set()).add(cell.optimizer)
    assert min(map(len, rivals.values())) >= 3
    assert {"polca", "lacmas", "mini-gp-ucb", "nap"} <= set().union(*rivals.values())
    assert not rivals["sensors"] & rivals["prompt"]


def test_a_problem_may_be_for_some_optimizers_only(write_suite):
    some = TINY.replace('label = "noisy"', 'label = "noisy"\noptimizers = ["TPE"]')
    assert some != TINY
    suite = load_suite(write_suite(some))
    labels = {(c.problem_label, c.optimizer_label) for c in suite.cells("quick")}
    assert {label for problem, label in labels if problem == "noisy"} == {"TPE"}
    assert {label for problem, label in labels if problem != "noisy"} > {"TPE"}
    with pytest.raises(UsageError, match="has no problem for random"):
        suite.cells("default")


def test_the_generative_suite_has_half_of_its_budgets_on_both_axes():
    cells = load_suite("generative").cells("default")
    budgets = {(c.budget.evaluations, c.budget.llm_calls) for c in cells if c.arguments == {}}
    assert budgets == {(300, None), (600, None), (7000, 60), (7000, 120)}
    assert {cell.llm for cell in cells} == {"loopback"}
    assert len({cell.seed for cell in cells}) == 30


def test_a_third_of_the_noisy_cells_are_successes_and_failures():
    suite = load_suite("noisy")
    kinds = [entry.arguments.get("noise_kind") for entry in suite.problems.values()]
    assert (len(kinds), kinds.count("bernoulli")) == (18, 6)
    assert {cell.budget.evaluations for cell in suite.cells("default")} == {2000}


def test_the_exact_suite_has_twelve_functions_in_two_and_in_six_dimensions():
    problems = [bbopt.problem(e.name, **e.arguments) for e in load_suite("bbo").problems.values()]
    assert sorted(len(problem.spec.space) for problem in problems) == [2] * 12 + [6] * 12
    assert all(problem.spec.deterministic for problem in problems)

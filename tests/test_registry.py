"""Names -> optimizers and problems, from this package and from others."""

import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

import bbopt
from bbopt import Float, Optimizer, Problem, Space, Spec, registry
from bbopt.errors import UnknownName, UnsupportedSpec, UsageError
from bbopt.settings import setting

SPACE = Space({"x": Float(0, 1)})


@dataclass(frozen=True)
class Settings:
    sigma: float = setting(0.3, "Step size.", low=0)


class Toy(Optimizer):
    Settings = Settings
    kinds = frozenset({"float"})

    def _ask(self, n, left):
        return [self._new_trial({"x": 0.5}) for _ in range(n)]

    def _tell(self, trial, outcome):
        pass


class Bowl(Problem):
    def __init__(self, centre=0.5, *, shape="round", **ignored):
        self.centre, self.shape = centre, shape

    @property
    def spec(self):
        return Spec(space=SPACE)

    def evaluate(self, trial, rng):
        return (trial.params["x"] - self.centre) ** 2


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """A copy of the registry, so that what a test registers is gone after it."""
    registry.optimizer_names(), registry.problem_names()  # modules register once, on import
    monkeypatch.setattr(registry, "_optimizers", dict(registry._optimizers))
    monkeypatch.setattr(registry, "_problems", dict(registry._problems))


@pytest.fixture
def plug_in(tmp_path, monkeypatch):
    """Writes a module and makes it an entry point of a family."""

    def install(group, family, module, text):
        (tmp_path / f"{module}.py").write_text(text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, module, raising=False)
        families = {**registry._families(group), family: (module,)}
        others = registry._families
        monkeypatch.setattr(
            registry, "_families", lambda asked: families if asked == group else others(asked)
        )

    return install


# --- building -------------------------------------------------------------------------


def test_a_registered_optimizer_is_built_with_its_settings():
    registry.register_optimizer("toy")(Toy)
    client = SimpleNamespace(roles=())
    optimizer = bbopt.optimizer("toy", SPACE, seed=3, worker=2, llm=client, sigma=1)
    assert isinstance(optimizer, Toy)
    assert (optimizer.name, optimizer.seed, optimizer.worker) == ("toy", 3, 2)
    assert optimizer.settings == Settings(sigma=1.0)
    assert (optimizer.llm, optimizer.proposer) == (client, None)
    assert "toy" in registry.optimizer_names()


@pytest.mark.parametrize("spec", [SPACE, {"x": Float(0, 1)}, Spec(space=SPACE)])
def test_a_space_a_mapping_or_a_spec_can_be_given(spec):
    registry.register_optimizer("toy")(Toy)
    assert bbopt.optimizer("toy", spec).spec == Spec(space=SPACE)


def test_a_direction_is_for_a_bare_space_or_repeats_that_of_the_spec():
    registry.register_optimizer("toy")(Toy)
    assert bbopt.optimizer("toy", SPACE, direction="maximize").spec.direction == "maximize"
    spec = Spec(space=SPACE, direction="maximize")
    assert bbopt.optimizer("toy", spec, direction="maximize").spec is spec
    with pytest.raises(UsageError, match="direction must be 'maximize' as in the spec, got 'min"):
        bbopt.optimizer("toy", spec, direction="minimize")
    with pytest.raises(UsageError, match="several objectives are out of scope"):
        bbopt.optimizer("toy", SPACE, direction=["minimize", "maximize"])


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("tyo", {}, UnknownName, "unknown optimizer 'tyo': did you mean toy"),
        (Toy, {}, UnknownName, "unknown optimizer "),
        ("toy", {"sgima": 1}, UsageError, "optimizer 'toy' has no setting 'sgima'; .* sigma"),
        ("toy", {"sigma": -1}, UsageError, "optimizer 'toy': sigma must be .* >= 0, got -1"),
        ("toy", {"seed": "a"}, UsageError, "seed must be an integer >= 0, got 'a'"),
    ],
)
def test_a_bad_optimizer_is_refused_in_words(name, arguments, error, message):
    registry.register_optimizer("toy")(Toy)
    with pytest.raises(error, match=message):
        bbopt.optimizer(name, SPACE, **arguments)


def test_a_space_that_the_method_cannot_handle_is_refused():
    registry.register_optimizer("toy")(Toy)
    with pytest.raises(UnsupportedSpec, match="optimizer 'toy' cannot handle parameter 'n'"):
        bbopt.optimizer("toy", {"n": bbopt.Int(0, 1)})


def test_a_registered_problem_is_built_with_its_arguments():
    registry.register_problem("toy/bowl")(Bowl)
    problem = bbopt.problem("toy/bowl", centre=0.25)
    assert (problem.centre, problem.shape, problem.name) == (0.25, "round", "toy/bowl")
    assert list(registry.problem_arguments("toy/bowl")) == ["centre", "shape"]
    assert "toy/bowl" in registry.problem_names()


def test_a_function_that_builds_a_problem_can_be_registered():
    @registry.register_problem("toy/line")
    def line(slope, *more):
        return Bowl(slope)

    assert bbopt.problem("toy/line", slope=2).centre == 2
    with pytest.raises(UsageError, match="problem 'toy/line' needs the argument 'slope'"):
        bbopt.problem("toy/line")


def test_a_problem_without_arguments_says_so():
    @registry.register_problem("toy/plain")
    class Plain(Bowl):
        def __init__(self):
            super().__init__()

    with pytest.raises(UsageError, match="'toy/plain' has no argument 'a'; allowed are none"):
        bbopt.problem("toy/plain", a=1)


@pytest.mark.parametrize(
    ("name", "arguments", "error", "message"),
    [
        ("toy/bow", {}, UnknownName, "unknown problem 'toy/bow': did you mean toy/bowl"),
        ("toy/bowl", {"center": 1}, UsageError, "no argument 'center'; allowed are centre, shape"),
        ("toy/bowl", {"ignored": 1}, UsageError, "no argument 'ignored'"),
    ],
)
def test_a_bad_problem_is_refused_in_words(name, arguments, error, message):
    registry.register_problem("toy/bowl")(Bowl)
    with pytest.raises(error, match=message):
        bbopt.problem(name, **arguments)


# --- registering ----------------------------------------------------------------------


def test_a_name_that_is_taken_is_refused():
    registry.register_optimizer("toy")(Toy)
    with pytest.raises(UsageError, match=r"optimizer name 'toy' is taken by .*test_registry.*Toy"):

        @registry.register_optimizer("toy")
        class Other(Toy):
            pass

    registry.register_problem("toy/bowl")(Bowl)
    with pytest.raises(UsageError, match=r"problem name 'toy/bowl' is taken by .*Bowl"):
        registry.register_problem("toy/bowl")(lambda: Bowl())
    assert registry.optimizer_class("toy") is Toy
    assert registry.problem_factory("toy/bowl") is Bowl


def test_a_definition_that_is_run_again_takes_the_place_of_the_old_one():
    def define():
        @registry.register_optimizer("toy")
        class Again(Toy):
            pass

        return Again

    old, new = define(), define()
    assert registry.optimizer_class("toy") is new is not old


# --- entry points ---------------------------------------------------------------------


def test_a_module_of_another_package_is_imported_when_its_family_is_asked_for(plug_in):
    plug_in(
        "bbopt.problems",
        "outside",
        "outside_problems",
        "from bbopt.function import FunctionProblem\n"
        "from bbopt.registry import register_problem\n"
        "from bbopt.space import Float\n"
        "@register_problem('outside/square')\n"
        "def square():\n"
        "    return FunctionProblem(lambda p: p['x'] ** 2, {'x': Float(-1, 1)})\n",
    )
    assert "outside_problems" not in sys.modules
    assert bbopt.problem("outside/square").name == "outside/square"
    assert "outside/square" in registry.problem_names()
    with pytest.raises(UnknownName, match="did you mean outside/square"):
        bbopt.problem("outside/squire")


def test_a_broken_package_hides_no_other_and_is_named(plug_in, caplog):
    plug_in("bbopt.optimizers", "broken", "broken_optimizers", "import no_such_package\n")
    assert "random" in registry.optimizer_names()
    assert "the family 'broken' are left out: No module named 'no_such_package'" in caplog.text
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        bbopt.optimizer("broken:x", SPACE)


@pytest.mark.parametrize(
    ("group", "names"),
    [
        ("bbopt.optimizers", registry.optimizer_names),
        ("bbopt.problems", registry.problem_names),
    ],
)
def test_the_built_in_ones_come_through_the_entry_points(group, names):
    families = registry._families(group)
    known = registry._optimizers if group == "bbopt.optimizers" else registry._problems
    assert set(names()) == set(known)
    # other tests of this process may have registered doubles of their own
    built_in = [name for name, thing in known.items() if thing.__module__.startswith("bbopt.")]
    assert {name.replace("/", ":").split(":")[0] for name in built_in} == set(families)
    for modules in families.values():
        assert all(module.startswith("bbopt.") for module in modules)


def test_only_the_module_of_the_family_is_imported():
    code = """
import sys, bbopt
from bbopt import registry
assert not registry._optimizers and not registry._problems
bbopt.optimizer("random", {"x": bbopt.Float(0, 1)})
assert list(registry._optimizers) == ["random"], registry._optimizers
assert not registry._problems
print(sorted({name.partition(".")[0] for name in sys.modules} & {"scipy", "optuna", "sklearn"}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")

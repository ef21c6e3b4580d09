"""Every call of ``ask`` and ``tell`` stands alone: between two of them nothing is alive."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bbopt import registry
from bbopt.errors import UsageError
from bbopt.running import by_hand
from bbopt.running.by_hand import HandProblem
from bbopt.running.storage import StudyLog
from bbopt.space import Categorical, Float, Space
from bbopt.spec import Spec
from bbopt.trial import Outcome

SPEC = Spec(
    space=Space({"x": Float(-2.0, 2.0), "kind": Categorical(["a", "b"])}), direction="maximize"
)
SETTINGS = {"n_startup_trials": 2}
MAX_OPEN = 4


def value(params) -> float:
    return -(params["x"] ** 2) + (params["kind"] == "b")


class Killed(BaseException):
    """What a SIGKILL does: nothing after it happens."""


class DiesAfter:
    """``StudyLog.create``, which dies when it has written so many rows."""

    def __init__(self, n: int) -> None:
        self.left = n
        self.create = StudyLog.create

    def __get__(self, log, kind=None):
        def create(*args, **kwargs):
            if not self.left:
                raise Killed
            self.left -= 1
            return self.create(log, *args, **kwargs)

        return create


class Model:
    """An optimizer that lives on, told what the log says was told when it says so."""

    def __init__(self) -> None:
        self.optimizer = registry.optimizer("optuna:tpe", SPEC, **SETTINGS)
        self.open = {}
        self.finished = {}

    def ask(self, n):
        for number in sorted(self.finished):
            trial, outcome = self.finished.pop(number)
            self.optimizer.tell(trial, outcome)
        asked = self.optimizer.ask(n)
        self.open |= {trial.number: trial for trial in asked}
        return asked

    def tell(self, number, outcome):
        self.finished[number] = self.open.pop(number), outcome


steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(1, 3)),
        st.tuples(st.just("die"), st.integers(1, 3), st.integers(0, 3)),
        st.tuples(st.just("tell"), st.integers(0, MAX_OPEN), st.booleans()),
    ),
    max_size=14,
)


@settings(max_examples=15)
@given(steps=steps)
def test_asks_tells_and_kills_in_any_order_are_one_unbroken_optimizer(steps):
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        study = (Path(folder, "lab.journal"), "tea")
        start = {"problem": HandProblem(SPEC), "optimizer": "optuna:tpe", "settings": SETTINGS}
        model, unseen = Model(), []
        for what, n, *more in steps:
            if what == "tell":
                if not model.open:
                    continue
                number = sorted(model.open)[n % len(model.open)]
                outcome = Outcome(value(model.open[number].params))
                outcome = Outcome.failure("burnt") if more[0] else outcome
                model.tell(number, outcome)
                by_hand.tell(*study, number, outcome)
                unseen = [trial for trial in unseen if trial.number != number]
            elif what == "die" and more[0] < n and not unseen:
                with patch.context() as deadly:
                    deadly.setattr(StudyLog, "create", DiesAfter(more[0]))
                    with pytest.raises(Killed):
                        by_hand.ask(*study, n, **start)
                if more[0]:  # the first row says that the ask took place
                    unseen = model.ask(n)[more[0] :]
                    for trial in unseen:  # no row yet: they cannot be told
                        del model.open[trial.number]
            else:
                asked = by_hand.ask(*study, n, **start)
                model.open |= {trial.number: trial for trial in unseen}
                expected = unseen + (model.ask(n - len(unseen)) if n > len(unseen) else [])
                unseen = []
                assert asked == expected
        if study[0].exists():
            assert {trial.number for trial in by_hand.open_trials(*study)} == set(model.open)


def test_a_database_that_is_not_there_yet_is_made(tmp_path):
    study = (f"sqlite:///{tmp_path}/lab.db", "tea")
    [trial] = by_hand.ask(*study, 1, problem=HandProblem(SPEC), optimizer="sobol")
    assert by_hand.tell(*study, trial.number, Outcome(1.0)).params == trial.params


def test_a_loop_is_not_needed_to_reach_the_optimum(tmp_path):
    study = (tmp_path / "lab.journal", "tea")
    for _ in range(15):
        for trial in by_hand.ask(*study, 2, problem=HandProblem(SPEC), optimizer="sobol"):
            best = by_hand.tell(*study, trial.number, Outcome(value(trial.params)))
    assert best.params["kind"] == "b"
    assert best.value > 1 - 0.2**2  # of 15 points with "b" in [-2, 2], one in the middle tenth


def test_a_method_with_a_compact_state_is_restored_from_its_snapshot(tmp_path, monkeypatch):
    study = (tmp_path / "lab.journal", "tea")
    start = {"problem": HandProblem(SPEC), "optimizer": "optuna:tpe", "settings": SETTINGS}
    for _ in range(3):
        (trial,) = by_hand.ask(*study, **start)
        by_hand.tell(*study, trial.number, Outcome(value(trial.params)))
    (with_snapshot,) = by_hand.ask(*study)
    by_hand.tell(*study, with_snapshot.number, Outcome(0.0))
    model = Model()
    for _ in range(4):
        (trial,) = model.ask(1)
        model.tell(trial.number, Outcome(value(trial.params)))
    assert with_snapshot == trial
    for snapshot in tmp_path.glob("lab.journal.bbopt/*.snapshot"):
        snapshot.write_bytes(b"damaged")
    model.finished[trial.number] = trial, Outcome(0.0)
    assert by_hand.ask(*study) == model.ask(1)


def test_repeats_are_told_together_and_fewer_are_welcome(tmp_path):
    study = (tmp_path / "lab.journal", "tea")
    (trial,) = by_hand.ask(*study, problem=HandProblem(SPEC), optimizer="random")
    with pytest.raises(UsageError, match="trial 0 has 1 repeats, got 3 values"):
        by_hand.tell(*study, trial.number, Outcome([1.0, 2.0, 3.0]))
    assert by_hand.tell(*study, trial.number, Outcome([2.0])).value == 2.0


def test_nobody_evaluates_what_is_done_by_hand():
    with pytest.raises(UsageError, match="evaluated by hand"):
        HandProblem(SPEC).evaluate(None, None)

"""Plain functions as problems."""

import asyncio
import functools
import inspect
import operator

import numpy as np
import pytest

import bbopt
from bbopt import Float, Outcome, Space, Trial
from bbopt.errors import SpaceError, UsageError
from bbopt.function import FunctionProblem

SPACE = {"x": Float(0, 1)}
TRIAL = Trial(3, {"x": 0.25})


class Model:
    def loss(self, params):
        return params["x"] * 2

    def noisy(self, params, rng):
        return params["x"] + rng.random()

    def __call__(self, params):
        return params["x"] * 3

    @staticmethod
    def fixed(params):
        return params["x"]


class AsyncModel:
    async def __call__(self, params, rng):
        return params["x"] + rng.random()


async def coroutine(params):
    await asyncio.sleep(0)
    return params["x"]


def draw(params, rng):
    return rng.random()


DRAWN = np.random.default_rng(5).random()


def evaluate(function):
    problem = FunctionProblem(function, SPACE)
    value = problem.evaluate(TRIAL, np.random.default_rng(5))
    return asyncio.run(value) if inspect.iscoroutine(value) else value


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda p: p["x"], 0.25),
        (lambda p, scale=2: scale * p["x"], 0.5),
        (lambda p, rng=None: rng.random(), DRAWN),
        (lambda *args: len(args), 1),
        (lambda p, *args, **options: len(args) + len(options), 0),
        (lambda p, rng, scale=2: rng.random(), DRAWN),
        (draw, DRAWN),
        (lambda p, generator: generator.random(), DRAWN),
        (Model().loss, 0.5),
        (Model().noisy, 0.25 + DRAWN),
        (Model(), 0.75),
        (Model.fixed, 0.25),
        (functools.partial(lambda p, scale: scale * p["x"], scale=2), 0.5),
        (functools.partial(lambda scale, p: scale * p["x"], 4), 1.0),
        (operator.itemgetter("x"), 0.25),
        (len, 1),
        (max, "x"),
        (coroutine, 0.25),
        (AsyncModel(), 0.25 + DRAWN),
        (functools.partial(coroutine), 0.25),
    ],
)
def test_a_function_gets_the_params_and_if_it_wants_it_the_generator(function, expected):
    assert evaluate(function) == expected


@pytest.mark.parametrize(
    "function", [coroutine, AsyncModel(), functools.partial(coroutine), AsyncModel().__call__]
)
def test_an_async_function_makes_an_async_problem(function):
    assert inspect.iscoroutinefunction(FunctionProblem(function, SPACE).evaluate)
    assert not inspect.iscoroutinefunction(FunctionProblem(Model(), SPACE).evaluate)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (3, "function must be callable, got 3"),
        (lambda: 0, r"function must take params, or params and rng, got \(\)"),
        (lambda a, b, c: 0, r"function must take params, or params and rng, got \(a, b, c\)"),
        (lambda p, *, scale: 0, r"function must take params, or params and rng, got \(p, \*, "),
        (lambda **options: 0, r"function must take params, or params and rng"),
    ],
)
def test_a_bad_function_is_refused_in_words(function, message):
    with pytest.raises(UsageError, match=message):
        FunctionProblem(function, SPACE)


def test_a_function_may_keep_or_change_its_params():
    def greedy(params):
        params["x"] = 99.0
        return 0.0

    FunctionProblem(greedy, SPACE).evaluate(TRIAL, np.random.default_rng())
    assert TRIAL.params == {"x": 0.25}


def test_the_spec_is_that_of_the_arguments():
    problem = FunctionProblem(
        Model().loss, SPACE, direction="maximize", objective="The loss.", deterministic=True
    )
    assert problem.spec == bbopt.Spec(
        space=Space(SPACE), direction="maximize", objective="The loss.", deterministic=True
    )
    assert problem.name == "loss"
    assert FunctionProblem(Model(), SPACE).name == "Model"
    with pytest.raises(SpaceError, match="space must map at least one name"):
        FunctionProblem(Model(), {})


def test_what_the_function_returns_is_passed_on_and_what_it_raises_too():
    outcome = Outcome(0.3, feedback="fine")
    assert evaluate(lambda p: outcome) is outcome
    with pytest.raises(ZeroDivisionError):
        evaluate(lambda p: 1 / 0)

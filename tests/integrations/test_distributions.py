"""Optuna's distributions and our dimensions hold the same values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from bbopt.errors import UnsupportedSpec
from bbopt.integrations.distributions import space_of, to_params, to_values


@st.composite
def distributions(draw: st.DrawFn) -> BaseDistribution:
    kind = draw(st.sampled_from(["float", "log", "step", "int", "logint", "stepint", "choice"]))
    low, span = draw(st.integers(-(10**6), 10**6)), draw(st.integers(0, 10**6))
    if kind == "float":
        return FloatDistribution(low / 7, low / 7 + span / 3)
    if kind == "log":
        return FloatDistribution(abs(low) / 7 + 1e-9, abs(low) / 7 + span / 3 + 1e-9, log=True)
    if kind == "step":
        step = draw(st.integers(1, 9))
        return FloatDistribution(low / 10, (low + step * span) / 10, step=step / 10)
    if kind == "int":
        return IntDistribution(low * 10**9, (low + span) * 10**9)
    if kind == "logint":
        return IntDistribution(abs(low) + 1, abs(low) + 1 + span, log=True)
    if kind == "stepint":
        step = draw(st.integers(1, 99))
        return IntDistribution(low, low + step * span, step=step)
    choices = st.none() | st.booleans() | st.integers(0, 2) | st.floats(0, 1) | st.text(max_size=2)
    return CategoricalDistribution(draw(st.lists(choices, min_size=1, max_size=5, unique=True)))


@given(st.lists(distributions(), min_size=1, max_size=4), st.integers(0, 2**32))
def test_draws_of_a_space_are_values_of_its_distributions(
    given_: list[BaseDistribution], seed: int
) -> None:
    named = {f"p{i}": distribution for i, distribution in enumerate(given_)}
    space = space_of(named)
    for params in space.sample(np.random.default_rng(seed), 20):
        values = to_values(params, named)
        for name, distribution in named.items():
            internal = distribution.to_internal_repr(values[name])
            assert distribution._contains(internal)
            assert type(values[name]) is type(distribution.to_external_repr(internal))
        back = to_params(values, named, space)
        assert back is not None
        assert to_values(back, named) == values


def test_huge_integers_are_exact() -> None:
    named = {"n": IntDistribution(0, 2**60)}
    assert to_params({"n": 2**60 - 1}, named, space_of(named)) == {"n": 2**60 - 1}


@pytest.mark.parametrize("value", [-1, 11, 3.5])
def test_a_value_outside_has_no_params(value: float) -> None:
    named = {"x": FloatDistribution(0, 10, step=1)}
    assert to_params({"x": value}, named, space_of(named)) is None


def test_an_unknown_distribution_is_refused() -> None:
    class Odd(IntDistribution):
        pass

    class Other(BaseDistribution):
        to_internal_repr = single = _contains = lambda *_: 0.0

    assert space_of({"x": Odd(0, 3)})["x"].high == 3
    with pytest.raises(UnsupportedSpec, match="parameter 'x': unknown distribution"):
        space_of({"x": Other()})
